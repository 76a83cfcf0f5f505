//! `apps`: looked at, asked for room and deleted, in both worlds.

use std::time::Duration;

use groundcrew::{Commons, Failure, Found, Mode, Request};
use groundcrew_capabilities::fly::contract::{Change, CreateOptions, Created};
use serde_json::{Value, json};

use crate::support::{Process, WORLDS, World, failed, on, on_with, row, within};

fn list() -> Request {
    Request::new(row("apps.list"))
}

fn get(app: &str) -> Request {
    within("apps.get", app, &())
}

fn delete(app: &str, force: bool) -> Request {
    within("apps.delete", app, &force)
}

/// How many of a Machine would fit.
fn room(region: &str, count: u32) -> Request {
    let query = json!({ "like": null, "regions": [region], "count": count });
    within("apps.capacity", "web", &query)
}

fn like(id: &str, region: &str) -> Request {
    let options = CreateOptions {
        like: Some(id.to_owned()),
        change: Change::default(),
        region: Some(region.to_owned()),
        ..CreateOptions::default()
    };
    within("machines.create", "web", &options)
}

async fn names(run: &Process) -> Vec<(String, u64)> {
    let apps: Vec<Value> = run.ask(list()).await.unwrap();
    let each = |app: &Value| {
        let name = app["name"].as_str().unwrap().to_owned();
        (name, app["machines"].as_u64().unwrap())
    };
    apps.iter().map(each).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_is_told_with_its_machines_and_one_that_is_not_there_is_not_found() {
    for mode in WORLDS {
        let world = World::start(mode).await;
        let run = world.run("run");
        let web: Value = run.ask(get("web")).await.unwrap();
        let told = json!({ "name": "web", "organisation": "groundcrew", "status": "deployed", "machines": 8, "volumes": 0 });
        assert_eq!(web, told);
        failed::<Value>("not-found", run.ask(get("nowhere")).await);
        let both = [("web".to_owned(), 8), ("web-2".to_owned(), 8)];
        assert_eq!(names(&run).await, both);
        failed::<Value>("invalid", run.ask(get("..")).await);
        world.only_read();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn its_machines_are_those_of_the_world_in_which_the_run_acts() {
    for mode in WORLDS {
        let world = World::start(mode).await;
        let run = world.run("run");
        let id = world.id(0);
        run.done(like(&id, "fra")).await;
        let web: Value = run.ask(get("web")).await.unwrap();
        assert_eq!(web["machines"], 9, "{mode:?}");
        assert_eq!(names(&run).await[0].1, 9, "{mode:?}");
        let there = world.simulator.act(|fleet| fleet.machine_count("web"));
        assert_eq!(there, if world.is_rehearsal() { 8 } else { 9 });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn room_is_asked_for_of_fly_less_what_a_rehearsal_has_made() {
    for mode in WORLDS {
        let world = World::start(mode).await;
        let there = world.simulator.act(|fleet| {
            let all = ["web", "web-2"].into_iter();
            let all = all.flat_map(|app| fleet.export(app));
            all.filter(|machine| machine.region == "fra").count() as u64
        });
        world
            .simulator
            .act(|fleet| fleet.set_capacity("fra", Some(there + 2)));
        let run = world.run("run");
        let free = async || {
            let rooms: Value = run.ask(room("fra", 5)).await.unwrap();
            rooms[0]["machines"].as_u64().unwrap()
        };
        assert_eq!(free().await, 2);
        let made: Created = run.ask(like(&world.id(0), "fra")).await.unwrap();
        assert_eq!(free().await, 1, "{mode:?}");
        // What is on its way out takes no room.
        run.done(on_with("machines.destroy", &made.id, &true)).await;
        if let Mode::Perform = mode {
            let gone = |fleet: &mut groundcrew_fleet::Fleet| fleet.machine_count("web") == 8;
            world.until("the Machine is gone", gone).await;
        }
        assert_eq!(free().await, 2, "{mode:?}");
        failed::<Value>("invalid", run.ask(room("moon", 1)).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn room_for_one_like_another_is_asked_with_its_guest() {
    for mode in WORLDS {
        let world = World::start(mode).await;
        let run = world.run("run");
        let like = |id: &str| json!({ "like": id, "regions": [], "count": 1 });
        let id = world.id(0);
        let rooms: Value = run
            .ask(within("apps.capacity", "web", &like(&id)))
            .await
            .unwrap();
        assert_eq!(rooms.as_array().unwrap().len(), 18);
        let nobody = within("apps.capacity", "web", &like("0000000000dead"));
        failed::<Value>("not-found", run.ask(nobody).await);
        world.only_read();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_is_deleted_with_its_machines_if_that_is_said() {
    for mode in WORLDS {
        let world = World::start(mode).await;
        let run = world.run("run");
        let said = failed::<Value>("invalid", run.ask(delete("web", false)).await);
        assert!(said.contains("still has 8 machines"), "{said}");
        run.done(delete("web", true)).await;
        failed::<Value>("not-found", run.ask(get("web")).await);
        failed::<Value>("not-found", run.ask(on("machines.get", "x")).await);
        assert_eq!(names(&run).await, [("web-2".to_owned(), 8)], "{mode:?}");
        // What is gone is deleted.
        run.done(delete("web", false)).await;
        run.done(delete("nowhere", true)).await;
        match mode {
            Mode::Perform => assert_eq!(world.applied().len(), 1),
            Mode::Rehearsal => world.only_read(),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_that_nobody_confirmed_is_sent_again() {
    let world = World::start(Mode::Perform).await;
    let run = world.run("run");
    for (place, fault) in ["reply-lost", "unavailable", "rate-limited(2s)"]
        .into_iter()
        .enumerate()
    {
        // Each of them may be asked so often only.
        let old = format!("old-{place}");
        world.simulator.act(|fleet| fleet.create_app(&old));
        world.faults(&[&format!("apps.delete@1:{fault}")]);
        let effect = run.done(delete(&old, false)).await;
        assert_eq!(world.done_by(&effect), ["apps.delete"], "{fault}");
        assert_eq!(world.sent_by(&effect, "apps.delete").len(), 2, "{fault}");
    }
    let effect = run.effect(delete("old", false));
    let found = run.find_out(&effect, Duration::from_secs(1)).await;
    assert!(matches!(found, Found::DidNot), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_organisation_there_is_no_list_and_no_room() {
    for mode in WORLDS {
        let world = World::start(mode).await;
        let mut setting = world.run("run").setting;
        setting.target.organisation = None;
        setting.commons = Commons::default();
        let run = Process::of(setting);
        for request in [list(), room("fra", 1)] {
            let missing = run.ask::<Value>(request).await;
            let text = "the target names no organisation".to_owned();
            assert_eq!(missing, Err(Failure::Invalid(text)));
        }
        run.done(get("web")).await;
    }
}
