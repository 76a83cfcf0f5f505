//! `groundcrew run`.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use clap::Args as Arguments;
use groundcrew::journal::Mode;
use groundcrew::runbook::{self, Runbook};
use groundcrew::store::StoreError;
use groundcrew::{Admitted, Engine, Kind, Observer, OperationRule, RunRequest, StartError};

use super::follow::{follow, interrupted, locked};
use super::resume;
use crate::ask;
use crate::audit;
use crate::config::Config;
use crate::context::{Shared, actor, bundled_dirs, grant_keys, random_seed};
use crate::defaults::inherited;
use crate::exit::Exit;
use crate::files::Directory;
use crate::progress::Progress;
use crate::render;

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

/// A runbook's text and where it is from.
pub(crate) struct Found {
    pub(crate) text: String,
    pub(crate) shown: String,
}

/// Finds a runbook: a path; then by name in the project's `runbooks`, then among the bundled ones.
pub(crate) fn find(shared: &Shared, name: &str) -> Result<Found, Exit> {
    let path = Path::new(name);
    if name.ends_with(".toml") || name.contains('/') {
        let (parent, file) = (
            path.parent()
                .filter(|p| !p.as_os_str().is_empty())
                .unwrap_or(Path::new(".")),
            path.file_name(),
        );
        let text = match (Directory::open(parent), file.and_then(|f| f.to_str())) {
            (Some(directory), Some(file)) => directory.read(file)?,
            _ => None,
        };
        return text
            .map(|text| Found {
                text,
                shown: name.to_owned(),
            })
            .ok_or_else(|| Exit::usage(format!("there is no runbook `{name}`"), None));
    }
    let places: Vec<_> = std::iter::once(shared.project.join("runbooks"))
        .chain(bundled_dirs("runbooks"))
        .collect();
    let mut names = BUNDLED
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect::<Vec<_>>();
    for place in places {
        let Some(directory) = Directory::open(&place) else {
            continue;
        };
        let file = format!("{name}.toml");
        if let Some(text) = directory.read(&file)? {
            return Ok(Found {
                text,
                shown: directory.shown(&file),
            });
        }
        names.extend(directory.names(".toml"));
    }
    if let Some((_, text)) = BUNDLED.iter().find(|(bundled, _)| *bundled == name) {
        return Ok(Found {
            text: (*text).to_owned(),
            shown: format!("{name}.toml (bundled)"),
        });
    }
    names.sort();
    names.dedup();
    let near = runbook::nearest(name, names.iter().map(String::as_str))
        .map(|near| format!("did you mean `{near}`?"));
    let hint = near.unwrap_or_else(|| format!("there are `{}`", names.join("`, `")));
    Err(Exit::usage(
        format!("there is no runbook `{name}`"),
        Some(&hint),
    ))
}

/// The runbooks that the binary carries, as `build.rs` found them.
const BUNDLED: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/runbooks.rs"));

/// Checks a text; what is wrong is shown.
pub(crate) fn checked(shared: &Shared, found: &Found) -> Result<Runbook, Exit> {
    let show = |diagnostics: &[runbook::Diagnostic]| {
        for diagnostic in diagnostics {
            eprintln!(
                "{}",
                runbook::render(diagnostic, &found.text, &found.shown, shared.colour())
            );
        }
    };
    match runbook::check_for(&found.text, &grant_keys()) {
        Ok(runbook) => {
            show(&runbook.warnings);
            Ok(runbook)
        }
        Err(diagnostics) => {
            show(&diagnostics);
            let errors = diagnostics.len();
            eprintln!(
                "error: `{}` has {errors} error{}; nothing has happened",
                found.shown,
                if errors == 1 { "" } else { "s" }
            );
            Err(Exit::silent(3))
        }
    }
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
        runbook,
        text: found.text,
        inputs,
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
        eprintln!("warning: {warning}");
    }
    if mode == Mode::Perform && !args.yes {
        confirm(&engine, &admitted, shared)?;
    }
    let progress = Arc::new(Progress::new(shared.json, mode));
    let observer = progress.clone() as Arc<dyn Observer>;
    let handle = match engine.start(admitted, observer).await {
        Err(StartError::Store(StoreError::Locked { lock, run })) => {
            let refused = locked(&engine, &lock, &run);
            if !interrupted(&engine, &run) || !ask::can(shared) {
                return Err(refused);
            }
            eprintln!("{}", refused.message());
            if !ask::yes("Go on with that run now?") {
                return Err(Exit::refused("not confirmed; nothing has happened", None));
            }
            return resume::run(shared, resume::Args::of(run)).await;
        }
        other => other?,
    };
    let seen = follow(shared, handle, &progress, mode).await;
    audit::catch_up(shared, &config, engine.store()).await;
    seen
}

