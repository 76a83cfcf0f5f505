//! Going on with a run: what is repeated, what is asked, what is refused. (That nothing is done
//! twice wherever a run is stopped is shown in the workspace's `tests/tests/crash.rs`.)

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use groundcrew::journal::{Actor, Mode, RunStatus};
use groundcrew::store::{NewRun, Store, StoreError};
use groundcrew::{
    Answer, Clock, Halt, Limits, Policy, ResumeError, ResumeRequest, RunReport, StartError,
    Unobserved,
};

use crate::support::store::{export, import};
use crate::support::{Ended, GuestSource, ONE, Stage, guest, target, target_at};

/// Of somebody who knows that whoever holds the run now is gone.
pub(crate) fn request(stage: &Stage, run: &str, answers: &[(&str, Answer)]) -> ResumeRequest {
    ResumeRequest {
        run: run.to_owned(),
        target: target(),
        policy: Policy::default(),
        actor: Actor {
            user: "ann".to_owned(),
            ..Actor::default()
        },
        answers: answers
            .iter()
            .map(|(effect, answer)| ((*effect).to_owned(), *answer))
            .collect::<BTreeMap<_, _>>(),
        secrets: serde_json::Value::Null,
        accepted_drift: Vec::new(),
        gone: stage.token(run),
    }
}

/// Starts a run and stops it at once when `count` effects have been performed; gives its id.
pub(crate) async fn stopped(stage: &Stage, runbook: &str, count: usize) -> String {
    let handle = stage.start(runbook, 1).await.unwrap();
    let run = handle.run().to_owned();
    stage.performed(count).await;
    handle.stop();
    assert!(finished(handle).await.status.is_none());
    run
}

