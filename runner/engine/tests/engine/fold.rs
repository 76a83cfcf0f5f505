//! The fold is total: what no run can have written is refused with its reason, and nothing
//! panics.

use std::sync::Arc;

use groundcrew::Limits;
use groundcrew::journal::{EntryKind, FORMAT, Record, RunState};
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

const KINDS: [EntryKind; 8] = [
    EntryKind::RunOpened,
    EntryKind::StepBegan,
    EntryKind::Intended,
    EntryKind::Settled,
    EntryKind::Delivered,
    EntryKind::StepEnded,
    EntryKind::RunClosed,
    EntryKind::Note,
];

fn opened(format: u32) -> (EntryKind, Value) {
    let header = json!({
        "format": format, "run": "r", "engine": "0.1.0", "mode": "perform", "runbook": "one", "runbook_digest": "", "runbook_text": "", "started_at": "2026-01-01T00:00:00Z", "inputs": {}, "target": {},
        "actor": { "user": "", "host": "", "process": 0 }, "seed": 1, "plugins": [], "policy_digest": null, "limits": Limits::default(), "locks": [],
    });
    (EntryKind::RunOpened, header)
}

fn began(step: &str) -> (EntryKind, Value) {
    (
        EntryKind::StepBegan,
        json!({ "step": step, "plugin": "p", "attempt": 1, "input": {}, "grant": {}, "now": 0 }),
    )
}

fn intended(step: &str, effect: u64, decision: &str) -> (EntryKind, Value) {
    (
        EntryKind::Intended,
        json!({ "step": step, "effect": effect, "decision": decision, "request": { "operation": "ledger.write" } }),
    )
}

fn settled(step: &str, effect: u64) -> (EntryKind, Value) {
    (
        EntryKind::Settled,
        json!({ "step": step, "effect": effect, "answer": 1 }),
    )
}

fn refused(step: &str, effect: u64) -> (EntryKind, Value) {
    (
        EntryKind::Settled,
        json!({ "step": step, "effect": effect, "failure": { "denied": "no" } }),
    )
}

fn delivered(step: &str, effects: &[u64]) -> (EntryKind, Value) {
    (
        EntryKind::Delivered,
        json!({ "step": step, "effects": effects, "now": 1 }),
    )
}

fn ended(step: &str, status: &str) -> (EntryKind, Value) {
    (
        EntryKind::StepEnded,
        json!({ "step": step, "status": status }),
    )
}

fn closed() -> (EntryKind, Value) {
    (EntryKind::RunClosed, json!({ "status": "succeeded" }))
}

fn note() -> (EntryKind, Value) {
    (
        EntryKind::Note,
        json!({ "note": { "text": { "level": "info", "message": "hello" } } }),
    )
}

fn records(entries: &[(EntryKind, Value)]) -> Vec<Record> {
    let record = |(at, (kind, payload)): (usize, &(EntryKind, Value))| Record {
        sequence: at as u64,
        at: Timestamp::UNIX_EPOCH,
        kind: *kind,
        payload: Arc::from(payload.to_string()),
    };
    entries.iter().enumerate().map(record).collect()
}

#[test]
fn a_whole_run_folds() {
    let run = [
        opened(FORMAT),
        note(),
        began("a"),
        intended("a", 1, "allowed"),
        intended("a", 2, "denied"),
        refused("a", 2),
        settled("a", 1),
        delivered("a", &[2, 1]),
        ended("a", "succeeded"),
        ended("b", "skipped"),
        closed(),
    ];
    let records = records(&run);
    let state = RunState::fold(&records).unwrap();
    assert_eq!(state.entries, 11);
    assert!(state.closed.is_some());
    assert_eq!(state.steps.keys().collect::<Vec<_>>(), ["a", "b"]);
    // Every beginning of a run is a run.
    for length in 0..records.len() {
        assert_eq!(
            RunState::fold(&records[..length]).unwrap().entries,
            length as u64
        );
    }
}

