//! What every store does, as one suite that both run; and what SQLite's file must be.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use groundcrew::audit::NOTHING;
use groundcrew::journal::{Actor, EntryKind, Mode, Record, RunStatus};
use groundcrew::store::{
    Append, Arrival, Claim, MemoryStore, NewRun, SqliteStore, Standing, Store, StoreError,
};
use jiff::{SignedDuration, Timestamp};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap() + SignedDuration::from_secs(second)
}

fn new(run: &str, locks: &[&str]) -> NewRun {
    NewRun {
        run: run.to_owned(),
        runbook: "one".to_owned(),
        target: "test".to_owned(),
        mode: Mode::Perform,
        locks: locks.iter().map(|l| (*l).to_owned()).collect(),
        holder: nobody(),
    }
}

/// Nobody that is known.
fn nobody() -> Actor {
    Actor::default()
}

fn record(sequence: u64) -> Record {
    Record {
        sequence,
        at: at(100),
        kind: EntryKind::Note,
        payload: format!("{{\"n\": {sequence}, \"text\": \"ä\\u0000\"}}").into(),
    }
}

fn append(
    store: &dyn Store,
    claim: &Claim,
    sequences: std::ops::Range<u64>,
    closing: Option<RunStatus>,
) -> Result<(), StoreError> {
    let records: Vec<_> = sequences.map(record).collect();
    store.append(&Append {
        claim,
        records: &records,
        closing,
    })
}

/// The suite. `reopen` gives the same store again, as another process would see it.
fn conforms(reopen: impl Fn() -> Arc<dyn Store>) {
    entries_are_kept_in_order(&*reopen(), &*reopen());
    claims_expire_and_fence(&*reopen(), &*reopen());
    locks_are_all_or_nothing(&*reopen());
    locks_outlive_the_process_of_a_run_that_has_begun(&*reopen());
    wide_locks_conflict_both_ways(&*reopen());
    runs_are_listed_newest_first(&*reopen());
    a_run_is_taken_in_as_a_whole(&*reopen(), &*reopen());
    an_exported_run_goes_on_elsewhere_only(&*reopen(), &*reopen());
}

fn entries_are_kept_in_order(store: &dyn Store, other: &dyn Store) {
    let claim = store.open(&new("entries", &[]), at(0), at(15)).unwrap();
    assert!(
        matches!(store.open(&new("entries", &[]), at(0), at(15)), Err(StoreError::Exists(run)) if run == "entries")
    );
    assert!(store.read("entries", 0, 10).unwrap().is_empty());
    assert!(matches!(store.read("none", 0, 10), Err(StoreError::NoSuchRun(run)) if run == "none"));
    append(store, &claim, 0..3, None).unwrap();
    append(store, &claim, 3..3, None).unwrap();
    append(store, &claim, 3..5, None).unwrap();
    for gap in [4..5, 0..1, 6..7] {
        assert!(matches!(
            append(store, &claim, gap, None),
            Err(StoreError::Fenced(_))
        ));
    }
    let read = |store: &dyn Store, first, max| {
        store
            .read("entries", first, max)
            .unwrap()
            .iter()
            .map(|r| r.sequence)
            .collect::<Vec<_>>()
    };
    assert_eq!(read(other, 0, usize::MAX), [0, 1, 2, 3, 4]);
    assert_eq!(read(other, 1, 2), [1, 2]);
    assert_eq!(read(other, 5, 9), [] as [u64; 0]);
    let (mine, theirs) = (record(4), other.read("entries", 4, 1).unwrap().remove(0));
    assert_eq!(
        (mine.at, mine.kind, mine.payload),
        (theirs.at, theirs.kind, theirs.payload),
        "to the byte"
    );
    assert_eq!(other.run("entries", at(1)).unwrap().entries, 5);
}

