//! `releases`: recorded and brought on, in both worlds.

use std::time::Duration;

use groundcrew::{Effect, Failure, Found, Mode, Request};
use groundcrew_fleet::api;
use serde_json::{Value, json};

use crate::support::{ANN, Process, WORLDS, World, answer, failed, on_with, within};

fn create(app: &str, image: &str) -> Request {
    let definition = json!({ "app": app }).to_string();
    let new = json!({ "strategy": "ROLLING", "image": image, "definition": definition });
    within("releases.create", app, &new)
}

fn status(id: &str, status: &str) -> Request {
    on_with("releases.set-status", id, &status)
}

async fn list(run: &Process, limit: u32) -> Vec<Value> {
    run.ask(within("releases.list", "web", &limit))
        .await
        .unwrap()
}

async fn current(run: &Process, app: &str) -> Result<Value, Failure> {
    run.ask(within("releases.current", app, &())).await
}

/// Somebody else's release.
fn anns(world: &World, image: &str) -> api::Release {
    let new = api::NewRelease {
        app_name: "web".to_owned(),
        strategy: "ROLLING".to_owned(),
        image: image.to_owned(),
        ..api::NewRelease::default()
    };
    let made = world
        .simulator
        .act(|fleet| fleet.release_create(&ANN, &new));
    made.unwrap()
}

