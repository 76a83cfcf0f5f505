//! A run: opening its journal, keeping its claim alive, running steps as their `needs` allow, and
//! closing it, whatever happened.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use groundcrew_fleet::Faults;
use groundcrew_runbook::{OnFailure, Scope};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admit::{Admitted, AdmittedStep};
use crate::bindings::ProblemKind;
use crate::capability::{Capability, Executor, Setting};
use crate::clock::{Busy, Clock, RealClock, VirtualClock, after};
use crate::core::Operations;
use crate::deadline::{CLAIM, Deadline, HEARTBEAT};
use crate::engine::{Engine, StartError};
use crate::gate::writes::{Part, Writes};
use crate::journal::{
    Draft, FORMAT, Mode, NoteBody, PlanApplied, RunClosed, RunOpened, RunState, RunStatus,
    StepEnded, StepProblem, StepStatus, Writer,
};
use crate::observe::Observer;
use crate::plan::{Drift, Planning, SignedPlan};
use crate::plugin::hex;
use crate::shared::{Halt, RunShared};
use crate::step;
use crate::store::{Claim, NewRun, RunSummary, Standing, StoreError, conflicts};

/// A run under way.
pub struct RunHandle {
    run: Arc<str>,
    interrupt: CancellationToken,
    stop: CancellationToken,
    report: oneshot::Receiver<RunReport>,
}

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

impl RunHandle {
    /// The run's id.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// Interrupts it in order: no more forward writes; what has been sent is seen to its end;
    /// leases are given back, `finally` runs.
    pub fn interrupt(&self) {
        self.interrupt.cancel();
    }

    /// Stops it at once. It is left abandoned, as if the process had died.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Tokens for both, to hand to whoever listens for signals.
    pub fn tokens(&self) -> (CancellationToken, CancellationToken) {
        (self.interrupt.clone(), self.stop.clone())
    }

    /// Waits for its end.
    pub async fn finished(self) -> RunReport {
        let run = self.run.clone();
        self.report.await.unwrap_or(RunReport {
            run,
            status: None,
            steps: Vec::new(),
            in_doubt: Vec::new(),
            halt: None,
        })
    }
}

pub(crate) async fn start(
    engine: Arc<Engine>,
    admitted: Admitted,
    observer: Arc<dyn Observer>,
) -> Result<RunHandle, StartError> {
    let request = &admitted.request;
    let now = engine.wall.now();
    let clock: Arc<dyn Clock> = match request.mode {
        Mode::Perform => Arc::new(RealClock::new(now, request.target.time_scale)),
        Mode::Rehearsal => Arc::new(VirtualClock::new(now)),
    };
    let deadline = Deadline::new(engine.wall.clone());
    let accepted_drift = as_planned(&engine, &admitted).await?;
    let executors = executors(&engine, &admitted, request.mode, &clock, &deadline)?;
    // A rehearsal holds nobody up.
    let locks = match request.mode {
        Mode::Perform => admitted.locks.clone(),
        Mode::Rehearsal => Vec::new(),
    };
    let new = NewRun {
        run: admitted.run.to_string(),
        runbook: request.runbook.name.clone(),
        target: request.target.name.clone(),
        mode: request.mode,
        locks: locks.clone(),
    };
    let claim = engine.store.open(&new, now, after(now, CLAIM));
    let claim = claim.map_err(|e| match (e, &request.plan) {
        // The run that applies a plan has its id from it.
        (StoreError::Exists(run), Some(_)) => StartError::Applied(run),
        (e, _) => e.into(),
    })?;
    let journal = Writer::start(
        engine.store.clone(),
        claim.clone(),
        0,
        engine.wall.clone(),
        observer,
    );
    let header = RunOpened {
        format: FORMAT,
        run: admitted.run.to_string(),
        engine: env!("CARGO_PKG_VERSION").to_owned(),
        mode: request.mode,
        started_at: admitted.started_at,
        runbook: request.runbook.name.clone(),
        runbook_digest: hex(&Sha256::digest(request.text.as_bytes())),
        runbook_text: request.text.clone(),
        inputs: request.inputs.clone(),
        target: request.target.to_json(),
        actor: request.actor.clone(),
        seed: request.seed,
        plugins: admitted.plugins.clone(),
        policy_digest: admitted.policy_digest.clone(),
        limits: engine.limits,
        locks,
        rehearses: admitted.rehearses.clone(),
        faults: request.faults.iter().map(ToString::to_string).collect(),
        plan: request.plan.as_ref().map(|plan| PlanApplied {
            digest: plan.digest().to_owned(),
            author: plan.author().name().to_owned(),
            approvals: admitted.approvals.clone(),
            accepted_drift,
            text: plan.text(),
        }),
    };
    journal.commit(vec![Draft::run_opened(&header)]).await?;
    Ok(launch(Launch {
        engine,
        admitted,
        claim,
        journal,
        clock,
        deadline,
        executors,
        past: RunState::default(),
    }))
}