fn claims_expire_and_fence(store: &dyn Store, other: &dyn Store) {
    let first = store.open(&new("claims", &[]), at(0), at(15)).unwrap();
    let standing = |now| store.run("claims", now).unwrap().standing;
    assert_eq!(
        (standing(at(14)), standing(at(15))),
        (Standing::Running, Standing::Abandoned)
    );
    assert!(
        matches!(other.claim("claims", &nobody(), at(14), at(30), None), Err(StoreError::Held(run)) if run == "claims")
    );
    store.beat(&first, at(20)).unwrap();
    assert!(matches!(
        other.claim("claims", &nobody(), at(19), at(40), None),
        Err(StoreError::Held(_))
    ));
    let second = other
        .claim("claims", &nobody(), at(20), at(40), None)
        .unwrap();
    assert!(second.token > first.token);
    // Whoever was seen to be gone is meant, and nobody who has claimed it since.
    let held = |gone| other.claim("claims", &nobody(), at(21), at(50), gone);
    assert!(matches!(held(Some(first.token)), Err(StoreError::Held(_))));
    let found = store.run("claims", at(21)).unwrap();
    assert_eq!((found.token, found.holder), (second.token, nobody()));
    let ann = Actor {
        user: "ann".to_owned(),
        ..nobody()
    };
    let third = other.claim("claims", &ann, at(21), at(50), Some(second.token));
    let third = third.unwrap();
    let found = store.run("claims", at(21)).unwrap();
    assert_eq!((found.token, found.holder), (third.token, ann));
    for old in [&first, &second] {
        assert!(
            matches!(append(store, old, 0..1, None), Err(StoreError::Fenced(run)) if run == "claims")
        );
        assert!(matches!(
            store.beat(old, at(99)),
            Err(StoreError::Fenced(_))
        ));
        assert!(matches!(store.release(old), Err(StoreError::Fenced(_))));
    }
    assert!(
        store.read("claims", 0, 9).unwrap().is_empty(),
        "nothing of it was kept"
    );
    append(store, &third, 0..1, Some(RunStatus::Failed)).unwrap();
    assert_eq!(standing(at(22)), Standing::Closed(RunStatus::Failed));
    assert_eq!(
        store.run("claims", at(22)).unwrap().closed_at,
        Some(at(100))
    );
    store.release(&third).unwrap();
    assert!(matches!(
        store.claim("none", &nobody(), at(0), at(1), Some(1)),
        Err(StoreError::NoSuchRun(_))
    ));
    assert!(matches!(
        store.run("none", at(0)),
        Err(StoreError::NoSuchRun(_))
    ));
}

fn names(store: &dyn Store) -> Vec<(String, String)> {
    store
        .locks()
        .unwrap()
        .into_iter()
        .map(|lock| (lock.name, lock.run))
        .collect()
}

fn locks_are_all_or_nothing(store: &dyn Store) {
    let first = store
        .open(&new("locks-1", &["a", "b"]), at(0), at(15))
        .unwrap();
    match store.open(&new("locks-2", &["c", "b"]), at(1), at(16)) {
        Err(StoreError::Locked { lock, run }) => {
            assert_eq!((lock.as_str(), run.as_str()), ("b", "locks-1"))
        }
        other => panic!("it should be locked: {other:?}"),
    }
    assert!(
        matches!(store.run("locks-2", at(1)), Err(StoreError::NoSuchRun(_))),
        "nothing of it is left"
    );
    assert_eq!(
        names(store),
        [
            ("a".into(), "locks-1".into()),
            ("b".into(), "locks-1".into())
        ]
    );
    store.release(&first).unwrap();
    assert!(names(store).is_empty());
    let second = store
        .open(&new("locks-2", &["c", "b"]), at(1), at(16))
        .unwrap();
    // A run of a name that is there takes no locks either.
    assert!(matches!(
        store.open(&new("locks-2", &["d"]), at(1), at(16)),
        Err(StoreError::Exists(_))
    ));
    assert_eq!(names(store).len(), 2);
    store.release(&second).unwrap();
}

