//! Watching a run. Progress on a terminal, `--json`, a web page and a report all read the same
//! stream: the entries of the journal, in order.

use crate::journal::Record;

/// Sees every entry as it takes its place in the journal, before it is durable. Called on the
/// journal's thread: return quickly.
pub trait Observer: Send + Sync + 'static {
    /// An entry of `run`.
    fn entry(&self, run: &str, record: &Record);
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn entry(&self, _run: &str, _record: &Record) {}
}
