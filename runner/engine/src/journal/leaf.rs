//! The leaf of an entry: the small canonical record that the tree is made of.
//!
//! It names the entry's place and the SHA-256 of its payload, and chains the entries of a run by the
//! SHA-256 of the leaf before. Payloads stay in the store and may be forgotten there; what was said of
//! them stays.

use serde::{Deserialize, Serialize};

use crate::digest::digest;
use crate::journal::{EntryKind, Record};

/// What the first leaf of a run has before it.
pub const NOTHING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// A leaf. Canonical: these fields in this order, as JSON without spaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leaf {
    /// The run.
    pub run: String,
    /// The entry's number in it.
    pub sequence: u64,
    /// What the entry is.
    pub kind: EntryKind,
    /// When it was written: microseconds since the Unix epoch.
    pub at: i64,
    /// SHA-256 of the run's leaf before this one, in hexadecimal; zeros for the first.
    pub previous: String,
    /// SHA-256 of the payload, in hexadecimal.
    pub payload: String,
}

impl Leaf {
    /// The leaf of an entry.
    pub fn of(run: &str, record: &Record, previous: &str) -> Self {
        Self {
            run: run.to_owned(),
            sequence: record.sequence,
            kind: record.kind,
            at: record.at.as_microsecond(),
            previous: previous.to_owned(),
            payload: digest(record.payload.as_bytes()),
        }
    }

    /// Its canonical text.
    pub fn text(&self) -> String {
        // Nothing in it can fail to be written as JSON.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What the next leaf of the run has before it.
pub fn link(leaf: &str) -> String {
    digest(leaf.as_bytes())
}
