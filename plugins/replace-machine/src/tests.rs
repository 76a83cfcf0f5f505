//! The procedure against a scripted host, in virtual time. New Machines are called after the number
//! of the operation that made them: of one Machine on a reachable host that is the third.

use std::time::Duration;

use groundcrew_plugin::testing::{Failure, TestHost, Tested, machine, with_more};
use groundcrew_plugin::{HostStatus, Kind, Mount, Summary};
use serde_json::{Value, json};

use super::*;

fn fleet(size: usize) -> TestHost {
    let machines = (0..size).map(|n| machine("web", &format!("m{n}")));
    TestHost::new().machines(machines).keep_track()
}

fn dead(id: &str, region: &str) -> Summary {
    Summary {
        host_status: HostStatus::Unreachable,
        region: region.to_owned(),
        ..machine("web", id)
    }
}

fn in_region(id: &str, region: &str) -> Summary {
    Summary {
        region: region.to_owned(),
        ..machine("web", id)
    }
}

fn run(host: TestHost, ids: &[&str], input: Value) -> Tested<Report> {
    host.run_with(
        replace_machine,
        with_more(json!({ "app": "web", "ids": ids }), input),
    )
    .holding_nothing()
}

fn create_of(tested: &Tested<Report>) -> String {
    let mut all = tested.submitted.iter();
    let create = all.find(|it| it.operation == "machines.create").unwrap();
    create.options.replace('\\', "")
}

#[test]
fn the_new_one_is_in_order_before_the_old_one_goes() {
    let tested = run(fleet(2), &["m1"], json!({}));
    assert_eq!(
        tested.operations(),
        [
            ("machines.list", ""),
            ("machines.announce", ""),
            ("machines.lease", "m1"),
            ("machines.create", "m1"),
            ("machines.wait-healthy", "new-4"),
            ("machines.uncordon", "new-4"),
            ("machines.destroy", "m1"),
            ("machines.release", "m1"),
            ("machines.list", "")
        ]
    );
    let create = create_of(&tested);
    assert!(create.contains("launch: true") && create.contains("cordoned: true"));
    let report = tested.result.unwrap();
    assert_eq!(report.totals.replaced, 1);
    let one = &report.machines[0];
    assert_eq!(one.replacement.as_deref(), Some("new-4"));
    assert_eq!((one.pattern.as_deref(), one.destroyed), (Some("m1"), true));
    assert!(report.missed.is_empty());
}