#[test]
fn what_no_run_can_have_written_is_refused_with_its_reason() {
    let open = || vec![opened(FORMAT), began("a")];
    let with = |more: &[(EntryKind, Value)]| [open(), more.to_vec()].concat();
    let done = || {
        with(&[
            intended("a", 1, "allowed"),
            settled("a", 1),
            delivered("a", &[1]),
            ended("a", "succeeded"),
        ])
    };
    let after = |more: &[(EntryKind, Value)]| [done(), more.to_vec()].concat();
    let both = (
        EntryKind::Settled,
        json!({ "step": "a", "effect": 1, "answer": 1, "failure": { "denied": "no" } }),
    );
    let neither = (EntryKind::Settled, json!({ "step": "a", "effect": 1 }));
    let table: Vec<(Vec<(EntryKind, Value)>, &str)> = vec![
        (vec![began("a")], "the run is not open yet"),
        (vec![note()], "the run is not open yet"),
        (vec![closed()], "the run is not open yet"),
        (
            vec![opened(FORMAT), opened(FORMAT)],
            "the run is open already",
        ),
        (
            vec![opened(FORMAT + 1)],
            "format 2 is newer than this program's 1",
        ),
        (with(&[began("a")]), "step `a` has begun before"),
        (after(&[began("a")]), "step `a` has begun before"),
        (
            with(&[intended("b", 1, "allowed")]),
            "step `b` has not begun",
        ),
        (after(&[intended("a", 2, "allowed")]), "step `a` has ended"),
        (
            with(&[intended("a", 1, "allowed"), intended("a", 1, "denied")]),
            "effect 1 was intended before",
        ),
        (with(&[settled("a", 1)]), "effect 1 was never intended"),
        (with(&[settled("b", 1)]), "step `b` has not begun"),
        (
            with(&[
                intended("a", 1, "allowed"),
                settled("a", 1),
                settled("a", 1),
            ]),
            "effect 1 is settled already",
        ),
        (
            with(&[intended("a", 1, "denied"), settled("a", 1)]),
            "effect 1 was denied and cannot have an answer",
        ),
        (
            with(&[intended("a", 1, "allowed"), both]),
            "an outcome is either an answer or a failure",
        ),
        (
            with(&[intended("a", 1, "allowed"), neither]),
            "an outcome is either an answer or a failure",
        ),
        (after(&[settled("a", 1)]), "step `a` has ended"),
        (with(&[delivered("a", &[1])]), "effect 1 was never intended"),
        (
            with(&[intended("a", 1, "allowed"), delivered("a", &[1])]),
            "effect 1 is not settled",
        ),
        (
            with(&[
                intended("a", 1, "allowed"),
                settled("a", 1),
                delivered("a", &[1]),
                delivered("a", &[1]),
            ]),
            "effect 1 has been delivered before",
        ),
        (
            with(&[
                intended("a", 1, "allowed"),
                settled("a", 1),
                delivered("a", &[1, 1]),
            ]),
            "effect 1 has been delivered before",
        ),
        (with(&[delivered("b", &[])]), "step `b` has not begun"),
        (with(&[ended("b", "succeeded")]), "step `b` has not begun"),
        (after(&[ended("a", "failed")]), "step `a` has ended before"),
        (after(&[closed(), note()]), "the run is closed"),
        (after(&[closed(), closed()]), "the run is closed"),
    ];
    for (entries, reason) in table {
        let records = records(&entries);
        let illegal = RunState::fold(&records).map(|_| ()).expect_err(reason);
        assert_eq!(illegal.reason, reason);
        assert_eq!(
            illegal.sequence,
            records.len() as u64 - 1,
            "{reason}: the last one is the one that cannot stand"
        );
        let kind = records.last().unwrap().kind.word();
        assert_eq!(
            illegal.to_string(),
            format!(
                "entry {} ({kind}) cannot stand here: {reason}",
                records.len() - 1
            )
        );
    }
}

