//! The target's credential is nowhere but in the requests that need it.

use groundcrew::Limits;
use groundcrew::journal::Mode;

use crate::support::{CANARY, ONE, Stage, guest, target, times};

/// Answers are delivered as exactly the journalled bytes, so what is not in the journal is not in
/// the guest's memory either.
#[tokio::test]
async fn no_entry_has_it() {
    let body = times(
        3,
        "(drop (call $write (local.get $i))) (drop (call $read (local.get $i)))",
    ) + "(call $drain (i32.const 0)) (call $finish)";
    for mode in [Mode::Perform, Mode::Rehearsal] {
        let stage = Stage::new(Limits::default(), &guest(body.clone()));
        let ended = stage.run(ONE, mode).await;
        assert!(ended.records.len() > 10);
        assert!(
            ended
                .records
                .iter()
                .all(|record| !record.payload.contains(CANARY))
        );
        assert!(!format!("{:?} {:?}", ended.report, ended.state).contains(CANARY));
        // The reference is told: an operator wants to know which credential was used.
        assert!(ended.records[0].payload.contains("env://TOKEN"));
    }
}

#[tokio::test]
async fn nothing_prints_it() {
    let stage = Stage::new(Limits::default(), &guest("(call $finish)"));
    let request = stage.request(ONE, Mode::Perform, 1);
    assert!(!format!("{request:?} {request:#?} {:?}", target()).contains(CANARY));
}
