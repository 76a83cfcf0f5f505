//! The procedure against a scripted host, in virtual time.

use std::time::Duration;

use groundcrew_plugin::testing::{Failure, TestHost, Tested, machine, with_more};
use groundcrew_plugin::{HostStatus, Kind, Summary};
use serde_json::{Value, json};

use super::*;

fn fleet(size: usize) -> TestHost {
    TestHost::new().machines((0..size).map(|n| machine("web", &format!("m{n:04}"))))
}

fn said(exit_code: i32, stdout: &str) -> Executed {
    Executed {
        exit_code,
        stdout: stdout.to_owned(),
        stderr: String::new(),
    }
}

fn unreachable(id: &str) -> Summary {
    Summary {
        host_status: HostStatus::Unreachable,
        ..machine("web", id)
    }
}

fn run(host: TestHost, input: Value) -> Tested<Report> {
    host.run_with(
        exec_on,
        with_more(json!({ "app": "web", "command": ["uname", "-r"] }), input),
    )
    .holding_nothing()
}

#[test]
fn runs_the_command_everywhere_and_collects_what_it_printed() {
    let tested = run(
        fleet(3).executed("m0001", said(0, "6.1\n")),
        json!({ "timeout": "30s" }),
    );
    let report = tested.result.as_ref().unwrap();
    assert_eq!(report.totals.succeeded, 3);
    assert_eq!(report.machines[1].stdout, "6.1\n");
    assert_eq!(report.machines[1].exit_code, Some(0));
    let of_first = tested.submitted.iter().filter(|it| it.subject == "m0000");
    let operations: Vec<_> = of_first.clone().map(|it| it.operation).collect();
    assert_eq!(
        operations,
        ["machines.lease", "machines.exec", "machines.release"]
    );
    let exec = of_first.clone().nth(1).unwrap();
    assert!(exec.options.contains(r#"["uname", "-r"]"#) && exec.options.contains("30000"));
}

#[test]
fn runs_on_so_many_at_once() {
    let tested = run(fleet(200), json!({ "parallel": 20 }));
    assert_eq!(tested.max_leased(), 20);
    let all = run(fleet(5000), json!({ "parallel": 5000 }));
    assert_eq!(all.result.unwrap().totals.succeeded, 5000);
}

#[test]
fn another_exit_code_fails_the_step_and_not_the_others() {
    let host = fleet(10).executed("m0000", said(3, "no such file"));
    let tested = run(host, json!({ "parallel": 1 }));
    let (kind, report) = tested.failed();
    assert_eq!(kind, Kind::Application);
    assert_eq!(report["totals"]["succeeded"], 9);
    assert_eq!(report["machines"][0]["exit_code"], 3);
    assert_eq!(report["machines"][0]["stdout"], "no such file");
    assert_eq!(
        tested.result.unwrap_err().message(),
        "9 succeeded, 1 failed; m0000: exit code 3"
    );
}

#[test]
fn so_many_failures_are_tolerated() {
    let host = || {
        fleet(3)
            .executed("m0000", said(1, ""))
            .machine(unreachable("dead"))
    };
    let report = run(host(), json!({ "tolerate": 2 })).result.unwrap();
    assert_eq!((report.totals.failed, report.totals.unreachable), (1, 1));
    assert!(run(host(), json!({ "tolerate": 1 })).result.is_err());
}

#[test]
fn machines_on_dead_hosts_fail_the_step_and_are_sent_nothing() {
    let tested = run(fleet(2).machine(unreachable("dead")), json!({}));
    let (kind, report) = tested.failed();
    assert_eq!(
        kind,
        Kind::Other,
        "a retry would run it on the others again"
    );
    assert_eq!(report["totals"]["unreachable"], 1);
    assert!(!tested.submitted.iter().any(|it| it.subject == "dead"));
}

#[test]
fn a_limit_takes_the_first_by_id() {
    let host = TestHost::new()
        .machine(machine("web", "c"))
        .machine(unreachable("a"))
        .machine(machine("web", "d"))
        .machine(machine("web", "b"));
    let tested = run(host, json!({ "limit": 2 }));
    assert_eq!(tested.subjects_of("machines.exec"), ["b", "c"]);
    assert!(tested.result.is_ok(), "there are two without `a`");

    let host = TestHost::new()
        .machine(unreachable("a"))
        .machine(machine("web", "b"));
    let (_, report) = run(host, json!({ "limit": 2 })).failed();
    assert_eq!(report["totals"]["unreachable"], 1);
}

#[test]
fn leaves_machines_alone_that_are_not_started() {
    let stopped = Summary {
        state: "stopped".to_owned(),
        ..machine("web", "stopped")
    };
    let tested = run(fleet(1).machine(stopped.clone()), json!({}));
    assert_eq!(tested.subjects_of("machines.exec"), ["m0000"]);
    assert_eq!(tested.result.unwrap().machines.len(), 1);

    let input = json!({ "include": ["m0001", "m0002", "stopped"], "exclude": ["m0002"] });
    let report = run(fleet(4).machine(stopped), input).result.unwrap();
    let reasons: Vec<_> = report
        .machines
        .iter()
        .map(|it| it.reason.as_deref())
        .collect();
    assert_eq!(reasons, [None, Some("excluded"), Some("is stopped")]);
}

#[test]
fn long_output_is_cut_and_says_so() {
    let long = format!("{}end", "é".repeat(4000));
    let host = || {
        fleet(2)
            .executed("m0000", said(0, &long))
            .executed("m0001", said(0, &"x".repeat(4096)))
    };
    let report = run(host(), json!({})).result.unwrap();
    let (first, second) = (&report.machines[0], &report.machines[1]);
    assert!(first.truncated && first.stdout.ends_with("éend"));
    assert!(first.stdout.len() <= 4096 && first.stdout.len() > 4090);
    assert!(!second.truncated && second.stdout.len() == 4096);
}

#[test]
fn what_thousands_print_still_fits_into_an_output() {
    let host = (0..5000).fold(fleet(5000), |host, n| {
        host.executed(&format!("m{n:04}"), said(0, &"\u{1}".repeat(16 << 10)))
    });
    let report = run(host, json!({})).result.unwrap();
    assert!(serde_json::to_string(&report).unwrap().len() < 8 << 20);
    assert!(report.machines.iter().all(|machine| machine.truncated));
}

#[test]
fn a_lost_answer_is_not_something_to_try_again() {
    let host = fleet(1).fail(
        "machines.exec",
        "m0000",
        Failure::Timeout("60 s".to_owned()),
    );
    assert_eq!(run(host, json!({})).failed().0, Kind::Other);
    let host = fleet(1).fail("machines.lease", "m0000", Failure::Conflict("x".to_owned()));
    assert_eq!(run(host, json!({})).failed().0, Kind::Conflict);
}

#[test]
fn an_interrupt_begins_with_no_further_machine() {
    let host = fleet(10).interrupt_after(Duration::from_millis(45));
    let tested = run(host, json!({ "parallel": 1, "tolerate": 10 }));
    let (kind, report) = tested.failed();
    assert_eq!(kind, Kind::Cancelled);
    assert_eq!(report["stopped_early"], true);
    assert!(tested.took < Duration::from_millis(100));
}

#[test]
fn nonsense_is_refused_before_anything_is_done() {
    for (wrong, message) in [
        (json!({ "command": [] }), "`command` names no program"),
        (json!({ "command": [""] }), "`command` names no program"),
        (
            json!({ "timeout": "61s" }),
            "`timeout` is 1m1s: a command may take from 1s to 1m",
        ),
        (
            json!({ "limit": 0 }),
            "`limit` is 0: then there is nothing to do",
        ),
    ] {
        let tested = run(fleet(1), wrong);
        let error = tested.result.as_ref().unwrap_err();
        assert_eq!((error.kind(), error.message()), (Kind::Invalid, message));
        assert!(tested.submitted.is_empty());
    }
    let tested = run(fleet(2), json!({ "include": ["m9999"], "group": "app" }));
    assert_eq!(
        tested.result.unwrap_err().message(),
        "not among the Machines of app `web`, group `app`: m9999"
    );
    let unknown = json!({ "app": "web", "command": ["true"], "shell": true });
    assert!(serde_json::from_value::<Input>(unknown).is_err());
}

#[test]
fn nowhere_to_run_is_a_warning() {
    let tested = run(fleet(1), json!({ "group": "nobody" }));
    assert_eq!(tested.result.unwrap().totals, Totals::default());
    assert_eq!(tested.notes, ["no Machine of `web` to run the command on"]);
}
