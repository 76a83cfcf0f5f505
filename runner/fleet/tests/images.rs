//! What the markers in an image's tag make of a Machine whose id nobody knew beforehand.

use groundcrew_fleet::api::{CheckResult, CreateRequest, UpdateRequest};
use groundcrew_fleet::{Behaviour, Caller, Fate, Fleet, Settings};
use serde_json::{Value, json};

fn config(tag: &str) -> Value {
    json!({
        "image": format!("registry.fly.io/web:{tag}"),
        "checks": { "up": { "type": "tcp", "port": 80, "interval": "1s" } }
    })
}

fn with(extra: &Value, tag: &str) -> Value {
    let mut config = config(tag);
    for (key, value) in extra.as_object().expect("an object") {
        config[key] = value.clone();
    }
    config
}

/// A Machine of this configuration, just created.
fn create(config: Value) -> (Fleet, String) {
    let settings = Settings {
        behaviour: Behaviour::assumed(),
        ..Settings::default()
    };
    let mut fleet = Fleet::new(settings);
    fleet.create_app("web");
    let request = CreateRequest {
        config,
        ..CreateRequest::default()
    };
    let made = fleet.create(&Caller::default(), "web", &request);
    let id = made.expect("it is created").id;
    (fleet, id)
}

fn update(fleet: &mut Fleet, id: &str, tag: &str) {
    let request = UpdateRequest {
        config: config(tag),
        ..UpdateRequest::default()
    };
    fleet
        .update(&Caller::default(), "web", id, &request)
        .expect("it is updated");
}

fn pass(fleet: &mut Fleet, millis: u64) {
    fleet.advance_to(fleet.now().after(millis));
}

fn state(fleet: &Fleet, id: &str) -> String {
    fleet.get("web", id).expect("it exists").state
}

fn check(fleet: &Fleet, id: &str) -> CheckResult {
    fleet.get("web", id).expect("it exists").checks[0].result()
}

/// `assumed`: 500 ms to create, 2 s to boot, 1 s to the first result.
const STARTED: u64 = 2_500;

#[test]
fn a_crash_loop_ends_stopped_and_an_update_cures_it() {
    let (mut fleet, id) = create(config("sim-crash-loop"));
    pass(&mut fleet, 60_000);
    assert_eq!(state(&fleet, &id), "stopped");
    let events = fleet.events("web", &id, Some(50)).expect("it exists");
    let crashes = events.iter().filter(|event| event.exit_code() == Some(1));
    assert_eq!(crashes.count(), 11);
    assert_eq!(check(&fleet, &id), CheckResult::Warning);
    update(&mut fleet, &id, "good");
    assert_eq!(state(&fleet, &id), "replacing");
    pass(&mut fleet, 10_000);
    // Fly leaves a new version of what was not started stopped.
    assert_eq!(state(&fleet, &id), "stopped");
    fleet
        .start(&Caller::default(), "web", &id)
        .expect("it can be");
    pass(&mut fleet, 10_000);
    assert_eq!(state(&fleet, &id), "started");
    assert_eq!(check(&fleet, &id), CheckResult::Passing);
    // The retries of the version before do not count against the next one.
    update(&mut fleet, &id, "sim-crash-loop");
    pass(&mut fleet, 60_000);
    let events = fleet.events("web", &id, Some(50)).expect("it exists");
    assert_eq!(events[0].restart_count(), 10);
}

#[test]
fn what_is_unhealthy_or_sickens_is_well_again_after_an_update() {
    let (mut fleet, id) = create(config("sim-unhealthy"));
    pass(&mut fleet, STARTED + 1_000);
    assert_eq!(check(&fleet, &id), CheckResult::Critical);
    update(&mut fleet, &id, "good");
    // Until the new version's first result the old one's stands.
    assert_eq!(check(&fleet, &id), CheckResult::Critical);
    pass(&mut fleet, 5_000);
    assert_eq!(check(&fleet, &id), CheckResult::Passing);

    let (mut fleet, id) = create(config("sim-sickens"));
    pass(&mut fleet, STARTED + 999);
    assert_eq!(check(&fleet, &id), CheckResult::Warning);
    pass(&mut fleet, 1);
    assert_eq!(check(&fleet, &id), CheckResult::Passing);
    pass(&mut fleet, 3_999);
    assert_eq!(check(&fleet, &id), CheckResult::Passing);
    pass(&mut fleet, 1);
    assert_eq!(check(&fleet, &id), CheckResult::Critical);
    update(&mut fleet, &id, "good");
    pass(&mut fleet, 30_000);
    assert_eq!(check(&fleet, &id), CheckResult::Passing);
}