fn locks_outlive_the_process_of_a_run_that_has_begun(store: &dyn Store) {
    let first = store.open(&new("keeps-1", &["x"]), at(0), at(15)).unwrap();
    append(store, &first, 0..1, None).unwrap();
    // Long after its claim has expired, or been let go of, the lock is its own.
    let locked = |by: &str, now: i64| match store.open(&new(by, &["x"]), at(now), at(now + 15)) {
        Err(StoreError::Locked { run, .. }) => assert_eq!(run, "keeps-1"),
        other => panic!("it should be locked: {other:?}"),
    };
    locked("keeps-2", 1000);
    store.abandon(&first).unwrap();
    locked("keeps-2", 1000);
    // Whoever takes the run over gives it up.
    let taken = store
        .claim("keeps-1", &nobody(), at(1000), at(1015), None)
        .unwrap();
    assert_eq!(names(store), [("x".into(), "keeps-1".into())]);
    store.release(&taken).unwrap();

    // A run that has ended has none, even if it could not give them up.
    let ended = store.open(&new("ended-1", &["x"]), at(0), at(15)).unwrap();
    append(store, &ended, 0..1, Some(RunStatus::Succeeded)).unwrap();
    let next = store.open(&new("ended-2", &["x"]), at(1), at(16)).unwrap();
    store.release(&next).unwrap();

    // A run that was opened and never began has nothing to be gone on with.
    let never = store.open(&new("never-1", &["x"]), at(0), at(15)).unwrap();
    store.beat(&never, at(18)).unwrap();
    assert!(matches!(
        store.open(&new("never-2", &["x"]), at(17), at(30)),
        Err(StoreError::Locked { .. })
    ));
    let second = store.open(&new("never-2", &["x"]), at(18), at(33)).unwrap();
    assert_eq!(names(store), [("x".into(), "never-2".into())]);
    // It must not get the lock back by showing that it lives, nor take it away by ending.
    assert!(matches!(store.beat(&never, at(60)), Err(StoreError::Fenced(run)) if run == "never-1"));
    assert!(matches!(
        append(store, &never, 0..1, None),
        Err(StoreError::Fenced(_))
    ));
    assert!(matches!(store.release(&never), Err(StoreError::Fenced(_))));
    assert_eq!(names(store), [("x".into(), "never-2".into())]);
    store.release(&second).unwrap();
}

fn wide_locks_conflict_both_ways(store: &dyn Store) {
    let wide = store
        .open(&new("wide-1", &["t/app/x/*"]), at(0), at(15))
        .unwrap();
    for held in [
        "t/app/x/worker",
        "t/app/x/*",
        "t/app/x/a/b",
        "t/app/x/a/*",
        "t/app/x",
        "t/*",
    ] {
        match store.open(&new("wide-2", &[held]), at(1), at(16)) {
            // The name of the lock that is held, not of the one that was asked for.
            Err(StoreError::Locked { lock, run }) => assert_eq!(
                (lock.as_str(), run.as_str()),
                ("t/app/x/*", "wide-1"),
                "{held}"
            ),
            other => panic!("`{held}` should conflict: {other:?}"),
        }
    }
    let beside = store
        .open(
            &new("wide-3", &["t/app/y/worker", "t/app/xx/worker", "t/app/xx"]),
            at(1),
            at(16),
        )
        .unwrap();
    assert!(
        matches!(store.open(&new("wide-4", &["t/app/y/*"]), at(1), at(16)), Err(StoreError::Locked { run, .. }) if run == "wide-3")
    );
    let after = store
        .open(&new("wide-5", &["t/app/x/worker"]), at(15), at(30))
        .unwrap();
    assert!(matches!(
        store.beat(&wide, at(99)),
        Err(StoreError::Fenced(_))
    ));
    for claim in [beside, after] {
        store.release(&claim).unwrap();
    }
}

