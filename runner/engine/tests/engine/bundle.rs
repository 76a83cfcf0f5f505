//! Bundles: what comes from elsewhere is taken in only from who is known, within this host's bounds, and
//! in one piece.

use groundcrew::journal::{Actor, Entry, Note, NoteBody, RunStatus};
use groundcrew::plan::PlanError;
use groundcrew::store::bundle::{self, BundleError};
use groundcrew::store::{NewRun, Standing, Store};
use groundcrew::{Approvals, Clock, Key, Limits, Policy, ResumeError, TargetPolicy};

use crate::plan::{made, start};
use crate::resume::{quick, request, resumed, stopped, written};
use crate::support::store::{courier, export};
use crate::support::{ONE, Stage};

/// A run that was stopped after its first write, as a bundle.
async fn on_its_way(stage: &Stage) -> (String, String) {
    let run = stopped(stage, ONE, 2).await;
    written(stage, &run, 2).await;
    let text = export(stage.engine.store(), &run).unwrap();
    (run, text)
}

fn taker() -> Actor {
    Actor {
        user: "bob".to_owned(),
        host: "there".to_owned(),
        ..Actor::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_taken_in_marked_and_gone_on_with() {
    let here = Stage::new(Limits::default(), &quick());
    let (run, text) = on_its_way(&here).await;
    let there = Stage::new(Limits::default(), &quick());
    let now = there.wall.now();
    let known = [Key::generate("other"), courier().clone()];
    let bundle = bundle::read(&text).unwrap();
    let trusted = bundle.trusted(&known, &Limits::default(), now).unwrap();
    let resuming = groundcrew::ResumeRequest {
        secrets: serde_json::Value::Null,
        accepted_drift: Vec::new(),
        gone: None,
        ..request(&here, &run, &[])
    };
    let state = trusted.bundle().state();
    there.engine.readmit(&resuming, state).await.unwrap();
    assert!(there.store.runs(now, 9).unwrap().is_empty(), "only looked");
    let before = trusted.bundle().records().len();
    trusted.take_in(&*there.store, &taker(), now).unwrap();
    assert_eq!(
        there.store.run(&run, now).unwrap().standing,
        Standing::Abandoned
    );
    let ended = resumed(&there, resuming).await;
    assert_eq!(ended.report.status, Some(RunStatus::Succeeded));
    // What is the last link of the chain there is it here.
    let leaves = there.store.leaves_of(&run).unwrap();
    let link = groundcrew::journal::leaf::link(&leaves[before - 1].1);
    let Entry::Note(Note {
        step: None,
        note: NoteBody::TakenIn {
            actor, by, digest, ..
        },
    }) = ended.records[before].entry().unwrap()
    else {
        panic!("{:?}", ended.records[before]);
    };
    assert_eq!(
        (actor, by.as_str(), digest),
        (taker(), courier().public(), link)
    );
    // And on again, from there.
    assert!(bundle::read(&export(&*there.store, &run).unwrap()).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_known_has_signed_as_it_is_is_not_taken_in() {
    let here = Stage::new(Limits::default(), &quick());
    let (_, text) = on_its_way(&here).await;
    let refused = |text: &str, known: &[Key]| {
        let trusted = bundle::read(text)?.trusted(known, &Limits::default(), here.wall.now());
        trusted.map(drop)
    };
    let known = [courier().clone()];
    assert!(refused(&text, &known).is_ok());
    assert!(matches!(
        refused(&text, &[Key::generate("courier")]),
        Err(BundleError::Foreign(by)) if by == "courier"
    ));
    // Every byte that counts is signed: time, kind, place and payload of each entry, how many there are.
    let lines: Vec<&str> = text.lines().collect();
    let fewer = format!(
        "{}\n{}",
        lines[0].replace(
            &format!("\"entries\":{}", lines.len() - 1),
            &format!("\"entries\":{}", lines.len() - 2)
        ),
        lines[1..lines.len() - 1].join("\n")
    );
    let by_another = text.replace(courier().public(), Key::generate("eve").public());
    for (name, edited) in [
        (
            "an actor",
            text.replace("\"user\":\"\"", "\"user\":\"root\""),
        ),
        ("a time", text.replacen("\"at\":\"2027", "\"at\":\"2028", 1)),
        ("a subject", text.replace("m00001", "m00009")),
        ("fewer entries", fewer),
        ("the signer", by_another),
        ("a space", text.replacen("{\"format\":", "{ \"format\":", 1)),
    ] {
        assert_ne!(edited, text, "{name}");
        let said = refused(&edited, &known);
        assert!(
            matches!(said, Err(BundleError::Edited { .. })),
            "{name}: {said:?}"
        );
    }
    // As version 0.1.0 wrote it, it can be read.
    let mut head: serde_json::Value = serde_json::from_str(lines[0]).unwrap();
    head["bundle"] = 1.into();
    let fields = head.as_object_mut().unwrap();
    assert!(fields.remove("by").is_some() && fields.remove("note").is_some());
    let old = format!("{head}\n{}", lines[1..].join("\n"));
    assert!(bundle::read(&old).unwrap().signer().unwrap().is_none());
    assert!(matches!(refused(&old, &known), Err(BundleError::Unsigned)));
    // Half a signature is none.
    let half = text.replacen("\"note\":", "\"nota\":", 1);
    assert!(matches!(
        refused(&half, &known),
        Err(BundleError::Malformed { line: 1, .. })
    ));
}

/// The bundle with another header, signed by the same: whoever is known may still not ask for all.
fn forged(text: &str, change: impl Fn(&mut serde_json::Value)) -> String {
    let store = groundcrew::store::MemoryStore::default();
    let bundle = bundle::read(text).unwrap();
    let mut records = bundle.records().to_vec();
    let mut header: serde_json::Value = serde_json::from_str(&records[0].payload).unwrap();
    change(&mut header);
    records[0].payload = header.to_string().into();
    let arrival = groundcrew::store::Arrival {
        records: &records,
        ..bundle.arrival()
    };
    store
        .take_in(&arrival, jiff::Timestamp::UNIX_EPOCH)
        .unwrap();
    export(&store, bundle.run()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_bound_in_a_header_may_exceed_this_hosts() {
    let here = Stage::new(Limits::default(), &quick());
    let (_, text) = on_its_way(&here).await;
    let bounds = serde_json::to_value(Limits::default()).unwrap();
    let mut refused = Vec::new();
    for (name, value) in bounds.as_object().unwrap() {
        // One more of whatever it is; durations are an object.
        let wider = |header: &mut serde_json::Value| match value.as_u64() {
            Some(value) => header["limits"][name] = (value + 1).into(),
            None => {
                let secs = value["secs"].as_u64().unwrap();
                header["limits"][name]["secs"] = (secs + 1).into();
            }
        };
        let bundle = bundle::read(&forged(&text, wider)).unwrap();
        let known = [courier().clone()];
        match bundle.trusted(&known, &Limits::default(), here.wall.now()) {
            Err(BundleError::Beyond { limit, .. }) => refused.push(limit.to_owned()),
            other => panic!("{name}: {other:?}"),
        }
        assert!(refused.last().unwrap().starts_with(name.as_str()));
    }
    assert_eq!(refused.len(), bounds.as_object().unwrap().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_ended_is_not_gone_on_with_and_what_is_refused_leaves_nothing() {
    let here = Stage::new(Limits::default(), &quick());
    let ended = here.run(ONE, groundcrew::Mode::Perform).await;
    let text = export(here.engine.store(), &ended.report.run).unwrap();
    let known = [courier().clone()];
    let now = here.wall.now();
    let over = bundle::read(&text).unwrap();
    assert!(matches!(
        over.trusted(&known, &Limits::default(), now),
        Err(BundleError::Over(_))
    ));
    let (run, text) = on_its_way(&Stage::new(Limits::default(), &quick())).await;
    let there = Stage::new(Limits::default(), &quick());
    let bundle = bundle::read(&text).unwrap();
    let locks = bundle.arrival().new.locks.clone();
    assert!(!locks.is_empty());
    let trusted = bundle.trusted(&known, &Limits::default(), now).unwrap();
    let holder = NewRun {
        run: "holder".to_owned(),
        locks,
        ..trusted.bundle().arrival().new.clone()
    };
    let claim = there.store.open(&holder, now, now).unwrap();
    there
        .store
        .beat(&claim, now + jiff::SignedDuration::from_secs(60))
        .unwrap();
    assert!(trusted.take_in(&*there.store, &taker(), now).is_err());
    assert!(there.store.run(&run, now).is_err());
    assert_eq!(there.store.entry_count().unwrap(), 0);
    // Nor if the disk is full in the middle of it.
    there.store.release(&claim).unwrap();
    trusted.take_in(&*there.store, &taker(), now).unwrap();
    assert!(trusted.take_in(&*there.store, &taker(), now).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_inside_stays_expired_and_is_approved_here_or_not() {
    let mut here = Stage::new(Limits::default(), &quick());
    let (author, ann, bob) = (
        Key::generate("author"),
        Key::generate("ann"),
        Key::generate("bob"),
    );
    let wants = |key: &Key| {
        let approvals = Approvals {
            required: 1,
            keys: vec![key.public().to_owned()],
        };
        let here = TargetPolicy {
            approvals: Some(approvals),
            ..TargetPolicy::default()
        };
        Policy {
            target: [("test".to_owned(), here)].into(),
            ..Policy::default()
        }
    };
    here.policy = wants(&ann);
    let plan = made(&here, ONE, &[], &author).await.plan.unwrap();
    let plan = plan.approve(&ann).unwrap();
    let before = here.ledger.performed().len();
    let handle = start(&here, &plan).await.unwrap();
    let run = handle.run().to_owned();
    here.performed(before + 2).await;
    handle.stop();
    handle.finished().await;
    let text = export(here.engine.store(), &run).unwrap();
    let known = [courier().clone()];
    let read = || bundle::read(&text).unwrap();
    let now = here.wall.now();
    let trusted = read().trusted(&known, &Limits::default(), now).unwrap();
    let there = Stage::new(Limits::default(), &quick());
    for (policy, admitted) in [(wants(&ann), true), (wants(&bob), false)] {
        let resuming = groundcrew::ResumeRequest {
            policy,
            secrets: serde_json::Value::Null,
            accepted_drift: Vec::new(),
            gone: None,
            ..request(&here, &run, &[])
        };
        let said = there.engine.readmit(&resuming, trusted.bundle().state());
        match said.await {
            Ok(_) => assert!(admitted),
            Err(ResumeError::Refused(refusals)) => {
                assert!(!admitted && refusals[0].message.contains("approved by nobody"));
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    let later = plan.plan().expires_at;
    assert!(matches!(
        read().trusted(&known, &Limits::default(), later),
        Err(BundleError::Expired(at)) if at == later
    ));
    // Nor does it last for ever because it says so.
    let for_ever = crate::plan::forged(&plan, &author, |plan| {
        plan["expires_at"] = "9999-01-01T00:00:00Z".into();
    });
    let text = forged(&text, |header| {
        header["plan"]["text"] = for_ever.clone().into();
    });
    let said = bundle::read(&text)
        .unwrap()
        .trusted(&known, &Limits::default(), now);
    assert!(
        matches!(&said, Err(BundleError::Plan(PlanError::Untrue(why))) if why.contains("more than 30d")),
        "{said:?}"
    );
}
