//! Every bound of a running plugin, at its value and one past it. (Those of loading are in
//! `admission`.)

use std::time::Duration;

use groundcrew::Limits;
use groundcrew::journal::{Mode, RunStatus};

use crate::support::{Ended, GuestSource, ONE, Stage, guest, times};

async fn run(limits: Limits, source: &GuestSource) -> (Stage, Ended) {
    let stage = Stage::new(limits, source);
    let ended = stage.run(ONE, Mode::Perform).await;
    (stage, ended)
}

#[track_caller]
fn fine(ended: &Ended) {
    assert_eq!(
        ended.report.status,
        Some(RunStatus::Succeeded),
        "{:?}",
        ended.step()
    );
}

#[track_caller]
fn stopped(ended: &Ended, code: &str, message: &str) {
    assert_eq!(ended.report.status, Some(RunStatus::Failed));
    assert_eq!(ended.stopped_by(), (code, message));
}

#[tokio::test]
async fn memory() {
    let limits = Limits {
        memory_bytes: 64 << 16,
        ..Limits::default()
    };
    let grow = |pages: u32| {
        guest(format!(
            "(drop (memory.grow (i32.sub (i32.const {pages}) (memory.size)))) (call $say (memory.size)) (call $finish)"
        ))
    };
    let (_, ended) = run(limits, &grow(64)).await;
    assert_eq!(ended.said(), [64]);
    let (_, ended) = run(limits, &grow(65)).await;
    stopped(
        &ended,
        "memory",
        "the plugin wanted more than its 4194304 bytes of memory",
    );
    // From the start too, when it is only admitted.
    let mut source = guest("(call $finish)");
    source.summary = "x".repeat(200_000);
    let stage = Stage::new(
        Limits {
            memory_bytes: 1 << 16,
            ..Limits::default()
        },
        &source,
    );
    let error = stage.engine.plugin("p").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "plugin `p` could not describe itself: the plugin wanted more than its 65536 bytes of memory"
    );
}

#[tokio::test]
async fn fuel() {
    let source = guest(times(1_000, "") + "(call $finish)").build();
    let ends = async |fuel: u64| {
        let stage = Stage::with_plugins(
            Limits {
                fuel,
                ..Limits::default()
            },
            &[("p", source.clone())],
        );
        let ended = stage.run(ONE, Mode::Perform).await;
        match ended.report.status {
            Some(RunStatus::Succeeded) => true,
            _ => {
                assert_eq!(
                    ended.stopped_by(),
                    (
                        "fuel",
                        &*format!(
                            "the plugin computed without end: it used up its {fuel} units of fuel"
                        )
                    )
                );
                false
            }
        }
    };
    let (mut too_little, mut enough) = (1_000, 17_384);
    assert!(ends(enough).await);
    while enough - too_little > 1 {
        let middle = u64::midpoint(too_little, enough);
        if ends(middle).await {
            enough = middle
        } else {
            too_little = middle
        }
    }
    // The same program burns the same every time.
    assert!(ends(enough).await && !ends(enough - 1).await);
}

#[tokio::test]
async fn operations_in_flight() {
    let limits = Limits {
        operations_in_flight: 8,
        ..Limits::default()
    };
    let submit = |count: u64| {
        times(count, "(drop (call $read (local.get $i)))") + "(call $drain (i32.const 0))"
    };
    let (_, ended) = run(limits, &guest(submit(8) + "(call $finish)")).await;
    fine(&ended);
    let (stage, ended) = run(limits, &guest(submit(9) + "(call $finish)")).await;
    stopped(
        &ended,
        "operations",
        "more than 8 operations in flight at once",
    );
    assert!(
        stage.ledger.performed().is_empty(),
        "what was pending has not gone out"
    );
    // Delivered ones do not count, taken or not.
    let (_, ended) = run(limits, &guest(submit(8) + &submit(8) + "(call $finish)")).await;
    fine(&ended);
    // Forgotten ones do until they are done.
    let forget = times(
        9,
        "(call $forget (call $slow (local.get $i) (i64.const 1000)))",
    );
    let (_, ended) = run(limits, &guest(forget + "(call $finish)")).await;
    stopped(
        &ended,
        "operations",
        "more than 8 operations in flight at once",
    );
}

#[tokio::test]
async fn operations_in_all() {
    let limits = Limits {
        operations: 8,
        ..Limits::default()
    };
    let one_by_one = |count: u64| {
        guest(
            times(
                count,
                "(drop (call $read (local.get $i))) (call $drain (i32.const 0))",
            ) + "(call $finish)",
        )
    };
    fine(&run(limits, &one_by_one(8)).await.1);
    let (stage, ended) = run(limits, &one_by_one(9)).await;
    stopped(&ended, "operations", "more than 8 operations in one step");
    assert_eq!(stage.ledger.performed().len(), 8);
}

#[tokio::test]
async fn request_bytes() {
    let limits = Limits {
        request_bytes: 1_000,
        ..Limits::default()
    };
    // The app's name has 3 bytes, and no arguments count as 8.
    let write = |bytes: usize| {
        guest(format!(
            "(memory.fill (i32.const 70000) (i32.const 97) (i32.const 2000)) (drop (call $host_write (i32.const 70000) (i32.const {}))) (call $drain (i32.const 0)) (call $finish)",
            bytes - 11
        ))
    };
    fine(&run(limits, &write(1_000)).await.1);
    let (stage, ended) = run(limits, &write(1_001)).await;
    stopped(
        &ended,
        "operations",
        "a request of 1001 bytes; at most 1000 are allowed",
    );
    assert!(stage.ledger.performed().is_empty());
}

