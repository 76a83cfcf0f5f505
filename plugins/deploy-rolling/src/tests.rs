//! A deploy with a fly.toml against a scripted host: process groups come and go around it.

use groundcrew_deploy::Outcome;
use groundcrew_deploy::testing::{fleet, input, totals};
use groundcrew_plugin::Kind;
use groundcrew_plugin::testing::{Failure, TestHost, Tested};
use serde_json::json;

use super::*;

fn run(host: TestHost, input: Input) -> Tested<Report> {
    host.run(|host| deploy_rolling(input, host))
        .holding_nothing()
}

#[test]
fn groups_come_and_go_around_the_deploy() {
    let tested = run(fleet(), input(&json!({}), &json!({})));
    let report = tested.result.as_ref().unwrap();
    let totals =
        [Outcome::Updated, Outcome::Created, Outcome::Removed].map(|it| report.totals[&it]);
    assert_eq!(totals, [2, 2, 1]);
    assert_eq!(tested.subjects_of("machines.update"), ["a", "b"]);
    assert_eq!(tested.subjects_of("machines.destroy"), ["w"]);
    let mut operations = tested.submitted.iter().map(|it| it.operation);
    let first = operations.find(|it| ["machines.create", "machines.update"].contains(it));
    let last = tested
        .submitted
        .iter()
        .rfind(|it| it.operation != "machines.release");
    assert_eq!(first, Some("machines.create"));
    assert_eq!(last.unwrap().operation, "machines.destroy");
    let updates = tested.submitted.iter();
    let mut updates = updates.filter(|it| it.operation == "machines.update");
    assert!(updates.all(|it| it.options.contains("LOG") && it.options.contains("web:2")));
}

#[test]
fn a_failure_ends_with_what_was_there_before() {
    let ill = Failure::Application("the check stays critical".to_owned());
    let host = fleet().fail("machines.wait-healthy", "b", ill);
    let tested = run(host, input(&json!({}), &json!({})));
    let error = tested.result.as_ref().unwrap_err();
    assert_eq!(error.kind(), Kind::Application);
    let wanted = json!({ "destroyed": 2, "not-attempted": 1, "rolled-back": 2 });
    assert_eq!(totals(error), wanted);
    assert_eq!(tested.subjects_of("machines.destroy").len(), 2);
    assert!(!tested.subjects_of("machines.destroy").contains(&"w"));
}

#[test]
fn update_only_and_narrow_deploys_leave_groups_alone() {
    for (select, change) in [
        (json!({}), json!({ "update_only": true })),
        (json!({ "groups": ["app", "worker"] }), json!({})),
        (json!({ "regions": ["fra"] }), json!({})),
    ] {
        let tested = run(fleet(), input(&select, &change));
        let report = tested.result.as_ref().unwrap();
        assert_eq!(report.totals[&Outcome::Updated], 2);
        assert_eq!(report.totals[&Outcome::Excluded], 1);
        assert!(report.notes.iter().any(|note| note.contains("`worker`")));
        assert!(tested.subjects_of("machines.create").is_empty());
        assert!(tested.subjects_of("machines.destroy").is_empty());
    }
}

#[test]
fn a_file_that_is_refused_changes_nothing() {
    let change = json!({ "config": "app = \"web\"\nregion = \"fra\"\n" });
    let tested = run(fleet(), input(&json!({}), &change));
    let error = tested.result.unwrap_err();
    assert!(
        error.message().contains("line 2: unknown field `region`"),
        "{error}"
    );
    assert!(tested.submitted.is_empty());
}
