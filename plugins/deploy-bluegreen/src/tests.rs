//! A deploy with a fly.toml against a scripted host: process groups come and go around it.

use groundcrew_deploy::Outcome;
use groundcrew_deploy::testing::{self, input, of, totals};
use groundcrew_plugin::testing::{Failure, Submission, TestHost, Tested, machine};
use groundcrew_plugin::{Kind, Portion, Summary};
use serde_json::{Value, json};

use super::*;

/// What is made does not come into the scripted listing: it is there from the start, as of a group
/// that no deploy is about.
fn fleet() -> TestHost {
    let made = (1..20).map(|number| Summary {
        configured_checks: 0,
        ..of(&format!("new-{number}"), "fly_app_console")
    });
    testing::fleet().machines(made)
}

fn run(host: TestHost, input: Input) -> Tested<Report> {
    host.run(|host| deploy_bluegreen(input, host))
        .holding_nothing()
}

#[test]
fn groups_come_and_go_around_the_deploy() {
    let tested = run(fleet(), input(&json!({}), &json!({})));
    let report = tested.result.as_ref().unwrap();
    let totals = [Outcome::Created, Outcome::Destroyed, Outcome::Removed];
    assert_eq!(totals.map(|it| report.totals[&it]), [4, 2, 1]);
    let gone = tested.subjects_of("machines.destroy");
    assert_eq!((gone.len(), gone.last()), (3, Some(&"w")));
}

#[test]
fn a_failure_ends_with_what_was_there_before() {
    let ill = Failure::Application("the check stays critical".to_owned());
    // Ten operations list the app, make the new group, take a lease and ask for room; then come two
    // greens.
    let host = fleet().fail("machines.wait-healthy", "new-12", ill);
    let tested = run(host, input(&json!({}), &json!({})));
    let error = tested.result.as_ref().unwrap_err();
    assert_eq!(error.kind(), Kind::Application);
    let wanted = json!({ "destroyed": 3, "not-attempted": 1, "rolled-back": 2 });
    assert_eq!(totals(error), wanted);
    let gone = tested.subjects_of("machines.destroy");
    assert!(gone.len() == 4 && gone.iter().all(|id| id.starts_with("new-")));
}

#[test]
fn groups_are_left_alone_by_half_measures() {
    let with = |select, change, more: Value| {
        let mut input: Input = input(&select, &change);
        input.share = more.get("share").map_or(100, |_| 50);
        if more.get("keep").is_some() {
            input.after = After::Keep;
        }
        input
    };
    let cases = [
        (json!({ "regions": ["fra"] }), json!({}), json!({}), 2),
        (json!({}), json!({ "update_only": true }), json!({}), 2),
        (json!({}), json!({}), json!({ "share": 50 }), 2),
        // What is new is made, and nothing that was there goes.
        (json!({}), json!({}), json!({ "keep": true }), 4),
    ];
    for (select, change, more, created) in cases {
        let tested = run(fleet(), with(select, change, more));
        let report = tested.result.as_ref().unwrap();
        assert!(report.notes.iter().any(|note| note.contains("`worker`")));
        assert_eq!(tested.subjects_of("machines.create").len(), created);
        assert!(!tested.subjects_of("machines.destroy").contains(&"w"));
    }
}

#[test]
fn what_cannot_be_is_refused_before_a_group_is_made() {
    let mut input: Input = input(&json!({}), &json!({}));
    (input.max_surge, input.after) = (Portion::Count(1), After::Keep);
    let tested = run(fleet(), input);
    assert_eq!(tested.result.unwrap_err().kind(), Kind::Invalid);
    assert_eq!(tested.submitted.len(), 1, "only the listing");
}

#[test]
fn where_there_is_no_room_nothing_is_made() {
    let app = |host: TestHost| run(host, plain());
    let tested = app(pair().room("fra", 1));
    let error = tested.result.unwrap_err();
    assert_eq!(error.kind(), Kind::Capacity);
    assert!(error.message().contains("room for 1 of 2"), "{error}");
    assert!(
        !tested
            .submitted
            .iter()
            .any(|it| it.operation == "machines.create")
    );
    // Not to know is no reason to stop.
    let unknown = Failure::Unavailable("no answer".to_owned());
    let tested = app(pair().keep_track().fail("apps.capacity", "a", unknown));
    assert!(tested.result.is_ok() && tested.notes.iter().any(|it| it.contains("not known")));
}

#[test]
fn whoever_comes_second_does_nothing() {
    let taken = Summary {
        lease_owner: Some("somebody".to_owned()),
        ..machine("web", "a")
    };
    let host = TestHost::new().machine(taken).machine(machine("web", "b"));
    let tested = host.run(|host| deploy_bluegreen(plain(), host));
    let error = tested.result.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    assert!(error.message().contains("somebody"), "{error}");
    let wrote = |it: &Submission| it.operation == "machines.create";
    assert!(!tested.submitted.iter().any(wrote));
}

fn pair() -> TestHost {
    TestHost::new().machines(["a", "b"].map(|id| machine("web", id)))
}

fn plain() -> Input {
    let text = json!({ "select": { "app": "web" }, "change": { "image": "web:2" } });
    serde_json::from_value(text).unwrap()
}
