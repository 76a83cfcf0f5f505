//! A run: opening its journal, keeping its claim alive, and letting its pipeline run to its end.
//!
//! `pipeline.rs` is which steps run when, `step.rs` one step with its attempts and its rescue,
//! `report.rs` how they came out. `heartbeat.rs` shows that it is alive. `resume.rs` goes on with a run whose process is gone, after `since.rs` has
//! looked for what others have changed, `cancel.rs` closes it, `replay.rs` does it again without effects, `plan.rs` makes a plan out of a rehearsal.
//!
//! An interrupt lets what was sent come to its end: the gate refuses forward writes, plugins and the
//! host give back what is held, `finally` still runs; a plugin that has not ended after
//! [`crate::Limits::cleanup_timeout`] is stopped. A stop is at once, and leaves the run abandoned.

mod cancel;
mod heartbeat;
mod pipeline;
pub(crate) mod plan;
pub(crate) mod replay;
mod report;
pub(crate) mod resume;
mod since;
mod step;

use std::sync::{Arc, Mutex};

use groundcrew_faults::Faults;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::admit::Admitted;
use crate::clock::{Clock, RealClock, VirtualClock, after};
use crate::deadline::{CLAIM, Deadline};
use crate::digest::digest;
use crate::effect::Mode;
use crate::engine::{Engine, Executors, StartError};
use crate::gate::radius::Radius;
use crate::gate::shared::{Halt, RunShared};
use crate::gate::writes::Writes;
use crate::journal::{Draft, FORMAT, NoteBody, Observer, PlanApplied, RunOpened, RunState};
use crate::plan::SignedPlan;
use crate::rehearse::Planning;
use crate::rehearse::fits::fits;
use crate::run::heartbeat::heartbeat;
use crate::run::pipeline::Running;
use crate::store::{Claim, NewRun, StoreError, Writer};

pub use cancel::Closed;
pub use report::RunReport;

/// A run under way.
pub struct RunHandle {
    run: Arc<str>,
    interrupt: CancellationToken,
    stop: CancellationToken,
    report: oneshot::Receiver<RunReport>,
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

impl Engine {
    /// Opens the journal, takes the locks and starts. A rehearsal takes no locks. Where a plan is
    /// applied the target is first compared with it.
    ///
    /// # Errors
    /// If a lock is held or the store fails; if the plan has expired, has been applied, or the
    /// target has changed. Nothing has been written to the target.
    pub async fn start(
        self: &Arc<Self>,
        admitted: Admitted,
        observer: Arc<dyn Observer>,
    ) -> Result<RunHandle, StartError> {
        start(self.clone(), admitted, None, observer).await
    }
}

pub(crate) async fn start(
    engine: Arc<Engine>,
    admitted: Admitted,
    planning: Option<Planning>,
    observer: Arc<dyn Observer>,
) -> Result<RunHandle, StartError> {
    let request = &admitted.request;
    // However long it takes to look at the target: time begins after that.
    let accepted_drift = fits(&engine, &admitted).await?;
    let now = engine.wall.now();
    let clock: Arc<dyn Clock> = match request.mode {
        Mode::Perform => Arc::new(RealClock::new(now, request.target.time_scale)),
        Mode::Rehearsal => Arc::new(VirtualClock::new(now)),
    };
    let deadline = Deadline::new(engine.wall.clone());
    let setting = admitted.setting(request.mode, clock.clone(), deadline.clone());
    let executors = engine.executors(&setting, &admitted.granted())?;
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
        holder: request.actor.clone(),
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
        runbook_digest: digest(request.text.as_bytes()),
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
        planning,
    }))
}

/// A run whose journal is open.
pub(crate) struct Launch {
    pub(crate) engine: Arc<Engine>,
    pub(crate) admitted: Admitted,
    pub(crate) claim: Claim,
    pub(crate) journal: Writer,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) deadline: Deadline,
    pub(crate) executors: Executors,
    /// What an earlier process did of it.
    pub(crate) past: RunState,
    /// Of a rehearsal that is to end in a plan.
    pub(crate) planning: Option<Planning>,
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
        planning,
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
        radius: Mutex::new(Radius::new(&past, &rows)),
        covers: admitted.covers(),
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
            planning,
            steps: Vec::new(),
            in_doubt: Vec::new(),
            failed: false,
        };
        let report = tokio::select! {
            biased;
            () = stop.cancelled() => Err(None),
            fenced = heartbeat(&engine, &claim, &deadline) => Err(Some(fenced)),
            () = note_interrupt(&shared, past.interrupted) => Err(None),
            report = running.run(admitted.steps, admitted.finally) => Ok(report),
        };
        // From here on nothing is sent, whatever is still under way.
        deadline.pass();
        let report = report.unwrap_or_else(|fenced| RunReport {
            run: shared.id.clone(),
            status: None,
            steps: Vec::new(),
            in_doubt: Vec::new(),
            halt: shared.journal.failure().or(fenced).map(Halt::Journal),
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
