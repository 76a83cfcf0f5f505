//! What was asked, and what was really done.
//!
//! Tests compare the two with a run's journal: an effect that appears twice in the applied log
//! happened twice, whatever the client was told.

use std::collections::VecDeque;

use serde::Serialize;

use crate::Time;

/// Entries kept of each log; older ones are dropped and counted. Enough for a benchmark of
/// 5,000 Machines, about 100 MB at worst.
pub const LOG_CAPACITY: usize = 500_000;

/// A write that changed the world.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// When.
    pub at: Time,
    /// Such as `machines.restart`.
    pub command: &'static str,
    /// The app.
    pub app: String,
    /// The Machine or release; empty for a write to the app.
    pub id: String,
    /// The effect that the client named.
    pub effect: Option<String>,
}

/// A request that arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Request {
    /// When it arrived.
    pub at: Time,
    /// `GET`, `POST`, …
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Such as `machines.restart`; empty for an unknown path.
    pub route: &'static str,
    /// The app, if the request names one.
    pub app: Option<String>,
    /// The Machine or release, if the path names one.
    pub id: Option<String>,
    /// The effect that the client named.
    pub effect: Option<String>,
    /// Whose token it carried.
    pub token: Option<String>,
    /// The status that was answered; 0 if the connection was cut instead.
    pub status: u16,
    /// The fault that was injected.
    pub fault: Option<String>,
}

/// A bounded log.
#[derive(Clone, Debug)]
pub struct Log<T> {
    entries: VecDeque<T>,
    dropped: u64,
}

impl<T> Default for Log<T> {
    fn default() -> Log<T> {
        Log {
            entries: VecDeque::new(),
            dropped: 0,
        }
    }
}

impl<T> Log<T> {
    /// Adds an entry, dropping the oldest when full.
    pub fn push(&mut self, entry: T) {
        if self.entries.len() >= LOG_CAPACITY {
            self.entries.pop_front();
            self.dropped += 1;
        }
        self.entries.push_back(entry);
    }

    /// The entries, oldest first.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &T> {
        self.entries.iter()
    }

    /// How many were dropped.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}
