//! How fast a clock runs, and the one place where a duration is multiplied with a fraction. Nothing here
//! can fail, whatever the durations are.

use std::time::Duration;

/// How many seconds of a clock pass in one second of the wall: a number that can be reckoned with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale(f64);

impl Scale {
    /// As the wall.
    pub const REAL: Self = Self(1.0);
    /// The slowest. Beyond it a second of a run is longer than a run's claim on itself.
    pub const SLOWEST: f64 = 0.001;
    /// The fastest. Beyond it nothing can be told from nothing: a day is less than a second.
    pub const FASTEST: f64 = 100_000.0;

    /// A scale; none if the number is none that can be reckoned with.
    pub fn new(times: f64) -> Option<Self> {
        (Self::SLOWEST..=Self::FASTEST)
            .contains(&times)
            .then_some(Self(times))
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }

    /// How long the wall takes for so much time of the clock; the longest there is instead of more.
    pub fn on_the_wall(self, duration: Duration) -> Duration {
        times(duration, 1.0 / self.0)
    }

    /// How much time of the clock passes while so much passes on the wall.
    pub fn on_the_clock(self, duration: Duration) -> Duration {
        times(duration, self.0)
    }
}

/// The one multiplication of a duration with a fraction. It cannot fail.
fn times(duration: Duration, factor: f64) -> Duration {
    if factor == 1.0 {
        return duration;
    }
    Duration::try_from_secs_f64(duration.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_duration_at_any_scale_is_a_duration() {
        for bad in [
            0.0,
            -1.0,
            1e300,
            f64::NAN,
            f64::INFINITY,
            0.000_9,
            100_001.0,
        ] {
            assert_eq!(Scale::new(bad), None, "{bad}");
        }
        for good in [Scale::SLOWEST, 1.0, Scale::FASTEST] {
            let scale = Scale::new(good).unwrap();
            for duration in [
                Duration::ZERO,
                Duration::from_millis(u64::MAX),
                Duration::MAX,
            ] {
                let wall = scale.on_the_wall(duration);
                assert_eq!(wall.is_zero(), duration.is_zero());
                assert!(scale.on_the_clock(duration) >= Duration::ZERO);
            }
        }
        let twenty = Scale::new(20.0).unwrap();
        assert_eq!(
            twenty.on_the_wall(Duration::from_secs(60)),
            Duration::from_secs(3)
        );
        assert_eq!(
            twenty.on_the_clock(Duration::from_secs(3)),
            Duration::from_secs(60)
        );
        assert_eq!(Scale::REAL.on_the_wall(Duration::MAX), Duration::MAX);
    }
}
