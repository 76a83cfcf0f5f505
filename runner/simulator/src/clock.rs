//! The simulator's one clock: wall time times a scale, or moved by hand.

use std::time::{Duration, Instant};

use groundcrew_fleet::Time;
use tokio::sync::watch;

/// How time passes.
#[derive(Copy, Clone, Debug, PartialEq)]
pub enum Pace {
    /// This many simulated seconds a second; 1.0 is real time.
    Scaled(f64),
    /// Only when somebody says so.
    ByHand,
}

/// The slowest and the fastest scale: beyond them a sleep rounds to nothing or to for ever.
const SCALES: std::ops::RangeInclusive<f64> = 0.001..=100_000.0;

#[derive(Debug)]
pub(crate) struct Clock {
    begun: Instant,
    start: Time,
    scale: Option<f64>,
    hand: watch::Sender<Time>,
}

impl Clock {
    pub(crate) fn new(start: Time, pace: Pace) -> Clock {
        let scale = match pace {
            Pace::Scaled(scale) if scale.is_finite() => {
                Some(scale.clamp(*SCALES.start(), *SCALES.end()))
            }
            Pace::Scaled(_) => Some(1.0),
            Pace::ByHand => None,
        };
        Clock {
            begun: Instant::now(),
            start,
            scale,
            hand: watch::Sender::new(start),
        }
    }

    pub(crate) fn now(&self) -> Time {
        match self.scale {
            Some(scale) => self
                .start
                .after((self.begun.elapsed().as_secs_f64() * 1000.0 * scale) as u64),
            None => *self.hand.borrow(),
        }
    }

    /// Moves a clock that goes by hand. False for one that runs by itself.
    pub(crate) fn move_by(&self, millis: u64) -> bool {
        if self.scale.is_none() {
            self.hand.send_modify(|now| *now = now.after(millis));
        }
        self.scale.is_none()
    }

    pub(crate) async fn sleep_until(&self, at: Time) {
        let Some(scale) = self.scale else {
            let mut hand = self.hand.subscribe();
            // The sender lives in `self`, so this cannot fail before it is satisfied.
            let _ = hand.wait_for(|now| *now >= at).await;
            return;
        };
        loop {
            let left = at.since(self.now());
            if left == 0 {
                return;
            }
            // One millisecond more, for what rounding cut off.
            let wall = Duration::from_secs_f64((left as f64 / scale + 1.0) / 1000.0);
            tokio::time::sleep(wall).await;
        }
    }
}
