//! The proxy stops what nobody uses, if it may.

use groundcrew_fleet::api::CreateRequest;
use groundcrew_fleet::{Behaviour, Caller, Fate, Fleet, Settings};
use serde_json::{Value, json};

const ME: Caller<'static> = Caller {
    nonce: None,
    effect: None,
    owner: "me",
};

const IDLE: Fate = Fate::Idle { after_ms: 5_000 };

/// One Machine, started, whose services say this.
fn started(autostop: &Value) -> (Fleet, String) {
    let mut fleet = Fleet::new(Settings {
        behaviour: Behaviour::assumed(),
        ..Settings::default()
    });
    fleet.create_app("web");
    let config = json!({
        "image": "registry.fly.io/web:1",
        "services": [{ "internal_port": 80, "autostop": "off" }, { "internal_port": 81, "autostop": autostop }]
    });
    let request = CreateRequest {
        config,
        ..CreateRequest::default()
    };
    let id = fleet.create(&ME, "web", &request).expect("created").id;
    fleet.set_fate("web", &id, IDLE);
    pass(&mut fleet, 2_500);
    (fleet, id)
}

fn pass(fleet: &mut Fleet, millis: u64) {
    fleet.advance_to(fleet.now().after(millis));
}

fn state(fleet: &Fleet, id: &str) -> String {
    fleet.get("web", id).expect("it exists").state
}

#[test]
fn an_idle_machine_is_stopped_or_suspended_by_the_proxy() {
    for (autostop, during, after) in [
        (json!("stop"), "stopping", "stopped"),
        (json!(true), "stopping", "stopped"),
        (json!("suspend"), "suspending", "suspended"),
    ] {
        let (mut fleet, id) = started(&autostop);
        pass(&mut fleet, 4_999);
        assert_eq!(state(&fleet, &id), "started");
        pass(&mut fleet, 1);
        assert_eq!(state(&fleet, &id), during);
        let machine = fleet.get("web", &id).expect("it exists");
        assert_eq!(machine.events[0].source, "proxy");
        pass(&mut fleet, 1_000);
        assert_eq!(state(&fleet, &id), after);
        // Nobody but us has written anything.
        assert_eq!(fleet.applied().entries().count(), 1);
        // And again after each start.
        fleet.start(&ME, "web", &id).expect("started");
        pass(&mut fleet, 2_000 + 4_999);
        assert_eq!(state(&fleet, &id), "started");
        pass(&mut fleet, 1);
        assert_eq!(state(&fleet, &id), during);
    }
}

#[test]
fn where_autostop_is_off_nothing_happens() {
    for autostop in [json!("off"), json!(false), Value::Null] {
        let (mut fleet, id) = started(&autostop);
        pass(&mut fleet, 60_000);
        assert_eq!(state(&fleet, &id), "started");
    }
}

#[test]
fn a_cordoned_machine_is_left_alone_until_its_uncordon() {
    let (mut fleet, id) = started(&json!("stop"));
    pass(&mut fleet, 4_000);
    fleet.cordon(&ME, "web", &id).expect("cordoned");
    pass(&mut fleet, 60_000);
    assert_eq!(state(&fleet, &id), "started");
    fleet.uncordon(&ME, "web", &id).expect("uncordoned");
    pass(&mut fleet, 4_000);
    // To say it once more changes nothing.
    fleet.uncordon(&ME, "web", &id).expect("uncordoned");
    pass(&mut fleet, 999);
    assert_eq!(state(&fleet, &id), "started");
    pass(&mut fleet, 1);
    assert_eq!(state(&fleet, &id), "stopping");
}

#[test]
fn one_that_runs_is_idle_from_when_it_is_said_to_be() {
    let (mut fleet, id) = started(&json!("stop"));
    fleet.set_fate("web", &id, Fate::Normal);
    pass(&mut fleet, 60_000);
    assert_eq!(state(&fleet, &id), "started");
    fleet.set_fate("web", &id, IDLE);
    pass(&mut fleet, 4_999);
    assert_eq!(state(&fleet, &id), "started");
    pass(&mut fleet, 1);
    assert_eq!(state(&fleet, &id), "stopping");
}
