//! `machines` in both worlds: what is written shows where it was written, what is asked for in vain is
//! said, and what Machines belong to is known. What goes wrong on the way is in `retries.rs`, leases are
//! in `leases.rs`.

use groundcrew::{Mode, Request};
use groundcrew_capabilities::fly;
use groundcrew_capabilities::fly::contract::{
    Change, CreateOptions, Created, ExecOptions, Executed, Filter, HealthyOptions, HostStatus,
    Machine, RestartOptions, RestoreOptions, Scope, StopOptions, UpdateOptions, Updated, Version,
    WaitOptions,
};
use groundcrew_fleet::{Fleet, api};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::{Process, WORLDS, World, failed, on, on_with, row, within};

/// What every Machine of the simulator's is of.
const FIRST: &str = "rel-1";

#[derive(Debug, Deserialize)]
struct Listing {
    machines: Vec<Machine>,
    missing_regions: Vec<String>,
}

fn list(scope: &Scope, filter: &Filter) -> Request {
    let all = json!({ "scope": scope, "filter": filter });
    match scope {
        Scope::App(app) => within("machines.list", app, &all),
        Scope::Organisation => Request::new(row("machines.list")).with(all),
    }
}

fn of_web() -> Request {
    list(&Scope::App("web".to_owned()), &Filter::default())
}

pub(crate) fn create(options: &CreateOptions) -> Request {
    within("machines.create", "web", options)
}

pub(crate) fn like(id: &str) -> CreateOptions {
    CreateOptions {
        like: Some(id.to_owned()),
        launch: true,
        ..CreateOptions::default()
    }
}

fn update(id: &str, change: Change) -> Request {
    let options = UpdateOptions {
        change,
        ..UpdateOptions::default()
    };
    on_with("machines.update", id, &options)
}

fn release(name: &str) -> Change {
    Change {
        release: Some(name.to_owned()),
        ..Change::default()
    }
}

pub(crate) fn wait(id: &str, states: &[&str], timeout_ms: u64) -> Request {
    let options = WaitOptions {
        states: states.iter().map(|state| (*state).to_owned()).collect(),
        version: None,
        from_event: None,
        timeout_ms,
    };
    on_with("machines.wait", id, &options)
}

pub(crate) fn healthy(id: &str, from_event: Option<String>) -> Request {
    let options = HealthyOptions {
        version: None,
        from_event,
        critical_after_ms: 0,
        timeout_ms: 60_000,
    };
    on_with("machines.wait-healthy", id, &options)
}

async fn listed(run: &Process) -> Vec<Machine> {
    run.ask::<Listing>(of_web()).await.unwrap().machines
}

pub(crate) async fn get(run: &Process, id: &str) -> Machine {
    run.ask(on("machines.get", id)).await.unwrap()
}

