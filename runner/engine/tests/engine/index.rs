//! What the lists show is what the log says: somebody with access to the file changes every column of
//! every table, row by row, takes rows away and puts others in, and verifying finds each, or it stands
//! below why nothing that is shown depends on it.

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use groundcrew::audit::{self, AuditLog, Flaw, Key};
use groundcrew::journal::{Actor, Mode, RunState, RunStatus};
use groundcrew::store::{Claim, NewRun, SqliteStore, Standing, Store, StoreError};
use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

/// Columns on which nothing depends that is shown of what has happened, and why.
const OF_NO_HISTORY: [(&str, &str, &str); 4] = [
    (
        "run",
        "exported_at",
        "whether it goes on elsewhere; it is closed here by no entry, so no journal tells it",
    ),
    ("run", "token", "who may write next; no journal tells it"),
    (
        "run",
        "expires_at",
        "until when somebody may; of a run that has ended it says nothing",
    ),
    (
        "run",
        "holder",
        "who that is; the journal names whoever really wrote",
    ),
];

/// A store with its log, as several runs leave it.
struct Shown {
    directory: tempfile::TempDir,
    store: SqliteStore,
    log: AuditLog,
}

fn golden() -> &'static str {
    include_str!("golden/v1.bundle")
}

/// A bundle of the golden run under another name; cut off where it has `entries`.
fn renamed(name: &str, entries: usize) -> String {
    let text = golden().replace("01mcc5rm000000000000002000", name);
    let whole = golden().lines().count() - 1;
    let text = text.replacen(
        &format!("\"entries\":{whole}"),
        &format!("\"entries\":{entries}"),
        1,
    );
    let lines: Vec<&str> = text.lines().take(entries + 1).collect();
    lines.join("\n")
}

impl Shown {
    /// Two runs that have ended, one that has not and holds its lock, one that has begun and nothing
    /// more, and one that was opened and never began.
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("audit")).unwrap();
        let files = Dir::open_ambient_dir(directory.path().join("audit"), ambient_authority());
        let shown = Self {
            store: SqliteStore::open(&directory.path().join("state")).unwrap(),
            log: AuditLog::new(files.unwrap(), Key::generate("groundcrew/test")),
            directory,
        };
        let whole = golden().lines().count() - 1;
        for (name, entries) in [
            ("01mcc5rm000000000000002001", whole),
            ("01mcc5rm000000000000002002", whole),
            ("01mcc5rm000000000000002003", 9),
        ] {
            let text = renamed(name, entries);
            crate::support::store::import(&shown.store, &text, Timestamp::UNIX_EPOCH).unwrap();
        }
        let never = NewRun {
            run: "01mcc5rm000000000000002004".to_owned(),
            runbook: "one".to_owned(),
            target: "test".to_owned(),
            mode: Mode::Perform,
            locks: vec!["elsewhere".to_owned()],
            holder: Actor::default(),
        };
        let now = Timestamp::UNIX_EPOCH;
        shown.store.open(&never, now, now).unwrap();
        shown.log.advance(&shown.store).unwrap();
        shown
    }

    fn verify(&self) -> Result<(), Vec<Flaw>> {
        audit::verify(&self.store, &self.log, None).map(drop)
    }

    fn intruder(&self) -> Connection {
        let path = self.directory.path().join("state").join(SqliteStore::FILE);
        let file = Connection::open(path).unwrap();
        // In no haste to have it on the disk.
        file.pragma_update(None, "synchronous", "OFF").unwrap();
        file
    }
}

/// A table as the file's schema has it.
struct Table {
    name: String,
    columns: Vec<String>,
    rows: Vec<Vec<Value>>,
    /// The column that SQLite fills in by itself where it is empty.
    number: Option<usize>,
}

impl Table {
    fn all(file: &Connection) -> Vec<Self> {
        let names =
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
        let mut select = file.prepare(names).unwrap();
        let names = select.query_map([], |row| row.get(0)).unwrap();
        let names: Vec<String> = names.collect::<Result<_, _>>().unwrap();
        names
            .into_iter()
            .map(|name| Self::read(file, name))
            .collect()
    }

