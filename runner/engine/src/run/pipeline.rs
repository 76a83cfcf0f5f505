//! The pipeline of a run: steps as their `needs` allow, `finally`, and the end. `finally` runs
//! whatever happened, but for a stop at once and a journal that cannot be written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use groundcrew_runbook::{OnFailure, Scope};
use serde_json::json;
use tokio::task::JoinSet;

use crate::admit::AdmittedStep;
use crate::clock::VirtualClock;
use crate::contract::ProblemKind;
use crate::engine::Engine;
use crate::gate::shared::{Halt, RunShared};
use crate::gate::writes::Part;
use crate::journal::{Draft, RunClosed, RunStatus, StepEnded, StepProblem, StepStatus};
use crate::rehearse::Planning;
use crate::run::report::{Ran, outcome};
use crate::run::{RunReport, step};

/// The steps of a run on their way.
pub(crate) struct Running {
    pub(crate) engine: Arc<Engine>,
    pub(crate) shared: Arc<RunShared>,
    pub(crate) scope: Scope,
    pub(crate) planning: Option<Planning>,
    pub(crate) steps: Vec<StepEnded>,
    pub(crate) in_doubt: Vec<String>,
    pub(crate) failed: bool,
}

impl Running {
    /// To the end of the run, whatever happens.
    pub(crate) async fn run(
        mut self,
        steps: Vec<AdmittedStep>,
        finally: Vec<AdmittedStep>,
    ) -> RunReport {
        let result = self.all(steps, finally).await;
        let status = self.status();
        let mut report = RunReport {
            run: self.shared.id.clone(),
            status: None,
            steps: self.steps,
            in_doubt: self.in_doubt,
            halt: None,
        };
        let plan = match (&self.planning, &result, status) {
            (Some(planning), Ok(()), RunStatus::Succeeded) => {
                planning.make(&self.engine, &self.shared).await
            }
            _ => None,
        };
        let closed = match result {
            Ok(()) => self
                .shared
                .journal
                .commit(vec![Draft::run_closed(&RunClosed {
                    status,
                    in_doubt: report.in_doubt.clone(),
                    plan,
                })])
                .await
                .map_err(Halt::Journal),
            Err(halt) => Err(halt),
        };
        match closed {
            Ok(()) => report.status = Some(status),
            Err(halt) => report.halt = Some(halt),
        }
        report
    }

    /// How the steps that have ended went.
    fn status(&self) -> RunStatus {
        if !self.in_doubt.is_empty() {
            RunStatus::InDoubt
        } else if self.shared.interrupt.is_cancelled() {
            RunStatus::Interrupted
        } else if self.failed {
            RunStatus::Failed
        } else {
            RunStatus::Succeeded
        }
    }

    async fn all(
        &mut self,
        steps: Vec<AdmittedStep>,
        finally: Vec<AdmittedStep>,
    ) -> Result<(), Halt> {
        self.pipeline(steps).await?;
        self.scope.run["status"] = json!(self.status());
        for step in finally {
            let ran = step::run(
                self.engine.clone(),
                self.shared.clone(),
                Arc::new(step),
                Part::Finally,
                self.scope.clone(),
                self.shared.busy(),
            )
            .await?;
            self.take(ran);
        }
        Ok(())
    }

    /// Runs steps as their `needs` allow. After a failure that stops the run, those that have not
    /// begun are skipped.
    async fn pipeline(&mut self, steps: Vec<AdmittedStep>) -> Result<(), Halt> {
        let mut waiting: Vec<Arc<AdmittedStep>> = steps.into_iter().map(Arc::new).collect();
        let policy: BTreeMap<String, OnFailure> = waiting
            .iter()
            .map(|s| (s.id().to_owned(), s.step.on_failure))
            .collect();
        let mut ended: BTreeSet<String> = BTreeSet::new();
        let mut running: JoinSet<Result<Ran, Halt>> = JoinSet::new();
        let mut stopped: Option<String> = None;
        // Held while steps are handed over, so that a virtual clock does not run on before all
        // that can start now has started.
        let mut busy = self.shared.busy();
        loop {
            if let Some(why) = &stopped {
                for step in waiting.drain(..) {
                    let interrupted = self.shared.interrupt.is_cancelled();
                    let status = if interrupted {
                        StepStatus::Cancelled
                    } else {
                        StepStatus::Skipped
                    };
                    let problem = StepProblem {
                        kind: ProblemKind::Cancelled,
                        code: None,
                        message: why.clone(),
                    };
                    let skipped = StepEnded {
                        step: step.id().to_owned(),
                        status,
                        output: None,
                        problem: Some(problem),
                    };
                    if !self.shared.has_past(step.id()) {
                        self.shared
                            .journal
                            .append(vec![Draft::step_ended(&skipped)]);
                    }
                    self.steps.push(skipped);
                }
            }
            let (ready, later): (Vec<_>, Vec<_>) = waiting
                .into_iter()
                .partition(|step| step.step.needs.iter().all(|need| ended.contains(need)));
            waiting = later;
            for step in ready {
                let (engine, shared, scope) =
                    (self.engine.clone(), self.shared.clone(), self.scope.clone());
                // One after another in virtual time, so that they begin in the same order always.
                let ticket = shared.clock.as_virtual().map(VirtualClock::ticket);
                running.spawn(async move {
                    let busy = match ticket {
                        Some(ticket) => Some(ticket.turn().await),
                        None => None,
                    };
                    step::run(engine, shared, step, Part::Step, scope, busy).await
                });
            }
            drop(busy.take());
            let Some(next) = running.join_next().await else {
                break;
            };
            let mut ran = match next {
                Ok(ran) => ran?,
                Err(e) => {
                    tracing::error!("a step broke down inside the host: {e}");
                    self.failed = true;
                    stopped = Some("another step broke down inside the host".to_owned());
                    continue;
                }
            };
            busy = ran.busy.take();
            ended.insert(ran.id.clone());
            let (id, status) = (ran.id.clone(), ran.status());
            let on_failure = policy.get(&id).copied().unwrap_or(OnFailure::Stop);
            self.take(ran);
            if self.shared.interrupt.is_cancelled() {
                stopped = Some("the run was interrupted".to_owned());
            } else if status == StepStatus::Failed && on_failure == OnFailure::Stop {
                stopped = stopped.or_else(|| Some(format!("step `{id}` failed")));
            }
        }
        Ok(())
    }

    fn take(&mut self, ran: Ran) {
        self.failed |= ran.status() == StepStatus::Failed;
        if let Some(last) = ran.ended.last() {
            self.scope.steps.insert(ran.id.clone(), outcome(last));
        }
        self.steps.extend(ran.ended);
        self.in_doubt.extend(ran.in_doubt);
    }
}
