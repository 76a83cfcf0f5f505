//! Time in the model: milliseconds since the Unix epoch, moved only by `Fleet::advance_to`.
//!
//! A newtype and not `jiff::Timestamp`, because the model adds and compares constantly and Fly
//! itself speaks milliseconds (event timestamps) or RFC 3339 text, never nanoseconds.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The last millisecond of the year 9998, well inside what RFC 3339 can write.
const LATEST: u64 = 253_370_764_799_999;

/// A moment, in milliseconds since the Unix epoch.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize)]
#[serde(transparent)]
pub struct Time(u64);

impl Time {
    /// A moment by its milliseconds since the epoch; later than the year 9998 is cut to it.
    pub const fn from_millis(millis: u64) -> Time {
        Time(if millis > LATEST { LATEST } else { millis })
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the epoch, as leases count them.
    pub const fn as_seconds(self) -> u64 {
        self.0 / 1000
    }

    /// This moment and `millis` more.
    #[must_use]
    pub const fn after(self, millis: u64) -> Time {
        Time::from_millis(self.0.saturating_add(millis))
    }

    /// Milliseconds from `earlier` to this moment, 0 if it is later.
    pub const fn since(self, earlier: Time) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// RFC 3339 text such as `2026-01-02T03:04:05.678Z`.
    pub fn rfc3339(self) -> String {
        self.to_string()
    }

    /// Reads RFC 3339 text; parts finer than a millisecond are cut off.
    pub fn parse(text: &str) -> Option<Time> {
        let stamp: jiff::Timestamp = text.parse().ok()?;
        u64::try_from(stamp.as_millisecond())
            .ok()
            .map(Time::from_millis)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = i64::try_from(self.0).unwrap_or(0);
        let stamp = jiff::Timestamp::from_millisecond(millis).unwrap_or_default();
        stamp.fmt(f)
    }
}

impl From<jiff::Timestamp> for Time {
    fn from(stamp: jiff::Timestamp) -> Time {
        Time::from_millis(u64::try_from(stamp.as_millisecond()).unwrap_or(0))
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Time, D::Error> {
        u64::deserialize(from).map(Time::from_millis)
    }
}
