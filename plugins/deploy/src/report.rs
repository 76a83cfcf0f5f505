//! What comes out of a deploy, and when it counts as failed.

use std::collections::BTreeMap;

use groundcrew_plugin::{Error, Kind, Machine, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What became of every Machine that a deploy was about.
#[derive(Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct Report {
    /// What the deploy calls itself.
    pub release: String,
    /// By process group and id.
    pub machines: Vec<MachineReport>,
    /// How many had which result.
    pub totals: BTreeMap<Outcome, u32>,
    /// What was left alone, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// What became of one Machine.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct MachineReport {
    /// Its id.
    pub id: String,
    /// Its process group.
    pub group: String,
    /// Its region.
    pub region: String,
    /// What became of it.
    pub result: Outcome,
    /// The Machine that took its place, if one did.
    pub replaced_by: Option<String>,
    /// Why, unless it is at the target.
    pub reason: Option<String>,
}

/// What became of a Machine.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It has the new configuration and is in order.
    Updated,
    /// It was made for this deploy.
    Created,
    /// It had the new configuration already.
    Unchanged,
    /// Another Machine with the new configuration took its place.
    Replaced,
    /// It belonged to what was there before, or was made for a deploy that failed, and is gone.
    Destroyed,
    /// Its process group is no part of the app any more, and it is gone.
    Removed,
    /// It belongs to what was there before, out of service and ready to come back.
    Kept,
    /// It did not get there, and is as it was.
    RolledBack,
    /// It did not get there, and is not as it was.
    Failed,
    /// The platform does not reach its host; nothing was sent.
    Unreachable,
    /// Its turn did not come.
    NotAttempted,
    /// It was left alone as it was asked to be.
    Excluded,
}

impl Outcome {
    /// Whether the deploy reached its goal with this Machine.
    #[must_use]
    pub fn is_good(self) -> bool {
        match self {
            Self::Updated
            | Self::Created
            | Self::Unchanged
            | Self::Replaced
            | Self::Destroyed
            | Self::Removed
            | Self::Kept
            | Self::Excluded => true,
            Self::RolledBack | Self::Failed | Self::Unreachable | Self::NotAttempted => false,
        }
    }

    /// As a person reads it.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Updated => "updated",
            Self::Created => "created",
            Self::Unchanged => "already there",
            Self::Replaced => "replaced",
            Self::Destroyed => "destroyed",
            Self::Removed => "removed",
            Self::Kept => "kept",
            Self::RolledBack => "as they were",
            Self::Failed => "failed",
            Self::Unreachable => "on unreachable hosts",
            Self::NotAttempted => "not attempted",
            Self::Excluded => "excluded",
        }
    }
}

impl MachineReport {
    /// Of a Machine.
    #[must_use]
    pub fn of(machine: &Machine, result: Outcome, reason: Option<String>) -> Self {
        Self {
            id: machine.id.clone(),
            group: machine.group.clone(),
            region: machine.region.clone(),
            result,
            replaced_by: None,
            reason,
        }
    }
}

impl Report {
    /// Sorts and counts.
    #[must_use]
    pub fn new(release: &str, mut machines: Vec<MachineReport>) -> Self {
        machines.sort_by(|a, b| (&a.group, &a.id).cmp(&(&b.group, &b.id)));
        let mut totals = BTreeMap::new();
        for machine in &machines {
            *totals.entry(machine.result).or_default() += 1;
        }
        Self {
            release: release.to_owned(),
            machines,
            totals,
            notes: Vec::new(),
        }
    }

    /// The one that a failure carries.
    pub(crate) fn carried(error: &Error) -> Option<Self> {
        serde_json::from_str(error.output()?).ok()
    }

    /// The report, or a failure that carries it: a deploy that did not reach its goal never
    /// succeeds. `kinds` are those of the failures that there were.
    ///
    /// # Errors
    ///
    /// If a Machine is not where it should be.
    pub fn conclude(self, kinds: &[Kind]) -> Result<Self> {
        let bad = |machine: &&MachineReport| !machine.result.is_good();
        let Some(first) = self.machines.iter().filter(bad).min_by_key(|m| m.result) else {
            return Ok(self);
        };
        let why = match &first.reason {
            Some(reason) => format!("; {}: {reason}", first.id),
            None => String::new(),
        };
        Err(Error::new(kind(kinds), format!("{}{why}", self.summary())).with_output(&self))
    }

    /// The totals in words.
    #[must_use]
    pub fn summary(&self) -> String {
        let parts = self.totals.iter();
        let parts: Vec<String> = parts
            .map(|(outcome, count)| format!("{count} {}", outcome.words()))
            .collect();
        parts.join(", ")
    }
}

/// Which kind of failure a step ends with: the app's fault outweighs the rest, then an interrupt.
/// A deploy is never called transient as a whole: what could be tried again has been.
fn kind(kinds: &[Kind]) -> Kind {
    let has = |kind| kinds.contains(&kind);
    if has(Kind::Application) {
        Kind::Application
    } else if has(Kind::Cancelled) {
        Kind::Cancelled
    } else {
        Kind::Other
    }
}
