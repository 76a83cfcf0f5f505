//! Plugins that misbehave while they run: each is stopped with the right word, its run is closed,
//! its journal folds, and what it held is given back.

use std::time::Duration;

use groundcrew::journal::{Mode, RunStatus, StepStatus};
use groundcrew::{Limits, ProblemKind};

use crate::support::{Ended, GuestSource, ONE, Stage, guest};

async fn run(limits: Limits, source: &GuestSource) -> (Stage, Ended) {
    let stage = Stage::new(limits, source);
    let ended = stage.run(ONE, Mode::Perform).await;
    (stage, ended)
}

/// It failed, and nothing is left.
#[track_caller]
fn closed_as_failed(stage: &Stage, ended: &Ended) {
    assert_eq!(ended.report.status, Some(RunStatus::Failed));
    assert_eq!(
        ended.state.closed.as_ref().unwrap().status,
        RunStatus::Failed
    );
    assert_eq!(ended.step().status, StepStatus::Failed);
    assert!(
        ended
            .state
            .effects()
            .all(|(_, effect)| effect.settled.is_some() && effect.delivered)
    );
    assert!(stage.engine.store().locks().unwrap().is_empty());
}

#[track_caller]
fn stopped(stage: &Stage, ended: &Ended, code: &str, message: &str) {
    closed_as_failed(stage, ended);
    assert_eq!(ended.stopped_by(), (code, message));
    assert_eq!(ended.problem().kind, ProblemKind::Other);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_computes_for_ever_runs_out_of_fuel() {
    let limits = Limits {
        fuel: 20_000_000,
        ..Limits::default()
    };
    let source = guest(
        "(drop (call $keep (i32.const 1))) (drop (call $next (i32.const 0))) (loop $again (br $again)) (unreachable)",
    );
    let (stage, ended) = run(limits, &source).await;
    stopped(
        &stage,
        &ended,
        "fuel",
        "the plugin computed without end: it used up its 20000000 units of fuel",
    );
    // What it held is given back by the host, in its own name.
    assert_eq!(stage.ledger.performed(), ["s/1 keep", "s/2 drop"]);
    let intended = ended.intended();
    assert_eq!(
        intended.iter().map(|i| i.host).collect::<Vec<_>>(),
        [false, true]
    );
}

#[tokio::test]
async fn one_that_computes_for_ever_runs_into_its_timeout() {
    let stage = Stage::new(
        Limits::default(),
        &guest("(loop $again (br $again)) (unreachable)"),
    );
    let runbook = ONE.replace("plugin = \"p\"", "plugin = \"p\"\ntimeout = \"1s\"");
    let ended = stage.run(&runbook, Mode::Perform).await;
    stopped(
        &stage,
        &ended,
        "wall-clock",
        "the step took longer than its timeout of 1s",
    );
}

#[tokio::test]
async fn without_a_timeout_of_its_own_a_step_has_the_limit() {
    let limits = Limits {
        step_timeout: Duration::from_secs(1),
        ..Limits::default()
    };
    let (stage, ended) = run(limits, &guest("(loop $again (br $again)) (unreachable)")).await;
    stopped(
        &stage,
        &ended,
        "wall-clock",
        "the step took longer than its timeout of 1s",
    );
}

#[tokio::test]
async fn one_that_waits_for_ever_runs_into_its_timeout() {
    let stage = Stage::new(
        Limits::default(),
        &guest(
            "(drop (call $slow (i32.const 1) (i64.const 3600000))) (call $drain (i32.const 0)) (call $finish)",
        ),
    );
    let runbook = ONE.replace("plugin = \"p\"", "plugin = \"p\"\ntimeout = \"1s\"");
    let ended = stage.run(&runbook, Mode::Perform).await;
    stopped(
        &stage,
        &ended,
        "wall-clock",
        "the step took longer than its timeout of 1s",
    );
    assert_eq!(
        ended.settled()[0].failure.as_ref().unwrap().parts().0,
        "cancelled"
    );
}

#[tokio::test]
async fn one_that_recurses_for_ever_fills_its_stack() {
    let mut source = guest("(call $deeper) (call $finish)");
    source.functions = "(func $deeper (call $deeper) (call $deeper))".to_owned();
    let (stage, ended) = run(Limits::default(), &source).await;
    stopped(
        &stage,
        &ended,
        "stack",
        "the plugin recursed without end: its stack of 524288 bytes is full",
    );
}

#[tokio::test]
async fn one_that_traps_is_told_so() {
    let (stage, ended) = run(Limits::default(), &guest("(unreachable)")).await;
    closed_as_failed(&stage, &ended);
    let (code, message) = ended.stopped_by();
    assert_eq!(code, "trap");
    assert!(
        message.starts_with("the plugin broke down: ") && message.contains("unreachable"),
        "{message}"
    );
}

#[tokio::test]
async fn one_that_traps_after_submitting_has_done_nothing() {
    let (stage, ended) = run(
        Limits::default(),
        &guest("(drop (call $write (i32.const 1))) (unreachable)"),
    )
    .await;
    closed_as_failed(&stage, &ended);
    assert!(stage.ledger.performed().is_empty());
    assert!(ended.intended().is_empty());
}

#[tokio::test]
async fn results_are_taken_once_after_delivery_and_as_they_are() {
    let write = "(drop (call $write (i32.const 1))) ";
    let next = "(drop (call $next (i32.const 0))) ";
    let take = "(drop (call $take_write (i64.const 1))) ";
    for (body, message) in [
        (
            format!("{write}{take}"),
            "operation 1 cannot be taken: it is not delivered, or was taken before",
        ),
        (
            format!("{write}{next}{take}{take}"),
            "operation 1 cannot be taken: it is not delivered, or was taken before",
        ),
        (
            format!("{write}{next}(drop (call $take_read (i64.const 1)))"),
            "operation 1 is a `ledger.write` and cannot be taken as `read`",
        ),
        (
            format!("{write}{next}(drop (call $take_write (i64.const 2)))"),
            "operation 2 cannot be taken: it was never submitted",
        ),
        (
            format!("{write}{next}(drop (call $take_write (i64.const 0)))"),
            "operation 0 cannot be taken: it was never submitted",
        ),
        (
            format!("{write}{next}(call $forget (i64.const 1)) {take}"),
            "operation 1 cannot be taken: it is not delivered, or was taken before",
        ),
        (
            format!("{write}(call $forget (i64.const 1)) {next}{take}"),
            "operation 1 cannot be taken: it is not delivered, or was taken before",
        ),
    ] {
        let (stage, ended) = run(Limits::default(), &guest(format!("{body} (call $finish)"))).await;
        stopped(&stage, &ended, "contract", message);
    }
}

#[tokio::test]
async fn an_output_is_json_of_its_schema() {
    let of = |text: &str, schema: &str| GuestSource {
        functions: format!("(data (i32.const 512) \"{}\")", text.replace('"', "\\\"")),
        output_schema: schema.to_owned(),
        ..guest(format!(
            "(call $ok (i32.const 512) (i32.const {}))",
            text.len()
        ))
    };
    let (stage, ended) = run(Limits::default(), &of("{broken", "{}")).await;
    closed_as_failed(&stage, &ended);
    assert_eq!(ended.stopped_by().0, "output");
    assert!(
        ended
            .stopped_by()
            .1
            .starts_with("the plugin returned what is not JSON: "),
        "{:?}",
        ended.problem()
    );
    let (stage, ended) = run(
        Limits::default(),
        &of(r#"{"n":"x"}"#, r#"{"properties":{"n":{"type":"integer"}}}"#),
    )
    .await;
    stopped(
        &stage,
        &ended,
        "output",
        "the plugin's output does not fit its own schema: `n`: \"x\" is not of type \"integer\"",
    );
    // What it said is kept: it may tell what was done.
    assert_eq!(ended.step().output.as_ref().unwrap()["n"], "x");
    let (_, ended) = run(Limits::default(), &of("[[[[1]]]]", "{}")).await;
    assert_eq!(ended.report.status, Some(RunStatus::Succeeded));
    let deep = "[".repeat(2_000) + &"]".repeat(2_000);
    let mut deep_source = guest(format!(
        "(call $ok (i32.const 70000) (i32.const {}))",
        deep.len()
    ));
    deep_source.functions = format!("(data (i32.const 70000) \"{deep}\")");
    let (stage, ended) = run(Limits::default(), &deep_source).await;
    closed_as_failed(&stage, &ended);
    assert_eq!(ended.stopped_by().0, "output");
}

#[tokio::test]
async fn a_result_outside_its_memory_or_no_text_is_a_trap() {
    for body in [
        "(call $ok (i32.const -16) (i32.const 100))",
        "(i32.store8 (i32.const 512) (i32.const 255)) (call $ok (i32.const 512) (i32.const 1))",
        "(i32.const -4)",
    ] {
        let (stage, ended) = run(Limits::default(), &guest(body)).await;
        closed_as_failed(&stage, &ended);
        assert_eq!(ended.stopped_by().0, "trap");
    }
}

#[tokio::test]
async fn a_problem_of_its_own_is_passed_on() {
    let (stage, ended) = run(Limits::default(), &guest("(call $problem (i32.const 1))")).await;
    closed_as_failed(&stage, &ended);
    assert_eq!(
        (ended.problem().kind, ended.stopped_by()),
        (ProblemKind::Application, ("none", "m00000"))
    );
}

#[tokio::test]
async fn a_transient_problem_is_tried_again_within_bounds() {
    let stage = Stage::new(
        Limits::default(),
        &guest(
            "(drop (call $write (i32.const 1))) (call $drain (i32.const 0)) (call $problem (i32.const 0))",
        ),
    );
    let runbook = ONE.replace(
        "plugin = \"p\"",
        "plugin = \"p\"\nretry = { max_attempts = 3, backoff = \"1s\" }",
    );
    let ended = stage.run(&runbook, Mode::Rehearsal).await;
    assert_eq!(ended.report.status, Some(RunStatus::Failed));
    assert_eq!(
        stage.ledger.performed(),
        ["s/1 write", "s~2/1 write", "s~3/1 write"]
    );
    assert_eq!(
        ended.notes(),
        [
            "step `s` is tried again in 1 s",
            "step `s` is tried again in 2 s"
        ]
    );
}

/// Forty `allOf` of two references each are a million million ways: seven minutes of computing once,
/// which neither a timeout nor a signal ends.
#[tokio::test]
async fn a_schema_that_asks_for_too_much_is_refused_before_anything_runs() {
    let defs: Vec<String> = (0..40)
        .map(|n| {
            let next = format!("{{\"$ref\":\"#/$defs/d{}\"}}", n + 1);
            format!("\"d{n}\":{{\"allOf\":[{next},{next}]}}")
        })
        .collect();
    let schema = format!(
        "{{\"$ref\":\"#/$defs/d0\",\"$defs\":{{{},\"d40\":true}}}}",
        defs.join(",")
    );
    for (input, output, which) in [
        (schema.as_str(), "{}", "input"),
        ("{}", schema.as_str(), "output"),
    ] {
        let source = GuestSource {
            input_schema: input.to_owned(),
            output_schema: output.to_owned(),
            ..guest("(call $finish)")
        };
        let refused = Stage::new(Limits::default(), &source)
            .engine
            .plugin("p")
            .await;
        assert_eq!(
            refused.unwrap_err().to_string(),
            format!(
                "plugin `p` has an {which} schema that is too large: it asks too much of each value"
            )
        );
    }
}

/// An entry of the journal that is deeper than a reader goes could never be read again.
#[tokio::test]
async fn an_output_is_as_deep_as_is_allowed_and_no_deeper() {
    for (levels, fine) in [(64, true), (65, false), (126, false)] {
        let deep = "[".repeat(levels) + &"]".repeat(levels);
        let mut source = guest(format!(
            "(call $ok (i32.const 512) (i32.const {}))",
            deep.len()
        ));
        source.functions = format!("(data (i32.const 512) \"{deep}\")");
        let (_, ended) = run(Limits::default(), &source).await;
        match fine {
            true => assert_eq!(ended.report.status, Some(RunStatus::Succeeded)),
            false => assert_eq!(
                ended.stopped_by(),
                (
                    "output",
                    "the plugin returned what is not JSON: nested more than 64 levels deep"
                )
            ),
        }
    }
}