/// Reads take a place in the journal, and are on the disk a moment later.
pub(crate) async fn written(stage: &Stage, run: &str, effects: usize) {
    while stage.engine.journal(run).unwrap().1.effects().count() < effects {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn finished(handle: groundcrew::RunHandle) -> RunReport {
    tokio::time::timeout(Duration::from_secs(20), handle.finished())
        .await
        .expect("the run ends")
}

pub(crate) async fn resumed(stage: &Stage, request: ResumeRequest) -> Ended {
    let handle = stage.engine.resume(request, Arc::new(Unobserved)).await;
    stage.ended(finished(handle.expect("it is resumed")).await)
}

async fn refused(stage: &Stage, request: ResumeRequest) -> ResumeError {
    let refused = stage.engine.resume(request, Arc::new(Unobserved)).await;
    refused.err().expect("it is not resumed")
}

async fn changed(stage: &Stage, run: &str) -> String {
    match refused(stage, request(stage, run, &[])).await {
        ResumeError::Changed { why, .. } => why,
        other => panic!("{other:?}"),
    }
}

/// Writes 1, says something random, notes a word; then is away for `ms`; then writes 3.
fn worker(away: &str) -> GuestSource {
    guest(format!(
        "(drop (call $write (i32.const 1))) (call $drain (i32.const 0))
         (call $say (i32.rem_u (i32.wrap_i64 (call $random)) (i32.const 1000)))
         (call $key (i32.const 7)) (call $note (i32.const 16) (i32.const 6))
         {away} (call $drain (i32.const 0))
         (call $say (i32.rem_u (i32.wrap_i64 (call $random)) (i32.const 1000)))
         (drop (call $write (i32.const 3))) (call $drain (i32.const 0)) (call $finish)"
    ))
}

fn away(ms: u64) -> String {
    format!("(drop (call $slow (i32.const 2) (i64.const {ms})))")
}

/// The same plugin, whose wait takes no time the second time: the argument is compared, so it has to
/// be the ledger that is quicker.
pub(crate) fn quick() -> GuestSource {
    worker(&away(400))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_is_repeated_and_the_rest_is_done() {
    let undisturbed = Stage::new(Limits::default(), &quick());
    let wanted = undisturbed.run(ONE, Mode::Perform).await;
    let stage = Stage::new(Limits::default(), &quick());
    let run = stopped(&stage, ONE, 2).await;
    let ended = resumed(&stage, request(&stage, &run, &[])).await;
    assert_eq!(ended.report.status, Some(RunStatus::Succeeded));
    assert_eq!(ended.said(), wanted.said());
    // The write is not sent again; the read that was under way is asked again.
    assert_eq!(
        stage.ledger.performed(),
        ["s/1 write", "s/2 slow", "s/2 slow", "s/3 write"]
    );
    assert_eq!(ended.notes(), ["m00007"]);
    let intents: Vec<u64> = ended.intended().iter().map(|i| i.effect).collect();
    assert_eq!(intents, [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_found_out_is_asked() {
    let lingering = worker("(drop (call $linger (i32.const 2) (i64.const 60000)))");
    for (answer, sent_again) in [(Answer::Happened, false), (Answer::Retry, true)] {
        let stage = Stage::new(Limits::default(), &lingering);
        let run = stopped(&stage, ONE, 2).await;
        let ResumeError::Unknown(questions) = refused(&stage, request(&stage, &run, &[])).await
        else {
            panic!("nobody is asked");
        };
        assert_eq!(questions.len(), 1);
        assert_eq!(questions[0].effect, "s/2");
        assert_eq!(questions[0].write, "ledger.linger app/m00002");
        assert_eq!(stage.ledger.performed().len(), 2, "something was sent");
        // By its number alone, or with its step.
        let name = if sent_again { "s/2" } else { "2" };
        let handle = stage
            .engine
            .resume(
                request(&stage, &run, &[(name, answer)]),
                Arc::new(Unobserved),
            )
            .await
            .unwrap();
        if sent_again {
            stage.performed(3).await;
            assert_eq!(stage.ledger.performed()[2], "s/2 linger");
            handle.stop();
            finished(handle).await;
        } else {
            let ended = stage.ended(finished(handle).await);
            let report = &ended.report;
            assert_eq!(report.status, Some(RunStatus::Succeeded), "{report:?}");
            assert!(
                ended
                    .notes()
                    .contains(&"ann says that s/2 happened".to_owned())
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_has_ended_is_not_run_again() {
    let two = r#"
name = "two"
summary = "Two steps."
[[step]]
id = "r"
plugin = "p"
[step.grant.ledger]
apps = ["*"]
verbs = ["write", "wait"]
[[step]]
id = "s"
plugin = "p"
needs = ["r"]
[step.grant.ledger]
apps = ["*"]
verbs = ["write", "wait"]
"#;
    let stage = Stage::new(Limits::default(), &worker(&away(100)));
    let run = stopped(&stage, two, 5).await;
    let ended = resumed(&stage, request(&stage, &run, &[])).await;
    assert_eq!(ended.report.status, Some(RunStatus::Succeeded));
    let steps: Vec<&str> = ended.report.steps.iter().map(|s| s.step.as_str()).collect();
    assert_eq!(steps, ["r", "s"]);
    let performed = stage.ledger.performed();
    let writes: Vec<&str> = performed
        .iter()
        .map(String::as_str)
        .filter(|p| p.ends_with("write"))
        .collect();
    assert_eq!(writes, ["r/1 write", "r/3 write", "s/1 write", "s/3 write"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_blast_radius_counts_what_was_written_before() {
    let narrow = ONE.replace("verbs", "max_accounts = 1\nverbs");
    let stage = Stage::new(Limits::default(), &quick());
    let run = stopped(&stage, &narrow, 2).await;
    let ended = resumed(&stage, request(&stage, &run, &[])).await;
    let last = ended.settled().pop().unwrap();
    assert_eq!(last.effect, 3);
    assert!(last.failure.is_some(), "a second Machine was written to");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_being_brought_to_an_end_is_brought_to_it() {
    // What it has sent is seen to its end; then it tries to write.
    let lingering = worker("(drop (call $linger (i32.const 2) (i64.const 60000)))");
    let stage = Stage::new(Limits::default(), &lingering);
    let handle = stage.start(ONE, 1).await.unwrap();
    let run = handle.run().to_owned();
    stage.performed(2).await;
    handle.interrupt();
    let noted = async {
        while !stage.engine.journal(&run).unwrap().1.interrupted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), noted)
        .await
        .expect("the interrupt is written down");
    handle.stop();
    assert!(finished(handle).await.status.is_none());
    let ended = resumed(&stage, request(&stage, &run, &[("2", Answer::Happened)])).await;
    assert_eq!(ended.report.status, Some(RunStatus::Interrupted));
    assert_eq!(stage.ledger.performed(), ["s/1 write", "s/2 linger"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_asks_for_something_else_is_stopped_before_anything_is_sent() {
    let first = Stage::new(Limits::default(), &quick());
    let run = stopped(&first, ONE, 2).await;
    written(&first, &run, 2).await;
    let text = export(first.engine.store(), &run).unwrap();
    for (recorded, other, says) in [
        // Another Machine.
        (
            r#""effect":1,"decision":"allowed","request":{"operation":"ledger.write","app":"app","subject":"m00001""#,
            r#""effect":1,"decision":"allowed","request":{"operation":"ledger.write","app":"app","subject":"m00009""#,
            "effect 1: recorded `ledger.write app/m00009`, requested `ledger.write app/m00001`",
        ),
        // Other arguments.
        (
            r#""arguments":400"#,
            r#""arguments":401"#,
            "effect 2: recorded `ledger.slow app/m00002 401`, requested `ledger.slow app/m00002 400`",
        ),
        // More than it asks for.
        (
            r#""step":"s","effect":2,"#,
            r#""step":"s","effect":4,"#,
            "effect 4: recorded `ledger.slow app/m00002 400`, not requested again",
        ),
    ] {
        assert!(text.contains(recorded), "{text}");
        let stage = Stage::new(Limits::default(), &quick());
        let mended = text.replace(recorded, other);
        import(&*stage.store, &mended, stage.wall.now()).unwrap();
        let handle = stage
            .engine
            .resume(request(&stage, &run, &[]), Arc::new(Unobserved))
            .await
            .unwrap();
        let report = finished(handle).await;
        assert!(report.status.is_none());
        let Some(Halt::Diverged(diverged)) = report.halt else {
            panic!("{:?}", report.halt);
        };
        assert_eq!(
            (diverged.step.as_str(), diverged.what.as_str()),
            ("s", says)
        );
        assert!(stage.ledger.performed().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_goes_on_only_with_what_it_was_started_with() {
    let first = Stage::new(Limits::default(), &quick());
    let run = stopped(&first, ONE, 2).await;
    let text = export(first.engine.store(), &run).unwrap();

    let other = Stage::new(Limits::default(), &worker(&away(401)));
    import(&*other.store, &text, other.wall.now()).unwrap();
    let why = changed(&other, &run).await;
    let was = first.engine.plugin("p").await.unwrap();
    let is = other.engine.plugin("p").await.unwrap();
    assert_eq!(
        why,
        format!(
            "plugin `test` is another build: it was {}, here is {}",
            was.digest, is.digest
        )
    );

    let fewer = Limits {
        notes: 1,
        ..Limits::default()
    };
    let bounded = Stage::new(fewer, &quick());
    import(&*bounded.store, &text, bounded.wall.now()).unwrap();
    assert_eq!(
        changed(&bounded, &run).await,
        "this engine's limits are not those that it was started with"
    );

    let mut elsewhere = request(&first, &run, &[]);
    elsewhere.target = target_at("test", "http://127.0.0.1:10");
    let ResumeError::Changed { why, .. } = refused(&first, elsewhere).await else {
        panic!("it was resumed elsewhere");
    };
    assert_eq!(
        why,
        "its target is another: its machines api was `http://127.0.0.1:9`, and is now `http://127.0.0.1:10`"
    );
    // None of this has changed anything: it can be resumed where it was.
    let ended = resumed(&first, request(&first, &run, &[])).await;
    assert_eq!(ended.report.status, Some(RunStatus::Succeeded));
    let again = refused(&first, request(&first, &run, &[])).await;
    assert!(matches!(
        again,
        ResumeError::Start(StartError::Ended {
            status: "succeeded",
            ..
        })
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_alive_is_left_alone_and_one_that_is_not_keeps_its_locks() {
    let stage = Stage::new(Limits::default(), &quick());
    let run = stopped(&stage, ONE, 2).await;
    let unsure = ResumeRequest {
        secrets: serde_json::Value::Null,
        accepted_drift: Vec::new(),
        gone: None,
        ..request(&stage, &run, &[])
    };
    assert!(matches!(
        refused(&stage, unsure).await,
        ResumeError::Start(StartError::Store(StoreError::Held(held))) if held == run
    ));
    stage.wall.advance(31);
    let lock = stage.engine.journal(&run).unwrap().1.header.unwrap().locks[0].clone();
    let now = stage.wall.now();
    let other = NewRun {
        run: "other".to_owned(),
        runbook: "other".to_owned(),
        target: "test".to_owned(),
        mode: Mode::Perform,
        locks: vec![lock.clone()],
        holder: Actor::default(),
    };
    let until = now
        .checked_add(jiff::SignedDuration::from_secs(30))
        .unwrap();
    let locked = stage.store.open(&other, now, until);
    assert!(matches!(locked, Err(StoreError::Locked { run: by, .. }) if by == run));
    assert_eq!(stage.ledger.performed().len(), 2);
}

#[tokio::test]
async fn a_rehearsal_is_not_resumed() {
    let stage = Stage::new(Limits::default(), &quick());
    let ended = stage.run(ONE, Mode::Rehearsal).await;
    let text = export(stage.engine.store(), &ended.report.run).unwrap();
    // As if it had not been closed.
    let lines: Vec<&str> = text.lines().collect();
    let head = lines[0].replace(
        &format!("\"entries\":{}", lines.len() - 1),
        &format!("\"entries\":{}", lines.len() - 2),
    );
    let open = [&[head.as_str()], &lines[1..lines.len() - 1]]
        .concat()
        .join("\n");
    let other = Stage::new(Limits::default(), &quick());
    import(&*other.store, &open, other.wall.now()).unwrap();
    assert_eq!(
        changed(&other, &ended.report.run).await,
        "it is a rehearsal; start it again"
    );
}

#[tokio::test]
async fn a_bundle_comes_back_as_it_went() {
    let stage = Stage::new(Limits::default(), &guest("(call $finish)"));
    let ended = stage.run(ONE, Mode::Perform).await;
    let run = &ended.report.run;
    let text = export(stage.engine.store(), run).unwrap();
    let other = Stage::new(Limits::default(), &guest("(call $finish)"));
    let now = other.wall.now();
    import(&*other.store, &text, now).unwrap();
    assert_eq!(export(other.engine.store(), run).unwrap(), text);
    let again = import(&*other.store, &text, now).unwrap_err();
    assert_eq!(again.to_string(), format!("there is a run `{run}` already"));
    let lines: Vec<&str> = text.lines().collect();
    for (broken, says) in [
        (String::new(), "line 1 of the bundle: not a bundle"),
        (
            text.replace("\"bundle\":2", "\"bundle\":3"),
            "format 3 is not",
        ),
        (lines[..lines.len() - 1].join("\n"), "entries of"),
        (text.replace("step-began", "step-ended"), "damaged"),
    ] {
        let third = Stage::new(Limits::default(), &guest("(call $finish)"));
        let error = import(&*third.store, &broken, now).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
        assert!(third.store.runs(now, 10).unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_re_executed_without_effects() {
    let stage = Stage::new(Limits::default(), &quick());
    let ended = stage.run(ONE, Mode::Perform).await;
    let performed = stage.ledger.performed();
    let run = &ended.report.run;
    let repeated = stage.engine.replay(run).await.unwrap();
    assert_eq!(repeated.len(), 1);
    assert_eq!((repeated[0].effects, repeated[0].ended), (3, true));
    assert_eq!(
        stage.ledger.performed(),
        performed,
        "something was performed"
    );
    assert_eq!(
        stage.ended(ended.report.clone()).records.len(),
        ended.records.len()
    );

    // Of one that was stopped, as far as it came.
    let stopped_stage = Stage::new(Limits::default(), &quick());
    let stopped = stopped(&stopped_stage, ONE, 2).await;
    let repeated = stopped_stage.engine.replay(&stopped).await.unwrap();
    assert!(!repeated[0].ended);
    assert_eq!(stopped_stage.ledger.performed().len(), 2);

    // What was changed in the journal is not what the plugin does.
    let text = export(stage.engine.store(), run).unwrap();
    for (recorded, other) in [
        (r#""subject":"m00003""#, r#""subject":"m00004""#),
        (r#""arguments":400"#, r#""arguments":4"#),
        (r#"00001,"#, r#"00009,"#),
        (r#""effects":[3]"#, r#""effects":[]"#),
    ] {
        assert!(text.contains(recorded), "{text}");
        let other_stage = Stage::new(Limits::default(), &quick());
        let changed = text.replace(recorded, other);
        import(&*other_stage.store, &changed, other_stage.wall.now()).unwrap();
        let replayed = other_stage.engine.replay(run).await;
        assert!(
            matches!(replayed, Err(groundcrew::ReplayError::Diverged(_))),
            "{other}: {replayed:?}"
        );
    }
    // Another build of the plugin shows nothing.
    let another = Stage::new(Limits::default(), &worker(&away(401)));
    import(&*another.store, &text, another.wall.now()).unwrap();
    assert!(another.engine.replay(run).await.is_err());
}
