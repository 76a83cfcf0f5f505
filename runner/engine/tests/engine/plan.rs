//! Plans: a run that applies one makes the planned writes and no others, but for the way back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use groundcrew::journal::{Actor, Decision, Mode, RunStatus};
use groundcrew::plan::{LONGEST_VALIDITY, PlanError, SignedPlan};
use groundcrew::{
    Approvals, Key, Limits, OperationRule, Policy, Refusal, ResumeRequest, RunRequest, StartError,
    TargetPolicy, Unobserved,
};
use groundcrew::{Made, MakeError, PlanRequest};

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::support::{Ended, ONE, Stage, guest, target, target_at};

/// A plan of the runbook, by a key.
pub(crate) async fn made(stage: &Stage, runbook: &str, cases: &[&str], author: &Key) -> Made {
    let rules = |case: &&str| -> Vec<OperationRule> {
        case.split(',').map(|rule| rule.parse().unwrap()).collect()
    };
    let request = PlanRequest {
        run: stage.request(runbook, Mode::Rehearsal, 1),
        contingencies: cases.iter().map(rules).collect(),
        author: author.clone(),
        valid_for: Duration::from_secs(3600),
    };
    let made = stage.engine.plan(request, Arc::new(Unobserved)).await;
    made.expect("the rehearsal is admitted")
}

async fn planned(stage: &Stage, runbook: &str, cases: &[&str]) -> SignedPlan {
    let made = made(stage, runbook, cases, &Key::generate("author")).await;
    made.plan.expect("the rehearsal succeeds")
}

fn applying(stage: &Stage, plan: &SignedPlan) -> RunRequest {
    let (plan, policy) = (plan.clone(), stage.policy.clone());
    RunRequest::applying(plan, target(), Default::default(), policy).unwrap()
}

pub(crate) async fn start(
    stage: &Stage,
    plan: &SignedPlan,
) -> Result<groundcrew::RunHandle, StartError> {
    let admitted = stage.engine.admit(applying(stage, plan)).await;
    let admitted = admitted.expect("the plan is admitted");
    stage.engine.start(admitted, Arc::new(Unobserved)).await
}

async fn apply(stage: &Stage, plan: &SignedPlan) -> Ended {
    let handle = start(stage, plan).await.expect("the plan is applied");
    let report = tokio::time::timeout(Duration::from_secs(20), handle.finished()).await;
    stage.ended(report.expect("the run ends"))
}

/// What was performed by the run that applied a plan: the rehearsals did the same before.
async fn performed_by(stage: &Stage, plan: &SignedPlan) -> (Ended, Vec<String>) {
    let before = stage.ledger.performed().len();
    let ended = apply(stage, plan).await;
    let mut performed = stage.ledger.performed().split_off(before);
    performed.sort();
    (ended, performed)
}

/// Writes these keys one after the other, and says how each came out.
fn writes(keys: &[u32]) -> String {
    let each = keys.iter().map(|key| {
        format!(
            "(local.set $op (call $write (i32.const {key}))) (drop (call $next (i32.const 0)))
             (call $say (call $take_write (local.get $op)))"
        )
    });
    each.collect()
}

/// Only when the wall shows more than at the time of the plan.
fn live(body: &str) -> String {
    format!("(if (i64.gt_u (call $now) (i64.const 1800000030000)) (then {body}))")
}