fn a_run_is_taken_in_as_a_whole(store: &dyn Store, other: &dyn Store) {
    let held = store.open(&new("there", &["in/a"]), at(0), at(15)).unwrap();
    let leaves = store.leaf_count().unwrap();
    let entries = |numbers: &[u64]| numbers.iter().copied().map(record).collect::<Vec<_>>();
    let take = |run: &str, locks: &[&str], records: &[Record], closing| {
        let new = new(run, locks);
        let arrival = Arrival {
            new: &new,
            records,
            closing,
        };
        store.take_in(&arrival, at(1))
    };
    let whole = entries(&[0, 1, 2]);
    assert!(matches!(
        take("in", &["in/b", "in/a"], &whole, None),
        Err(StoreError::Locked { run, .. }) if run == "there"
    ));
    assert!(matches!(
        take("in", &["in/b"], &entries(&[1, 2]), None),
        Err(StoreError::Fenced(_))
    ));
    assert!(matches!(
        take("there", &[], &whole, None),
        Err(StoreError::Exists(_))
    ));
    assert!(matches!(
        other.run("in", at(1)),
        Err(StoreError::NoSuchRun(_))
    ));
    assert_eq!(names(store), [("in/a".into(), "there".into())]);
    assert_eq!(store.leaf_count().unwrap(), leaves, "nothing of it is left");

    take("in", &["in/b"], &whole, None).unwrap();
    let found = other.run("in", at(1)).unwrap();
    assert_eq!((found.standing, found.entries), (Standing::Abandoned, 3));
    assert_eq!(other.leaves_of("in").unwrap().len(), 3);
    assert!(names(other).contains(&("in/b".into(), "in".into())));
    let claim = other.claim("in", &nobody(), at(1), at(16), None).unwrap();
    append(other, &claim, 3..4, None).unwrap();
    take("in-2", &[], &whole, Some(RunStatus::Failed)).unwrap();
    let ended = other.run("in-2", at(1)).unwrap().standing;
    assert_eq!(ended, Standing::Closed(RunStatus::Failed));
    store.release(&claim).unwrap();
    store.release(&held).unwrap();
}

fn an_exported_run_goes_on_elsewhere_only(store: &dyn Store, other: &dyn Store) {
    let claim = store.open(&new("out", &["out/x"]), at(0), at(15)).unwrap();
    append(store, &claim, 0..2, None).unwrap();
    assert!(matches!(
        other.export("out", at(1), None),
        Err(StoreError::Held(_))
    ));
    let token = other.run("out", at(1)).unwrap().token;
    other.export("out", at(1), Some(token)).unwrap();
    let token = other.run("out", at(1)).unwrap().token;
    let standing = |now| store.run("out", now).unwrap().standing;
    assert_eq!(
        (standing(at(1)), standing(at(1000))),
        (Standing::Exported, Standing::Exported)
    );
    // Nobody goes on with it, neither who had it nor who comes.
    assert!(matches!(
        append(store, &claim, 2..3, None),
        Err(StoreError::Fenced(_))
    ));
    assert!(matches!(
        store.beat(&claim, at(99)),
        Err(StoreError::Fenced(_))
    ));
    for gone in [None, Some(token)] {
        assert!(
            matches!(store.claim("out", &nobody(), at(1000), at(1015), gone), Err(StoreError::Exported(run)) if run == "out")
        );
        assert!(matches!(
            store.export("out", at(1000), gone),
            Err(StoreError::Exported(_))
        ));
    }
    assert!(names(store).is_empty(), "its locks are given up");
    assert_eq!(store.read("out", 0, 9).unwrap().len(), 2, "as it was");

    // Taken back, unless somebody works there now.
    let since = store
        .open(&new("since", &["out/x"]), at(2), at(17))
        .unwrap();
    let locks = ["out/x".to_owned()];
    assert!(matches!(
        store.reopen("out", &locks, at(3)),
        Err(StoreError::Locked { run, .. }) if run == "since"
    ));
    assert_eq!(standing(at(3)), Standing::Exported);
    store.release(&since).unwrap();
    store.reopen("out", &locks, at(4)).unwrap();
    store.reopen("out", &[], at(4)).unwrap();
    assert_eq!(standing(at(4)), Standing::Abandoned);
    assert_eq!(names(store), [("out/x".into(), "out".into())]);
    let again = store.claim("out", &nobody(), at(4), at(19), None).unwrap();
    append(store, &again, 2..3, Some(RunStatus::Succeeded)).unwrap();
    store.release(&again).unwrap();
    // What has ended is not closed a second time.
    store.export("out", at(5), None).unwrap();
    assert_eq!(standing(at(5)), Standing::Closed(RunStatus::Succeeded));
    assert!(matches!(
        store.export("none", at(5), None),
        Err(StoreError::NoSuchRun(_))
    ));
}