#[test]
fn numbers_have_no_gaps_and_do_not_repeat() {
    let mut gap = records(&[opened(FORMAT), note(), note()]);
    gap.remove(1);
    assert_eq!(
        RunState::fold(&gap).unwrap_err().reason,
        "its number should be 1"
    );
    let mut twice = records(&[opened(FORMAT), note()]);
    twice.push(twice[1].clone());
    assert_eq!(
        RunState::fold(&twice).unwrap_err().reason,
        "its number should be 2"
    );
}

#[test]
fn a_payload_that_does_not_read_is_refused() {
    for kind in KINDS {
        for payload in ["", "{", "[]", "null", "{\"step\":1}"] {
            let record = Record {
                sequence: 0,
                at: Timestamp::UNIX_EPOCH,
                kind,
                payload: payload.into(),
            };
            let reason = RunState::default().apply(&record).unwrap_err().reason;
            assert!(
                reason.starts_with("its payload does not read: "),
                "{reason}"
            );
        }
    }
}

#[test]
fn what_is_refused_leaves_the_state_as_it_was() {
    let fine = records(&[
        opened(FORMAT),
        began("a"),
        intended("a", 1, "allowed"),
        settled("a", 1),
    ]);
    let mut state = RunState::fold(&fine).unwrap();
    let before = format!("{state:?}");
    for (kind, payload) in [
        began("a"),
        opened(FORMAT),
        settled("a", 1),
        delivered("a", &[1, 2]),
        delivered("a", &[1, 1]),
        ended("b", "succeeded"),
    ] {
        let record = Record {
            sequence: 4,
            at: Timestamp::UNIX_EPOCH,
            kind,
            payload: payload.to_string().into(),
        };
        state.apply(&record).unwrap_err();
        assert_eq!(format!("{state:?}"), before);
    }
}

fn any_entry() -> impl Strategy<Value = (EntryKind, Value)> {
    let step = || prop::sample::select(vec!["a", "b"]);
    prop_oneof![
        Just(opened(FORMAT)),
        step().prop_map(began),
        (
            step(),
            0u64..4,
            prop::sample::select(vec!["allowed", "denied"])
        )
            .prop_map(|(s, n, d)| intended(s, n, d)),
        (step(), 0u64..4).prop_map(|(s, n)| settled(s, n)),
        (step(), 0u64..4).prop_map(|(s, n)| refused(s, n)),
        (step(), prop::collection::vec(0u64..4, 0..3)).prop_map(|(s, n)| delivered(s, &n)),
        (
            step(),
            prop::sample::select(vec!["succeeded", "failed", "skipped", "cancelled"])
        )
            .prop_map(|(s, w)| ended(s, w)),
        Just(closed()),
        Just(note()),
    ]
}

proptest! {
    /// Whatever comes: no panic, and what is taken obeys the journal's rules.
    #[test]
    fn any_sequence_is_taken_or_refused(entries in prop::collection::vec(any_entry(), 0..40)) {
        let mut state = RunState::default();
        let all = [vec![opened(FORMAT), began("a")], entries].concat();
        for (kind, payload) in all {
            let record = Record { sequence: state.entries, at: Timestamp::UNIX_EPOCH, kind, payload: payload.to_string().into() };
            let before = state.entries;
            let taken = state.apply(&record).is_ok();
            prop_assert_eq!(state.entries, before + u64::from(taken));
        }
        for (_, effect) in state.effects() {
            prop_assert!(!effect.delivered || effect.settled.is_some());
        }
    }

    #[test]
    fn any_bytes_are_taken_or_refused(entries in prop::collection::vec((0usize..8, ".{0,40}", any::<u64>()), 0..8)) {
        let records: Vec<_> = entries
            .into_iter()
            .map(|(kind, payload, sequence)| Record { sequence, at: Timestamp::UNIX_EPOCH, kind: KINDS[kind], payload: payload.into() })
            .collect();
        let _ = RunState::fold(&records);
    }
}
