//! What comes out, and when the step counts as failed.

use groundcrew_plugin::{Kind, Result};
use groundcrew_sweep::{NO_TURN, because, counted, kind, kinds};
use schemars::JsonSchema;
use serde::Serialize;

use crate::plan::{Plan, Task};
use crate::{Attempt, Done, Input};

/// How many Machines the group has, and what became of each that was made or destroyed for it.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Report {
    /// The process group.
    pub group: String,
    /// How many Machines it is to have. Standbys never count.
    pub wanted: u32,
    /// How many it had.
    pub before: u32,
    /// How many a last look found; none if that failed.
    pub after: Option<u32>,
    /// There were as many as wanted, and nothing was done.
    pub already: bool,
    /// By id, those that never were there last.
    pub machines: Vec<MachineReport>,
    /// The same in numbers.
    pub totals: Totals,
}

/// What became of one Machine that was to be made or destroyed.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MachineReport {
    /// Its id; none if it never was there.
    pub id: Option<String>,
    /// Its region.
    pub region: String,
    /// What became of it.
    pub result: Outcome,
    /// The Machine whose configuration it has, or would have; none if it was to be destroyed.
    pub pattern: Option<String>,
    /// From the first request to the last answer, in milliseconds; 0 if nothing was begun.
    pub duration_ms: u64,
    /// Why, unless it was made or destroyed.
    pub reason: Option<String>,
}

/// What became of a Machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It is new and in order.
    Created,
    /// It is gone.
    Destroyed,
    /// Something did not work.
    Failed,
    /// Its turn did not come.
    NotAttempted,
}

/// How many Machines had which result.
#[derive(Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Totals {
    /// New and in order.
    pub created: u32,
    /// Gone.
    pub destroyed: u32,
    /// Failed.
    pub failed: u32,
    /// Whose turn did not come.
    pub not_attempted: u32,
}

/// Makes the report, and a failure of the step that carries it unless the group has as many
/// Machines as wanted and all that was done went well.
pub(crate) fn conclude(
    input: &Input,
    plan: &Plan,
    done: Done<'_>,
    after: Option<u32>,
) -> Result<Report> {
    let kinds = kinds(done.results.iter().map(|it| &it.became.result));
    let mut machines: Vec<MachineReport> =
        done.results.into_iter().map(MachineReport::of).collect();
    machines.extend(done.not_attempted.into_iter().map(MachineReport::idle));
    machines.sort_by(|a, b| {
        (a.id.is_none(), &a.id, &a.region).cmp(&(b.id.is_none(), &b.id, &b.region))
    });

    let report = Report {
        after,
        already: false,
        totals: Totals::of(&machines),
        machines,
        ..Report::already(input, plan)
    };
    let (kind, failure) = (report.failure_kind(&kinds), report.failure());
    groundcrew_sweep::conclude(report, kind, failure)
}

impl Report {
    /// Nothing is done.
    pub(crate) fn already(input: &Input, plan: &Plan) -> Self {
        Self {
            group: input.group.clone(),
            wanted: input.count,
            before: plan.before,
            after: Some(plan.before),
            already: true,
            machines: Vec::new(),
            totals: Totals::default(),
        }
    }

    /// One sentence, if not everything is as it should be.
    fn failure(&self) -> Option<String> {
        let totals = &self.totals;
        if totals.failed + totals.not_attempted == 0 && self.after == Some(self.wanted) {
            return None;
        }
        let there = match self.after {
            Some(after) => after.to_string(),
            None => "an unknown number of".to_owned(),
        };
        let counts = counted(&[
            (totals.created, "created"),
            (totals.destroyed, "destroyed"),
            (totals.failed, "failed"),
            (totals.not_attempted, "not attempted"),
        ]);
        let mut machines = self.machines.iter();
        let first = machines.find(|machine| machine.result == Outcome::Failed);
        let why = because(first.map(|it| {
            let name = it.id.as_ref().unwrap_or(&it.region);
            (name.as_str(), it.reason.as_deref())
        }));
        Some(format!(
            "there are {there} Machines, {} are wanted: {}{why}",
            self.wanted,
            counts.join(", ")
        ))
    }

    /// Which kind of failure the step ends with. Something that may pass counts as such only if
    /// the last look shows what was done: a retry counts anew, and must not make up for the same
    /// difference twice.
    fn failure_kind(&self, kinds: &[Kind]) -> Kind {
        let reckoned = (self.before + self.totals.created).checked_sub(self.totals.destroyed);
        let shown = self.after.is_some() && self.after == reckoned;
        let lasting = [Kind::Cancelled, Kind::Application];
        kind(kinds, &lasting, shown).unwrap_or(Kind::Other)
    }
}

impl Totals {
    fn of(machines: &[MachineReport]) -> Self {
        let mut totals = Self::default();
        for machine in machines {
            *match machine.result {
                Outcome::Created => &mut totals.created,
                Outcome::Destroyed => &mut totals.destroyed,
                Outcome::Failed => &mut totals.failed,
                Outcome::NotAttempted => &mut totals.not_attempted,
            } += 1;
        }
        totals
    }
}

impl MachineReport {
    fn of(attempt: Attempt<'_>) -> Self {
        let (result, reason) = match (attempt.became.result, attempt.work) {
            (Ok(()), Task::Make(_)) => (Outcome::Created, None),
            (Ok(()), Task::Destroy(_)) => (Outcome::Destroyed, None),
            (Err(error), _) => (Outcome::Failed, Some(error.to_string())),
        };
        Self {
            id: attempt.became.id,
            result,
            duration_ms: attempt.duration_ms,
            reason,
            ..Self::idle(attempt.work)
        }
    }

    fn idle(task: &Task) -> Self {
        let (id, region, pattern) = match task {
            Task::Make(new) => (None, &new.region, Some(new.pattern.id.clone())),
            Task::Destroy(machine) => (Some(machine.id.clone()), &machine.region, None),
        };
        Self {
            id,
            region: region.clone(),
            result: Outcome::NotAttempted,
            pattern,
            duration_ms: 0,
            reason: Some(NO_TURN.to_owned()),
        }
    }
}