fn runs_are_listed_newest_first(store: &dyn Store) {
    for (second, run) in [(1_000, "list-b"), (1_001, "list-c"), (1_000, "list-a")] {
        let claim = store
            .open(&new(run, &[]), at(second - 1), at(second + 15))
            .unwrap();
        // Opened when its first entry was written.
        let first = Record {
            at: at(second),
            ..record(0)
        };
        let append = Append {
            claim: &claim,
            records: &[first],
            closing: None,
        };
        store.append(&append).unwrap();
    }
    // One without entries is in the index, and shown to nobody.
    let never = new("list-never", &[]);
    store.open(&never, at(2_000), at(2_015)).unwrap();
    let index = store.index().unwrap();
    let chains: Vec<_> = index
        .iter()
        .filter(|indexed| indexed.summary.run.starts_with("list-"))
        .map(|indexed| (indexed.summary.entries, indexed.chain == NOTHING))
        .collect();
    assert_eq!(chains, [(1, false), (1, false), (1, false), (0, true)]);
    let listed: Vec<_> = store
        .runs(at(1_002), 3)
        .unwrap()
        .into_iter()
        .map(|r| r.run)
        .collect();
    assert_eq!(listed, ["list-c", "list-b", "list-a"]);
    assert_eq!(store.runs(at(1_002), 1).unwrap().len(), 1);
    let one = store.run("list-a", at(1_002)).unwrap();
    assert_eq!(
        (
            one.runbook.as_str(),
            one.target.as_str(),
            one.mode,
            one.opened_at,
            one.closed_at
        ),
        ("one", "test", Mode::Perform, at(1_000), None)
    );
}

#[test]
fn the_memory_store_conforms() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    conforms(|| store.clone());
}

#[test]
fn the_sqlite_store_conforms() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("made/on/the/way");
    conforms(|| Arc::new(SqliteStore::open(&state).unwrap()));
}

#[test]
fn those_that_open_a_new_store_at_once_all_get_it() {
    const MANY: usize = 8;
    let directory = tempfile::tempdir().unwrap();
    for round in 0..50 {
        let state = directory.path().join(round.to_string());
        let start = Barrier::new(MANY);
        std::thread::scope(|scope| {
            let open = || {
                start.wait();
                SqliteStore::open(&state).map(drop)
            };
            let all: Vec<_> = (0..MANY).map(|_| scope.spawn(open)).collect();
            for one in all {
                one.join().unwrap().unwrap();
            }
        });
    }
}

/// Another process has just made the file and is about to change it: its mode cannot be changed before that ends.
#[test]
fn a_new_store_waits_for_who_changes_it() {
    let directory = tempfile::tempdir().unwrap();
    drop(SqliteStore::open(directory.path()).unwrap());
    let other = rusqlite::Connection::open(directory.path().join(SqliteStore::FILE)).unwrap();
    let mode = |mode: &str| other.pragma_update(None, "journal_mode", mode).unwrap();
    mode("DELETE");
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    std::thread::scope(|scope| {
        let store = scope.spawn(|| SqliteStore::open(directory.path()).map(drop));
        std::thread::sleep(Duration::from_millis(300));
        assert!(!store.is_finished(), "it did not wait");
        other.execute_batch("COMMIT").unwrap();
        store.join().unwrap().unwrap();
    });
}

/// Closing a file takes away the locks that the process has on it: a second store must not do that
/// to the first.
#[cfg(target_os = "linux")]
#[test]
fn a_second_store_leaves_the_first_its_locks() {
    let directory = tempfile::tempdir().unwrap();
    let first = SqliteStore::open(directory.path()).unwrap();
    first.open(&new("r", &[]), at(0), at(1)).unwrap();
    let held = || {
        let locks = std::fs::read_to_string("/proc/locks").unwrap();
        let path = directory.path().join(SqliteStore::FILE);
        let inode = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(path).unwrap());
        let of = format!(":{inode} ");
        let me = format!(" {} ", std::process::id());
        locks
            .lines()
            .filter(|l| l.contains(&of) && l.contains(&me))
            .count()
    };
    assert!(held() > 0, "the first holds none");
    let _second = SqliteStore::open(directory.path()).unwrap();
    assert!(held() > 0, "the first has lost them");
}

