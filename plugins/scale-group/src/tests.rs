//! The procedure against a scripted host, in virtual time. New Machines are called after the number
//! of the operation that made them: of one Machine that is the second, after the listing.

use std::time::Duration;

use groundcrew_plugin::testing::{Failure, TestHost, Tested, machine, with_more};
use groundcrew_plugin::{Check, CheckStatus, HostStatus, Mount, Summary};
use serde_json::{Value, json};

use super::*;

/// A started Machine whose check passes.
fn well(id: &str, region: &str) -> Summary {
    let check = Check {
        name: "http".to_owned(),
        status: CheckStatus::Passing,
        output: String::new(),
        updated_at: 0,
    };
    Summary {
        region: region.to_owned(),
        checks: vec![check],
        ..machine("web", id)
    }
}

fn in_state(id: &str, region: &str, state: &str) -> Summary {
    Summary {
        state: state.to_owned(),
        ..well(id, region)
    }
}

fn dead(id: &str, region: &str) -> Summary {
    Summary {
        host_status: HostStatus::Unreachable,
        ..well(id, region)
    }
}

fn standby(id: &str, of: &str) -> Summary {
    Summary {
        standbys: vec![of.to_owned()],
        ..in_state(id, "fra", "stopped")
    }
}

fn mounted(id: &str) -> Summary {
    Summary {
        mounts: vec![Mount {
            volume: "vol_1".to_owned(),
            path: "/data".to_owned(),
        }],
        ..well(id, "fra")
    }
}

fn group(machines: impl IntoIterator<Item = Summary>) -> TestHost {
    TestHost::new().machines(machines).keep_track()
}

/// So many that are well, `m0` and so on, in `fra`.
fn fleet(size: usize) -> TestHost {
    group((0..size).map(|n| well(&format!("m{n}"), "fra")))
}

fn run(host: TestHost, count: u32, input: Value) -> Tested<Report> {
    host.run_with(
        scale_group,
        with_more(
            json!({ "app": "web", "group": "app", "count": count }),
            input,
        ),
    )
    .holding_nothing()
}

/// The regions in which Machines were made, in order.
fn regions(tested: &Tested<Report>) -> Vec<&str> {
    let all = tested.submitted.iter();
    let creates = all.filter(|it| it.operation == "machines.create");
    creates
        .map(|it| {
            let (_, rest) = it.options.split_once("region: Some(\"").unwrap();
            rest.split_once('"').unwrap().0
        })
        .collect()
}

fn destroyed(machines: impl IntoIterator<Item = Summary>, count: u32, input: Value) -> Vec<String> {
    let input = with_more(json!({ "parallel": 1, "drain": "0s" }), input);
    let tested = run(group(machines), count, input);
    assert!(tested.result.is_ok(), "{:?}", tested.result);
    let destroyed = tested.subjects_of("machines.destroy").into_iter();
    destroyed.map(str::to_owned).collect()
}

#[test]
fn a_new_one_serves_when_its_checks_pass() {
    let tested = run(fleet(1), 2, json!({}));
    assert_eq!(
        tested.operations(),
        [
            ("machines.list", ""),
            ("machines.announce", ""),
            ("machines.create", "m0"),
            ("machines.wait-healthy", "new-3"),
            ("machines.uncordon", "new-3"),
            ("machines.list", "")
        ]
    );
    let create = &tested.submitted[2].options;
    assert!(create.contains("launch: true") && create.contains("cordoned: true"));
    let report = tested.result.unwrap();
    assert_eq!(
        (report.before, report.wanted, report.after),
        (1, 2, Some(2))
    );
    assert_eq!(report.totals.created, 1);
    let one = &report.machines[0];
    assert_eq!(one.id.as_deref(), Some("new-3"));
    assert_eq!(one.pattern.as_deref(), Some("m0"));
    assert_eq!(one.result, Outcome::Created);
}

#[test]
fn new_ones_even_out_the_regions() {
    let here = || group([well("a", "ams"), well("b", "ams"), well("f", "fra")]);
    let tested = run(here(), 7, json!({ "parallel": 1 }));
    assert_eq!(regions(&tested), ["fra", "ams", "fra", "ams"]);
    let elsewhere = json!({ "parallel": 1, "regions": ["nrt", "fra"] });
    let tested = run(here(), 7, elsewhere);
    assert_eq!(regions(&tested), ["nrt", "nrt", "fra", "nrt"]);
}

