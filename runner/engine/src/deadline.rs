//! Until when a process may act for its run.
//!
//! A token in a database cannot stop an HTTP request. So a process that has not shown for a while
//! that it is alive sends no write any more, well before anybody else may take its run over: what
//! it sent last has been answered or given up by then. The clock counts suspended time, so a
//! process that was stopped knows when it wakes.
//!
//! ```text
//! last heartbeat      ACT                        CLAIM
//!      |---------------|---------------------------|
//!       writes are sent   none is sent, the last     others may take over
//!                         is given up (WRITE)
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Clock;
use crate::contract::Failure;

/// A claim lives this long without a heartbeat; after it the run counts as abandoned, and anybody may
/// take it over. Its locks stay.
pub(crate) const CLAIM: Duration = Duration::from_secs(30);

/// How often a live run shows that it is.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(3);

/// Writes are sent until so long after the last heartbeat: four may fail.
const ACT: Duration = Duration::from_secs(15);

/// A write is given up after this long without an answer. What it did is then found out.
pub const WRITE: Duration = Duration::from_secs(12);

const _: () = assert!(ACT.as_secs() + WRITE.as_secs() < CLAIM.as_secs());

/// See the module.
#[derive(Clone)]
pub struct Deadline {
    clock: Arc<dyn Clock>,
    /// Milliseconds of [`Clock::since_boot`].
    until: Arc<AtomicU64>,
}

impl std::fmt::Debug for Deadline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deadline").finish_non_exhaustive()
    }
}

impl Deadline {
    /// For a process that has claimed its run just now.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let deadline = Self {
            until: Arc::default(),
            clock,
        };
        deadline.extend(deadline.beginning());
        deadline
    }

    /// For work that is nobody's run: it does not pass.
    pub fn never(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            until: Arc::new(AtomicU64::new(u64::MAX)),
        }
    }

    /// To be taken before a heartbeat is written, and handed to [`Deadline::extend`] after.
    pub(crate) fn beginning(&self) -> Duration {
        self.clock.since_boot()
    }

    /// A heartbeat that was begun at `began` is in the store.
    pub(crate) fn extend(&self, began: Duration) {
        self.until.fetch_max(ms(began + ACT), Ordering::SeqCst);
    }

    /// The process may not act any more, whatever it showed before.
    pub(crate) fn pass(&self) {
        self.until.store(0, Ordering::SeqCst);
    }

    /// Right before a write is sent.
    ///
    /// # Errors
    /// The process may not act any more. Nothing has been sent.
    pub fn check(&self) -> Result<(), Failure> {
        if ms(self.clock.since_boot()) < self.until.load(Ordering::SeqCst) {
            return Ok(());
        }
        Err(Failure::Cancelled(
            "this process has not been able to show that it is alive; nothing more is sent"
                .to_owned(),
        ))
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::BoxFuture;

    struct Boot(AtomicU64);

    impl Clock for Boot {
        fn now(&self) -> jiff::Timestamp {
            jiff::Timestamp::UNIX_EPOCH
        }
        fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
            Box::pin(std::future::pending())
        }
        fn since_boot(&self) -> Duration {
            Duration::from_millis(self.0.load(Ordering::SeqCst))
        }
    }

    #[test]
    fn it_passes_with_the_time_since_the_last_heartbeat_began() {
        let clock = Arc::new(Boot(AtomicU64::new(1000)));
        let at = |ms: u64| clock.0.store(ms, Ordering::SeqCst);
        let deadline = Deadline::new(clock.clone());
        at(15_999);
        assert!(deadline.check().is_ok());
        at(16_000);
        assert!(deadline.check().is_err());
        // A beat that took long counts from where it began.
        deadline.extend(Duration::from_millis(1500));
        assert!(deadline.check().is_ok());
        at(16_500);
        assert!(deadline.check().is_err());
        assert!(Deadline::never(clock.clone()).check().is_ok());
    }
}
