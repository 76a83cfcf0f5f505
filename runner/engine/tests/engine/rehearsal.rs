//! Rehearsals: virtual time, and the same thing twice.

use std::time::{Duration, Instant};

use groundcrew::journal::{Mode, RunStatus};
use groundcrew::{Clock, Limits};

use crate::support::{Ended, ONE, Stage, guest, times};

/// Kinds and payloads after the header; what differs between two runs is their ids and, in the
/// record, times.
fn story(ended: &Ended) -> Vec<(&'static str, String)> {
    ended.records[1..]
        .iter()
        .map(|record| (record.kind.word(), record.payload.to_string()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_rehearsal_twice_has_the_same_journal() {
    let wait = "(drop (call $slow (local.get $i) (i64.extend_i32_u (i32.mul (i32.const 100) (i32.rem_u (i32.mul (local.get $i) (i32.const 7)) (i32.const 13))))))";
    let body = times(60, wait)
        + &times(20, "(drop (call $write (local.get $i)))")
        + "(call $drain (i32.const 3)) (call $say (i32.rem_u (i32.wrap_i64 (call $random)) (i32.const 99999)))"
        + &times(30, wait)
        + "(call $drain (i32.const 0)) (call $finish)";
    let source = guest(body).build();
    // Three steps at once, and one after them.
    let step = |id: &str, more: &str| {
        format!(
            "[[step]]\nid = \"{id}\"\nplugin = \"p\"\n{more}[step.grant.ledger]\napps = [\"*\"]\nverbs = [\"write\", \"wait\"]\n"
        )
    };
    let runbook = format!(
        "name = \"four\"\nsummary = \"Four.\"\n{}{}{}{}",
        step("a", ""),
        step("b", ""),
        step("c", ""),
        step("d", "needs = [\"a\", \"b\"]\n")
    );
    let mut first: Option<Vec<(&str, String)>> = None;
    for _ in 0..8 {
        let stage = Stage::with_plugins(Limits::default(), &[("p", source.clone())]);
        let ended = stage.run(&runbook, Mode::Rehearsal).await;
        assert_eq!(
            ended.report.status,
            Some(RunStatus::Succeeded),
            "{:?}",
            ended
                .report
                .steps
                .iter()
                .map(|s| &s.problem)
                .collect::<Vec<_>>()
        );
        let story = story(&ended);
        match &first {
            None => first = Some(story),
            Some(first) => {
                let differs = first.iter().zip(&story).position(|(a, b)| a != b);
                assert_eq!(differs.map(|at| (&first[at], &story[at])), None);
                assert_eq!(first.len(), story.len());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hour_passes_in_no_time_and_the_guest_sees_it() {
    let body = "(local.set $op (call $now)) (drop (call $sleep (i64.const 3600000))) (drop (call $next (i32.const 0)))
        (call $say (i32.wrap_i64 (i64.div_u (i64.sub (call $now) (local.get $op)) (i64.const 1000)))) (call $finish)";
    let stage = Stage::new(Limits::default(), &guest(body));
    let before = Instant::now();
    let ended = stage
        .run(
            &ONE.replace("plugin = \"p\"", "plugin = \"p\"\ntimeout = \"2h\""),
            Mode::Rehearsal,
        )
        .await;
    assert_eq!(ended.said(), [3600]);
    assert!(before.elapsed() < Duration::from_secs(20));
    let start = u64::try_from(stage.wall.now().as_millisecond()).unwrap();
    assert_eq!(ended.delivered()[0].now, start + 3_600_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rehearsal_takes_no_lock() {
    let stage = Stage::new(
        Limits::default(),
        &guest(
            "(drop (call $slow (i32.const 1) (i64.const 3600000))) (call $drain (i32.const 0)) (call $finish)",
        ),
    );
    let live = stage.start(ONE, 7).await.unwrap();
    stage.performed(1).await;
    let ended = stage
        .run(
            &ONE.replace("plugin = \"p\"", "plugin = \"p\"\ntimeout = \"2h\""),
            Mode::Rehearsal,
        )
        .await;
    assert_eq!(ended.report.status, Some(RunStatus::Succeeded));
    live.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn five_thousand_operations_at_once_are_fine() {
    let body = times(5_000, "(drop (call $linger (local.get $i) (i64.const 50)))")
        + "(call $drain (i32.const 0)) (call $finish)";
    for mode in [Mode::Perform, Mode::Rehearsal] {
        let stage = Stage::new(Limits::default(), &guest(body.clone()));
        let before = Instant::now();
        let ended = stage.run(ONE, mode).await;
        assert_eq!(
            ended.report.status,
            Some(RunStatus::Succeeded),
            "{:?}",
            ended.step().problem
        );
        assert_eq!(stage.ledger.performed().len(), 5_000);
        let mut said = ended.said();
        said.sort_unstable();
        assert!(said.into_iter().eq(1..=5_000));
        assert!(
            before.elapsed() < Duration::from_secs(30),
            "{:?}",
            before.elapsed()
        );
    }
}
