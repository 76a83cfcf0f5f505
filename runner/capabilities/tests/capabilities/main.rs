//! The capabilities as their executors perform them, in both worlds: against a simulator, and on a fork
//! of it. No plugin and no engine: a file a capability, what they share in `support.rs`, and here what
//! holds for all of them.

mod apps;
mod grants;
mod http;
mod leases;
mod machines;
mod metrics;
mod names;
mod releases;
mod retries;
mod support;
mod waits;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use groundcrew::{BoxFuture, Clock, Deadline, Failure, Mode, Request, Row};
use groundcrew_capabilities::all;
use groundcrew_capabilities::fly::contract::{
    Change, Created, RestartOptions, RestoreOptions, StopOptions, UpdateOptions, Updated,
};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use support::{Process, WORLDS, Web, World, failed, on, on_with, row, within};

/// Every row of every capability.
fn rows() -> impl Iterator<Item = &'static Row> {
    all().into_iter().flat_map(|each| each.operations())
}

/// Performs operations, and keeps which.
struct Walk<'a> {
    run: &'a Process,
    performed: BTreeSet<&'static str>,
}

impl Walk<'_> {
    async fn ask<T: DeserializeOwned>(&mut self, request: Request) -> T {
        let name = request.row.name;
        self.performed.insert(name);
        assert_eq!((request.row.sound)(&request), Ok(()), "{name}");
        let answer = self.run.ask(request).await;
        answer.unwrap_or_else(|failure| panic!("{name}: {failure}"))
    }

    async fn each(&mut self, requests: Vec<Request>) {
        for request in requests {
            self.ask::<Value>(request).await;
        }
    }

    async fn machines(&mut self, world: &World) {
        let [a, b, c, d] = [0, 1, 2, 3].map(|place| world.id(place));
        let change = Change {
            release: Some("r2".to_owned()),
            ..Change::default()
        };
        let update = UpdateOptions {
            change,
            ..UpdateOptions::default()
        };
        let healthy = json!({ "from_event": null, "critical_after_ms": 0, "timeout_ms": 60_000 });
        let updated: Updated = self.ask(on_with("machines.update", &a, &update)).await;
        let restore = RestoreOptions {
            version: updated.previous,
            ..RestoreOptions::default()
        };
        let of_web = json!({ "scope": { "app": "web" }, "filter": nobody() });
        let until = |state: &str| {
            let all = json!({ "states": [state], "version": null, "from_event": null, "timeout_ms": 60_000 });
            on_with("machines.wait", &b, &all)
        };
        self.each(vec![
            on_with("machines.wait-healthy", &a, &healthy),
            on("machines.versions", &a),
            on_with("machines.restore", &a, &restore),
            within("machines.list", "web", &of_web),
            on("machines.get", &b),
            on_with("machines.events", &b, &5),
            within("machines.announce", "web", &([&b], 1)),
            on("machines.lease", &b),
            on_with("machines.stop", &b, &StopOptions::default()),
            until("stopped"),
            on("machines.start", &b),
            until("started"),
            on_with("machines.restart", &b, &RestartOptions::default()),
            on("machines.release", &b),
            on("machines.cordon", &c),
            on("machines.uncordon", &c),
            on_with("machines.signal", &c, &"SIGHUP"),
            on_with(
                "machines.exec",
                &c,
                &json!({ "command": ["true"], "timeout_ms": 1000 }),
            ),
            on_with("machines.set-metadata", &c, &[("team", Some("blue"))]),
            on("machines.suspend", &c),
            on_with("machines.destroy", &d, &true),
        ])
        .await;
        let like = json!({ "like": &c, "change": Change::default(), "region": null, "launch": true, "cordoned": false, "min_secrets_version": null });
        self.ask::<Created>(within("machines.create", "web", &like))
            .await;
    }

    async fn the_others(&mut self, web: &Web) {
        let new = json!({ "strategy": "ROLLING", "image": "web:2", "definition": null });
        let made: Value = self.ask(within("releases.create", "web", &new)).await;
        let id = made["id"].as_str().unwrap();
        let capacity = json!({ "like": null, "regions": ["fra"], "count": 3 });
        self.each(vec![
            on_with("releases.set-status", id, &"running"),
            within("releases.list", "web", &10),
            within("releases.current", "web", &()),
            on("releases.definition", id),
            Request::new(row("apps.list")),
            within("apps.get", "web", &()),
            within("apps.capacity", "web", &capacity),
            within("apps.delete", "web-2", &true),
            metrics::query("up"),
            http::check("http.check-private", &web.url),
        ])
        .await;
        // A public address is none that a test may ask: that it says so is all there is to see.
        let public = self.run.ask(http::check("http.check", &web.url)).await;
        failed::<Value>("denied", public);
        self.performed.insert("http.check");
    }
}

/// A filter that leaves out nobody.
fn nobody() -> Value {
    json!({ "groups": [], "regions": [], "states": [] })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_is_performed_in_both_worlds() {
    for mode in WORLDS {
        let world = World::start(mode).await;
        let web = Web::serve(|_, _| support::http("200 OK", "", "fine")).await;
        let run = world.run("run");
        let mut walk = Walk {
            run: &run,
            performed: BTreeSet::new(),
        };
        walk.machines(&world).await;
        walk.the_others(&web).await;
        let rows: BTreeSet<_> = rows().map(|row| row.name).collect();
        assert_eq!(walk.performed, rows, "in {mode:?}");
        match mode {
            Mode::Perform => assert!(!world.applied().is_empty()),
            Mode::Rehearsal => world.only_read(),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_row_is_performed_by_nobody() {
    for mode in WORLDS {
        let world = World::start(mode).await;
        let run = world.run("run");
        for capability in all() {
            let nothing: &'static Row = Box::leak(Box::new(Row {
                name: Box::leak(format!("{}.nothing", capability.name()).into_boxed_str()),
                ..Row::READ
            }));
            let request = Request::new(nothing).on("web".to_owned(), world.id(0));
            let mut effect = run.effect(Request::new(row("apps.list")));
            effect.request = Arc::new(request);
            let executor = run.executor(capability.name());
            let outcome = executor.perform(effect).await;
            assert!(
                matches!(&outcome.result, Err(Failure::Other(why)) if why.code == "no-executor"),
                "{}: {outcome:?}",
                capability.name()
            );
        }
        assert_eq!(world.requests(), []);
    }
}

/// The clock of a process that has not shown for ever that it is alive.
struct Late;

impl Clock for Late {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }

    fn since_boot(&self) -> Duration {
        Duration::MAX
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_may_not_act_any_more_reads_and_sends_no_write() {
    let world = World::start(Mode::Perform).await;
    let mut setting = world.run("run").setting;
    setting.deadline = Deadline::never(Arc::new(Late));
    setting.commons = groundcrew::Commons::default();
    let run = Process::of(setting);
    let id = world.id(0);
    let new = json!({ "strategy": "ROLLING", "image": "web:2", "definition": null });
    for write in [
        on("machines.cordon", &id),
        on_with("machines.restart", &id, &RestartOptions::default()),
        on_with("machines.update", &id, &UpdateOptions::default()),
        on("machines.lease", &id),
        within("apps.delete", "web", &true),
        within("releases.create", "web", &new),
    ] {
        failed::<Value>("cancelled", run.ask(write).await);
    }
    run.done(on("machines.get", &id)).await;
    run.done(within("releases.list", "web", &1)).await;
    world.only_read();
}
