//! The store's index of runs, and its locks, against the journals.
//!
//! What `runs list` and `audit list` print of a run comes out of the index, and must be what its journal
//! says. So every column of it is one of two: compared here, or of no meaning for what has happened. Of
//! the second kind are a claim's token, holder and expiry, and that a run was exported: they say who may
//! work on it now, no journal tells them, and of a run that has ended they say nothing. A run without entries is shown to
//! nobody.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Display;
use std::sync::Arc;

use jiff::Timestamp;

use super::AuditError;
use super::flaw::Flaw;
use crate::journal::leaf::NOTHING;
use crate::journal::{Illegal, RunState};
use crate::store::{Indexed, LockHeld, Logged, Standing, Store};

/// The journals, folded.
#[derive(Default)]
pub(super) struct Journals(pub(super) BTreeMap<String, Result<RunState, Illegal>>);

impl Journals {
    pub(super) fn fold(&mut self, page: &[Logged]) {
        for Logged { run, record, .. } in page {
            if !self.0.contains_key(run) {
                self.0.insert(run.clone(), Ok(RunState::default()));
            }
            let Some(state) = self.0.get_mut(run) else {
                continue;
            };
            if let Ok(folded) = state {
                if let Err(illegal) = folded.apply(record) {
                    *state = Err(illegal);
                } else if folded.closed.is_some() {
                    // Whatever came after would be illegal: what the steps did is not needed.
                    folded.steps.clear();
                }
            }
        }
    }
}

/// What the store says of its runs.
pub(super) struct Index {
    runs: Vec<Indexed>,
    locks: Vec<LockHeld>,
}

impl Index {
    pub(super) fn read(store: &dyn Store) -> Result<Self, AuditError> {
        Ok(Self {
            runs: store.index()?,
            locks: store.locks()?,
        })
    }

    /// Compares all of it; `links` are what each journal ends with.
    pub(super) fn compare(
        &self,
        journals: &Journals,
        links: &HashMap<Arc<str>, String>,
        flaws: &mut Vec<Flaw>,
    ) {
        let mut flaw = |run: &str, why: String| {
            let run = run.to_owned();
            flaws.push(Flaw::Index { run, why });
        };
        let mut indexed = HashSet::new();
        for row in &self.runs {
            let run = row.summary.run.as_str();
            indexed.insert(run);
            match journals.0.get(run) {
                // A journal that does not fold is a flaw of its own.
                Some(Err(_)) => {}
                Some(Ok(state)) => {
                    let link = links.get(run).map_or(NOTHING, String::as_str);
                    differences(row, state, link, |why| flaw(run, why));
                }
                None => unlogged(row, |why| flaw(run, why)),
            }
        }
        for run in journals
            .0
            .keys()
            .filter(|run| !indexed.contains(run.as_str()))
        {
            flaw(
                run,
                "it is logged, and missing in the index of runs".to_owned(),
            );
        }
        self.locks(journals, &indexed, flaw);
    }

    fn exported(&self, run: &str) -> bool {
        let mut rows = self.runs.iter().map(|row| &row.summary);
        rows.any(|row| row.run == run && row.standing == Standing::Exported)
    }

    /// Each lock is one that its run asked for, and a run that has not ended holds all that it did.
    fn locks(
        &self,
        journals: &Journals,
        indexed: &HashSet<&str>,
        mut flaw: impl FnMut(&str, String),
    ) {
        let mut held: HashSet<(&str, &str)> = HashSet::new();
        for LockHeld { name, run } in &self.locks {
            held.insert((run, name));
            let asked = match journals.0.get(run) {
                Some(Ok(state)) => wanted(state).any(|lock| lock == name),
                Some(Err(_)) => true,
                // It has been opened, and has not begun.
                None => indexed.contains(run.as_str()),
            };
            if !asked {
                flaw(
                    run,
                    format!("it holds the lock `{name}`, for which it did not ask"),
                );
            }
        }
        for (run, state) in &journals.0 {
            let Ok(state) = state else { continue };
            // What goes on elsewhere holds nothing here.
            if state.closed.is_some() || self.exported(run) {
                continue;
            }
            for lock in wanted(state).filter(|lock| !held.contains(&(run, lock))) {
                flaw(
                    run,
                    format!("it has not ended, and does not hold its lock `{lock}`"),
                );
            }
        }
    }
}

fn wanted(state: &RunState) -> impl Iterator<Item = &str> {
    let header = state.header.iter();
    header.flat_map(|header| header.locks.iter().map(String::as_str))
}

/// A row of the index against what its run's journal says, column by column.
fn differences(row: &Indexed, state: &RunState, link: &str, mut flaw: impl FnMut(String)) {
    let mut compare = |what: &str, indexed: &dyn Display, journal: &dyn Display| {
        let (indexed, journal) = (indexed.to_string(), journal.to_string());
        if indexed != journal {
            flaw(format!(
                "its {what} is `{indexed}` in the index of runs, and `{journal}` in its journal"
            ));
        }
    };
    let summary = &row.summary;
    if let Some(header) = &state.header {
        compare("id", &summary.run, &header.run);
        compare("runbook", &summary.runbook, &header.runbook);
        let target = header.target["name"].as_str().unwrap_or_default();
        compare("target", &summary.target, &target);
        compare("mode", &word(&summary.mode), &word(&header.mode));
    }
    let ended = |standing: Standing| match standing {
        Standing::Closed(status) => status.word(),
        Standing::Running | Standing::Abandoned | Standing::Exported => "not ended",
    };
    let closed = state.closed.as_ref();
    let status = closed.map_or("not ended", |closed| closed.status.word());
    compare("status", &ended(summary.standing), &status);
    compare("beginning", &summary.opened_at, &state.opened_at);
    compare(
        "end",
        &moment(summary.closed_at),
        &moment(closed.map(|_| state.last_at)),
    );
    compare("number of entries", &summary.entries, &state.entries);
    compare("chain", &row.chain, &link);
}

/// A row of which no journal tells: it has been opened, and nothing more.
fn unlogged(row: &Indexed, mut flaw: impl FnMut(String)) {
    let summary = &row.summary;
    let opened = summary.entries == 0
        && summary.closed_at.is_none()
        && !matches!(summary.standing, Standing::Closed(_))
        && row.chain == NOTHING;
    if !opened {
        flaw("it is in the index of runs, and nothing of it is logged".to_owned());
    }
}

fn moment(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "none".to_owned(), |at| at.to_string())
}

fn word(mode: &crate::journal::Mode) -> String {
    format!("{mode:?}").to_lowercase()
}