#[test]
fn what_the_sqlite_store_makes_is_private() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let store = SqliteStore::open(&state).unwrap();
    store.open(&new("r", &[]), at(0), at(1)).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state), 0o700);
    for entry in std::fs::read_dir(&state).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[track_caller]
fn refused(directory: &Path) -> String {
    match SqliteStore::open(directory) {
        Err(StoreError::Directory(message)) => message,
        other => panic!("it should be refused: {other:?}"),
    }
}

#[test]
fn a_state_directory_that_others_can_write_to_is_refused() {
    for mode in [0o770, 0o707, 0o777] {
        let directory = tempfile::tempdir().unwrap();
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        let path = directory.path().display();
        assert_eq!(
            refused(directory.path()),
            format!(
                "the state directory `{path}` can be written to by others (mode {mode:o}); `chmod 700` it"
            )
        );
        assert!(
            std::fs::read_dir(directory.path())
                .unwrap()
                .next()
                .is_none(),
            "nothing is left there"
        );
    }
    // Others may look at the directory: the file is private.
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(SqliteStore::open(directory.path()).is_ok());
}

#[test]
fn a_file_that_others_can_use_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(SqliteStore::FILE);
    std::fs::write(&path, "").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(
        refused(directory.path()),
        format!(
            "`{}` can be used by others (mode 644); `chmod 600` it",
            path.display()
        )
    );
}

#[test]
fn a_file_that_is_a_link_is_refused_and_not_followed() {
    let directory = tempfile::tempdir().unwrap();
    let (path, elsewhere) = (
        directory.path().join(SqliteStore::FILE),
        directory.path().join("elsewhere"),
    );
    std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
    assert_eq!(
        refused(directory.path()),
        format!(
            "`{}` is a symbolic link; it has to be a file",
            path.display()
        )
    );
    assert!(!elsewhere.exists());
}

/// Works for root too, whom permissions do not stop.
#[test]
fn a_directory_that_cannot_be_made_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let message = refused(&file.join("state"));
    assert!(
        message.starts_with(&format!(
            "the state directory `{}/state` cannot be made: ",
            file.display()
        )),
        "{message}"
    );
    assert!(refused(&file).starts_with("the state directory "));
}

