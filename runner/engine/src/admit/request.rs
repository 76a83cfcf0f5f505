//! What is to be run.

use groundcrew_runbook::Runbook;
use serde_json::Value;

use crate::effect::Mode;
use crate::effect::fault::OperationRule;
use crate::grant::policy::Policy;
use crate::journal::Actor;
use crate::plan::{PlanError, SignedPlan};
use crate::target::Target;

/// What is to be run.
#[derive(Debug, Clone)]
pub struct RunRequest {
    /// The runbook, checked.
    pub runbook: Runbook,
    /// Its text, for its digest.
    pub text: String,
    /// Its inputs, as [`Runbook::bind_inputs`] gives them.
    pub inputs: Value,
    /// Secret inputs that are given again, where `inputs` has marks in their place (those of a plan, or of a
    /// journal): as [`Runbook::bind_secrets`] gives them. Otherwise null.
    pub secrets: Value,
    /// Where.
    pub target: Target,
    /// On the target, or on a fork of it.
    pub mode: Mode,
    /// Who.
    pub actor: Actor,
    /// The operator's limits.
    pub policy: Policy,
    /// Random: makes the run's id unique and seeds everything that is random in it.
    pub seed: u64,
    /// What goes wrong; in a rehearsal only.
    pub faults: Vec<OperationRule>,
    /// The plan that the run applies: everything above but target, actor and policy is then the
    /// plan's ([`RunRequest::applying`]).
    pub plan: Option<SignedPlan>,
    /// What may have changed on the target since, by [`crate::plan::Drift::name`].
    pub accepted_drift: Vec<String>,
}

impl RunRequest {
    /// The run that applies a plan.
    ///
    /// # Errors
    /// If its runbook is not valid for this program.
    pub fn applying(
        plan: SignedPlan,
        target: Target,
        actor: Actor,
        policy: Policy,
    ) -> Result<Self, PlanError> {
        let planned = plan.plan();
        let runbook = groundcrew_runbook::check(&planned.runbook_text);
        let malformed = |what: &str| PlanError::Malformed(what.to_owned());
        let runbook =
            runbook.map_err(|_| malformed("its runbook is not valid for this program"))?;
        if runbook.bind_values(&planned.inputs).ok().as_ref() != Some(&planned.inputs) {
            return Err(malformed("its inputs are not those of its runbook"));
        }
        Ok(Self {
            runbook,
            text: planned.runbook_text.clone(),
            inputs: planned.inputs.clone(),
            secrets: Value::Null,
            target,
            mode: Mode::Perform,
            actor,
            policy,
            seed: planned.seed,
            faults: Vec::new(),
            plan: Some(plan),
            accepted_drift: Vec::new(),
        })
    }
}
