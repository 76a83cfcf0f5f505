//! Plans: what a rehearsal did, signed, to be done exactly so.
//!
//! Here is what one says; `signed.rs` is its file. `rehearse/` makes one of a rehearsal; `drift.rs` compares what it rests on with
//! the target as it is now; that a run keeps to it is the gate's business (`gate/writes.rs`).
//!
//! The file is one JSON object. `plan` is the plan itself, and its SHA-256 is over exactly the bytes
//! that stand there; `note` is a signed note (<https://c2sp.org/signed-note>) over that digest, with
//! the author's signature and those of everyone who approved.

mod drift;
mod multiset;
mod signed;
mod truth;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::effect::fault::OperationRule;
use crate::journal::{Actor, IntendedRequest, PluginUsed, RunStatus};
use crate::key::KeyError;

pub use crate::effect::{Difference, InService, Population};
pub use drift::Drift;
pub(crate) use drift::{chosen, compare, misdescribed, projected};
pub(crate) use multiset::{Act, Multiset, What, act};
pub use signed::SignedPlan;
pub(crate) use signed::written;
pub(crate) use truth::untrue;

/// The format that this crate writes.
pub(crate) const FORMAT: u32 = 1;

/// A plan cannot be applied for longer from when it was made: 30 days. Nobody remembers then what it
/// was approved for.
pub const LONGEST_VALIDITY: Duration = Duration::from_hours(30 * 24);

/// What a rehearsal found, and what its application will do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    /// Of the format; 1.
    pub format: u32,
    /// The id of the run that applies it. There is one.
    pub run: String,
    /// When it was made. Also what expressions see as `run.started_at`.
    pub made_at: Timestamp,
    /// Until when it can be applied.
    pub expires_at: Timestamp,
    /// The public key of its author.
    pub author: String,
    /// Who made it.
    pub actor: Actor,
    /// The version of this crate.
    pub engine: String,
    /// The runbook's name.
    pub runbook: String,
    /// SHA-256 of its text, in hexadecimal.
    pub runbook_digest: String,
    /// Its text.
    pub runbook_text: String,
    /// The inputs, checked and with their defaults.
    pub inputs: Value,
    /// The target's name and addresses; no credential.
    pub target: Value,
    /// Seeds `random` and every jitter.
    pub seed: u64,
    /// Name and SHA-256 of every plugin.
    pub plugins: Vec<PluginUsed>,
    /// SHA-256 of the operator's policy when it was made, if there was one.
    pub policy_digest: Option<String>,
    /// What each step can do.
    pub steps: Vec<Powers>,
    /// What was written, in the order in which it was asked for.
    pub writes: Vec<PlannedWrite>,
    /// What it rests on: read from the target before anything was written.
    pub observed: Vec<Observation>,
    /// What the rehearsal took for granted.
    pub assumptions: Vec<Assumption>,
    /// How long the rehearsal took by its own clock, in milliseconds.
    pub expected_ms: u64,
    /// What the steps said to people in the rehearsal, the first hundred.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Said>,
    /// How many notes came after those.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_notes: u64,
    /// How many things there are, by app.
    pub apps: BTreeMap<String, Population>,
    /// What will be different afterwards.
    pub changes: Vec<Difference>,
    /// What the pipeline does when something goes wrong, as far as that was rehearsed.
    pub contingencies: Vec<Contingency>,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// What a step can do, whatever it does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Powers {
    /// The step's id.
    pub step: String,
    /// The plugin's name.
    pub plugin: String,
    /// The functions that it imports, as `interface#function`.
    pub imports: Vec<String>,
    /// What it is granted, by capability.
    pub grants: Map<String, Value>,
    /// It belongs to `rescue` or `finally`: it may do whatever it is granted, planned or not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unbound: bool,
}

/// A write that was rehearsed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedWrite {
    /// The step's id.
    pub step: String,
    /// What is asked for.
    #[serde(flatten)]
    pub request: IntendedRequest,
    /// The name of what it makes, as `step/create#1`: the live id is not known yet. Other writes have
    /// it as their subject, or in their arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub makes: Option<String>,
    /// What may take it back, planned or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<String>,
    /// It was asked for after something that was only assumed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub assumed: bool,
    /// What people want to know of its target: name, group, region.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub about: Map<String, Value>,
}

impl PlannedWrite {
    /// What a new thing is made like, as `app/id`.
    pub(crate) fn like(&self) -> Option<String> {
        let like = self.request.arguments.get("like")?.as_str()?;
        Some(format!("{}/{like}", self.request.app.as_deref()?))
    }
}

/// What was read, or written to, as it was on the target: only the fields that count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// The step that asked; empty in plans of before 0.2.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub step: String,
    /// The request that is asked again to see what has changed.
    #[serde(flatten)]
    pub request: IntendedRequest,
    /// The fields by subject, `app/id`. A listing has every subject that it lists.
    pub found: BTreeMap<String, Map<String, Value>>,
}

/// Something that a rehearsal took for granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assumption {
    /// The operation.
    pub operation: String,
    /// What was assumed, in words.
    pub what: String,
    /// Of how many answers.
    pub answers: u64,
}

/// A sentence of a step's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// The step's id.
    pub step: String,
    /// The sentence.
    pub text: String,
}

/// What the pipeline does when these faults strike.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Contingency {
    /// The faults, as they were asked for.
    pub faults: Vec<String>,
    /// The rehearsal's run.
    pub rehearsal: String,
    /// How it ended.
    pub status: RunStatus,
    /// What it wrote.
    pub writes: Vec<PlannedWrite>,
}

/// Why a plan cannot be used. Nothing has happened.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlanError {
    /// It is none.
    #[error("this is no plan: {0}")]
    Malformed(String),
    /// It is not what was signed.
    #[error("the plan was changed after it was signed")]
    Edited,
    /// Its author's signature is missing, or wrong.
    #[error("the plan is not signed by its author `{author}`: {why}")]
    Unsigned {
        /// The author's key, by name.
        author: String,
        /// Why.
        why: String,
    },
    /// What it says of itself is not so.
    #[error("the plan says what is not so: {0}")]
    Untrue(String),
    /// Nobody here knows its author.
    #[error("the plan is signed by `{0}`, whose key is not known here")]
    Foreign(String),
    /// It cannot be signed.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Puts names in the place of ids, by app and id, wherever a text is exactly one.
pub(crate) fn renamed(
    request: &IntendedRequest,
    names: &HashMap<(String, String), String>,
) -> IntendedRequest {
    let mut request = request.clone();
    let Some(app) = request.app.clone() else {
        return request;
    };
    let name = |id: &str| names.get(&(app.clone(), id.to_owned())).cloned();
    if let Some(name) = request.subject.as_deref().and_then(name) {
        request.subject = Some(name);
    }
    rename(&mut request.arguments, &name);
    request
}

fn rename(value: &mut Value, name: &impl Fn(&str) -> Option<String>) {
    match value {
        Value::String(text) => {
            if let Some(name) = name(text) {
                *text = name;
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| rename(value, name)),
        Value::Object(fields) => fields.values_mut().for_each(|value| rename(value, name)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Faults as they were asked for.
pub(crate) fn texts(rules: &[OperationRule]) -> Vec<String> {
    rules.iter().map(ToString::to_string).collect()
}
