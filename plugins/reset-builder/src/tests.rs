//! The procedure against a scripted host, in virtual time.

use std::time::Duration;

use groundcrew_plugin::testing::{Failure, TestHost, Tested, machine};
use groundcrew_plugin::{App, HostStatus, Summary};
use serde_json::{Value, json};

use super::*;

const APP: &str = "fly-builder-calm-pine-7";

fn builders(ids: &[&str]) -> TestHost {
    TestHost::new().machines(ids.iter().map(|id| machine(APP, id)))
}

fn run(host: TestHost, app: &str) -> Tested<Report> {
    run_with(host, json!({ "app": app }))
}

fn run_with(host: TestHost, input: Value) -> Tested<Report> {
    host.run_with(reset_builder, input).holding_nothing()
}

fn operations(tested: &Tested<Report>) -> Vec<&str> {
    tested.submitted.iter().map(|it| it.operation).collect()
}

/// The builder app is to be deleted, and is there.
fn delete(host: TestHost) -> Tested<Report> {
    let app = App {
        name: APP.to_owned(),
        organisation: "acme".to_owned(),
        status: "deployed".to_owned(),
        machines: 1,
        volumes: 2,
    };
    run_with(host.app(app), json!({ "app": APP, "delete_app": true }))
}

#[test]
fn destroys_every_machine_of_the_builder_and_nothing_else() {
    let host = builders(&["b1", "b2"]).machine(machine("web", "m1"));
    let tested = run(host, APP);
    assert_eq!(tested.subjects_of("machines.destroy"), ["b1", "b2"]);
    assert_eq!(tested.subjects_of("machines.lease"), ["b1", "b2"]);
    let destroy = tested
        .submitted
        .iter()
        .find(|it| it.operation == "machines.destroy")
        .unwrap();
    assert_eq!(destroy.options, "true", "one that hangs is forced");
    assert!(!operations(&tested).iter().any(|it| it.starts_with("apps.")));
    let report = tested.result.unwrap();
    assert_eq!((report.destroyed, report.app_deleted), (2, false));
}

#[test]
fn an_app_that_is_no_builder_is_refused() {
    for app in ["web", "fly-builder-", "my-fly-builder-1", ""] {
        let tested = run(builders(&["b1"]), app);
        let error = tested.result.unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(error.message().contains(&format!("`{app}`")));
        assert!(tested.submitted.is_empty());
    }
}

#[test]
fn one_on_a_dead_host_needs_no_lease() {
    let host = builders(&[]).machine(Summary {
        host_status: HostStatus::Unreachable,
        ..machine(APP, "b1")
    });
    let tested = run(host, APP);
    assert!(tested.subjects_of("machines.lease").is_empty());
    assert_eq!(tested.result.unwrap().destroyed, 1);
}

#[test]
fn what_is_left_is_reported() {
    let leased = Summary {
        lease_owner: Some("build@example".to_owned()),
        ..machine(APP, "b2")
    };
    let error = run(builders(&["b1"]).machine(leased), APP)
        .result
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    assert_eq!(
        error.message(),
        "1 of 2 destroyed; b2: build@example holds the lease"
    );
    assert!(error.output().unwrap().contains(r#""result":"failed""#));

    let refused = Failure::Unavailable("503".to_owned());
    let host = builders(&["b1"]).fail("machines.destroy", "b1", refused);
    assert_eq!(run(host, APP).result.unwrap_err().kind(), Kind::Unavailable);
}

#[test]
fn an_interrupt_destroys_nothing_more() {
    let ids: Vec<String> = (0..20).map(|n| format!("b{n:02}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let host = builders(&ids).interrupt_after(Duration::from_millis(15));
    let tested = run(host, APP);
    let error = tested.result.as_ref().unwrap_err();
    assert_eq!(error.kind(), Kind::Cancelled);
    assert!(error.output().unwrap().contains("its turn did not come"));
}

#[test]
fn a_builder_without_machines_is_a_warning() {
    let tested = run(builders(&[]), APP);
    assert_eq!(tested.result.unwrap().destroyed, 0);
    assert_eq!(tested.notes, ["`fly-builder-calm-pine-7` has no Machine"]);
}

#[test]
fn the_app_goes_after_its_machines() {
    for host in [builders(&["b1"]), builders(&["b1"]).keep_track()] {
        let tested = delete(host);
        assert_eq!(
            operations(&tested),
            [
                "apps.get",
                "machines.list",
                "machines.lease",
                "machines.destroy",
                "machines.release",
                "machines.list",
                "apps.delete"
            ]
        );
        assert_eq!(tested.submitted[6].subject, APP);
        assert_eq!(tested.submitted[6].options, "true");
        assert_eq!(
            tested.notes,
            [
                "2 volumes go with the app",
                "the app `fly-builder-calm-pine-7` is deleted"
            ]
        );
        let report = tested.result.unwrap();
        assert_eq!((report.destroyed, report.app_deleted), (1, true));
    }
    assert!(delete(builders(&[])).result.unwrap().app_deleted);
}

#[test]
fn the_app_stays_if_something_is_left_in_it() {
    let leased = Summary {
        lease_owner: Some("build@example".to_owned()),
        ..machine(APP, "b2")
    };
    let tested = delete(builders(&["b1"]).machine(leased));
    assert!(!operations(&tested).contains(&"apps.delete"));
    let error = tested.result.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    assert!(error.output().unwrap().contains(r#""app_deleted":false"#));

    let unknown = run_with(builders(&["b1"]), json!({ "app": APP, "delete_app": true }));
    assert_eq!(operations(&unknown), ["apps.get"]);
    assert_eq!(unknown.result.unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn what_came_up_meanwhile_is_seen() {
    let report = run(builders(&["b1", "b2"]), APP).result.unwrap();
    let left = |ids: &[&str]| -> Vec<Machine> {
        let machines = ids.iter().map(|id| machine(APP, id));
        machines.map(Machine::from).collect()
    };
    assert_eq!(newcomer(&left(&["b2", "b1"]), &report), None);
    let left = left(&["b2", "b3"]);
    assert_eq!(newcomer(&left, &report), Some(&left[1]));
}

#[test]
fn an_app_that_cannot_be_deleted_is_reported() {
    let refused = Failure::Unavailable("503".to_owned());
    let tested = delete(builders(&["b1"]).fail("apps.delete", APP, refused));
    let error = tested.result.unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        (Kind::Unavailable, "the app stays: 503")
    );
    let report: Value = serde_json::from_str(error.output().unwrap()).unwrap();
    assert_eq!(
        (&report["destroyed"], &report["app_deleted"]),
        (&json!(1), &json!(false))
    );
}

#[test]
fn any_name_will_do_only_if_told_so() {
    let host = || TestHost::new().machine(machine("web", "m1"));
    let any = |app: &str| json!({ "app": app, "allow_any_name": true });
    let tested = run_with(host(), any("web"));
    assert_eq!(tested.result.unwrap().destroyed, 1);
    let empty = run_with(host(), any(""));
    assert!(empty.submitted.is_empty());

    let named = run_with(host(), json!({ "app": "web", "delete_app": true }));
    assert!(named.submitted.is_empty());
    assert_eq!(named.result.unwrap_err().kind(), Kind::Invalid);
}
