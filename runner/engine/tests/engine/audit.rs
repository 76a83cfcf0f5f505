//! Nothing can be changed in the log unseen, as far as it promises.

use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use groundcrew::audit::{self, AuditError, AuditLog, Flaw, Key, Verified};
use groundcrew::journal::{Actor, EntryKind, FORMAT, Record};
use groundcrew::store::{Append, NewRun, SqliteStore, Store};
use jiff::Timestamp;
use rusqlite::{Connection, params};

use crate::support::store::import;

/// A store and its log, in a directory that goes away.
struct Place {
    directory: tempfile::TempDir,
    store: SqliteStore,
    log: AuditLog,
    key: Key,
}

fn golden() -> String {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/engine/golden/v{FORMAT}.bundle"));
    std::fs::read_to_string(path).unwrap()
}

impl Place {
    fn new() -> Self {
        Self::with(Key::generate("groundcrew/test"))
    }

    fn with(key: Key) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("audit")).unwrap();
        let files = Dir::open_ambient_dir(directory.path().join("audit"), ambient_authority());
        Self {
            store: SqliteStore::open(&directory.path().join("state")).unwrap(),
            log: AuditLog::new(files.unwrap(), key.clone()),
            key,
            directory,
        }
    }

    /// The golden run, under another name for each number.
    fn import(&self, number: u32) -> String {
        let text = golden();
        let name = text
            .split("\"run\":\"")
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap();
        let other = format!("{}{number:04}", &name[..name.len() - 4]);
        import(
            &self.store,
            &text.replace(name, &other),
            Timestamp::UNIX_EPOCH,
        )
        .unwrap()
    }

    fn verify(&self) -> Result<Verified, Vec<Flaw>> {
        audit::verify(&self.store, &self.log, None)
    }

    /// Somebody with access to the file.
    fn intruder(&self) -> Connection {
        Connection::open(self.directory.path().join("state").join(SqliteStore::FILE)).unwrap()
    }

    fn files(&self) -> Vec<PathBuf> {
        fn walk(directory: &Path, all: &mut Vec<PathBuf>) {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, all);
                } else if !path.ends_with("lock") {
                    all.push(path);
                }
            }
        }
        let mut all = Vec::new();
        walk(&self.directory.path().join("audit"), &mut all);
        all.sort();
        all
    }
}

#[test]
fn a_log_that_nobody_changed_verifies() {
    let place = Place::new();
    assert_eq!(place.verify().unwrap().entries, 0);
    for number in 1..=30 {
        place.import(number);
        if number % 7 == 0 {
            place.log.advance(&place.store).unwrap();
        }
    }
    // What is not signed for yet is verified against its leaves all the same.
    let verified = place.verify().unwrap();
    assert!(verified.signed < verified.entries);
    let signed = place.log.advance(&place.store).unwrap();
    let verified = place.verify().unwrap();
    assert_eq!((verified.signed, verified.runs), (signed.size, 30));
    assert_eq!(verified.entries, signed.size);
    assert!(verified.entries > 3 * 256, "more than one full tile");
}

/// Every bit of every payload, and one bit of every byte of the rest.
#[test]
fn every_change_of_an_entry_is_found_and_named() {
    let place = Place::new();
    let run = place.import(1);
    place.log.advance(&place.store).unwrap();
    let intruder = place.intruder();
    let records = place.store.read(&run, 0, usize::MAX).unwrap();
    let named = |faults: &[Flaw], sequence: u64| {
        faults.iter().any(|fault| match fault {
            Flaw::Entry { sequence: at, .. } => *at == sequence,
            Flaw::Unreadable(text) => text.contains(&format!("entry {sequence} of run")),
            _ => false,
        })
    };
    let mut changes = 0;
    for record in &records {
        let update = |column: &str, value: &dyn rusqlite::ToSql| {
            let text = format!(
                "UPDATE entry SET {column} = {} WHERE run = ?2 AND sequence = ?3",
                if column == "at" {
                    "?1"
                } else {
                    "CAST(?1 AS TEXT)"
                }
            );
            let at = i64::try_from(record.sequence).unwrap();
            intruder.execute(&text, params![value, run, at]).unwrap();
        };
        let bytes = record.payload.as_bytes();
        // The header is long; a bit of each of its bytes is enough.
        let every_bit = record.sequence > 0;
        for bit in 0..bytes.len() * 8 {
            if !every_bit && bit % 9 != 0 {
                continue;
            }
            let mut changed = bytes.to_vec();
            changed[bit / 8] ^= 1 << (bit % 8);
            update("payload", &changed);
            let faults = place
                .verify()
                .expect_err("a change of a payload was not seen");
            assert!(
                named(&faults, record.sequence),
                "bit {bit} of {record:?}: {faults:?}"
            );
            changes += 1;
        }
        update("payload", &bytes.to_vec());
        for bit in 0..40 {
            update("at", &(record.at.as_microsecond() ^ (1 << bit)));
            let faults = place.verify().expect_err("a change of a time was not seen");
            assert!(named(&faults, record.sequence), "{faults:?}");
        }
        update("at", &record.at.as_microsecond());
        update("kind", &"note".as_bytes().to_vec());
        assert!(record.kind == EntryKind::Note || place.verify().is_err());
        update("kind", &record.kind.word().as_bytes().to_vec());
    }
    assert!(changes > 10_000, "{changes}");
    place.verify().expect("everything was put back");
}

