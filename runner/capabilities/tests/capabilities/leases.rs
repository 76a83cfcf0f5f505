//! Leases of `machines`: whose they are, how long they are kept, and how they pass from one process of
//! a run to the next. Where time matters the simulator's is moved by hand.

use groundcrew::{Effect, Mode};
use groundcrew_fleet::api::{Lease, LeaseRequest};
use groundcrew_fleet::{Behaviour, Caller};
use groundcrew_simulator::Pace;
use serde_json::Value;

use crate::support::{ANN, Process, WORLDS, World, failed, fleet, on};

/// Longer than a lease lives that nobody refreshes.
const TOO_LONG: u64 = 61_000;

/// A simulator whose time stands still.
async fn still() -> World {
    World::serve(Mode::Perform, fleet(Behaviour::assumed()), Pace::ByHand).await
}

fn held(world: &World, id: &str) -> Option<Lease> {
    world.simulator.act(|fleet| fleet.lease_get("web", id)).ok()
}

fn ann_takes(world: &World, id: &str) {
    let request = LeaseRequest {
        ttl: Some(3600),
        description: Some("looking at it".to_owned()),
    };
    let took = world
        .simulator
        .act(|fleet| fleet.lease_acquire(&ANN, "web", id, &request));
    took.unwrap();
}

async fn lease(run: &Process, id: &str) -> Effect {
    run.done(on("machines.lease", id)).await
}