/// What is recorded there, newest first.
fn there(world: &World) -> Vec<api::Release> {
    let all = world.simulator.act(|fleet| fleet.releases("web", None));
    all.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_recorded_and_brought_to_its_end() {
    for mode in WORLDS {
        let world = World::start(mode).await;
        let earlier = anns(&world, "web:1");
        let run = world.run("run");
        assert_eq!(current(&run, "web").await.unwrap()["id"], earlier.id);
        let made: Value = run.ask(create("web", "web:2")).await.unwrap();
        assert_eq!(
            (&made["version"], &made["status"], &made["image"]),
            (&json!(2), &json!("pending"), &json!("web:2"))
        );
        assert_eq!(made["definition"], r#"{"app":"web"}"#);
        let id = made["id"].as_str().unwrap();
        for word in ["running", "complete"] {
            run.done(status(id, word)).await;
            let now = current(&run, "web").await.unwrap();
            assert_eq!((&now["id"], &now["status"]), (&json!(id), &json!(word)));
        }
        // One that has ended stays as it is.
        failed::<Value>("invalid", run.ask(status(id, "failed")).await);
        let versions = |all: &[Value]| -> Vec<u64> {
            let version = |release: &Value| release["version"].as_u64().unwrap();
            all.iter().map(version).collect()
        };
        assert_eq!(versions(&list(&run, 10).await), [2, 1]);
        assert_eq!(versions(&list(&run, 1).await), [2]);
        match mode {
            Mode::Perform => {
                let newest = there(&world).remove(0);
                assert_eq!(
                    (newest.id.as_str(), newest.status.as_str()),
                    (id, "complete")
                );
            }
            Mode::Rehearsal => assert_eq!(there(&world), [earlier]),
        }
        let ours = world.requests();
        let wrote = ours.iter().any(|request| request.method != "GET");
        assert_eq!(wrote, mode == Mode::Perform);
    }
}

/// Values of environments reach a plugin, and a journal, only when they are asked for by that name.
#[tokio::test(flavor = "multi_thread")]
async fn a_definition_has_its_values_only_where_it_is_asked_for() {
    for mode in WORLDS {
        let world = World::start(mode).await;
        let definition = json!({ "app": "web", "env": { "TOKEN": "s3cret" } });
        let new = api::NewRelease {
            app_name: "web".to_owned(),
            definition: definition.clone(),
            ..api::NewRelease::default()
        };
        let made = world
            .simulator
            .act(|fleet| fleet.release_create(&ANN, &new))
            .unwrap();
        let run = world.run("run");
        let made_here: Value = run.ask(create("web", "web:2")).await.unwrap();
        let listed = [
            list(&run, 10).await,
            vec![current(&run, "web").await.unwrap(), made_here],
        ];
        let text = json!(listed).to_string();
        assert!(
            !text.contains("s3cret") && text.contains("fingerprint:"),
            "{text}"
        );
        let asked = on_with("releases.definition", &made.id, &());
        let whole: Option<String> = run.ask(asked).await.unwrap();
        let whole: Value = serde_json::from_str(&whole.unwrap()).unwrap();
        assert_eq!(whole, definition);
        let none = on_with("releases.definition", "none", &());
        failed::<Option<String>>("not-found", run.ask(none).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_without_releases_has_none_and_one_that_is_not_there_is_not_found() {
    for mode in WORLDS {
        let world = World::start(mode).await;
        let run = world.run("run");
        assert_eq!(list(&run, 10).await, Vec::<Value>::new());
        failed("not-found", current(&run, "web").await);
        failed("not-found", current(&run, "nowhere").await);
        let nowhere = within("releases.list", "nowhere", &10);
        failed::<Value>("not-found", run.ask(nowhere).await);
        failed::<Value>("not-found", run.ask(create("nowhere", "x:1")).await);
        failed::<Value>("not-found", run.ask(status("nothing", "running")).await);
        world.nothing_done("releases.");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_that_is_no_json_is_invalid_and_not_sent() {
    for mode in WORLDS {
        let world = World::start(mode).await;
        let run = world.run("run");
        let new = json!({ "strategy": "ROLLING", "image": "web:2", "definition": "{" });
        let request = within("releases.create", "web", &new);
        failed::<Value>("invalid", run.ask(request).await);
        world.only_read();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_nobody_confirmed_is_recorded_once() {
    let world = World::start(Mode::Perform).await;
    anns(&world, "web:2");
    let run = world.run("run");
    for fault in [
        "reply-lost",
        "cut-off",
        "unavailable",
        "timeout-done",
        "rate-limited(2s)",
        "drop",
    ] {
        world.faults(&[&format!("releases.create@1:{fault}")]);
        let effect = run.prepared(create("web", "web:2")).await.unwrap();
        assert!(effect.baseline.is_some());
        let made: Value = answer(&run.perform(&effect).await).unwrap();
        assert_eq!(world.done_by(&effect), ["releases.create"], "{fault}");
        assert_eq!(made["id"], there(&world)[0].id, "{fault}");
        assert_eq!(made["user"], "operator@example.com", "{fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_that_nobody_confirmed_is_found() {
    let world = World::start(Mode::Perform).await;
    let run = world.run("run");
    let id = anns(&world, "web:2").id;
    world.faults(&[
        "releases.status@1:reply-lost",
        "releases.status@2:unavailable",
    ]);
    let running = run.done(status(&id, "running")).await;
    assert_eq!(world.done_by(&running), ["releases.status"]);
    assert_eq!(world.sent_by(&running, "releases.status").len(), 1);
    let complete = run.done(status(&id, "complete")).await;
    assert_eq!(world.done_by(&complete), ["releases.status"]);
    assert_eq!(world.sent_by(&complete, "releases.status").len(), 2);
    assert_eq!(there(&world)[0].status, "complete");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_finds_out_what_became_of_a_release() {
    let world = World::start(Mode::Perform).await;
    let before = world.run("run");
    let found = async |effect: &Effect| {
        let later = world.run("run");
        later.find_out(effect, Duration::from_secs(60)).await
    };
    let effect = before.prepared(create("web", "web:2")).await.unwrap();
    assert!(matches!(found(&effect).await, Found::DidNot));
    // Of another image: not ours.
    anns(&world, "web:other");
    assert!(matches!(found(&effect).await, Found::DidNot));
    let made: Value = answer(&before.perform(&effect).await).unwrap();
    let Found::Happened(outcome) = found(&effect).await else {
        panic!("it happened");
    };
    assert_eq!(answer::<Value>(&outcome).unwrap()["id"], made["id"]);
    let id = made["id"].as_str().unwrap();
    let effect = before.effect(status(id, "running"));
    assert!(matches!(found(&effect).await, Found::DidNot));
    before.perform(&effect).await;
    assert!(matches!(found(&effect).await, Found::Happened(_)));
    world.faults(&["releases.list@100%:invalid"]);
    assert!(matches!(found(&effect).await, Found::Unknown(_)));
    // Somebody knows that it happened; what was answered nobody knows.
    let executor = before.executor("releases");
    let lost = executor.happened(&before.effect(create("web", "web:2")));
    assert!(matches!(lost.result, Err(Failure::Other(why)) if why.code == "answer-lost"));
    assert!(executor.happened(&effect).result.is_ok());
}
