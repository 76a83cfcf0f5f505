//! What verifying can find.

use thiserror::Error;

use crate::journal::Illegal;

/// What is wrong, as precisely as it can be said.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Flaw {
    /// An entry is not what was logged.
    #[error("entry {sequence} of run {run} (leaf {leaf}): {why}")]
    Entry {
        /// The run.
        run: String,
        /// The entry's number.
        sequence: u64,
        /// Its leaf's number.
        leaf: u64,
        /// What does not fit.
        why: String,
    },
    /// A leaf is not what it was.
    #[error("leaf {leaf}: {why}")]
    Leaf {
        /// Its number.
        leaf: u64,
        /// What does not fit.
        why: String,
    },
    /// A file of the log is not what the leaves give.
    #[error("`{path}` is not what the entries give{}", hint(.entry))]
    File {
        /// The file.
        path: String,
        /// The first entry that differs: run and number.
        entry: Option<(String, u64)>,
    },
    /// A run's journal cannot have been written by a run.
    #[error("run {run}: {illegal}")]
    Journal {
        /// The run.
        run: String,
        /// What.
        illegal: Illegal,
    },
    /// The index of runs does not say what a run's journal says.
    #[error("run {run}: {why}")]
    Index {
        /// The run.
        run: String,
        /// What does not fit.
        why: String,
    },
    /// The store's file is not made as this program makes it.
    #[error("{0}")]
    Store(String),
    /// The tree is not the one that was signed.
    #[error("{what} was signed for another tree of {size} entries")]
    Root {
        /// Which checkpoint.
        what: String,
        /// Of how many entries.
        size: u64,
    },
    /// The checkpoint is missing, not signed, or of more entries than there are.
    #[error("{0}")]
    Checkpoint(String),
    /// Something cannot be read.
    #[error("{0}")]
    Unreadable(String),
}

fn hint(entry: &Option<(String, u64)>) -> String {
    entry.as_ref().map_or_else(String::new, |(run, sequence)| {
        format!(", from entry {sequence} of run {run} on")
    })
}
