//! The gate's order: granted, within limits, intent on the disk, performed, outcome written,
//! delivered.

use std::sync::Arc;

use groundcrew::journal::{Decision, Entry, Mode, RunStatus, Settled};
use groundcrew::{Failure, Limits, Policy, Unobserved};

use crate::support::{Ended, Event, GuestSource, ONE, Stage, guest, times};

const WRITE: &str = "(drop (call $write (i32.const 1))) (call $drain (i32.const 0)) (call $say (call $take_write (i64.const 1))) (call $finish)";

/// The number of the failure `denied` as guests see it.
const DENIED: u64 = 1;

#[track_caller]
fn denied(settled: &Settled) -> &str {
    match settled.failure.as_ref() {
        Some(Failure::Denied(message)) => message,
        other => panic!("it should be denied: {other:?}"),
    }
}

/// Denied with this message: an intent that says so, an outcome, a delivery, and nothing more.
#[track_caller]
fn denied_and_nothing_happened(stage: &Stage, ended: &Ended, message: &str) {
    assert_eq!(ended.said(), [1, DENIED]);
    let kinds: Vec<_> = ended
        .records
        .iter()
        .map(|record| record.kind.word())
        .collect();
    assert_eq!(
        kinds,
        [
            "run-opened",
            "step-began",
            "intended",
            "settled",
            "delivered",
            "step-ended",
            "run-closed"
        ]
    );
    assert_eq!(ended.intended()[0].decision, Decision::Denied);
    assert_eq!(denied(&ended.settled()[0]), message);
    assert!(stage.ledger.performed().is_empty());
}

#[tokio::test]
async fn a_verb_that_is_not_granted_is_denied() {
    let stage = Stage::new(Limits::default(), &guest(WRITE));
    let ended = stage
        .run(&ONE.replace("\"write\", ", ""), Mode::Perform)
        .await;
    denied_and_nothing_happened(
        &stage,
        &ended,
        "the step's grant for `ledger` does not have the verb `write`",
    );
}

#[tokio::test]
async fn a_verb_that_is_not_asked_for_is_denied_although_granted() {
    let stage = Stage::new(
        Limits::default(),
        &GuestSource {
            verbs: vec!["read"],
            ..guest(WRITE)
        },
    );
    let ended = stage.run(ONE, Mode::Perform).await;
    denied_and_nothing_happened(
        &stage,
        &ended,
        "the step's grant for `ledger` does not have the verb `write`",
    );
}

#[tokio::test]
async fn what_the_policy_withholds_is_refused_before_anything_begins() {
    let stage = Stage::new(Limits::default(), &guest(WRITE));
    let refused = async |policy: &str| {
        let runbook = ONE.replace("apps = [\"*\"]", "apps = [\"web\", \"a*\"]");
        let mut request = stage.request(&runbook, Mode::Perform, 1);
        request.policy = toml::from_str::<Policy>(policy).unwrap();
        match stage.engine.admit(request).await {
            Ok(_) => Vec::new(),
            Err(refusals) => refusals.into_iter().map(|r| r.message).collect(),
        }
    };
    let not = |verb: &str| {
        format!("the operator's policy does not allow `{verb}` of `ledger` on this target")
    };
    assert_eq!(
        refused("[grant.ledger]\nverbs = [\"read\"]").await,
        [not("keep"), not("wait"), not("write")]
    );
    assert_eq!(
        refused("[grant.ledger]\napps = [\"api\"]").await,
        ["the operator's policy does not cover the app `web` (it covers `api`)"]
    );
    // Of a pattern it is not known which apps it is going to be.
    for fine in ["apps = [\"web\"]", "apps = [\"we*\"]", "max_accounts = 1"] {
        assert!(refused(&format!("[grant.ledger]\n{fine}")).await.is_empty());
    }
    assert_eq!(stage.ledger.performed(), [] as [&str; 0]);
}

#[tokio::test]
async fn without_a_grant_everything_is_denied() {
    let stage = Stage::new(Limits::default(), &guest(WRITE));
    let (head, _) = ONE.split_once("[step.grant").unwrap();
    let ended = stage.run(head, Mode::Perform).await;
    denied_and_nothing_happened(&stage, &ended, "the step has no grant for `ledger`");
}

#[tokio::test]
async fn an_app_that_is_not_granted_is_denied() {
    let stage = Stage::new(Limits::default(), &guest(WRITE));
    let ended = stage
        .run(&ONE.replace("[\"*\"]", "[\"app-*\"]"), Mode::Perform)
        .await;
    denied_and_nothing_happened(
        &stage,
        &ended,
        "the step's grant does not cover the app `app` (it covers `app-*`)",
    );
}

