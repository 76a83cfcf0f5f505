//! The embedded store: SQLite in the state directory.
//!
//! WAL, `synchronous=FULL` (a commit is on the disk when it returns), `BEGIN IMMEDIATE` for every
//! change, a busy timeout (`file.rs`).

mod file;
mod row;
mod shape;

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Transaction, params};

use super::{
    Append, Arrival, Claim, Indexed, LockHeld, Logged, NewRun, RunSummary, Store, StoreError,
    conflicts,
};
use crate::journal::leaf::{Leaf, NOTHING, link};
use crate::journal::{Actor, EntryKind, Record};
use file::Trouble;
use row::{SUMMARY, micros, mode, moment, summary, written};

pub use file::SqliteStore;

fn bounded(max: usize) -> i64 {
    i64::try_from(max).unwrap_or(i64::MAX)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The length of the run's journal, if the claim is still good.
fn claimed(tx: &Transaction<'_>, claim: &Claim) -> Result<i64, Trouble> {
    let found = tx
        .prepare_cached("SELECT length FROM run WHERE id = ?1 AND token = ?2")?
        .query_row(params![claim.run, signed(claim.token)], |row| row.get(0))
        .optional()?;
    found.ok_or_else(|| Trouble::Said(StoreError::Fenced(claim.run.clone())))
}

/// Every lock with its run, and whether that run has ended, or has not begun and will not: a few
/// dozen at most.
fn locks(tx: &Transaction<'_>, now: Timestamp) -> rusqlite::Result<Vec<(String, String, bool)>> {
    tx.prepare_cached(
        "SELECT lock.name, lock.run, coalesce(run.status IS NOT NULL OR (run.length = 0 AND (run.expires_at IS NULL OR run.expires_at <= ?1)), 1)
         FROM lock LEFT JOIN run ON run.id = lock.run",
    )?
    .query_map([micros(now)], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
    .collect()
}

/// Takes the locks of a run, those of runs that are over from them.
fn take_locks(
    tx: &Transaction<'_>,
    of: &str,
    wanted: &[String],
    now: Timestamp,
) -> Result<(), Trouble> {
    for lock in wanted {
        for (held, run, over) in locks(tx, now)? {
            if run == of || !conflicts(&held, lock) {
                continue;
            }
            if !over {
                return Err(Trouble::Said(StoreError::Locked { lock: held, run }));
            }
            tx.execute("DELETE FROM lock WHERE name = ?1", [held])?;
            tx.execute("UPDATE run SET token = token + 1 WHERE id = ?1", [run])?;
        }
        tx.execute(
            "INSERT OR REPLACE INTO lock (name, run) VALUES (?1, ?2)",
            params![lock, of],
        )?;
    }
    Ok(())
}

fn opened(
    tx: &Transaction<'_>,
    new: &NewRun,
    now: Timestamp,
    expires_at: Option<Timestamp>,
) -> Result<Claim, Trouble> {
    take_locks(tx, &new.run, &new.locks, now)?;
    let made = tx.execute(
        "INSERT OR IGNORE INTO run (id, runbook, target, mode, opened_at, token, expires_at, length, chain, holder) VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6, 0, ?7, ?8)",
        params![new.run, new.runbook, new.target, mode(new.mode), micros(now), expires_at.map(micros), NOTHING, written(&new.holder)],
    )?;
    if made == 0 {
        return Err(Trouble::Said(StoreError::Exists(new.run.clone())));
    }
    Ok(Claim {
        run: new.run.clone(),
        token: 1,
    })
}

fn appended(tx: &Transaction<'_>, append: &Append<'_>) -> Result<(), Trouble> {
    let Some(last) = append.records.last() else {
        return Ok(());
    };
    let length = claimed(tx, append.claim)?;
    if append
        .records
        .first()
        .is_some_and(|first| signed(first.sequence) != length)
    {
        return Err(Trouble::Said(StoreError::Fenced(append.claim.run.clone())));
    }
    let mut insert = tx.prepare_cached(
        "INSERT INTO entry (run, sequence, at, kind, payload) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    let mut log = tx
        .prepare_cached("INSERT INTO leaf (number, run, sequence, body) VALUES (?1, ?2, ?3, ?4)")?;
    let first: i64 = tx
        .prepare_cached("SELECT coalesce(max(number) + 1, 0) FROM leaf")?
        .query_row([], |row| row.get(0))?;
    let mut chain: String = tx
        .prepare_cached("SELECT chain FROM run WHERE id = ?1")?
        .query_row([&append.claim.run], |row| row.get(0))?;
    for (number, record) in (first..).zip(append.records) {
        let leaf = Leaf::of(&append.claim.run, record, &chain).text();
        chain = link(&leaf);
        log.execute(params![
            number,
            append.claim.run,
            signed(record.sequence),
            leaf
        ])?;
        insert.execute(params![
            append.claim.run,
            signed(record.sequence),
            micros(record.at),
            record.kind.word(),
            &*record.payload
        ])?;
    }
    tx.prepare_cached("UPDATE run SET length = ?2, chain = ?3 WHERE id = ?1")?
        .execute(params![append.claim.run, signed(last.sequence) + 1, chain])?;
    if let (0, Some(first)) = (length, append.records.first()) {
        tx.execute(
            "UPDATE run SET opened_at = ?2 WHERE id = ?1",
            params![append.claim.run, micros(first.at)],
        )?;
    }
    if let Some(status) = append.closing {
        tx.execute(
            "UPDATE run SET status = ?2, closed_at = ?3 WHERE id = ?1",
            params![append.claim.run, status.word(), micros(last.at)],
        )?;
    }
    Ok(())
}

/// Token, until when it is claimed, and whether it is exported.
fn held(tx: &Transaction<'_>, run: &str) -> Result<(i64, Option<Timestamp>, bool), Trouble> {
    let found = tx
        .query_row(
            "SELECT token, expires_at, exported_at IS NOT NULL FROM run WHERE id = ?1",
            [run],
            |row| {
                let until: Option<i64> = row.get(1)?;
                Ok((row.get(0)?, until.map(moment), row.get(2)?))
            },
        )
        .optional()?;
    found.ok_or_else(|| Trouble::Said(StoreError::NoSuchRun(run.to_owned())))
}

/// The token of a run that may be taken from whoever has it.
fn free(
    tx: &Transaction<'_>,
    run: &str,
    now: Timestamp,
    gone: Option<u64>,
) -> Result<i64, Trouble> {
    let (token, until, exported) = held(tx, run)?;
    if exported {
        return Err(Trouble::Said(StoreError::Exported(run.to_owned())));
    }
    if gone.map(signed) != Some(token) && until.is_some_and(|until| until > now) {
        return Err(Trouble::Said(StoreError::Held(run.to_owned())));
    }
    Ok(token)
}

impl Store for SqliteStore {
    fn open(
        &self,
        new: &NewRun,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<Claim, StoreError> {
        self.change(|tx| opened(tx, new, now, Some(expires_at)))
    }

    fn claim(
        &self,
        run: &str,
        holder: &Actor,
        now: Timestamp,
        expires_at: Timestamp,
        gone: Option<u64>,
    ) -> Result<Claim, StoreError> {
        self.change(|tx| {
            let token = free(tx, run, now, gone)?;
            tx.execute(
                "UPDATE run SET token = ?2, expires_at = ?3, holder = ?4 WHERE id = ?1",
                params![run, token + 1, micros(expires_at), written(holder)],
            )?;
            Ok(Claim {
                run: run.to_owned(),
                token: u64::try_from(token + 1).unwrap_or(0),
            })
        })
    }

    fn beat(&self, claim: &Claim, expires_at: Timestamp) -> Result<(), StoreError> {
        self.change(|tx| {
            claimed(tx, claim)?;
            tx.execute(
                "UPDATE run SET expires_at = ?2 WHERE id = ?1",
                params![claim.run, micros(expires_at)],
            )?;
            Ok(())
        })
    }

    fn append(&self, append: &Append<'_>) -> Result<(), StoreError> {
        if append.records.is_empty() {
            return Ok(());
        }
        self.change(|tx| appended(tx, append))
    }

    fn abandon(&self, claim: &Claim) -> Result<(), StoreError> {
        self.change(|tx| {
            claimed(tx, claim)?;
            tx.execute(
                "UPDATE run SET expires_at = NULL WHERE id = ?1",
                [&claim.run],
            )?;
            Ok(())
        })
    }

    fn release(&self, claim: &Claim) -> Result<(), StoreError> {
        self.change(|tx| {
            claimed(tx, claim)?;
            tx.execute(
                "UPDATE run SET expires_at = NULL WHERE id = ?1",
                [&claim.run],
            )?;
            tx.execute("DELETE FROM lock WHERE run = ?1", [&claim.run])?;
            Ok(())
        })
    }

    fn take_in(&self, arrival: &Arrival<'_>, now: Timestamp) -> Result<(), StoreError> {
        self.change(|tx| {
            let claim = opened(tx, arrival.new, now, None)?;
            appended(
                tx,
                &Append {
                    claim: &claim,
                    records: arrival.records,
                    closing: arrival.closing,
                },
            )
        })
    }

    fn export(&self, run: &str, now: Timestamp, gone: Option<u64>) -> Result<(), StoreError> {
        self.change(|tx| {
            let token = free(tx, run, now, gone)?;
            let changed = tx.execute(
                "UPDATE run SET token = ?2, expires_at = NULL, exported_at = ?3 WHERE id = ?1 AND status IS NULL",
                params![run, token + 1, micros(now)],
            )?;
            if changed > 0 {
                tx.execute("DELETE FROM lock WHERE run = ?1", [run])?;
            }
            Ok(())
        })
    }

    fn reopen(&self, run: &str, locks: &[String], now: Timestamp) -> Result<(), StoreError> {
        self.change(|tx| {
            let (_, _, exported) = held(tx, run)?;
            if exported {
                take_locks(tx, run, locks, now)?;
                tx.execute("UPDATE run SET exported_at = NULL WHERE id = ?1", [run])?;
            }
            Ok(())
        })
    }

    fn read(&self, run: &str, first: u64, max: usize) -> Result<Vec<Record>, StoreError> {
        self.query(|connection| {
            let mut select =
                connection.prepare_cached("SELECT sequence, at, kind, payload FROM entry WHERE run = ?1 AND sequence >= ?2 ORDER BY sequence LIMIT ?3")?;
            let rows = select.query_map(params![run, signed(first), bounded(max)], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, String>(2)?, row.get::<_, String>(3)?))
            })?;
            let mut records = Vec::new();
            for row in rows {
                let (sequence, at, kind, payload) = row?;
                let kind = EntryKind::of(&kind)
                    .ok_or_else(|| Trouble::Said(StoreError::Broken(format!("run `{run}` has an entry of the unknown kind `{kind}`"))))?;
                records.push(Record { sequence: u64::try_from(sequence).unwrap_or(0), at: moment(at), kind, payload: payload.into() });
            }
            if records.is_empty() {
                let known: Option<i64> = connection.query_row("SELECT 1 FROM run WHERE id = ?1", [run], |row| row.get(0)).optional()?;
                known.ok_or_else(|| Trouble::Said(StoreError::NoSuchRun(run.to_owned())))?;
            }
            Ok(records)
        })
    }

    fn runs(&self, now: Timestamp, max: usize) -> Result<Vec<RunSummary>, StoreError> {
        self.query(|connection| {
            let mut select = connection.prepare_cached(&format!(
                "{SUMMARY} WHERE length > 0 ORDER BY opened_at DESC, id DESC LIMIT ?1"
            ))?;
            let mut rows = select.query([bounded(max)])?;
            let mut all = Vec::new();
            while let Some(row) = rows.next()? {
                all.push(summary(row, now)?);
            }
            Ok(all)
        })
    }

    fn run(&self, run: &str, now: Timestamp) -> Result<RunSummary, StoreError> {
        self.query(|connection| {
            let mut select = connection.prepare_cached(&format!("{SUMMARY} WHERE id = ?1"))?;
            match select.query([run])?.next()? {
                Some(row) => summary(row, now),
                None => Err(Trouble::Said(StoreError::NoSuchRun(run.to_owned()))),
            }
        })
    }

    fn index(&self) -> Result<Vec<Indexed>, StoreError> {
        self.query(|connection| {
            let mut select = connection.prepare_cached(&format!("{SUMMARY} ORDER BY id"))?;
            let mut rows = select.query([])?;
            let mut all = Vec::new();
            while let Some(row) = rows.next()? {
                all.push(Indexed {
                    summary: summary(row, Timestamp::MIN)?,
                    chain: row.get("chain")?,
                });
            }
            Ok(all)
        })
    }

    fn altered(&self) -> Result<Vec<String>, StoreError> {
        self.query(|connection| Ok(shape::altered(connection)?))
    }

    fn leaf_count(&self) -> Result<u64, StoreError> {
        // Those before the first are nobody's; with them the count does not fit what is read.
        self.count("SELECT coalesce(max(number) + 1, 0) + (SELECT count(*) FROM leaf WHERE number < 0) FROM leaf")
    }

    fn entry_count(&self) -> Result<u64, StoreError> {
        self.count("SELECT count(*) FROM entry")
    }

    fn leaves(&self, first: u64, max: usize) -> Result<Vec<String>, StoreError> {
        self.query(|connection| {
            let mut select = connection.prepare_cached(
                "SELECT body FROM leaf WHERE number >= ?1 ORDER BY number LIMIT ?2",
            )?;
            let rows = select.query_map(params![signed(first), bounded(max)], |row| row.get(0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    fn leaves_of(&self, run: &str) -> Result<Vec<(u64, String)>, StoreError> {
        let leaves: Vec<(u64, String)> = self.query(|connection| {
            let mut select = connection
                .prepare_cached("SELECT number, body FROM leaf WHERE run = ?1 ORDER BY sequence")?;
            let rows = select.query_map([run], |row| {
                let number: i64 = row.get(0)?;
                Ok((u64::try_from(number).unwrap_or(0), row.get(1)?))
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })?;
        if leaves.is_empty() {
            return Err(StoreError::NoSuchRun(run.to_owned()));
        }
        Ok(leaves)
    }

    fn logged(&self, first: u64, max: usize) -> Result<Vec<Logged>, StoreError> {
        self.query(|connection| {
            let mut select = connection.prepare_cached(
                "SELECT leaf.number, leaf.body, leaf.run, entry.sequence, entry.at, entry.kind, entry.payload
                 FROM leaf JOIN entry ON entry.run = leaf.run AND entry.sequence = leaf.sequence
                 WHERE leaf.number >= ?1 ORDER BY leaf.number LIMIT ?2",
            )?;
            let mut rows = select.query(params![signed(first), bounded(max)])?;
            let mut all = Vec::new();
            while let Some(row) = rows.next()? {
                let number: i64 = row.get(0)?;
                let run: String = row.get(2)?;
                let sequence: i64 = row.get(3)?;
                let unreadable = |what: String| {
                    Trouble::Said(StoreError::Broken(format!(
                        "entry {sequence} of run {run} (leaf {number}): {what}"
                    )))
                };
                let kind: String = row.get(5).map_err(|e| unreadable(e.to_string()))?;
                let kind = EntryKind::of(&kind)
                    .ok_or_else(|| unreadable(format!("its kind `{kind}` is unknown")))?;
                let payload: String = row.get(6).map_err(|e| unreadable(e.to_string()))?;
                let leaf = row.get(1).map_err(|e| unreadable(e.to_string()))?;
                all.push(Logged {
                    index: u64::try_from(number).unwrap_or(u64::MAX),
                    leaf,
                    run,
                    record: Record {
                        sequence: u64::try_from(sequence).unwrap_or(u64::MAX),
                        at: moment(row.get(4)?),
                        kind,
                        payload: payload.into(),
                    },
                });
            }
            Ok(all)
        })
    }

    fn locks(&self) -> Result<Vec<LockHeld>, StoreError> {
        self.query(|connection| {
            let mut select =
                connection.prepare_cached("SELECT name, run FROM lock ORDER BY name")?;
            let rows = select.query_map([], |row| {
                Ok(LockHeld {
                    name: row.get(0)?,
                    run: row.get(1)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }
}
