//! `groundcrew run`.

use std::sync::Arc;

use clap::Args as Arguments;
use groundcrew::journal::Mode;
use groundcrew::store::StoreError;
use groundcrew::{Admitted, Engine, Observer, OperationRule, RunRequest, StartError};

use super::follow::{follow, interrupted, locked};
use super::resume;
use crate::ask;
use crate::audit;
use crate::context::{Shared, actor, random_seed};
use crate::exit::Exit;
use crate::inputs::inputs;
use crate::progress::Progress;
use crate::render;
use crate::runbooks::{checked, find, say_what_is_not_bundled};
use crate::terminal::say;

/// Run a runbook
#[derive(Debug, Arguments)]
pub(crate) struct Args {
    /// A runbook's name, or the path of its file
    runbook: String,
    /// An input, as NAME=VALUE, or NAME=@FILE for what is in a file; may be given many times
    #[arg(short, long = "input", value_name = "NAME=VALUE")]
    input: Vec<String>,
    /// Rehearse: everything happens on a fork of the live fleet, and nothing is written to it
    #[arg(long)]
    dry_run: bool,
    /// With --dry-run: an operation that goes wrong, as OPERATION[/TARGET]@WHEN:FAILURE, such as
    /// machines.wait-healthy@3:application or machines.*@5%:unavailable; may be given many times
    #[arg(long, value_name = "FAULT", requires = "dry_run")]
    fault: Vec<OperationRule>,
    /// The target to run against
    #[arg(short, long, value_name = "NAME")]
    target: Option<String>,
    /// Do not ask before writing
    #[arg(short, long)]
    yes: bool,
}

pub(crate) async fn run(shared: &Shared, args: Args) -> Result<(), Exit> {
    let found = find(shared, &args.runbook)?;
    let runbook = checked(shared, &found)?;
    let config = shared.config()?;
    let inputs = inputs(&config, args.target.as_deref(), &runbook, &args.input)?;
    let target = shared.target(&config, args.target.as_deref())?;
    let engine = shared.engine(&config)?;
    audit::open(shared, &config)?.guard(engine.store())?;
    let mode = if args.dry_run {
        Mode::Rehearsal
    } else {
        Mode::Perform
    };
    let request = RunRequest {
        runbook: runbook.clone(),
        text: found.text.clone(),
        inputs,
        secrets: serde_json::Value::Null,
        target,
        mode,
        actor: actor(),
        policy: config.policy.clone(),
        seed: random_seed(),
        faults: args.fault.clone(),
        plan: None,
        accepted_drift: Vec::new(),
    };
    let admitted = engine
        .admit(request)
        .await
        .map_err(|refusals| Exit::refusals(&refusals))?;
    for warning in &admitted.warnings {
        say!("warning: {}", warning);
    }
    say_what_is_not_bundled(&found, admitted.plugins());
    confirm(&engine, &admitted, mode, args.yes, shared)?;
    let progress = Arc::new(Progress::new(shared.json, mode));
    let observer = progress.clone() as Arc<dyn Observer>;
    let handle = match engine.start(admitted, observer).await {
        Err(StartError::Store(StoreError::Locked { lock, run })) => {
            let refused = locked(&engine, &lock, &run);
            if !interrupted(&engine, &run) || !ask::can(shared) {
                return Err(refused);
            }
            say!("{}", refused.message());
            if !ask::yes("Go on with that run now?") {
                return Err(Exit::refused("not confirmed; nothing has happened", None));
            }
            return resume::run(shared, resume::Args::of(run, &runbook, &args.input)).await;
        }
        other => other?,
    };
    let seen = follow(shared, handle, &progress, mode).await;
    audit::catch_up(shared, &config, engine.store()).await;
    seen
}

/// Asks before anything is written, and before others than the target are asked: what a plugin asks
/// them says something, in a rehearsal too.
pub(crate) fn confirm(
    engine: &Engine,
    admitted: &Admitted,
    mode: Mode,
    yes: bool,
    shared: &Shared,
) -> Result<(), Exit> {
    if yes && mode == Mode::Perform {
        return Ok(());
    }
    // A rehearsal shows it in any case.
    let something = render::may(engine, admitted, mode);
    if yes || !something {
        return Ok(());
    }
    let (what, hint) = match mode {
        Mode::Perform => (
            "a run that writes, or asks others than the target,",
            "pass `--yes`, or rehearse it with `--dry-run` first",
        ),
        Mode::Rehearsal => (
            "a rehearsal that asks others than the target",
            "pass `--yes`: nothing is written",
        ),
    };
    ask::confirmed(shared, what, "Go on?", hint)
}
