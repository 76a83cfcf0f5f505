//! Writes on Machines that go wrong on their way: what is sent again, what is found out, what stays in
//! doubt. Whatever the client is told, what does harm twice is done once.

use std::time::Duration;

use groundcrew::{Effect, Failure, Found, Mode, Outcome, Request};
use groundcrew_capabilities::fly::contract::{
    Change, CreateOptions, Created, Done, ExecOptions, RestartOptions, RestoreOptions, StopOptions,
    UpdateOptions, Updated,
};
use groundcrew_fleet::{Fate, Fleet};
use serde_json::Value;

use crate::support::{ANN, Process, World, answer, failed, on, on_with, within};

fn restart(id: &str) -> Request {
    on_with("machines.restart", id, &RestartOptions::default())
}

fn update(id: &str) -> Request {
    let change = Change {
        release: Some("r2".to_owned()),
        ..Change::default()
    };
    let options = UpdateOptions {
        change,
        ..UpdateOptions::default()
    };
    on_with("machines.update", id, &options)
}

fn restore(id: &str, version: String) -> Request {
    let options = RestoreOptions {
        version,
        ..RestoreOptions::default()
    };
    on_with("machines.restore", id, &options)
}

fn create(like: &str) -> Request {
    let options = CreateOptions {
        like: Some(like.to_owned()),
        launch: true,
        ..CreateOptions::default()
    };
    within("machines.create", "web", &options)
}

fn stop(id: &str) -> Request {
    on_with("machines.stop", id, &StopOptions::default())
}

fn exec(id: &str) -> Request {
    let options = ExecOptions {
        command: vec!["true".to_owned()],
        timeout_ms: 1000,
    };
    on_with("machines.exec", id, &options)
}

/// A simulator with one Machine stopped and one at its second version; their ids and the version
/// before.
async fn prepared(run: &Process, world: &World) -> (String, String, String) {
    let (stopped, changed) = (world.id(0), world.id(1));
    run.done(stop(&stopped)).await;
    let updated: Updated = run.ask(update(&changed)).await.unwrap();
    let settled = |fleet: &mut Fleet| {
        let state = |id: &str| fleet.get("web", id).unwrap().state;
        state(&stopped) == "stopped" && state(&changed) == "started"
    };
    world.until("both have settled", settled).await;
    (stopped, changed, updated.previous)
}

async fn outcome(run: &Process, request: Request) -> (Effect, Outcome) {
    let effect = run.prepared(request).await.unwrap();
    let outcome = run.perform(&effect).await;
    (effect, outcome)
}

/// Returns when the simulator's time has come to so many seconds after now.
async fn passed(world: &World, seconds: u64) {
    let until = world
        .simulator
        .act(|fleet| fleet.now().after(seconds * 1000));
    let come = |fleet: &mut Fleet| fleet.now() >= until;
    world.until("time passes", come).await;
}

