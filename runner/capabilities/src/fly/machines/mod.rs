//! The capability `machines`: Fly Machines. Here is how it is linked; `commands.rs` has each command on
//! a Machine, `rows.rs` the other rows of the operations table.
//!
//! `executor.rs` performs effects, with retries, by what `reach.rs` and `rates.rs` know of how Fly wants
//! to be asked; `find_out.rs` finds out what became of them; `making.rs` makes Machines and gives them
//! other configurations, which `change.rs` merges; `watch.rs` waits; `leases.rs` keeps leases alive;
//! `original.rs` has what a fork was when it was made; `since.rs` what others have changed. What answers is `../world/`.

pub(super) mod change;
mod commands;
mod executor;
mod find_out;
mod leases;
mod making;
mod original;
mod rates;
mod reach;
pub(super) mod rows;
mod since;
mod sound;
mod watch;

use std::sync::Arc;

use groundcrew::{Capability, Executor, Linking, Radius, Request, Row, Setting, arguments};
use serde::{Deserialize, Serialize};

use crate::fly::contract::{
    CreateOptions, Created, Done, Event, ExecOptions, Executed, Filter, Healthy, HealthyOptions,
    Machine, MachinePage, RestartOptions, RestoreOptions, Scope, StopOptions, UpdateOptions,
    Updated, Version, WaitOptions, Waited,
};
use crate::fly::scopes::{APPS, GROUPS, MACHINES};
use crate::fly::world::Fly;
use commands::Metadata;
use rows::ROWS;

pub(super) use rows::row;

const INTERFACE: &str = "groundcrew:host/machines@0.1.0";

/// What a listing is as an answer, before it is taken in pages.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Listing {
    pub(crate) machines: Vec<Machine>,
    pub(crate) missing_regions: Vec<String>,
    /// How many more there are that the grant does not cover.
    #[serde(default, skip_serializing_if = "is_none")]
    pub(crate) left_out: u32,
}

fn is_none(left_out: &u32) -> bool {
    *left_out == 0
}

/// The arguments of `list`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ListArguments {
    pub(crate) scope: Scope,
    pub(crate) filter: Filter,
}

/// How many Machines one page may hold: the contract says 1,000.
const PAGE: u32 = 1000;

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

    fn scopes(&self) -> &'static [groundcrew::Scope] {
        &[APPS, GROUPS]
    }

    fn radius(&self) -> Option<&'static Radius> {
        Some(&MACHINES)
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
                        left_out: listing.left_out,
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
        linking.operation::<(String, Vec<String>, u32), ()>("announce", |(app, ids, makes)| {
            Request::new(row("announce"))
                .in_app(app)
                .with(arguments(&(ids, makes)))
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
        Ok(reach::Executing::start(
            fly.api(),
            fly.fork.clone(),
            setting,
        ))
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
            "announce",
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
