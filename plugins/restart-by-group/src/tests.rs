//! The procedure against a scripted host, in virtual time.

use std::time::Duration;

use groundcrew_plugin::testing::{Failure, TestHost, Tested, machine, with_more};
use groundcrew_plugin::{HostStatus, Kind, Summary};
use serde_json::{Value, json};

use super::*;

fn fleet(size: usize) -> TestHost {
    TestHost::new().machines((0..size).map(|n| machine("web", &format!("m{n:04}"))))
}

fn run(host: TestHost, input: Value) -> Tested<Report> {
    host.run_with(restart_by_group, with_more(json!({ "app": "web" }), input))
        .holding_nothing()
}

fn sick() -> Failure {
    Failure::Application("the check `http` stays critical".to_owned())
}

#[test]
fn restarts_every_machine_under_its_lease() {
    let tested = run(fleet(3), json!({}));
    let report = tested.result.as_ref().unwrap();
    assert_eq!(
        report.totals,
        Totals {
            restarted: 3,
            ..Totals::default()
        }
    );
    assert!(!report.stopped_early);
    let of_first: Vec<_> = tested
        .submitted
        .iter()
        .filter(|it| it.subject == "m0000")
        .collect();
    let operations: Vec<_> = of_first.iter().map(|it| it.operation).collect();
    assert_eq!(
        operations,
        [
            "machines.lease",
            "machines.restart",
            "machines.wait",
            "machines.wait-healthy",
            "machines.release"
        ]
    );
    assert!(
        of_first[2].options.contains("baseline"),
        "the wait ignores what was before the restart"
    );
    assert!(
        of_first[3].options.contains("baseline"),
        "old check results do not count"
    );
}

#[test]
fn works_on_so_many_at_once_and_on_the_canary_alone() {
    let tested = run(fleet(5000), json!({ "parallel": 500 }));
    assert_eq!(tested.result.as_ref().unwrap().totals.restarted, 5000);
    assert_eq!(tested.max_leased(), 500);
    let announced = tested.submitted.iter();
    let announced = announced.filter(|it| it.operation == "machines.announce");
    let bytes: Vec<usize> = announced.map(|it| it.options.len()).collect();
    // What the host takes in one request.
    assert!(
        bytes.len() == 2 && bytes.iter().all(|bytes| *bytes < 64 << 10),
        "{bytes:?}"
    );
    let second = tested
        .submitted
        .iter()
        .find(|it| it.subject == "m0001")
        .unwrap();
    let canary_ends = tested
        .submitted
        .iter()
        .find(|it| it.operation == "machines.release")
        .unwrap();
    assert!(
        second.at > canary_ends.at,
        "nothing is sent before the canary is back"
    );
}

#[test]
fn five_thousand_at_once() {
    let tested = run(fleet(5000), json!({ "parallel": 5000, "canary": false }));
    assert_eq!(tested.result.as_ref().unwrap().totals.restarted, 5000);
    assert_eq!(tested.max_leased(), 5000);
}

#[test]
fn a_failed_canary_stops_everything() {
    let host = fleet(10).fail("machines.wait-healthy", "m0000", sick());
    let tested = run(host, json!({ "max_failures": 5 }));
    let (kind, report) = tested.failed();
    assert_eq!(kind, Kind::Application);
    assert_eq!(tested.subjects_of("machines.restart"), ["m0000"]);
    assert_eq!(report["totals"]["not_attempted"], 9);
    assert_eq!(report["stopped_early"], true);
    assert_eq!(
        report["machines"][0]["reason"],
        "the check `http` stays critical"
    );
}

#[test]
fn stops_once_more_fail_than_may() {
    let sick_ones = |host: TestHost| {
        ["m0003", "m0005"].iter().fold(host, |host, id| {
            host.fail("machines.wait-healthy", id, sick())
        })
    };
    let tested = run(
        sick_ones(fleet(10)),
        json!({ "parallel": 1, "max_failures": 1 }),
    );
    let (_, report) = tested.failed();
    assert_eq!(
        (
            &report["totals"]["restarted"],
            &report["totals"]["not_attempted"]
        ),
        (&json!(4), &json!(4))
    );

    let tested = run(
        sick_ones(fleet(10)),
        json!({ "parallel": 1, "max_failures": 2 }),
    );
    let (_, report) = tested.failed();
    assert_eq!(
        (&report["totals"]["restarted"], &report["stopped_early"]),
        (&json!(8), &json!(false))
    );
}

#[test]
fn those_in_flight_finish_when_it_stops() {
    let host = fleet(10).fail("machines.restart", "m0002", sick());
    let tested = run(host, json!({ "parallel": 4 }));
    let (_, report) = tested.failed();
    assert_eq!(
        (&report["totals"]["restarted"], &report["totals"]["failed"]),
        (&json!(4), &json!(1))
    );
}

#[test]
fn max_unavailable_lowers_parallel() {
    for (most, at_once) in [("10", 10), ("25%", 5), ("1%", 1), ("100%", 20), ("500", 20)] {
        let tested = run(
            fleet(20),
            json!({ "canary": false, "max_unavailable": most }),
        );
        assert_eq!(tested.max_leased(), at_once, "{most}");
    }
    for wrong in ["0", "0%", "101%", "-1", "ten", "%", ""] {
        let input = json!({ "app": "web", "max_unavailable": wrong });
        assert!(serde_json::from_value::<Input>(input).is_err(), "{wrong}");
    }
}