const DENIED: u64 = 1;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_planned_is_done_and_nothing_twice() {
    let body = writes(&[1, 2, 2]) + "(call $finish)";
    let stage = Stage::new(Limits::default(), &guest(body));
    let plan = planned(&stage, ONE, &[]).await;
    let on: Vec<String> = plan
        .plan()
        .writes
        .iter()
        .map(|w| format!("{} {} {}", w.step, w.request.operation, w.request.on()))
        .collect();
    assert_eq!(
        on,
        [
            "s ledger.write app/m00001",
            "s ledger.write app/m00002",
            "s ledger.write app/m00002"
        ]
    );
    let (ended, performed) = performed_by(&stage, &plan).await;
    assert_eq!(ended.said(), [0, 0, 0]);
    assert_eq!(performed, ["s/1 write", "s/2 write", "s/3 write"]);
    // The rehearsal's journal names the plan, and the run's has all of it.
    let run = &plan.plan().run;
    assert_eq!(&*ended.report.run, run);
    let (_, rehearsal) = stage.engine.journal(&format!("{run}-plan")).unwrap();
    assert_eq!(
        rehearsal.closed.unwrap().plan.as_deref(),
        Some(plan.digest())
    );
    let applied = ended.state.header.unwrap().plan.unwrap();
    assert_eq!(
        (applied.digest.as_str(), applied.text),
        (plan.digest(), plan.text())
    );
    // Once.
    assert!(matches!(start(&stage, &plan).await, Err(StartError::Applied(by)) if by == *run));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_planned_is_denied_and_then_only_the_way_back_is_open() {
    let unplanned = live(&writes(&[9]));
    // 1 is planned; 9 is not; 3 was, but comes after it; 1 may be taken back, and 2 was never made.
    let back = |key: u32| {
        format!(
            "(local.set $op (call $unwrite (i32.const {key}))) (drop (call $next (i32.const 0)))
             (call $say (call $take_unwrite (local.get $op)))"
        )
    };
    let body = writes(&[1])
        + &unplanned
        + &writes(&[3])
        + &live(&(back(1) + &back(1) + &back(2) + &back(9)))
        + "(call $finish)";
    let stage = Stage::new(Limits::default(), &guest(body));
    let plan = planned(&stage, ONE, &[]).await;
    assert_eq!(plan.plan().writes.len(), 2);
    stage.wall.advance(60);
    let (ended, performed) = performed_by(&stage, &plan).await;
    // Once: taking back opens nothing.
    // What was denied was not written, and is not taken back.
    assert_eq!(ended.said(), [0, DENIED, DENIED, 0, DENIED, DENIED, DENIED]);
    assert_eq!(performed, ["s/1 write", "s/4 unwrite"]);
    let decisions: Vec<Decision> = ended.intended().iter().map(|i| i.decision).collect();
    let (yes, no) = (Decision::Allowed, Decision::Unplanned);
    assert_eq!(decisions, [yes, no, no, yes, no, no, no]);
    let said = ended.settled()[1].failure.clone().unwrap().to_string();
    assert_eq!(
        said,
        "denied: `ledger.write app/m00009`: the plan that is applied does not have it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn more_of_the_same_is_not_planned_and_fewer_is_fine() {
    let often = |twice: &str| writes(&[1]) + twice + "(call $finish)";
    let stage = Stage::new(Limits::default(), &guest(often(&live(&writes(&[1])))));
    let plan = planned(&stage, ONE, &[]).await;
    stage.wall.advance(60);
    assert_eq!(apply(&stage, &plan).await.said(), [0, DENIED]);

    let fewer = format!(
        "(if (i64.le_u (call $now) (i64.const 1800000030000)) (then {}))",
        writes(&[1])
    ) + &writes(&[2])
        + "(call $finish)";
    let stage = Stage::new(Limits::default(), &guest(fewer));
    let plan = planned(&stage, ONE, &[]).await;
    assert_eq!(plan.plan().writes.len(), 2);
    stage.wall.advance(60);
    assert_eq!(apply(&stage, &plan).await.said(), [0]);
}

/// Reads; if that fails, writes 50, and in any case 1.
fn careful(key: &str) -> String {
    format!(
        "(local.set $op (call $read {key})) (drop (call $next (i32.const 0)))
         (if (call $take_read (local.get $op)) (then {}))",
        writes(&[50])
    ) + &writes(&[1])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rehearsed_contingency_is_open_once_something_has_failed() {
    // The key that fails, and before the failure a write that only the contingency has.
    let fails = format!(
        "(i32.add (i32.const 88887) (i64.gt_u (call $now) (i64.const {})))",
        1_800_000_030_000_u64
    );
    let body = careful(&fails) + "(call $finish)";
    let stage = Stage::new(Limits::default(), &guest(body.clone()));
    let plan = planned(&stage, ONE, &["ledger.read@1:unavailable"]).await;
    let contingency = &plan.plan().contingencies[0];
    assert_eq!(contingency.faults, ["ledger.read@1:unavailable"]);
    assert_eq!(
        (contingency.status, contingency.writes.len()),
        (RunStatus::Succeeded, 2)
    );
    assert_eq!(plan.plan().writes.len(), 1);
    stage.wall.advance(60);
    assert_eq!(apply(&stage, &plan).await.said(), [0, 0]);

    // Not rehearsed, the same is denied.
    let stage = Stage::new(Limits::default(), &guest(body));
    let plan = planned(&stage, ONE, &[]).await;
    stage.wall.advance(60);
    assert_eq!(apply(&stage, &plan).await.said(), [DENIED, DENIED]);

    // And while nothing has failed, so is what a contingency has.
    let sly = careful("(i32.const 7)") + &live(&writes(&[50])) + "(call $finish)";
    let stage = Stage::new(Limits::default(), &guest(sly));
    let plan = planned(&stage, ONE, &["ledger.read@1:unavailable"]).await;
    stage.wall.advance(60);
    assert_eq!(apply(&stage, &plan).await.said(), [0, DENIED]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rescue_and_finally_may_do_what_was_not_rehearsed() {
    let grant = "[GRANT.grant.ledger]\napps = [\"*\"]\nverbs = [\"write\"]\n";
    let runbook = format!(
        "name = \"r\"\nsummary = \"R.\"\n[[step]]\nid = \"s\"\nplugin = \"p\"\n{}[[step.rescue]]\nid = \"back\"\nplugin = \"q\"\n{}[[finally]]\nid = \"end\"\nplugin = \"q\"\n{}",
        grant.replace("GRANT", "step"),
        grant.replace("GRANT", "step.rescue"),
        grant.replace("GRANT", "finally"),
    );
    let p = writes(&[1])
        + &live(&writes(&[9]))
        + &live("(return (call $problem (i32.const 0)))")
        + "(call $finish)";
    let q = live(&writes(&[60])) + "(call $finish)";
    let plugins = [("p", guest(p).build()), ("q", guest(q).build())];
    let stage = Stage::with_plugins(Limits::default(), &plugins);
    let plan = planned(&stage, &runbook, &[]).await;
    assert_eq!(plan.plan().writes.len(), 1);
    let powers: Vec<&str> = plan.plan().steps.iter().map(|p| p.step.as_str()).collect();
    assert_eq!(powers, ["s", "back", "end"]);
    stage.wall.advance(60);
    let (ended, performed) = performed_by(&stage, &plan).await;
    assert_eq!(ended.report.status, Some(RunStatus::Failed));
    assert_eq!(performed, ["back/1 write", "end/1 write", "s/1 write"]);
    // Both plugins call themselves `test`; each is known by its digest.
    let repeated = stage.engine.replay(&plan.plan().run).await.unwrap();
    assert!(repeated.iter().all(|step| step.ended), "{repeated:?}");
    assert_eq!(repeated.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resumed_application_goes_on_with_what_is_left_of_its_plan() {
    // 1 is made before it is stopped, 2 afterwards; 1 again is not planned.
    let body = writes(&[1])
        + "(drop (call $slow (i32.const 5) (i64.const 500))) (drop (call $next (i32.const 0)))"
        + &writes(&[2])
        + &live(&writes(&[1]))
        + "(call $finish)";
    let stage = Stage::new(Limits::default(), &guest(body));
    let plan = planned(&stage, ONE, &[]).await;
    stage.wall.advance(60);
    let before = stage.ledger.performed().len();
    let handle = start(&stage, &plan).await.unwrap();
    stage.performed(before + 2).await;
    handle.stop();
    assert!(handle.finished().await.status.is_none());
    // Its time to be started is over; to be gone on with it is not.
    stage.wall.advance(7200);
    let request = ResumeRequest {
        run: plan.plan().run.clone(),
        target: target(),
        policy: Policy::default(),
        actor: Default::default(),
        answers: Default::default(),
        secrets: serde_json::Value::Null,
        accepted_drift: Vec::new(),
        gone: stage.token(&plan.plan().run),
    };
    let handle = stage.engine.resume(request, Arc::new(Unobserved)).await;
    let ended = stage.ended(handle.expect("it is resumed").finished().await);
    assert_eq!(ended.said(), [0, 0, DENIED]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_is_known_by_its_name() {
    // Makes two alike and one of another kind, and writes to each; then, live only, another one.
    let make = |kind: u32, then: &str| {
        format!(
            "(local.set $op (call $make (i32.const {kind}))) (drop (call $next (i32.const 0)))
             (call $say (call $take_make (local.get $op))) {then}"
        )
    };
    let write = "(local.set $op (call $write_made)) (drop (call $next (i32.const 0))) (call $say (call $take_write (local.get $op)))";
    let back = "(local.set $op (call $unwrite_made)) (drop (call $next (i32.const 0))) (call $say (call $take_unwrite (local.get $op)))";
    let pause =
        "(drop (call $slow (i32.const 5) (i64.const 500))) (drop (call $next (i32.const 0)))";
    let body = make(1, write) + &make(1, write) + &make(2, pause) + write
        // What was made may be taken back, and once.
        + &live(&(back.to_owned() + &make(3, "") + back))
        + "(call $finish)";
    let stage = Stage::new(Limits::default(), &guest(body));
    let plan = planned(&stage, ONE, &[]).await;
    let told: Vec<String> = plan
        .plan()
        .writes
        .iter()
        .map(|w| format!("{} {}", w.request.on(), w.makes.clone().unwrap_or_default()))
        .collect();
    assert_eq!(
        told,
        [
            "app s/make#1",
            "app/s/make#1 ",
            "app s/make#2",
            "app/s/make#2 ",
            "app s/make#3",
            "app/s/make#3 "
        ]
    );
    stage.wall.advance(60);
    // It is stopped when all are made and the last is not written to, and gone on with.
    let before = stage.ledger.performed().len();
    let handle = start(&stage, &plan).await.unwrap();
    stage.performed(before + 6).await;
    handle.stop();
    assert!(handle.finished().await.status.is_none());
    let request = ResumeRequest {
        run: plan.plan().run.clone(),
        target: target(),
        policy: Policy::default(),
        actor: Actor::default(),
        answers: BTreeMap::new(),
        secrets: serde_json::Value::Null,
        accepted_drift: Vec::new(),
        gone: stage.token(&plan.plan().run),
    };
    let handle = stage.engine.resume(request, Arc::new(Unobserved)).await;
    let ended = stage.ended(handle.expect("it is resumed").finished().await);
    // It was made and written to, which is two things to take back; another one is not made.
    assert_eq!(ended.said(), [0, 0, 0, 0, 0, 0, 0, DENIED, 0]);
    let on: Vec<String> = ended.intended().iter().map(|i| i.request.on()).collect();
    assert!(on.contains(&"app/m70002".to_owned()), "{on:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_wrote_may_be_taken_back_after_an_interrupt() {
    let body = "(drop (call $write (i32.const 1))) (drop (call $slow (i32.const 1) (i64.const 3600000)))
        (drop (call $next (i32.const 0))) (drop (call $next (i32.const 0)))
        (local.set $op (call $unwrite (i32.const 1))) (drop (call $next (i32.const 0))) (call $say (call $take_unwrite (local.get $op)))
        (local.set $op (call $unwrite (i32.const 2))) (drop (call $next (i32.const 0))) (call $say (call $take_unwrite (local.get $op)))
        (call $finish)";
    let stage = Stage::new(Limits::default(), &guest(body));
    let handle = stage.start(ONE, 1).await.unwrap();
    stage.performed(2).await;
    handle.interrupt();
    let ended = stage.ended(handle.finished().await);
    // 9 is `cancelled`.
    assert_eq!(ended.said(), [0, 9]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_taken_only_as_its_author_signed_it() {
    let stage = Stage::new(Limits::default(), &guest(writes(&[1]) + "(call $finish)"));
    let (author, other) = (Key::generate("author"), Key::generate("other"));
    let plan = made(&stage, ONE, &[], &author).await.plan.unwrap();
    let text = plan.text();
    let open = |text: &str| SignedPlan::open(text, std::slice::from_ref(&author));
    assert_eq!(open(&text).unwrap().digest(), plan.digest());
    // Any other byte in it is seen.
    for (what, edited) in [
        ("a Machine", text.replace("m00001", "m00002")),
        (
            "the expiry",
            text.replace("\"expires_at\":\"2", "\"expires_at\":\"3"),
        ),
        ("the spacing", text.replace("\"format\":1", "\"format\": 1")),
    ] {
        assert_ne!(edited, text, "{what}");
        assert_eq!(open(&edited).unwrap_err(), PlanError::Edited, "{what}");
    }
    let unsigned = |text: &str| matches!(open(text), Err(PlanError::Unsigned { .. }));
    // Another's signature in the place of the author's, or the author's name on another key.
    stage.wall.advance(1);
    let by_other = made(&stage, ONE, &[], &other).await.plan.unwrap();
    assert_eq!(
        open(&by_other.text()).unwrap_err(),
        PlanError::Foreign("other".to_owned())
    );
    let note = |plan: &SignedPlan| {
        let file: serde_json::Value = serde_json::from_str(&plan.text()).unwrap();
        serde_json::to_string(&file["note"]).unwrap()
    };
    assert!(unsigned(&text.replace(&note(&plan), &note(&by_other))));
    assert!(unsigned(&text.replace(&note(&plan), "\"\"")));
    for nonsense in ["", "{}", "[]", "{\"plan\":1,\"note\":\"\"}"] {
        assert!(
            matches!(open(nonsense), Err(PlanError::Malformed(_))),
            "{nonsense}"
        );
    }
    // In time.
    stage.wall.advance(3600);
    assert!(matches!(
        start(&stage, &plan).await,
        Err(StartError::Expired(_))
    ));
    assert!(stage.engine.journal(&plan.plan().run).is_err());
}

fn said(opened: Result<SignedPlan, PlanError>, says: Option<&str>) {
    match (opened, says) {
        (Ok(_), None) => {}
        (Err(e), Some(says)) if e.to_string().contains(says) => {}
        (opened, _) => panic!("{says:?}: {opened:?}"),
    }
}

/// Half a plan is none, and it is said what is missing.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_lacks_something_is_none() {
    let stage = Stage::new(Limits::default(), &guest(writes(&[1]) + "(call $finish)"));
    let author = Key::generate("author");
    let plan = made(&stage, ONE, &[], &author).await.plan.unwrap();
    let whole = json!(plan.plan());
    let mut missed = 0;
    for key in whole.as_object().unwrap().keys() {
        // There was no policy, and what steps said is only shown.
        if ["policy_digest", "notes", "more_notes"].contains(&key.as_str()) {
            continue;
        }
        let half = forged(&plan, &author, |plan| {
            plan.as_object_mut().unwrap().remove(key);
        });
        let opened = SignedPlan::open(&half, std::slice::from_ref(&author));
        said(
            opened,
            Some(&format!("this is no plan: missing field `{key}`")),
        );
        missed += 1;
    }
    assert!(missed >= 20, "{missed}");
}

/// One that was made later than now, but for what clocks differ by.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_from_the_future_is_not_applied() {
    let stage = Stage::new(Limits::default(), &guest(writes(&[1]) + "(call $finish)"));
    let plan = planned(&stage, ONE, &[]).await;
    stage.wall.advance(-301);
    let made_at = plan.plan().made_at;
    let refused = start(&stage, &plan).await;
    assert!(matches!(refused, Err(StartError::Unmade(at)) if at == made_at));
    assert!(stage.engine.journal(&plan.plan().run).is_err());
    stage.wall.advance(1);
    assert_eq!(apply(&stage, &plan).await.state.effects().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_made_for_some_time_and_not_for_ever() {
    let stage = Stage::new(Limits::default(), &guest(writes(&[1]) + "(call $finish)"));
    for valid_for in [
        Duration::ZERO,
        LONGEST_VALIDITY + Duration::from_millis(1),
        Duration::MAX,
    ] {
        let planning = PlanRequest {
            run: stage.request(ONE, Mode::Rehearsal, 1),
            contingencies: Vec::new(),
            author: Key::generate("author"),
            valid_for,
        };
        let refused = stage.engine.plan(planning, Arc::new(Unobserved)).await;
        assert!(matches!(refused, Err(MakeError::Validity)), "{valid_for:?}");
    }
}

/// The same plan with something in it changed, signed again by its author.
pub(crate) fn forged(
    plan: &SignedPlan,
    author: &Key,
    change: impl Fn(&mut serde_json::Value),
) -> String {
    let mut file: serde_json::Value = serde_json::from_str(&plan.text()).unwrap();
    change(&mut file["plan"]);
    let digest: String = Sha256::digest(file["plan"].to_string())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let note = author.sign(&format!("groundcrew plan v1\n{digest}\n"), &[]);
    file["note"] = note.unwrap().into();
    file.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_read_in_a_plan_is_so_even_if_its_author_lies() {
    let stage = Stage::new(Limits::default(), &guest(writes(&[1]) + "(call $finish)"));
    let author = Key::generate("author");
    let plan = made(&stage, ONE, &[], &author).await.plan.unwrap();
    let open = |text: &str| SignedPlan::open(text, std::slice::from_ref(&author));
    // As it is it can be signed again.
    assert!(open(&forged(&plan, &author, |_| {})).is_ok());
    // Its author by another spelling, or another run's id.
    for (field, lie) in [
        ("author", format!("{} ", author.public())),
        ("run", "01mcc5rm000000000000002001".to_owned()),
        ("run", plan.plan().run.to_uppercase()),
        ("made_at", "2030-01-01T00:00:00Z".to_owned()),
    ] {
        let text = forged(&plan, &author, |plan| plan[field] = lie.clone().into());
        assert!(
            open(&text).is_err() || field == "run" && lie.ends_with("001"),
            "{field}: {lie}"
        );
    }
    // Its numbers.
    let made = plan.plan().made_at;
    let after = |seconds: i64| made + jiff::SignedDuration::from_secs(seconds);
    let longest = i64::try_from(LONGEST_VALIDITY.as_secs()).unwrap();
    for (expires_at, says) in [
        (after(longest), None),
        (after(longest + 1), Some("more than 30d after it was made")),
        (jiff::Timestamp::MAX, Some("more than 30d")),
        (made, Some("and could be applied until")),
        (after(-1), Some("and could be applied until")),
    ] {
        let text = forged(&plan, &author, |plan| {
            plan["expires_at"] = expires_at.to_string().into();
        });
        said(open(&text), says);
    }
    for (scale, says) in [
        (json!(0.001), None),
        (json!(100_000), None),
        (json!(0), Some("time scale is 0, and not a number from")),
        (json!(1e300), Some("time scale is 1e+300, and not")),
        (json!(-1), Some("time scale is -1, and not")),
        (json!("fast"), Some("time scale is \"fast\", and not")),
    ] {
        let text = forged(&plan, &author, |plan| {
            plan["target"]["time_scale"] = scale.clone();
        });
        said(open(&text), says);
    }
    // What its plugins can do.
    for (what, lie) in [
        ("no step", json!([])),
        ("fewer verbs", {
            let mut steps = json!(plan.plan().steps);
            steps[0]["grants"]["ledger"]["verbs"] = json!(["read"]);
            steps
        }),
        ("fewer Machines", {
            let mut steps = json!(plan.plan().steps);
            steps[0]["grants"]["ledger"]["max_accounts"] = json!(1);
            steps
        }),
        ("fewer imports", {
            let mut steps = json!(plan.plan().steps);
            steps[0]["imports"] = json!([]);
            steps
        }),
    ] {
        let text = forged(&plan, &author, |plan| plan["steps"] = lie.clone());
        let request = applying(&stage, &open(&text).unwrap());
        let refused = stage.engine.admit(request).await.err().expect(what);
        assert_eq!(
            refused[0].message, "step `s` can do something else than the plan says that it can",
            "{what}"
        );
    }
    // A policy that is stricter now is fine.
    let mut stricter = applying(&stage, &plan);
    let limit = "[grant.ledger]\nmax_accounts = 3\n";
    stricter.policy = toml::from_str(limit).unwrap();
    assert!(stage.engine.admit(stricter).await.is_ok());
    // Inputs that its runbook does not have.
    let text = forged(&plan, &author, |plan| plan["inputs"] = json!({ "more": 1 }));
    let (opened, policy) = (open(&text).unwrap(), Policy::default());
    let refused = RunRequest::applying(opened, target(), Actor::default(), policy);
    assert!(matches!(refused, Err(PlanError::Malformed(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_name_for_a_target_is_no_way_around_its_approvals() {
    let source = guest(writes(&[1]) + "(call $finish)");
    let mut stage = Stage::new(Limits::default(), &source);
    let key = Key::generate("ann").public().to_owned();
    let text = format!(
        "[target.production]\naddress = \"https://api.machines.dev\"\norganisation = \"acme\"\n[target.production.approvals]\nrequired = 1\nkeys = [\"{key}\"]\n[target.staging]\naddress = \"https://staging.example\"\n"
    );
    stage.policy = toml::from_str(&text).unwrap();
    let planned = "the operator's policy wants what writes to `production` planned, and the plan approved (1 of 1 keys)";
    let unknown = "the operator's policy wants approvals for `production`, and does not know the project's target `x`";
    for (address, organisation, from_project, refused) in [
        // Whatever it is called.
        ("https://api.machines.dev", "acme", false, Some(planned)),
        ("https://api.machines.dev/", "acme", true, Some(planned)),
        // The operator may say that it is another organisation's; a project may not.
        ("https://api.machines.dev", "other", false, None),
        ("https://api.machines.dev", "other", true, Some(planned)),
        ("https://staging.example", "acme", true, None),
        // Nobody has spoken of that.
        ("https://elsewhere.example", "acme", false, None),
        ("https://elsewhere.example", "acme", true, Some(unknown)),
        ("http://127.0.0.1:9", "acme", true, Some(unknown)),
    ] {
        let mut elsewhere = target_at("x", address);
        elsewhere.organisation = Some(organisation.to_owned());
        elsewhere.from_project = from_project;
        let request = RunRequest {
            target: elsewhere,
            ..stage.request(ONE, Mode::Perform, 1)
        };
        let admitted = stage.engine.admit(request).await;
        let said = admitted.err().map(|r| r[0].message.clone());
        assert_eq!(
            said.as_deref(),
            refused,
            "{address} {organisation} {from_project}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_wants_approvals_wants_a_plan_with_them() {
    let source = guest(writes(&[1]) + "(call $finish)");
    let mut stage = Stage::new(Limits::default(), &source);
    let keys: Vec<Key> = ["author", "ann", "bob", "eve"].map(Key::generate).into();
    let approvals = Approvals {
        required: 2,
        keys: keys[..3]
            .iter()
            .map(|key| key.public().to_owned())
            .collect(),
    };
    let here = TargetPolicy {
        approvals: Some(approvals),
        ..TargetPolicy::default()
    };
    stage.policy.target.insert("test".to_owned(), here);
    let refusal = |refused: Result<groundcrew::Admitted, Vec<Refusal>>| match refused {
        Ok(_) => String::new(),
        Err(refusals) => refusals[0].message.clone(),
    };
    // Not without a plan; to rehearse, nobody is asked.
    assert_eq!(
        refusal(stage.admit(ONE, 1).await),
        "the operator's policy wants what writes to `test` planned, and the plan approved (2 of 3 keys)"
    );
    let plan = made(&stage, ONE, &[], &keys[0]).await.plan.unwrap();
    let admit = async |plan: &SignedPlan| stage.engine.admit(applying(&stage, plan)).await;
    let wanted = |by: &str| {
        format!(
            "the operator's policy wants 2 approvals for `test`, and the plan is approved by {by} (its author's own signature does not count)"
        )
    };
    assert_eq!(refusal(admit(&plan).await), wanted("nobody"));
    // The author's own, a stranger's, and the same one twice do not count.
    let one = plan.approve(&keys[1]).unwrap().approve(&keys[0]).unwrap();
    let one = one.approve(&keys[3]).unwrap().approve(&keys[1]).unwrap();
    assert_eq!(refusal(admit(&one).await), wanted("`ann`"));
    let both = one.approve(&keys[2]).unwrap();
    let both = SignedPlan::open(&both.text(), &keys).unwrap();
    assert_eq!(refusal(admit(&both).await), "");
    let ended = apply(&stage, &both).await;
    assert_eq!(ended.report.status, Some(RunStatus::Succeeded));
    let applied = ended.state.header.unwrap().plan.unwrap();
    assert_eq!(applied.approvals, ["ann", "bob"]);
    assert_eq!(applied.author, "author");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_applied_with_what_it_was_made_with() {
    let stage = Stage::new(Limits::default(), &guest(writes(&[1]) + "(call $finish)"));
    let plan = planned(&stage, ONE, &[]).await;
    let refused = async |stage: &Stage, request: RunRequest| -> Vec<String> {
        let refusals = stage
            .engine
            .admit(request)
            .await
            .err()
            .expect("it is refused");
        refusals.into_iter().map(|r| r.message).collect()
    };
    let request = RunRequest {
        text: format!("{ONE}\n"),
        ..applying(&stage, &plan)
    };
    assert_eq!(
        refused(&stage, request).await,
        ["runbook, inputs and seed are not those of the plan"]
    );
    let elsewhere = target_at("test", "http://127.0.0.1:10");
    let request = RunRequest {
        target: elsewhere,
        ..applying(&stage, &plan)
    };
    assert_eq!(
        refused(&stage, request).await,
        [
            "the plan is for another target: its machines api was `http://127.0.0.1:9`, and is now `http://127.0.0.1:10`"
        ]
    );
    let request = RunRequest {
        mode: Mode::Rehearsal,
        ..applying(&stage, &plan)
    };
    assert_eq!(
        refused(&stage, request).await,
        ["a plan is applied, not rehearsed"]
    );
    let other = Stage::new(Limits::default(), &guest(writes(&[2]) + "(call $finish)"));
    let said = refused(&other, applying(&other, &plan)).await;
    assert!(
        said[0].starts_with("plugin `test` is another build: it was "),
        "{said:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rehearsal_that_fails_gives_no_plan() {
    let stage = Stage::new(
        Limits::default(),
        &guest(writes(&[1]) + "(call $problem (i32.const 0))"),
    );
    let made = made(&stage, ONE, &[], &Key::generate("author")).await;
    assert!(made.plan.is_none());
    assert_eq!(made.report.status, Some(RunStatus::Failed));
    let (_, state) = stage.engine.journal(&made.report.run).unwrap();
    assert_eq!(state.closed.unwrap().plan, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_strike_in_rehearsals_and_name_what_there_is() {
    let body = "(drop (call $read (i32.const 1))) (drop (call $read (i32.const 2))) (drop (call $next (i32.const 0)))
        (call $say (call $take_read (i64.const 1))) (call $say (call $take_read (i64.const 2)))".to_owned()
        + &writes(&[3]) + "(call $finish)";
    let stage = Stage::new(Limits::default(), &guest(body));
    let request = |mode: Mode, rule: &str| RunRequest {
        faults: vec![rule.parse().unwrap()],
        ..stage.request(ONE, mode, 1)
    };
    let rehearsal = request(Mode::Rehearsal, "ledger.read@2:application");
    let admitted = stage.engine.admit(rehearsal).await.ok().unwrap();
    let handle = stage.engine.start(admitted, Arc::new(Unobserved)).await;
    let ended = stage.ended(handle.unwrap().finished().await);
    // 8 is `application`. What goes wrong is not done.
    assert_eq!(ended.said(), [0, 8, 0]);
    assert_eq!(stage.ledger.performed(), ["s/1 read", "s/3 write"]);
    let header = ended.state.header.unwrap();
    assert_eq!(header.faults, ["ledger.read@2:application"]);
    for (mode, rule, said) in [
        (
            Mode::Perform,
            "ledger.read@2:application",
            "faults are for rehearsals; this run is none",
        ),
        (
            Mode::Rehearsal,
            "ledger.raed@2:application",
            "the fault `ledger.raed@2:application` names no operation",
        ),
    ] {
        let refused = stage.engine.admit(request(mode, rule)).await;
        assert_eq!(refused.err().unwrap()[0].message, said);
    }
    let planning = PlanRequest {
        run: stage.request(ONE, Mode::Rehearsal, 1),
        contingencies: vec![vec!["nothing@1:timeout".parse().unwrap()]],
        author: Key::generate("author"),
        valid_for: Duration::from_secs(1),
    };
    let refused = stage.engine.plan(planning, Arc::new(Unobserved)).await;
    assert!(matches!(refused, Err(MakeError::Refused(_))));
}
