//! Rate limits that are kept on our side, by the run's clock. Whoever waits for its turn can be stopped.

use std::num::NonZeroU32;
use std::ops::Add;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock as GovernorClock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use groundcrew::{Clock, Failure};
use tokio_util::sync::CancellationToken;

/// An action, and what it is done to.
type Key = (&'static str, String);

type Limiter = RateLimiter<Key, HashMapStateStore<Key>, OurClock, NoOpMiddleware<Instant>>;

/// So many a second of one action on one thing, and so many at once after a pause.
pub(crate) struct Rate {
    limiter: Limiter,
    clock: Arc<dyn Clock>,
}

/// An instant of the run's clock, since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instant(Nanos);

impl Add<Nanos> for Instant {
    type Output = Self;
    fn add(self, other: Nanos) -> Self {
        Self(self.0 + other)
    }
}

impl Reference for Instant {
    fn duration_since(&self, earlier: Self) -> Nanos {
        Reference::duration_since(&self.0, earlier.0)
    }
    fn saturating_sub(&self, duration: Nanos) -> Self {
        Self(Reference::saturating_sub(&self.0, duration))
    }
}

#[derive(Clone)]
pub(crate) struct OurClock(Arc<dyn Clock>);

impl GovernorClock for OurClock {
    type Instant = Instant;
    fn now(&self) -> Instant {
        let nanos = u64::try_from(self.0.now().as_nanosecond()).unwrap_or(0);
        Instant(Nanos::from(Duration::from_nanos(nanos)))
    }
}

const ONE: NonZeroU32 = NonZeroU32::MIN;

fn at_least_one(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap_or(ONE)
}

impl Rate {
    pub(crate) fn new(clock: &Arc<dyn Clock>, a_second: u32, at_once: u32) -> Self {
        let quota = Quota::per_second(at_least_one(a_second)).allow_burst(at_least_one(at_once));
        Self {
            limiter: RateLimiter::new(quota, HashMapStateStore::default(), OurClock(clock.clone())),
            clock: clock.clone(),
        }
    }

    /// Returns when it may be sent.
    ///
    /// # Errors
    /// It was cancelled meanwhile, and must not be sent.
    pub(crate) async fn pass(
        &self,
        cancel: &CancellationToken,
        action: &'static str,
        on: &str,
    ) -> Result<(), Failure> {
        let key = (action, on.to_owned());
        match self.limiter.check_key(&key) {
            Ok(()) => Ok(()),
            // Apart: thousands of effects keep room for it, and few ever wait.
            Err(_) => Box::pin(self.wait(cancel, key)).await,
        }
    }

    async fn wait(&self, cancel: &CancellationToken, key: Key) -> Result<(), Failure> {
        while let Err(not_until) = self.limiter.check_key(&key) {
            let wait = not_until.wait_time_from(OurClock(self.clock.clone()).now());
            tokio::select! {
                biased;
                () = cancel.cancelled() => {
                    return Err(Failure::Cancelled("ended before it was sent".to_owned()));
                }
                () = self.clock.sleep(wait.max(Duration::from_millis(1))) => {}
            }
        }
        Ok(())
    }

    /// Forgets what no longer limits anything.
    pub(crate) fn tidy(&self) {
        self.limiter.retain_recent();
    }
}

#[cfg(test)]
mod tests {
    use groundcrew::{VirtualClock, between};
    use jiff::Timestamp;

    use super::*;

    #[tokio::test]
    async fn so_many_at_once_and_then_so_many_a_second() {
        let time = VirtualClock::new(Timestamp::UNIX_EPOCH);
        let clock: Arc<dyn Clock> = Arc::new(time.clone());
        let (rate, cancel) = (Rate::new(&clock, 1, 3), CancellationToken::new());
        let _busy = time.busy();
        let began = clock.now();
        for sent in 1..=5_u64 {
            rate.pass(&cancel, "restart", "m1").await.unwrap();
            let passed = between(began, clock.now()).as_secs();
            assert_eq!(passed, sent.saturating_sub(3), "{sent}");
        }
        // Another thing has a rate of its own.
        rate.pass(&cancel, "restart", "m2").await.unwrap();
        cancel.cancel();
        assert!(matches!(
            rate.pass(&cancel, "restart", "m1").await,
            Err(Failure::Cancelled(_))
        ));
        assert_eq!(between(began, clock.now()).as_secs(), 2);
    }
}
