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

use groundcrew_plugin::{Host, Result, Swept, plugin};
use groundcrew_sweep::unless_interrupted;

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
    let old = plan.orders.iter().map(|order| &order.old);
    host.will_write(&input.app, old, plan.orders.len()).await?;
    let swept = replace_all(&host, &input, &plan).await;
    let missed = look_again(&host, &input, &swept.results).await;
    report::conclude(&plan, swept, missed)
}

/// What became of one Machine that we began with.
type Attempt<'a> = groundcrew_sweep::Attempt<'a, Order, Became>;

/// What became of all of them.
type Replacements<'a> = Swept<&'a Order, Attempt<'a>>;

/// Replaces all of them; only an interrupt ends that early.
async fn replace_all<'a>(host: &Host, input: &Input, plan: &'a Plan) -> Replacements<'a> {
    let work = async |order: &'a Order| attempt(host, input, order).await;
    let judge = |attempt: &Attempt<'_>| unless_interrupted(&attempt.became.result);
    host.for_each_until(&plan.orders, input.parallel as usize, work, judge)
        .await
}

async fn attempt<'a>(host: &Host, input: &Input, order: &'a Order) -> Attempt<'a> {
    let attempt = Attempt::at(host, order, one::replace(host, input, order)).await;
    let item = host.item(&order.old.id);
    match (&attempt.became.result, &attempt.became.replacement) {
        (Ok(()), Some(new)) => item.succeeded(format!("replaced by {new}")),
        (Ok(()), None) => item.succeeded("replaced"),
        (Err(error), _) => item.failed(error.message()),
    }
    attempt
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
        let old = &attempt.work.old.id;
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
