//! Time, as one door.
//!
//! Every sleep, deadline, backoff, rate limit and TTL of a run goes through its [`Clock`]. A live
//! run uses [`RealClock`], whose scale matches the target (a simulator may run twenty times
//! faster than the wall). A rehearsal uses [`VirtualClock`], which moves only when nothing is
//! left to do at the present instant, so that an hour of runbook takes milliseconds and two
//! rehearsals of the same thing happen in the same order. The times of journal entries, claims and
//! locks are the wall's.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use jiff::Timestamp;

use crate::scale::Scale;
use crate::system;

/// A boxed future, as the traits of this crate return them.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where a run's time comes from.
pub trait Clock: Send + Sync + 'static {
    /// The present instant.
    fn now(&self) -> Timestamp;
    /// Returns once `duration` of this clock's time has passed.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
    /// How fast it runs; as the wall for anything virtual.
    fn scale(&self) -> Scale {
        Scale::REAL
    }
    /// Time since some fixed instant, by which a process knows how long it has not shown that it is
    /// alive: time counts that the machine, or the process, was suspended.
    fn since_boot(&self) -> Duration {
        system::since_boot()
    }
    /// The virtual clock behind this trait, if it is one.
    fn as_virtual(&self) -> Option<&VirtualClock> {
        None
    }
}

/// Milliseconds since the Unix epoch, as the contract with plugins counts.
pub fn millis(at: Timestamp) -> u64 {
    u64::try_from(at.as_millisecond()).unwrap_or(0)
}

/// `at + duration`, held at the end of time instead of overflowing.
pub fn after(at: Timestamp, duration: Duration) -> Timestamp {
    jiff::SignedDuration::try_from(duration)
        .ok()
        .and_then(|d| at.checked_add(d).ok())
        .unwrap_or(Timestamp::MAX)
}

/// `later - earlier`, zero if it is not later.
pub fn between(earlier: Timestamp, later: Timestamp) -> Duration {
    Duration::try_from(later.duration_since(earlier)).unwrap_or(Duration::ZERO)
}

/// The wall clock, optionally faster or slower.
#[derive(Debug, Clone)]
pub struct RealClock {
    started: Timestamp,
    origin: Duration,
    scale: Scale,
}

impl RealClock {
    /// A clock that starts at `started` now and runs `scale` times as fast as the wall.
    pub fn new(started: Timestamp, scale: Scale) -> Self {
        Self {
            started,
            origin: system::since_boot(),
            scale,
        }
    }
}

impl Clock for RealClock {
    fn now(&self) -> Timestamp {
        let elapsed = system::since_boot().saturating_sub(self.origin);
        after(self.started, self.scale.on_the_clock(elapsed))
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(self.scale.on_the_wall(duration)))
    }

    fn scale(&self) -> Scale {
        self.scale
    }
}

/// A clock that jumps to the next thing that is due once nobody is busy.
///
/// Whoever can make things happen holds a [`Busy`]: a guest that computes, an effect that is
/// being performed. [`Clock::sleep`] lays the sleeper's own `Busy` down and takes it up again on
/// waking. When none is left the earliest sleeper is woken, one at a time, so what happens at one
/// instant happens in one order. A holder must not be in two sleeps at once.
#[derive(Debug, Clone)]
pub struct VirtualClock {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    now: Timestamp,
    busy: usize,
    /// Who sleeps until when: (instant, class, order of arrival). The class puts guests after
    /// effects, so that a guest sees everything that is done at an instant at once.
    queue: BTreeMap<(Timestamp, u8, u64), u64>,
    slots: HashMap<u64, Slot>,
    next: u64,
}

#[derive(Debug)]
enum Slot {
    Waiting {
        key: (Timestamp, u8, u64),
        waker: Option<Waker>,
    },
    Woken,
}

/// Keeps a [`VirtualClock`] where it is while it is held.
#[derive(Debug)]
pub struct Busy(Option<VirtualClock>);

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(clock) = &self.0 {
            clock.lock().idle();
        }
    }
}

const EFFECT: u8 = 0;
const GUEST: u8 = 1;

