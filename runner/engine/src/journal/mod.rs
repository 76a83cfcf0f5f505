//! The journal: the durable, ordered entries of one run.
//!
//! Entry kinds are few and total. A run's state is the fold of its entries ([`RunState::fold`]);
//! nothing about a run is stored anywhere else, the index of runs in the store apart, which is
//! derived. The writer of a run ([`crate::store::Writer`]) is the only thing that appends, but for a
//! bundle that is taken in.

mod actor;
mod draft;
mod entries;
mod fold;
pub mod leaf;
mod observer;

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use crate::effect::Mode;
pub use actor::Actor;
pub use draft::Draft;
pub use entries::{
    Decision, Delivered, Intended, IntendedRequest, Note, NoteBody, PlanApplied, PluginUsed,
    RunClosed, RunOpened, RunStatus, Settled, StepBegan, StepEnded, StepProblem, StepStatus,
};
pub use fold::{Illegal, OperationState, RunState, StepState};
pub use observer::{Observer, Unobserved};

/// The version of the format of the entries below. Older ones stay readable for ever.
pub const FORMAT: u32 = 1;

/// A step's key in the journal: its id, with `~2` behind it for a second attempt.
pub(crate) fn step_key(id: &str, attempt: u32) -> String {
    match attempt {
        1 => id.to_owned(),
        later => format!("{id}~{later}"),
    }
}

/// The id of the step that has this key.
pub(crate) fn step_id(key: &str) -> &str {
    key.split_once('~').map_or(key, |(id, _)| id)
}

/// What an entry is. The spelling is the format's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EntryKind {
    /// First, once: what is run, by whom, with what.
    RunOpened,
    /// A step has begun.
    StepBegan,
    /// An effect is about to be performed, or has been denied.
    Intended,
    /// What became of it.
    Settled,
    /// Effects whose outcome the plugin has now been given, in this order.
    Delivered,
    /// A step has ended.
    StepEnded,
    /// Last, once.
    RunClosed,
    /// Something a plugin or the host says to people.
    Note,
}

impl EntryKind {
    /// The word in the journal.
    pub fn word(self) -> &'static str {
        match self {
            Self::RunOpened => "run-opened",
            Self::StepBegan => "step-began",
            Self::Intended => "intended",
            Self::Settled => "settled",
            Self::Delivered => "delivered",
            Self::StepEnded => "step-ended",
            Self::RunClosed => "run-closed",
            Self::Note => "note",
        }
    }

    /// The kind of a word.
    pub fn of(word: &str) -> Option<Self> {
        [
            Self::RunOpened,
            Self::StepBegan,
            Self::Intended,
            Self::Settled,
            Self::Delivered,
            Self::StepEnded,
            Self::RunClosed,
            Self::Note,
        ]
        .into_iter()
        .find(|kind| kind.word() == word)
    }
}

/// An entry as it is stored: its place, when it was written, and its payload in JSON.
#[derive(Debug, Clone)]
pub struct Record {
    /// From 0, without gaps.
    pub sequence: u64,
    /// The wall clock when it was appended.
    pub at: Timestamp,
    /// Says which payload type this is.
    pub kind: EntryKind,
    /// Canonical JSON.
    pub payload: Arc<str>,
}

impl Record {
    /// The payload as the type of its kind.
    ///
    /// # Errors
    /// The text of what does not fit.
    pub fn entry(&self) -> Result<Entry, String> {
        fn read<T: serde::de::DeserializeOwned>(payload: &str) -> Result<T, String> {
            serde_json::from_str(payload).map_err(|e| e.to_string())
        }
        Ok(match self.kind {
            EntryKind::RunOpened => Entry::RunOpened(read(&self.payload)?),
            EntryKind::StepBegan => Entry::StepBegan(read(&self.payload)?),
            EntryKind::Intended => Entry::Intended(read(&self.payload)?),
            EntryKind::Settled => Entry::Settled(read(&self.payload)?),
            EntryKind::Delivered => Entry::Delivered(read(&self.payload)?),
            EntryKind::StepEnded => Entry::StepEnded(read(&self.payload)?),
            EntryKind::RunClosed => Entry::RunClosed(read(&self.payload)?),
            EntryKind::Note => Entry::Note(read(&self.payload)?),
        })
    }
}

/// A payload.
#[derive(Debug, Clone)]
pub enum Entry {
    /// See [`EntryKind::RunOpened`].
    RunOpened(Box<RunOpened>),
    /// See [`EntryKind::StepBegan`].
    StepBegan(StepBegan),
    /// See [`EntryKind::Intended`].
    Intended(Intended),
    /// See [`EntryKind::Settled`].
    Settled(Settled),
    /// See [`EntryKind::Delivered`].
    Delivered(Delivered),
    /// See [`EntryKind::StepEnded`].
    StepEnded(StepEnded),
    /// See [`EntryKind::RunClosed`].
    RunClosed(RunClosed),
    /// See [`EntryKind::Note`].
    Note(Note),
}
