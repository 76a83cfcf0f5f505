//! `groundcrew runs list|show|cancel|export|reopen`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Subcommand;
use groundcrew::Unobserved;
use groundcrew::journal::{Decision, Entry, Note, NoteBody, RunState};
use groundcrew::store::{RunSummary, Standing, bundle};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::ask;
use crate::context::{Shared, actor};
use crate::exit::Exit;
use crate::files;
use crate::keys;
use crate::render::{applies, mark, outcome_line, output_text};
use crate::shown::as_json;
use crate::terminal::{self, data, say};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the newest runs
    List {
        /// How many
        #[arg(long, default_value_t = 20)]
        max: usize,
    },
    /// Show what a run was asked to do, did, and how it ended
    Show {
        /// Its id
        run: String,
    },
    /// Close a run whose process is gone: release its leases, give up its locks
    Cancel {
        /// Its id
        run: String,
        /// The target that it ran against, if the configuration calls it otherwise now
        #[arg(short, long)]
        target: Option<String>,
    },
    /// Write a run's journal into a file, signed, to go on with it on another machine and not here
    Export {
        /// Its id
        run: String,
        /// The file; standard output without it
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// The directory with your key [default: `identity` in your configuration]
        #[arg(long, value_name = "DIR")]
        key: Option<PathBuf>,
    },
    /// Take an export back that nobody has gone on with
    Reopen {
        /// Its id
        run: String,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
}

pub(crate) async fn run(shared: &Shared, command: Command) -> Result<(), Exit> {
    // Whoever cancels a run reads it, and is refused without.
    if !matches!(command, Command::Cancel { .. }) {
        shared.warn_of_config();
    }
    match command {
        Command::List { max } => list(shared, max),
        Command::Show { run } => show(shared, &run),
        Command::Export { run, output, key } => {
            export(shared, &run, output.as_deref(), key.as_ref())
        }
        Command::Reopen { run, yes } => reopen(shared, &run, yes),
        Command::Cancel { run, target } => cancel(shared, &run, target.as_deref()).await,
    }
}

/// The word for people: a run whose process is gone is *interrupted*.
fn word(run: &RunSummary) -> &'static str {
    match run.standing {
        Standing::Running if run.gone().is_some() => "interrupted",
        Standing::Abandoned => "interrupted",
        Standing::Running | Standing::Exported | Standing::Closed(_) => run.standing.word(),
    }
}

fn list(shared: &Shared, max: usize) -> Result<(), Exit> {
    let store = shared.store()?;
    let mut rows: Vec<Value> = Vec::new();
    for run in store.runs(Timestamp::now(), max)? {
        rows.push(json!({
            "run": run.run,
            "status": word(&run),
            "runbook": run.runbook,
            "target": run.target,
            "mode": run.mode,
            "opened": run.opened_at.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
            "entries": run.entries,
        }));
    }
    super::plugin::print(shared, &rows);
    Ok(())
}

fn show(shared: &Shared, run: &str) -> Result<(), Exit> {
    let store = shared.store()?;
    let summary = store.run(run, Timestamp::now())?;
    let records = store.read(run, 0, usize::MAX)?;
    let state = RunState::fold(&records)
        .map_err(|e| Exit::journal(format!("the journal of run `{run}` is damaged: {e}")))?;
    let status = word(&summary);
    if shared.json {
        let effects: Vec<Value> = state
            .effects()
            .map(|(step, e)| json!({ "step": step, "effect": e.intended.effect, "request": e.intended.request, "decision": e.intended.decision, "settled": e.settled, "delivered": e.delivered }))
            .collect();
        let steps: Vec<Value> = state
            .steps
            .values()
            .filter_map(|s| s.ended.as_ref())
            .map(|e| json!(e))
            .collect();
        data!(
            "{}",
            as_json(
                &json!({ "run": run, "status": status, "header": state.header, "steps": steps, "effects": effects, "closed": state.closed })
            )
        );
        return Ok(());
    }
    data!("run {}: {}", run, status);
    if let Some(header) = &state.header {
        data!(
            "  runbook {} ({}…) on target {}, {:?}",
            header.runbook,
            header.runbook_digest.chars().take(12).collect::<String>(),
            header.target["name"].as_str().unwrap_or_default(),
            header.mode
        );
        data!(
            "  by {} on {}, process {}",
            header.actor.user,
            header.actor.host,
            header.actor.process
        );
        data!("  inputs {}", header.inputs);
        if !header.locks.is_empty() {
            data!("  locks {}", header.locks.join(", "));
        }
        for fault in &header.faults {
            data!("  fault {}", fault);
        }
        if let Some(plan) = &header.plan {
            data!("  {}", applies(plan).trim_start_matches(", "));
            for drift in &plan.accepted_drift {
                data!("  drift accepted: {}", drift);
            }
        }
    }
    data!(
        "  opened {}{}",
        summary.opened_at,
        summary
            .closed_at
            .map_or_else(String::new, |at| format!(", closed {at}"))
    );
    for (key, step) in &state.steps {
        let (denied, unsettled) = step.effects.values().fold((0, 0), |(d, u), e| {
            (
                d + usize::from(e.intended.decision != Decision::Allowed),
                u + usize::from(e.settled.is_none()),
            )
        });
        data!(
            "\nstep {} ({}): {} effects, {} denied, {} not settled",
            key,
            step.plugin(),
            step.effects.len(),
            denied,
            unsettled
        );
        match &step.ended {
            Some(ended) => {
                data!("  {} {}", mark(ended.status), outcome_line(ended));
                if let Some(output) = &ended.output {
                    data!("{}", output_text("  output", output));
                }
            }
            None => data!("  has not ended"),
        }
        for effect in step
            .effects
            .values()
            .filter(|e| e.settled.as_ref().is_some_and(|s| s.in_doubt))
        {
            data!(
                "  in doubt: effect {} {:?}",
                effect.intended.effect,
                effect.settled.as_ref().and_then(|s| s.failure.as_ref())
            );
        }
    }
    for record in &records {
        if let Ok(Entry::Note(Note {
            note: NoteBody::TakenIn { actor, by, .. },
            ..
        })) = record.entry()
        {
            data!(
                "\nWhat stands before {} was taken in by {} on {}, from {}",
                record.at.strftime("%Y-%m-%d %H:%M:%SZ"),
                actor.user,
                actor.host,
                by
            );
        }
    }
    if summary.standing == Standing::Exported {
        data!(
            "\nIt was exported, to be gone on with elsewhere. If nobody does, `groundcrew runs reopen {}` takes that back.",
            run
        );
    }
    if status == "interrupted" && state.closed.is_none() {
        data!(
            "\nIts process is gone. `groundcrew resume {}` goes on with it; `groundcrew runs cancel {}` releases its leases and closes it.",
            run,
            run
        );
    }
    Ok(())
}