    fn read(file: &Connection, name: String) -> Self {
        let mut select = file.prepare(&format!("SELECT * FROM {name}")).unwrap();
        let columns: Vec<String> = select.column_names().map(str::to_owned).collect();
        let number = "SELECT coalesce((SELECT name FROM pragma_table_info(?1) WHERE pk = 1 AND type = 'INTEGER'), '')";
        let number: String = file.query_row(number, [&name], |row| row.get(0)).unwrap();
        let row = |row: &rusqlite::Row<'_>| (0..columns.len()).map(|i| row.get(i)).collect();
        let rows = select.query_map([], row).unwrap();
        Self {
            rows: rows.collect::<Result<_, _>>().unwrap(),
            number: columns.iter().position(|column| *column == number),
            name,
            columns,
        }
    }

    /// Some of its rows: of a long table every fifth, and the last.
    fn some(&self) -> impl Iterator<Item = &Vec<Value>> {
        let step = if self.rows.len() > 20 { 5 } else { 1 };
        self.rows.iter().rev().step_by(step)
    }

    fn delete(&self, file: &Connection, row: &[Value]) {
        let all: Vec<String> = self.columns.iter().map(|c| format!("{c} IS ?")).collect();
        let text = format!("DELETE FROM {} WHERE {}", self.name, all.join(" AND "));
        assert_eq!(file.execute(&text, params_from_iter(row)).unwrap(), 1);
    }

    /// False, if the table does not take it: a key that is there, an empty value where one has to be.
    fn insert(&self, file: &Connection, row: &[Value]) -> bool {
        if self.number.is_some_and(|at| row[at] == Value::Null) {
            return false;
        }
        let all = vec!["?"; self.columns.len()].join(", ");
        let text = format!("INSERT INTO {} VALUES ({all})", self.name);
        file.execute(&text, params_from_iter(row)).is_ok()
    }
}

/// What could stand in a value's place; among it what would be read as something else.
fn others(value: &Value) -> Vec<Value> {
    const WORDS: [&str; 6] = [
        "perform",
        "rehearsal",
        "succeeded",
        "failed",
        "note",
        "run-closed",
    ];
    let words = WORDS.map(|word| Value::Text(word.to_owned()));
    let mut all = match value {
        Value::Integer(n) => vec![
            Value::Integer(-n - 1),
            Value::Integer(n + 1_000_000),
            Value::Integer(n + 1),
            Value::Integer(n - 1),
            Value::Integer(0),
        ],
        Value::Text(text) => {
            let mut all = vec![Value::Text(format!("{text}x")), Value::Text(String::new())];
            all.extend(words);
            all
        }
        Value::Null => {
            let mut all = vec![Value::Integer(1), Value::Integer(i64::MAX)];
            all.extend(words);
            all
        }
        Value::Real(_) | Value::Blob(_) => panic!("there is no such column"),
    };
    all.push(Value::Null);
    all.retain(|other| other != value);
    all
}

/// A row with another value in one of its columns, in each way.
fn others_of(row: &[Value]) -> Vec<Vec<Value>> {
    let one = |at: usize| {
        others(&row[at]).into_iter().map(move |other| {
            let mut changed = row.to_vec();
            changed[at] = other;
            changed
        })
    };
    (0..row.len()).flat_map(one).collect()
}

#[test]
fn every_column_of_every_table_is_compared_or_of_no_history() {
    let shown = Shown::new();
    shown.verify().expect("nothing is wrong yet");
    let file = shown.intruder();
    let tables = Table::all(&file);
    let mut left: Vec<(&str, &str)> = OF_NO_HISTORY.iter().map(|(t, c, _)| (*t, *c)).collect();
    let mut changes = 0;
    for table in &tables {
        for (at, column) in table.columns.iter().enumerate() {
            let excused = OF_NO_HISTORY
                .iter()
                .any(|(t, c, _)| *t == table.name && c == column);
            left.retain(|of| *of != (table.name.as_str(), column.as_str()));
            for row in table.some() {
                // What was opened and never began is shown to nobody.
                let shown_row =
                    !row.contains(&Value::Text("01mcc5rm000000000000002004".to_owned()));
                if excused || !shown_row {
                    continue;
                }
                let mut taken = 0;
                for other in others(&row[at]) {
                    let mut changed = row.clone();
                    changed[at] = other;
                    table.delete(&file, row);
                    if table.insert(&file, &changed) {
                        taken += 1;
                        let verified = shown.verify();
                        assert!(verified.is_err(), "{}.{column}: {changed:?}", table.name);
                        table.delete(&file, &changed);
                    }
                    assert!(table.insert(&file, row));
                }
                assert!(taken > 0, "{}.{column} could not be changed", table.name);
                changes += taken;
            }
        }
    }
    assert!(left.is_empty(), "no such column: {left:?}");
    assert!(
        tables.len() >= 4 && changes > 500,
        "{} {changes}",
        tables.len()
    );
    shown.verify().expect("everything was put back");
}

