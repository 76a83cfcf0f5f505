//! Restarts the started Machines of an app or process group, many at a time, and watches each one
//! until its checks pass.
//!
//! This file is the whole procedure: choose, restart one alone, restart the others, report.
//! `input.rs` has what an operator can say, `selection.rs` which Machines that means, `report.rs`
//! what comes out of it and when the step counts as failed.

mod input;
mod report;
mod selection;

use groundcrew_plugin::{Flow, Host, Kind, Machine, Result, State, Swept, plugin};
use groundcrew_sweep::Selection;

pub use input::Input;
pub use report::{MachineReport, Outcome, Report, Totals};

/// Restart the started Machines of a process group, many at a time, and wait for their checks.
#[plugin(machines(
    list,
    lease,
    restart,
    wait,
    reason = "restarts the chosen Machines, each under its lease, and watches them come back"
))]
pub async fn restart_by_group(input: Input, host: Host) -> Result<Report> {
    let listed = input.which().list(&host).await?;
    let at_once = selection::at_once(&listed, &input);
    let selection = selection::select(listed, &input)?;
    host.expect(selection.chosen.len(), "machines");
    if selection.chosen.is_empty() {
        host.warn(&format!("no Machine of `{}` to restart", input.app));
    }
    host.will_write(&input.app, &selection.chosen, 0).await?;
    let swept = restart_all(&host, &input, &selection, at_once).await;
    report::conclude(&selection, swept)
}

/// What became of one Machine that we began with.
type Attempt<'a> = groundcrew_sweep::Attempt<'a, Machine, Result<()>>;

/// What became of all of them.
type Restarts<'a> = Swept<&'a Machine, Attempt<'a>>;

/// Restarts the first Machine alone and then the others, until more have failed than may.
async fn restart_all<'a>(
    host: &Host,
    input: &Input,
    selection: &'a Selection,
    at_once: usize,
) -> Restarts<'a> {
    let canaries = usize::from(input.canary).min(selection.chosen.len());
    let (canary, others) = selection.chosen.split_at(canaries);
    let work = async |machine: &'a Machine| attempt(host, input, machine).await;

    let mut results = host.for_each(canary, 1, work).await;
    if results.iter().any(|attempt| attempt.became.is_err()) {
        host.warn("the first Machine did not come back: no other is restarted");
        return Swept {
            results,
            not_attempted: others.iter().collect(),
        };
    }
    let mut failures = 0;
    let judge = |attempt: &Attempt<'_>| match &attempt.became {
        Ok(()) => Flow::Continue,
        Err(error) if error.kind() == Kind::Cancelled => Flow::Stop,
        Err(_) => {
            failures += 1;
            if failures > input.max_failures {
                Flow::Stop
            } else {
                Flow::Continue
            }
        }
    };
    let swept = host.for_each_until(others, at_once, work, judge).await;
    results.extend(swept.results);
    Swept { results, ..swept }
}

/// Holds the lease of this one Machine while it is worked on, so that a deploy of somebody else
/// waits for one Machine and not for the whole group.
async fn attempt<'a>(host: &Host, input: &Input, machine: &'a Machine) -> Attempt<'a> {
    let work = machine.under_lease(host, restart(host, input, machine));
    let attempt = Attempt::at(host, machine, work).await;
    match &attempt.became {
        Ok(()) => host.item(&machine.id).succeeded("restarted"),
        Err(error) => host.item(&machine.id).failed(error.message()),
    }
    attempt
}

/// Restarts one Machine and waits until it is back. Only what happens after the restart counts:
/// the state and the check results from before look just as good.
async fn restart(host: &Host, input: &Input, machine: &Machine) -> Result<()> {
    host.item(&machine.id).working("restarting");
    let stop_timeout = input.stop_timeout.map(Into::into);
    let restarted = machine
        .restart()
        .signal(input.signal.as_deref())
        .timeout(stop_timeout)
        .await?;
    let before = restarted.baseline.as_deref();
    let patience = input.wait_timeout.duration();

    machine
        .wait(State::Started)
        .since(before)
        .within(patience)
        .await?;
    if !input.skip_health_checks {
        host.item(&machine.id).working("waiting for its checks");
        machine
            .wait_healthy()
            .since(before)
            .within(patience)
            .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
