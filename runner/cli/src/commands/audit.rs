//! `groundcrew audit`: the journals, entry by entry, and the log that proves them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Subcommand;
use groundcrew::Limits;
use groundcrew::audit::{AuditLog, Key, Receipt};
use groundcrew::journal::{Illegal, Record, RunState};
use groundcrew::store::{Store, bundle};
use jiff::Timestamp;
use serde_json::json;

use crate::audit;
use crate::context::Shared;
use crate::exit::Exit;
use crate::files;
use crate::render::{entry_json, entry_line};
use crate::shown::{as_json, as_json_text};
use crate::terminal::{data, say};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List who ran what, where and when
    List {
        /// How many
        #[arg(long, default_value_t = 20)]
        max: usize,
    },
    /// Print every entry of a run's journal, and whether they make sense in their order
    Show {
        /// Its id
        #[arg(required_unless_present = "from")]
        run: Option<String>,
        /// Of the run in a bundle of `groundcrew runs export`, which is not taken in
        #[arg(long, value_name = "BUNDLE", conflicts_with = "run")]
        from: Option<PathBuf>,
    },
    /// Verify every entry, the tree over them and its signed checkpoint
    Verify {
        /// An earlier checkpoint that was kept elsewhere: the log has to go on from it
        #[arg(long, value_name = "CHECKPOINT")]
        since: Option<PathBuf>,
    },
    /// Make the receipt of a run: its entries, and the proof that they are in the log
    Prove {
        /// Its id
        run: String,
        /// With the payloads, so that it can be read what happened
        #[arg(long)]
        payloads: bool,
        /// The file; standard output without it
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Check a receipt, anywhere, with nothing but the log's public key
    Check {
        /// The receipt's file
        receipt: PathBuf,
        /// The public key, or the file that it is in (`audit/key.pub` of the state directory)
        #[arg(long)]
        key: String,
    },
    /// Run a run's plugins again without effects: they ask for exactly what its journal says
    Replay {
        /// Its id
        run: String,
    },
    /// Print every entry of all runs with its leaf, as JSON lines
    Export,
    /// Print the log's public key and its last checkpoint
    Checkpoint,
}

pub(crate) async fn run(shared: &Shared, command: Command) -> Result<(), Exit> {
    if let Command::Check { receipt, key } = &command {
        // Needs no store: the machine that checks need not be the one that ran.
        return check(shared, receipt, key);
    }
    if let Command::Show {
        from: Some(path), ..
    } = &command
    {
        return show_bundle(shared, path);
    }
    if let Command::List { .. } | Command::Show { .. } | Command::Export = &command {
        shared.warn_of_config();
    }
    let store = shared.store()?;
    let log = || audit::open(shared, &shared.config()?);
    match command {
        Command::Check { .. } => Ok(()),
        Command::Replay { run } => replay(shared, store, &run).await,
        Command::Verify { since } => verify(shared, &*store, &log()?, since.as_deref()),
        Command::Prove {
            run,
            payloads,
            output,
        } => {
            let receipt = groundcrew::audit::prove(&*store, &log()?, &run, payloads)?;
            let text = serde_json::to_string_pretty(&receipt)
                .map_err(|e| Exit::bug(format!("the receipt cannot be written: {e}")))?;
            match output {
                None => data!("{}", as_json_text(&text)),
                Some(path) => {
                    files::replace(&path, &text)
                        .map_err(|e| Exit::failed(format!("`{}`: {e}", path.display())))?;
                    say!("the receipt of run {} is in `{}`", run, path.display());
                }
            }
            Ok(())
        }
        Command::Export => export(&*store),
        Command::Checkpoint => {
            let log = log()?;
            let signed = log.advance(&*store)?;
            if shared.json {
                data!(
                    "{}",
                    as_json(
                        &json!({ "key": log.key().public(), "size": signed.size, "checkpoint": signed.note })
                    )
                );
            } else {
                data!("{}\n\n{}", log.key().public(), signed.note.trim_end());
            }
            Ok(())
        }
        Command::List { max } => {
            let (mut rows, mut damaged) = (Vec::new(), Ok(()));
            for run in store.runs(Timestamp::now(), max)? {
                // Who, what and where are told by the journal itself; its end by the index, which
                // `audit verify` compares with it.
                let first = store.read(&run.run, 0, 1)?;
                let header = match RunState::fold(&first) {
                    Ok(RunState {
                        header: Some(header),
                        ..
                    }) => header,
                    Ok(_) => continue,
                    Err(e) => {
                        damaged = Err(damage(&run.run, &e));
                        continue;
                    }
                };
                rows.push(json!({
                    "opened": run.opened_at.to_string(),
                    "run": run.run,
                    "by": format!("{}@{}", header.actor.user, header.actor.host),
                    "runbook": header.runbook,
                    "target": header.target["name"],
                    "mode": header.mode,
                    "status": run.standing.word(),
                    "inputs": header.inputs.to_string(),
                }));
            }
            super::plugin::print(shared, &rows);
            damaged
        }
        Command::Show { run, .. } => {
            let run = run.ok_or_else(|| Exit::usage("which run?", None))?;
            let records = store.read(&run, 0, usize::MAX)?;
            entries(shared, &run, &records);
            RunState::fold(&records)
                .map(drop)
                .map_err(|e| damage(&run, &e))
        }
    }
}

