//! Closing a run whose process is gone, and that nobody goes on with.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::clock::{RealClock, after};
use crate::contract::ProblemKind;
use crate::deadline::{CLAIM, Deadline};
use crate::effect::{Commons, Cover, Effect, EffectId, GivenUp, Kind, Mode, Row, Setting};
use crate::engine::{Engine, StartError};
use crate::journal::{
    Actor, Decision, Draft, Observer, RunClosed, RunState, RunStatus, StepEnded, StepProblem,
    StepStatus,
};
use crate::run::heartbeat::while_alive;
use crate::scale::Scale;
use crate::sealed::Sealed;
use crate::store::{Standing, Writer};
use crate::target::Target;

/// What closing an abandoned run found.
#[derive(Debug, Clone)]
pub struct Closed {
    /// What it still held, as far as the journal tells.
    pub given_up: Vec<GivenUp>,
    /// Writes of which it is not known whether they happened, as `step/number operation target`.
    pub in_doubt: Vec<String>,
}

impl Engine {
    /// Closes a run whose process is gone: gives back what is still its own, closes its
    /// journal and gives up its locks. `gone` is the token of its claim, if the caller knows that the
    /// process that holds it is gone ([`RunSummary::gone`](crate::store::RunSummary::gone)): then
    /// nobody has to wait for the claim to expire. `by` closes it.
    ///
    /// # Errors
    /// If the run is alive, has ended, or the store fails.
    pub async fn cancel_run(
        self: &Arc<Self>,
        run: &str,
        target: &Target,
        gone: Option<u64>,
        by: &Actor,
        observer: Arc<dyn Observer>,
    ) -> Result<Closed, StartError> {
        let now = self.wall.now();
        if let Standing::Closed(status) = self.store.run(run, now)?.standing {
            return Err(StartError::Ended {
                run: run.to_owned(),
                status: status.word(),
            });
        }
        let deadline = Deadline::new(self.wall.clone());
        let until = after(now, CLAIM);
        let claim = self.store.claim(run, by, now, until, gone)?;
        let (records, state) = match self.journal(run) {
            Err(damaged @ StartError::Damaged { .. }) => {
                // Nobody can go on with it: its locks must not stay for ever.
                self.store.release(&claim)?;
                return Err(damaged);
            }
            other => other?,
        };
        let rows = self.rows();
        let given_up = match state.mode() {
            Some(Mode::Perform) => {
                let let_go = self.let_go(run, target, &state, &rows, deadline.clone());
                while_alive(self, &claim, &deadline, let_go).await??
            }
            Some(Mode::Rehearsal) | None => Vec::new(),
        };
        let in_doubt = in_doubt(&state, &rows);
        let writer = Writer::start(
            self.store.clone(),
            claim.clone(),
            records.len() as u64,
            self.wall.clone(),
            observer,
        );
        let mut drafts: Vec<Draft> = Vec::new();
        let open = state.steps.iter().filter(|(_, step)| step.ended.is_none());
        for (key, _) in open {
            drafts.push(Draft::step_ended(&StepEnded {
                step: key.clone(),
                status: StepStatus::Cancelled,
                output: None,
                problem: Some(StepProblem {
                    kind: ProblemKind::Cancelled,
                    code: None,
                    message: "the run's process was gone".to_owned(),
                }),
            }));
        }
        if state.header.is_some() {
            drafts.push(Draft::run_closed(&RunClosed {
                status: RunStatus::Cancelled,
                in_doubt: in_doubt.clone(),
                plan: None,
            }));
            writer.commit(drafts).await?;
        }
        self.store.release(&claim)?;
        Ok(Closed { given_up, in_doubt })
    }

    /// Has every capability give back what the run holds, as its journal tells.
    async fn let_go(
        &self,
        run: &str,
        target: &Target,
        state: &RunState,
        rows: &HashMap<&'static str, &'static Row>,
        deadline: Deadline,
    ) -> Result<Vec<GivenUp>, StartError> {
        let clock = Arc::new(RealClock::new(Timestamp::UNIX_EPOCH, Scale::REAL));
        let setting = Setting {
            run: run.into(),
            target: target.clone(),
            mode: Mode::Perform,
            clock,
            seed: 0,
            deadline,
            commons: Commons::default(),
            sealed: Sealed::default(),
        };
        let executors = self.executors(&setting, &state.capabilities().collect())?;
        let mut all = Vec::new();
        for (name, executor) in executors {
            let (mut done, mut perhaps) = (Vec::new(), Vec::new());
            for (number, (_, kept)) in (1..).zip(state.effects()) {
                let recorded = &kept.intended.request;
                let row = rows.get(recorded.operation.as_str());
                let Some(row) = row.filter(|row| row.housekeeping && row.capability() == name)
                else {
                    continue;
                };
                let effect = Effect {
                    id: EffectId {
                        run: run.into(),
                        step: "cancel".into(),
                        number,
                    },
                    request: Arc::new(recorded.request(row)),
                    baseline: None,
                    cover: Cover::all(),
                    cancel: CancellationToken::new(),
                };
                match &kept.settled {
                    Some(settled) if settled.answer.is_some() => done.push(effect),
                    Some(_) => {}
                    None => perhaps.push(effect),
                }
            }
            all.extend(executor.let_go(done, perhaps).await);
        }
        Ok(all)
    }
}

/// Writes that were intended and never settled, or settled as in doubt. What is not in the table
/// (a capability that this engine lacks) counts as a write; housekeeping ends by itself.
fn in_doubt(state: &RunState, rows: &HashMap<&'static str, &'static Row>) -> Vec<String> {
    let harmless = |operation: &str| {
        let row = rows.get(operation);
        row.is_some_and(|row| row.kind == Kind::Read || row.housekeeping)
    };
    let unsure = state.effects().filter(|(_, effect)| {
        let settled = effect.settled.as_ref();
        effect.intended.decision == Decision::Allowed
            && !harmless(&effect.intended.request.operation)
            && settled.is_none_or(|settled| settled.in_doubt)
    });
    unsure
        .map(|(step, effect)| {
            let request = &effect.intended.request;
            let (number, on) = (effect.intended.effect, request.on());
            format!("{step}/{number} {} {on}", request.operation)
        })
        .collect()
}
