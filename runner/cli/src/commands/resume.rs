//! `groundcrew resume`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args as Arguments;
use groundcrew::journal::{Mode, RunState};
use groundcrew::plan::Drift;
use groundcrew::runbook::Runbook;
use groundcrew::store::{Store, bundle};
use groundcrew::{Answer, Engine, Limits, Observer, Question, ResumeError, ResumeRequest};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::drift;
use super::follow::{follow, unfinished};
use crate::audit;
use crate::config::Config;
use crate::context::{Shared, actor};
use crate::exit::Exit;
use crate::files;
use crate::inputs::secrets;
use crate::keys;
use crate::progress::Progress;
use crate::render;
use crate::shown::as_json;
use crate::terminal::{self, data, say};

/// Go on with a run whose process is gone, without doing anything twice
#[derive(Debug, Arguments)]
pub(crate) struct Args {
    /// Its id
    #[arg(required_unless_present = "from")]
    run: Option<String>,
    /// What became of a write that cannot be found out: EFFECT is its number, or STEP/NUMBER
    #[arg(long, value_name = "EFFECT=happened|retry", value_parser = answer)]
    resolve: Vec<(String, Answer)>,
    /// A secret input, given again: a journal has no values of those. NAME=VALUE, or NAME=@FILE for what
    /// is in a file; may be given many times
    #[arg(short, long = "input", value_name = "NAME=VALUE")]
    input: Vec<String>,
    /// Something that others have changed since the run stopped, and may have: APP/MACHINE, or
    /// APP/MACHINE.FIELD; may be given many times
    #[arg(long, value_name = "WHAT")]
    accept_drift: Vec<String>,
    /// Take the run up from a bundle of `groundcrew runs export`
    #[arg(long, value_name = "BUNDLE", conflicts_with = "run")]
    from: Option<PathBuf>,
    /// The target that it ran against, if the configuration calls it otherwise now
    #[arg(short, long)]
    target: Option<String>,
    /// With --from: the directory with your key, whose bundles are taken [default: `identity` in your
    /// configuration]
    #[arg(long, value_name = "DIR", requires = "from")]
    key: Option<PathBuf>,
    /// With --from: do not ask before the run is taken in and gone on with
    #[arg(short, long, requires = "from")]
    yes: bool,
}

impl Args {
    /// Just this run, with the secret inputs among these.
    pub(crate) fn of(run: String, runbook: &Runbook, inputs: &[String]) -> Self {
        let secret = |input: &&String| {
            let name = input.split('=').next().unwrap_or_default();
            let spec = runbook.inputs.iter().find(|spec| spec.name == name);
            spec.is_some_and(|spec| spec.secret)
        };
        Self {
            run: Some(run),
            input: inputs.iter().filter(secret).cloned().collect(),
            resolve: Vec::new(),
            accept_drift: Vec::new(),
            from: None,
            target: None,
            key: None,
            yes: false,
        }
    }
}

fn answer(text: &str) -> Result<(String, Answer), String> {
    let answer = match text.split_once('=') {
        Some((effect, "happened")) => (effect, Answer::Happened),
        Some((effect, "retry")) => (effect, Answer::Retry),
        _ => return Err("write `42=happened` or `42=retry`".to_owned()),
    };
    Ok((answer.0.to_owned(), answer.1))
}

pub(crate) async fn run(shared: &Shared, args: Args) -> Result<(), Exit> {
    let config = shared.config()?;
    let store = shared.store()?;
    let run = match (&args.run, &args.from) {
        (Some(run), _) => run.clone(),
        (None, Some(path)) => taken_in(shared, &config, store.clone(), path, &args).await?,
        (None, None) => return Err(Exit::usage("which run?", None)),
    };
    let (records, state) = shared.journal(&*store, &run)?;
    let (engine, request) = going_on(shared, &config, store, &run, &state, &args)?;
    let progress = Arc::new(Progress::new(shared.json, Mode::Perform));
    progress.recall(&records);
    let resumed = engine
        .resume(request, progress.clone() as Arc<dyn Observer>)
        .await;
    match resumed {
        Ok(handle) => {
            if !shared.json {
                say!("going on with run {}, after {} entries", run, records.len());
            }
            let seen = follow(shared, handle, &progress, Mode::Perform).await;
            audit::catch_up(shared, &config, engine.store()).await;
            seen
        }
        Err(ResumeError::Unknown(questions)) => {
            progress.finish();
            ask(shared, &run, &questions);
            if terminal::on_github() {
                unfinished(shared, &run);
            }
            Err(Exit::silent(6))
        }
        Err(ResumeError::Drifted(drifts)) => {
            progress.finish();
            if terminal::on_github() {
                unfinished(shared, &run);
            }
            Err(drifted(shared, &args, &run, &drifts))
        }
        Err(e) => {
            progress.finish();
            Err(e.into())
        }
    }
}