fn entries(shared: &Shared, run: &str, records: &[Record]) {
    for record in records {
        if shared.json {
            data!("{}", as_json(&entry_json(run, record)));
        } else {
            data!("{}", entry_line(record));
        }
    }
}

/// Reads a bundle, whoever it is from.
fn show_bundle(shared: &Shared, path: &Path) -> Result<(), Exit> {
    let bundle = bundle::read(&files::text(path, bundle::BYTES)?)?;
    match bundle.signer()? {
        Some(by) => say!("signed by {}", by.public()),
        None => say!("not signed: it says what somebody wrote into it"),
    }
    entries(shared, bundle.run(), bundle.records());
    Ok(())
}

fn damage(run: &str, why: &Illegal) -> Exit {
    Exit::journal(format!("the journal of run `{run}` is damaged: {why}"))
}

fn verify(
    shared: &Shared,
    store: &dyn Store,
    log: &AuditLog,
    since: Option<&Path>,
) -> Result<(), Exit> {
    let since = since
        .map(|path| {
            std::fs::read_to_string(path)
                .map_err(|e| Exit::usage(format!("`{}` cannot be read: {e}", path.display()), None))
        })
        .transpose()?;
    match groundcrew::audit::verify(store, log, since.as_deref()) {
        Ok(verified) => {
            if shared.json {
                data!(
                    "{}",
                    as_json(
                        &json!({ "verified": true, "entries": verified.entries, "signed": verified.signed, "runs": verified.runs })
                    )
                );
            } else {
                data!(
                    "{} entries of {} runs are as they were logged; {} of them are in the tree that `{}` signed",
                    verified.entries,
                    verified.runs,
                    verified.signed,
                    log.key().name()
                );
            }
            Ok(())
        }
        Err(faults) => {
            if shared.json {
                let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
                data!(
                    "{}",
                    as_json(&json!({ "verified": false, "faults": faults }))
                );
            }
            for fault in &faults {
                say!("error: {}", fault);
            }
            Err(Exit::journal("the audit log does not verify"))
        }
    }
}

async fn replay(shared: &Shared, store: Arc<dyn Store>, run: &str) -> Result<(), Exit> {
    let (_, state) = shared.journal(&*store, run)?;
    let limits = state
        .header
        .as_deref()
        .map_or_else(Limits::default, |header| header.limits);
    let engine = shared.engine_on(&shared.config()?, store, limits)?;
    let repeated = engine
        .replay(run)
        .await
        .map_err(|e| Exit::journal(e.to_string()))?;
    let rows: Vec<serde_json::Value> = repeated
        .iter()
        .map(|step| {
            let end = if step.ended {
                "the same"
            } else {
                "not its own"
            };
            json!({ "step": step.step, "effects": step.effects, "end": end })
        })
        .collect();
    super::plugin::print(shared, &rows);
    Ok(())
}

fn check(shared: &Shared, receipt: &Path, key: &str) -> Result<(), Exit> {
    let unreadable = |what: &str, e: &dyn std::fmt::Display| {
        Exit::usage(format!("`{what}` cannot be read: {e}"), None)
    };
    let shown = receipt.display().to_string();
    let text = std::fs::read_to_string(receipt).map_err(|e| unreadable(&shown, &e))?;
    let receipt: Receipt = serde_json::from_str(&text).map_err(|e| unreadable(&shown, &e))?;
    let key = match Key::public_from(key) {
        Ok(key) => key,
        Err(_) => {
            let text = std::fs::read_to_string(key).map_err(|e| unreadable(key, &e))?;
            Key::public_from(&text).map_err(|e| unreadable(key, &e))?
        }
    };
    let checked = groundcrew::audit::check(&receipt, &key)?;
    if shared.json {
        data!(
            "{}",
            as_json(
                &json!({ "checked": true, "run": checked.run, "entries": checked.entries, "last": checked.last, "leaf": checked.index, "size": checked.size, "payloads": checked.payloads })
            )
        );
    } else {
        data!(
            "run {}: its {} entries up to `{}` are in the tree of {} entries that `{}` signed{}",
            checked.run,
            checked.entries,
            checked.last,
            checked.size,
            key.name(),
            if checked.payloads {
                ", and their payloads are here"
            } else {
                ""
            }
        );
    }
    Ok(())
}

/// How many entries are read at once.
const PAGE: usize = 1000;

fn export(store: &dyn Store) -> Result<(), Exit> {
    let mut next = 0;
    loop {
        let page = store.logged(next, PAGE)?;
        let Some(last) = page.last() else { break };
        next = last.index + 1;
        for logged in page {
            let payload: serde_json::Value =
                serde_json::from_str(&logged.record.payload).unwrap_or_default();
            let line = json!({ "number": logged.index, "leaf": logged.leaf, "payload": payload });
            data!("{}", as_json(&line));
        }
    }
    Ok(())
}
