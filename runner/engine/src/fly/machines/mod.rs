//! The capability `machines`: Fly Machines.
//!
//! `rows.rs` has its rows of the operations table, `mod.rs` its linking; `executor.rs` performs
//! effects, with retries, and `find_out.rs` finds out what became of them; `making.rs` makes Machines and gives
//! them other configurations, which `change.rs` merges; `watch.rs` waits; `leases.rs`
//! keeps leases alive; `api.rs` is what they need of a world, and `http.rs` and `fork.rs` are the
//! two worlds (`fork/world.rs` answers); `original.rs` has what a fork was when it was made.
//! `limiter.rs` has the rates. Connections, retries and what refusals mean are the engine's
//! (`service.rs`, `retry.rs`, `trouble.rs`).

pub(crate) mod change;
mod executor;
mod find_out;
mod leases;
mod making;
mod original;
mod rates;
mod rows;
mod watch;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::capability::{Capability, Executor, Linking, Setting, arguments};
use crate::contract::machines::{
    CreateOptions, Created, Done, Event, ExecOptions, Executed, Filter, Healthy, HealthyOptions,
    Machine, MachinePage, RestartOptions, RestoreOptions, Scope, StopOptions, UpdateOptions,
    Updated, Version, WaitOptions, Waited,
};
use crate::effect::{EffectId, Request, Row};
use crate::fly::world::fork::Fork;
use crate::fly::world::{api, live as http};
use crate::journal::Mode;
use crate::service::Service;
use crate::service::retry::Retries;
use crate::service::trouble::Trouble;
use rows::row;

pub(crate) use rows::ROWS;

const INTERFACE: &str = "groundcrew:host/machines@0.1.0";

/// What a listing is as an answer, before it is taken in pages.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Listing {
    pub(crate) machines: Vec<Machine>,
    pub(crate) missing_regions: Vec<String>,
}

/// The arguments of `list`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ListArguments {
    pub(crate) scope: Scope,
    pub(crate) filter: Filter,
}

/// Keys of metadata with their values; none removes.
type Metadata = Vec<(String, Option<String>)>;

/// How many Machines one page may hold: the contract says 1,000.
const PAGE: u32 = 1000;

/// The world of one run: Fly, or a fork of it. What acts on apps, releases and Machines shares one.
pub(crate) struct Fly {
    http: Arc<http::Http>,
    /// In a rehearsal.
    pub(crate) fork: Option<Arc<Fork>>,
}

impl Fly {
    /// The one of a run.
    pub(crate) fn of(setting: &Setting) -> Result<Arc<Self>, String> {
        setting.commons.share(|| {
            let http = Arc::new(http::Http::new(&setting.target, setting.deadline.clone())?);
            let retries = Retries::live(setting);
            let fork = || Fork::new(http.clone(), retries, setting.clock.clone(), setting.seed);
            let fork = (setting.mode == Mode::Rehearsal).then(|| Arc::new(fork()));
            Ok(Self { http, fork })
        })
    }

    /// The Machines API itself, also in a rehearsal.
    pub(crate) fn service(&self) -> &Service {
        &self.http.service
    }

    /// The configuration of a Machine, where the run acts.
    pub(crate) async fn config(
        &self,
        effect: &EffectId,
        app: &str,
        id: &str,
    ) -> Result<serde_json::Value, Trouble> {
        let at = api::At { effect, app, id };
        let machine = match &self.fork {
            Some(fork) => api::Api::get(fork.as_ref(), at).await?,
            None => api::Api::get(self.http.as_ref(), at).await?,
        };
        Ok(machine.config)
    }
}

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub struct Machines;