#[tokio::test]
async fn a_group_that_is_not_granted_is_denied() {
    let stage = Stage::new(Limits::default(), &guest(WRITE));
    let ended = stage
        .run(&format!("{ONE}groups = [\"even\"]\n"), Mode::Perform)
        .await;
    denied_and_nothing_happened(
        &stage,
        &ended,
        "the step's grant does not cover the group `odd` (it covers `even`)",
    );
}

#[tokio::test]
async fn at_most_so_many_things_are_written_to() {
    let write = |count| {
        times(count, "(drop (call $write (local.get $i)))")
            + "(call $drain (i32.const 0))"
            + &times(
                count,
                "(call $say (call $take_write (i64.extend_i32_u (i32.add (local.get $i) (i32.const 1)))))",
            )
            + "(call $finish)"
    };
    let runbook = format!("{ONE}max_accounts = 3\n");
    let stage = Stage::new(Limits::default(), &guest(write(3)));
    let ended = stage.run(&runbook, Mode::Perform).await;
    assert_eq!(ended.said()[3..], [0, 0, 0]);
    let stage = Stage::new(Limits::default(), &guest(write(4)));
    let ended = stage.run(&runbook, Mode::Perform).await;
    assert_eq!(ended.said()[4..], [0, 0, 0, DENIED]);
    assert_eq!(stage.ledger.performed().len(), 3);
    let fourth = ended
        .settled()
        .into_iter()
        .find(|settled| settled.effect == 4)
        .unwrap();
    assert_eq!(
        denied(&fourth),
        "the grant allows writes on at most 3 accounts, and 3 have been written to"
    );
}

#[tokio::test]
async fn writing_to_the_same_thing_again_and_reading_do_not_count() {
    let body = "(drop (call $write (i32.const 1))) (drop (call $write (i32.const 1))) (drop (call $read (i32.const 2))) (drop (call $keep (i32.const 1)))";
    let stage = Stage::new(
        Limits::default(),
        &guest(format!("{body} (call $drain (i32.const 0)) (call $finish)")),
    );
    let ended = stage
        .run(&format!("{ONE}max_accounts = 1\n"), Mode::Perform)
        .await;
    assert!(
        ended
            .settled()
            .iter()
            .all(|settled| settled.failure.is_none()),
        "{:?}",
        ended.settled()
    );
}

/// Ten there are of each group; a third of ten is three.
#[tokio::test]
async fn at_most_such_a_share_of_a_group_is_written_to() {
    let body =
        "(drop (call $write (i32.mul (local.get $i) (i32.const 2)))) (call $drain (i32.const 0))";
    let stage = Stage::new(
        Limits::default(),
        &guest(
            times(4, body)
                + "(drop (call $write (i32.const 1))) (call $drain (i32.const 0)) (call $finish)",
        ),
    );
    let ended = stage
        .run(&format!("{ONE}max_share = \"33%\"\n"), Mode::Perform)
        .await;
    let refused: Vec<_> = ended
        .settled()
        .iter()
        .filter(|s| s.failure.is_some())
        .map(|s| s.effect)
        .collect();
    assert_eq!(
        refused,
        [4],
        "the fourth of the even ones, and not the first odd one"
    );
    assert_eq!(stage.ledger.performed().len(), 4);
}

/// Where something is in the shared log of store and executor.
#[track_caller]
fn position(log: &[Event], what: impl Fn(&Event) -> bool) -> usize {
    log.iter().position(what).expect("it happened")
}