/// Whether the plan that a run applies, if it applies one, can still be applied: in time, and on a
/// target that is as it was but for what is accepted. Gives the names of that.
async fn as_planned(engine: &Engine, admitted: &Admitted) -> Result<Vec<String>, StartError> {
    let Some(signed) = &admitted.request.plan else {
        return Ok(Vec::new());
    };
    let plan = signed.plan();
    if plan.expires_at <= engine.wall.now() {
        return Err(StartError::Expired(plan.expires_at));
    }
    // Said before the fleet is looked at: it has changed since, by that very run.
    if engine.store.run(&plan.run, engine.wall.now()).is_ok() {
        return Err(StartError::Applied(plan.run.clone()));
    }
    // Whoever works there now changes it: that is no drift to be accepted.
    let now = engine.wall.now();
    for held in engine.store.locks()? {
        let wanted = admitted
            .locks
            .iter()
            .any(|lock| conflicts(&held.name, lock));
        let ended = |run: RunSummary| matches!(run.standing, Standing::Closed(_));
        if wanted && !engine.store.run(&held.run, now).is_ok_and(ended) {
            let (lock, run) = (held.name, held.run);
            return Err(StoreError::Locked { lock, run }.into());
        }
    }
    let drifts = engine.drift(admitted).await?;
    let accepted = |drift: &Drift| drift.accepted(&admitted.request.accepted_drift);
    if drifts.iter().all(accepted) {
        return Ok(drifts.iter().map(Drift::name).collect());
    }
    Err(StartError::Drifted(drifts))
}

/// What performs the effects of a run, by capability.
pub(crate) fn executors(
    engine: &Engine,
    admitted: &Admitted,
    mode: Mode,
    clock: &Arc<dyn Clock>,
    deadline: &Deadline,
) -> Result<HashMap<&'static str, Arc<dyn Executor>>, StartError> {
    let setting = Setting {
        run: admitted.run.clone(),
        target: admitted.request.target.clone(),
        mode,
        clock: clock.clone(),
        seed: admitted.request.seed,
        deadline: deadline.clone(),
    };
    let operations: Arc<dyn Capability> = Arc::new(Operations);
    let all = engine.capabilities.iter().chain([&operations]);
    all.map(|capability| {
        let executor = capability.executor(&setting);
        Ok((capability.name(), executor.map_err(StartError::Capability)?))
    })
    .collect()
}

/// A run whose journal is open.
pub(crate) struct Launch {
    pub(crate) engine: Arc<Engine>,
    pub(crate) admitted: Admitted,
    pub(crate) claim: Claim,
    pub(crate) journal: Writer,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) deadline: Deadline,
    pub(crate) executors: HashMap<&'static str, Arc<dyn Executor>>,
    /// What an earlier process did of it.
    pub(crate) past: RunState,
}

