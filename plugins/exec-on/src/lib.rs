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

use groundcrew_plugin::{Executed, Host, Machine, Result, Swept, plugin};
use groundcrew_sweep::{Selection, unless_interrupted};

pub use input::Input;
use report::{Ended, Room};
pub use report::{MachineReport, Outcome, Report, Totals};

/// Run a command on the started Machines of a process group, many at a time, and collect its output.
#[plugin(machines(
    list,
    lease,
    exec,
    reason = "runs the command in the chosen Machines, each under its lease"
))]
pub async fn exec_on(input: Input, host: Host) -> Result<Report> {
    input.check()?;
    let listed = input.which().list(&host).await?;
    let selection = selection::select(listed, &input)?;
    host.expect(selection.chosen.len(), "machines");
    if selection.chosen.is_empty() {
        host.warn(&format!(
            "no Machine of `{}` to run the command on",
            input.app
        ));
    }
    host.will_write(&input.app, &selection.chosen, 0).await?;
    let swept = run_all(&host, &input, &selection).await;
    report::conclude(&input, &selection, swept)
}

/// What became of the command on one Machine.
type Attempt<'a> = groundcrew_sweep::Attempt<'a, Machine, Result<Ended>>;

/// What became of it on all of them.
type Ran<'a> = Swept<&'a Machine, Attempt<'a>>;

/// Runs it on all of them; only an interrupt ends that early.
async fn run_all<'a>(host: &Host, input: &Input, selection: &'a Selection) -> Ran<'a> {
    let room = Room::among(selection.chosen.len());
    let work = async |machine: &'a Machine| attempt(host, input, room, machine).await;
    let judge = |attempt: &Attempt<'_>| unless_interrupted(&attempt.became);
    let parallel = input.parallel as usize;
    host.for_each_until(&selection.chosen, parallel, work, judge)
        .await
}

async fn attempt<'a>(host: &Host, input: &Input, room: Room, machine: &'a Machine) -> Attempt<'a> {
    let item = host.item(&machine.id);
    item.working("running the command");
    let running = async {
        let executed = run_leased(host, input, machine).await?;
        // Cut at once: thousands of whole outputs would not fit into a plugin's memory.
        Ok(room.cut(executed))
    };
    let attempt = Attempt::at(host, machine, running).await;
    match &attempt.became {
        Ok(ended) if ended.exit_code == 0 => item.succeeded("exit code 0"),
        Ok(ended) => item.failed(format!("exit code {}", ended.exit_code)),
        Err(error) => item.failed(error.message()),
    }
    attempt
}

/// Holds the Machine's lease meanwhile, so that nobody replaces it under the command.
async fn run_leased(host: &Host, input: &Input, machine: &Machine) -> Result<Executed> {
    let exec = machine.exec(&input.command);
    let exec = exec.within(input.timeout.duration());
    machine.under_lease(host, async move { exec.await }).await
}

#[cfg(test)]
mod tests;
