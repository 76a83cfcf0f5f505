//! Brings the Machines of an app to a new image or configuration at once, in service as they are,
//! and follows each to its end: for whoever wants it quick and watches.

use groundcrew_deploy::{Bounds, Change, How, Report, Scope, Select, Verify};
use groundcrew_plugin::{Host, Portion, Result, Timespan, plugin};
use schemars::JsonSchema;
use serde::Deserialize;

/// What to deploy where.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Which Machines.
    pub select: Select,
    /// What changes.
    pub change: Change,
    /// How many Machines of a process group are worked on at once.
    #[serde(default = "default_parallel")]
    #[schemars(range(min = 1, max = 5000))]
    pub parallel: u32,
    /// How long a Machine may take to start, and then again for its checks to pass.
    #[serde(default = "groundcrew_deploy::defaults::wait")]
    pub wait_timeout: Timespan,
    /// If any Machine fails, or does not stay in order, every Machine that was changed gets its
    /// configuration back.
    #[serde(default)]
    pub rollback: bool,
    /// How long the Machines are watched once all have come to their end.
    #[serde(default)]
    pub hold: Timespan,
    /// Be content with started Machines, whatever their checks say.
    #[serde(default)]
    pub skip_health_checks: bool,
}

fn default_parallel() -> u32 {
    500
}

/// Deploy to the Machines of an app all at once, and follow each to its end.
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
pub async fn deploy_immediate(input: Input, host: Host) -> Result<Report> {
    let scope = Scope::of(&host, &input.select, input.change).await?;
    let how = How {
        drain: None,
        wait: input.wait_timeout.duration(),
        critical_after: None,
        verify: Verify {
            checks: !input.skip_health_checks,
            stopped: false,
        },
        rollback: input.rollback,
        replace: true,
    };
    let bounds = Bounds {
        max_unavailable: Portion::Percent(100),
        parallel: input.parallel.max(1) as usize,
        max_failures: if input.rollback { 0 } else { usize::MAX },
        first_alone: false,
        hold: input.hold.duration(),
    };
    scope.roll(&host, &how, bounds).await
}

#[cfg(test)]
mod tests;
