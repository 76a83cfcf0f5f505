//! Replaces Machines that are stuck, or whose host is gone, by new ones with their configuration.
//!
//! This file is the whole procedure: look at all Machines of the app, replace the named ones, many
//! at a time, and look again. `input.rs` has what an operator can say, `plan.rs` what happens to
//! which Machine and whose configuration its replacement gets, `one.rs` how one is replaced,
//! `report.rs` what comes out and when the step counts as failed.
//!
//! Volumes do not move: a Machine that has one is refused, or replaced without it. A replacement
//! is started even where the old one was at rest, as its checks say nothing before; only a standby
//! is left to rest.

mod input;
mod one;
mod plan;
mod report;

use std::collections::BTreeSet;

use groundcrew_plugin::{Flow, Host, Kind, Result, plugin};

pub use input::Input;
use one::Became;
use plan::{Order, Plan};
pub use report::{MachineReport, Outcome, Report, Totals};

/// Replace Machines by new ones with the same configuration, and destroy them.
#[plugin(machines(
    list,
    lease,
    create,
    wait,
    cordon,
    destroy,
    reason = "makes each replacement, waits for its checks, and destroys the Machine it replaces"
))]
pub async fn replace_machine(input: Input, host: Host) -> Result<Report> {
    input.check()?;
    let listed = host.machines(&input.app).list().await?;
    let plan = Plan::of(&listed, &input)?;
    host.expect(plan.orders.len(), "machines");
    for (machine, why) in &plan.refused {
        host.item(&machine.id).skipped(why);
    }
    if !plan.bereft.is_empty() {
        host.warn(&format!(
            "these stand by for a Machine that is replaced, and not for the new one: {}",
            plan.bereft.join(", ")
        ));
    }
    let attempts = replace_all(&host, &input, &plan).await;
    let missed = look_again(&host, &input, &attempts).await;
    report::conclude(&plan, attempts, missed)
}

/// What became of one Machine that we began with.
struct Attempt<'a> {
    order: &'a Order,
    duration_ms: u64,
    became: Became,
}

/// Replaces all of them; only an interrupt ends that early.
async fn replace_all<'a>(host: &Host, input: &Input, plan: &'a Plan) -> Vec<Attempt<'a>> {
    let work = async |order: &'a Order| attempt(host, input, order).await;
    let judge = |attempt: &Attempt<'_>| match &attempt.became.result {
        Err(error) if error.kind() == Kind::Cancelled => Flow::Stop,
        Ok(()) | Err(_) => Flow::Continue,
    };
    let parallel = input.parallel.max(1) as usize;
    host.for_each_until(&plan.orders, parallel, work, judge)
        .await
        .results
}

async fn attempt<'a>(host: &Host, input: &Input, order: &'a Order) -> Attempt<'a> {
    let began = host.now();
    let id = &order.old.id;
    let became = one::replace(host, input, order).await;
    let duration = host.now().saturating_sub(began);
    match (&became.result, &became.replacement) {
        (Ok(()), Some(new)) => host.item(id).succeeded(format!("replaced by {new}")),
        (Ok(()), None) => host.item(id).succeeded("replaced"),
        (Err(error), _) => host.item(id).failed(error.message()),
    }
    Attempt {
        order,
        duration_ms: duration.as_millis() as u64,
        became,
    }
}

/// Looks whether there are as many Machines as before: each replacement is to be there, and no
/// Machine that was destroyed.
async fn look_again(host: &Host, input: &Input, attempts: &[Attempt<'_>]) -> Result<Vec<String>> {
    let replaced = attempts.iter().filter(|it| it.became.result.is_ok());
    let replaced: Vec<&Attempt<'_>> = replaced.collect();
    if replaced.is_empty() {
        return Ok(Vec::new());
    }
    let listed = host.machines(&input.app).list().await?;
    let there = listed.iter().filter(|it| !plan::is_going(it));
    let there: BTreeSet<&String> = there.map(|it| &it.id).collect();
    let mut missed = Vec::new();
    for attempt in replaced {
        let old = &attempt.order.old.id;
        if there.contains(old) {
            missed.push(format!("{old} was destroyed and is still there"));
        }
        let new = attempt.became.replacement.iter();
        let gone = new.filter(|new| !there.contains(new));
        missed.extend(gone.map(|new| format!("{new} replaced {old} and is gone")));
    }
    Ok(missed)
}

#[cfg(test)]
mod tests;
