//! Waiting for Machines, in both worlds: what has come about since, and what will not.

use std::time::Duration;

use groundcrew::{Effect, Mode};
use groundcrew_capabilities::fly::contract::{Created, Event, Healthy, RestartOptions, Waited};
use groundcrew_fleet::{Behaviour, Fate};
use groundcrew_simulator::Pace;
use serde_json::Value;

use crate::machines::{create, get, healthy, like, wait};
use crate::support::{SCALE, WORLDS, World, answer, failed, fleet, on, on_with};

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_is_waited_for_by_what_happened_since() {
    for mode in WORLDS {
        let world = World::start(mode).await;
        let run = world.run("run");
        let id = world.id(0);
        let options = RestartOptions::default();
        let effect = run
            .prepared(on_with("machines.restart", &id, &options))
            .await
            .unwrap();
        let done: Value = answer(&run.perform(&effect).await).unwrap();
        let event = done["baseline_event"].as_str().unwrap().to_owned();
        let healthy: Healthy = run.ask(healthy(&id, Some(event.clone()))).await.unwrap();
        assert!(healthy.checks == 1 && healthy.healthy_at > healthy.started_at);
        let events: Vec<Event> = run.ask(on_with("machines.events", &id, &10)).await.unwrap();
        let newer: Vec<_> = events.iter().filter(|each| each.id > event).collect();
        assert!(
            newer
                .iter()
                .any(|each| each.kind == "exit" && each.requested_stop)
        );
        assert!(newer.iter().any(|each| each.kind == "start"));
        if mode == Mode::Perform {
            assert_eq!(world.done_by(&effect), ["machines.restart"]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_ends_in_its_time_and_when_it_is_ended() {
    for mode in WORLDS {
        let world = World::start(mode).await;
        let run = world.run("run");
        let id = world.id(0);
        let before = run.setting.clock.now();
        let said = failed::<Waited>("timeout", run.ask(wait(&id, &["stopped"], 5000)).await);
        assert!(
            said.contains("is `started`, not `stopped`, after 5 s"),
            "{said}"
        );
        let took = groundcrew::between(before, run.setting.clock.now());
        assert!(took >= Duration::from_secs(5), "{took:?}");
        for request in [
            wait(&id, &["stopped"], 3_600_000),
            healthy(&id, Some("01ZZZZZZZZZZZZZZZZZZZZZZZZ".to_owned())),
        ] {
            let effect: Effect = run.effect(request);
            effect.cancel.cancel();
            failed::<Value>("cancelled", answer(&run.perform(&effect).await));
        }
        world.only_read();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_fares_badly_is_not_waited_for_to_the_end() {
    let world = World::start(Mode::Perform).await;
    let run = world.run("run");
    let [a, b, c, d] = [0, 1, 3, 4].map(|place| world.id(place));
    let fates = [
        (&a, Fate::NeverStarts),
        (&b, Fate::ChecksFail),
        // Before its first check could pass: half a second after the start at the earliest.
        (&c, Fate::OutOfMemory { after_ms: 50 }),
    ];
    for (id, fate) in fates {
        world.simulator.act(|fleet| fleet.set_fate("web", id, fate));
    }
    let restarted = async |id: &str| {
        let restart = on_with("machines.restart", id, &RestartOptions::default());
        let done: Value = run.ask(restart).await.unwrap();
        let event = done["baseline_event"].as_str().map(str::to_owned);
        failed("application", run.ask::<Healthy>(healthy(id, event)).await)
    };
    let said = restarted(&a).await;
    assert!(
        said.contains("exited by itself") && said.contains("exit code 1"),
        "{said}"
    );
    let said = restarted(&b).await;
    assert!(said.contains("is still failing after 60 s"), "{said}");
    let said = restarted(&c).await;
    assert!(said.contains("out of memory"), "{said}");
    let dead = Fate::HostUnreachable;
    world.simulator.act(|fleet| fleet.set_fate("web", &d, dead));
    let hour = wait(&d, &["stopped"], 3_600_000);
    let said = failed::<Waited>("unavailable", run.ask(hour).await);
    assert!(said.contains("unreachable"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_was_made_just_now_is_found() {
    let pace = Pace::Scaled(SCALE);
    let world = World::serve(Mode::Perform, fleet(Behaviour::seeded()), pace).await;
    // Longer than Fly ever was seen to.
    world.faults(&["machines.create@100%:unseen(5s)"]);
    let run = world.run("run");
    let made: Created = run.ask(create(&like(&world.id(0)))).await.unwrap();
    assert_eq!(get(&run, &made.id).await.id, made.id);
    let unseen = |request: &groundcrew_fleet::Request| {
        request.route == "machines.get" && request.status == 404
    };
    assert!(world.requests().iter().any(unseen));
    // Who did not make it does not wait for it.
    let hidden: Created = run.ask(create(&like(&world.id(0)))).await.unwrap();
    let other = world.run("other");
    failed::<Value>("not-found", other.ask(on("machines.get", &hidden.id)).await);
}
