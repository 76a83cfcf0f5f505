//! `groundcrew apply`.

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args as Arguments;
use groundcrew::journal::Mode;
use groundcrew::plan::Drift;
use groundcrew::store::StoreError;
use groundcrew::{Observer, RunRequest, StartError, Whereabouts};

use super::drift;
use super::follow::{follow, locked};
use super::plan::{known, read};
use crate::audit;
use crate::context::{Shared, actor};
use crate::exit::Exit;
use crate::inputs::secrets;
use crate::progress::Progress;
use crate::terminal::say;

/// Do what a plan says, and nothing else
#[derive(Debug, Arguments)]
pub(crate) struct Args {
    /// The plan
    plan: PathBuf,
    /// A secret input, given again: a plan has no values of those. NAME=VALUE, or NAME=@FILE for what
    /// is in a file; may be given many times
    #[arg(short, long = "input", value_name = "NAME=VALUE")]
    input: Vec<String>,
    /// Something that has changed since it was made, and may: APP/MACHINE, or APP/MACHINE.FIELD; may
    /// be given many times
    #[arg(long, value_name = "WHAT")]
    accept_drift: Vec<String>,
    /// The directory with your key, whose plans are taken [default: `identity` in your configuration]
    #[arg(long, value_name = "DIR")]
    key: Option<PathBuf>,
}

pub(crate) async fn run(shared: &Shared, args: Args) -> Result<(), Exit> {
    let config = shared.config()?;
    let policy = &config.policy;
    let plan = read(&args.plan, &known(args.key.as_ref(), policy, None)?)?;
    let at = Whereabouts::recorded(&plan.plan().target);
    // Whoever may author plans for one target may not for every other.
    plan.trusted(&known(args.key.as_ref(), policy, Some(&at))?)?;
    let target = shared.target(&config, plan.plan().target["name"].as_str())?;
    let engine = shared.engine(&config)?;
    audit::open(shared, &config)?.guard(engine.store())?;
    let planned = RunRequest::applying(plan, target, actor(), policy.clone())?;
    let request = RunRequest {
        accepted_drift: args.accept_drift.clone(),
        secrets: secrets(&planned.runbook, &args.input)?,
        ..planned
    };
    let admitted = engine
        .admit(request)
        .await
        .map_err(|refusals| Exit::refusals(&refusals))?;
    for warning in &admitted.warnings {
        say!("warning: {}", warning);
    }
    let progress = Arc::new(Progress::new(shared.json, Mode::Perform));
    let observer = progress.clone() as Arc<dyn Observer>;
    let handle = match engine.start(admitted, observer).await {
        Err(StartError::Store(StoreError::Locked { lock, run })) => {
            return Err(locked(&engine, &lock, &run));
        }
        Err(StartError::Drifted(drifts)) => {
            progress.finish();
            return Err(drifted(shared, &args, &drifts));
        }
        other => other?,
    };
    let seen = follow(shared, handle, &progress, Mode::Perform).await;
    audit::catch_up(shared, &config, engine.store()).await;
    seen
}

fn drifted(shared: &Shared, args: &Args, drifts: &[Drift]) -> Exit {
    let mut command = format!("groundcrew apply {}", args.plan.display());
    if let Some(key) = &args.key {
        let _ = write!(command, " --key {}", key.display());
    }
    let heading = "since the plan was made, the target has changed:";
    let command = drift::shown(shared, heading, drifts, &args.accept_drift, command);
    Exit::drift(
        "the plan does not fit any more; nothing has been written",
        &format!("make the plan again; or, if that makes no difference, `{command}`"),
    )
}