#[test]
fn a_new_one_is_like_what_most_of_the_group_runs() {
    let with = |image: &str, machine: Summary| Summary {
        image: image.to_owned(),
        ..machine
    };
    let ill = Summary {
        checks: Vec::new(),
        ..well("a", "fra")
    };
    let host = group([
        with("web:2", ill),
        with("web:2", well("b", "fra")),
        with("web:2", well("c", "fra")),
        with("web:1", well("d", "fra")),
        with("web:1", in_state("e", "fra", "stopped")),
        with("web:1", dead("f", "fra")),
        with("web:1", dead("g", "fra")),
        standby("s", "b"),
    ]);
    let tested = run(host, 8, json!({}));
    assert_eq!(tested.subjects_of("machines.create"), ["b"]);
    assert_eq!(
        tested.notes,
        ["the Machines of the group have 2 different images; new ones get the commonest"]
    );
    let report = tested.result.unwrap();
    assert_eq!(report.before, 7, "a standby does not count");

    let resting = group([dead("a", "fra"), in_state("b", "fra", "suspended")]);
    let tested = run(resting, 3, json!({}));
    assert_eq!(tested.subjects_of("machines.create"), ["b"]);
}

#[test]
fn without_a_pattern_nothing_is_made() {
    for host in [
        group([]),
        group([dead("m", "fra")]),
        group([standby("s", "m")]),
    ] {
        let tested = run(host, 2, json!({}));
        let error = tested.result.as_ref().unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound);
        assert_eq!(
            error.message(),
            "no reachable Machine in the group `app` of app `web` to take the configuration from"
        );
        assert_eq!(tested.submitted.len(), 1);
    }
}

#[test]
fn makes_so_many_at_once() {
    let tested = run(fleet(1), 30, json!({ "parallel": 7 }));
    assert_eq!(tested.max_in_flight, 7);
    assert_eq!(tested.result.unwrap().totals.created, 29);
}

#[test]
fn one_that_cannot_be_made_leaves_the_others_alone() {
    let host = group([well("a", "ams"), well("f", "fra")]).fail(
        "machines.create",
        "a",
        Failure::Capacity("no room".to_owned()),
    );
    let (kind, report) = run(host, 4, json!({})).failed();
    assert_eq!(kind, Kind::Capacity, "a retry makes what is missing");
    assert_eq!(report["totals"]["failed"], 2);
    assert_eq!(report["machines"][0]["id"], json!(null));
    assert_eq!(report["after"], 2);
}

