//! A run on its way to another machine: its journal as JSON lines.
//!
//! The first line names the format and the run, and who hands it on; each other line is an entry, its
//! payload byte for byte as it was written, because digests are over those bytes. What is signed is the
//! run's chain of leaves, which is over every byte that counts: the same chain that the audit log has,
//! there and here.
//!
//! A bundle is somebody's word. [`Bundle`] is one that makes sense, [`Trusted`] one whose signer is known
//! here and which asks for no more than this host gives; only that can be taken in. Format 1 was not
//! signed: it is read, and never gone on with.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;

use super::{Arrival, NewRun, Store, StoreError};
use crate::effect::Mode;
use crate::journal::leaf::{Leaf, NOTHING, link};
use crate::journal::{Actor, Draft, EntryKind, Illegal, NoteBody, Record, RunState};
use crate::key::{self, Key, KeyError};
use crate::limits::Limits;
use crate::plan::SignedPlan;

/// The version of the format.
const BUNDLE: u32 = 2;
/// The one that was not signed.
const UNSIGNED: u32 = 1;

/// The first line of what is signed: no other signed text begins so.
const SIGNED: &str = "groundcrew run v1";

/// A bundle may not be larger: a run over some ten thousand Machines has a fifth of it.
pub const BYTES: u64 = 256 << 20;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    bundle: u32,
    run: String,
    entries: u64,
    /// The public key of who hands it on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    /// The signed note over the run's chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
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
    /// Nobody has signed it.
    #[error("the bundle is not signed; it can be read, and not gone on with")]
    Unsigned,
    /// Its signature is missing, wrong, or over something else.
    #[error("the bundle is not what `{by}` signed: {why}")]
    Edited {
        /// The key, by name.
        by: String,
        /// Why.
        why: String,
    },
    /// Nobody here knows who has signed it.
    #[error("the bundle is signed by `{0}`, whose key is not known here")]
    Foreign(String),
    /// It was a rehearsal, or has ended.
    #[error("there is nothing to go on with: {0}")]
    Over(String),
    /// It was started with a bound that is wider than this host's.
    #[error("the run was started with `{limit}` = {theirs}; this host gives at most {ours}")]
    Beyond {
        /// The bound.
        limit: &'static str,
        /// Its value in the run's header.
        theirs: u128,
        /// And here.
        ours: u128,
    },
    /// The plan that the run applies cannot be applied any more.
    #[error("the plan that the run applies could be applied until {0}")]
    Expired(Timestamp),
    /// The plan that the run applies is none.
    #[error("the plan that the run applies does not hold: {0}")]
    Plan(#[from] crate::plan::PlanError),
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The last link of a run's chain of leaves, from which every byte of its entries follows.
fn chain(run: &str, records: &[Record]) -> String {
    let after = |before: String, record| link(&Leaf::of(run, record, &before).text());
    records.iter().fold(NOTHING.to_owned(), after)
}

fn signed_text(run: &str, records: &[Record]) -> String {
    format!(
        "{SIGNED}\n{run}\n{}\n{}\n",
        records.len(),
        chain(run, records)
    )
}

/// Writes a run down as a bundle that `by` signs.
///
/// # Errors
/// If there is no such run, the store fails, or the key has no private half.
pub fn export(store: &dyn Store, run: &str, by: &Key) -> Result<String, BundleError> {
    let records = store.read(run, 0, usize::MAX)?;
    let broken = |e: serde_json::Error| StoreError::Broken(format!("run `{run}`: {e}"));
    let head = Head {
        bundle: BUNDLE,
        run: run.to_owned(),
        entries: records.len() as u64,
        by: Some(by.public().to_owned()),
        note: Some(by.sign(&signed_text(run, &records), &[])?),
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

/// A bundle that is whole and whose journal folds. Nothing of what it says is known to be true.
#[derive(Debug)]
pub struct Bundle {
    new: NewRun,
    records: Vec<Record>,
    state: RunState,
    /// Public key and note; none in format 1.
    signed: Option<(String, String)>,
}

/// Reads a bundle.
///
/// # Errors
/// If it is not whole, or its journal does not fold.
pub fn read(text: &str) -> Result<Bundle, BundleError> {
    let malformed = |line: usize, why: String| BundleError::Malformed { line, why };
    if text.len() as u64 > BYTES {
        let why = format!("it has {} bytes; at most {BYTES} are allowed", text.len());
        return Err(malformed(1, why));
    }
    let mut lines = text.lines();
    let head: Head = serde_json::from_str(lines.next().unwrap_or_default())
        .map_err(|e| malformed(1, format!("not a bundle of `groundcrew runs export`: {e}")))?;
    let signed = match (head.bundle, head.by, head.note) {
        (UNSIGNED, None, None) => None,
        (BUNDLE, Some(by), Some(note)) => Some((by, note)),
        (BUNDLE | UNSIGNED, _, _) => {
            return Err(malformed(1, "its signature is not whole".to_owned()));
        }
        (other, _, _) => {
            let why = format!("format {other} is not this program's {BUNDLE}");
            return Err(malformed(1, why));
        }
    };
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
        holder: Actor::default(),
    };
    Ok(Bundle {
        new,
        records,
        state,
        signed,
    })
}

impl Bundle {
    /// The run's id.
    pub fn run(&self) -> &str {
        &self.new.run
    }

    /// Its entries.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// What they fold to.
    pub fn state(&self) -> &RunState {
        &self.state
    }

    /// As a store takes it, whoever it is from: for whoever knows that already, such as a test.
    pub fn arrival(&self) -> Arrival<'_> {
        Arrival {
            new: &self.new,
            records: &self.records,
            closing: self.state.closed.as_ref().map(|closed| closed.status),
        }
    }

    /// The key that signed it, whether anybody here knows it or not; none if it is not signed.
    ///
    /// # Errors
    /// If the signature does not hold, or is over something else.
    pub fn signer(&self) -> Result<Option<Key>, BundleError> {
        let Some((by, note)) = &self.signed else {
            return Ok(None);
        };
        let by = Key::public_from(by)?;
        let edited = |why: String| BundleError::Edited {
            by: by.name().to_owned(),
            why,
        };
        let opened =
            key::open(note, std::slice::from_ref(&by)).map_err(|e| edited(e.to_string()))?;
        if opened.by.is_empty() {
            return Err(edited("there is no signature of that key".to_owned()));
        }
        if opened.text != signed_text(self.run(), &self.records) {
            return Err(edited("it was changed afterwards".to_owned()));
        }
        Ok(Some(by))
    }

    /// That one of `known` has signed it, and that it can be gone on with within `limits` now.
    ///
    /// # Errors
    /// Why not.
    pub fn trusted(
        self,
        known: &[Key],
        limits: &Limits,
        now: Timestamp,
    ) -> Result<Trusted, BundleError> {
        let by = self.signer()?.ok_or(BundleError::Unsigned)?;
        if !known.contains(&by) {
            return Err(BundleError::Foreign(by.name().to_owned()));
        }
        if let Some(closed) = &self.state.closed {
            let ended = format!("run {} has ended ({})", self.run(), closed.status.word());
            return Err(BundleError::Over(ended));
        }
        if self.new.mode == Mode::Rehearsal {
            let rehearsal = format!("run {} is a rehearsal", self.run());
            return Err(BundleError::Over(rehearsal));
        }
        let header = self.state.header.as_deref();
        if let Some(wider) = header.and_then(|header| header.limits.wider_than(limits)) {
            let (limit, theirs, ours) = wider;
            return Err(BundleError::Beyond {
                limit,
                theirs,
                ours,
            });
        }
        if let Some(plan) = header.and_then(|header| header.plan.as_ref()) {
            let plan = SignedPlan::reopen(&plan.text)?;
            plan.bounded()?;
            // To be gone on with after that, it has to stay where it was begun.
            if plan.plan().expires_at <= now {
                return Err(BundleError::Expired(plan.plan().expires_at));
            }
        }
        Ok(Trusted { bundle: self, by })
    }
}

/// A bundle that can be taken in.
#[derive(Debug)]
pub struct Trusted {
    bundle: Bundle,
    by: Key,
}

impl Trusted {
    /// What it is.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// Who signed it.
    pub fn by(&self) -> &Key {
        &self.by
    }

    /// What was signed: the last link of its chain.
    pub fn digest(&self) -> String {
        chain(self.bundle.run(), &self.bundle.records)
    }

    /// Takes the run in, with its locks, as one whose process is gone, and with an entry that says who
    /// did so and from whom. All or nothing.
    ///
    /// # Errors
    /// If the run is here already, or one of its locks is held by another run.
    pub fn take_in(
        &self,
        store: &dyn Store,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<(), BundleError> {
        let mut records = self.bundle.records.clone();
        let note = NoteBody::TakenIn {
            actor: actor.clone(),
            engine: env!("CARGO_PKG_VERSION").to_owned(),
            by: self.by.public().to_owned(),
            digest: self.digest(),
        };
        let next = records.len() as u64;
        let draft = Draft::note(None, note);
        records.push(Record {
            sequence: next,
            at: now,
            kind: draft.kind,
            payload: draft.payload.into(),
        });
        let arrival = Arrival {
            records: &records,
            ..self.bundle.arrival()
        };
        Ok(store.take_in(&arrival, now)?)
    }
}
