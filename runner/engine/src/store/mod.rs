//! Where journals are kept: a small trait, and two stores.
//!
//! [`SqliteStore`] is the embedded default. [`MemoryStore`] is for embedders who keep nothing and
//! for tests. A store knows nothing of runs but their names, their entries in order, who holds
//! them, and which locks they hold. Locks exclude within one store only: between hosts with
//! different stores nothing does but what the target itself offers, such as leases.

pub mod bundle;
mod lock;
mod memory;
mod place;
mod sqlite;
mod writer;

use jiff::Timestamp;
use serde::Serialize;
use thiserror::Error;

use crate::effect::Mode;
use crate::journal::{Actor, Record, RunStatus};

pub use lock::conflicts;
pub use memory::MemoryStore;
pub use sqlite::SqliteStore;
pub use writer::{JournalError, Writer};

/// Why a store did not do what was asked. In every case nothing was changed.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The run, by this name, is not here.
    #[error("there is no run `{0}`")]
    NoSuchRun(String),
    /// A run of this name is here already.
    #[error("there is a run `{0}` already")]
    Exists(String),
    /// Someone else has taken the run over, or it has gone on without us.
    #[error("run `{0}` is no longer ours: another process has taken it over")]
    Fenced(String),
    /// A lock is held by a run that has not been given up.
    #[error("`{lock}` is locked by run {run}")]
    Locked {
        /// The lock.
        lock: String,
        /// Who holds it.
        run: String,
    },
    /// The run is held by a process that is alive.
    #[error("run `{0}` is held by a process that may still be working on it")]
    Held(String),
    /// The run goes on in another store.
    #[error("run `{0}` was exported: it goes on elsewhere")]
    Exported(String),
    /// The state directory cannot be used.
    #[error("{0}")]
    Directory(String),
    /// The store itself fails.
    #[error("{0}")]
    Broken(String),
}

/// The right to append to a run: its name and a token that grows with every takeover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The run.
    pub run: String,
    /// Whoever has claimed the run since has a greater one.
    pub token: u64,
}

/// Entries to append.
#[derive(Debug)]
pub struct Append<'a> {
    /// By what right.
    pub claim: &'a Claim,
    /// With the numbers that come next.
    pub records: &'a [Record],
    /// One of them closes the run so.
    pub closing: Option<RunStatus>,
}

/// A run that comes from another store.
#[derive(Debug)]
pub struct Arrival<'a> {
    /// The run.
    pub new: &'a NewRun,
    /// Its entries, from 0.
    pub records: &'a [Record],
    /// One of them closes the run so.
    pub closing: Option<RunStatus>,
}

/// A run as it is opened.
#[derive(Debug, Clone)]
pub struct NewRun {
    /// Its id.
    pub run: String,
    /// Its runbook's name.
    pub runbook: String,
    /// Its target's name.
    pub target: String,
    /// Whether its effects reach the world.
    pub mode: Mode,
    /// The locks it needs.
    pub locks: Vec<String>,
    /// Who opens it, and holds the first claim.
    pub holder: Actor,
}

/// Where a run is, as far as its index tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// A process works on it.
    Running,
    /// Its process is gone.
    Abandoned,
    /// It goes on in another store, and not here.
    Exported,
    /// It has ended.
    Closed(RunStatus),
}

impl Serialize for Standing {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.word())
    }
}

impl Standing {
    /// The word that people see.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Abandoned => "abandoned",
            Self::Exported => "exported",
            Self::Closed(status) => status.word(),
        }
    }
}

/// One line of the index of runs.
#[derive(Debug, Clone, Serialize)]
pub struct RunSummary {
    /// Its id.
    pub run: String,
    /// Its runbook's name.
    pub runbook: String,
    /// Its target's name.
    pub target: String,
    /// Whether its effects reached the world.
    pub mode: Mode,
    /// Where it is.
    pub standing: Standing,
    /// When its first entry was written; until then, when it was opened.
    pub opened_at: Timestamp,
    /// When it was closed.
    pub closed_at: Option<Timestamp>,
    /// How many entries it has.
    pub entries: u64,
    /// The token of its last claim.
    pub token: u64,
    /// Whose claim that is; nobody that is known, if an older version has made it.
    pub holder: Actor,
}

impl RunSummary {
    /// The token of its claim, if the process that holds it is surely gone: with it the run can be
    /// claimed at once. Otherwise the claim's expiry decides.
    pub fn gone(&self) -> Option<u64> {
        self.holder.surely_gone().then_some(self.token)
    }
}

/// All that the index says of a run that its journal says too.
#[derive(Debug, Clone)]
pub struct Indexed {
    /// Its line of the index.
    pub summary: RunSummary,
    /// What its next entry will be chained to. ([`crate::journal::leaf::link`])
    pub chain: String,
}

/// A lock and who holds it.
#[derive(Debug, Clone, Serialize)]
pub struct LockHeld {
    /// Its name.
    pub name: String,
    /// The run.
    pub run: String,
}

/// An entry with its leaf of the audit log.
#[derive(Debug, Clone)]
pub struct Logged {
    /// The leaf's number, from 0 over all runs.
    pub index: u64,
    /// The leaf's text. (`crate::journal::leaf`)
    pub leaf: String,
    /// The run.
    pub run: String,
    /// The entry.
    pub record: Record,
}

