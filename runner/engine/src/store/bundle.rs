//! A run on its way to another machine: its journal as JSON lines.
//!
//! The first line names the format and the run; each other line is an entry, its payload byte for
//! byte as it was written, because digests are over those bytes.
//!
//! No store knows of the other. A run that was exported must not be resumed in both places: only
//! what the target itself offers, such as leases, would keep them apart.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;

use super::{Append, NewRun, Store, StoreError};
use crate::journal::{EntryKind, Illegal, Record, RunState};

/// The version of the format.
const BUNDLE: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Head {
    bundle: u32,
    run: String,
    entries: u64,
}

#[derive(Serialize, Deserialize)]
struct Line<'a> {
    sequence: u64,
    at: Timestamp,
    kind: EntryKind,
    #[serde(borrow)]
    payload: &'a RawValue,
}

/// Why a bundle is not taken in. Nothing was changed.
#[derive(Debug, Error)]
pub enum BundleError {
    /// It is not a bundle, or not a whole one.
    #[error("line {line} of the bundle: {why}")]
    Malformed {
        /// From 1.
        line: usize,
        /// Why.
        why: String,
    },
    /// No run can have written these entries.
    #[error("the journal in the bundle is damaged: {0}")]
    Illegal(#[from] Illegal),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Writes a run down as a bundle.
///
/// # Errors
/// If there is no such run, or the store fails.
pub fn export(store: &dyn Store, run: &str) -> Result<String, StoreError> {
    let records = store.read(run, 0, usize::MAX)?;
    let broken = |e: serde_json::Error| StoreError::Broken(format!("run `{run}`: {e}"));
    let head = Head {
        bundle: BUNDLE,
        run: run.to_owned(),
        entries: records.len() as u64,
    };
    let mut text = serde_json::to_string(&head).map_err(broken)?;
    for record in &records {
        let line = Line {
            sequence: record.sequence,
            at: record.at,
            kind: record.kind,
            payload: serde_json::from_str(&record.payload).map_err(broken)?,
        };
        text.push('\n');
        text.push_str(&serde_json::to_string(&line).map_err(broken)?);
    }
    text.push('\n');
    Ok(text)
}

/// Takes a run in, with its locks, as one whose process is gone; gives its id.
///
/// # Errors
/// If the bundle is not whole, its journal does not fold, the run is here already, or one of its
/// locks is held by another run.
pub fn import(store: &dyn Store, bundle: &str, now: Timestamp) -> Result<String, BundleError> {
    let malformed = |line: usize, why: String| BundleError::Malformed { line, why };
    let mut lines = bundle.lines();
    let head: Head = serde_json::from_str(lines.next().unwrap_or_default())
        .map_err(|e| malformed(1, format!("not a bundle of `groundcrew runs export`: {e}")))?;
    if head.bundle != BUNDLE {
        let why = format!("format {} is not this program's {BUNDLE}", head.bundle);
        return Err(malformed(1, why));
    }
    let mut records = Vec::new();
    for (index, text) in lines.enumerate() {
        let line: Line<'_> =
            serde_json::from_str(text).map_err(|e| malformed(index + 2, e.to_string()))?;
        records.push(Record {
            sequence: line.sequence,
            at: line.at,
            kind: line.kind,
            payload: line.payload.get().into(),
        });
    }
    if records.len() as u64 != head.entries {
        let why = format!("it has {} entries of {}", records.len(), head.entries);
        return Err(malformed(records.len() + 1, why));
    }
    let state = RunState::fold(&records)?;
    let Some(header) = &state.header else {
        return Err(malformed(2, "the run was never opened".to_owned()));
    };
    if header.run != head.run {
        return Err(malformed(2, format!("it is of run `{}`", header.run)));
    }
    let new = NewRun {
        run: head.run,
        runbook: header.runbook.clone(),
        target: header.target["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        mode: header.mode,
        locks: match state.closed {
            None => header.locks.clone(),
            Some(_) => Vec::new(),
        },
    };
    let claim = store.open(&new, now, now)?;
    store.append(&Append {
        claim: &claim,
        records: &records,
        closing: state.closed.as_ref().map(|closed| closed.status),
    })?;
    store.abandon(&claim)?;
    Ok(new.run)
}
