//! What comes out, and when the step counts as failed.

use groundcrew_plugin::{Error, Kind, Machine, Result, Swept};
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
    let errors = swept
        .results
        .iter()
        .filter_map(|it| it.result.as_ref().err());
    // Destroying what is left once more does no harm: what may pass is worth a retry.
    let kinds: Vec<Kind> = errors.map(Error::kind).collect();
    let cancelled = kinds.contains(&Kind::Cancelled).then_some(Kind::Cancelled);
    let kind = cancelled.or(kinds.first().copied());

    let mut machines: Vec<MachineReport> = swept.results.into_iter().map(attempted).collect();
    let waiting = swept.not_attempted.iter();
    machines.extend(waiting.map(|it| {
        entry(
            it,
            Outcome::NotAttempted,
            Some("its turn did not come".to_owned()),
        )
    }));
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
        let mut failed = self.machines.iter();
        let first = failed.find(|machine| machine.result == Outcome::Failed);
        let why = first.and_then(|it| Some(format!("; {}: {}", it.id, it.reason.as_ref()?)));
        format!(
            "{} of {} destroyed{}",
            self.destroyed,
            self.machines.len(),
            why.unwrap_or_default()
        )
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
