//! The journal: the durable, ordered entries of one run.
//!
//! Entry kinds are few and total. A run's state is the fold of its entries ([`RunState::fold`]);
//! nothing about a run is stored anywhere else, the index of runs in the store apart, which is
//! derived. [`Writer`] is the only thing that appends.

mod fold;
mod writer;

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::bindings::{Failure, ItemState, Level, ProblemKind};
use crate::effect::{Outcome, Request};

pub use fold::{Illegal, OperationState, RunState, StepState};
pub use writer::{JournalError, Writer};

/// The version of the format of the entries below. Older ones stay readable for ever.
pub const FORMAT: u32 = 1;

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

/// Whether effects reach the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Writes act on the target.
    Perform,
    /// Writes act on a fork of it.
    Rehearsal,
}

/// Who runs it, as told by the program that embeds the engine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The person or account.
    pub user: String,
    /// The machine.
    pub host: String,
    /// The process on it.
    pub process: u32,
    /// The boot that process belongs to, so that a later process of the same number is not
    /// mistaken for it; empty if unknown.
    #[serde(default)]
    pub boot: String,
}

/// The header of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunOpened {
    /// [`FORMAT`].
    pub format: u32,
    /// The run's id.
    pub run: String,
    /// The version of this crate.
    pub engine: String,
    /// Whether effects reach the world.
    pub mode: Mode,
    /// The runbook's name.
    pub runbook: String,
    /// SHA-256 of its text, in hexadecimal.
    pub runbook_digest: String,
    /// The inputs, checked and with their defaults.
    pub inputs: Value,
    /// The target's name and addresses; no credential.
    pub target: Value,
    /// Who runs it.
    pub actor: Actor,
    /// Seeds `random` and every jitter.
    pub seed: u64,
    /// Name and SHA-256 of every plugin.
    pub plugins: Vec<PluginUsed>,
    /// SHA-256 of the operator's policy in force, if there is one.
    pub policy_digest: Option<String>,
    /// The limits in force.
    pub limits: crate::limits::Limits,
    /// The locks held.
    pub locks: Vec<String>,
}

/// A plugin as a run uses it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginUsed {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of the component.
    pub digest: String,
}

/// A step has begun.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StepBegan {
    /// The step's key: its id, with `~2` behind it for a second attempt.
    pub step: String,
    /// The plugin's name.
    pub plugin: String,
    /// From 1.
    pub attempt: u32,
    /// What the plugin is given.
    pub input: Value,
    /// What it may do.
    pub grant: Value,
}

/// What the gate decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// It is performed.
    Allowed,
    /// It is not.
    Denied,
}

/// An effect, before it is performed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Intended {
    /// The step's key.
    pub step: String,
    /// The number of the effect within the step.
    pub effect: u64,
    /// Allowed or denied.
    pub decision: Decision,
    /// The host does this of its own accord (giving leases back), not for the plugin.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub host: bool,
    /// Operation, app, subject, arguments.
    pub request: IntendedRequest,
    /// What was read before, so that it can be found out later whether it happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Value>,
}

/// A [`Request`] read back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IntendedRequest {
    /// `machines.restart`.
    pub operation: String,
    /// The app.
    #[serde(default)]
    pub app: Option<String>,
    /// What in the app.
    #[serde(default)]
    pub subject: Option<String>,
    /// Everything else.
    #[serde(default)]
    pub arguments: Value,
}

impl IntendedRequest {
    /// What it acts on, for people: `app/subject`, or whichever of the two there is.
    pub fn on(&self) -> String {
        let named = [self.app.as_deref(), self.subject.as_deref()];
        named.into_iter().flatten().collect::<Vec<_>>().join("/")
    }
}

/// What became of an effect.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Settled {
    /// The step's key.
    pub step: String,
    /// The effect's number.
    pub effect: u64,
    /// A write of which it is not known whether it happened.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_doubt: bool,
    /// The bytes that the plugin gets, if it succeeded; `null` is an answer too.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub answer: Option<Box<RawValue>>,
    /// Why it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(from).map(Some)
}

/// What the plugin has been given.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Delivered {
    /// The step's key.
    pub step: String,
    /// Effect numbers in the order of delivery.
    pub effects: Vec<u64>,
    /// The plugin's `now` from here on: milliseconds since the epoch of the run's clock.
    pub now: u64,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepStatus {
    /// The plugin succeeded.
    Succeeded,
    /// It did not.
    Failed,
    /// Its `when` did not hold, or a step it needs failed.
    Skipped,
    /// The run was interrupted.
    Cancelled,
}

/// Why a step failed, as the journal keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepProblem {
    /// Who is at fault.
    pub kind: ProblemKind,
    /// A stable word for what stopped it, when it was not the plugin: `trap`, `memory`, `fuel`,
    /// `stack`, `wall-clock`, `output`, `operations`, `result-bytes`, `expression`, `input`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// One sentence.
    pub message: String,
}