fn stored<'a>(kind: &'a str, effect: u64) -> impl Fn(&Event) -> bool + 'a {
    move |event| matches!(event, Event::Stored(k, payload) if *k == kind && (payload.contains(&format!("\"effect\":{effect},")) || payload.contains(&format!("\"effects\":[{effect}]"))))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_intent_is_in_the_store_before_the_effect_and_the_outcome_before_the_delivery() {
    let body = times(
        20,
        "(drop (call $write (local.get $i))) (drop (call $next (i32.const 1))) ",
    );
    let stage = Stage::new(Limits::default(), &guest(body + "(call $finish)"));
    let ended = stage.run(ONE, Mode::Perform).await;
    assert_eq!(ended.report.status, Some(RunStatus::Succeeded));
    let log = stage.ledger.log.lock().unwrap().clone();
    for number in 1..=20 {
        let intended = position(&log, stored("intended", number));
        let performed = position(
            &log,
            |event| matches!(event, Event::Performed(id, _) if id.ends_with(&format!("/s/{number}"))),
        );
        let settled = position(&log, stored("settled", number));
        let delivered = position(&log, stored("delivered", number));
        assert!(
            intended < performed && performed < settled && settled < delivered,
            "{intended} {performed} {settled} {delivered}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_written_down_whole_before_any_of_it_is_performed() {
    let body = times(50, "(drop (call $write (local.get $i)))")
        + "(call $drain (i32.const 0)) (call $finish)";
    let stage = Stage::new(Limits::default(), &guest(body));
    stage.run(ONE, Mode::Perform).await;
    let log = stage.ledger.log.lock().unwrap().clone();
    let first = position(&log, |event| matches!(event, Event::Performed(..)));
    let intents = log[..first]
        .iter()
        .filter(|event| matches!(event, Event::Stored("intended", _)))
        .count();
    assert_eq!(intents, 50);
}

/// For every place at which the store can fail: the run stops, what was performed had its intent
/// in the store, and nothing is performed after the failure.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_stops_the_run_and_nothing_more_is_performed() {
    let body = times(
        5,
        "(drop (call $write (local.get $i))) (drop (call $next (i32.const 1)))",
    );
    let source = guest(body + "(call $finish)").build();
    let mut stopped = 0;
    // The header is there; a whole run has 19 entries.
    for room in 0..18 {
        let stage = Stage::with_plugins(Limits::default(), &[("p", source.clone())]);
        let admitted = stage.admit(ONE, 1).await.unwrap();
        stage.store.fail_after(1 + room);
        let handle = stage
            .engine
            .start(admitted, Arc::new(Unobserved))
            .await
            .unwrap();
        let report = tokio::time::timeout(std::time::Duration::from_secs(10), handle.finished())
            .await
            .expect("it stops");
        let failure = report.halt.as_ref().expect("it says why");
        assert_eq!(
            failure.to_string(),
            "the journal cannot be written: the disk is full"
        );
        assert_eq!(report.status, None);
        let ended = stage.ended(report);
        assert!(ended.state.closed.is_none());
        let intended = ended
            .intended()
            .iter()
            .filter(|i| i.decision == Decision::Allowed)
            .count();
        let performed = stage.ledger.performed().len();
        assert!(
            performed <= intended,
            "{performed} performed, {intended} intended, room {room}"
        );
        assert!(ended.records.len() <= 1 + room);
        stopped += usize::from(performed < 5);
    }
    assert!(stopped > 10);
}

/// Both are told the same: the journal and the guest.
#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_delivery_is_the_order_in_the_journal() {
    for max in [0, 1, 3] {
        let submit = "(drop (call $slow (local.get $i) (i64.extend_i32_u (i32.rem_u (i32.mul (local.get $i) (i32.const 7)) (i32.const 13)))))";
        let stage = Stage::new(
            Limits::default(),
            &guest(times(40, submit) + &format!("(call $drain (i32.const {max})) (call $finish)")),
        );
        let ended = stage.run(ONE, Mode::Perform).await;
        let journalled: Vec<u64> = ended
            .delivered()
            .iter()
            .flat_map(|d| d.effects.clone())
            .collect();
        assert_eq!(journalled, ended.said());
        assert_eq!(journalled.len(), 40);
        if max > 0 {
            assert!(ended.delivered().iter().all(|d| d.effects.len() <= max));
        }
    }
}

#[tokio::test]
async fn cancelling_ends_a_wait_and_forgetting_ends_nothing() {
    let body = "(drop (call $slow (i32.const 1) (i64.const 3600000))) (drop (call $write (i32.const 2))) (call $forget (i64.const 2))
        (drop (call $sleep (i64.const 1))) (drop (call $next (i32.const 0))) (call $cancel (i64.const 1))
        (call $drain (i32.const 0)) (call $say (call $take_slow (i64.const 1))) (call $finish)";
    let stage = Stage::new(Limits::default(), &guest(body));
    let ended = stage.run(ONE, Mode::Perform).await;
    // 9: `cancelled`.
    assert_eq!(ended.said(), [1, 9]);
    assert!(stage.ledger.performed().contains(&"s/2 write".to_owned()));
}

#[tokio::test]
async fn a_write_in_doubt_makes_the_run_so() {
    let body = WRITE.replace("(i32.const 1)))", "(i32.const 99999)))");
    let stage = Stage::new(Limits::default(), &guest(body));
    let ended = stage.run(ONE, Mode::Perform).await;
    assert_eq!(ended.report.status, Some(RunStatus::InDoubt));
    assert_eq!(ended.report.in_doubt, ["s/1"]);
    assert_eq!(ended.state.closed.as_ref().unwrap().in_doubt, ["s/1"]);
    assert!(ended.settled()[0].in_doubt);
}

#[tokio::test]
async fn no_entry_but_the_last_closes_the_run() {
    let stage = Stage::new(Limits::default(), &guest(WRITE));
    let ended = stage.run(ONE, Mode::Perform).await;
    let entries = ended.entries();
    assert!(
        matches!(entries.first(), Some(Entry::RunOpened(_)))
            && matches!(entries.last(), Some(Entry::RunClosed(_)))
    );
    assert!(
        ended
            .records
            .iter()
            .enumerate()
            .all(|(at, record)| record.sequence == at as u64)
    );
}