impl VirtualClock {
    /// A clock that stands at `start`.
    pub fn new(start: Timestamp) -> Self {
        let inner = Inner {
            now: start,
            busy: 0,
            queue: BTreeMap::new(),
            slots: HashMap::new(),
            next: 0,
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds the clock.
    pub fn busy(&self) -> Busy {
        self.lock().busy += 1;
        Busy(Some(self.clone()))
    }

    /// Takes a place in the present instant's order; the ticket is to be awaited, and gives a
    /// [`Busy`] once everything before it has come to rest.
    pub(crate) fn ticket(&self) -> Ticket {
        let mut inner = self.lock();
        let now = inner.now;
        let slot = inner.enqueue(now, EFFECT);
        Ticket {
            sleep: VirtualSleep {
                clock: self.clone(),
                slot,
                gave_up_busy: false,
                done: false,
            },
        }
    }

    /// Waits, without being busy, until `wake` is called on the answer's handle and everything
    /// else at that instant has come to rest; if something is `ready` already, only the latter.
    pub(crate) fn park(&self, ready: bool) -> (Parked, VirtualSleep) {
        let mut inner = self.lock();
        let due = if ready { inner.now } else { Timestamp::MAX };
        let slot = inner.enqueue(due, GUEST);
        inner.idle();
        drop(inner);
        let sleep = VirtualSleep {
            clock: self.clone(),
            slot,
            gave_up_busy: true,
            done: false,
        };
        (
            Parked {
                clock: self.clone(),
                slot,
            },
            sleep,
        )
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        self.lock().now
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let clock = self.clone();
        Box::pin(async move {
            let slot = {
                let mut inner = clock.lock();
                let due = after(inner.now, duration);
                let slot = inner.enqueue(due, EFFECT);
                inner.idle();
                slot
            };
            VirtualSleep {
                clock,
                slot,
                gave_up_busy: true,
                done: false,
            }
            .await;
        })
    }

    fn as_virtual(&self) -> Option<&VirtualClock> {
        Some(self)
    }
}

impl Inner {
    fn enqueue(&mut self, due: Timestamp, class: u8) -> u64 {
        self.next += 1;
        let key = (due, class, self.next);
        self.queue.insert(key, self.next);
        self.slots
            .insert(self.next, Slot::Waiting { key, waker: None });
        self.next
    }

    /// Someone has stopped being busy; if that was the last, the earliest sleeper wakes.
    fn idle(&mut self) {
        self.busy = self.busy.saturating_sub(1);
        self.turn();
    }

    fn turn(&mut self) {
        if self.busy > 0 {
            return;
        }
        let Some((&(due, _, _), &slot)) = self.queue.first_key_value() else {
            return;
        };
        if due == Timestamp::MAX {
            return; // only parked guests are left, and nobody who could wake them by time
        }
        self.queue.pop_first();
        self.now = self.now.max(due);
        self.busy += 1;
        if let Some(Slot::Waiting {
            waker: Some(waker), ..
        }) = self.slots.insert(slot, Slot::Woken)
        {
            waker.wake();
        }
    }

    /// Moves a parked guest to the end of the present instant.
    fn unpark(&mut self, slot: u64) {
        let now = self.now;
        if let Some(Slot::Waiting { key, .. }) = self.slots.get_mut(&slot)
            && key.0 == Timestamp::MAX
        {
            let old = *key;
            *key = (now, old.1, old.2);
            let new = *key;
            self.queue.remove(&old);
            self.queue.insert(new, slot);
            self.turn();
        }
    }
}

/// A place in a virtual clock's queue.
#[derive(Debug)]
pub(crate) struct VirtualSleep {
    clock: VirtualClock,
    slot: u64,
    /// The sleeper was busy before and is again afterwards, however the sleep ends.
    gave_up_busy: bool,
    done: bool,
}

impl Future for VirtualSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let clock = self.clock.clone();
        let mut inner = clock.lock();
        let slot = self.slot;
        match inner.slots.get_mut(&slot) {
            Some(Slot::Waiting { waker, .. }) => {
                *waker = Some(cx.waker().clone());
                // A ticket is taken before anyone could give the clock a turn.
                inner.turn();
                match inner.slots.get(&slot) {
                    Some(Slot::Woken) => {}
                    Some(Slot::Waiting { .. }) | None => return Poll::Pending,
                }
            }
            Some(Slot::Woken) | None => {}
        }
        inner.slots.remove(&slot);
        self.done = true;
        Poll::Ready(())
    }
}

