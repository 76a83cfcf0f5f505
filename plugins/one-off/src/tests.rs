//! The procedure against a scripted host, in virtual time. The listing is its first operation and
//! the create its second, so the new Machine is `new-2`.

use std::time::Duration;

use errand::Outcome;
use groundcrew_plugin::testing::{Failure, TestHost, Tested, machine, with_more};
use groundcrew_plugin::{Event, HostStatus, Kind, Summary};
use serde_json::{Value, json};

use super::*;

const MADE: &str = "new-2";

fn event(kind: &str, exit_code: Option<i32>) -> Event {
    Event {
        id: "01".to_owned(),
        kind: kind.to_owned(),
        status: "stopped".to_owned(),
        source: "flyd".to_owned(),
        at: 0,
        exit_code,
        out_of_memory: false,
        requested_stop: false,
        restart_count: 0,
    }
}

fn exits(code: i32) -> TestHost {
    host([event("exit", Some(code)), event("start", None)])
}

fn host(events: impl IntoIterator<Item = Event>) -> TestHost {
    TestHost::new()
        .machine(machine("web", "m2"))
        .machine(machine("web", "m1"))
        .events(MADE, events)
}

fn run(host: TestHost, input: Value) -> Tested<Report> {
    host.run_with(
        one_off,
        with_more(
            json!({ "app": "web", "command": ["bin/tidy", "--all"] }),
            input,
        ),
    )
}

fn options_of<'a>(tested: &'a Tested<Report>, operation: &str) -> &'a str {
    let mut submitted = tested.submitted.iter();
    &submitted
        .find(|it| it.operation == operation)
        .unwrap()
        .options
}

#[test]
fn makes_a_machine_waits_reads_and_destroys() {
    let tested = run(exits(0), json!({}));
    let operations: Vec<_> = tested.submitted.iter().map(|it| it.operation).collect();
    assert_eq!(
        operations,
        [
            "machines.list",
            "machines.create",
            "machines.wait",
            "machines.events",
            "machines.destroy"
        ]
    );
    assert_eq!(
        tested.subjects_of("machines.create"),
        ["m1"],
        "the first started one, by id, is the pattern"
    );
    let wait = options_of(&tested, "machines.wait");
    assert!(wait.contains("stopped") && wait.contains("made") && wait.contains("600000"));
    let report = tested.result.unwrap();
    assert_eq!(
        (report.result, report.exit_code, report.destroyed),
        (Outcome::Succeeded, Some(0), true)
    );
    assert_eq!((report.id.as_str(), report.reason), (MADE, None));
}

#[test]
fn the_machine_serves_nothing_and_counts_for_nothing() {
    let input = json!({
        "image": "registry.fly.io/web:2", "env": ["MODE=full", "EMPTY=", "URL=a=b"],
        "memory_mb": 2048, "cpus": 4, "region": "ams",
    });
    let tested = run(exits(0), input);
    let options = options_of(&tested, "machines.create").replace('\\', "");
    for part in [
        r#"image: Some("registry.fly.io/web:2")"#,
        r#"("fly_process_group", Some("groundcrew_one_off"))"#,
        r#"("MODE", Some("full"))"#,
        r#"("EMPTY", Some(""))"#,
        r#"("URL", Some("a=b"))"#,
        r#"region: Some("ams")"#,
        r#""cmd":["bin/tidy","--all"]"#,
        r#""exec":null"#,
        r#""policy":"no""#,
        r#""services":null"#,
        r#""checks":null"#,
        r#""schedule":null"#,
        r#""auto_destroy":null"#,
        r#""guest":{"cpus":4,"memory_mb":2048}"#,
        "launch: true",
    ] {
        assert!(options.contains(part), "{part} is not in {options}");
    }
    let plain = run(exits(0), json!({}));
    assert!(!options_of(&plain, "machines.create").contains("guest"));
}

#[test]
fn another_exit_code_is_the_commands_fault() {
    let tested = run(exits(3), json!({}));
    let (kind, report) = tested.failed();
    assert_eq!(kind, Kind::Application);
    assert_eq!(
        (&report["exit_code"], &report["destroyed"]),
        (&json!(3), &json!(true))
    );
    assert_eq!(report["reason"], "the command ended with exit code 3");
}

#[test]
fn an_exit_with_0_is_no_success_if_it_was_not_the_commands_own() {
    let stopped = Event {
        requested_stop: true,
        ..event("exit", Some(0))
    };
    let (kind, report) = run(host([stopped]), json!({})).failed();
    assert_eq!(
        (kind, &report["result"]),
        (Kind::Application, &json!("failed"))
    );

    let killed = Event {
        out_of_memory: true,
        ..event("exit", Some(137))
    };
    let (_, report) = run(host([killed]), json!({})).failed();
    assert_eq!(report["reason"], "the command ran out of memory");

    let (_, report) = run(host([event("exit", None)]), json!({})).failed();
    assert_eq!(report["result"], "unknown");
}