pub(crate) fn launch(launch: Launch) -> RunHandle {
    let Launch {
        engine,
        admitted,
        claim,
        journal,
        clock,
        deadline,
        executors,
        past,
    } = launch;
    let interrupt = CancellationToken::new();
    if past.interrupted {
        interrupt.cancel();
    }
    let stop = CancellationToken::new();
    let rows = engine.rows();
    let plan = admitted.request.plan.as_ref().map(SignedPlan::plan);
    let shared = Arc::new(RunShared {
        id: admitted.run.clone(),
        clock,
        journal,
        executors,
        interrupt: interrupt.clone(),
        writes: Mutex::new(Writes::new(plan, &past, &rows)),
        faults: Mutex::new(Faults::new(
            admitted.request.seed,
            admitted.request.faults.clone(),
        )),
        rows,
        past: Mutex::new(past.steps),
        resumed_from: past.last_at,
        repeats_only: false,
    });
    let (done, report) = oneshot::channel();
    let handle = RunHandle {
        run: admitted.run.clone(),
        interrupt,
        stop: stop.clone(),
        report,
    };
    tokio::spawn(async move {
        let running = Running {
            engine: engine.clone(),
            shared: shared.clone(),
            scope: admitted.scope,
            planning: admitted.planning,
            steps: Vec::new(),
            in_doubt: Vec::new(),
            failed: false,
        };
        let report = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            () = heartbeat(&engine, &claim, &deadline) => None,
            () = note_interrupt(&shared, past.interrupted) => None,
            report = running.run(admitted.steps, admitted.finally) => Some(report),
        };
        // From here on nothing is sent, whatever is still under way.
        deadline.pass();
        let report = report.unwrap_or_else(|| RunReport {
            run: shared.id.clone(),
            status: None,
            steps: Vec::new(),
            in_doubt: Vec::new(),
            halt: shared.journal.failure().map(Halt::Journal),
        });
        if report.status.is_some()
            && let Err(e) = engine.store.release(&claim)
        {
            tracing::warn!(
                "the run's locks are not given up; the next run that needs them takes them: {e}"
            );
        }
        let _ = done.send(report);
    });
    handle
}

/// Writes down that the run was interrupted, so that whoever resumes it brings it to its end and
/// not on.
async fn note_interrupt(shared: &RunShared, known: bool) {
    shared.interrupt.cancelled().await;
    if !known {
        let note = Draft::note(None, NoteBody::Interrupted);
        shared.journal.append(vec![note]);
    }
    std::future::pending().await
}

/// Shows that the run is alive; returns when it has been taken over.
async fn heartbeat(engine: &Arc<Engine>, claim: &Claim, deadline: &Deadline) {
    loop {
        engine.wall.sleep(HEARTBEAT).await;
        let began = deadline.beginning();
        let (engine, claim) = (engine.clone(), claim.clone());
        let beat = tokio::task::spawn_blocking(move || {
            engine.store.beat(&claim, after(engine.wall.now(), CLAIM))
        })
        .await;
        match beat {
            Ok(Err(StoreError::Fenced(_))) => return,
            Ok(Err(e)) => tracing::warn!("the run could not show that it is alive: {e}"),
            Ok(Ok(())) => deadline.extend(began),
            Err(_) => {}
        }
    }
}

struct Running {
    engine: Arc<Engine>,
    shared: Arc<RunShared>,
    scope: Scope,
    planning: Option<Planning>,
    steps: Vec<StepEnded>,
    in_doubt: Vec<String>,
    failed: bool,
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
    fn status(&self) -> StepStatus {
        self.ended
            .last()
            .map_or(StepStatus::Failed, |ended| ended.status)
    }
}

impl Running {
    async fn run(mut self, steps: Vec<AdmittedStep>, finally: Vec<AdmittedStep>) -> RunReport {
        let result = self.all(steps, finally).await;
        let mut report = RunReport {
            run: self.shared.id.clone(),
            status: None,
            steps: self.steps,
            in_doubt: self.in_doubt,
            halt: None,
        };
        let status = if !report.in_doubt.is_empty() {
            RunStatus::InDoubt
        } else if self.shared.interrupt.is_cancelled() {
            RunStatus::Interrupted
        } else if self.failed {
            RunStatus::Failed
        } else {
            RunStatus::Succeeded
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

    async fn all(
        &mut self,
        steps: Vec<AdmittedStep>,
        finally: Vec<AdmittedStep>,
    ) -> Result<(), Halt> {
        self.pipeline(steps).await?;
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