fn drifted(shared: &Shared, args: &Args, run: &str, drifts: &[Drift]) -> Exit {
    let mut command = format!("groundcrew resume {run}");
    for (effect, answer) in &args.resolve {
        let word = match answer {
            Answer::Happened => "happened",
            Answer::Retry => "retry",
        };
        let _ = write!(command, " --resolve {effect}={word}");
    }
    let heading = "since the run stopped, others have changed:";
    let command = drift::shown(shared, heading, drifts, &args.accept_drift, command);
    Exit::drift(
        "the run would go on with what it knew before; nothing more has been written",
        &format!(
            "`groundcrew runs cancel {run}` ends the run and leaves everything as it is; to go on all the same: `{command}`"
        ),
    )
}

/// The engine and the request to go on with a run.
fn going_on(
    shared: &Shared,
    config: &Config,
    store: Arc<dyn Store>,
    run: &str,
    state: &RunState,
    args: &Args,
) -> Result<(Arc<Engine>, ResumeRequest), Exit> {
    let header = state.header.as_deref();
    let named = header
        .and_then(|header| header.target["name"].as_str())
        .map(str::to_owned);
    let target = shared.target(config, args.target.as_deref().or(named.as_deref()))?;
    // A replay must meet the bounds that the run was started with.
    let limits = header.map_or_else(Limits::default, |header| header.limits);
    // One that is to be taken in from a bundle is not here yet.
    let found = store.run(run, Timestamp::now()).ok();
    let engine = shared.engine_on(config, store, limits)?;
    audit::open(shared, config)?.guard(engine.store())?;
    let request = ResumeRequest {
        run: run.to_owned(),
        target,
        policy: config.policy.clone(),
        actor: actor(),
        secrets: match header.map(|header| groundcrew::runbook::check(&header.runbook_text)) {
            Some(Ok(runbook)) => secrets(&runbook, &args.input)?,
            // Whoever admits it says what is wrong with it.
            Some(Err(_)) | None => Value::Null,
        },
        accepted_drift: args.accept_drift.clone(),
        answers: args.resolve.iter().cloned().collect::<BTreeMap<_, _>>(),
        gone: found.and_then(|found| found.gone()),
    };
    Ok((engine, request))
}

/// Takes a run in from a bundle, once a person has seen what it is; gives its id.
async fn taken_in(
    shared: &Shared,
    config: &Config,
    store: Arc<dyn Store>,
    path: &Path,
    args: &Args,
) -> Result<String, Exit> {
    let bundle = bundle::read(&files::text(path, bundle::BYTES)?)?;
    let known = keys::whose_runs(args.key.as_ref(), &config.policy)?;
    let now = Timestamp::now();
    let trusted = bundle.trusted(&known, &Limits::default(), now)?;
    let (run, state) = (trusted.bundle().run().to_owned(), trusted.bundle().state());
    let (engine, request) = going_on(shared, config, store.clone(), &run, state, args)?;
    // Whether it would be gone on with is known before anything is changed here.
    let admitted = engine.readmit(&request, state).await?;
    if let Some(header) = &state.header {
        say!(
            "run {} of `{}` on `{}`, begun by {} on {} at {}, with {} entries so far\n  exported by {} ({})\n  inputs {}",
            run,
            header.runbook,
            header.target["name"].as_str().unwrap_or_default(),
            header.actor.user,
            header.actor.host,
            header.started_at.strftime("%Y-%m-%d %H:%M:%SZ"),
            trusted.bundle().records().len(),
            trusted.by().name(),
            trusted.digest().chars().take(16).collect::<String>(),
            header.inputs
        );
    }
    render::may(&engine, &admitted, Mode::Perform);
    // Its export closed it only where it came from: no other store knows of this one.
    say!(
        "this bundle can be taken up in more than one store, and then the work is done twice; make sure that nobody else has"
    );
    if !args.yes {
        let hint = "pass `--yes`; `groundcrew audit show --from FILE` shows what it has done";
        crate::ask::confirmed(shared, "a run from elsewhere", "Go on with it here?", hint)?;
    }
    trusted.take_in(&*store, &actor(), now)?;
    Ok(run)
}

fn ask(shared: &Shared, run: &str, questions: &[Question]) {
    if shared.json {
        let of = |q: &Question| json!({ "effect": q.effect, "write": q.write, "at": q.at, "why": q.why });
        let asked: Vec<_> = questions.iter().map(of).collect();
        data!("{}", as_json(&json!({ "run": run, "in_doubt": asked })));
    }
    say!(
        "error: run {} stopped before these; whether they happened cannot be found out:",
        run
    );
    for question in questions {
        say!(
            "  {} `{}`, about to be sent at {}: {}",
            question.effect,
            question.write,
            question.at.strftime("%Y-%m-%d %H:%M:%SZ"),
            question.why
        );
    }
    let first = questions.first().map_or("", |question| &question.effect);
    say!(
        "  hint: look, then say what happened: `groundcrew resume {} --resolve {}=happened` (or `=retry`, to do it again)",
        run,
        first
    );
}
