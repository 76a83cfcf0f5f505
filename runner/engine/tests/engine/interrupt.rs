//! Interrupting, stopping, taking over: who may still do what, and who holds the run.

use std::sync::Arc;
use std::time::Duration;

use groundcrew::journal::{Actor, Decision, RunStatus, StepStatus};
use groundcrew::store::{Append, Standing, StoreError};
use groundcrew::{Clock, Limits, RunHandle, RunReport, StartError, Unobserved};

use crate::support::{ONE, Stage, guest, target};

async fn finished(handle: RunHandle) -> RunReport {
    tokio::time::timeout(Duration::from_secs(20), handle.finished())
        .await
        .expect("the run ends")
}

/// Waits, and once the wait has ended tries a write, housekeeping and a read, and says how each
/// came out.
const GOES_ON: &str = "(drop (call $slow (i32.const 1) (i64.const 3600000))) (drop (call $next (i32.const 0)))
    (call $say (call $take_slow (i64.const 1)))
    (drop (call $write (i32.const 2))) (drop (call $keep (i32.const 3))) (drop (call $read (i32.const 4)))
    (drop (call $slow (i32.const 5) (i64.const 3600000)))
    (loop $again (br_if $again (call $next (i32.const 0))))
    (call $say (call $take_write (i64.const 2))) (call $say (call $take_keep (i64.const 3)))
    (call $say (call $take_read (i64.const 4))) (call $say (call $take_slow (i64.const 5)))";