#[test]
fn a_new_version_that_is_unhealthy_does_not_speak_for_the_old_one() {
    let (mut fleet, id) = create(config("good"));
    pass(&mut fleet, 10_000);
    update(&mut fleet, &id, "sim-unhealthy");
    assert_eq!(check(&fleet, &id), CheckResult::Passing);
    pass(&mut fleet, 10_000);
    assert_eq!(check(&fleet, &id), CheckResult::Critical);
}

#[test]
fn a_process_that_ends_is_restarted_stopped_or_destroyed_as_configured() {
    let exits = |policy: &str, auto_destroy: bool, tag: &str| {
        let extra = json!({
            "restart": { "policy": policy, "max_retries": 2 },
            "auto_destroy": auto_destroy
        });
        let (mut fleet, id) = create(with(&extra, tag));
        pass(&mut fleet, STARTED);
        assert_eq!(state(&fleet, &id), "started");
        pass(&mut fleet, 20_000);
        let events = fleet.events("web", &id, Some(50)).expect("it exists");
        let codes: Vec<_> = events
            .iter()
            .filter_map(|event| event.exit_code())
            .collect();
        (state(&fleet, &id), codes)
    };
    let ended = |state: &str, codes: &[i32]| (state.to_owned(), codes.to_vec());
    assert_eq!(exits("no", false, "sim-exits-0"), ended("stopped", &[0]));
    assert_eq!(exits("no", true, "sim-exits-0"), ended("destroyed", &[0]));
    assert_eq!(exits("no", true, "sim-exits-3"), ended("destroyed", &[3]));
    assert_eq!(
        exits("on-failure", true, "sim-exits-3"),
        ended("destroyed", &[3, 3, 3])
    );
    assert_eq!(
        exits("on-failure", false, "sim-exits-0"),
        ended("stopped", &[0])
    );
    let (_, codes) = exits("always", true, "sim-exits-0");
    assert!(codes.len() > 3, "{codes:?}");
}

#[test]
fn a_slow_image_boots_for_a_minute() {
    let (mut fleet, id) = create(config("sim-slow-boot"));
    pass(&mut fleet, 500 + 59_999);
    assert_eq!(state(&fleet, &id), "starting");
    pass(&mut fleet, 1);
    assert_eq!(state(&fleet, &id), "started");
}

#[test]
fn a_fate_overrules_the_marker_until_it_is_normal_again() {
    let (mut fleet, id) = create(config("sim-slow-boot"));
    fleet.set_fate("web", &id, Fate::ChecksFail);
    pass(&mut fleet, STARTED + 1_000);
    assert_eq!(check(&fleet, &id), CheckResult::Critical);
    let (mut fleet, id) = create(config("sim-unhealthy"));
    fleet.set_fate("web", &id, Fate::SlowStart { boot_ms: 10 });
    pass(&mut fleet, STARTED);
    assert_eq!(check(&fleet, &id), CheckResult::Passing);
    fleet.set_fate("web", &id, Fate::Normal);
    assert_eq!(check(&fleet, &id), CheckResult::Critical);
}

#[test]
fn an_image_that_cannot_be_pulled_leaves_the_old_one_as_it_was() {
    let (mut fleet, id) = create(config("good"));
    pass(&mut fleet, 10_000);
    update(&mut fleet, &id, "unpullable-sim-unhealthy");
    pass(&mut fleet, 10_000);
    assert_eq!(state(&fleet, &id), "started");
    assert_eq!(check(&fleet, &id), CheckResult::Passing);
}

#[test]
fn a_fork_goes_by_the_image_too() {
    for tag in ["sim-unhealthy", "sim-sickens"] {
        let (mut fleet, id) = create(config(tag));
        pass(&mut fleet, 20_000);
        let settings = Settings {
            start: fleet.now(),
            behaviour: Behaviour::assumed(),
            ..Settings::default()
        };
        let mut fork = Fleet::new(settings);
        fork.adopt("web", fleet.export("web"));
        pass(&mut fork, 2_000);
        assert_eq!(check(&fork, &id), CheckResult::Critical, "{tag}");
        update(&mut fork, &id, "good");
        pass(&mut fork, 10_000);
        assert_eq!(check(&fork, &id), CheckResult::Passing, "{tag}");
    }
}
