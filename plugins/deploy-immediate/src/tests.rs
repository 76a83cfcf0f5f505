//! A deploy with a fly.toml against a scripted host: process groups come and go around it.

use groundcrew_deploy::Outcome;
use groundcrew_deploy::testing::{fleet, input, totals};
use groundcrew_plugin::Kind;
use groundcrew_plugin::testing::{Failure, TestHost, Tested};
use serde_json::json;

use super::*;

fn run(host: TestHost, input: Input) -> Tested<Report> {
    host.run(|host| deploy_immediate(input, host))
        .holding_nothing()
}

#[test]
fn groups_come_and_go_around_the_deploy() {
    let tested = run(fleet(), input(&json!({}), &json!({})));
    let report = tested.result.as_ref().unwrap();
    let totals =
        [Outcome::Updated, Outcome::Created, Outcome::Removed].map(|it| report.totals[&it]);
    assert_eq!(totals, [2, 2, 1]);
    assert_eq!(tested.subjects_of("machines.destroy"), ["w"]);
    assert!(
        tested.subjects_of("machines.cordon").is_empty(),
        "nothing is drained"
    );
}

#[test]
fn a_failure_takes_nothing_back_and_removes_nothing() {
    let ill = Failure::Application("the check stays critical".to_owned());
    let host = fleet().fail("machines.wait-healthy", "b", ill);
    let tested = run(host, input(&json!({}), &json!({})));
    let error = tested.result.as_ref().unwrap_err();
    assert_eq!(error.kind(), Kind::Application);
    let wanted = json!({ "created": 2, "failed": 1, "not-attempted": 1, "updated": 1 });
    assert_eq!(totals(error), wanted);
    assert!(tested.subjects_of("machines.destroy").is_empty());
}

#[test]
fn update_only_and_narrow_deploys_leave_groups_alone() {
    for (select, change) in [
        (json!({}), json!({ "update_only": true })),
        (json!({ "exclude": ["b"] }), json!({})),
    ] {
        let tested = run(fleet(), input(&select, &change));
        let report = tested.result.as_ref().unwrap();
        assert!(report.notes.iter().any(|note| note.contains("`worker`")));
        assert!(tested.subjects_of("machines.create").is_empty());
        assert!(tested.subjects_of("machines.destroy").is_empty());
    }
}
