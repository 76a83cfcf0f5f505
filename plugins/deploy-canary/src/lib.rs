//! Tries a new image or configuration on one more Machine of each process group, before a rolling
//! deploy: the canaries are made, checked, watched for a while in service, and destroyed again.
//!
//! A canary that fails is destroyed and nothing else has been touched. What comes after is the
//! rolling deploy of `groundcrew-deploy`.

use std::collections::BTreeMap;

use groundcrew_deploy::one::{both, made};
use groundcrew_deploy::target::{ill, in_order};
use groundcrew_deploy::{Bounds, Change, How, Report, Scope, Select, Target, Verify};
use groundcrew_plugin::{Error, Host, Machine, Portion, Result, State, Timespan, join_all, plugin};
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
    /// How long the canaries are watched once their checks pass, in service.
    #[serde(default = "default_hold")]
    pub hold: Timespan,
    /// How many Machines of a process group may be away at once in the rolling deploy: a number, or
    /// a share of those that run (rounded down, but at least one).
    #[serde(default = "groundcrew_deploy::defaults::unavailable")]
    pub max_unavailable: Portion,
    /// How many Machines of a process group are worked on at once, stopped ones included.
    #[serde(default = "groundcrew_deploy::defaults::parallel")]
    #[schemars(range(min = 1, max = 5000))]
    pub parallel: u32,
    /// How many Machines may fail before no further one is begun.
    #[serde(default)]
    pub max_failures: u32,
    /// Once more have failed, every Machine that was changed gets its configuration back.
    #[serde(default = "groundcrew_deploy::defaults::yes")]
    pub rollback: bool,
    /// How long the proxy gets to notice that a Machine has left its service before it is stopped.
    #[serde(default = "groundcrew_deploy::defaults::drain")]
    pub drain: Timespan,
    /// How long a Machine may take to start, and then again for its checks to pass.
    #[serde(default = "groundcrew_deploy::defaults::wait")]
    pub wait_timeout: Timespan,
    /// A check that is critical for so long after the start, its own grace period aside, is a
    /// failure at once.
    #[serde(default = "groundcrew_deploy::defaults::critical")]
    pub critical_after: Timespan,
}

fn default_hold() -> Timespan {
    Timespan::seconds(30)
}

/// Deploy to one extra Machine of each process group first, then to all, a bounded number at once.
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
        reason = "makes and destroys a canary, then updates the chosen Machines, each under its lease; makes and removes those of process groups that come and go"
    ),
    releases(
        list,
        read_config,
        reason = "reads the definition of the release that is named"
    )
)]
pub async fn deploy_canary(input: Input, host: Host) -> Result<Report> {
    let scope = Scope::of(&host, &input.select, input.change.clone()).await?;
    let how = How {
        drain: Some(input.drain.duration()),
        wait: input.wait_timeout.duration(),
        critical_after: Some(input.critical_after.duration()),
        verify: Verify {
            checks: true,
            stopped: false,
        },
        rollback: input.rollback,
        replace: true,
    };
    let mut patterns: BTreeMap<&str, &Machine> = BTreeMap::new();
    let running = |machine: &&Machine| machine.is(State::Started) && machine.is_reachable();
    // Groups that are there already need no canary any more.
    let (target, chosen) = (&scope.target, &scope.selection.chosen);
    let behind = chosen.iter().filter(|m| !target.is_met(m));
    for machine in behind.filter(running) {
        patterns.entry(&machine.group).or_insert(machine);
    }
    let tries = patterns
        .values()
        .map(|pattern| canary(&host, target, &how, &input, pattern));
    let failed: Vec<Error> = join_all(tries)
        .await
        .into_iter()
        .filter_map(Result::err)
        .collect();
    if let Some(error) = failed.into_iter().next() {
        let text = format!("the canary did not live, and nothing else was touched: {error}");
        return Err(Error::new(error.kind(), text));
    }
    let bounds = Bounds {
        max_unavailable: input.max_unavailable,
        parallel: input.parallel.max(1) as usize,
        max_failures: input.max_failures as usize,
        first_alone: false,
        hold: std::time::Duration::ZERO,
    };
    scope.roll(&host, &how, bounds).await
}

/// Makes one more Machine of a group at the target, watches it, and destroys it.
async fn canary(
    host: &Host,
    target: &Target,
    how: &How,
    input: &Input,
    pattern: &Machine,
) -> Result<()> {
    if !pattern.mounts.is_empty() {
        return Err(Error::invalid(format!(
            "the process group `{}` has volumes, which a canary would lack; deploy it with `deploy-rolling`",
            pattern.group
        )));
    }
    let mut change = target.change_for(pattern)?;
    change
        .metadata
        .push(("fly_canary".to_owned(), Some("true".to_owned())));
    let machine = made(host, target, how, pattern, change, true).await?;
    host.item(&machine.id).working("canary");
    let watched = watch(host, input, &machine).await;
    match &watched {
        Ok(()) => host.item(&machine.id).succeeded("the canary lived"),
        Err(error) => host.item(&machine.id).failed(error.message()),
    }
    match (watched, machine.destroy().await) {
        (watched, Ok(())) => watched,
        (Ok(()), Err(error)) => Err(error),
        (Err(error), Err(also)) => Err(both(&error, &also)),
    }
}

/// In service for a while, and still in order after it.
async fn watch(host: &Host, input: &Input, canary: &Machine) -> Result<()> {
    if input.hold.duration().is_zero() {
        return Ok(());
    }
    canary.uncordon().await?;
    host.sleep(input.hold.duration()).await?;
    let now = canary.refresh().await?;
    if in_order(&now) {
        return Ok(());
    }
    let text = format!("canary {}: {}", canary.id, ill(&now));
    Err(Error::application(text))
}

#[cfg(test)]
mod tests;