#[test]
fn one_that_does_not_get_well_goes_again() {
    let late = Failure::Timeout("not healthy within 5m".to_owned());
    let tested = run(
        fleet(1).fail("machines.wait-healthy", "new-3", late.clone()),
        3,
        json!({ "parallel": 1 }),
    );
    assert_eq!(tested.subjects_of("machines.destroy"), ["new-3"]);
    let (kind, report) = tested.failed();
    assert_eq!(kind, Kind::Timeout);
    assert_eq!(
        (&report["after"], &report["before"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(
        tested.result.unwrap_err().message(),
        "there are 2 Machines, 3 are wanted: 1 created, 1 failed; new-3: it was destroyed again: \
         not healthy within 5m"
    );

    let host = fleet(1).fail("machines.wait-healthy", "new-3", late).fail(
        "machines.destroy",
        "new-3",
        Failure::Unavailable("503".to_owned()),
    );
    let (kind, report) = run(host, 2, json!({})).failed();
    assert_eq!(kind, Kind::Other, "there is one more than the report says");
    assert_eq!(
        report["machines"][0]["reason"],
        "not healthy within 5m; it is still there: 503"
    );
}

#[test]
fn an_app_that_does_not_come_up_is_not_tried_again_and_again() {
    let sick = Failure::Application("check `http` stays critical".to_owned());
    let host = fleet(1).fail("machines.wait-healthy", "new-3", sick);
    let tested = run(host, 20, json!({ "parallel": 1 }));
    let (kind, report) = tested.failed();
    assert_eq!(kind, Kind::Application);
    assert_eq!(report["totals"]["not_attempted"], 18);
    assert_eq!(tested.subjects_of("machines.create").len(), 1);
}

#[test]
fn an_old_one_leaves_service_before_it_is_stopped_and_destroyed() {
    let tested = run(fleet(2), 1, json!({}));
    assert_eq!(
        tested.operations(),
        [
            ("machines.list", ""),
            ("machines.announce", ""),
            ("machines.lease", "m1"),
            ("machines.get", "m1"),
            ("machines.cordon", "m1"),
            ("operations.sleep", ""),
            ("machines.stop", "m1"),
            ("machines.wait", "m1"),
            ("machines.destroy", "m1"),
            ("machines.release", "m1"),
            ("machines.list", "")
        ]
    );
    assert!(tested.took > Duration::from_secs(5));
    let report = tested.result.unwrap();
    assert_eq!(
        (report.before, report.after, report.totals.destroyed),
        (2, Some(1), 1)
    );
}

#[test]
fn what_serves_nobody_is_not_drained() {
    let worker = Summary {
        services: 0,
        ..well("w", "fra")
    };
    let tested = run(group([well("a", "fra"), worker]), 1, json!({}));
    assert_eq!(
        tested.operations()[2..8],
        [
            ("machines.lease", "w"),
            ("machines.get", "w"),
            ("machines.stop", "w"),
            ("machines.wait", "w"),
            ("machines.destroy", "w"),
            ("machines.release", "w"),
        ]
    );
    let resting = in_state("b", "fra", "stopped");
    let tested = run(group([well("a", "fra"), resting]), 1, json!({}));
    assert_eq!(
        tested.operations()[2..6],
        [
            ("machines.lease", "b"),
            ("machines.get", "b"),
            ("machines.destroy", "b"),
            ("machines.release", "b")
        ]
    );
    let tested = run(group([well("a", "fra"), dead("b", "fra")]), 1, json!({}));
    assert_eq!(tested.operations()[2..3], [("machines.destroy", "b")]);
}

#[test]
fn what_does_not_work_loses_first_then_the_crowded_regions_then_the_highest_ids() {
    let ill = Summary {
        checks: Vec::new(),
        ..well("a", "nrt")
    };
    let machines = [
        ill,
        well("b", "ams"),
        well("c", "ams"),
        well("d", "ams"),
        well("e", "fra"),
        well("f", "fra"),
        dead("g", "fra"),
        in_state("h", "nrt", "failed"),
        in_state("i", "nrt", "stopped"),
        well("z", "sin"),
        standby("s", "e"),
    ];
    assert_eq!(
        destroyed(machines.clone(), 1, json!({})),
        ["i", "g", "h", "a", "d", "f", "c", "z", "e"]
    );
    assert_eq!(destroyed(machines, 8, json!({})), ["i", "g"]);
}

#[test]
fn a_standby_stays_and_is_missed() {
    let tested = run(fleet(2).machine(standby("s", "m1")), 1, json!({}));
    assert_eq!(tested.subjects_of("machines.destroy"), ["m1"]);
    assert_eq!(
        tested.notes,
        ["these stand by for a Machine that is destroyed: s"]
    );
}

#[test]
fn leases_only_what_it_touches() {
    let tested = run(fleet(30), 10, json!({ "parallel": 7 }));
    assert_eq!(tested.max_leased(), 7);
    assert_eq!(tested.subjects_of("machines.lease").len(), 20);
    assert_eq!(tested.result.unwrap().totals.destroyed, 20);
}

#[test]
fn an_interrupt_while_draining_puts_it_back_into_service() {
    let host = fleet(3).interrupt_after(Duration::from_secs(3));
    let tested = run(host, 1, json!({ "parallel": 1 }));
    let (kind, report) = tested.failed();
    assert_eq!(kind, Kind::Cancelled);
    assert_eq!(
        tested.operations()[5..8],
        [
            ("operations.sleep", ""),
            ("machines.uncordon", "m2"),
            ("machines.release", "m2")
        ]
    );
    assert!(tested.subjects_of("machines.stop").is_empty());
    assert!(tested.subjects_of("machines.destroy").is_empty());
    assert_eq!(report["machines"][0]["result"], "not-attempted");
    assert_eq!(report["machines"][1]["result"], "failed");
    assert!(tested.took < Duration::from_secs(4));
}

#[test]
fn an_interrupt_leaves_no_new_machine_behind() {
    let host = fleet(1)
        .delay("machines.wait-healthy", "new-3", Duration::from_secs(60))
        .interrupt_after(Duration::from_secs(3));
    let tested = run(host, 3, json!({ "parallel": 1 }));
    assert_eq!(tested.failed().0, Kind::Cancelled);
    assert_eq!(tested.subjects_of("machines.destroy"), ["new-3"]);
    assert_eq!(tested.subjects_of("machines.create").len(), 1);
}

#[test]
fn one_that_cannot_be_stopped_serves_again() {
    let host = fleet(2).fail(
        "machines.stop",
        "m1",
        Failure::Unavailable("503".to_owned()),
    );
    let tested = run(host, 1, json!({}));
    assert_eq!(tested.subjects_of("machines.uncordon"), ["m1"]);
    assert!(tested.subjects_of("machines.destroy").is_empty());
    assert_eq!(tested.failed().0, Kind::Unavailable);

    let host = fleet(2).fail("machines.wait", "m1", Failure::Timeout("5m".to_owned()));
    let tested = run(host, 1, json!({ "stop_timeout": "90s" }));
    assert!(tested.subjects_of("machines.uncordon").is_empty());
    assert!(tested.subjects_of("machines.destroy").is_empty());
    let stop = tested
        .submitted
        .iter()
        .find(|it| it.operation == "machines.stop");
    assert!(stop.unwrap().options.contains("90000"));
    assert_eq!(
        tested.failed().1["machines"][0]["reason"],
        "it was told to stop and is out of service: 5m"
    );
}

#[test]
fn a_lease_of_somebody_else_is_respected() {
    let leased = Summary {
        lease_owner: Some("deploy@example".to_owned()),
        ..well("m9", "fra")
    };
    let tested = run(fleet(2).machine(leased), 1, json!({}));
    assert_eq!(tested.failed().0, Kind::Conflict);
    assert_eq!(tested.subjects_of("machines.destroy"), ["m1"]);
}

#[test]
fn volumes_are_not_made_and_not_left_behind_unasked() {
    let refused = |machines: Vec<Summary>, count| {
        let tested = run(group(machines), count, json!({}));
        assert_eq!(tested.submitted.len(), 1);
        let error = tested.result.unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
        error.message().to_owned()
    };
    assert_eq!(
        refused(vec![well("a", "fra"), mounted("d")], 3),
        "the group `app` has volumes (one is mounted in d) and cannot grow here: no new volumes \
         are made"
    );
    assert_eq!(
        refused(vec![well("a", "fra"), mounted("d"), mounted("e")], 1),
        "2 Machines have to go, and only 1 of the group have no volume mounted: `allow_mounts` \
         destroys the others too"
    );
    let machines = || [well("a", "fra"), mounted("d"), mounted("e")];
    assert_eq!(destroyed(machines(), 2, json!({})), ["a"]);
    assert_eq!(
        destroyed(machines(), 1, json!({ "allow_mounts": true })),
        ["e", "d"]
    );
}

#[test]
fn nothing_is_done_when_there_are_as_many_already() {
    let going = in_state("gone", "fra", "destroying");
    let tested = run(fleet(3).machine(going), 3, json!({}));
    assert_eq!(tested.operations(), [("machines.list", "")]);
    assert_eq!(tested.notes, ["there are 3 already"]);
    let report = tested.result.unwrap();
    assert!(report.already && report.machines.is_empty());
    assert_eq!((report.before, report.after), (3, Some(3)));
}

#[test]
fn a_last_look_that_does_not_show_what_was_done_is_no_reason_for_a_retry() {
    let blind = TestHost::new().machine(well("m0", "fra"));
    let tested = run(blind, 2, json!({}));
    let (kind, report) = tested.failed();
    assert_eq!((kind, &report["after"]), (Kind::Other, &json!(1)));
    assert_eq!(
        tested.result.unwrap_err().message(),
        "there are 1 Machines, 2 are wanted: 1 created"
    );
}

#[test]
fn nonsense_is_refused_before_anything_is_done() {
    for (count, input, message) in [
        (
            0,
            json!({}),
            "`count` is 0, which destroys the whole group: that takes `allow_zero`",
        ),
        (
            1,
            json!({ "regions": ["fra", "ams", "fra"] }),
            "`regions` names fra twice",
        ),
        (
            1,
            json!({ "stop_timeout": "10m" }),
            "`stop_timeout` is 10m, and no stop is awaited for longer than `wait_timeout`, 5m",
        ),
    ] {
        let tested = run(fleet(2), count, input);
        let error = tested.result.as_ref().unwrap_err();
        assert_eq!((error.kind(), error.message()), (Kind::Invalid, message));
        assert!(tested.submitted.is_empty());
    }
    let machines = [well("a", "fra"), well("b", "fra")];
    assert_eq!(
        destroyed(machines, 0, json!({ "allow_zero": true })),
        ["b", "a"]
    );
}
