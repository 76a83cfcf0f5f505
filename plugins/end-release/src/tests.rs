//! The procedure against a scripted host, in virtual time.

use std::time::Duration;

use groundcrew_plugin::testing::{Failure, TestHost, Tested};
use serde_json::json;

use super::*;

fn release(version: u32, status: &str) -> Release {
    Release {
        id: format!("r{version}"),
        version,
        status: status.to_owned(),
        strategy: "ROLLING".to_owned(),
        image: "registry.fly.io/web:1".to_owned(),
        user: "ann@example".to_owned(),
        created_at: "2026-11-20T10:00:00Z".to_owned(),
        in_progress: matches!(status, "pending" | "running"),
        definition: None,
    }
}

/// An app whose release 7 has this status and is not the newest.
fn at(status: &str) -> TestHost {
    TestHost::new()
        .release(release(8, "running"))
        .release(release(7, status))
}

fn run(host: TestHost, id: &str, outcome: &str) -> Tested<Ended> {
    let input = json!({ "app": "web", "id": id, "outcome": outcome });
    host.run_with(end_release, input)
}

/// What the statuses were set to, in order.
fn statuses(tested: &Tested<Ended>) -> Vec<&str> {
    let submitted = tested.submitted.iter();
    submitted
        .filter(|it| it.operation == "releases.set-status")
        .inspect(|it| assert_eq!(it.subject, "r7"))
        .map(|it| it.options.rsplit("::").next().unwrap())
        .collect()
}

#[test]
fn ends_the_release_as_it_went() {
    for (outcome, status) in [
        ("complete", "Complete"),
        ("failed", "Failed"),
        ("interrupted", "Interrupted"),
    ] {
        let tested = run(at("running"), "r7", outcome);
        assert_eq!(statuses(&tested), [status]);
        let ended = tested.result.unwrap();
        assert_eq!((ended.version, ended.already), (7, false));
    }
}

#[test]
fn one_that_is_pending_runs_first() {
    let tested = run(at("pending"), "r7", "interrupted");
    assert_eq!(statuses(&tested), ["Running", "Interrupted"]);
}

#[test]
fn the_same_again_is_fine() {
    let tested = run(at("failed"), "r7", "failed");
    assert!(statuses(&tested).is_empty());
    assert!(tested.result.unwrap().already);
}

#[test]
fn another_end_is_a_failure() {
    let tested = run(at("failed"), "r7", "complete");
    assert!(statuses(&tested).is_empty());
    let error = tested.result.unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        (
            Kind::Other,
            "version 7 has ended as `failed` already, and cannot become `complete`"
        )
    );
}

#[test]
fn one_that_is_not_there_is_not_found() {
    let error = run(at("running"), "r6", "complete").result.unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        (
            Kind::NotFound,
            "none of the newest 2 releases of `web` is `r6`"
        )
    );
}

#[test]
fn an_interrupt_does_not_keep_it_from_ending() {
    let host = at("running").interrupt_after(Duration::from_millis(5));
    assert!(run(host, "r7", "interrupted").result.is_ok());
}

#[test]
fn a_refusal_is_passed_on() {
    let refused = Failure::Unavailable("503".to_owned());
    let host = at("running").fail("releases.set-status", "r7", refused);
    let error = run(host, "r7", "complete").result.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
}
