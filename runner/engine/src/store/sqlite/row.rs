//! A row of the table of runs, as it is written and read. A word in it that nobody writes is refused:
//! a guess would be shown as if it were known.

use jiff::Timestamp;
use rusqlite::Row;

use super::file::Trouble;
use crate::effect::Mode;
use crate::journal::{Actor, RunStatus};
use crate::store::{RunSummary, Standing, StoreError};

pub(super) fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

pub(super) fn moment(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH)
}

const STATUSES: [RunStatus; 5] = [
    RunStatus::Succeeded,
    RunStatus::Failed,
    RunStatus::Interrupted,
    RunStatus::Cancelled,
    RunStatus::InDoubt,
];

pub(super) fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Perform => "perform",
        Mode::Rehearsal => "rehearsal",
    }
}

/// Who holds a claim, as it is written down. What does not read is nobody that is known.
pub(super) fn written(holder: &Actor) -> String {
    serde_json::to_string(holder).unwrap_or_default()
}

pub(super) const SUMMARY: &str = "SELECT id, runbook, target, mode, opened_at, closed_at, status, expires_at, length, token, holder, chain, exported_at FROM run";

pub(super) fn summary(row: &Row<'_>, now: Timestamp) -> Result<RunSummary, Trouble> {
    let run: String = row.get("id")?;
    let unknown = |what: &str, word: &str| {
        let why = format!("run `{run}` has the unknown {what} `{word}` in the index of runs");
        Trouble::Said(StoreError::Broken(why))
    };
    let expires_at: Option<i64> = row.get("expires_at")?;
    let standing = match row.get::<_, Option<String>>("status")? {
        Some(word) => {
            let status = STATUSES.into_iter().find(|status| status.word() == word);
            Standing::Closed(status.ok_or_else(|| unknown("status", &word))?)
        }
        None if row.get::<_, Option<i64>>("exported_at")?.is_some() => Standing::Exported,
        None if expires_at.is_some_and(|until| moment(until) > now) => Standing::Running,
        None => Standing::Abandoned,
    };
    let word: String = row.get("mode")?;
    let known = [Mode::Perform, Mode::Rehearsal];
    let known = known.into_iter().find(|known| mode(*known) == word);
    Ok(RunSummary {
        runbook: row.get("runbook")?,
        target: row.get("target")?,
        mode: known.ok_or_else(|| unknown("mode", &word))?,
        standing,
        opened_at: moment(row.get("opened_at")?),
        closed_at: row.get::<_, Option<i64>>("closed_at")?.map(moment),
        entries: u64::try_from(row.get::<_, i64>("length")?).unwrap_or(0),
        token: u64::try_from(row.get::<_, i64>("token")?).unwrap_or(0),
        holder: serde_json::from_str(&row.get::<_, String>("holder")?).unwrap_or_default(),
        run,
    })
}
