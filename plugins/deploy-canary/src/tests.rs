//! A deploy with a fly.toml against a scripted host: process groups come and go around it.

use groundcrew_deploy::Outcome;
use groundcrew_deploy::testing::{self, fleet, totals};
use groundcrew_plugin::Kind;
use groundcrew_plugin::testing::{Failure, TestHost, Tested};
use serde_json::{Value, json};

use super::*;

fn input(select: &Value, change: &Value) -> Input {
    Input {
        hold: Timespan::default(),
        ..testing::input(select, change)
    }
}

fn run(host: TestHost, input: Input) -> Tested<Report> {
    host.run(|host| deploy_canary(input, host))
        .holding_nothing()
}

#[test]
fn groups_come_and_go_after_the_canary() {
    let tested = run(fleet(), input(&json!({}), &json!({})));
    let report = tested.result.as_ref().unwrap();
    let totals =
        [Outcome::Updated, Outcome::Created, Outcome::Removed].map(|it| report.totals[&it]);
    assert_eq!(totals, [2, 2, 1]);
    let writes = tested.submitted.iter();
    let writes =
        writes.filter(|it| ["machines.create", "machines.destroy"].contains(&it.operation));
    let writes: Vec<_> = writes.map(|it| it.operation).collect();
    // The canary comes and goes, two of the new group come, one of the old group goes.
    assert_eq!(
        writes,
        [
            "machines.create",
            "machines.destroy",
            "machines.create",
            "machines.create",
            "machines.destroy"
        ]
    );
}

#[test]
fn a_canary_that_dies_leaves_groups_alone() {
    let ill = Failure::Application("the check stays critical".to_owned());
    let host = fleet().fail("machines.wait-healthy", "new-2", ill);
    let tested = run(host, input(&json!({}), &json!({})));
    let error = tested.result.as_ref().unwrap_err();
    assert!(
        error.message().contains("nothing else was touched"),
        "{error}"
    );
    assert_eq!(tested.subjects_of("machines.create").len(), 1);
    assert_eq!(tested.subjects_of("machines.destroy"), ["new-2"]);
}

#[test]
fn a_failure_ends_with_what_was_there_before() {
    let ill = Failure::Application("the check stays critical".to_owned());
    let host = fleet().fail("machines.wait", "b", ill);
    let tested = run(host, input(&json!({}), &json!({})));
    let error = tested.result.as_ref().unwrap_err();
    assert_eq!(error.kind(), Kind::Application);
    assert_eq!(totals(error)["destroyed"], 2);
    assert!(!tested.subjects_of("machines.destroy").contains(&"w"));
}

#[test]
fn update_only_and_narrow_deploys_leave_groups_alone() {
    for (select, change) in [
        (json!({}), json!({ "update_only": true })),
        (json!({ "include": ["a", "w"] }), json!({})),
    ] {
        let tested = run(fleet(), input(&select, &change));
        let report = tested.result.as_ref().unwrap();
        assert!(report.notes.iter().any(|note| note.contains("`worker`")));
        assert_eq!(tested.subjects_of("machines.create").len(), 1, "the canary");
        assert_eq!(
            tested.subjects_of("machines.destroy").len(),
            1,
            "the canary"
        );
    }
}
