//! What comes out, and when the step counts as failed.

use std::collections::BTreeSet;

use groundcrew_plugin::{Error, Kind, Machine, Result};
use schemars::JsonSchema;
use serde::Serialize;

use crate::Attempt;
use crate::plan::Plan;

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
    attempts: Vec<Attempt<'_>>,
    missed: Result<Vec<String>>,
) -> Result<Report> {
    let kind = failure_kind(&attempts);
    let mut machines: Vec<MachineReport> = attempts.into_iter().map(MachineReport::of).collect();
    let begun: BTreeSet<String> = machines.iter().map(|report| report.id.clone()).collect();

    let waiting = plan.orders.iter().filter(|it| !begun.contains(&it.old.id));
    machines
        .extend(waiting.map(|it| {
            MachineReport::idle(&it.old, Outcome::NotAttempted, "its turn did not come")
        }));
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
    match report.failure() {
        None => Ok(report),
        Some(message) => Err(Error::new(kind, message).with_output(&report)),
    }
}

/// Which kind of failure the step ends with, if it fails. Something that may pass counts as such
/// only if all is as it was: a retry of the step would not find a Machine that is gone.
fn failure_kind(attempts: &[Attempt<'_>]) -> Kind {
    let results = attempts.iter().map(|it| &it.became.result);
    let errors: Vec<Kind> = results
        .filter_map(|it| Some(it.as_ref().err()?.kind()))
        .collect();
    let untouched = |it: &Attempt<'_>| !it.became.destroyed && it.became.replacement.is_none();
    if errors.contains(&Kind::Application) {
        Kind::Application
    } else if errors.contains(&Kind::Cancelled) {
        Kind::Cancelled
    } else if attempts.iter().all(untouched) {
        errors.first().copied().unwrap_or(Kind::Other)
    } else {
        Kind::Other
    }
}

impl Report {
    /// One sentence, if not everything is as it should be.
    fn failure(&self) -> Option<String> {
        let totals = &self.totals;
        let counts = [
            (totals.failed, "failed"),
            (totals.refused, "refused"),
            (totals.not_attempted, "not attempted"),
        ];
        let counts = counts.iter().filter(|(count, _)| *count > 0);
        let mut parts: Vec<String> = counts
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        parts.extend(self.missed.first().cloned());
        if parts.is_empty() {
            return None;
        }
        let mut bad = self.machines.iter();
        let first = bad.find(|it| matches!(it.result, Outcome::Failed | Outcome::Refused));
        let why = first.and_then(|it| Some(format!("; {}: {}", it.id, it.reason.as_ref()?)));
        Some(format!(
            "{} replaced, {}{}",
            totals.replaced,
            parts.join(", "),
            why.unwrap_or_default()
        ))
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
            pattern: Some(attempt.order.pattern.id.clone()),
            destroyed: attempt.became.destroyed,
            duration_ms: attempt.duration_ms,
            reason,
            ..Self::idle(&attempt.order.old, result, "")
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
