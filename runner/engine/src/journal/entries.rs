//! The payloads of entries, as they are in JSON. Fields are only added, with a default.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::Actor;
use crate::contract::{Failure, ItemState, Level, ProblemKind};
use crate::effect::{Difference, Mode, Request, Row};

/// The header of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunOpened {
    /// [`super::FORMAT`].
    pub format: u32,
    /// The run's id.
    pub run: String,
    /// The version of this crate.
    pub engine: String,
    /// Whether effects reach the world.
    pub mode: Mode,
    /// When it was started, by the wall clock: what expressions see as `run.started_at`.
    pub started_at: Timestamp,
    /// The runbook's name.
    pub runbook: String,
    /// SHA-256 of its text, in hexadecimal.
    pub runbook_digest: String,
    /// Its text: a run goes on with what it was started with.
    pub runbook_text: String,
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
    /// Of a rehearsal for a plan: the run that applies it, by whose id expressions and plugins know
    /// the rehearsal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rehearses: Option<String>,
    /// The faults that a rehearsal was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
    /// The plan that is applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanApplied>,
}

impl RunOpened {
    /// The id by which expressions and plugins know the run.
    pub fn known_as(&self) -> &str {
        self.rehearses.as_deref().unwrap_or(&self.run)
    }
}

/// A plan as a run applies it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanApplied {
    /// SHA-256 of the plan.
    pub digest: String,
    /// The name of its author's key.
    pub author: String,
    /// The names of the keys whose approval counted.
    pub approvals: Vec<String>,
    /// What had changed on the target and was accepted.
    pub accepted_drift: Vec<String>,
    /// The plan with its signatures: a run goes on with what it was started with.
    pub text: String,
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
    /// Which steps use it, by id: two plugins may call themselves the same, and be changed for one
    /// another. Empty in older journals and plans.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<String>,
}

/// A step has begun.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StepBegan {
    /// The step's key: its id, with `~2` behind it for a second attempt.
    pub step: String,
    /// The plugin's name.
    pub plugin: String,
    /// SHA-256 of its component: two plugins may call themselves the same. Empty in older journals.
    #[serde(default)]
    pub digest: String,
    /// From 1.
    pub attempt: u32,
    /// What the plugin is given.
    pub input: Value,
    /// What it may do.
    pub grant: Value,
    /// The plugin's first `now`: milliseconds since the epoch of the run's clock.
    pub now: u64,
}

/// What the gate decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// It is performed.
    Allowed,
    /// It is not.
    Denied,
    /// It is not, because the plan that is applied does not have it.
    Unplanned,
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
    /// The web origin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// What else it is within, by the word of a grant's scope.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub within: BTreeMap<String, String>,
    /// Everything else.
    #[serde(default)]
    pub arguments: Value,
}

impl IntendedRequest {
    /// As it is written down.
    pub fn of(request: &Request) -> Self {
        Self {
            operation: request.row.name.to_owned(),
            app: request.app.clone(),
            subject: request.subject.clone(),
            origin: request.origin.clone(),
            within: request.within.clone(),
            arguments: request.arguments.clone(),
        }
    }

    /// Back as a request for the operation of a row.
    pub(crate) fn request(&self, row: &'static Row) -> Request {
        Request {
            row,
            app: self.app.clone(),
            subject: self.subject.clone(),
            origin: self.origin.clone(),
            within: self.within.clone(),
            arguments: self.arguments.clone(),
        }
    }

    /// The capability's part of the operation's name.
    pub fn capability(&self) -> &str {
        let split = self.operation.split_once('.');
        split.map_or(self.operation.as_str(), |(capability, _)| capability)
    }

    /// What it acts on, for people: `app/subject`, or whichever of the two there is, or the origin.
    pub fn on(&self) -> String {
        if let Some(origin) = &self.origin {
            return origin.clone();
        }
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
    /// SHA-256 of the plan that was made of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
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
    /// The run was interrupted: nothing more is sent, what is under way is seen to its end.
    Interrupted,
    /// Another process goes on with the run.
    Resumed {
        /// Who.
        actor: Actor,
        /// The version of this crate.
        engine: String,
        /// What others had changed meanwhile, and whoever goes on with it accepted.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        accepted: Vec<Difference>,
    },
    /// The run comes from another store: what stands before this was taken in with a bundle.
    TakenIn {
        /// Who took it in.
        actor: Actor,
        /// The version of this crate.
        engine: String,
        /// The public key of who handed it on.
        by: String,
        /// What that key signed: the last link of the run's chain so far.
        digest: String,
    },
}
