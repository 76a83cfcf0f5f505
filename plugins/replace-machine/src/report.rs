//! What comes out, and when the step counts as failed.

use groundcrew_plugin::{Kind, Machine, Result};
use groundcrew_sweep::{NO_TURN, because, counted, kind, kinds};
use schemars::JsonSchema;
use serde::Serialize;

use crate::plan::Plan;
use crate::{Attempt, Replacements};

/// What became of every Machine that was named.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Report {
    /// By id.
    pub machines: Vec<MachineReport>,
    /// The same in numbers.
    pub totals: Totals,
    /// What a last look at the app's Machines found to be otherwise than it should be.
    pub missed: Vec<String>,
    /// Some Machines were not attempted because the run was interrupted.
    pub stopped_early: bool,
}

/// What became of one Machine.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MachineReport {
    /// Its id.
    pub id: String,
    /// Its region, and that of its replacement.
    pub region: String,
    /// Its process group, and that of its replacement.
    pub group: String,
    /// What became of it.
    pub result: Outcome,
    /// The Machine that replaces it, or was made to.
    pub replacement: Option<String>,
    /// The Machine whose configuration the replacement has, or would have.
    pub pattern: Option<String>,
    /// It is gone.
    pub destroyed: bool,
    /// From the request for its lease until that was given back, in milliseconds; 0 if nothing
    /// was begun.
    pub duration_ms: u64,
    /// Why, unless it was replaced.
    pub reason: Option<String>,
}

/// What became of a Machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It is gone, and another one is there.
    Replaced,
    /// Something did not work.
    Failed,
    /// It was left alone although the input names it.
    Refused,
    /// Its turn did not come.
    NotAttempted,
}

/// How many Machines had which result.
#[derive(Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Totals {
    /// Replaced.
    pub replaced: u32,
    /// Failed.
    pub failed: u32,
    /// Left alone although named.
    pub refused: u32,
    /// Whose turn did not come.
    pub not_attempted: u32,
}

/// Makes the report, and a failure of the step that carries it unless all were replaced.
pub(crate) fn conclude(
    plan: &Plan,
    replacements: Replacements<'_>,
    missed: Result<Vec<String>>,
) -> Result<Report> {
    let kind = failure_kind(&replacements.results);
    let begun = replacements.results.into_iter();
    let mut machines: Vec<MachineReport> = begun.map(MachineReport::of).collect();
    let waiting = replacements.not_attempted.into_iter();
    machines.extend(waiting.map(|it| MachineReport::idle(&it.old, Outcome::NotAttempted, NO_TURN)));
    let refused = plan.refused.iter();
    machines.extend(refused.map(|(it, why)| MachineReport::idle(it, Outcome::Refused, why)));
    machines.sort_by(|a, b| a.id.cmp(&b.id));

    let totals = Totals::of(&machines);
    let report = Report {
        stopped_early: totals.not_attempted > 0,
        totals,
        machines,
        missed: missed.unwrap_or_else(|error| vec![format!("the last look failed: {error}")]),
    };
    let failure = report.failure();
    groundcrew_sweep::conclude(report, kind, failure)
}

/// Which kind of failure the step ends with, if it fails. Something that may pass counts as such
/// only if all is as it was: a retry of the step would not find a Machine that is gone.
fn failure_kind(attempts: &[Attempt<'_>]) -> Kind {
    let kinds = kinds(attempts.iter().map(|it| &it.became.result));
    let untouched = |it: &Attempt<'_>| !it.became.destroyed && it.became.replacement.is_none();
    let lasting = [Kind::Application, Kind::Cancelled];
    kind(&kinds, &lasting, attempts.iter().all(untouched)).unwrap_or(Kind::Other)
}

impl Report {
    /// One sentence, if not everything is as it should be.
    fn failure(&self) -> Option<String> {
        let totals = &self.totals;
        let mut parts = counted(&[
            (totals.failed, "failed"),
            (totals.refused, "refused"),
            (totals.not_attempted, "not attempted"),
        ]);
        parts.extend(self.missed.first().cloned());
        if parts.is_empty() {
            return None;
        }
        let mut machines = self.machines.iter();
        let first = machines.find(|it| matches!(it.result, Outcome::Failed | Outcome::Refused));
        let why = because(first.map(|it| (it.id.as_str(), it.reason.as_deref())));
        let replaced = totals.replaced;
        Some(format!("{replaced} replaced, {}{why}", parts.join(", ")))
    }
}

impl Totals {
    fn of(machines: &[MachineReport]) -> Self {
        let mut totals = Self::default();
        for machine in machines {
            *match machine.result {
                Outcome::Replaced => &mut totals.replaced,
                Outcome::Failed => &mut totals.failed,
                Outcome::Refused => &mut totals.refused,
                Outcome::NotAttempted => &mut totals.not_attempted,
            } += 1;
        }
        totals
    }
}

impl MachineReport {
    fn of(attempt: Attempt<'_>) -> Self {
        let (result, reason) = match attempt.became.result {
            Ok(()) => (Outcome::Replaced, None),
            Err(error) => (Outcome::Failed, Some(error.to_string())),
        };
        Self {
            replacement: attempt.became.replacement,
            pattern: Some(attempt.work.pattern.id.clone()),
            destroyed: attempt.became.destroyed,
            duration_ms: attempt.duration_ms,
            reason,
            ..Self::idle(&attempt.work.old, result, "")
        }
    }

    fn idle(machine: &Machine, result: Outcome, why: &str) -> Self {
        Self {
            id: machine.id.clone(),
            region: machine.region.clone(),
            group: machine.group.clone(),
            result,
            replacement: None,
            pattern: None,
            destroyed: false,
            duration_ms: 0,
            reason: Some(why.to_owned()),
        }
    }
}
