//! How a run and its steps came out.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::clock::Busy;
use crate::gate::shared::Halt;
use crate::journal::{RunStatus, StepEnded, StepStatus};

/// How a run came out.
#[derive(Debug, Clone)]
pub struct RunReport {
    /// Its id.
    pub run: Arc<str>,
    /// How it ended; none if it was stopped at once, or its journal could not be written, and is
    /// left as it is.
    pub status: Option<RunStatus>,
    /// Its steps by key, in the order in which they ended.
    pub steps: Vec<StepEnded>,
    /// Writes of which it is not known whether they happened, as `step/number`.
    pub in_doubt: Vec<String>,
    /// Why it could not go on, if it is left as it is.
    pub halt: Option<Halt>,
}

/// How a step came out, after its attempts and its rescue.
pub(crate) struct Ran {
    pub(crate) id: String,
    pub(crate) ended: Vec<StepEnded>,
    pub(crate) in_doubt: Vec<String>,
    /// Holds a virtual clock until what comes next has started.
    pub(crate) busy: Option<Busy>,
}

impl Ran {
    pub(crate) fn status(&self) -> StepStatus {
        self.ended
            .last()
            .map_or(StepStatus::Failed, |ended| ended.status)
    }
}

/// What later expressions see of a step.
pub(crate) fn outcome(ended: &StepEnded) -> Value {
    let mut seen = json!({ "status": ended.status, "failed": ended.status == StepStatus::Failed });
    if let Some(output) = &ended.output {
        seen["output"] = output.clone();
    }
    if let Some(problem) = &ended.problem {
        seen["problem"] = json!({ "kind": problem.kind, "message": problem.message });
    }
    seen
}