#[tokio::test]
async fn result_bytes() {
    let limits = Limits {
        result_bytes: 10_000,
        ..Limits::default()
    };
    // With its quotes an answer has two bytes more.
    let hold = |first: u32, second: u32| {
        format!(
            "(drop (call $big (i32.const {}))) (drop (call $big (i32.const {}))) (call $drain (i32.const 0))",
            first - 2,
            second - 2
        )
    };
    fine(
        &run(limits, &guest(hold(5_000, 5_000) + "(call $finish)"))
            .await
            .1,
    );
    let (_, ended) = run(limits, &guest(hold(5_000, 5_001) + "(call $finish)")).await;
    stopped(
        &ended,
        "result-bytes",
        "answers of 10001 bytes are held and not taken; at most 10000 are allowed",
    );
    // Taking and forgetting give the bytes back.
    let taken = hold(5_000, 5_000)
        + "(drop (call $take_big (i64.const 1))) (call $forget (i64.const 2))"
        + &hold(5_000, 5_000);
    fine(&run(limits, &guest(taken + "(call $finish)")).await.1);
    let not_given_back =
        hold(5_000, 5_000) + "(drop (call $take_big (i64.const 1)))" + &hold(5_000, 100);
    let (_, ended) = run(limits, &guest(not_given_back + "(call $finish)")).await;
    assert_eq!(ended.stopped_by().0, "result-bytes");
}

#[tokio::test]
async fn output_bytes() {
    let limits = Limits {
        output_bytes: 1_000,
        ..Limits::default()
    };
    let say = |bytes: usize| {
        guest(format!(
            "(memory.fill (i32.const 70000) (i32.const 97) (i32.const 2000))
             (i32.store8 (i32.const 70000) (i32.const 34)) (i32.store8 (i32.const {}) (i32.const 34))
             (call $ok (i32.const 70000) (i32.const {bytes}))",
            70_000 + bytes - 1
        ))
    };
    fine(&run(limits, &say(1_000)).await.1);
    let (_, ended) = run(limits, &say(1_001)).await;
    stopped(
        &ended,
        "output",
        "the plugin returned 1001 bytes; at most 1000 are allowed",
    );
    // A problem is an output too: its message is the key, 6 bytes.
    let (_, ended) = run(
        Limits {
            output_bytes: 6,
            ..limits
        },
        &guest("(call $problem (i32.const 4))"),
    )
    .await;
    assert_eq!(ended.stopped_by(), ("none", "m00000"));
    let (_, ended) = run(
        Limits {
            output_bytes: 5,
            ..limits
        },
        &guest("(call $problem (i32.const 4))"),
    )
    .await;
    stopped(
        &ended,
        "output",
        "the plugin returned 6 bytes; at most 5 are allowed",
    );
}

#[tokio::test]
async fn note_bytes() {
    let limits = Limits {
        note_bytes: 10,
        ..Limits::default()
    };
    let note = |bytes: u32| {
        guest(format!(
            "(memory.fill (i32.const 70000) (i32.const 97) (i32.const 2000)) (call $note (i32.const 70000) (i32.const {bytes})) (call $finish)"
        ))
    };
    assert_eq!(run(limits, &note(10)).await.1.notes(), ["a".repeat(10)]);
    assert_eq!(run(limits, &note(11)).await.1.notes(), ["a".repeat(10)]);
    // Cut at a character: ten bytes end inside the fourth `€`.
    let mut euros = guest("(call $note (i32.const 512) (i32.const 15)) (call $finish)");
    euros.functions = "(data (i32.const 512) \"€€€€€\")".to_owned();
    assert_eq!(run(limits, &euros).await.1.notes(), ["€€€"]);
}

#[tokio::test]
async fn notes() {
    let limits = Limits {
        notes: 3,
        ..Limits::default()
    };
    let say = |count: u64| {
        guest(
            times(
                count,
                "(call $key (local.get $i)) (call $note (i32.const 16) (i32.const 6))",
            ) + "(call $finish)",
        )
    };
    let (_, ended) = run(limits, &say(3)).await;
    assert_eq!(ended.notes(), ["m00000", "m00001", "m00002"]);
    let (_, ended) = run(limits, &say(7)).await;
    fine(&ended);
    assert_eq!(
        ended.notes(),
        [
            "m00000",
            "m00001",
            "m00002",
            "the plugin has said 3 things; the rest is dropped"
        ]
    );
}

/// In virtual time, so exactly.
#[tokio::test]
async fn step_timeout() {
    let sleep = |ms: u64| {
        guest(format!(
            "(drop (call $sleep (i64.const {ms}))) (call $drain (i32.const 0)) (call $finish)"
        ))
    };
    let limits = Limits {
        step_timeout: Duration::from_secs(60),
        ..Limits::default()
    };
    let ended = Stage::new(limits, &sleep(59_999))
        .run(ONE, Mode::Rehearsal)
        .await;
    fine(&ended);
    let ended = Stage::new(limits, &sleep(60_001))
        .run(ONE, Mode::Rehearsal)
        .await;
    stopped(
        &ended,
        "wall-clock",
        "the step took longer than its timeout of 1m",
    );
}

#[tokio::test]
async fn the_stack_is_as_large_as_said() {
    let deep = |levels: u32| {
        let mut source = guest(format!(
            "(call $deeper (i32.const {levels})) (call $finish)"
        ));
        source.functions = "(func $deeper (param $n i32) (if (local.get $n) (then (call $deeper (i32.sub (local.get $n) (i32.const 1))) (drop (memory.size)))))".to_owned();
        source
    };
    let small = Limits {
        stack_bytes: 128 << 10,
        ..Limits::default()
    };
    fine(&run(small, &deep(1_000)).await.1);
    let (_, ended) = run(small, &deep(100_000)).await;
    stopped(
        &ended,
        "stack",
        "the plugin recursed without end: its stack of 131072 bytes is full",
    );
}
