//! A store that can be watched, and can fail.

use std::sync::atomic::{AtomicUsize, Ordering};

use groundcrew::Key;
use groundcrew::journal::{Actor, Record};
use groundcrew::store::bundle::{self, BundleError};
use groundcrew::store::{
    Append, Arrival, Claim, Indexed, LockHeld, Logged, MemoryStore, NewRun, RunSummary, Store,
    StoreError,
};
use jiff::Timestamp;

use super::ledger::{Event, Log};

/// A [`MemoryStore`] that logs its entries beside what the executor logs.
#[derive(Debug)]
pub(crate) struct Watched {
    inner: MemoryStore,
    log: Log,
    /// How many more entries it takes before every append fails.
    room: AtomicUsize,
}

impl Watched {
    pub(crate) fn new(log: Log) -> Self {
        Self {
            inner: MemoryStore::default(),
            log,
            room: AtomicUsize::new(usize::MAX),
        }
    }

    /// From now on it takes only so many more entries.
    pub(crate) fn fail_after(&self, entries: usize) {
        self.room.store(entries, Ordering::SeqCst);
    }
}

impl Store for Watched {
    fn open(
        &self,
        new: &NewRun,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<Claim, StoreError> {
        self.inner.open(new, now, expires_at)
    }

    fn claim(
        &self,
        run: &str,
        holder: &Actor,
        now: Timestamp,
        expires_at: Timestamp,
        gone: Option<u64>,
    ) -> Result<Claim, StoreError> {
        self.inner.claim(run, holder, now, expires_at, gone)
    }

    fn beat(&self, claim: &Claim, expires_at: Timestamp) -> Result<(), StoreError> {
        self.inner.beat(claim, expires_at)
    }

    fn append(&self, append: &Append<'_>) -> Result<(), StoreError> {
        let room = self.room.load(Ordering::SeqCst);
        if append.records.len() > room {
            self.room.store(0, Ordering::SeqCst);
            return Err(StoreError::Broken("the disk is full".to_owned()));
        }
        self.inner.append(append)?;
        self.room
            .store(room - append.records.len(), Ordering::SeqCst);
        let stored = append
            .records
            .iter()
            .map(|record| Event::Stored(record.kind.word(), record.payload.to_string()));
        self.log.lock().unwrap().extend(stored);
        Ok(())
    }

    fn take_in(&self, arrival: &Arrival<'_>, now: Timestamp) -> Result<(), StoreError> {
        self.inner.take_in(arrival, now)
    }

    fn export(&self, run: &str, now: Timestamp, gone: Option<u64>) -> Result<(), StoreError> {
        self.inner.export(run, now, gone)
    }

    fn reopen(&self, run: &str, locks: &[String], now: Timestamp) -> Result<(), StoreError> {
        self.inner.reopen(run, locks, now)
    }

    fn abandon(&self, claim: &Claim) -> Result<(), StoreError> {
        self.inner.abandon(claim)
    }

    fn index(&self) -> Result<Vec<Indexed>, StoreError> {
        self.inner.index()
    }

    fn leaf_count(&self) -> Result<u64, StoreError> {
        self.inner.leaf_count()
    }

    fn entry_count(&self) -> Result<u64, StoreError> {
        self.inner.entry_count()
    }

    fn leaves(&self, first: u64, max: usize) -> Result<Vec<String>, StoreError> {
        self.inner.leaves(first, max)
    }

    fn leaves_of(&self, run: &str) -> Result<Vec<(u64, String)>, StoreError> {
        self.inner.leaves_of(run)
    }

    fn logged(&self, first: u64, max: usize) -> Result<Vec<Logged>, StoreError> {
        self.inner.logged(first, max)
    }

    fn release(&self, claim: &Claim) -> Result<(), StoreError> {
        self.inner.release(claim)
    }

    fn read(&self, run: &str, first: u64, max: usize) -> Result<Vec<Record>, StoreError> {
        self.inner.read(run, first, max)
    }

    fn runs(&self, now: Timestamp, max: usize) -> Result<Vec<RunSummary>, StoreError> {
        self.inner.runs(now, max)
    }

    fn run(&self, run: &str, now: Timestamp) -> Result<RunSummary, StoreError> {
        self.inner.run(run, now)
    }

    fn locks(&self) -> Result<Vec<LockHeld>, StoreError> {
        self.inner.locks()
    }
}

/// Who hands bundles on.
pub(crate) fn courier() -> &'static Key {
    static COURIER: std::sync::LazyLock<Key> =
        std::sync::LazyLock::new(|| Key::generate("courier"));
    &COURIER
}

/// A run as a bundle.
pub(crate) fn export(store: &dyn Store, run: &str) -> Result<String, BundleError> {
    bundle::export(store, run, courier())
}

/// Puts a run into a store, whoever the bundle is from: what is checked there is tested on its own.
pub(crate) fn import(store: &dyn Store, text: &str, now: Timestamp) -> Result<String, BundleError> {
    let bundle = bundle::read(text)?;
    store.take_in(&bundle.arrival(), now)?;
    Ok(bundle.run().to_owned())
}