fn behind(run: &Process, step: &str) -> Vec<String> {
    let left = run.executor("machines").left_behind(step);
    left.iter().map(|left| left.request.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_says_whose_it_is_and_lets_the_run_write_and_nobody_else() {
    let world = World::start(Mode::Perform).await;
    let (run, other) = (world.run("run"), world.run("other"));
    let id = world.id(0);
    let effect = lease(&run, &id).await;
    assert_eq!(world.done_by(&effect), ["machines.lease"]);
    let there = held(&world, &id).unwrap();
    assert_eq!(there.owner, "operator@example.com");
    assert_eq!(there.description, "groundcrew run run step step");
    let said = failed::<Value>("conflict", other.ask(on("machines.cordon", &id)).await);
    assert!(said.contains("is leased by operator@example.com"), "{said}");
    assert!(!said.contains(&there.nonce), "{said}");
    run.done(on("machines.cordon", &id)).await;
    run.done(on("machines.release", &id)).await;
    assert_eq!(held(&world, &id), None);
    // Given back twice is given back.
    let again = run.done(on("machines.release", &id)).await;
    assert_eq!(world.sent_by(&again, "machines.release").len(), 0);
    other.done(on("machines.uncordon", &id)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_has_leased_is_not_taken() {
    let world = World::start(Mode::Perform).await;
    let (run, other) = (world.run("run-2"), world.run("run"));
    let (anns, ours) = (world.id(0), world.id(1));
    ann_takes(&world, &anns);
    let said = failed::<Value>("conflict", run.ask(on("machines.lease", &anns)).await);
    assert!(
        said.contains("is leased by ann@example.com (“looking at it”)"),
        "{said}"
    );
    lease(&run, &ours).await;
    // A run whose id begins alike is another one.
    let said = failed::<Value>("conflict", other.ask(on("machines.lease", &ours)).await);
    assert!(said.contains("groundcrew run run-2 step step"), "{said}");
    assert_eq!(held(&world, &anns).unwrap().owner, ANN.owner);
    assert_eq!(behind(&other, "step"), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_refreshed_for_as_long_as_it_is_held() {
    let world = still().await;
    let run = world.run("run");
    let id = world.id(0);
    let effect = lease(&run, &id).await;
    let nonce = held(&world, &id).unwrap().nonce;
    let refreshed = |count: usize| {
        let id = effect.id.to_string();
        move |fleet: &mut groundcrew_fleet::Fleet| {
            let all = fleet.applied().entries();
            let ours = all.filter(|write| {
                write.command == "machines.lease-refresh" && write.effect.as_ref() == Some(&id)
            });
            ours.count() >= count
        }
    };
    for _ in 0..3 {
        let so_far = world.done_by(&effect).len() - 1;
        world.simulator.move_clock(TOO_LONG - 2000);
        world.until("a refresh", refreshed(so_far + 1)).await;
    }
    assert_eq!(held(&world, &id).unwrap().nonce, nonce);
    run.done(on("machines.cordon", &id)).await;
    // A process that is gone refreshes nothing, and its leases end by themselves.
    drop(run);
    world.simulator.move_clock(TOO_LONG);
    let so_far = world.done_by(&effect).len();
    assert_eq!(held(&world, &id), None);
    ann_takes(&world, &id);
    assert_eq!(world.done_by(&effect).len(), so_far);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_lost_a_lease_writes_no_more() {
    let world = still().await;
    let run = world.run("run");
    let id = world.id(0);
    lease(&run, &id).await;
    world.faults(&["machines.lease@100%:unavailable"]);
    world.simulator.move_clock(TOO_LONG);
    failed::<Value>("conflict", run.ask(on("machines.cordon", &id)).await);
    ann_takes(&world, &id);
    failed::<Value>("conflict", run.ask(on("machines.cordon", &id)).await);
    // Giving back what is not ours any more gives back nobody's.
    run.done(on("machines.release", &id)).await;
    assert_eq!(held(&world, &id).unwrap().owner, ANN.owner);
    assert!(!world.machine(&id).cordoned);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_leaves_behind_the_leases_that_it_has_not_given_back() {
    for mode in WORLDS {
        let world = World::start(mode).await;
        let run = world.run("run");
        let [a, b, c] = [0, 1, 2].map(|place| world.id(place));
        for (step, id) in [("one", &a), ("one", &b), ("two", &c)] {
            let effect = run.effect_of(step, on("machines.lease", id));
            assert!(run.perform(&effect).await.result.is_ok());
        }
        run.done(on("machines.release", &a)).await;
        assert_eq!(behind(&run, "one"), [format!("machines.release web/{b}")]);
        assert_eq!(behind(&run, "two"), [format!("machines.release web/{c}")]);
        assert_eq!(behind(&run, "three"), [""; 0]);
        for left in run.executor("machines").left_behind("one") {
            run.done(left.request).await;
        }
        assert_eq!(behind(&run, "one"), [""; 0]);
        if world.is_rehearsal() {
            world.only_read();
        } else {
            assert_eq!(held(&world, &b), None);
            assert!(held(&world, &c).is_some());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rehearsal_leases_in_its_fork_and_nothing_there() {
    let world = World::start(Mode::Rehearsal).await;
    let run = world.run("run");
    let id = world.id(0);
    lease(&run, &id).await;
    run.done(on("machines.cordon", &id)).await;
    assert_eq!(held(&world, &id), None);
    run.done(on("machines.release", &id)).await;
    world.only_read();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_process_of_a_run_takes_its_leases_over_and_shuts_the_last_one_out() {
    let world = World::start(Mode::Perform).await;
    let (last, next) = (world.run("run"), world.run("run"));
    let (a, b) = (world.id(0), world.id(1));
    let mut done = vec![lease(&last, &a).await, lease(&last, &b).await];
    done.push(last.done(on("machines.release", &b)).await);
    let before = held(&world, &a).unwrap();
    assert_eq!(next.executor("machines").take_over(done).await, [""; 0]);
    let after = held(&world, &a).unwrap();
    assert_eq!(after.description, before.description);
    assert_ne!(after.nonce, before.nonce);
    assert_eq!(held(&world, &b), None);
    next.done(on("machines.cordon", &a)).await;
    failed::<Value>("conflict", last.ask(on("machines.uncordon", &a)).await);
    assert!(world.machine(&a).cordoned);
    // From now on it is the next one's to give back.
    assert_eq!(behind(&next, "step"), [format!("machines.release web/{a}")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_has_ended_is_taken_again_and_one_of_somebody_else_is_left() {
    let world = still().await;
    let [ended, anns] = [0, 1].map(|place| world.id(place));
    let last = world.run("run");
    let done = vec![lease(&last, &ended).await, lease(&last, &anns).await];
    drop(last);
    world.simulator.move_clock(TOO_LONG);
    ann_takes(&world, &anns);
    let next = world.run("run");
    let missing = next.executor("machines").take_over(done).await;
    let [said] = &missing[..] else {
        panic!("one sentence: {missing:?}");
    };
    assert!(
        said.contains(&anns) && said.contains("ann@example.com"),
        "{said}"
    );
    assert_eq!(held(&world, &anns).unwrap().owner, ANN.owner);
    let ours = held(&world, &ended).unwrap();
    assert_eq!(ours.description, "groundcrew run run step step");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_abandoned_run_holds_is_given_back_and_nothing_else() {
    let world = World::start(Mode::Perform).await;
    let gone = world.run("run");
    let [a, b, c, d, anns] = [0, 1, 2, 3, 4].map(|place| world.id(place));
    let mut done = vec![lease(&gone, &a).await, lease(&gone, &b).await];
    done.push(gone.done(on("machines.release", &b)).await);
    // Of these only the intent is known: one was taken, one was not, one is somebody else's.
    let mut perhaps = vec![lease(&gone, &c).await];
    ann_takes(&world, &anns);
    for id in [&d, &anns] {
        perhaps.push(gone.effect(on("machines.lease", id)));
    }
    drop(gone);
    let heir = world.run("run");
    let given = heir.executor("machines").let_go(done, perhaps).await;
    let mut given: Vec<_> = given
        .into_iter()
        .map(|up| (up.on, up.outcome.unwrap()))
        .collect();
    let mut wanted = [(&a, true), (&c, true), (&d, false), (&anns, false)]
        .map(|(id, ours)| (format!("web/{id}"), ours));
    given.sort();
    wanted.sort();
    assert_eq!(given, wanted);
    assert_eq!(
        [&a, &b, &c, &d].map(|id| held(&world, id)),
        [None, None, None, None]
    );
    assert_eq!(held(&world, &anns).unwrap().owner, ANN.owner);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_whose_answer_never_came_is_the_runs_all_the_same() {
    let world = World::start(Mode::Perform).await;
    let run = world.run("run");
    let id = world.id(0);
    world.faults(&["machines.lease@1:reply-lost"]);
    let effect = lease(&run, &id).await;
    assert_eq!(world.done_by(&effect), ["machines.lease"]);
    run.done(on("machines.cordon", &id)).await;
    run.done(on("machines.release", &id)).await;
    assert_eq!(held(&world, &id), None);
    // Nobody can say whether it was taken: it ends by itself.
    world.faults(&[
        "machines.lease@1:reply-lost",
        "machines.lease-get@100%:invalid",
    ]);
    let effect = run.effect(on("machines.lease", &id));
    let outcome = run.perform(&effect).await;
    assert!(outcome.in_doubt, "{outcome:?}");
    let nonce = held(&world, &id).unwrap().nonce;
    let by = Caller {
        nonce: Some(&nonce),
        ..ANN
    };
    let released = world
        .simulator
        .act(|fleet| fleet.lease_release(&by, "web", &id));
    released.unwrap();
}