impl Capability for Machines {
    fn name(&self) -> &'static str {
        "machines"
    }

    fn interface(&self) -> &'static str {
        INTERFACE
    }

    fn operations(&self) -> &'static [Row] {
        &ROWS
    }

    fn link(&self, linking: &mut Linking<'_>) -> wasmtime::Result<()> {
        linking.submission("list", |(scope, filter): (Scope, Filter)| {
            let all = ListArguments { scope, filter };
            match &all.scope {
                Scope::App(app) => Request::new(row("list"))
                    .in_app(app.clone())
                    .with(arguments(&all)),
                Scope::Organisation => Request::new(row("list")).with(arguments(&all)),
            }
        })?;
        linking.function(
            "take-list",
            |guest, (number, offset, max): (u64, u32, u32)| {
                let page = guest.take_part(number, "list", |listing: &mut Listing| {
                    let total = listing.machines.len();
                    let start = (offset as usize).min(total);
                    let end = start.saturating_add(max.clamp(1, PAGE) as usize).min(total);
                    let machines = listing
                        .machines
                        .get(start..end)
                        .unwrap_or_default()
                        .to_vec();
                    let page = MachinePage {
                        machines,
                        total: u32::try_from(total).unwrap_or(u32::MAX),
                        missing_regions: listing.missing_regions.clone(),
                    };
                    (page, end == total)
                })?;
                Ok((page,))
            },
        )?;
        linking.operation::<(String, String), Machine>("get", on("get"))?;
        linking.operation::<(String, String, u32), Vec<Event>>("events", |(app, id, limit)| {
            Request::new(row("events"))
                .on(app, id)
                .with(limit.clamp(1, 50).into())
        })?;
        for name in ["start", "suspend", "cordon", "uncordon"] {
            linking.operation::<(String, String), Done>(name, on(name))?;
        }
        linking.operation::<(String, String, StopOptions), Done>("stop", with("stop"))?;
        linking.operation::<(String, String, RestartOptions), Done>("restart", with("restart"))?;
        linking.operation::<(String, String, String), Done>("signal", with("signal"))?;
        linking.operation::<(String, String), Vec<Version>>("versions", on("versions"))?;
        linking.operation::<(String, String, UpdateOptions), Updated>("update", with("update"))?;
        linking
            .operation::<(String, String, RestoreOptions), Updated>("restore", with("restore"))?;
        linking.operation::<(String, CreateOptions), Created>("create", |(app, options)| {
            Request::new(row("create"))
                .in_app(app)
                .with(arguments(&options))
        })?;
        linking.operation::<(String, String, bool), Done>("destroy", with("destroy"))?;
        linking
            .operation::<(String, String, Metadata), Done>("set-metadata", with("set-metadata"))?;
        linking.operation::<(String, String, ExecOptions), Executed>("exec", with("exec"))?;
        linking.operation::<(String, String, WaitOptions), Waited>("wait", with("wait"))?;
        linking.operation::<(String, String, HealthyOptions), Healthy>(
            "wait-healthy",
            with("wait-healthy"),
        )?;
        linking.operation::<(String, String), ()>("lease", on("lease"))?;
        linking.operation::<(String, String), ()>("release", on("release"))
    }

    fn executor(&self, setting: &Setting) -> Result<Arc<dyn Executor>, String> {
        let fly = Fly::of(setting)?;
        let api: Arc<dyn api::Api> = match &fly.fork {
            Some(fork) => fork.clone(),
            None => fly.http.clone(),
        };
        Ok(executor::Executing::start(api, fly.fork.clone(), setting))
    }
}

fn on(name: &'static str) -> impl Fn((String, String)) -> Request {
    move |(app, id)| Request::new(row(name)).on(app, id)
}

fn with<T: Serialize>(name: &'static str) -> impl Fn((String, String, T)) -> Request {
    move |(app, id, options)| {
        Request::new(row(name))
            .on(app, id)
            .with(arguments(&options))
    }
}

/// The Machines of an app, for people who look: one listing, with the retries of any read.
///
/// # Errors
/// As the plugin would see it.
pub async fn list_machines(
    target: &crate::target::Target,
    app: &str,
) -> Result<Vec<Machine>, crate::contract::Failure> {
    let listing = look(target, Scope::App(app.to_owned())).await?;
    Ok(listing.machines)
}