impl Drop for VirtualSleep {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let mut inner = self.clock.lock();
        match inner.slots.remove(&self.slot) {
            Some(Slot::Waiting { key, .. }) => {
                inner.queue.remove(&key);
                if self.gave_up_busy {
                    inner.busy += 1;
                }
            }
            // Woken and never looked: the turn made us busy; keep that only if we were before.
            Some(Slot::Woken) if !self.gave_up_busy => inner.idle(),
            Some(Slot::Woken) | None => {}
        }
    }
}

/// See [`VirtualClock::ticket`].
pub(crate) struct Ticket {
    sleep: VirtualSleep,
}

impl Ticket {
    pub(crate) async fn turn(self) -> Busy {
        let clock = self.sleep.clock.clone();
        self.sleep.await;
        Busy(Some(clock))
    }
}

/// Wakes a parked guest.
#[derive(Debug, Clone)]
pub(crate) struct Parked {
    clock: VirtualClock,
    slot: u64,
}

impl Parked {
    pub(crate) fn wake(&self) {
        self.clock.lock().unpark(self.slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    /// A sleep that is longer than the wall can count is one without end, not a panic.
    #[tokio::test]
    async fn the_longest_sleep_can_be_begun() {
        let slow = RealClock::new(start(), Scale::new(Scale::SLOWEST).unwrap());
        assert!(futures_util::poll!(slow.sleep(Duration::MAX)).is_pending());
    }

    #[tokio::test]
    async fn time_jumps_to_the_earliest_sleeper_and_wakes_one_at_a_time() {
        let clock = VirtualClock::new(start());
        let order = Arc::new(Mutex::new(Vec::new()));
        let hold = clock.busy();
        let mut tasks = Vec::new();
        for (name, seconds) in [
            ("slow", 3600),
            ("quick", 1),
            ("middle", 60),
            ("also quick", 1),
        ] {
            let (clock, order, ticket) = (clock.clone(), order.clone(), clock.ticket());
            tasks.push(tokio::spawn(async move {
                let _busy = ticket.turn().await;
                clock.sleep(Duration::from_secs(seconds)).await;
                order.lock().unwrap().push((name, clock.now()));
            }));
        }
        drop(hold);
        for task in tasks {
            task.await.unwrap();
        }
        let seen = order.lock().unwrap().clone();
        let names: Vec<_> = seen.iter().map(|(n, _)| *n).collect();
        assert_eq!(names, ["quick", "also quick", "middle", "slow"]);
        assert_eq!(seen[3].1, after(start(), Duration::from_secs(3600)));
    }

    #[tokio::test]
    async fn nothing_moves_while_someone_is_busy() {
        let clock = VirtualClock::new(start());
        let hold = clock.busy();
        let ticket = clock.ticket();
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move {
                let _busy = ticket.turn().await;
                clock.sleep(Duration::from_secs(5)).await;
            }
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!sleeper.is_finished());
        assert_eq!(clock.now(), start());
        drop(hold);
        sleeper.await.unwrap();
        assert_eq!(clock.now(), after(start(), Duration::from_secs(5)));
    }

    #[tokio::test]
    async fn a_dropped_sleep_gives_its_place_back() {
        let clock = VirtualClock::new(start());
        let hold = clock.busy();
        let mut sleep = clock.sleep(Duration::from_secs(5));
        assert!(futures_util::poll!(&mut sleep).is_ready() || clock.now() >= start());
        drop(sleep);
        drop(hold);
        assert_eq!(clock.lock().busy, 0);
        assert!(clock.lock().slots.is_empty());
    }
}
