//! The file: how it is opened, and how it is read and changed.
//!
//! It is opened by path, so what a path could lead to is checked first: the directory is ours and nobody
//! else can write to it, and the file is no symbolic link.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use backon::{BlockingRetryable, ConstantBuilder};
use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};

use crate::store::{StoreError, place};

/// How long a change waits for another process's change.
const BUSY: Duration = Duration::from_secs(5);

/// The version of the tables below, in `user_version`.
const SCHEMA: i64 = 4;

const TABLES: &str = "
CREATE TABLE run (
    id TEXT PRIMARY KEY, runbook TEXT NOT NULL, target TEXT NOT NULL, mode TEXT NOT NULL,
    opened_at INTEGER NOT NULL, closed_at INTEGER, status TEXT,
    token INTEGER NOT NULL, expires_at INTEGER, length INTEGER NOT NULL, chain TEXT NOT NULL,
    exported_at INTEGER, holder TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE TABLE leaf (number INTEGER PRIMARY KEY, run TEXT NOT NULL, sequence INTEGER NOT NULL, body TEXT NOT NULL) STRICT;
CREATE UNIQUE INDEX leaf_of ON leaf (run, sequence);
CREATE TABLE entry (
    run TEXT NOT NULL, sequence INTEGER NOT NULL, at INTEGER NOT NULL, kind TEXT NOT NULL, payload TEXT NOT NULL,
    PRIMARY KEY (run, sequence)
) STRICT, WITHOUT ROWID;
CREATE TABLE lock (name TEXT PRIMARY KEY, run TEXT NOT NULL) STRICT;
PRAGMA user_version = 4;
";

/// From version 2: locks do not expire.
const FROM_2: &str = "ALTER TABLE lock DROP COLUMN expires_at;";
/// From version 3: a run can be exported, a claim says whose it is, and a run was opened when its first
/// entry was written.
const FROM_3: &str = "
ALTER TABLE run ADD COLUMN exported_at INTEGER;
ALTER TABLE run ADD COLUMN holder TEXT NOT NULL DEFAULT '';
UPDATE run SET opened_at = coalesce((SELECT at FROM entry WHERE entry.run = run.id AND sequence = 0), opened_at);
PRAGMA user_version = 4;
";

/// Makes the tables, or brings those of an older version up to date.
pub(super) fn brought_up(connection: &Connection, version: i64) -> rusqlite::Result<()> {
    match version {
        0 => connection.execute_batch(TABLES),
        2 => {
            connection.execute_batch(FROM_2)?;
            connection.execute_batch(FROM_3)
        }
        3 => connection.execute_batch(FROM_3),
        _ => Ok(()),
    }
}

/// Of processes that find a new file at the same time one changes its mode. The others have begun to
/// read by then, and SQLite tells a reader at once that the file is locked: the busy timeout is not
/// for it.
fn write_ahead(connection: &Connection) -> rusqlite::Result<()> {
    const PAUSE: Duration = Duration::from_millis(10);
    let begun = Instant::now();
    let busy = |e: &rusqlite::Error| {
        e.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && begun.elapsed() < BUSY
    };
    let pauses = ConstantBuilder::new().with_delay(PAUSE).without_max_times();
    (|| connection.pragma_update(None, "journal_mode", "WAL"))
        .retry(pauses)
        .when(busy)
        .call()
}

/// See the module.
#[derive(Debug)]
pub struct SqliteStore {
    connection: Mutex<Connection>,
    path: PathBuf,
}

impl SqliteStore {
    /// The name of the file in the state directory.
    pub const FILE: &'static str = "groundcrew.sqlite";

    /// Opens the store in `directory`, making both if they are not there.
    ///
    /// # Errors
    /// If the directory cannot be made or is not ours alone, or the file cannot be used.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        // One at a time in this process: see `place::file`.
        static OPENING: Mutex<()> = Mutex::new(());
        let _alone = OPENING.lock().unwrap_or_else(PoisonError::into_inner);
        place::directory(directory)?;
        let path = directory.join(Self::FILE);
        place::file(&path)?;
        let connection = Connection::open(&path).map_err(|e| broken(&path, &e))?;
        let store = Self {
            connection: Mutex::new(connection),
            path,
        };
        store.initialise()?;
        Ok(store)
    }

    fn initialise(&self) -> Result<(), StoreError> {
        let mut connection = self.lock();
        let result = (|| {
            connection.busy_timeout(BUSY)?;
            write_ahead(&connection)?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            // On macOS only so is what was synced on the disk and not in its cache; nothing elsewhere.
            connection.pragma_update(None, "fullfsync", true)?;
            connection.pragma_update(None, "checkpoint_fullfsync", true)?;
            let current = |connection: &Connection| {
                connection.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))
            };
            // Who only reads is not held up by another process's change.
            let version = current(&connection)?;
            if version == SCHEMA {
                return Ok(version);
            }
            let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let version = current(&tx)?;
            brought_up(&tx, version)?;
            tx.commit()?;
            Ok(version)
        })();
        match result {
            Ok(version) if version > SCHEMA => Err(StoreError::Directory(format!(
                "`{}` was written by a newer groundcrew (its tables are version {version}, this program knows {SCHEMA})",
                self.path.display()
            ))),
            Ok(1) => Err(StoreError::Directory(format!(
                "`{}` was written by a groundcrew from before the audit log; keep it and choose another place with `--state-dir`",
                self.path.display()
            ))),
            Ok(_) => Ok(()),
            Err(e) => Err(broken(&self.path, &e)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Does one change as a whole, or not at all.
    pub(super) fn change<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Trouble>,
    ) -> Result<T, StoreError> {
        let mut connection = self.lock();
        let result = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(Trouble::from)
            .and_then(|tx| {
                let value = work(&tx)?;
                tx.commit()?;
                Ok(value)
            });
        result.map_err(|trouble| self.explain(trouble))
    }

    /// Reads.
    pub(super) fn query<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Trouble>,
    ) -> Result<T, StoreError> {
        work(&self.lock()).map_err(|trouble| self.explain(trouble))
    }

    /// The number that a query gives.
    pub(super) fn count(&self, select: &str) -> Result<u64, StoreError> {
        self.query(|connection| {
            let count: i64 = connection
                .prepare_cached(select)?
                .query_row([], |row| row.get(0))?;
            Ok(u64::try_from(count).unwrap_or(0))
        })
    }

    fn explain(&self, trouble: Trouble) -> StoreError {
        match trouble {
            Trouble::Sql(e) => broken(&self.path, &e),
            Trouble::Said(e) => e,
        }
    }
}

/// What went wrong in a change.
pub(super) enum Trouble {
    Sql(rusqlite::Error),
    Said(StoreError),
}

impl From<rusqlite::Error> for Trouble {
    fn from(e: rusqlite::Error) -> Self {
        Self::Sql(e)
    }
}

fn broken(path: &Path, e: &rusqlite::Error) -> StoreError {
    StoreError::Broken(format!("`{}`: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_committed_is_on_the_disk_on_every_system() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&directory.path().join("state")).unwrap();
        let is = |pragma: &str, wanted: i64| {
            let found = store.count(&format!("PRAGMA {pragma}")).unwrap();
            assert_eq!(i64::try_from(found), Ok(wanted), "{pragma}");
        };
        is("synchronous", 2);
        is("fullfsync", 1);
        is("checkpoint_fullfsync", 1);
    }
}