/// The inputs of a run: those given, and over the runbook's own defaults those of the
/// configuration, which are shown.
pub(crate) fn inputs(
    config: &Config,
    target: Option<&str>,
    runbook: &Runbook,
    given: &[String],
) -> Result<serde_json::Value, Exit> {
    let mut pairs = Vec::new();
    for input in given {
        let Some((name, value)) = input.split_once('=') else {
            return Err(Exit::usage(
                format!("`{input}` is no input"),
                Some("write `-i NAME=VALUE`"),
            ));
        };
        pairs.push((name.to_owned(), read(name, value)?));
    }
    let target = target.unwrap_or_else(|| config.default_target());
    let inherited = inherited(config, target, runbook, &pairs)?;
    for (name, place) in &inherited.from {
        eprintln!("{name} = {}  (from {place})", inherited.values[name]);
    }
    let bound = runbook.bind_inputs_over(&pairs, &inherited.values);
    bound.map_err(|errors| {
        for error in &errors {
            match inherited.from.get(&error.input) {
                Some(place) => eprintln!("error: {error} (from {place})"),
                None => eprintln!("error: {error}"),
            }
            if let Some(hint) = &error.hint {
                eprintln!("  hint: {hint}");
            }
        }
        eprintln!(
            "error: the inputs of `{}` are not right; nothing has happened",
            runbook.name
        );
        Exit::silent(2)
    })
}

/// The longest file that an input may name: half of what an expression may result in, so that a
/// runbook can hand it on with something beside it.
const INPUT_BYTES: u64 = 512 << 10;

/// A value as it was given; `@FILE` is what is in a file, and `@@` begins a value with one `@`.
fn read(name: &str, value: &str) -> Result<String, Exit> {
    let Some(path) = value.strip_prefix('@') else {
        return Ok(value.to_owned());
    };
    if path.starts_with('@') {
        return Ok(path.to_owned());
    }
    let wrong = |why: String| {
        let hint = "`@FILE` reads a file; begin with `@@` for a value that begins with `@`";
        let text = format!("input `{name}`: `{path}` cannot be read: {why}");
        Exit::usage(text, Some(hint))
    };
    let file = std::fs::File::open(path).map_err(|e| wrong(e.to_string()))?;
    let mut text = String::new();
    let read = file.take(INPUT_BYTES + 1).read_to_string(&mut text);
    match read.map_err(|e| wrong(e.to_string()))? as u64 {
        0..=INPUT_BYTES => Ok(text),
        _ => Err(wrong(format!("it is larger than {INPUT_BYTES} bytes"))),
    }
}

/// Asks a person at a terminal; anyone else has to have said `--yes`.
fn confirm(engine: &Engine, admitted: &Admitted, shared: &Shared) -> Result<(), Exit> {
    let writes = |capability: &str, verb: &str| {
        let mut rows = engine
            .operations()
            .filter(|row| row.capability() == capability);
        rows.any(|row| row.verb == verb && row.kind == Kind::Write && !row.housekeeping)
    };
    let writes: Vec<_> = admitted
        .grants()
        .filter(|(_, capability, grant)| grant.verbs().iter().any(|v| writes(capability, v)))
        .collect();
    if writes.is_empty() {
        return Ok(());
    }
    eprintln!("This run may write:");
    for (step, capability, grant) in writes {
        eprintln!(
            "  step `{step}`: {}",
            render::grant(capability, &grant.to_json())
        );
    }
    if !ask::can(shared) {
        return Err(Exit::refused(
            "a run that writes has to be confirmed",
            Some("pass `--yes`, or rehearse it with `--dry-run` first"),
        ));
    }
    if ask::yes("Go on?") {
        Ok(())
    } else {
        Err(Exit::refused("not confirmed; nothing has happened", None))
    }
}
