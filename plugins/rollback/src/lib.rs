//! Goes back to what was there before.
//!
//! If a blue/green deploy has kept the old Machines they come back by flags alone: they are put into
//! service, and the new ones leave it. Otherwise each Machine gets back the configuration that it had
//! with the release that is named, or with the one before, as carefully as in a rolling deploy.
//! `kept.rs` is the first of the two.

mod kept;

use std::collections::BTreeMap;

use groundcrew_deploy::select::Selection;
use groundcrew_deploy::target::{release_of, release_shown};
use groundcrew_deploy::{Bounds, How, Report, Select, Target, Verify, defaults, roll};
use groundcrew_plugin::{Error, Host, Kind, Machine, Portion, Result, Timespan, plugin};
use schemars::JsonSchema;
use serde::Deserialize;

use kept::Kept;

/// What goes back, where to, and how carefully.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Which Machines.
    pub select: Select,
    /// The release to go back to; the one before the present one if none.
    #[serde(default)]
    pub release: Option<String>,
    /// How many Machines of a process group may be away at once.
    #[serde(default = "groundcrew_deploy::defaults::unavailable")]
    pub max_unavailable: Portion,
    /// How long the proxy gets to notice a Machine that came into service, before others leave it.
    #[serde(default = "groundcrew_deploy::defaults::discovery")]
    pub discovery: Timespan,
    /// How long the proxy gets to notice that a Machine has left its service before it is stopped.
    #[serde(default = "groundcrew_deploy::defaults::drain")]
    pub drain: Timespan,
    /// How long a Machine may take to start, and then again for its checks to pass.
    #[serde(default = "groundcrew_deploy::defaults::wait")]
    pub wait_timeout: Timespan,
}

/// Go back to the release before, or to one that is named.
#[plugin(machines(
    list,
    lease,
    update,
    cordon,
    start,
    stop,
    wait,
    reason = "puts the Machines of an earlier release into service, or gives Machines their earlier configuration back"
))]
pub async fn rollback(input: Input, host: Host) -> Result<Report> {
    let selection = input.select.list(&host).await?;
    if let Some(kept) = Kept::of(&selection.chosen, input.release.as_deref()) {
        return kept.swap(&host, &input).await;
    }
    let release = match &input.release {
        Some(release) => release.clone(),
        None => before(&host, &selection).await?,
    };
    host.note(&format!("back to the release `{release}`"));
    let how = How {
        drain: Some(input.drain.duration()),
        wait: input.wait_timeout.duration(),
        critical_after: Some(defaults::critical().duration()),
        verify: Verify {
            checks: true,
            stopped: false,
        },
        // The way back has no way back: what comes up stays.
        rollback: false,
        replace: false,
    };
    let bounds = Bounds {
        max_unavailable: input.max_unavailable,
        parallel: 100,
        max_failures: 0,
        first_alone: true,
        hold: std::time::Duration::ZERO,
    };
    roll(&host, &Target::earlier(&release), &how, bounds, &selection).await
}

/// The release that most Machines had before the one that most have now.
async fn before(host: &Host, selection: &Selection) -> Result<String> {
    let now = most(selection.chosen.iter().map(release_shown));
    let now = now.ok_or_else(|| Error::invalid("there is no Machine"))?;
    let reachable = selection.chosen.iter().filter(|m| m.is_reachable());
    let work = async |machine: &Machine| {
        let versions = machine.versions().await?;
        let earlier = versions.iter().map(release_of).find(|r| *r != now);
        Ok::<_, Error>(earlier)
    };
    let found = host.for_each(reachable, 100, work).await;
    let found: Result<Vec<Option<String>>> = found.into_iter().collect();
    most(found?.into_iter().flatten()).ok_or_else(|| {
        Error::new(
            Kind::NotFound,
            format!("no Machine had another release than `{now}` before"),
        )
    })
}

/// The most numerous.
fn most(all: impl Iterator<Item = String>) -> Option<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    all.for_each(|one| *counts.entry(one).or_default() += 1);
    let most = counts.into_iter().max_by_key(|(_, count)| *count);
    most.map(|(one, _)| one)
}