#[test]
fn replaces_so_many_at_once() {
    let ids: Vec<String> = (0..30).map(|n| format!("m{n}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let tested = run(fleet(30), &ids, json!({ "parallel": 7 }));
    assert_eq!(tested.max_leased(), 7);
    assert_eq!(tested.result.unwrap().totals.replaced, 30);
}

#[test]
fn one_on_a_dead_host_is_made_like_another_of_its_group_and_region() {
    let host = TestHost::new()
        .machine(in_region("a", "ams"))
        .machine(in_region("f", "fra"))
        .machine(Summary {
            group: "worker".to_owned(),
            ..in_region("b", "fra")
        })
        .machine(dead("m", "fra"))
        .machine(dead("n", "fra"))
        .keep_track();
    let tested = run(host, &["m"], json!({}));
    assert_eq!(tested.subjects_of("machines.create"), ["f"]);
    assert!(tested.subjects_of("machines.lease").is_empty());
    assert_eq!(tested.subjects_of("machines.destroy"), ["m"]);
    assert_eq!(tested.result.unwrap().totals.replaced, 1);
}

#[test]
fn its_region_stays_when_the_pattern_is_elsewhere() {
    let host = TestHost::new()
        .machine(in_region("a", "ams"))
        .machine(dead("m", "fra"))
        .keep_track();
    let tested = run(host, &["m"], json!({}));
    assert!(create_of(&tested).contains(r#"region: Some("fra")"#));
    assert!(tested.result.is_ok());
}

#[test]
fn without_a_pattern_nothing_is_sent() {
    let tested = run(TestHost::new().machine(dead("m", "fra")), &["m"], json!({}));
    let (_, report) = tested.failed();
    assert_eq!(report["machines"][0]["result"], "refused");
    assert_eq!(
        report["machines"][0]["reason"],
        "its host is not reached, so its configuration is not known, and the group `app` has no \
         other Machine to take a configuration from"
    );
    assert_eq!(tested.submitted.len(), 1);
}

#[test]
fn volumes_do_not_move() {
    let host = || {
        fleet(1).machine(Summary {
            mounts: vec![Mount {
                volume: "vol_1".to_owned(),
                path: "/data".to_owned(),
            }],
            ..machine("web", "data")
        })
    };
    let tested = run(host(), &["data", "m0"], json!({}));
    let (kind, report) = tested.failed();
    assert_eq!(
        (kind, &report["totals"]["replaced"]),
        (Kind::Other, &json!(1))
    );
    assert_eq!(
        tested.result.unwrap_err().message(),
        "1 replaced, 1 refused; data: has vol_1 mounted, and volumes do not move: `allow_mounts` \
         replaces it without"
    );
    let tested = run(host(), &["data"], json!({ "allow_mounts": true }));
    assert_eq!(tested.result.unwrap().totals.replaced, 1);
}

#[test]
fn a_standby_stays_a_standby_and_is_not_started() {
    let standby = Summary {
        state: "stopped".to_owned(),
        standbys: vec!["m0".to_owned()],
        ..machine("web", "s")
    };
    let tested = run(fleet(1).machine(standby.clone()), &["s"], json!({}));
    let create = create_of(&tested);
    assert!(create.contains(r#"standbys: Some(["m0"])"#) && create.contains("launch: false"));
    assert!(tested.subjects_of("machines.wait-healthy").is_empty());
    assert_eq!(tested.result.unwrap().totals.replaced, 1);

    let tested = run(fleet(1).machine(standby), &["m0"], json!({}));
    assert_eq!(
        tested.notes,
        ["these stand by for a Machine that is replaced, and not for the new one: s"]
    );
}

#[test]
fn what_was_cordoned_stays_out_of_service() {
    let cordoned = Summary {
        cordoned: true,
        ..machine("web", "c")
    };
    let tested = run(fleet(1).machine(cordoned), &["c"], json!({}));
    assert!(create_of(&tested).contains("cordoned: true"));
    assert!(tested.subjects_of("machines.uncordon").is_empty());
    assert_eq!(tested.result.unwrap().totals.replaced, 1);
}

#[test]
fn a_replacement_that_does_not_get_well_goes_and_the_old_one_stays() {
    let sick = Failure::Application("check `http` stays critical".to_owned());
    let host = fleet(2).fail("machines.wait-healthy", "new-4", sick);
    let tested = run(host, &["m1"], json!({}));
    let (kind, report) = tested.failed();
    assert_eq!(kind, Kind::Application);
    assert_eq!(tested.subjects_of("machines.destroy"), ["new-4"]);
    let one = &report["machines"][0];
    assert_eq!(
        (&one["destroyed"], &one["replacement"]),
        (&json!(false), &json!(null))
    );
    assert_eq!(
        one["reason"],
        "the replacement new-4 was destroyed again: check `http` stays critical"
    );
}

#[test]
fn a_replacement_that_stays_against_our_will_is_no_reason_for_a_retry() {
    let host = fleet(2)
        .fail(
            "machines.wait-healthy",
            "new-4",
            Failure::Timeout("no checks".to_owned()),
        )
        .fail(
            "machines.destroy",
            "new-4",
            Failure::Unavailable("503".to_owned()),
        );
    let (kind, report) = run(host, &["m1"], json!({})).failed();
    assert_eq!(kind, Kind::Other);
    assert_eq!(
        report["machines"][0]["reason"],
        "no checks; the replacement new-4 is still there: 503"
    );
}

#[test]
fn one_that_cannot_be_destroyed_is_reported_beside_its_replacement() {
    let refused = Failure::Unavailable("503".to_owned());
    let tested = run(
        fleet(2).fail("machines.destroy", "m1", refused),
        &["m1"],
        json!({}),
    );
    let (kind, report) = tested.failed();
    assert_eq!(kind, Kind::Other, "a retry would make one more");
    assert_eq!(report["machines"][0]["replacement"], "new-4");
    assert_eq!(tested.subjects_of("machines.destroy"), ["m1"]);
}

#[test]
fn without_room_the_old_one_goes_first() {
    let tested = run(fleet(2), &["m1"], json!({ "destroy_first": true }));
    assert_eq!(
        tested.operations()[2..7],
        [
            ("machines.lease", "m1"),
            ("machines.destroy", "m1"),
            ("machines.create", "m0"),
            ("machines.wait-healthy", "new-5"),
            ("machines.uncordon", "new-5"),
        ]
    );
    assert_eq!(tested.result.unwrap().totals.replaced, 1);

    let full = Failure::Capacity("no room in fra".to_owned());
    let host = fleet(2).fail("machines.create", "m0", full);
    let (kind, report) = run(host, &["m1"], json!({ "destroy_first": true })).failed();
    assert_eq!(kind, Kind::Other, "a retry would not find it");
    assert_eq!(
        report["machines"][0]["reason"],
        "it is destroyed, and there is no replacement: no room in fra"
    );
}

#[test]
fn no_room_may_pass_as_long_as_nothing_was_done() {
    let full = Failure::Capacity("no room in fra".to_owned());
    let host = fleet(2).fail("machines.create", "m1", full);
    assert_eq!(run(host, &["m1"], json!({})).failed().0, Kind::Capacity);
    let leased = Summary {
        lease_owner: Some("deploy@example".to_owned()),
        ..machine("web", "m9")
    };
    let tested = run(fleet(1).machine(leased), &["m9"], json!({}));
    assert_eq!(tested.failed().0, Kind::Conflict);
    assert!(tested.subjects_of("machines.create").is_empty());
}

#[test]
fn a_last_look_tells_what_did_not_come_true() {
    let machines = (0..2).map(|n| machine("web", &format!("m{n}")));
    let blind = TestHost::new().machines(machines);
    let (_, report) = run(blind, &["m1"], json!({})).failed();
    assert_eq!(
        report["missed"],
        json!([
            "m1 was destroyed and is still there",
            "new-4 replaced m1 and is gone"
        ])
    );
}

#[test]
fn an_interrupt_leaves_no_replacement_behind() {
    let host = fleet(3)
        .delay("machines.wait-healthy", "new-4", Duration::from_secs(300))
        .interrupt_after(Duration::from_secs(5));
    let tested = run(host, &["m1", "m2"], json!({ "parallel": 1 }));
    let (kind, report) = tested.failed();
    assert_eq!(kind, Kind::Cancelled);
    assert_eq!(tested.subjects_of("machines.destroy"), ["new-4"]);
    assert_eq!(report["machines"][1]["result"], "not-attempted");
    assert!(tested.took < Duration::from_secs(6));
}

#[test]
fn nonsense_is_refused_before_anything_is_done() {
    for (ids, message) in [
        (&[][..], "`ids` names no Machine"),
        (&["m0", "m1", "m0"], "`ids` names m0 twice"),
        (&["m0", "m9"], "not among the Machines of app `web`: m9"),
    ] {
        let tested = run(fleet(2), ids, json!({}));
        let error = tested.result.as_ref().unwrap_err();
        assert_eq!((error.kind(), error.message()), (Kind::Invalid, message));
        assert!(tested.submitted.len() <= 1);
    }
}
