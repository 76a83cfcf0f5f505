//! What a plugin is given: the host. Each capability adds its verbs in its own folder.

use std::future::Future;
use std::time::Duration;

use futures_util::future::{Either, select};

use crate::bindings::groundcrew::host::log::{ItemState, Level};
pub use crate::bindings::groundcrew::host::run_info::Run;
#[cfg(target_arch = "wasm32")]
pub(crate) use crate::bindings::groundcrew::host::{log, run_info};
use crate::queue::{Operation, operations};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use crate::testing::run::{log, run_info};
use crate::timespan::milliseconds;
use crate::{Error, Kind, Result};

/// The host. It is a value so that a plugin's own functions show by their arguments whether they
/// can have effects; it holds nothing.
#[derive(Debug, Clone, Copy)]
pub struct Host(());

impl Host {
    pub(crate) fn new() -> Self {
        Self(())
    }

    /// Sleeps for this much of the run's time, which is virtual in a rehearsal.
    pub async fn sleep(&self, duration: Duration) -> Result<()> {
        let id = operations::sleep(milliseconds(duration));
        Operation::new(id, |op| Ok(operations::take_sleep(op)?)).await
    }

    /// Gives a future only this long. What it had in flight is forgotten, not undone.
    pub async fn timeout<T>(
        &self,
        limit: Duration,
        future: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let sleep = std::pin::pin!(self.sleep(limit));
        match select(std::pin::pin!(future), sleep).await {
            Either::Left((result, _)) => result,
            Either::Right((slept, _)) => {
                slept?;
                let seconds = limit.as_secs_f64();
                Err(Error::new(
                    Kind::Timeout,
                    format!("not done within {seconds} s"),
                ))
            }
        }
    }

    /// The run's time since the Unix epoch. It moves only while the plugin waits.
    #[must_use]
    pub fn now(&self) -> Duration {
        Duration::from_millis(operations::now())
    }

    /// A random number; the same run gives the same ones.
    #[must_use]
    pub fn random(&self) -> u64 {
        operations::random()
    }

    /// Which run and step this is.
    #[must_use]
    pub fn run(&self) -> Run {
        run_info::current()
    }

    /// Writes a note into the journal.
    pub fn note(&self, message: &str) {
        log::note(Level::Info, message);
    }

    /// Writes a warning into the journal.
    pub fn warn(&self, message: &str) {
        log::note(Level::Warning, message);
    }

    /// Announces how many items the step is going to work on, and what they are (`machines`).
    pub fn expect(&self, total: usize, unit: &str) {
        log::expect(u32::try_from(total).unwrap_or(u32::MAX), unit);
    }

    /// Reports one item, such as a Machine, by its name.
    pub fn item<'a>(&self, name: &'a str) -> Item<'a> {
        Item { name }
    }
}

/// One item whose progress is reported.
#[derive(Debug, Clone, Copy)]
pub struct Item<'a> {
    name: &'a str,
}

impl Item<'_> {
    /// Something is being done to it.
    pub fn working(self, what: impl Into<String>) {
        log::item(self.name, &ItemState::Working(what.into()));
    }

    /// It is done.
    pub fn succeeded(self, what: impl Into<String>) {
        log::item(self.name, &ItemState::Succeeded(what.into()));
    }

    /// It failed.
    pub fn failed(self, why: impl Into<String>) {
        log::item(self.name, &ItemState::Failed(why.into()));
    }

    /// It was left alone.
    pub fn skipped(self, why: impl Into<String>) {
        log::item(self.name, &ItemState::Skipped(why.into()));
    }
}