fn export(
    shared: &Shared,
    run: &str,
    output: Option<&Path>,
    key: Option<&PathBuf>,
) -> Result<(), Exit> {
    let store = shared.store()?;
    let (_, state) = shared.journal(&*store, run)?;
    let key = keys::own(key)?;
    let gone = store.run(run, Timestamp::now())?.gone();
    // Closed here first: whatever becomes of the file, it is not gone on with twice.
    store.export(run, Timestamp::now(), gone)?;
    let written = bundle::export(&*store, run, &key)
        .map_err(Exit::from)
        .and_then(|text| hand_over(output, &text));
    if written.is_err() {
        store.reopen(run, &locks(&state), Timestamp::now())?;
        return written;
    }
    let Some(path) = output.map(Path::display) else {
        return Ok(());
    };
    match &state.closed {
        Some(_) => say!(
            "run {} is in `{}`; `groundcrew audit show --from {}` shows it anywhere",
            run,
            path,
            path
        ),
        None => say!(
            "run {} is in `{}`, and closed here; on another machine `groundcrew resume --from {}` goes on with it, where `{}` is known:\n  {}",
            run,
            path,
            path,
            key.name(),
            key.public()
        ),
    }
    Ok(())
}

fn hand_over(output: Option<&Path>, text: &str) -> Result<(), Exit> {
    match output {
        // Inputs and answers are nobody else's business.
        Some(path) => files::replace(path, text)
            .map_err(|e| Exit::failed(format!("`{}`: {e}", path.display()))),
        None => terminal::file(text)
            .map_err(|e| Exit::usage(e.to_string(), Some("name a file with `-o`"))),
    }
}

/// The locks that a run needs that has not ended.
fn locks(state: &RunState) -> Vec<String> {
    let header = state.header.as_ref().filter(|_| state.closed.is_none());
    header.map_or_else(Vec::new, |header| header.locks.clone())
}

fn reopen(shared: &Shared, run: &str, yes: bool) -> Result<(), Exit> {
    let store = shared.store()?;
    let standing = store.run(run, Timestamp::now())?.standing;
    if standing != Standing::Exported {
        let message = format!("run {run} was not exported: it is {}", standing.word());
        return Err(Exit::refused(message, None));
    }
    let (_, state) = shared.journal(&*store, run)?;
    if !yes {
        say!(
            "if somebody has gone on with run {} from its bundle, or will, what it does is done twice",
            run
        );
        let question = "Does nobody have it, and shall it be gone on with here?";
        ask::confirmed(shared, "to reopen a run", question, "pass `--yes`")?;
    }
    store.reopen(run, &locks(&state), Timestamp::now())?;
    say!(
        "run {} is open again; `groundcrew resume {}` goes on with it, `groundcrew runs cancel {}` ends it",
        run,
        run,
        run
    );
    Ok(())
}

async fn cancel(shared: &Shared, run: &str, target: Option<&str>) -> Result<(), Exit> {
    let config = shared.config()?;
    let engine = shared.engine(&config)?;
    let (_, state) = engine.journal(run)?;
    let header = state.header.as_ref();
    let named = header
        .and_then(|h| h.target["name"].as_str())
        .map(str::to_owned);
    let target = shared.target(&config, target.or(named.as_deref()))?;
    let gone = engine.store().run(run, Timestamp::now())?.gone();
    let closed = engine
        .cancel_run(run, &target, gone, &actor(), Arc::new(Unobserved))
        .await?;
    for lease in &closed.given_up {
        match &lease.outcome {
            Ok(true) => say!("released the lease of {}", lease.on),
            Ok(false) => {}
            Err(e) => say!(
                "warning: the lease of {} is not released ({}); it ends by itself within a minute",
                lease.on,
                e
            ),
        }
    }
    for effect in &closed.in_doubt {
        say!("in doubt: {} may have happened", effect);
    }
    crate::audit::catch_up(shared, &config, engine.store()).await;
    say!("run {}: cancelled", run);
    if closed.in_doubt.is_empty() {
        Ok(())
    } else {
        Err(Exit::silent(6))
    }
}
