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

use groundcrew_plugin::{Flow, Host, Kind, Machine, Result, plugin};

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
    let attempts = do_all(&host, &input, &plan).await;
    let after = list(&host, &input).await.map(|it| plan::count(&it));
    if let Err(error) = &after {
        host.warn(&format!("the last look failed: {error}"));
    }
    report::conclude(&input, &plan, attempts, after.ok())
}

async fn list(host: &Host, input: &Input) -> Result<Vec<Machine>> {
    let machines = host.machines(&input.app);
    machines.group([input.group.clone()]).list().await
}

/// What became of one Machine that we began with.
struct Attempt<'a> {
    task: &'a Task,
    duration_ms: u64,
    became: Became,
}

/// Does all of it, unless something comes up that the others would meet too.
async fn do_all<'a>(host: &Host, input: &Input, plan: &'a Plan) -> Vec<Attempt<'a>> {
    let work = async |task: &'a Task| attempt(host, input, task).await;
    let judge = |attempt: &Attempt<'_>| match &attempt.became.result {
        Err(error) if befalls_all(error.kind()) => Flow::Stop,
        Ok(()) | Err(_) => Flow::Continue,
    };
    let parallel = input.parallel.max(1) as usize;
    host.for_each_until(&plan.tasks, parallel, work, judge)
        .await
        .results
}

/// An interrupt, a grant that is used up, and an app that does not come up: the next new Machine
/// would be the same.
fn befalls_all(kind: Kind) -> bool {
    matches!(kind, Kind::Cancelled | Kind::Denied | Kind::Application)
}

async fn attempt<'a>(host: &Host, input: &Input, task: &'a Task) -> Attempt<'a> {
    let began = host.now();
    let became = match task {
        Task::Make(new) => one::make(host, input, new).await,
        Task::Destroy(machine) => one::destroy(host, input, machine).await,
    };
    let duration = host.now().saturating_sub(began);
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
    Attempt {
        task,
        duration_ms: duration.as_millis() as u64,
        became,
    }
}

#[cfg(test)]
mod tests;