#[tokio::test(flavor = "multi_thread")]
async fn after_an_interrupt_waits_end_no_write_goes_out_and_housekeeping_does() {
    let stage = Stage::new(
        Limits::default(),
        &guest(format!("{GOES_ON} (call $finish)")),
    );
    let handle = stage.start(ONE, 1).await.unwrap();
    stage.performed(1).await;
    handle.interrupt();
    let ended = stage.ended(finished(handle).await);
    // 9 is `cancelled`.
    assert_eq!(ended.said(), [9, 9, 0, 0, 9]);
    assert_eq!(ended.report.status, Some(RunStatus::Interrupted));
    assert_eq!(
        ended.state.closed.as_ref().unwrap().status,
        RunStatus::Interrupted
    );
    let performed = stage.ledger.performed();
    assert!(
        !performed.iter().any(|p| p.ends_with("write")),
        "{performed:?}"
    );
    assert!(
        performed.contains(&"s/3 keep".to_owned()) && performed.contains(&"s/6 drop".to_owned()),
        "{performed:?}"
    );
    let write = ended
        .intended()
        .into_iter()
        .find(|i| i.effect == 2)
        .unwrap();
    assert_eq!(write.decision, Decision::Denied);
    let now = stage.wall.now();
    assert!(stage.engine.store().locks().unwrap().is_empty());
    assert_eq!(
        stage
            .engine
            .store()
            .run(&ended.report.run, now)
            .unwrap()
            .standing,
        Standing::Closed(RunStatus::Interrupted)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_gives_up_when_interrupted_is_cancelled() {
    let stage = Stage::new(
        Limits::default(),
        &guest(
            "(drop (call $slow (i32.const 1) (i64.const 3600000))) (drop (call $next (i32.const 0))) (call $problem (i32.const 3))",
        ),
    );
    let handle = stage
        .start(
            &(ONE.to_owned() + "[[step]]\nid = \"later\"\nplugin = \"p\"\nneeds = [\"s\"]\n"),
            1,
        )
        .await
        .unwrap();
    stage.performed(1).await;
    handle.interrupt();
    let ended = stage.ended(finished(handle).await);
    assert_eq!(ended.step().status, StepStatus::Cancelled);
    let later = ended.state.steps["later"].ended.as_ref().unwrap();
    assert_eq!(
        (
            later.status,
            later.problem.as_ref().unwrap().message.as_str()
        ),
        (StepStatus::Cancelled, "the run was interrupted")
    );
    assert_eq!(ended.report.status, Some(RunStatus::Interrupted));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_been_sent_is_seen_to_its_end() {
    let stage = Stage::new(
        Limits::default(),
        &guest(
            "(drop (call $linger (i32.const 1) (i64.const 300))) (call $drain (i32.const 0)) (call $say (call $take_linger (i64.const 1))) (call $finish)",
        ),
    );
    let handle = stage.start(ONE, 1).await.unwrap();
    stage.performed(1).await;
    handle.interrupt();
    let ended = stage.ended(finished(handle).await);
    assert_eq!(ended.said(), [1, 0]);
    assert_eq!(ended.report.status, Some(RunStatus::Interrupted));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_ignores_an_interrupt_is_ended_after_the_time_for_cleaning_up() {
    let limits = Limits {
        cleanup_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    let stage = Stage::new(
        limits,
        &guest(
            "(drop (call $read (i32.const 1))) (drop (call $next (i32.const 0))) (loop $again (br $again)) (unreachable)",
        ),
    );
    let handle = stage.start(ONE, 1).await.unwrap();
    stage.performed(1).await;
    handle.interrupt();
    let ended = stage.ended(finished(handle).await);
    assert_eq!(ended.step().status, StepStatus::Cancelled);
    assert_eq!(
        ended.stopped_by(),
        ("wall-clock", "the plugin did not end after the interrupt")
    );
    assert_eq!(ended.report.status, Some(RunStatus::Interrupted));
}

/// What is under way when a step is left is in doubt, and stops there: written down later, it would
/// make the journal one that does not fold.
#[tokio::test(flavor = "multi_thread")]
async fn what_outlives_its_step_writes_nothing_down_any_more() {
    let limits = Limits {
        cleanup_timeout: Duration::from_millis(200),
        ..Limits::default()
    };
    let lingers = guest(
        "(drop (call $linger (i32.const 1) (i64.const 1500))) (drop (call $next (i32.const 0))) (loop $again (br $again)) (unreachable)",
    );
    let waits = guest(
        "(drop (call $slow (i32.const 1) (i64.const 1500))) (call $drain (i32.const 0)) (call $finish)",
    );
    let stage = Stage::with_plugins(limits, &[("p", lingers.build()), ("c", waits.build())]);
    let runbook = ONE.replace("plugin = \"p\"", "plugin = \"p\"\ntimeout = \"1s\"");
    let runbook = format!(
        "{runbook}[[finally]]\nid = \"look\"\nplugin = \"c\"\n[finally.grant.ledger]\napps = [\"*\"]\nverbs = [\"wait\"]\n"
    );
    let handle = stage.start(&runbook, 1).await.unwrap();
    // Folds, or this fails.
    let ended = stage.ended(finished(handle).await);
    assert_eq!(ended.stopped_by().0, "wall-clock");
    assert_eq!(ended.report.in_doubt, ["s/1"]);
    assert!(ended.state.steps["s"].effects[&1].settled.is_none());
    let look = ended.state.steps["look"].ended.as_ref().unwrap();
    assert_eq!(look.status, StepStatus::Succeeded);
}

#[tokio::test(flavor = "multi_thread")]
async fn finally_runs_after_an_interrupt() {
    let cleans =
        guest("(drop (call $keep (i32.const 7))) (drop (call $write (i32.const 8))) (call $drain (i32.const 0)) (call $finish)")
            .build();
    let waits = guest("(drop (call $slow (i32.const 1) (i64.const 3600000))) (call $drain (i32.const 0)) (call $finish)").build();
    let stage = Stage::with_plugins(Limits::default(), &[("p", waits), ("c", cleans)]);
    let runbook = format!(
        "{ONE}[[finally]]\nid = \"clean\"\nplugin = \"c\"\n[finally.grant.ledger]\napps = [\"*\"]\nverbs = [\"keep\", \"write\"]\n"
    );
    let handle = stage.start(&runbook, 1).await.unwrap();
    stage.performed(1).await;
    handle.interrupt();
    let ended = stage.ended(finished(handle).await);
    assert_eq!(
        ended.state.steps["clean"].ended.as_ref().unwrap().status,
        StepStatus::Succeeded
    );
    let performed = stage.ledger.performed();
    for done in ["clean/1 keep", "clean/2 write"] {
        assert!(performed.contains(&done.to_owned()), "{performed:?}");
    }
}

/// A run that waits for an hour.
fn waiting() -> Stage {
    Stage::new(
        Limits::default(),
        &guest(
            "(drop (call $write (i32.const 1))) (drop (call $next (i32.const 0))) (drop (call $slow (i32.const 1) (i64.const 3600000))) (call $drain (i32.const 0)) (call $finish)",
        ),
    )
}

/// The same with its run, which has come to the wait.
async fn underway() -> (Stage, RunHandle, String) {
    let stage = waiting();
    let handle = stage.start(ONE, 1).await.unwrap();
    let run = handle.run().to_owned();
    stage.performed(2).await;
    (stage, handle, run)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_run_is_abandoned_until_somebody_closes_it() {
    let (stage, handle, run) = underway().await;
    handle.stop();
    let report = finished(handle).await;
    assert!(report.status.is_none() && report.halt.is_none());
    let standing = |stage: &Stage| {
        stage
            .engine
            .store()
            .run(&run, stage.wall.now())
            .unwrap()
            .standing
    };
    assert_eq!(
        standing(&stage),
        Standing::Running,
        "until its claim expires"
    );
    let early = stage
        .engine
        .cancel_run(
            &run,
            &target(),
            None,
            &Actor::default(),
            Arc::new(Unobserved),
        )
        .await;
    assert!(matches!(early, Err(StartError::Store(StoreError::Held(r))) if r == run));
    stage.wall.advance(31);
    assert_eq!(standing(&stage), Standing::Abandoned);
    let closed = stage
        .engine
        .cancel_run(
            &run,
            &target(),
            None,
            &Actor::default(),
            Arc::new(Unobserved),
        )
        .await
        .unwrap();
    assert!(
        closed.in_doubt.is_empty(),
        "a wait is no write: {:?}",
        closed.in_doubt
    );
    assert_eq!(standing(&stage), Standing::Closed(RunStatus::Cancelled));
    let (_, state) = stage.engine.journal(&run).unwrap();
    assert_eq!(
        state.steps["s"].ended.as_ref().unwrap().status,
        StepStatus::Cancelled
    );
    assert!(stage.engine.store().locks().unwrap().is_empty());
    let again = stage
        .engine
        .cancel_run(
            &run,
            &target(),
            stage.token(&run),
            &Actor::default(),
            Arc::new(Unobserved),
        )
        .await;
    assert!(matches!(
        again,
        Err(StartError::Ended {
            status: "cancelled",
            ..
        })
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_a_run_names_the_writes_that_are_in_doubt() {
    let stage = Stage::new(
        Limits::default(),
        &guest(
            "(drop (call $linger (i32.const 1) (i64.const 60000))) (drop (call $read (i32.const 2))) (drop (call $slow (i32.const 3) (i64.const 60000))) (call $drain (i32.const 0)) (call $finish)",
        ),
    );
    let handle = stage.start(ONE, 1).await.unwrap();
    let run = handle.run().to_owned();
    stage.performed(3).await;
    handle.stop();
    finished(handle).await;
    let closed = stage
        .engine
        .cancel_run(
            &run,
            &target(),
            stage.token(&run),
            &Actor::default(),
            Arc::new(Unobserved),
        )
        .await
        .unwrap();
    assert_eq!(closed.in_doubt, ["s/1 ledger.linger app/m00001"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_on_the_same_lock_is_refused_until_the_first_is_given_up() {
    let stage = waiting();
    let first = stage.start(ONE, 1).await.unwrap();
    let refused = stage.start(ONE, 2).await.err().expect("the lock is held");
    assert_eq!(
        refused.to_string(),
        format!("`127.0.0.1:9/app/*` is locked by run {}", first.run())
    );
    assert!(
        matches!(&refused, StartError::Store(StoreError::Locked { run, .. }) if run == first.run())
    );
    // Other locks do not conflict; the same one under a wider name does.
    let other = stage
        .start(
            &ONE.replace("summary", "lock = [\"elsewhere\"]\nsummary"),
            3,
        )
        .await;
    let under = stage
        .start(
            &ONE.replace("summary", "lock = [\"app/*/worker\"]\nsummary"),
            4,
        )
        .await;
    assert!(other.is_ok());
    assert!(matches!(
        under,
        Err(StartError::Store(StoreError::Locked { .. }))
    ));
    // Half done and left alone, it keeps its lock: somebody has to say what becomes of it.
    let run = first.run().to_owned();
    first.stop();
    stage.wall.advance(3600);
    assert!(matches!(
        stage.start(ONE, 5).await,
        Err(StartError::Store(StoreError::Locked { .. }))
    ));
    let closed = stage
        .engine
        .cancel_run(
            &run,
            &target(),
            None,
            &Actor::default(),
            Arc::new(Unobserved),
        )
        .await;
    closed.unwrap();
    assert!(stage.start(ONE, 5).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_takeover_the_old_process_can_do_nothing() {
    let body = "(drop (call $slow (i32.const 1) (i64.const 400))) (drop (call $next (i32.const 0))) (drop (call $write (i32.const 2))) (call $drain (i32.const 0)) (call $finish)";
    let stage = Stage::new(Limits::default(), &guest(body));
    let handle = stage.start(ONE, 1).await.unwrap();
    let run = handle.run().to_owned();
    stage.performed(1).await;
    stage.wall.advance(31);
    stage
        .engine
        .cancel_run(
            &run,
            &target(),
            None,
            &Actor::default(),
            Arc::new(Unobserved),
        )
        .await
        .unwrap();
    let report = finished(handle).await;
    assert_eq!(
        report.halt.unwrap().to_string(),
        format!(
            "the journal cannot be written: run `{run}` is no longer ours: another process has taken it over"
        )
    );
    assert_eq!(
        stage.ledger.performed(),
        ["s/1 slow"],
        "the write did not go out"
    );
    let (_, state) = stage.engine.journal(&run).unwrap();
    assert_eq!(state.closed.unwrap().status, RunStatus::Cancelled);
}

/// It need not have anything to write: its next heartbeat finds out.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_waits_learns_of_a_takeover_from_its_heartbeat() {
    let (stage, handle, run) = underway().await;
    let store = stage.engine.store();
    let now = stage.wall.now();
    store
        .claim(&run, &Actor::default(), now, now, stage.token(&run))
        .unwrap();
    stage.wall.wake();
    let halt = finished(handle).await.halt.unwrap();
    assert!(halt.taken_over(), "{halt}");
    let text = halt.to_string();
    assert!(text.contains("another process has taken it over"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_claim_cannot_append() {
    let (stage, handle, run) = underway().await;
    let store = stage.engine.store();
    let now = stage.wall.now();
    let first = store
        .claim(&run, &Actor::default(), now, now, stage.token(&run))
        .unwrap();
    let second = store
        .claim(&run, &Actor::default(), now, now, stage.token(&run))
        .unwrap();
    assert!(second.token > first.token);
    let (records, _) = stage.engine.journal(&run).unwrap();
    let mut record = records[1].clone();
    record.sequence = records.len() as u64;
    let append = |claim| {
        store.append(&Append {
            claim,
            records: std::slice::from_ref(&record),
            closing: None,
        })
    };
    assert!(matches!(append(&first), Err(StoreError::Fenced(r)) if r == run));
    assert!(append(&second).is_ok());
    handle.stop();
}
