//! Waits for what becomes of a Machine: for a state, for its health. The host does the looking.

use std::future::IntoFuture;
use std::time::Duration;

pub use crate::bindings::groundcrew::host::machines::Waited;

use super::door;
use super::machine::Machine;
use super::state::State;
use crate::Result;
use crate::bindings::groundcrew::host::machines::{HealthyOptions, WaitOptions};
use crate::queue::Operation;
use crate::timespan::milliseconds;

/// How long a wait lasts unless it says otherwise: what flyctl allows a Machine by default.
const PATIENCE_MS: u64 = 5 * 60 * 1000;

impl Machine {
    /// Waits until it is in this state, five minutes unless [`Wait::within`] says otherwise.
    pub fn wait(&self, state: State) -> Wait<'_> {
        let options = WaitOptions {
            states: vec![state.as_str().to_owned()],
            version: None,
            from_event: None,
            timeout_ms: PATIENCE_MS,
        };
        Wait {
            machine: self,
            options,
        }
    }

    /// Waits until it is started and every check on it has passed since, five minutes unless
    /// [`WaitHealthy::within`] says otherwise.
    pub fn wait_healthy(&self) -> WaitHealthy<'_> {
        let options = HealthyOptions {
            version: None,
            from_event: None,
            critical_after_ms: 0,
            timeout_ms: PATIENCE_MS,
        };
        WaitHealthy {
            machine: self,
            options,
        }
    }
}

/// A wait for a state; `.await` begins it.
#[derive(Debug)]
#[must_use = "nothing is awaited until it is"]
pub struct Wait<'a> {
    machine: &'a Machine,
    options: WaitOptions,
}

impl Wait<'_> {
    /// Only a state reached by an event newer than this one counts.
    pub fn since(mut self, event: Option<&str>) -> Self {
        self.options.from_event = event.map(str::to_owned);
        self
    }

    /// Only in this version; if the Machine goes back to another one the wait fails.
    pub fn version(mut self, version: &str) -> Self {
        self.options.version = Some(version.to_owned());
        self
    }

    /// This other state is as good.
    pub fn or(mut self, state: State) -> Self {
        self.options.states.push(state.as_str().to_owned());
        self
    }

    /// Gives up after this long, at most 24 hours.
    pub fn within(mut self, timeout: Duration) -> Self {
        self.options.timeout_ms = milliseconds(timeout);
        self
    }
}

impl IntoFuture for Wait<'_> {
    type Output = Result<Waited>;
    type IntoFuture = Operation<Waited>;

    fn into_future(self) -> Self::IntoFuture {
        let id = door::wait(&self.machine.app, &self.machine.id, &self.options);
        Operation::new(id, |op| Ok(door::take_wait(op)?))
    }
}

/// A wait for health; `.await` begins it.
#[derive(Debug)]
#[must_use = "nothing is awaited until it is"]
pub struct WaitHealthy<'a> {
    machine: &'a Machine,
    options: HealthyOptions,
}

/// A Machine that has become healthy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Healthy {
    /// How many checks pass; 0 if it has none.
    pub checks: u32,
}

impl WaitHealthy<'_> {
    /// The event before the change that is watched; older starts and results do not count.
    pub fn since(mut self, event: Option<&str>) -> Self {
        self.options.from_event = event.map(str::to_owned);
        self
    }

    /// Only in this version; if the Machine goes back to another one the wait fails.
    pub fn version(mut self, version: &str) -> Self {
        self.options.version = Some(version.to_owned());
        self
    }

    /// A check that is critical this long after the start is a failure of the app.
    pub fn critical_after(mut self, patience: Duration) -> Self {
        self.options.critical_after_ms = milliseconds(patience);
        self
    }

    /// Gives up after this long, at most 24 hours.
    pub fn within(mut self, timeout: Duration) -> Self {
        self.options.timeout_ms = milliseconds(timeout);
        self
    }
}

impl IntoFuture for WaitHealthy<'_> {
    type Output = Result<Healthy>;
    type IntoFuture = Operation<Healthy>;

    fn into_future(self) -> Self::IntoFuture {
        let id = door::wait_healthy(&self.machine.app, &self.machine.id, &self.options);
        Operation::new(id, |op| {
            Ok(Healthy {
                checks: door::take_wait_healthy(op)?.checks,
            })
        })
    }
}
