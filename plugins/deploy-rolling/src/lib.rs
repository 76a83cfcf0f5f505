//! Brings the Machines of an app to a new image or configuration, a bounded number at once: out of
//! service, updated, checked, back in service. How one Machine gets there is in `groundcrew-deploy`.

use groundcrew_deploy::{Bounds, Change, How, Report, Scope, Select, Verify};
use groundcrew_plugin::{Host, Portion, Result, Timespan, plugin};
use schemars::JsonSchema;
use serde::Deserialize;

/// What to deploy where, and how carefully.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Which Machines.
    pub select: Select,
    /// What changes.
    pub change: Change,
    /// How many Machines of a process group may be away at once: a number, or a share of those that
    /// run (rounded down, but at least one).
    #[serde(default = "groundcrew_deploy::defaults::unavailable")]
    pub max_unavailable: Portion,
    /// How many Machines of a process group are worked on at once, stopped ones included.
    #[serde(default = "groundcrew_deploy::defaults::parallel")]
    #[schemars(range(min = 1, max = 5000))]
    pub parallel: u32,
    /// The first Machine of each process group goes alone.
    #[serde(default = "groundcrew_deploy::defaults::yes")]
    pub canary: bool,
    /// How many Machines may fail before no further one is begun.
    #[serde(default)]
    pub max_failures: u32,
    /// Once more have failed, every Machine that was changed gets its configuration back.
    #[serde(default = "groundcrew_deploy::defaults::yes")]
    pub rollback: bool,
    /// How long the proxy gets to notice that a Machine has left its service before it is stopped.
    #[serde(default = "groundcrew_deploy::defaults::drain")]
    pub drain: Timespan,
    /// How long the Machines are watched once all are there; if one does not stay in order it has
    /// failed.
    #[serde(default)]
    pub hold: Timespan,
    /// How long a Machine may take to start, and then again for its checks to pass.
    #[serde(default = "groundcrew_deploy::defaults::wait")]
    pub wait_timeout: Timespan,
    /// A check that is critical for so long after the start, its own grace period aside, is a
    /// failure at once.
    #[serde(default = "groundcrew_deploy::defaults::critical")]
    pub critical_after: Timespan,
    /// Be content with started Machines, whatever their checks say.
    #[serde(default)]
    pub skip_health_checks: bool,
    /// Start Machines that are stopped to see whether the new version comes up, and stop them again.
    #[serde(default)]
    pub verify_stopped: bool,
    /// Replace a Machine whose host has no room or takes no changes, unless it has a volume.
    #[serde(default = "groundcrew_deploy::defaults::yes")]
    pub replace: bool,
}

/// Deploy to the Machines of an app, a bounded number at once, and take it back if it fails.
#[plugin(
    machines(
        list,
        lease,
        update,
        cordon,
        create,
        destroy,
        start,
        stop,
        wait,
        reason = "updates the chosen Machines, each under its lease, and watches them come back; makes and removes those of process groups that come and go"
    ),
    releases(
        list,
        read_config,
        reason = "reads the definition of the release that is named"
    )
)]
pub async fn deploy_rolling(input: Input, host: Host) -> Result<Report> {
    let scope = Scope::of(&host, &input.select, input.change).await?;
    let how = How {
        drain: Some(input.drain.duration()),
        wait: input.wait_timeout.duration(),
        critical_after: Some(input.critical_after.duration()),
        verify: Verify {
            checks: !input.skip_health_checks,
            stopped: input.verify_stopped,
        },
        rollback: input.rollback,
        replace: input.replace,
    };
    let bounds = Bounds {
        max_unavailable: input.max_unavailable,
        parallel: input.parallel.max(1) as usize,
        max_failures: input.max_failures as usize,
        first_alone: input.canary,
        hold: input.hold.duration(),
    };
    scope.roll(&host, &how, bounds).await
}

#[cfg(test)]
mod tests;
