//! Runs a command on the started Machines of an app or process group, many at a time, and collects
//! what it printed.
//!
//! This file is the whole procedure: choose, run, report. `input.rs` has what an operator can say,
//! `selection.rs` which Machines that means, `report.rs` what comes out of it and when the step
//! counts as failed.
//!
//! A command that failed on one Machine is still run on the others: a look at a fleet is to be
//! whole. It is never run twice on a Machine, as nobody knows whether that does harm.

mod input;
mod report;
mod selection;

use groundcrew_plugin::{Error, Executed, Flow, Host, Kind, Machine, Result, plugin};

pub use input::Input;
use report::{Ended, Room};
pub use report::{MachineReport, Outcome, Report, Totals};
use selection::Selection;

/// Run a command on the started Machines of a process group, many at a time, and collect its output.
#[plugin(machines(
    list,
    lease,
    exec,
    reason = "runs the command in the chosen Machines, each under its lease"
))]
pub async fn exec_on(input: Input, host: Host) -> Result<Report> {
    input.check()?;
    let listed = host
        .machines(&input.app)
        .group(input.group.clone())
        .region(input.regions.clone())
        .list()
        .await?;
    let selection = Selection::of(listed, &input)?;
    host.expect(selection.chosen.len(), "machines");
    if selection.chosen.is_empty() {
        host.warn(&format!(
            "no Machine of `{}` to run the command on",
            input.app
        ));
    }
    let attempts = run_all(&host, &input, &selection).await;
    report::conclude(&input, &selection, attempts)
}

/// What became of the command on one Machine.
struct Attempt<'a> {
    machine: &'a Machine,
    duration_ms: u64,
    result: Result<Ended>,
}

/// Runs it on all of them; only an interrupt ends that early.
async fn run_all<'a>(host: &Host, input: &Input, selection: &'a Selection) -> Vec<Attempt<'a>> {
    let room = Room::among(selection.chosen.len());
    let work = async |machine: &'a Machine| attempt(host, input, room, machine).await;
    let judge = |attempt: &Attempt<'_>| match &attempt.result {
        Err(error) if error.kind() == Kind::Cancelled => Flow::Stop,
        Ok(_) | Err(_) => Flow::Continue,
    };
    let parallel = input.parallel.max(1) as usize;
    host.for_each_until(&selection.chosen, parallel, work, judge)
        .await
        .results
}

async fn attempt<'a>(host: &Host, input: &Input, room: Room, machine: &'a Machine) -> Attempt<'a> {
    let began = host.now();
    host.item(&machine.id).working("running the command");
    let result = run_leased(host, input, machine).await;
    let duration = host.now().saturating_sub(began);
    match &result {
        Ok(executed) if executed.exit_code == 0 => host.item(&machine.id).succeeded("exit code 0"),
        Ok(executed) => host
            .item(&machine.id)
            .failed(format!("exit code {}", executed.exit_code)),
        Err(error) => host.item(&machine.id).failed(error.message()),
    }
    Attempt {
        machine,
        duration_ms: duration.as_millis() as u64,
        // Cut at once: thousands of whole outputs would not fit into a plugin's memory.
        result: result.map(|executed| room.cut(executed)),
    }
}

/// Holds the Machine's lease meanwhile, so that nobody replaces it under the command.
async fn run_leased(host: &Host, input: &Input, machine: &Machine) -> Result<Executed, Error> {
    let lease = machine.lease().await?;
    let result = machine
        .exec(&input.command)
        .within(input.timeout.duration())
        .await;
    lease.give_back(host).await;
    result
}

#[cfg(test)]
mod tests;
