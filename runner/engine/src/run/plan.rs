//! Making a plan: each contingency is rehearsed first and the run itself last, all under the id that
//! the run will have which applies the plan, so that expressions and randomness come out the same.
//! What the plan says is taken from the last rehearsal (`rehearse/`).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::RunReport;
use crate::admit::powers::powers;
use crate::admit::{self, Identity, RunRequest};
use crate::effect::Mode;
use crate::effect::fault::OperationRule;
use crate::engine::Engine;
use crate::journal::Observer;
use crate::key::Key;
use crate::plan::{Contingency, LONGEST_VALIDITY, Plan, SignedPlan, texts};
use crate::rehearse::told::Told;
use crate::rehearse::{MakeError, Planning};

/// What is to be planned.
#[derive(Debug, Clone)]
pub struct PlanRequest {
    /// The run. Its mode and faults do not matter.
    pub run: RunRequest,
    /// Each is rehearsed too, and what the pipeline then does may be done.
    pub contingencies: Vec<Vec<OperationRule>>,
    /// Signs it.
    pub author: Key,
    /// How long it can be applied; [`crate::plan::LONGEST_VALIDITY`] at most.
    pub valid_for: Duration,
}

/// What came out of it.
#[derive(Debug)]
pub struct Made {
    /// How the rehearsal ended.
    pub report: RunReport,
    /// The plan; none if the rehearsal did not succeed.
    pub plan: Option<SignedPlan>,
    /// What an operator may want to know.
    pub warnings: Vec<String>,
}

impl Engine {
    /// Rehearses a run, and makes a signed plan of what it did.
    ///
    /// # Errors
    /// If it is valid for no time or too long, is not admitted, cannot be rehearsed, or the plan cannot be signed. A rehearsal that
    /// fails is none: its report says why there is no plan.
    pub async fn plan(
        self: &Arc<Self>,
        request: PlanRequest,
        observer: Arc<dyn Observer>,
    ) -> Result<Made, MakeError> {
        if request.valid_for.is_zero() || request.valid_for > LONGEST_VALIDITY {
            return Err(MakeError::Validity);
        }
        let made_at = self.wall.now();
        let run = admit::new_id(made_at, request.run.seed);
        let rehearsal = |suffix: String, faults: Vec<OperationRule>| {
            let identity = Identity {
                journal: format!("{run}{suffix}").into(),
                known_as: run.clone(),
                started_at: made_at,
            };
            let request = RunRequest {
                mode: Mode::Rehearsal,
                faults,
                plan: None,
                accepted_drift: Vec::new(),
                ..request.run.clone()
            };
            async move {
                let admitted = admit::admit(self, request, identity).await;
                admitted.map_err(MakeError::Refused)
            }
        };
        let main = rehearsal("-plan".to_owned(), Vec::new()).await?;
        let mut contingencies = Vec::new();
        for (at, faults) in request.contingencies.iter().enumerate() {
            let admitted = rehearsal(format!("-plan-{}", at + 1), faults.clone()).await?;
            let handle = self.start(admitted, observer.clone()).await?;
            contingencies.push(self.contingency(faults, &handle.finished().await)?);
        }
        let made: Arc<Mutex<Option<Result<Plan, MakeError>>>> = Arc::default();
        let planning = Planning {
            author: request.author.public().to_owned(),
            made_at,
            valid_for: request.valid_for,
            steps: powers(&main.steps, &main.finally),
            contingencies,
            made: made.clone(),
        };
        let warnings = main.warnings.clone();
        let report = super::start(self.clone(), main, Some(planning), observer)
            .await?
            .finished()
            .await;
        let plan = made.lock().unwrap_or_else(PoisonError::into_inner).take();
        let plan = match plan {
            Some(plan) => Some(SignedPlan::sign(plan?, &request.author)?),
            None => None,
        };
        Ok(Made {
            report,
            plan,
            warnings,
        })
    }

    fn contingency(
        &self,
        faults: &[OperationRule],
        report: &RunReport,
    ) -> Result<Contingency, MakeError> {
        let unended = || MakeError::Unseen(format!("rehearsal {} did not end", report.run));
        let (records, _) = self.journal(&report.run)?;
        let told = Told::of(&records, &self.rows())?;
        Ok(Contingency {
            faults: texts(faults),
            rehearsal: report.run.to_string(),
            status: report.status.ok_or_else(unended)?,
            writes: told.writes,
        })
    }
}