/// A step has ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StepEnded {
    /// The step's key.
    pub step: String,
    /// How.
    pub status: StepStatus,
    /// The plugin's output, also a partial one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// Why it failed or was skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<StepProblem>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunStatus {
    /// Every step that was due succeeded.
    Succeeded,
    /// A step failed.
    Failed,
    /// Stopped by an interrupt, in order.
    Interrupted,
    /// Closed by `runs cancel` after its process was gone.
    Cancelled,
    /// A write is in doubt.
    InDoubt,
}

impl RunStatus {
    /// The word in the journal.
    pub fn word(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
            Self::Cancelled => "cancelled",
            Self::InDoubt => "in-doubt",
        }
    }
}

/// A run has ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunClosed {
    /// How.
    pub status: RunStatus,
    /// Effects whose outcome is not known, as `step/number`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub in_doubt: Vec<String>,
}

/// Something said to people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The step's key; none if the host speaks of the whole run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// What is said.
    pub note: NoteBody,
}

/// The forms of a note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoteBody {
    /// A sentence.
    Text {
        /// How much it matters.
        level: Level,
        /// The sentence.
        message: String,
    },
    /// How much work there is.
    Expect {
        /// How many.
        total: u32,
        /// Of what.
        unit: String,
    },
    /// Where the work on one item is.
    Item {
        /// Its name.
        name: String,
        /// Where.
        at: ItemState,
    },
}

/// An entry before it has a place.
#[derive(Debug)]
pub struct Draft {
    pub(crate) kind: EntryKind,
    pub(crate) payload: String,
    pub(crate) closing: Option<RunStatus>,
}

impl Draft {
    fn new<T: Serialize>(kind: EntryKind, payload: &T) -> Self {
        // The payload types hold nothing that JSON cannot: no maps with other keys than text.
        let payload = serde_json::to_string(payload)
            .unwrap_or_else(|e| format!("{{\"unwritable\":{:?}}}", e.to_string()));
        Self {
            kind,
            payload,
            closing: None,
        }
    }

    pub(crate) fn run_opened(payload: &RunOpened) -> Self {
        Self::new(EntryKind::RunOpened, payload)
    }

    pub(crate) fn step_began(payload: &StepBegan) -> Self {
        Self::new(EntryKind::StepBegan, payload)
    }

    pub(crate) fn step_ended(payload: &StepEnded) -> Self {
        Self::new(EntryKind::StepEnded, payload)
    }

    pub(crate) fn run_closed(payload: &RunClosed) -> Self {
        Self {
            closing: Some(payload.status),
            ..Self::new(EntryKind::RunClosed, payload)
        }
    }

    pub(crate) fn note(step: Option<&str>, note: NoteBody) -> Self {
        Self::new(
            EntryKind::Note,
            &Note {
                step: step.map(str::to_owned),
                note,
            },
        )
    }

    pub(crate) fn delivered(step: &str, effects: Vec<u64>, now: u64) -> Self {
        Self::new(
            EntryKind::Delivered,
            &Delivered {
                step: step.to_owned(),
                effects,
                now,
            },
        )
    }

    /// Written without building an [`Intended`]: this is the hot path.
    pub(crate) fn intended(
        step: &str,
        effect: u64,
        decision: Decision,
        host: bool,
        request: &Request,
        baseline: Option<&Value>,
    ) -> Self {
        #[derive(Serialize)]
        struct Line<'a> {
            step: &'a str,
            effect: u64,
            decision: Decision,
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            host: bool,
            request: &'a Request,
            #[serde(skip_serializing_if = "Option::is_none")]
            baseline: Option<&'a Value>,
        }
        Self::new(
            EntryKind::Intended,
            &Line {
                step,
                effect,
                decision,
                host,
                request,
                baseline,
            },
        )
    }

    /// Puts the answer's bytes in unchanged.
    pub(crate) fn settled(step: &str, effect: u64, outcome: &Outcome) -> Self {
        #[derive(Serialize)]
        struct Line<'a> {
            step: &'a str,
            effect: u64,
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            in_doubt: bool,
            #[serde(skip_serializing_if = "Option::is_none")]
            answer: Option<&'a RawValue>,
            #[serde(skip_serializing_if = "Option::is_none")]
            failure: Option<&'a Failure>,
        }
        let answer = outcome
            .result
            .as_ref()
            .ok()
            .and_then(|json| serde_json::from_str::<&RawValue>(json).ok());
        let failure = outcome.result.as_ref().err();
        Self::new(
            EntryKind::Settled,
            &Line {
                step,
                effect,
                in_doubt: outcome.in_doubt,
                answer,
                failure,
            },
        )
    }
}
