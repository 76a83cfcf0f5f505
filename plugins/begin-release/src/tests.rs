//! The procedure against a scripted host, in virtual time. The listing is its first operation and the
//! create its second, so the new release is `release-2`.

use std::time::Duration;

use groundcrew_plugin::testing::{Failure, TestHost, Tested, with_more};
use serde_json::{Value, json};

use super::*;

const MADE: &str = "release-2";

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

fn run(host: TestHost, input: Value) -> Tested<Begun> {
    host.run_with(
        begin_release,
        with_more(
            json!({ "app": "web", "strategy": "bluegreen", "image": "registry.fly.io/web:2" }),
            input,
        ),
    )
}

/// What the statuses were set to, in order.
fn statuses(tested: &Tested<Begun>) -> Vec<&str> {
    let submitted = tested.submitted.iter();
    submitted
        .filter(|it| it.operation == "releases.set-status")
        .map(|it| it.options.rsplit("::").next().unwrap())
        .collect()
}

#[test]
fn records_a_release_and_says_that_it_runs() {
    let host = TestHost::new()
        .release(release(7, "failed"))
        .release(release(6, "complete"));
    let tested = run(host, json!({}));
    assert_eq!(
        tested.operations(),
        [
            ("releases.list", "web"),
            ("releases.create", "web"),
            ("releases.set-status", MADE)
        ]
    );
    let create = &tested.submitted[1].options;
    assert!(create.contains("BLUEGREEN") && create.contains("registry.fly.io/web:2"));
    assert_eq!(statuses(&tested), ["Running"]);
    let expected = Begun {
        id: MADE.to_owned(),
        version: 1,
        already_running: None,
    };
    assert_eq!(tested.result.unwrap(), expected);
}

#[test]
fn another_deploy_under_way_is_a_conflict() {
    let host = || {
        TestHost::new()
            .release(release(8, "complete"))
            .release(release(7, "running"))
    };
    let words = "version 7 of `web` is running: ann@example began it at 2026-11-20T10:00:00Z";
    let tested = run(host(), json!({}));
    assert_eq!(tested.submitted.len(), 1, "nothing is recorded");
    let error = tested.result.unwrap_err();
    assert_eq!((error.kind(), error.message()), (Kind::Conflict, words));

    let tested = run(host(), json!({ "refuse_running": false }));
    assert_eq!(tested.notes, [words]);
    assert_eq!(tested.result.unwrap().already_running, Some(7));
}

#[test]
fn one_that_cannot_run_is_given_up() {
    let refused = Failure::Unavailable("503".to_owned());
    let host = TestHost::new().fail("releases.set-status", MADE, refused);
    let tested = run(host, json!({}));
    assert_eq!(statuses(&tested), ["Running", "Interrupted"]);
    assert_eq!(
        tested.notes,
        ["version 1 stays under way in the app's releases: 503"]
    );
    let (kind, output) = tested.failed();
    assert_eq!(kind, Kind::Unavailable);
    assert_eq!(output["id"], MADE, "so that `finally` can end it");
}

#[test]
fn an_interrupt_leaves_nothing_pending() {
    let before = TestHost::new().interrupt_after(Duration::from_millis(5));
    let tested = run(before, json!({}));
    assert!(statuses(&tested).is_empty());
    assert_eq!(tested.result.unwrap_err().kind(), Kind::Cancelled);

    // What was recorded already is brought to where `end-release` can end it.
    let meanwhile = TestHost::new().interrupt_after(Duration::from_millis(15));
    let tested = run(meanwhile, json!({}));
    assert_eq!(statuses(&tested), ["Running"]);
    assert_eq!(tested.result.unwrap().id, MADE);
}

#[test]
fn an_image_has_a_name() {
    let tested = run(TestHost::new(), json!({ "image": " " }));
    assert!(tested.submitted.is_empty());
    assert_eq!(tested.result.unwrap_err().kind(), Kind::Invalid);
}
