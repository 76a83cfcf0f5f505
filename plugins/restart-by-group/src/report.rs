//! What comes out, and when the step counts as failed.

use groundcrew_plugin::{Kind, Machine, Result};
use groundcrew_sweep::{NO_HOST, NO_TURN, Selection, because, counted, kind, kinds};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{Attempt, Restarts};

/// What became of every Machine that the step was about.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Report {
    /// By id.
    pub machines: Vec<MachineReport>,
    /// The same in numbers.
    pub totals: Totals,
    /// Some Machines were not attempted because others had failed or the run was interrupted.
    pub stopped_early: bool,
}

/// What became of one Machine.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MachineReport {
    /// Its id.
    pub id: String,
    /// Its region.
    pub region: String,
    /// Its process group.
    pub group: String,
    /// What became of it.
    pub result: Outcome,
    /// From the request for its lease until that was given back, in milliseconds; 0 if nothing
    /// was begun.
    pub duration_ms: u64,
    /// Why, unless it was restarted.
    pub reason: Option<String>,
}

/// What became of a Machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was restarted and is back.
    Restarted,
    /// It did not come back, or could not be restarted.
    Failed,
    /// It was left alone although the input names it.
    Skipped,
    /// The platform does not reach its host; nothing was sent. It fails the step, but does not
    /// count towards `max_failures`: that it was not restarted says nothing about the others.
    Unreachable,
    /// Its turn did not come.
    NotAttempted,
}

/// How many Machines had which result.
#[derive(Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Totals {
    /// Restarted and back.
    pub restarted: u32,
    /// Failed.
    pub failed: u32,
    /// Left alone although named.
    pub skipped: u32,
    /// On a host that is not reached.
    pub unreachable: u32,
    /// Whose turn did not come.
    pub not_attempted: u32,
}

/// Makes the report, and a failure of the step that carries it unless all went well.
pub(crate) fn conclude(selection: &Selection, restarts: Restarts<'_>) -> Result<Report> {
    let kind = failure_kind(&restarts.results);
    let begun = restarts.results.into_iter();
    let mut machines: Vec<MachineReport> = begun.map(MachineReport::of).collect();
    let waiting = restarts.not_attempted.into_iter();
    machines.extend(waiting.map(|it| MachineReport::idle(it, Outcome::NotAttempted, NO_TURN)));
    let hosts = selection.unreachable.iter();
    machines.extend(hosts.map(|it| MachineReport::idle(it, Outcome::Unreachable, NO_HOST)));
    let skipped = selection.skipped.iter();
    machines.extend(skipped.map(|(it, why)| MachineReport::idle(it, Outcome::Skipped, why)));
    machines.sort_by(|a, b| a.id.cmp(&b.id));

    let totals = Totals::of(&machines);
    let report = Report {
        stopped_early: totals.not_attempted > 0,
        totals,
        machines,
    };
    let failure = report.failure();
    groundcrew_sweep::conclude(report, kind, failure)
}

/// Which kind of failure the step ends with, if it fails. The app's fault outweighs the rest.
/// Something that may pass counts as such only if no Machine was restarted: a retry of the step
/// begins anew, and would restart them all again.
fn failure_kind(attempts: &[Attempt<'_>]) -> Kind {
    let kinds = kinds(attempts.iter().map(|it| &it.became));
    let lasting = [Kind::Application, Kind::Cancelled];
    let none_restarted = kinds.len() == attempts.len();
    kind(&kinds, &lasting, none_restarted).unwrap_or(Kind::Unavailable)
}

impl Report {
    /// One sentence, if not everything that should be restarted was.
    fn failure(&self) -> Option<String> {
        let totals = &self.totals;
        let counts = counted(&[
            (totals.failed, "failed"),
            (totals.unreachable, "on unreachable hosts"),
            (totals.not_attempted, "not attempted"),
        ]);
        if counts.is_empty() {
            return None;
        }
        let mut machines = self.machines.iter();
        let first = machines.find(|machine| machine.result == Outcome::Failed);
        let why = because(first.map(|it| (it.id.as_str(), it.reason.as_deref())));
        let restarted = totals.restarted;
        Some(format!("{restarted} restarted, {}{why}", counts.join(", ")))
    }
}

impl Totals {
    fn of(machines: &[MachineReport]) -> Self {
        let mut totals = Self::default();
        for machine in machines {
            *match machine.result {
                Outcome::Restarted => &mut totals.restarted,
                Outcome::Failed => &mut totals.failed,
                Outcome::Skipped => &mut totals.skipped,
                Outcome::Unreachable => &mut totals.unreachable,
                Outcome::NotAttempted => &mut totals.not_attempted,
            } += 1;
        }
        totals
    }
}

impl MachineReport {
    fn of(attempt: Attempt<'_>) -> Self {
        let (result, reason) = match attempt.became {
            Ok(()) => (Outcome::Restarted, None),
            Err(error) => (Outcome::Failed, Some(error.to_string())),
        };
        let duration_ms = attempt.duration_ms;
        Self {
            duration_ms,
            reason,
            ..Self::idle(attempt.work, result, "")
        }
    }

    fn idle(machine: &Machine, result: Outcome, why: &str) -> Self {
        Self {
            id: machine.id.clone(),
            region: machine.region.clone(),
            group: machine.group.clone(),
            result,
            duration_ms: 0,
            reason: Some(why.to_owned()),
        }
    }
}
