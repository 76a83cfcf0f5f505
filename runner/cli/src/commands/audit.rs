//! `groundcrew audit list|show`: the journals, entry by entry.

use clap::Subcommand;
use groundcrew::journal::RunState;
use jiff::Timestamp;
use serde_json::json;

use crate::context::Shared;
use crate::exit::Exit;
use crate::render::{entry_json, entry_line};

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
        run: String,
    },
}

pub(crate) fn run(shared: &Shared, command: Command) -> Result<(), Exit> {
    let store = shared.store()?;
    match command {
        Command::List { max } => {
            let mut rows = Vec::new();
            for run in store.runs(Timestamp::now(), max)? {
                let first = store.read(&run.run, 0, 1)?;
                let state = RunState::fold(&first).ok();
                let header = state.as_ref().and_then(|s| s.header.as_ref());
                rows.push(json!({
                    "opened": run.opened_at.to_string(),
                    "run": run.run,
                    "by": header.map_or_else(String::new, |h| format!("{}@{}", h.actor.user, h.actor.host)),
                    "runbook": run.runbook,
                    "target": run.target,
                    "mode": run.mode,
                    "status": run.standing.word(),
                    "inputs": header.map(|h| h.inputs.to_string()),
                }));
            }
            super::plugin::print(shared, &rows);
            Ok(())
        }
        Command::Show { run } => {
            let records = store.read(&run, 0, usize::MAX)?;
            for record in &records {
                if shared.json {
                    println!("{}", entry_json(&run, record));
                } else {
                    println!("{}", entry_line(record));
                }
            }
            RunState::fold(&records)
                .map(drop)
                .map_err(|e| Exit::journal(format!("the journal of run `{run}` is damaged: {e}")))
        }
    }
}
