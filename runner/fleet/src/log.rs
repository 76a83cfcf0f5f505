//! What was asked, and what was really done.
//!
//! Tests compare the two with a run's journal: an effect that appears twice in the applied log
//! happened twice, whatever the client was told.

use std::collections::VecDeque;

use serde::Serialize;

use crate::Time;

/// Bytes kept of each log, reckoned generously; older entries are dropped and counted. Enough for a
/// benchmark of 5,000 Machines.
pub const LOG_BYTES: usize = 64 << 20;

/// What an entry keeps.
pub trait Kept {
    /// Its size with the texts in it, in bytes.
    fn bytes(&self) -> usize;
}

/// An allocation is larger than what was asked for.
fn text(text: &str) -> usize {
    text.len() + 16
}

fn texts(all: &[&Option<String>]) -> usize {
    all.iter().filter_map(|it| it.as_deref()).map(text).sum()
}

impl Kept for Applied {
    fn bytes(&self) -> usize {
        size_of::<Self>() + text(&self.app) + text(&self.id) + texts(&[&self.effect])
    }
}

impl Kept for Request {
    fn bytes(&self) -> usize {
        let own = size_of::<Self>() + text(&self.method) + text(&self.path);
        let all = [&self.app, &self.id, &self.effect, &self.token, &self.fault];
        own + texts(&all)
    }
}

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

/// A log bounded by its bytes.
#[derive(Clone, Debug)]
pub struct Log<T> {
    entries: VecDeque<T>,
    bytes: usize,
    dropped: u64,
}

impl<T> Default for Log<T> {
    fn default() -> Log<T> {
        Log {
            entries: VecDeque::new(),
            bytes: 0,
            dropped: 0,
        }
    }
}

impl<T: Kept> Log<T> {
    /// Adds an entry, dropping the oldest while there are too many bytes.
    pub fn push(&mut self, entry: T) {
        self.bytes += entry.bytes();
        self.entries.push_back(entry);
        while self.bytes > LOG_BYTES
            && let Some(oldest) = self.entries.pop_front()
        {
            self.bytes -= oldest.bytes();
            self.dropped += 1;
        }
    }
}

impl<T> Log<T> {
    /// The entries, oldest first.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &T> {
        self.entries.iter()
    }

    /// How many were dropped.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_keeps_so_many_bytes_and_counts_what_it_drops() {
        let mut log = Log::<Request>::default();
        let entry = |path: usize| Request {
            path: "x".repeat(path),
            ..Request::default()
        };
        let one = entry(1 << 20).bytes();
        let fit = LOG_BYTES / one;
        for _ in 0..fit {
            log.push(entry(1 << 20));
        }
        assert_eq!((log.entries().len(), log.dropped()), (fit, 0));
        log.push(entry(1 << 20));
        assert_eq!((log.entries().len(), log.dropped()), (fit, 1));
        // One that is larger than all of it is not kept either.
        log.push(entry(LOG_BYTES));
        assert_eq!((log.entries().len(), log.dropped()), (0, fit as u64 + 2));
        log.push(entry(1));
        assert_eq!(log.entries().len(), 1);
    }
}
