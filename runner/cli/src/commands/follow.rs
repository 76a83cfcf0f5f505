//! Following a run to its end, whoever started it: signals, the report, the exit code; and what is said
//! of one that has not ended.

use std::sync::Arc;

use groundcrew::journal::{Mode, RunStatus};
use groundcrew::store::{Standing, StoreError};
use groundcrew::{Engine, RunHandle, RunReport};
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};

use crate::context::Shared;
use crate::exit::Exit;
use crate::progress::Progress;
use crate::render;
use crate::shown::{self, shown};
use crate::terminal::{self, say};

/// Follows a run to its end.
pub(crate) async fn follow(
    shared: &Shared,
    handle: RunHandle,
    progress: &Progress,
    mode: Mode,
) -> Result<(), Exit> {
    let signals = listen(&handle)?;
    let report = handle.finished().await;
    progress.finish();
    let signalled = signals.abort_and_read();
    render::report(&report, mode, shared.json);
    if let Some(halt) = report.halt.as_ref().filter(|halt| halt.taken_over()) {
        return Err(Exit::taken_over(halt, &report.run));
    }
    if report.status.is_none() && mode == Mode::Perform {
        unfinished(shared, &report.run);
    }
    conclude(&report, signalled)
}

/// Says how to go on with a run that is left as it is.
pub(crate) fn unfinished(shared: &Shared, run: &str) {
    say!(
        "  hint: `groundcrew resume {}` goes on with it, `groundcrew runs cancel {}` ends it",
        run,
        run
    );
    let (true, Ok(state)) = (terminal::on_github(), shared.state_dir()) else {
        return;
    };
    // The machine of a job is gone afterwards, and the journal with it.
    let (name, state) = (shown::name(run), state.display());
    let step = shown!(
        "run {} is unfinished; add this step, so that another job can go on with it:\n- if: always()\n  uses: actions/upload-artifact@v4\n  with:\n    name: groundcrew-{}\n    path: {}\n    include-hidden-files: true\nand there, with that directory: groundcrew resume {} --state-dir {}",
        name,
        name,
        state,
        name,
        state
    );
    terminal::command("notice title=groundcrew", &step);
}

/// Whether the process of a run that holds a lock is gone, so that it can be gone on with.
pub(crate) fn interrupted(engine: &Engine, run: &str) -> bool {
    let found = engine.store().run(run, Timestamp::now());
    found.is_ok_and(|run| match run.standing {
        Standing::Running => run.gone().is_some(),
        Standing::Abandoned => true,
        Standing::Exported | Standing::Closed(_) => false,
    })
}

/// A run is on a lock that we need.
pub(crate) fn locked(engine: &Engine, lock: &str, run: &str) -> Exit {
    let error = StoreError::Locked {
        lock: lock.to_owned(),
        run: run.to_owned(),
    };
    if !interrupted(engine, run) {
        return error.into();
    }
    Exit::refused(
        format!("{error}, which was interrupted"),
        Some(&format!(
            "`groundcrew resume {run}` goes on with it, `groundcrew runs cancel {run}` ends it"
        )),
    )
}

/// Which signal came first.
struct Signals {
    task: tokio::task::JoinHandle<()>,
    first: Arc<std::sync::OnceLock<u8>>,
}

impl Signals {
    fn abort_and_read(self) -> Option<u8> {
        self.task.abort();
        self.first.get().copied()
    }
}

fn listen(handle: &RunHandle) -> Result<Signals, Exit> {
    let trouble = |e: std::io::Error| Exit::bug(format!("signals cannot be listened for: {e}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(trouble)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(trouble)?;
    let (soft, hard) = handle.tokens();
    let first = Arc::new(std::sync::OnceLock::new());
    let noted = first.clone();
    let run = handle.run().to_owned();
    let task = tokio::spawn(async move {
        loop {
            // 128 and the signal's number, as shells count.
            let code = tokio::select! {
                _ = interrupt.recv() => 130,
                _ = terminate.recv() => 143,
            };
            if noted.set(code).is_ok() {
                say!(
                    "interrupted: nothing more is sent; what is under way is seen to its end (again to stop at once)"
                );
                soft.cancel();
            } else {
                say!("stopped at once: run {} is left as it is", run);
                hard.cancel();
            }
        }
    });
    Ok(Signals { task, first })
}

fn conclude(report: &RunReport, signalled: Option<u8>) -> Result<(), Exit> {
    if let Some(halt) = &report.halt {
        say!("  what the journal holds is intact; leases that are left expire by themselves");
        return Err(Exit::journal(format!("{halt}; the run was stopped")));
    }
    let Some(status) = report.status else {
        return Err(Exit::silent(signalled.unwrap_or(5)));
    };
    match status {
        RunStatus::Succeeded => Ok(()),
        RunStatus::InDoubt => Err(Exit::silent(6)),
        RunStatus::Interrupted | RunStatus::Cancelled => {
            Err(Exit::silent(signalled.unwrap_or(130)))
        }
        RunStatus::Failed => Err(Exit::silent(1)),
    }
}
