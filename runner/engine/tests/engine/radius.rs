//! The blast radius: one thing is one thing, and it counts over attempts, steps and resumes.

use std::sync::Arc;

use groundcrew::journal::{Mode, RunStatus};
use groundcrew::{Failure, Limits, Policy, Unobserved};

use crate::support::{Ended, ONE, Stage, guest};

/// Makes one thing, and fails so that it is tried again.
const MAKES_AND_FAILS: &str =
    "(drop (call $make (i32.const 1))) (call $drain (i32.const 0)) (call $problem (i32.const 0))";

/// Makes one thing.
const MAKES: &str = "(drop (call $make (i32.const 1))) (call $drain (i32.const 0)) (call $finish)";

const RETRY: &str = "plugin = \"p\"\nretry = { max_attempts = 4, backoff = \"1s\" }";

/// Three steps, each with a grant of its own.
fn three(bound: &str) -> String {
    let step = |id: &str, needs: &str| {
        format!(
            "[[step]]\nid = \"{id}\"\nplugin = \"p\"\nneeds = [{needs}]\non_failure = \"continue\"\n[step.grant.ledger]\napps = [\"*\"]\nverbs = [\"write\", \"keep\"]\n{bound}\n"
        )
    };
    let steps = step("a", "") + &step("b", "\"a\"") + &step("c", "\"b\"");
    format!("name = \"three\"\nsummary = \"Three steps.\"\n{steps}")
}

async fn run(runbook: &str, body: &str, policy: &str) -> (Stage, Ended) {
    let stage = Stage::new(Limits::default(), &guest(body));
    let mut request = stage.request(runbook, Mode::Rehearsal, 1);
    request.policy = toml::from_str::<Policy>(policy).unwrap();
    let admitted = stage.engine.admit(request).await.unwrap();
    let handle = stage.engine.start(admitted, Arc::new(Unobserved)).await;
    let report = handle.unwrap().finished().await;
    let ended = stage.ended(report);
    (stage, ended)
}

fn denials(ended: &Ended) -> Vec<String> {
    let of = |failure: &Failure| match failure {
        Failure::Denied(why) => why.clone(),
        other => panic!("{other:?}"),
    };
    let settled = ended.settled();
    settled
        .iter()
        .filter_map(|settled| settled.failure.as_ref().map(of))
        .collect()
}

#[tokio::test]
async fn a_step_counts_over_its_attempts() {
    let runbook = format!("{ONE}max_accounts = 2\n").replace("plugin = \"p\"", RETRY);
    let (stage, ended) = run(&runbook, MAKES_AND_FAILS, "").await;
    assert_eq!(stage.ledger.performed(), ["s/1 make", "s~2/1 make"]);
    let denied = "the grant allows writes on at most 2 accounts, and 2 have been written to";
    assert_eq!(denials(&ended), [denied; 2]);
}

#[tokio::test]
async fn a_policy_counts_over_steps_and_attempts() {
    let policy = "[grant.ledger]\nmax_accounts = 2";
    let (stage, ended) = run(&three(""), MAKES, policy).await;
    assert_eq!(stage.ledger.performed(), ["a/1 make", "b/1 make"]);
    let denied =
        "the operator's policy allows writes on at most 2 accounts, and 2 have been written to";
    assert_eq!(denials(&ended), [denied]);
    let runbook = ONE.replace("plugin = \"p\"", RETRY);
    let (stage, ended) = run(&runbook, MAKES_AND_FAILS, policy).await;
    assert_eq!(stage.ledger.performed(), ["s/1 make", "s~2/1 make"]);
    assert_eq!(denials(&ended), [denied; 2]);
}

#[tokio::test]
async fn each_step_has_its_own_grant() {
    let (stage, ended) = run(&three("max_accounts = 1"), MAKES, "").await;
    assert_eq!(
        stage.ledger.performed(),
        ["a/1 make", "b/1 make", "c/1 make"]
    );
    assert_eq!(ended.report.status, Some(RunStatus::Succeeded));
}

/// Who holds everything stops everybody: what is taken hold of counts.
#[tokio::test]
async fn what_is_held_counts_and_giving_back_is_always_allowed() {
    let body = "(drop (call $keep (i32.const 1))) (drop (call $keep (i32.const 2))) (call $drain (i32.const 0)) (call $finish)";
    let (stage, ended) = run(&format!("{ONE}max_accounts = 1\n"), body, "").await;
    assert_eq!(stage.ledger.performed(), ["s/1 keep", "s/3 drop"]);
    assert_eq!(denials(&ended).len(), 1);
}

/// The same thing in two steps is one thing for the policy.
#[tokio::test]
async fn one_thing_is_one_thing_whoever_writes_to_it() {
    let body = "(drop (call $write (i32.const 1))) (call $drain (i32.const 0)) (call $finish)";
    let policy = "[grant.ledger]\nmax_accounts = 1";
    let (stage, ended) = run(&three(""), body, policy).await;
    assert_eq!(stage.ledger.performed().len(), 3);
    assert_eq!(denials(&ended), Vec::<String>::new());
}
