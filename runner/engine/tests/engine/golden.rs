//! Journals of every format that was ever written are read and repeated for ever. `golden/` has one
//! for each: the bundle of a run, and the plugin's module as text.
//!
//! A format that is not there yet is written with `GROUNDCREW_BLESS=1`; one that is, is never
//! written again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use groundcrew::journal::{Actor, FORMAT, Mode, RunState, RunStatus};
use groundcrew::store::{MemoryStore, Store};
use groundcrew::{Answer, Clock, Limits, Policy, ResumeRequest, Unobserved};
use jiff::Timestamp;
use proptest::prelude::*;

use crate::support::store::{export, import};
use crate::support::{ONE, Stage, component, guest, target};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/engine/golden")
}

/// Everything that a journal of this format can hold: writes, reads, a wait, a failure, something
/// that is held and given back by the host, notes, randomness.
const WORK: &str = r#"
  (call $key (i32.const 1)) (call $note (i32.const 16) (i32.const 6))
  (drop (call $keep (i32.const 1)))
  (drop (call $write (i32.const 1)))
  (drop (call $read (i32.const 2)))
  (call $drain (i32.const 1))
  (call $say (i32.rem_u (i32.wrap_i64 (call $random)) (i32.const 1000)))
  (drop (call $slow (i32.const 3) (i64.const 1)))
  (drop (call $sleep (i64.const 1)))
  (call $drain (i32.const 0))
  (call $key (i32.const 2)) (call $note (i32.const 16) (i32.const 6))
  (drop (call $write (i32.const 4)))
  (call $drain (i32.const 0))
  (call $say (i32.rem_u (i32.wrap_i64 (call $random)) (i32.const 1000)))
  (call $finish)"#;

#[tokio::test]
async fn every_format_has_its_golden_journal() {
    let name = directory().join(format!("v{FORMAT}"));
    let (bundle, module) = (name.with_extension("bundle"), name.with_extension("wat"));
    if std::env::var_os("GROUNDCREW_BLESS").is_some() && !bundle.exists() {
        let source = guest(WORK);
        let stage = Stage::new(Limits::default(), &source);
        let ended = stage.run(ONE, Mode::Perform).await;
        assert_eq!(ended.report.status, Some(RunStatus::Succeeded));
        let text = export(stage.engine.store(), &ended.report.run).unwrap();
        std::fs::create_dir_all(directory()).unwrap();
        std::fs::write(&bundle, text).unwrap();
        std::fs::write(&module, source.module()).unwrap();
    }
    assert!(
        bundle.exists() && module.exists(),
        "there is no golden journal of format {FORMAT}"
    );
}

/// The bundle as far as its `entries`, of which the first names the plugin as it is built here: the
/// encoder of components may change, the module does not.
fn cut(text: &str, entries: usize, digest: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let all = lines.len() - 1;
    let head = lines[0].replace(
        &format!("\"entries\":{all}"),
        &format!("\"entries\":{entries}"),
    );
    let at = lines[1].find("\"digest\":\"").unwrap() + "\"digest\":\"".len();
    let opened = format!("{}{digest}{}", &lines[1][..at], &lines[1][at + 64..]);
    let mut cut = vec![head, opened];
    cut.extend(lines[2..=entries].iter().map(|line| (*line).to_owned()));
    cut.join("\n")
}

/// What a plugin said, in any order: what was under way at the cut may come back in another one.
fn said(output: Option<&serde_json::Value>) -> Vec<&str> {
    let mut said: Vec<&str> = output
        .and_then(|output| output.as_str())
        .unwrap_or_default()
        .split(',')
        .collect();
    said.sort_unstable();
    said
}

/// From wherever it is cut off, each comes to the end that it had.
#[tokio::test(flavor = "multi_thread")]
async fn golden_journals_fold_and_are_repeated() {
    let mut found = 0;
    for entry in std::fs::read_dir(directory()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|end| end != "bundle") {
            continue;
        }
        found += 1;
        let text = std::fs::read_to_string(&path).unwrap();
        let module = std::fs::read_to_string(path.with_extension("wat")).unwrap();
        let plugin = component(&module);
        let place =
            |plugin: &[u8]| Stage::with_plugins(Limits::default(), &[("p", plugin.to_vec())]);
        let digest = place(&plugin).engine.plugin("p").await.unwrap().digest;
        let entries = text.lines().count() - 1;
        {
            let stage = place(&plugin);
            let whole = cut(&text, entries, &digest);
            let run = import(&*stage.store, &whole, stage.wall.now()).unwrap();
            let repeated = stage.engine.replay(&run).await.unwrap();
            assert!(repeated.iter().all(|step| step.ended), "{repeated:?}");
        }
        let output = {
            let store = MemoryStore::default();
            let run = import(&store, &text, Timestamp::UNIX_EPOCH).unwrap();
            let state = RunState::fold(&store.read(&run, 0, usize::MAX).unwrap()).unwrap();
            assert!(state.closed.is_some());
            state.steps["s"].ended.as_ref().unwrap().output.clone()
        };
        assert!(output.is_some());
        for entries in 1..entries {
            let stage = place(&plugin);
            let open = cut(&text, entries, &digest);
            let run = import(&*stage.store, &open, stage.wall.now()).unwrap();
            let numbers = (1..20).map(|n| (n.to_string(), Answer::Retry));
            let request = ResumeRequest {
                run,
                target: target(),
                policy: Policy::default(),
                actor: Actor::default(),
                answers: numbers.collect::<BTreeMap<_, _>>(),
                secrets: serde_json::Value::Null,
                accepted_drift: Vec::new(),
                gone: None,
            };
            let handle = stage.engine.resume(request, Arc::new(Unobserved)).await;
            let report = handle.unwrap().finished().await;
            let place = format!("{}, {entries} entries: {report:?}", path.display());
            let ended = stage.ended(report);
            assert_eq!(ended.report.status, Some(RunStatus::Succeeded), "{place}");
            assert_eq!(
                said(ended.step().output.as_ref()),
                said(output.as_ref()),
                "{place}"
            );
        }
    }
    assert!(found > 0);
}

proptest! {
    /// Whatever a disk or a person does to a journal, it is refused or folds; nothing panics.
    #[test]
    fn bytes_changed_at_random_are_refused_or_fold(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<Option<prop::sample::Index>>(),
    ) {
        let path = directory().join(format!("v{FORMAT}.bundle"));
        let mut bytes = std::fs::read(path).unwrap();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let text = String::from_utf8_lossy(&bytes);
        let store = MemoryStore::default();
        if let Ok(run) = import(&store, &text, Timestamp::UNIX_EPOCH) {
            let records = store.read(&run, 0, usize::MAX).unwrap();
            prop_assert!(RunState::fold(&records).is_ok());
        }
    }
}