#[test]
fn every_row_that_is_taken_away_or_put_in_is_found() {
    let shown = Shown::new();
    let file = shown.intruder();
    for table in Table::all(&file) {
        let mut added = 0;
        for row in &table.rows {
            if row.contains(&Value::Text("01mcc5rm000000000000002004".to_owned())) {
                continue;
            }
            table.delete(&file, row);
            assert!(shown.verify().is_err(), "without {row:?} of {}", table.name);
            assert!(table.insert(&file, row));
        }
        // The same again, under keys of its own.
        for row in table.some() {
            if row.contains(&Value::Text("01mcc5rm000000000000002004".to_owned())) {
                continue;
            }
            for mut more in others_of(row) {
                for at in 0..row.len() {
                    let was = std::mem::replace(&mut more[at], others(&row[at])[0].clone());
                    if more != *row && table.insert(&file, &more) {
                        added += 1;
                        assert!(shown.verify().is_err(), "with {more:?} in {}", table.name);
                        table.delete(&file, &more);
                    }
                    more[at] = was;
                }
            }
        }
        assert!(
            added > 0 || table.rows.is_empty(),
            "nothing was put into {}",
            table.name
        );
    }
    // All at once.
    for name in ["run", "lock", "entry", "leaf"] {
        let table = Table::read(&file, name.to_owned());
        table.rows.iter().for_each(|row| table.delete(&file, row));
        assert!(shown.verify().is_err(), "without any {name}");
        assert!(table.rows.iter().all(|row| table.insert(&file, row)));
    }
    shown.verify().expect("everything was put back");
}

/// It is said which run, and what of it.
#[test]
fn what_differs_is_named() {
    let shown = Shown::new();
    let file = shown.intruder();
    let run = "01mcc5rm000000000000002001";
    for (change, back, says) in [
        (
            "target = 'staging'",
            "target = 'test'",
            "its target is `staging` in the index of runs, and `test` in its journal",
        ),
        (
            "status = 'failed'",
            "status = 'succeeded'",
            "its status is `failed` in the index of runs, and `succeeded` in its journal",
        ),
        (
            "mode = 'rehearsal'",
            "mode = 'perform'",
            "its mode is `rehearsal` in the index of runs, and `perform` in its journal",
        ),
    ] {
        let update = |set: &str| {
            let text = format!("UPDATE run SET {set} WHERE id = ?1");
            assert_eq!(file.execute(&text, [run]).unwrap(), 1);
        };
        update(change);
        let flaws: Vec<String> = shown
            .verify()
            .unwrap_err()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(flaws, [format!("run {run}: {says}")]);
        update(back);
    }
    let table = Table::read(&file, "run".to_owned());
    let row = table
        .rows
        .iter()
        .find(|row| row.contains(&Value::Text(run.to_owned())));
    table.delete(&file, row.unwrap());
    let flaws: Vec<String> = shown
        .verify()
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        flaws,
        [format!(
            "run {run}: it is logged, and missing in the index of runs"
        )]
    );
}