/// Keeps runs. Calls block; each is atomic and, where it changes something, durable when it
/// returns. `now` is the wall clock of the caller; claims expire by it.
pub trait Store: Send + Sync + std::fmt::Debug + 'static {
    /// Makes a run, claims it until `expires_at` and takes its locks, all or nothing.
    ///
    /// # Errors
    /// `Locked`, if a lock that [`conflicts`] is held by a run that has not been given up. Whether
    /// its process is alive does not matter: a run that was interrupted is gone on with, or
    /// cancelled, before anything else works there. A run that has ended, or whose claim has expired
    /// before its first entry, loses its locks, and its claim.
    fn open(
        &self,
        new: &NewRun,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<Claim, StoreError>;

    /// Claims a run for `holder`: one whose claim has expired, or one whose claim has the token
    /// `gone`, by someone who knows that the process that holds it is gone. Whoever has claimed it
    /// since is not meant.
    ///
    /// # Errors
    /// `Held`, if its process may be alive; `Exported`, if it goes on elsewhere.
    fn claim(
        &self,
        run: &str,
        holder: &Actor,
        now: Timestamp,
        expires_at: Timestamp,
        gone: Option<u64>,
    ) -> Result<Claim, StoreError>;

    /// Shows that the claim's process is alive: extends the claim.
    ///
    /// # Errors
    /// `Fenced`, if the run has been taken over.
    fn beat(&self, claim: &Claim, expires_at: Timestamp) -> Result<(), StoreError>;

    /// Appends entries, and in the same transaction the leaf of each to the audit log
    /// ([`crate::journal::leaf::Leaf`]).
    ///
    /// # Errors
    /// `Fenced`, if the run has been taken over or its length is not what the entries say.
    fn append(&self, append: &Append<'_>) -> Result<(), StoreError>;

    /// Lets go of the run and keeps its locks: somebody may claim it at once.
    ///
    /// # Errors
    /// If the store fails.
    fn abandon(&self, claim: &Claim) -> Result<(), StoreError>;

    /// Gives the run and its locks up.
    ///
    /// # Errors
    /// If the store fails.
    fn release(&self, claim: &Claim) -> Result<(), StoreError>;

    /// Takes a whole run in, as one whose process is gone: its entries with their leaves, and its
    /// locks. All or nothing.
    ///
    /// # Errors
    /// `Exists`, `Locked` as in [`Store::open`]; `Fenced`, if the entries are not numbered from 0.
    fn take_in(&self, arrival: &Arrival<'_>, now: Timestamp) -> Result<(), StoreError>;

    /// Closes a run that has not ended here, because it goes on elsewhere: nobody can claim it, whoever
    /// has loses the claim, and its locks are given up. Its journal says nothing of it.
    ///
    /// # Errors
    /// `Held`, if its process is alive and `force` does not say that it is known to be dead;
    /// `Exported`, if it is already.
    fn export(&self, run: &str, now: Timestamp, gone: Option<u64>) -> Result<(), StoreError>;

    /// Takes an export back, with these locks: it can be claimed again. A run that was not exported
    /// stays as it is.
    ///
    /// # Errors
    /// `Locked` as in [`Store::open`].
    fn reopen(&self, run: &str, locks: &[String], now: Timestamp) -> Result<(), StoreError>;

    /// The entries of a run from `first` on, at most `max`.
    ///
    /// # Errors
    /// `NoSuchRun`.
    fn read(&self, run: &str, first: u64, max: usize) -> Result<Vec<Record>, StoreError>;

    /// The newest `max` runs, newest first. One without entries is not among them: nothing is logged
    /// of it, so whatever is said of it could be anybody's word.
    ///
    /// # Errors
    /// If the store fails, or a line of its index does not read.
    fn runs(&self, now: Timestamp, max: usize) -> Result<Vec<RunSummary>, StoreError>;

    /// One run of the index.
    ///
    /// # Errors
    /// `NoSuchRun`.
    fn run(&self, run: &str, now: Timestamp) -> Result<RunSummary, StoreError>;

    /// The whole index, runs without entries included.
    ///
    /// # Errors
    /// If the store fails, or a line of the index does not read.
    fn index(&self) -> Result<Vec<Indexed>, StoreError>;

    /// What its file is made of otherwise than this version makes it: tables, indexes, triggers and views
    /// that are missing, more, or others; a sentence each. A store without a file has none.
    ///
    /// # Errors
    /// If the store fails.
    fn altered(&self) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    /// How many leaves the audit log has.
    ///
    /// # Errors
    /// If the store fails.
    fn leaf_count(&self) -> Result<u64, StoreError>;

    /// How many entries all runs have together.
    ///
    /// # Errors
    /// If the store fails.
    fn entry_count(&self) -> Result<u64, StoreError>;

    /// The texts of the leaves from `first` on, at most `max`, in order.
    ///
    /// # Errors
    /// If the store fails.
    fn leaves(&self, first: u64, max: usize) -> Result<Vec<String>, StoreError>;

    /// The leaves of a run, each with its number, in order.
    ///
    /// # Errors
    /// `NoSuchRun`.
    fn leaves_of(&self, run: &str) -> Result<Vec<(u64, String)>, StoreError>;

    /// The leaves from `first` on with their entries, at most `max`, in order. Leaves without their
    /// entry are left out.
    ///
    /// # Errors
    /// If the store fails, or an entry does not read.
    fn logged(&self, first: u64, max: usize) -> Result<Vec<Logged>, StoreError>;

    /// Every lock.
    ///
    /// # Errors
    /// If the store fails.
    fn locks(&self) -> Result<Vec<LockHeld>, StoreError>;
}