#[test]
fn leaves_stopped_machines_and_standbys_alone() {
    let host = fleet(1)
        .machine(Summary {
            state: "stopped".to_owned(),
            ..machine("web", "stopped")
        })
        .machine(Summary {
            standbys: vec!["m0000".to_owned()],
            ..machine("web", "standby")
        })
        .machine(Summary {
            group: "worker".to_owned(),
            ..machine("web", "worker")
        })
        .machine(machine("other", "elsewhere"));
    let tested = run(host, json!({ "group": "app" }));
    assert_eq!(tested.subjects_of("machines.restart"), ["m0000"]);
    assert_eq!(tested.result.unwrap().machines.len(), 1);
}

#[test]
fn includes_and_excludes_by_id() {
    let stopped = Summary {
        state: "stopped".to_owned(),
        ..machine("web", "stopped")
    };
    let input = json!({ "include": ["m0001", "m0002", "stopped"], "exclude": ["m0002"] });
    let tested = run(fleet(5).machine(stopped), input);
    assert_eq!(tested.subjects_of("machines.restart"), ["m0001"]);
    let report = tested.result.unwrap();
    let reasons: Vec<_> = report
        .machines
        .iter()
        .map(|it| it.reason.as_deref())
        .collect();
    assert_eq!(reasons, [None, Some("excluded"), Some("is stopped")]);
}

#[test]
fn refuses_unknown_ids_before_it_does_anything() {
    let tested = run(
        fleet(2),
        json!({ "include": ["m0001", "m9999"], "group": "app" }),
    );
    let error = tested.result.as_ref().unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert_eq!(
        error.message(),
        "not among the Machines of app `web`, group `app`: m9999"
    );
    assert_eq!(tested.submitted.len(), 1);
}

#[test]
fn nothing_to_restart_is_a_warning() {
    let tested = run(fleet(2), json!({ "group": "nobody" }));
    assert_eq!(tested.result.unwrap().totals, Totals::default());
    assert_eq!(tested.notes, ["no Machine of `web` to restart"]);
}

#[test]
fn dead_hosts_are_reported_and_stop_nobody() {
    let host = fleet(3)
        .machine(Summary {
            host_status: HostStatus::Unreachable,
            ..machine("web", "dead")
        })
        .machine(Summary {
            host_status: HostStatus::Unknown,
            ..machine("web", "lost")
        });
    let tested = run(host, json!({}));
    let (kind, report) = tested.failed();
    assert_eq!(
        kind,
        Kind::Other,
        "a retry would restart the other three again"
    );
    assert_eq!(
        (
            &report["totals"]["restarted"],
            &report["totals"]["unreachable"]
        ),
        (&json!(3), &json!(2))
    );
    assert!(!tested.submitted.iter().any(|it| it.subject == "dead"));
    assert_eq!(
        tested.result.unwrap_err().message(),
        "3 restarted, 2 on unreachable hosts"
    );
}

#[test]
fn somebody_elses_lease_fails_that_machine_only() {
    let leased = Summary {
        lease_owner: Some("deploy@example".to_owned()),
        ..machine("web", "m9")
    };
    let tested = run(fleet(3).machine(leased), json!({ "max_failures": 1 }));
    let (kind, report) = tested.failed();
    assert_eq!(
        (kind, &report["totals"]["restarted"]),
        (Kind::Other, &json!(3))
    );
    assert_eq!(tested.subjects_of("machines.restart").len(), 3);
}

#[test]
fn what_may_pass_is_transient_only_if_nothing_was_restarted() {
    let host = fleet(3).fail(
        "machines.lease",
        "m0000",
        Failure::RateLimited("too many requests".to_owned()),
    );
    assert_eq!(run(host, json!({})).failed().0, Kind::RateLimited);
}

#[test]
fn an_interrupt_ends_it_and_gives_leases_back() {
    let host = fleet(20)
        .delay("machines.wait", "m0004", Duration::from_secs(60))
        .interrupt_after(Duration::from_millis(95));
    let tested = run(host, json!({ "parallel": 5 }));
    let (kind, report) = tested.failed();
    assert_eq!(kind, Kind::Cancelled);
    assert_eq!(report["stopped_early"], true);
    assert_eq!(report["totals"]["restarted"], 1);
    assert!(tested.took < Duration::from_secs(1));
}

#[test]
fn a_partial_listing_restarts_nothing() {
    let tested = run(fleet(3).missing_region("ams"), json!({}));
    assert_eq!(
        tested.result.as_ref().unwrap_err().kind(),
        Kind::Unavailable
    );
    assert_eq!(tested.submitted.len(), 1);
}

#[test]
fn skips_health_checks_on_request() {
    let tested = run(
        fleet(2),
        json!({ "skip_health_checks": true, "signal": "SIGINT", "stop_timeout": "30s" }),
    );
    assert!(tested.result.is_ok());
    assert!(tested.subjects_of("machines.wait-healthy").is_empty());
    let restart = tested
        .submitted
        .iter()
        .find(|it| it.operation == "machines.restart")
        .unwrap();
    assert!(
        restart.options.contains("SIGINT") && restart.options.contains("30000"),
        "{}",
        restart.options
    );
}