/// What no row shows: what the file is made of.
#[test]
fn what_the_file_is_made_of_is_compared_too() {
    let shown = Shown::new();
    let file = shown.intruder();
    let more = |what: &str| format!("the store has a {what}, which this program does not make");
    let other = |what: &str| format!("the {what} of the store is not as this program makes it");
    let as_made = "CREATE UNIQUE INDEX leaf_of ON leaf (run, sequence)";
    for (change, back, says) in [
        (
            "CREATE TRIGGER quiet AFTER INSERT ON entry BEGIN DELETE FROM lock; END",
            "DROP TRIGGER quiet",
            more("trigger `quiet`"),
        ),
        (
            "DROP INDEX leaf_of",
            as_made,
            "the store has no index `leaf_of`".to_owned(),
        ),
        (
            "CREATE TABLE more (a)",
            "DROP TABLE more",
            more("table `more`"),
        ),
        (
            "CREATE VIEW runs AS SELECT * FROM run",
            "DROP VIEW runs",
            more("view `runs`"),
        ),
        (
            "CREATE INDEX more ON entry (at)",
            "DROP INDEX more",
            more("index `more`"),
        ),
        (
            "DROP INDEX leaf_of; CREATE INDEX leaf_of ON leaf (run, sequence)",
            &format!("DROP INDEX leaf_of; {as_made}"),
            other("index `leaf_of`"),
        ),
        (
            "ALTER TABLE run ADD COLUMN more TEXT",
            "ALTER TABLE run DROP COLUMN more",
            other("table `run`"),
        ),
    ] {
        file.execute_batch(change).unwrap();
        let flaws = shown.verify().unwrap_err();
        assert_eq!(flaws, [Flaw::Store(says)], "{change}");
        file.execute_batch(back).unwrap();
        shown.verify().expect(back);
    }
    // A table in whose place something else answers.
    file.execute_batch("ALTER TABLE lock RENAME TO held; CREATE VIEW lock AS SELECT * FROM held")
        .unwrap();
    let flaws = shown.verify().unwrap_err();
    assert!(
        flaws.contains(&Flaw::Store(more("view `lock`"))),
        "{flaws:?}"
    );
    assert!(
        flaws.contains(&Flaw::Store("the store has no table `lock`".to_owned())),
        "{flaws:?}"
    );
}

/// A word that nobody writes is not shown as another one.
#[test]
fn an_unknown_word_is_not_read_as_a_known_one() {
    let shown = Shown::new();
    let file = shown.intruder();
    let run = "01mcc5rm000000000000002001";
    for (column, what) in [("status", "status"), ("mode", "mode")] {
        let text = format!("UPDATE run SET {column} = 'perhaps' WHERE id = ?1");
        file.execute(&text, [run]).unwrap();
        for refused in [
            shown.store.run(run, Timestamp::UNIX_EPOCH).map(drop),
            shown.store.runs(Timestamp::UNIX_EPOCH, 10).map(drop),
        ] {
            let Err(StoreError::Broken(why)) = refused else {
                panic!("{column}: {refused:?}");
            };
            assert_eq!(
                why,
                format!("run `{run}` has the unknown {what} `perhaps` in the index of runs")
            );
        }
        assert!(shown.verify().is_err());
        let (status, mode) = (RunStatus::Succeeded.word(), "perform");
        file.execute(
            "UPDATE run SET status = ?2, mode = ?3 WHERE id = ?1",
            [run, status, mode],
        )
        .unwrap();
    }
    shown.verify().expect("everything was put back");
}

/// A run that goes on while the log is verified is no flaw.
#[test]
fn a_run_that_is_alive_meanwhile_is_no_flaw() {
    let shown = Shown::new();
    let run = "01mcc5rm000000000000002003";
    let whole = SqliteStore::open(&shown.directory.path().join("whole")).unwrap();
    let text = renamed("01mcc5rm000000000000002003", golden().lines().count() - 1);
    crate::support::store::import(&whole, &text, Timestamp::UNIX_EPOCH).unwrap();
    let records = whole.read(run, 0, usize::MAX).unwrap();
    let state = RunState::fold(&records).unwrap();
    let now = Timestamp::UNIX_EPOCH;
    let claim: Claim = shown
        .store
        .claim(run, &Actor::default(), now, now, None)
        .unwrap();
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let own = SqliteStore::open(&shown.directory.path().join("state")).unwrap();
            for record in &records[9..] {
                let last = record.sequence + 1 == records.len() as u64;
                own.append(&groundcrew::store::Append {
                    claim: &claim,
                    records: std::slice::from_ref(record),
                    closing: state
                        .closed
                        .as_ref()
                        .filter(|_| last)
                        .map(|closed| closed.status),
                })
                .unwrap();
            }
        });
        while !writing.is_finished() {
            shown.verify().unwrap();
        }
        writing.join().unwrap();
    });
    shown.verify().unwrap();
    let found = shown.store.run(run, now).unwrap();
    assert!(matches!(found.standing, Standing::Closed(_)));
}
