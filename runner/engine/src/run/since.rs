//! What others have changed since a run's process was gone: a person repairs a deploy while nobody
//! works on it, and whoever goes on with it would take that back. So it is looked for before anything
//! is sent, named, and asked about, as a plan's drift is.

use std::collections::HashMap;
use std::sync::Arc;

use super::resume::{ResumeError, Resuming};
use crate::effect::{Asked, Difference, Executor};
use crate::engine::StartError;
use crate::grant::effective::{StepCovers, step_cover};
use crate::journal::{Decision, RunState, step_id};
use crate::plan::Drift;

impl Resuming {
    /// Looks for it, once it is known what became of the run's own writes. Gives what is accepted now;
    /// what was accepted before is not asked about again.
    ///
    /// # Errors
    /// Everything that was found, if some of it is not accepted; if it cannot be looked for.
    pub(super) async fn changed_by_others(
        &self,
        past: &RunState,
        executors: &HashMap<&'static str, Arc<dyn Executor>>,
        covers: &StepCovers,
        accepted: &[String],
    ) -> Result<Vec<Difference>, ResumeError> {
        let mut found = Vec::new();
        for (name, executor) in executors {
            let asked = self.asked(past, name, covers);
            let changed = executor.changed_since(asked).await.map_err(|e| {
                StartError::Capability(format!(
                    "it cannot be seen what others have changed meanwhile: {e}"
                ))
            })?;
            found.extend(changed);
        }
        found.retain(|change| {
            let known = |before: &Difference| {
                (&before.subject, &before.field, &before.after)
                    == (&change.subject, &change.field, &change.after)
            };
            !past.accepted.iter().any(known)
        });
        let drifts: Vec<Drift> = found.iter().map(drift).collect();
        match drifts.iter().all(|drift| drift.accepted(accepted)) {
            true => Ok(found),
            false => Err(ResumeError::Drifted(drifts)),
        }
    }

    /// What was asked of a capability, in order.
    fn asked(&self, past: &RunState, capability: &str, covers: &StepCovers) -> Vec<Asked> {
        let mut asked = Vec::new();
        for (key, state) in past.effects() {
            if state.intended.decision != Decision::Allowed
                || state.intended.request.capability() != capability
            {
                continue;
            }
            let Some(mut effect) = self.effect(key, state) else {
                continue;
            };
            effect.cover = step_cover(covers, step_id(key), effect.request.row);
            let answer = state.settled.as_ref().and_then(|s| s.answer.as_ref());
            let answer = answer.map(|answer| Arc::from(answer.get()));
            asked.push((state.sequence, Asked { effect, answer }));
        }
        asked.sort_by_key(|(sequence, _)| *sequence);
        asked.into_iter().map(|(_, asked)| asked).collect()
    }
}

fn drift(change: &Difference) -> Drift {
    Drift {
        subject: change.subject.clone(),
        field: change.field.clone(),
        planned: change.before.clone(),
        now: change.after.clone(),
    }
}