/// How many Machines the target's organisation has; none if it names no organisation.
///
/// # Errors
/// Why the Machines API does not answer.
pub async fn reachable(
    target: &crate::target::Target,
) -> Result<Option<usize>, crate::contract::Failure> {
    if target.organisation.is_none() {
        return Ok(None);
    }
    Ok(Some(
        look(target, Scope::Organisation).await?.machines.len(),
    ))
}

async fn look(
    target: &crate::target::Target,
    scope: Scope,
) -> Result<Listing, crate::contract::Failure> {
    use crate::contract::Failure;
    let unlinked = |e: String| Failure::other("client", e);
    let clock: Arc<dyn crate::clock::Clock> = Arc::new(crate::clock::RealClock::new(
        jiff::Timestamp::UNIX_EPOCH,
        target.time_scale,
    ));
    let setting = Setting {
        run: "look".into(),
        target: target.clone(),
        mode: Mode::Perform,
        clock: clock.clone(),
        seed: 0,
        deadline: crate::deadline::Deadline::never(clock),
        commons: crate::capability::Commons::default(),
    };
    let executor = Machines.executor(&setting).map_err(unlinked)?;
    let all = ListArguments {
        scope,
        filter: Filter::default(),
    };
    let request = Arc::new(Request::new(row("list")).with(arguments(&all)));
    let id = crate::effect::EffectId {
        run: "look".into(),
        step: "list".into(),
        number: 1,
    };
    let effect = crate::capability::Effect {
        id,
        request,
        baseline: None,
        cancel: tokio_util::sync::CancellationToken::new(),
    };
    let json = executor.perform(effect).await.result?;
    serde_json::from_str(&json).map_err(|e| unlinked(e.to_string()))
}

/// Gives back the leases that a run which is gone still holds, as its journal tells: for each
/// Machine, the lease is looked at first, and released only if it is that run's.
pub(crate) async fn release_abandoned(
    target: &crate::target::Target,
    run: &str,
    held: &[(String, String)],
) -> Result<Vec<(String, String, Result<bool, crate::contract::Failure>)>, String> {
    let clock = crate::clock::RealClock::new(jiff::Timestamp::UNIX_EPOCH, 1.0);
    let deadline = crate::deadline::Deadline::never(Arc::new(clock));
    let http = http::Http::new(target, deadline)?;
    let mut done = Vec::new();
    for (number, (app, id)) in held.iter().enumerate() {
        let effect = crate::effect::EffectId {
            run: run.into(),
            step: "cancel".into(),
            number: number as u64 + 1,
        };
        let at = api::At {
            effect: &effect,
            app,
            id,
        };
        done.push((
            app.clone(),
            id.clone(),
            leases::release_if_ours(&http, at, run).await,
        ));
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_for_drift_and_what_is_assumed_is_so() {
        let machine =
            crate::fly::world::summary::machine("web", &groundcrew_fleet::api::Machine::default());
        let shown = serde_json::to_value(machine).unwrap();
        for row in &ROWS {
            for field in row.projection {
                assert!(shown.get(*field).is_some(), "{}: {field}", row.name);
            }
        }
        let assumed = groundcrew_fleet::Behaviour::assumed();
        let (stop, boot, check) = (assumed.stop.to, assumed.boot.to, assumed.first_check.to);
        assert_eq!((stop, boot, check), (1_000, 2_000, 1_000));
        assert!(row("wait").assumes.contains("1 s to stop, 2 s to start"));
        assert!(row("wait-healthy").assumes.contains("1 s after"));
    }

    #[test]
    fn every_name_has_its_row() {
        for name in [
            "list",
            "get",
            "events",
            "start",
            "stop",
            "restart",
            "suspend",
            "signal",
            "cordon",
            "uncordon",
            "versions",
            "update",
            "restore",
            "create",
            "destroy",
            "set-metadata",
            "exec",
            "wait",
            "wait-healthy",
            "lease",
            "release",
        ] {
            assert_eq!(row(name).operation(), name);
        }
    }
}
