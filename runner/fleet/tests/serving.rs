//! Who gets traffic, and what a watch over an app says afterwards.

use groundcrew_fleet::api::{CreateRequest, UpdateRequest};
use groundcrew_fleet::{Behaviour, Caller, Fate, Fleet, Generated, Settings, generate};
use serde_json::{Value, json};

const ME: Caller<'static> = Caller {
    nonce: None,
    effect: None,
    owner: "me",
};

/// `assumed`: 500 ms to create, 2 s to boot, 1 s to the first result, 1 s of discovery, 1 s to
/// stop, 1 s to update.
fn fleet(machines: usize) -> Fleet {
    let settings = Settings {
        behaviour: Behaviour::assumed(),
        ..Settings::default()
    };
    let wanted = Generated {
        machines,
        apps: 1,
        idle_ones: false,
    };
    generate(settings, &wanted)
}

fn config(group: &str, tag: &str) -> Value {
    json!({
        "image": format!("registry.fly.io/web:{tag}"),
        "metadata": { "fly_process_group": group },
        "checks": { "up": { "type": "tcp", "port": 80, "interval": "1s" } }
    })
}

fn create(fleet: &mut Fleet, config: Value, cordoned: bool) -> String {
    let request = CreateRequest {
        config,
        skip_service_registration: cordoned,
        ..CreateRequest::default()
    };
    fleet.create(&ME, "web", &request).expect("created").id
}

fn pass(fleet: &mut Fleet, millis: u64) {
    fleet.advance_to(fleet.now().after(millis));
}

fn gets_traffic(fleet: &Fleet, id: &str) -> bool {
    fleet.in_service("web", None).iter().any(|each| each == id)
}

#[test]
fn those_that_have_long_run_are_in_service_by_group() {
    let fleet = fleet(6);
    assert_eq!(fleet.in_service("web", None), fleet.machine_ids("web"));
    assert_eq!(fleet.in_service("web", Some("web")).len(), 4);
    assert_eq!(fleet.in_service("web", Some("worker")).len(), 2);
    assert!(fleet.in_service("web", Some("other")).is_empty());
    assert!(fleet.in_service("other", None).is_empty());
}

#[test]
fn the_proxy_sees_a_new_machine_late() {
    let mut fleet = fleet(3);
    let checked = create(&mut fleet, config("web", "1"), false);
    let bare = create(&mut fleet, json!({ "image": "web:1" }), false);
    let cordoned = create(&mut fleet, config("web", "1"), true);
    // Started after 2.5 s, the first result 1 s later, and seen 1 s after that.
    pass(&mut fleet, 3_499);
    assert!(!gets_traffic(&fleet, &bare));
    pass(&mut fleet, 1);
    assert!(gets_traffic(&fleet, &bare));
    pass(&mut fleet, 999);
    assert!(!gets_traffic(&fleet, &checked));
    pass(&mut fleet, 1);
    assert!(gets_traffic(&fleet, &checked));
    pass(&mut fleet, 10_000);
    assert!(!gets_traffic(&fleet, &cordoned));
    fleet.uncordon(&ME, "web", &cordoned).expect("uncordoned");
    pass(&mut fleet, 999);
    assert!(!gets_traffic(&fleet, &cordoned));
    pass(&mut fleet, 1);
    assert!(gets_traffic(&fleet, &cordoned));
}

#[test]
fn the_proxy_sees_a_cordon_late_and_a_stop_at_once() {
    let mut fleet = fleet(3);
    let id = fleet.machine_ids("web").remove(0);
    fleet.cordon(&ME, "web", &id).expect("cordoned");
    pass(&mut fleet, 999);
    assert!(gets_traffic(&fleet, &id));
    pass(&mut fleet, 1);
    assert!(!gets_traffic(&fleet, &id));

    fleet.uncordon(&ME, "web", &id).expect("uncordoned");
    pass(&mut fleet, 500);
    // Cordoned before the proxy saw it: it sees both, in their order.
    fleet.cordon(&ME, "web", &id).expect("cordoned");
    for (millis, seen) in [(499, false), (1, true), (499, true), (1, false)] {
        pass(&mut fleet, millis);
        assert_eq!(gets_traffic(&fleet, &id), seen);
    }

    let id = fleet.machine_ids("web").remove(1);
    fleet.cordon(&ME, "web", &id).expect("cordoned");
    assert!(gets_traffic(&fleet, &id));
    let now = Default::default();
    fleet.stop(&ME, "web", &id, &now).expect("stopped");
    assert!(!gets_traffic(&fleet, &id));
}

#[test]
fn a_machine_whose_checks_fail_gets_no_traffic() {
    let mut fleet = fleet(3);
    let id = fleet.machine_ids("web").remove(0);
    fleet.set_fate("web", &id, Fate::ChecksFail);
    assert!(!gets_traffic(&fleet, &id));
    fleet.set_fate("web", &id, Fate::Normal);
    assert!(!gets_traffic(&fleet, &id));
    pass(&mut fleet, 1_000);
    assert!(gets_traffic(&fleet, &id));
    // What changes nothing for the proxy is not seen anew.
    fleet.set_fate("web", &id, Fate::SlowStart { boot_ms: 1 });
    assert!(gets_traffic(&fleet, &id));
    fleet.set_fate("web", &id, Fate::HostUnreachable);
    assert!(!gets_traffic(&fleet, &id));
}