#[test]
fn every_change_of_a_leaf_or_a_file_is_found() {
    let place = Place::new();
    let run = place.import(1);
    place.log.advance(&place.store).unwrap();
    let intruder = place.intruder();
    for (number, leaf) in place.store.leaves_of(&run).unwrap() {
        for byte in 0..leaf.len() {
            let mut changed = leaf.clone().into_bytes();
            changed[byte] ^= 1 << (byte % 7);
            let update = "UPDATE leaf SET body = CAST(?1 AS TEXT) WHERE number = ?2";
            let number = i64::try_from(number).unwrap();
            intruder.execute(update, params![changed, number]).unwrap();
            assert!(place.verify().is_err(), "byte {byte} of leaf {number}");
            intruder
                .execute(update, params![leaf.as_bytes(), number])
                .unwrap();
        }
    }
    let files = place.files();
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        let good = std::fs::read(&file).unwrap();
        // Bundles of leaves are long; a bit of each byte is enough.
        let step = if file.to_string_lossy().contains("entries") {
            9
        } else {
            1
        };
        for bit in (0..good.len() * 8).step_by(step) {
            let mut changed = good.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&file, &changed).unwrap();
            assert!(place.verify().is_err(), "bit {bit} of {}", file.display());
        }
        for cut in [0, good.len() / 2, good.len() - 1] {
            std::fs::write(&file, &good[..cut]).unwrap();
            assert!(place.verify().is_err(), "{} cut at {cut}", file.display());
        }
        std::fs::remove_file(&file).unwrap();
        assert!(place.verify().is_err(), "{} removed", file.display());
        std::fs::write(&file, &good).unwrap();
    }
    place.verify().expect("everything was put back");
}

