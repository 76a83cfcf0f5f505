//! Brings a process group to a number of Machines, by making new ones or destroying some.
//!
//! This file is the whole procedure: count, make or destroy what the difference is, many at a time,
//! and count again. `input.rs` has what an operator can say, `plan.rs` where new Machines go and
//! which old ones lose, `one.rs` how one is made or destroyed, `report.rs` what comes out and when
//! the step counts as failed.
//!
//! The difference is never more than made up for: growing, there are at no moment more Machines
//! than wanted, and shrinking never fewer. A group that has as many as wanted is left alone.

mod input;
mod one;
mod plan;
mod report;

use groundcrew_plugin::{Flow, Host, Kind, Machine, Result, Swept, plugin};

pub use input::Input;
use one::Became;
use plan::{Plan, Task};
pub use report::{MachineReport, Outcome, Report, Totals};

/// Bring a process group to a number of Machines.
#[plugin(machines(
    list,
    lease,
    create,
    wait,
    cordon,
    stop,
    destroy,
    reason = "makes Machines like those of the group and waits for their checks, or drains, stops and destroys some"
))]
pub async fn scale_group(input: Input, host: Host) -> Result<Report> {
    input.check()?;
    let plan = Plan::of(&list(&host, &input).await?, &input)?;
    host.expect(plan.tasks.len(), "machines");
    for warning in &plan.warnings {
        host.warn(warning);
    }
    if plan.tasks.is_empty() {
        host.note(&format!("there are {} already", plan.before));
        return Ok(Report::already(&input, &plan));
    }
    let going = plan.tasks.iter().filter_map(|task| match task {
        Task::Destroy(machine) => Some(machine),
        Task::Make(_) => None,
    });
    let makes = plan.tasks.len() - going.clone().count();
    host.will_write(&input.app, going, makes).await?;
    let swept = do_all(&host, &input, &plan).await;
    let after = list(&host, &input).await.map(|it| plan::count(&it));
    if let Err(error) = &after {
        host.warn(&format!("the last look failed: {error}"));
    }
    report::conclude(&input, &plan, swept, after.ok())
}

async fn list(host: &Host, input: &Input) -> Result<Vec<Machine>> {
    let machines = host.machines(&input.app);
    machines.group([input.group.clone()]).list().await
}

/// What became of one Machine that we began with.
type Attempt<'a> = groundcrew_sweep::Attempt<'a, Task, Became>;

/// What became of all of them.
type Done<'a> = Swept<&'a Task, Attempt<'a>>;

/// Does all of it, unless something comes up that the others would meet too.
async fn do_all<'a>(host: &Host, input: &Input, plan: &'a Plan) -> Done<'a> {
    let work = async |task: &'a Task| attempt(host, input, task).await;
    let judge = |attempt: &Attempt<'_>| match &attempt.became.result {
        Err(error) if befalls_all(error.kind()) => Flow::Stop,
        Ok(()) | Err(_) => Flow::Continue,
    };
    host.for_each_until(&plan.tasks, input.parallel as usize, work, judge)
        .await
}

/// An interrupt, a grant that is used up, and an app that does not come up: the next new Machine
/// would be the same.
fn befalls_all(kind: Kind) -> bool {
    matches!(kind, Kind::Cancelled | Kind::Denied | Kind::Application)
}

async fn attempt<'a>(host: &Host, input: &Input, task: &'a Task) -> Attempt<'a> {
    let doing = async {
        match task {
            Task::Make(new) => one::make(host, input, new).await,
            Task::Destroy(machine) => one::destroy(host, input, machine).await,
        }
    };
    let attempt = Attempt::at(host, task, doing).await;
    let became = &attempt.became;
    let item = host.item(task.name());
    match (&became.result, task) {
        (Ok(()), Task::Make(_)) => {
            item.succeeded(format!(
                "made: {}",
                became.id.as_deref().unwrap_or_default()
            ));
        }
        (Ok(()), Task::Destroy(_)) => item.succeeded("destroyed"),
        (Err(error), _) => item.failed(error.message()),
    }
    attempt
}

#[cfg(test)]
mod tests;
