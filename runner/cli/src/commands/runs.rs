//! `groundcrew runs list|show|cancel|export`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Subcommand;
use groundcrew::Unobserved;
use groundcrew::journal::{Decision, RunState};
use groundcrew::store::{Standing, StoreError, bundle};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::context::{Shared, surely_gone};
use crate::exit::Exit;
use crate::files;
use crate::render::{applies, mark, outcome_line, output_text};

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
    /// Write a run's journal into a file, to go on with it on another machine
    Export {
        /// Its id
        run: String,
        /// The file; standard output without it
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

pub(crate) async fn run(shared: &Shared, command: Command) -> Result<(), Exit> {
    match command {
        Command::List { max } => list(shared, max),
        Command::Show { run } => show(shared, &run),
        Command::Export { run, output } => export(shared, &run, output.as_deref()),
        Command::Cancel { run, target } => cancel(shared, &run, target.as_deref()).await,
    }
}

/// The word for people: a run whose process is gone is *interrupted*.
fn word(standing: Standing, state: Option<&RunState>) -> &'static str {
    let gone = state
        .and_then(|s| s.actor.as_ref())
        .is_some_and(surely_gone);
    match standing {
        Standing::Running if gone => "interrupted",
        Standing::Abandoned => "interrupted",
        Standing::Running | Standing::Closed(_) => standing.word(),
    }
}

fn list(shared: &Shared, max: usize) -> Result<(), Exit> {
    let store = shared.store()?;
    let mut rows: Vec<Value> = Vec::new();
    for run in store.runs(Timestamp::now(), max)? {
        // Only of a run that claims to be alive does it matter who works on it.
        let state = (run.standing == Standing::Running)
            .then(|| {
                store
                    .read(&run.run, 0, usize::MAX)
                    .ok()
                    .and_then(|r| RunState::fold(&r).ok())
            })
            .flatten();
        rows.push(json!({
            "run": run.run,
            "status": word(run.standing, state.as_ref()),
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
    let status = word(summary.standing, Some(&state));
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
        println!(
            "{}",
            json!({ "run": run, "status": status, "header": state.header, "steps": steps, "effects": effects, "closed": state.closed })
        );
        return Ok(());
    }
    println!("run {run}: {status}");
    if let Some(header) = &state.header {
        println!(
            "  runbook {} ({}…) on target {}, {:?}",
            header.runbook,
            header.runbook_digest.chars().take(12).collect::<String>(),
            summary.target,
            header.mode
        );
        println!(
            "  by {} on {}, process {}",
            header.actor.user, header.actor.host, header.actor.process
        );
        println!("  inputs {}", header.inputs);
        if !header.locks.is_empty() {
            println!("  locks {}", header.locks.join(", "));
        }
        for fault in &header.faults {
            println!("  fault {fault}");
        }
        if let Some(plan) = &header.plan {
            println!("  {}", applies(plan).trim_start_matches(", "));
            for drift in &plan.accepted_drift {
                println!("  drift accepted: {drift}");
            }
        }
    }
    println!(
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
        println!(
            "\nstep {key} ({}): {} effects, {denied} denied, {unsettled} not settled",
            step.plugin(),
            step.effects.len()
        );
        match &step.ended {
            Some(ended) => {
                println!("  {} {}", mark(ended.status), outcome_line(ended));
                if let Some(output) = &ended.output {
                    println!("{}", output_text("  output", output));
                }
            }
            None => println!("  has not ended"),
        }
        for effect in step
            .effects
            .values()
            .filter(|e| e.settled.as_ref().is_some_and(|s| s.in_doubt))
        {
            println!(
                "  in doubt: effect {} {:?}",
                effect.intended.effect,
                effect.settled.as_ref().and_then(|s| s.failure.as_ref())
            );
        }
    }
    if status == "interrupted" && state.closed.is_none() {
        println!(
            "\nIts process is gone. `groundcrew resume {run}` goes on with it; `groundcrew runs cancel {run}` releases its leases and closes it."
        );
    }
    Ok(())
}

fn export(shared: &Shared, run: &str, output: Option<&Path>) -> Result<(), Exit> {
    let store = shared.store()?;
    if store.run(run, Timestamp::now())?.standing == Standing::Running {
        let (_, state) = shared.journal(&*store, run)?;
        if !state.actor.as_ref().is_some_and(surely_gone) {
            return Err(StoreError::Held(run.to_owned()).into());
        }
    }
    let text = bundle::export(&*store, run)?;
    match output {
        Some(path) => {
            // Inputs and answers are nobody else's business.
            files::replace(path, 0o600, &text)
                .map_err(|e| Exit::failed(format!("`{}`: {e}", path.display())))?;
            eprintln!(
                "run {run} is in `{0}`; on another machine `groundcrew resume --from {0}` goes on with it",
                path.display()
            );
        }
        None => print!("{text}"),
    }
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
    let sure = state.actor.as_ref().is_some_and(surely_gone);
    let closed = engine
        .cancel_run(run, &target, sure, Arc::new(Unobserved))
        .await?;
    for lease in &closed.given_up {
        match &lease.outcome {
            Ok(true) => eprintln!("released the lease of {}", lease.on),
            Ok(false) => {}
            Err(e) => eprintln!(
                "warning: the lease of {} is not released ({e}); it ends by itself within a minute",
                lease.on
            ),
        }
    }
    for effect in &closed.in_doubt {
        eprintln!("in doubt: {effect} may have happened");
    }
    crate::audit::catch_up(shared, &config, engine.store()).await;
    eprintln!("run {run}: cancelled");
    if closed.in_doubt.is_empty() {
        Ok(())
    } else {
        Err(Exit::silent(6))
    }
}
