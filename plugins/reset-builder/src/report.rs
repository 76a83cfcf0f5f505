//! What comes out, and when the step counts as failed.

use groundcrew_plugin::{Error, Kind, Machine, Result, Swept};
use groundcrew_sweep::{NO_TURN, because, kind, kinds};
use schemars::JsonSchema;
use serde::Serialize;

use crate::Attempt;

/// What became of the builder.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Report {
    /// By id.
    pub machines: Vec<MachineReport>,
    /// How many are gone.
    pub destroyed: u32,
    /// The app itself is gone too.
    pub app_deleted: bool,
}

/// What became of one Machine.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MachineReport {
    /// Its id.
    pub id: String,
    /// Its region.
    pub region: String,
    /// What became of it.
    pub result: Outcome,
    /// Why, unless it was destroyed.
    pub reason: Option<String>,
}

/// What became of a Machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It is gone.
    Destroyed,
    /// It is still there.
    Failed,
    /// Its turn did not come.
    NotAttempted,
}

/// Makes the report, and a failure of the step that carries it unless all are gone.
pub(crate) fn conclude(swept: Swept<Machine, Attempt>) -> Result<Report> {
    // Destroying what is left once more does no harm: what may pass is worth a retry.
    let kinds = kinds(swept.results.iter().map(|it| &it.result));
    let kind = kind(&kinds, &[Kind::Cancelled], true);

    let mut machines: Vec<MachineReport> = swept.results.into_iter().map(attempted).collect();
    let waiting = swept.not_attempted.iter();
    let no_turn = Some(NO_TURN.to_owned());
    machines.extend(waiting.map(|it| entry(it, Outcome::NotAttempted, no_turn.clone())));
    machines.sort_by(|a, b| a.id.cmp(&b.id));
    let gone = machines.iter().filter(|it| it.result == Outcome::Destroyed);
    let report = Report {
        destroyed: u32::try_from(gone.count()).unwrap_or(u32::MAX),
        app_deleted: false,
        machines,
    };
    match kind {
        None => Ok(report),
        Some(kind) => Err(Error::new(kind, report.failure()).with_output(&report)),
    }
}

impl Report {
    fn failure(&self) -> String {
        let mut machines = self.machines.iter();
        let first = machines.find(|machine| machine.result == Outcome::Failed);
        let why = because(first.map(|it| (it.id.as_str(), it.reason.as_deref())));
        let all = self.machines.len();
        format!("{} of {all} destroyed{why}", self.destroyed)
    }
}

fn attempted(attempt: Attempt) -> MachineReport {
    match attempt.result {
        Ok(()) => entry(&attempt.machine, Outcome::Destroyed, None),
        Err(error) => entry(&attempt.machine, Outcome::Failed, Some(error.to_string())),
    }
}

fn entry(machine: &Machine, result: Outcome, reason: Option<String>) -> MachineReport {
    MachineReport {
        id: machine.id.clone(),
        region: machine.region.clone(),
        result,
        reason,
    }
}