/// What writes change of the Machines that are there.
fn there(world: &World) -> Vec<Value> {
    let all = world.simulator.act(|fleet| fleet.export("web"));
    let what = |machine: api::Machine| {
        json!([
            machine.id,
            machine.state,
            machine.instance_id,
            machine.cordoned,
            machine.config,
            machine.lease
        ])
    };
    all.into_iter().map(what).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_shows_in_the_world_in_which_the_run_acts_and_in_no_other() {
    for mode in WORLDS {
        let world = World::start(mode).await;
        let run = world.run("run");
        let before = there(&world);
        let [a, b, c, d, e] = [0, 1, 2, 3, 4].map(|place| world.id(place));
        run.done(on_with("machines.stop", &a, &StopOptions::default()))
            .await;
        run.done(wait(&a, &["stopped"], 60_000)).await;
        run.done(on("machines.cordon", &b)).await;
        let metadata = [("groundcrew_release", Some("r7"))];
        run.done(on_with("machines.set-metadata", &b, &metadata))
            .await;
        run.done(on("machines.suspend", &c)).await;
        run.done(wait(&c, &["suspended"], 60_000)).await;
        let updated: Updated = run.ask(update(&d, release("r2"))).await.unwrap();
        run.done(wait(&d, &["started"], 60_000)).await;
        run.done(on_with("machines.destroy", &e, &true)).await;
        run.done(wait(&e, &["destroyed"], 60_000)).await;
        let made: Created = run.ask(create(&like(&a))).await.unwrap();
        run.done(wait(&made.id, &["started"], 60_000)).await;

        let now = listed(&run).await;
        let one = |id: &str| now.iter().find(|machine| machine.id == id);
        assert_eq!(one(&a).unwrap().state, "stopped", "{mode:?}");
        let second = one(&b).unwrap();
        assert!(second.cordoned && second.release.as_deref() == Some("r7"));
        assert_eq!(one(&c).unwrap().state, "suspended");
        let fourth = one(&d).unwrap();
        assert_eq!(fourth.instance_id, updated.instance_id);
        assert_eq!(fourth.release.as_deref(), Some("r2"));
        assert_eq!(one(&e), None);
        let new = one(&made.id).unwrap();
        assert_eq!(
            (&new.group, &new.region, &new.instance_id),
            (&one(&a).unwrap().group, &made.region, &made.instance_id)
        );
        assert_eq!(now.len(), 8);
        let forked = run.executor("machines").forked();
        if mode == Mode::Perform {
            let shown = fly::list_machines(&world.target(None), "web")
                .await
                .unwrap();
            let states = |all: &[Machine]| -> Vec<_> {
                let each = |m: &Machine| (m.id.clone(), m.state.clone(), m.cordoned);
                all.iter().map(each).collect()
            };
            assert_eq!(states(&shown), states(&now));
            assert!(forked.apps.is_empty() && forked.changes.is_empty());
            assert_ne!(there(&world), before);
        } else {
            world.only_read();
            assert_eq!(there(&world), before);
            let web = &forked.apps["web"];
            assert_eq!((web.before, web.after), (8, 8));
            let changed = |id: &str, field: &str| {
                let subject = format!("web/{id}");
                let mut all = forked.changes.iter();
                let change = all.find(|each| each.subject == subject && each.field == field);
                let change = change.unwrap_or_else(|| panic!("{field} of {id}"));
                (change.before.clone(), change.after.clone())
            };
            assert_eq!(changed(&a, "state"), (json!("started"), json!("stopped")));
            assert_eq!(changed(&b, "cordoned"), (json!(false), json!(true)));
            assert_eq!(changed(&b, "release"), (json!(FIRST), json!("r7")));
            assert_eq!(changed(&e, "").1, Value::Null);
            assert_eq!(changed(&made.id, "").0, Value::Null);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_fork_it_is_known_what_it_was() {
    for mode in WORLDS {
        let world = World::start(mode).await;
        let run = world.run("run");
        let id = world.id(0);
        let web = Filter {
            groups: vec!["worker".to_owned()],
            ..Filter::default()
        };
        let stop = run
            .done(on_with("machines.stop", &id, &StopOptions::default()))
            .await;
        let made: Created = run.ask(create(&like(&id))).await.unwrap();
        run.done(on_with("machines.destroy", &made.id, &true)).await;
        run.done(wait(&made.id, &["destroyed"], 60_000)).await;
        let executor = run.executor("machines");
        let _busy = run.busy();
        let original = async |request: Request| {
            let effect = run.effect(request);
            executor.original(&effect).await.unwrap()
        };
        let one = executor.original(&stop).await.unwrap();
        let all = original(of_web()).await;
        let workers = original(list(&Scope::App("web".to_owned()), &web)).await;
        let everything = original(list(&Scope::Organisation, &Filter::default())).await;
        let nowhere = original(list(&Scope::App("nowhere".to_owned()), &web)).await;
        assert!(nowhere.is_empty());
        if mode == Mode::Perform {
            assert!(one.is_empty() && all.is_empty() && everything.is_empty());
            continue;
        }
        let was = &one[&format!("web/{id}")];
        assert_eq!(was["state"], "started");
        let web = executor.forked().apps.remove("web").unwrap();
        assert_eq!((web.before, web.peak, web.after), (8, 9, 8));
        // The new one has never served: what was stopped is one less.
        let group = web.service[was["group"].as_str().unwrap()];
        assert_eq!(group.least + 1, group.before);
        assert_eq!(
            (all.len(), workers.len(), everything.len()),
            (8, 2, 16),
            "what was made is none of them"
        );
        world.only_read();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_are_filtered_and_say_which_regions_are_missing() {
    for mode in WORLDS {
        let world = World::start(mode).await;
        let run = world.run("run");
        run.done(on("machines.cordon", &world.id(0))).await;
        let filter = |groups: &[&str], regions: &[&str], states: &[&str]| {
            let all = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
            Filter {
                groups: all(groups),
                regions: all(regions),
                states: all(states),
            }
        };
        let web = Scope::App("web".to_owned());
        let count = async |scope: &Scope, filter: Filter| {
            let found: Listing = run.ask(list(scope, &filter)).await.unwrap();
            found.machines.len()
        };
        assert_eq!(count(&web, filter(&["web"], &[], &["started"])).await, 6);
        assert_eq!(count(&web, filter(&[], &["fra", "sin"], &[])).await, 4);
        assert_eq!(count(&web, filter(&[], &[], &["stopped"])).await, 0);
        let everywhere = Scope::Organisation;
        assert_eq!(count(&everywhere, filter(&["worker"], &[], &[])).await, 4);
        world
            .simulator
            .act(|fleet| fleet.set_error_regions(vec!["syd".to_owned()]));
        let other = world.run("other");
        let all: Listing = other
            .ask(list(&everywhere, &Filter::default()))
            .await
            .unwrap();
        assert_eq!(all.missing_regions, ["syd"]);
        assert!(all.machines.len() < 16);
        assert!(
            all.machines
                .iter()
                .all(|m| m.host_status == HostStatus::Unknown)
        );
        let nowhere = list(&Scope::App("nowhere".to_owned()), &Filter::default());
        failed::<Value>("not-found", run.ask(nowhere).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_organisation_it_is_not_listed() {
    let world = World::start(Mode::Perform).await;
    let target = world.target(None);
    assert_eq!(fly::reachable(&target).await, Ok(Some(16)));
    let mut target = target;
    target.organisation = None;
    assert_eq!(fly::reachable(&target).await, Ok(None));
    let run = Process::start("run", target, Mode::Perform, jiff::Timestamp::UNIX_EPOCH);
    let all = list(&Scope::Organisation, &Filter::default());
    failed::<Value>("invalid", run.ask(all).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_group_of_a_machine_is_looked_up_and_how_large_it_is() {
    for mode in WORLDS {
        let world = World::start(mode).await;
        let run = world.run("run");
        let first = listed(&run).await.remove(0);
        // Another process has seen none of them yet.
        let run = world.run("run");
        let group = async |request: Request| {
            let executor = run.executor(request.row.capability());
            let _busy = run.busy();
            executor.within(&run.effect(request)).await
        };
        assert_eq!(run.executor("machines").population("web", "web"), Some(0));
        let found = group(on("machines.get", &first.id)).await.unwrap();
        assert_eq!(found, std::slice::from_ref(&first.group));
        let executor = run.executor("machines");
        assert_eq!(executor.population("web", "web"), Some(6));
        assert_eq!(executor.population("web", "worker"), Some(2));
        assert_eq!(executor.population("web-2", "web"), Some(0));
        failed("not-found", group(on("machines.get", "none")).await);
        assert_eq!(group(of_web()).await, Ok(Vec::new()));
        // Of what is not there yet it is what it will be.
        let made = group(create(&like(&first.id))).await.unwrap();
        // What it becomes one of, and what it copies.
        assert_eq!(made, [first.group.clone(), first.group.clone()]);
        let mut other = like(&first.id);
        other.change.metadata = vec![("fly_process_group".to_owned(), Some("cron".to_owned()))];
        let both = vec!["cron".to_owned(), first.group.clone()];
        assert_eq!(group(create(&other)).await, Ok(both));
        let app = within("apps.get", "web", &());
        assert_eq!(group(app).await, Ok(Vec::new()));
        assert_eq!(run.executor("apps").population("web", "web"), None);
        world.only_read();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_is_not_there_is_not_found_and_one_that_is_gone_is_destroyed() {
    for mode in WORLDS {
        let world = World::start(mode).await;
        let run = world.run("run");
        let nobody = "0000000000dead";
        for request in [
            on("machines.get", nobody),
            on_with("machines.events", nobody, &1),
            on("machines.versions", nobody),
            on("machines.start", nobody),
            on("machines.cordon", nobody),
            on("machines.lease", nobody),
            on_with("machines.restart", nobody, &RestartOptions::default()),
            update(nobody, Change::default()),
            wait(nobody, &["started"], 1000),
            healthy(nobody, None),
            create(&like(nobody)),
        ] {
            let name = request.row.name;
            let text = failed::<Value>("not-found", run.ask(request).await);
            assert!(!text.is_empty(), "{name}");
        }
        run.done(on_with("machines.destroy", nobody, &false)).await;
        let unnamed = Request::new(row("machines.get")).in_app("web".to_owned());
        failed::<Value>("invalid", run.ask(unnamed).await);
        world.nothing_done("machines.");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_may_not_be_is_refused_and_nothing_is_written() {
    for mode in WORLDS {
        let world = World::start(mode).await;
        let run = world.run("run");
        let id = world.id(0);
        let expecting = UpdateOptions {
            change: release("r2"),
            expected: Some("01XXXXXXXXXXXXXXXXXXXXXXXX".to_owned()),
            ..UpdateOptions::default()
        };
        let unknown = RestoreOptions {
            version: "01XXXXXXXXXXXXXXXXXXXXXXXX".to_owned(),
            ..RestoreOptions::default()
        };
        let moving = Change {
            metadata: vec![("fly_process_group".to_owned(), Some("cron".to_owned()))],
            ..Change::default()
        };
        let command = ExecOptions::default();
        for (request, kind) in [
            (on_with("machines.update", &id, &expecting), "conflict"),
            (on_with("machines.restore", &id, &unknown), "not-found"),
            (update(&id, moving), "invalid"),
            (
                on_with(
                    "machines.set-metadata",
                    &id,
                    &[("fly_process_group", None::<String>)],
                ),
                "invalid",
            ),
            (on_with("machines.exec", &id, &command), "invalid"),
            (on_with("machines.signal", &id, &"SIGNAL"), "invalid"),
            (on_with("machines.destroy", &id, &false), "conflict"),
            (create(&CreateOptions::default()), "invalid"),
            (wait(&id, &[], 1000), "invalid"),
            (on_with("machines.restart", &id, &"now"), "invalid"),
        ] {
            let name = request.row.name;
            let failure = run.ask::<Value>(request).await.unwrap_err();
            assert_eq!(failure.parts().0, kind, "{name}: {failure}");
        }
        world.nothing_done("machines.");
        assert_eq!(get(&run, &id).await.release.as_deref(), Some(FIRST));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_version_is_given_back() {
    for mode in WORLDS {
        let world = World::start(mode).await;
        let run = world.run("run");
        let id = world.id(0);
        let updated: Updated = run.ask(update(&id, release("r2"))).await.unwrap();
        let event = Some(updated.baseline_event);
        run.done(healthy(&id, event)).await;
        let versions: Vec<Version> = run.ask(on("machines.versions", &id)).await.unwrap();
        let seen: Vec<_> = versions
            .iter()
            .map(|version| (version.instance_id.clone(), version.release.clone()))
            .collect();
        let wanted = [
            (updated.instance_id.clone(), Some("r2".to_owned())),
            (updated.previous.clone(), Some(FIRST.to_owned())),
        ];
        assert_eq!(seen, wanted, "{mode:?}");
        let restore = RestoreOptions {
            version: updated.previous,
            expected: Some(updated.instance_id),
            ..RestoreOptions::default()
        };
        let restored: Updated = run
            .ask(on_with("machines.restore", &id, &restore))
            .await
            .unwrap();
        let now = get(&run, &id).await;
        assert_eq!(
            (now.release.as_deref(), now.instance_id),
            (Some(FIRST), restored.instance_id)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_runs_there_and_in_a_rehearsal_nothing_does() {
    for mode in WORLDS {
        let world = World::start(mode).await;
        let run = world.run("run");
        let id = world.id(0);
        let options = ExecOptions {
            command: ["sh", "-c", "exit 3"].map(str::to_owned).to_vec(),
            timeout_ms: 1000,
        };
        let ended: Executed = run
            .ask(on_with("machines.exec", &id, &options))
            .await
            .unwrap();
        match mode {
            Mode::Perform => {
                assert_eq!(
                    (ended.exit_code, ended.stdout.as_str()),
                    (3, "sh -c exit 3\n")
                );
            }
            Mode::Rehearsal => {
                assert_eq!((ended.exit_code, ended.stdout.as_str()), (0, ""));
                world.only_read();
            }
        }
        // On one that does not run it is refused in both.
        run.done(on_with("machines.stop", &id, &StopOptions::default()))
            .await;
        run.done(wait(&id, &["stopped"], 60_000)).await;
        let refused = run.ask::<Value>(on_with("machines.exec", &id, &options));
        failed("conflict", refused.await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_no_room_nothing_is_made() {
    let world = World::start(Mode::Perform).await;
    world
        .simulator
        .act(|fleet: &mut Fleet| fleet.set_capacity("fra", Some(0)));
    let run = world.run("run");
    let mut options = like(&world.id(0));
    options.region = Some("fra".to_owned());
    failed::<Created>("capacity", run.ask(create(&options)).await);
    world.nothing_done("machines.");
}