/// Every write with its route, and whether it is found out or sent again when its answer is lost.
async fn writes(world: &World, run: &Process) -> Vec<(Request, &'static str, usize)> {
    let (stopped, changed, version) = prepared(run, world).await;
    let [a, b, c, d, e, f] = [2, 3, 4, 5, 6, 7].map(|place| world.id(place));
    run.done(on("machines.lease", &f)).await;
    vec![
        (on("machines.start", &stopped), "machines.start", 1),
        (restore(&changed, version), "machines.update", 1),
        (restart(&a), "machines.restart", 1),
        (update(&b), "machines.update", 1),
        (create(&a), "machines.create", 1),
        (stop(&c), "machines.stop", 1),
        (on("machines.suspend", &d), "machines.suspend", 1),
        (
            on_with("machines.destroy", &e, &true),
            "machines.destroy",
            1,
        ),
        (on("machines.cordon", &f), "machines.cordon", 2),
        (on("machines.uncordon", &f), "machines.uncordon", 2),
        (
            on_with("machines.set-metadata", &f, &[("team", Some("blue"))]),
            "machines.metadata-patch",
            2,
        ),
        (on("machines.release", &f), "machines.release", 2),
        (on("machines.lease", &f), "machines.lease", 1),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_reply_is_lost_is_found_out_or_does_no_harm_twice() {
    let world = World::start(Mode::Perform).await;
    let run = world.run("run");
    for (request, route, sent) in writes(&world, &run).await {
        world.faults(&[&format!("{route}@1:reply-lost")]);
        let effect = run.done(request).await;
        let name = effect.request.row.name;
        assert_eq!(world.sent_by(&effect, route).len(), sent, "{name}");
        let done = world.done_by(&effect).len();
        let twice = sent == 2 && name != "machines.release";
        assert_eq!(done, 1 + usize::from(twice), "{name}");
        assert!(!twice || effect.request.row.idempotent, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_and_answered_badly_is_done_once() {
    for fault in ["cut-off", "timeout-done", "slow(30s)"] {
        let world = World::start(Mode::Perform).await;
        let run = world.run("run");
        for (request, route) in [
            (restart(&world.id(0)), "machines.restart"),
            (update(&world.id(1)), "machines.update"),
            (create(&world.id(2)), "machines.create"),
        ] {
            world.faults(&[&format!("{route}@1:{fault}")]);
            let effect = run.done(request).await;
            assert_eq!(world.done_by(&effect), [route], "{fault}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_done_is_sent_again_and_done_once() {
    for fault in [
        "unavailable",
        "internal",
        "bad-gateway",
        "timeout",
        "drop",
        "conflict",
        "host-disabled",
    ] {
        let world = World::start(Mode::Perform).await;
        let run = world.run("run");
        let [a, b, c] = [0, 1, 2].map(|place| world.id(place));
        // Without the lease nobody could be sure of a restart.
        run.done(on("machines.lease", &a)).await;
        for (request, route) in [
            (restart(&a), "machines.restart"),
            (update(&b), "machines.update"),
            (create(&c), "machines.create"),
            (stop(&c), "machines.stop"),
            (on("machines.lease", &b), "machines.lease"),
        ] {
            world.faults(&[&format!("{route}@1:{fault}")]);
            let effect = run.done(request).await;
            let done = world.done_by(&effect);
            // A lease that was taken anew meanwhile is the restart's, too.
            let done: Vec<_> = done.into_iter().filter(|each| *each == route).collect();
            assert_eq!(done, [route], "{fault}");
            assert!(world.sent_by(&effect, route).len() >= 2, "{route}: {fault}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_asks_for_patience_gets_it() {
    let world = World::start(Mode::Perform).await;
    let run = world.run("run");
    for (request, route) in [
        (restart(&world.id(0)), "machines.restart"),
        (on("machines.lease", &world.id(1)), "machines.lease"),
        (on("machines.get", &world.id(2)), "machines.get"),
    ] {
        world.faults(&[&format!("{route}@1:rate-limited(5s)")]);
        let effect = run.effect(request);
        answer::<Value>(&run.perform(&effect).await).unwrap();
        let [first, second] = &world.sent_by(&effect, route)[..] else {
            panic!("two requests of {route}");
        };
        assert!(first.status == 429 && second.status < 300);
        assert!(second.at.since(first.at) >= 5000, "{first:?} {second:?}");
        if route != "machines.get" {
            assert_eq!(world.done_by(&effect), [route]);
        }
    }
    world.faults(&["machines.cordon@100%:rate-limited(1s)"]);
    let (effect, outcome) = outcome(&run, on("machines.cordon", &world.id(3))).await;
    failed::<Value>("rate-limited", answer(&outcome));
    assert_eq!(world.sent_by(&effect, "machines.cordon").len(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_lease_an_unconfirmed_restart_is_in_doubt() {
    for fault in ["unavailable", "drop", "timeout"] {
        let world = World::start(Mode::Perform).await;
        let run = world.run("run");
        world.faults(&[&format!("machines.restart@1:{fault}")]);
        let (effect, outcome) = outcome(&run, restart(&world.id(0))).await;
        assert!(outcome.in_doubt, "{outcome:?}");
        let said = failed("unavailable", outcome.result);
        assert!(said.contains("it may have happened"), "{said}");
        assert_eq!(world.done_by(&effect), [""; 0]);
        assert_eq!(world.sent_by(&effect, "machines.restart").len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_leaves_no_trace_is_in_doubt_and_not_sent_again() {
    let world = World::start(Mode::Perform).await;
    let run = world.run("run");
    let id = world.id(0);
    run.done(on("machines.lease", &id)).await;
    for (fault, done) in [("reply-lost", 1), ("drop", 0), ("unavailable", 0)] {
        for (request, route) in [
            (
                on_with("machines.signal", &id, &"SIGHUP"),
                "machines.signal",
            ),
            (exec(&id), "machines.exec"),
        ] {
            world.faults(&[&format!("{route}@1:{fault}")]);
            let (effect, outcome) = outcome(&run, request).await;
            assert!(outcome.in_doubt, "{route} {fault}: {outcome:?}");
            assert_eq!(world.done_by(&effect).len(), done, "{route} {fault}");
            assert_eq!(world.sent_by(&effect, route).len(), 1, "{route} {fault}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_arrives_late_is_done_once() {
    // Before anybody has given it up, and long after.
    for late in ["late(3s)", "late(25s)"] {
        let world = World::start(Mode::Perform).await;
        let run = world.run("run");
        let [a, b, c, d] = [0, 1, 2, 3].map(|place| world.id(place));
        run.done(on("machines.lease", &a)).await;
        let mut effects = Vec::new();
        for (request, route) in [
            (restart(&a), "machines.restart"),
            (update(&b), "machines.update"),
            (create(&c), "machines.create"),
            (on("machines.lease", &d), "machines.lease"),
        ] {
            world.faults(&[&format!("{route}@1:{late}")]);
            effects.push((run.done(request).await, route));
        }
        passed(&world, 30).await;
        for (effect, route) in effects {
            let mut done = world.done_by(&effect);
            done.retain(|each| *each == route);
            assert_eq!(done, [route], "{late}");
        }
        let made = world.simulator.act(|fleet| fleet.machine_count("web"));
        assert_eq!(made, 9);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_that_nobody_finds_is_sent_again_and_is_the_machine_of_its_name() {
    let world = World::start(Mode::Perform).await;
    let run = world.run("run");
    world.faults(&["machines.create@1:reply-lost", "machines.list@100%:invalid"]);
    let (effect, outcome) = outcome(&run, create(&world.id(0))).await;
    let made: Created = answer(&outcome).unwrap();
    assert_eq!(world.done_by(&effect), ["machines.create"]);
    assert_eq!(world.sent_by(&effect, "machines.create").len(), 2);
    assert_eq!(world.machine(&made.id).name, made.name);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_restart_is_found_if_it_comes_in_time_and_in_doubt_if_it_does_not() {
    let world = World::start(Mode::Perform).await;
    let run = world.run("run");
    let (a, b) = (world.id(0), world.id(1));
    world.faults(&[
        "machines.restart@1:late(2s)",
        "machines.restart@2:late(30s)",
    ]);
    let (effect, found) = outcome(&run, restart(&a)).await;
    let done: Done = answer(&found).unwrap();
    let baseline = effect.baseline.as_ref().unwrap()["event"].as_str();
    assert_eq!(done.baseline_event.as_deref(), baseline);
    let (late, unknown) = outcome(&run, restart(&b)).await;
    assert!(unknown.in_doubt, "{unknown:?}");
    passed(&world, 35).await;
    assert_eq!(world.done_by(&effect), ["machines.restart"]);
    assert_eq!(world.done_by(&late), ["machines.restart"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_for_good_is_sent_once_and_said_as_what_it_is() {
    let world = World::start(Mode::Perform).await;
    let run = world.run("run");
    for (fault, kind) in [
        ("capacity", "capacity"),
        ("no-memory", "capacity"),
        ("quota", "capacity"),
        ("no-capacity", "capacity"),
        ("invalid", "invalid"),
    ] {
        world.faults(&[&format!("machines.create@1:{fault}")]);
        let (effect, outcome) = outcome(&run, create(&world.id(0))).await;
        failed::<Created>(kind, answer(&outcome));
        assert_eq!(
            world.sent_by(&effect, "machines.create").len(),
            1,
            "{fault}"
        );
    }
    let unreachable = world.id(1);
    let dead = Fate::HostUnreachable;
    world
        .simulator
        .act(|fleet| fleet.set_fate("web", &unreachable, dead));
    let (effect, outcome) = outcome(&run, stop(&unreachable)).await;
    failed("unavailable", outcome.result);
    assert_eq!(world.done_by(&effect), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_are_sent_again_until_they_are_answered() {
    for mode in crate::support::WORLDS {
        let world = World::start(mode).await;
        let run = world.run("run");
        let list = |scope: Value| {
            let none = serde_json::json!({ "groups": [], "regions": [], "states": [] });
            let all = serde_json::json!({ "scope": scope, "filter": none });
            match scope.is_string() {
                true => Request::new(crate::support::row("machines.list")).with(all),
                false => within("machines.list", "web", &all),
            }
        };
        world.faults(&[
            "machines.list@1:cut-off",
            "machines.list@2:unavailable",
            "org.machines@1:drop",
            "org.machines@2:rate-limited(1s)",
        ]);
        let app: Value = run
            .ask(list(serde_json::json!({ "app": "web" })))
            .await
            .unwrap();
        assert_eq!(app["machines"].as_array().unwrap().len(), 8);
        let all: Value = run.ask(list("organisation".into())).await.unwrap();
        assert_eq!(all["machines"].as_array().unwrap().len(), 16);
        world.faults(&["*@100%:unavailable"]);
        let other = world.run("other");
        failed::<Value>(
            "unavailable",
            other.ask(on("machines.get", &world.id(0))).await,
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_finds_out_what_became_of_each_write() {
    let world = World::start(Mode::Perform).await;
    let run = world.run("run");
    let minute = Duration::from_secs(60);
    let mut effects = Vec::new();
    for (request, _, _) in writes(&world, &run).await {
        let name = request.row.name;
        let effect = run.prepared(request).await.unwrap();
        // A restart that was not seen may come as long as its lease is what it was.
        let later = world.run("run");
        let id = effect.request.subject.clone().unwrap_or_default();
        if name == "machines.restart" {
            let lease = run.done(on("machines.lease", &id)).await;
            assert_eq!(
                later.executor("machines").take_over(vec![lease]).await,
                [""; 0]
            );
        }
        let before = later.find_out(&effect, minute).await;
        assert!(matches!(before, Found::DidNot), "{name}: {before:?}");
        let by = if name == "machines.restart" {
            &later
        } else {
            &run
        };
        answer::<Value>(&by.perform(&effect).await).unwrap();
        happened(&later.find_out(&effect, minute).await, &effect);
        effects.push(effect);
    }
    // What has come to its end is found as well as what is on its way.
    passed(&world, 30).await;
    let later = world.run("run");
    for effect in effects {
        happened(&later.find_out(&effect, minute).await, &effect);
    }
}

/// It happened, or does no harm when it is sent again.
fn happened(found: &Found, effect: &Effect) {
    let again = ["cordon", "uncordon", "set-metadata", "release"];
    match found {
        Found::Happened(outcome) => drop(answer::<Value>(outcome).unwrap()),
        Found::DidNot if again.contains(&effect.request.row.operation()) => {}
        other => panic!("{}: {other:?}", effect.request),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_effect_that_is_performed_again_finds_its_own_mark() {
    let world = World::start(Mode::Perform).await;
    let run = world.run("run");
    for (request, route) in [
        (update(&world.id(0)), "machines.update"),
        (create(&world.id(1)), "machines.create"),
    ] {
        let effect = run.prepared(request).await.unwrap();
        let once: Value = answer(&run.perform(&effect).await).unwrap();
        let again: Value = answer(&world.run("run").perform(&effect).await).unwrap();
        assert_eq!(once, again);
        assert_eq!(world.done_by(&effect), [route]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_found_out_is_unknown_with_the_reason() {
    let world = World::start(Mode::Perform).await;
    let run = world.run("run");
    let [a, b, c] = [0, 1, 2].map(|place| world.id(place));
    let minute = Duration::from_secs(60);
    let unknown = async |effect: &Effect| {
        let later = world.run("run");
        match later.find_out(effect, minute).await {
            Found::Unknown(why) => why,
            other => panic!("{}: {other:?}", effect.request),
        }
    };
    let signal = run.effect(on_with("machines.signal", &a, &"SIGHUP"));
    assert!(unknown(&signal).await.contains("leaves no trace"));
    assert!(
        unknown(&run.effect(exec(&a)))
            .await
            .contains("leaves no trace")
    );
    let restarted = run.prepared(restart(&a)).await.unwrap();
    assert!(unknown(&restarted).await.contains("without a lease"));
    let blind = run.effect(restart(&a));
    assert!(unknown(&blind).await.contains("are not known"));
    // Somebody has updated it since: whether we had before is not to be seen any more.
    let updated = run.prepared(update(&b)).await.unwrap();
    world.simulator.act(|fleet| {
        let config = fleet.get("web", &b).unwrap().config;
        let request = groundcrew_fleet::api::UpdateRequest {
            config,
            ..Default::default()
        };
        fleet.update(&ANN, "web", &b, &request).unwrap()
    });
    assert!(unknown(&updated).await.contains("somebody has updated it"));
    let stopped = run.effect(stop(&c));
    let dead = Fate::HostUnreachable;
    world.simulator.act(|fleet| fleet.set_fate("web", &c, dead));
    assert!(unknown(&stopped).await.contains("unreachable"));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_what_happened_unseen_no_answer_is_made_up() {
    let world = World::start(Mode::Perform).await;
    let run = world.run("run");
    let executor = run.executor("machines");
    let id = world.id(0);
    for lost in [
        create(&id),
        update(&id),
        restore(&id, "x".to_owned()),
        exec(&id),
    ] {
        let happened = executor.happened(&run.effect(lost));
        assert!(
            matches!(&happened.result, Err(Failure::Other(why)) if why.code == "answer-lost"),
            "{happened:?}"
        );
    }
    let effect = run.prepared(restart(&id)).await.unwrap();
    let done: Done = answer(&executor.happened(&effect)).unwrap();
    assert!(done.baseline_event.is_some());
    for kept in ["machines.lease", "machines.release"] {
        answer::<()>(&executor.happened(&run.effect(on(kept, &id)))).unwrap();
    }
}
