//! The procedure against a scripted host, in virtual time.

use std::time::Duration;

use groundcrew_plugin::testing::{Failure, TestHost, Tested, machine};
use groundcrew_plugin::{HostStatus, Summary};
use serde_json::json;

use super::*;

const APP: &str = "fly-builder-calm-pine-7";

fn builders(ids: &[&str]) -> TestHost {
    TestHost::new().machines(ids.iter().map(|id| machine(APP, id)))
}

fn run(host: TestHost, app: &str) -> Tested<Report> {
    let input: Input = serde_json::from_value(json!({ "app": app })).unwrap();
    let tested = host.run(|host| reset_builder(input, host));
    assert_eq!(tested.leases_left, Vec::<String>::new());
    tested
}

#[test]
fn destroys_every_machine_of_the_builder_and_nothing_else() {
    let host = builders(&["b1", "b2"]).machine(machine("web", "m1"));
    let tested = run(host, APP);
    assert_eq!(tested.machines_of("machines.destroy"), ["b1", "b2"]);
    assert_eq!(tested.machines_of("machines.lease"), ["b1", "b2"]);
    let destroy = tested
        .submitted
        .iter()
        .find(|it| it.operation == "machines.destroy")
        .unwrap();
    assert_eq!(destroy.options, "true", "one that hangs is forced");
    assert_eq!(tested.result.unwrap().destroyed, 2);
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
    assert!(tested.machines_of("machines.lease").is_empty());
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