#[test]
fn a_fork_has_in_service_what_the_fleet_has() {
    let mut fleet = fleet(6);
    let id = fleet.machine_ids("web").remove(0);
    fleet
        .restart(&ME, "web", &id, &Default::default())
        .expect("restarted");
    // Started for half a second: what its check said is of the run before.
    pass(&mut fleet, 3_500);
    let settings = Settings {
        start: fleet.now(),
        behaviour: Behaviour::assumed(),
        ..Settings::default()
    };
    let mut fork = Fleet::new(settings);
    fork.adopt("web", fleet.export("web"));
    assert_eq!(fork.in_service("web", None).len(), 5);
    assert_eq!(fork.in_service("web", None), fleet.in_service("web", None));
    fork.watch_service("web");
    let extremes = fork.service_extremes("web").expect("it is watched");
    let serving: u64 = extremes
        .groups
        .values()
        .map(|group| group.least_serving)
        .sum();
    assert_eq!(serving, 5);
}

#[test]
fn a_watch_says_what_was_least_and_most() {
    let mut fleet = fleet(6);
    assert_eq!(fleet.service_extremes("web"), None);
    fleet.watch_service("web");
    let ids = fleet.in_service("web", Some("web"));
    for id in &ids[..2] {
        fleet
            .restart(&ME, "web", id, &Default::default())
            .expect("restarted");
    }
    let new = create(&mut fleet, config("web", "1"), true);
    pass(&mut fleet, 20_000);
    fleet.destroy(&ME, "web", &new, true).expect("destroyed");
    pass(&mut fleet, 20_000);
    let groups = fleet.service_extremes("web").expect("it is watched").groups;
    let (web, worker) = (groups["web"], groups["worker"]);
    assert_eq!((web.least_serving, web.most_machines), (2, 5));
    assert_eq!((worker.least_serving, worker.most_machines), (2, 2));
    assert_eq!((web.longest_gap_ms, worker.longest_gap_ms), (0, 0));
    fleet.watch_service("web");
    let groups = fleet.service_extremes("web").expect("it is watched").groups;
    assert_eq!(
        (groups["web"].least_serving, groups["web"].most_machines),
        (4, 4)
    );
}

#[test]
fn a_watch_sees_checks_that_turn_in_silence() {
    let mut fleet = fleet(3);
    let request = UpdateRequest {
        config: config("worker", "sim-sickens"),
        ..UpdateRequest::default()
    };
    let worker = fleet.in_service("web", Some("worker")).remove(0);
    fleet
        .update(&ME, "web", &worker, &request)
        .expect("updated");
    // 1 s to stop, 1 s to update, 2 s to boot, 1 s to the first result.
    pass(&mut fleet, 6_000);
    fleet.watch_service("web");
    pass(&mut fleet, 2_999);
    let worker = |fleet: &Fleet| fleet.service_extremes("web").expect("watched").groups["worker"];
    assert_eq!(worker(&fleet).least_serving, 1);
    pass(&mut fleet, 1);
    assert_eq!(worker(&fleet).least_serving, 0);
    assert_eq!(worker(&fleet).longest_gap_ms, 0);
    pass(&mut fleet, 1_234);
    assert_eq!(worker(&fleet).longest_gap_ms, 1_234);
}

#[test]
fn a_gap_between_two_that_serve_is_measured() {
    let mut fleet = fleet(3);
    let worker = fleet.in_service("web", Some("worker")).remove(0);
    let green = create(&mut fleet, config("worker", "2"), true);
    pass(&mut fleet, 10_000);
    fleet.watch_service("web");
    fleet.cordon(&ME, "web", &worker).expect("cordoned");
    pass(&mut fleet, 700);
    fleet.uncordon(&ME, "web", &green).expect("uncordoned");
    pass(&mut fleet, 5_000);
    fleet.cordon(&ME, "web", &green).expect("cordoned");
    pass(&mut fleet, 300);
    fleet.uncordon(&ME, "web", &green).expect("uncordoned");
    pass(&mut fleet, 5_000);
    let groups = fleet.service_extremes("web").expect("it is watched").groups;
    assert_eq!(groups["worker"].longest_gap_ms, 700);
    assert_eq!(groups["worker"].least_serving, 0);
    assert_eq!(groups["web"].least_serving, 2);
}

#[test]
fn to_watch_changes_nothing() {
    let mut one = fleet(6);
    let mut other = one.clone();
    other.watch_service("web");
    for fleet in [&mut one, &mut other] {
        let id = fleet.machine_ids("web").remove(0);
        fleet
            .restart(&ME, "web", &id, &Default::default())
            .expect("restarted");
        assert!(fleet.next_due().is_some());
    }
    assert_eq!(one.next_due(), other.next_due());
    pass(&mut one, 10_000);
    pass(&mut other, 10_000);
    assert_eq!(one.next_due(), other.next_due());
    assert_eq!(one.export("web"), other.export("web"));
}