#[test]
fn it_is_destroyed_whatever_happens() {
    let late = Failure::Timeout("the Machine is `started`, not `stopped`".to_owned());
    let dead = Failure::Application("the Machine has failed".to_owned());
    for (operation, failure, kind) in [
        (
            "machines.wait",
            late,
            Kind::Other, // A retry would run the command again.
        ),
        ("machines.wait", dead, Kind::Application),
        (
            "machines.events",
            Failure::Unavailable("503".to_owned()),
            Kind::Other,
        ),
    ] {
        let tested = run(exits(0).fail(operation, MADE, failure), json!({}));
        let (failed_as, report) = tested.failed();
        assert_eq!(failed_as, kind);
        assert_eq!(tested.subjects_of("machines.destroy"), [MADE]);
        assert_eq!(
            (&report["result"], &report["destroyed"]),
            (&json!("unknown"), &json!(true))
        );
    }
}

#[test]
fn an_interrupt_leaves_no_machine_behind() {
    let host = exits(0)
        .delay("machines.wait", MADE, Duration::from_secs(300))
        .interrupt_after(Duration::from_secs(5));
    let tested = run(host, json!({}));
    let (kind, report) = tested.failed();
    assert_eq!(
        (kind, &report["destroyed"]),
        (Kind::Cancelled, &json!(true))
    );
    assert!(tested.took < Duration::from_secs(6));
}

#[test]
fn one_that_stays_behind_fails_the_step() {
    let refused = Failure::Unavailable("503".to_owned());
    let tested = run(exits(0).fail("machines.destroy", MADE, refused), json!({}));
    let (kind, report) = tested.failed();
    assert_eq!(kind, Kind::Other);
    assert_eq!(
        (&report["exit_code"], &report["destroyed"]),
        (&json!(0), &json!(false))
    );
    assert_eq!(
        report["reason"],
        "the command succeeded, and its Machine is still there: 503"
    );
    assert_eq!(tested.notes, ["new-2: it is still there: 503"]);
}

#[test]
fn an_exit_that_is_shown_late_is_waited_for() {
    let tested = run(host([event("start", None)]), json!({}));
    let (_, report) = tested.failed();
    assert_eq!(
        report["reason"],
        "it has stopped, and none of its events is an exit"
    );
    assert_eq!(tested.subjects_of("machines.events").len(), 5);
}

#[test]
fn no_room_may_pass_as_nothing_was_run() {
    let full = Failure::Capacity("no room in fra".to_owned());
    let tested = run(exits(0).fail("machines.create", "m1", full), json!({}));
    let error = tested.result.as_ref().unwrap_err();
    assert_eq!((error.kind(), error.output()), (Kind::Capacity, None));
    assert!(tested.subjects_of("machines.destroy").is_empty());
}

#[test]
fn the_pattern_is_one_whose_configuration_is_known() {
    let host = TestHost::new()
        .machine(Summary {
            host_status: HostStatus::Unreachable,
            ..machine("web", "m1")
        })
        .machine(Summary {
            standbys: vec!["m1".to_owned()],
            ..machine("web", "m2")
        })
        .machine(Summary {
            group: "worker".to_owned(),
            ..machine("web", "m3")
        })
        .machine(Summary {
            state: "stopped".to_owned(),
            ..machine("web", "m4")
        })
        .events(MADE, [event("exit", Some(0))]);
    let tested = run(host, json!({}));
    assert_eq!(tested.subjects_of("machines.create"), ["m4"]);

    let tested = run(exits(0), json!({ "group": "nobody" }));
    let error = tested.result.unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        (
            Kind::NotFound,
            "no reachable Machine in the group `nobody` of app `web` to take the configuration from"
        )
    );
}

#[test]
fn nonsense_is_refused_before_anything_is_done() {
    for (wrong, message) in [
        (json!({ "command": [] }), "`command` names no program"),
        (json!({ "image": " " }), "`image` is empty"),
        (json!({ "region": "" }), "`region` is empty"),
        (
            json!({ "cpus": 0 }),
            "`memory_mb` and `cpus` are at least 1",
        ),
    ] {
        let tested = run(exits(0), wrong);
        let error = tested.result.as_ref().unwrap_err();
        assert_eq!((error.kind(), error.message()), (Kind::Invalid, message));
        assert!(tested.submitted.is_empty());
    }
    let read = |env: &str| {
        let input = json!({ "app": "web", "command": ["true"], "env": [env] });
        serde_json::from_value::<Input>(input)
    };
    assert_eq!(
        read("hunter2").unwrap_err().to_string(),
        "an `env` entry of 7 characters has no `=`: it is written `KEY=VALUE`"
    );
    assert_eq!(
        read("=hunter2").unwrap_err().to_string(),
        "an `env` entry has no name before its `=`: it is written `KEY=VALUE`"
    );
    assert!(!format!("{:?}", read("KEY=hunter2").unwrap()).contains("hunter2"));
}
