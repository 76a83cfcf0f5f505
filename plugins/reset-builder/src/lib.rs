//! Destroys the Machines of a builder app, for a builder that hangs or whose disk is full: Fly
//! makes a new one by itself at the next build.
//!
//! Only apps whose names begin with `fly-builder-` are touched, whatever a grant says. The app
//! itself stays: destroying it takes a capability for apps, which there is not yet. A volume of
//! the builder stays as well, with the cache that is on it.

mod report;

use groundcrew_plugin::{Error, Flow, Host, Kind, Machine, Result, plugin};
use schemars::JsonSchema;
use serde::Deserialize;

pub use report::{MachineReport, Outcome, Report};

/// How the names begin of the apps in which Fly builds. (flyctl's sources.)
const BUILDERS: &str = "fly-builder-";

/// A builder app has one Machine, or a few.
const PARALLEL: usize = 10;

/// Which builder.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The builder app; its name begins with `fly-builder-`.
    #[schemars(regex(pattern = "^fly-builder-"))]
    pub app: String,
}

/// Destroy the Machines of a builder app, so that Fly makes a new one at the next build.
#[plugin(machines(
    list,
    lease,
    destroy,
    reason = "destroys the builder's Machines, each under its lease"
))]
pub async fn reset_builder(input: Input, host: Host) -> Result<Report> {
    if !input.app.starts_with(BUILDERS) || input.app == BUILDERS {
        return Err(Error::invalid(format!(
            "`app` is `{}`, which is no builder: their names begin with `{BUILDERS}`",
            input.app
        )));
    }
    let machines = host.machines(&input.app).list().await?;
    host.expect(machines.len(), "machines");
    if machines.is_empty() {
        host.warn(&format!("`{}` has no Machine", input.app));
    }
    let work = async |machine: Machine| attempt(&host, machine).await;
    let judge = |attempt: &Attempt| match &attempt.result {
        Err(error) if error.kind() == Kind::Cancelled => Flow::Stop,
        Ok(()) | Err(_) => Flow::Continue,
    };
    let swept = host.for_each_until(machines, PARALLEL, work, judge).await;
    report::conclude(swept)
}

/// What became of one Machine that we began with.
struct Attempt {
    machine: Machine,
    result: Result<()>,
}

async fn attempt(host: &Host, machine: Machine) -> Attempt {
    host.item(&machine.id).working("destroying");
    let result = destroy(host, &machine).await;
    match &result {
        Ok(()) => host.item(&machine.id).succeeded("destroyed"),
        Err(error) => host.item(&machine.id).failed(error.message()),
    }
    Attempt { machine, result }
}

/// Under its lease, so that a build which holds it is not cut off. A host that is not reached can
/// neither give a lease nor be at work for anybody.
async fn destroy(host: &Host, machine: &Machine) -> Result<()> {
    if !machine.is_reachable() {
        return machine.destroy().await;
    }
    let lease = machine.lease().await?;
    let result = machine.destroy().await;
    if let Err(error) = lease.release().await {
        host.warn(&format!(
            "{}: the lease stays until it expires: {error}",
            machine.id
        ));
    }
    result
}

#[cfg(test)]
mod tests;