#[test]
fn what_is_cut_off_or_put_in_another_order_is_found() {
    let place = Place::new();
    for number in 1..=3 {
        place.import(number);
    }
    let signed = place.log.advance(&place.store).unwrap();
    let intruder = place.intruder();
    // The last entry, with its leaf and everything that counts it.
    let last = i64::try_from(signed.size).unwrap() - 1;
    let of: (String, i64, String) = intruder
        .query_row(
            "SELECT run, sequence, body FROM leaf WHERE number = ?1",
            [last],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .unwrap();
    let payload: (i64, String, String) = intruder
        .query_row(
            "SELECT at, kind, payload FROM entry WHERE run = ?1 AND sequence = ?2",
            params![of.0, of.1],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .unwrap();
    intruder
        .execute("DELETE FROM leaf WHERE number = ?1", [last])
        .unwrap();
    intruder
        .execute(
            "DELETE FROM entry WHERE run = ?1 AND sequence = ?2",
            params![of.0, of.1],
        )
        .unwrap();
    assert!(place.verify().is_err());
    let refused = place.log.guard(&place.store).unwrap_err();
    assert!(matches!(refused, AuditError::Restored { leaves, signed } if leaves + 1 == signed));
    assert!(matches!(
        place.log.advance(&place.store),
        Err(AuditError::Restored { .. })
    ));
    intruder
        .execute(
            "INSERT INTO entry (run, sequence, at, kind, payload) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![of.0, of.1, payload.0, payload.1, payload.2],
        )
        .unwrap();
    // The entry alone: it is in no log.
    assert!(place.verify().is_err());
    intruder
        .execute(
            "INSERT INTO leaf (number, run, sequence, body) VALUES (?1, ?2, ?3, ?4)",
            params![last, of.0, of.1, of.2],
        )
        .unwrap();
    place.verify().expect("everything was put back");
    // Two leaves of different runs change places.
    for (from, to) in [(5, -1), (40, 5), (-1, 40)] {
        intruder
            .execute("UPDATE leaf SET number = ?2 WHERE number = ?1", [from, to])
            .unwrap();
    }
    assert!(place.verify().is_err());
}

/// Whoever holds the key can write another history and sign it; a checkpoint that was kept shows it.
#[test]
fn a_rewritten_log_that_is_signed_again_is_found_by_an_earlier_checkpoint() {
    let key = Key::generate("groundcrew/test");
    let honest = Place::with(key.clone());
    honest.import(1);
    let kept = honest.log.advance(&honest.store).unwrap().note;
    honest.import(2);
    honest.log.advance(&honest.store).unwrap();
    assert!(audit::verify(&honest.store, &honest.log, Some(&kept)).is_ok());

    let forked = Place::with(key);
    forked.import(3);
    forked.import(2);
    forked.log.advance(&forked.store).unwrap();
    assert!(
        forked.verify().is_ok(),
        "by itself it is a log like any other"
    );
    let faults = audit::verify(&forked.store, &forked.log, Some(&kept)).unwrap_err();
    assert!(
        matches!(&faults[..], [Flaw::Root { what, .. }] if what == "the earlier checkpoint"),
        "{faults:?}"
    );
    // And one that is shorter than what was kept.
    let short = Place::with(forked.key.clone());
    assert!(audit::verify(&short.store, &short.log, Some(&kept)).is_err());
    // A checkpoint of somebody else says nothing.
    let other = Place::new();
    other.import(1);
    let foreign = other.log.advance(&other.store).unwrap().note;
    assert!(audit::verify(&honest.store, &honest.log, Some(&foreign)).is_err());
}

/// Between any two file operations of the sequencer: what the next one finds, it catches up with.
#[test]
fn a_crash_while_the_log_advances_is_caught_up_with() {
    let place = Place::new();
    let root = place.directory.path().join("audit");
    let relative = |file: &PathBuf| file.strip_prefix(&root).unwrap().to_owned();
    let contents = |place: &Place| -> Vec<(PathBuf, Vec<u8>)> {
        let files = place.files();
        files
            .iter()
            .map(|f| (relative(f), std::fs::read(f).unwrap()))
            .collect()
    };
    for number in 1..=9 {
        place.import(number);
    }
    place.log.advance(&place.store).unwrap();
    let before = contents(&place);
    for number in 10..=12 {
        place.import(number);
    }
    let signed = place.log.advance(&place.store).unwrap();
    let after = contents(&place);
    // The order in which they are written: the checkpoint last.
    let mut written: Vec<&(PathBuf, Vec<u8>)> =
        after.iter().filter(|file| !before.contains(file)).collect();
    written.sort_by_key(|(path, _)| path == Path::new("checkpoint"));
    assert!(written.len() >= 4, "{}", written.len());
    let write = |path: &Path, bytes: &[u8]| {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    for done in 0..=written.len() {
        for torn in [false, true] {
            std::fs::remove_dir_all(root.join("tile")).unwrap();
            before.iter().for_each(|(path, bytes)| write(path, bytes));
            written[..done]
                .iter()
                .for_each(|(path, bytes)| write(path, bytes));
            if let (true, Some((path, bytes))) = (torn, written.get(done)) {
                // The next one was being written, aside.
                let aside = format!("{}.new", path.display());
                write(Path::new(&aside), &bytes[..bytes.len() / 2]);
            }
            let again = place.log.advance(&place.store).unwrap();
            assert_eq!(again.note, signed.note, "{done} files");
            place
                .verify()
                .unwrap_or_else(|faults| panic!("{done} files: {faults:?}"));
            for (path, _) in &written {
                let _ = std::fs::remove_file(root.join(format!("{}.new", path.display())));
            }
        }
    }
}

#[test]
fn a_receipt_is_checked_with_nothing_but_the_key() {
    let place = Place::new();
    let runs: Vec<String> = (1..=20).map(|number| place.import(number)).collect();
    let public = Key::public_from(place.key.public()).unwrap();
    let other = Key::generate("groundcrew/test");
    for run in &runs {
        for payloads in [false, true] {
            let receipt = audit::prove(&place.store, &place.log, run, payloads).unwrap();
            let checked = audit::check(&receipt, &public).unwrap();
            assert_eq!(
                (checked.run.as_str(), checked.last.as_str()),
                (run.as_str(), "run-closed")
            );
            assert_eq!(checked.payloads, payloads);
            assert!(audit::check(&receipt, &other).is_err(), "another key's");
        }
    }
    let receipt = audit::prove(&place.store, &place.log, &runs[3], true).unwrap();
    let text = serde_json::to_string(&receipt).unwrap();
    for byte in 0..text.len() {
        let mut changed = text.clone().into_bytes();
        changed[byte] ^= 1 << (byte % 7);
        let Ok(changed) = String::from_utf8(changed) else {
            continue;
        };
        if let Ok(changed) = serde_json::from_str::<audit::Receipt>(&changed) {
            assert!(
                audit::check(&changed, &public).is_err() || changed == receipt,
                "byte {byte}: {}",
                &text[byte.saturating_sub(40)..(byte + 40).min(text.len())]
            );
        }
    }
    let mut shorter = receipt.clone();
    shorter.leaves.pop();
    shorter.payloads.as_mut().unwrap().pop();
    assert!(audit::check(&shorter, &public).is_err());
}

#[test]
fn keys_are_what_they_say() {
    let (key, other) = (Key::generate("a/b"), Key::generate("a/b"));
    assert!(Key::from_pair(key.private().unwrap(), key.public()).is_ok());
    assert!(Key::from_pair(other.private().unwrap(), key.public()).is_err());
    assert!(Key::public_from("nonsense").is_err());
    assert!(!format!("{key:?}").contains(key.private().unwrap()));
    // The public half alone signs nothing.
    let place = Place::with(Key::public_from(key.public()).unwrap());
    place.import(1);
    assert!(matches!(
        place.log.advance(&place.store),
        Err(AuditError::Key(_))
    ));
}

/// Both stores make the same leaves of the same entries.
#[test]
fn stores_agree_on_the_leaves() {
    let place = Place::new();
    let memory = groundcrew::store::MemoryStore::default();
    let stores: [&dyn Store; 2] = [&place.store, &memory];
    for store in stores {
        for run in ["a", "b"] {
            let new = NewRun {
                run: run.to_owned(),
                runbook: "r".to_owned(),
                target: "t".to_owned(),
                mode: groundcrew::journal::Mode::Perform,
                locks: Vec::new(),
                holder: Actor::default(),
            };
            store
                .open(&new, Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH)
                .unwrap();
        }
        for sequence in 0..5 {
            for run in ["a", "b"] {
                let claim = groundcrew::store::Claim {
                    run: run.to_owned(),
                    token: 1,
                };
                let record = Record {
                    sequence,
                    at: Timestamp::from_second(sequence as i64).unwrap(),
                    kind: EntryKind::Note,
                    payload: format!("{{\"{run}\":{sequence}}}").into(),
                };
                let append = Append {
                    claim: &claim,
                    records: &[record],
                    closing: None,
                };
                store.append(&append).unwrap();
            }
        }
    }
    assert_eq!(place.store.leaf_count().unwrap(), 10);
    assert_eq!(memory.leaf_count().unwrap(), 10);
    assert_eq!(
        place.store.entry_count().unwrap(),
        memory.entry_count().unwrap()
    );
    assert_eq!(
        place.store.leaves(3, 4).unwrap(),
        memory.leaves(3, 4).unwrap()
    );
    assert_eq!(
        place.store.leaves_of("b").unwrap(),
        memory.leaves_of("b").unwrap()
    );
    let texts = |store: &dyn Store| -> Vec<String> {
        let logged = store.logged(0, 100).unwrap();
        logged
            .iter()
            .map(|l| format!("{} {} {:?} {}", l.index, l.run, l.record, l.leaf))
            .collect()
    };
    assert_eq!(texts(&place.store), texts(&memory));
}
