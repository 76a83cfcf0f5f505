//! Fly's documented rate limits, kept on our side, by the run's clock.
//!
//! One request per second and action and Machine, bursts of three; reading one Machine five per
//! second, bursts of ten; what concerns a whole app counts per app. (Machines API documentation.)

use std::num::NonZeroU32;
use std::ops::Add;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock as GovernorClock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use groundcrew::Clock;

/// Action, app and Machine.
type Key = (&'static str, String);

type Limiter = RateLimiter<Key, HashMapStateStore<Key>, OurClock, NoOpMiddleware<Instant>>;

pub(super) struct Rates {
    actions: Limiter,
    reads: Limiter,
    clock: Arc<dyn Clock>,
}

/// An instant of the run's clock, since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Instant(Nanos);

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
pub(super) struct OurClock(Arc<dyn Clock>);

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

impl Rates {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let limiter = |quota: Quota| {
            RateLimiter::new(quota, HashMapStateStore::default(), OurClock(clock.clone()))
        };
        Self {
            actions: limiter(Quota::per_second(ONE).allow_burst(at_least_one(3))),
            reads: limiter(Quota::per_second(at_least_one(5)).allow_burst(at_least_one(10))),
            clock,
        }
    }

    /// Returns when an action on something may be sent.
    pub(super) async fn action(&self, action: &'static str, on: &str) {
        self.pass(&self.actions, (action, on.to_owned())).await;
    }

    /// Returns when a Machine may be read.
    pub(super) async fn read(&self, on: &str) {
        self.pass(&self.reads, ("get", on.to_owned())).await;
    }

    async fn pass(&self, limiter: &Limiter, key: Key) {
        while let Err(not_until) = limiter.check_key(&key) {
            let wait = not_until.wait_time_from(OurClock(self.clock.clone()).now());
            self.clock.sleep(wait.max(Duration::from_millis(1))).await;
        }
    }

    /// Forgets what no longer limits anything.
    pub(super) fn tidy(&self) {
        self.actions.retain_recent();
        self.reads.retain_recent();
    }
}