#[test]
fn a_file_that_is_no_database_or_a_newer_one_is_refused() {
    let private = |directory: &Path, content: &[u8]| {
        let path = directory.join(SqliteStore::FILE);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    let directory = tempfile::tempdir().unwrap();
    let path = private(directory.path(), &[b'x'; 4096]);
    match SqliteStore::open(directory.path()) {
        Err(StoreError::Broken(message)) => assert_eq!(
            message,
            format!("`{}`: file is not a database", path.display())
        ),
        other => panic!("it should be refused: {other:?}"),
    }
    for (version, says) in [
        (
            5,
            "was written by a newer groundcrew (its tables are version 5, this program knows 4)",
        ),
        (
            1,
            "was written by a groundcrew from before the audit log; keep it and choose another place with `--state-dir`",
        ),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let path = private(directory.path(), b"");
        rusqlite::Connection::open(&path)
            .unwrap()
            .pragma_update(None, "user_version", version)
            .unwrap();
        assert_eq!(
            refused(directory.path()),
            format!("`{}` {says}", path.display())
        );
    }
}

#[test]
fn a_file_of_the_versions_before_is_brought_up_to_date() {
    let now = "ALTER TABLE run DROP COLUMN exported_at; ALTER TABLE run DROP COLUMN holder;";
    brought_up_to_date(&format!("{now} PRAGMA user_version = 3;"));
    brought_up_to_date(&format!(
        "{now} ALTER TABLE lock ADD COLUMN expires_at INTEGER NOT NULL DEFAULT 0; PRAGMA user_version = 2;"
    ));
}

fn brought_up_to_date(as_it_was: &str) {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    let claim = store.open(&new("old", &["x"]), at(0), at(15)).unwrap();
    append(&store, &claim, 0..1, None).unwrap();
    drop(store);
    let path = directory.path().join(SqliteStore::FILE);
    rusqlite::Connection::open(&path)
        .unwrap()
        .execute_batch(as_it_was)
        .unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    assert_eq!(store.altered().unwrap(), Vec::<String>::new());
    assert_eq!(names(&store), [("x".into(), "old".into())]);
    assert!(matches!(
        store.open(&new("new", &["x"]), at(99), at(100)),
        Err(StoreError::Locked { .. })
    ));
    assert!(store.open(&new("other", &["y"]), at(99), at(100)).is_ok());
    // Whose claim that is was not written down: its expiry decides.
    let found = store.run("old", at(1)).unwrap();
    assert_eq!((found.gone(), &found.holder), (None, &nobody()));
    assert!(matches!(
        store.claim("old", &nobody(), at(1), at(20), found.gone()),
        Err(StoreError::Held(_))
    ));
    store.export("old", at(99), None).unwrap();
    let found = store.run("old", at(99)).unwrap();
    assert_eq!(found.standing, Standing::Exported);
}

/// Word for word what version 2 made, and version 3 before a run could be exported.
#[test]
fn what_the_versions_before_made_is_brought_to_the_same_tables() {
    let of = |version: u32, lock: &str| {
        format!(
            "
CREATE TABLE run (
    id TEXT PRIMARY KEY, runbook TEXT NOT NULL, target TEXT NOT NULL, mode TEXT NOT NULL,
    opened_at INTEGER NOT NULL, closed_at INTEGER, status TEXT,
    token INTEGER NOT NULL, expires_at INTEGER, length INTEGER NOT NULL, chain TEXT NOT NULL
) STRICT;
CREATE TABLE leaf (number INTEGER PRIMARY KEY, run TEXT NOT NULL, sequence INTEGER NOT NULL, body TEXT NOT NULL) STRICT;
CREATE UNIQUE INDEX leaf_of ON leaf (run, sequence);
CREATE TABLE entry (
    run TEXT NOT NULL, sequence INTEGER NOT NULL, at INTEGER NOT NULL, kind TEXT NOT NULL, payload TEXT NOT NULL,
    PRIMARY KEY (run, sequence)
) STRICT, WITHOUT ROWID;
CREATE TABLE lock (name TEXT PRIMARY KEY, run TEXT NOT NULL{lock}) STRICT;
PRAGMA user_version = {version};"
        )
    };
    for tables in [of(2, ", expires_at INTEGER NOT NULL"), of(3, "")] {
        let directory = tempfile::tempdir().unwrap();
        drop(SqliteStore::open(directory.path()).unwrap());
        let path = directory.path().join(SqliteStore::FILE);
        let file = rusqlite::Connection::open(path).unwrap();
        let none = "DROP TABLE run; DROP TABLE leaf; DROP TABLE entry; DROP TABLE lock;";
        file.execute_batch(&format!("{none}{tables}")).unwrap();
        let store = SqliteStore::open(directory.path()).unwrap();
        assert_eq!(store.altered().unwrap(), Vec::<String>::new());
    }
}

#[test]
fn two_processes_append_beside_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let stores: Vec<_> = (0..4)
        .map(|_| SqliteStore::open(directory.path()).unwrap())
        .collect();
    std::thread::scope(|scope| {
        for (n, store) in stores.iter().enumerate() {
            scope.spawn(move || {
                let run = format!("beside-{n}");
                let claim = store.open(&new(&run, &[&run]), at(0), at(15)).unwrap();
                for sequence in 0..20 {
                    append(store, &claim, sequence..sequence + 1, None).unwrap();
                }
            });
        }
    });
    for n in 0..4 {
        assert_eq!(
            stores[0]
                .run(&format!("beside-{n}"), at(1))
                .unwrap()
                .entries,
            20
        );
    }
}
