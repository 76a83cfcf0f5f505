//! Processes that die at a chosen point.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use groundcrew::journal::{Actor, Record};
use groundcrew::store::{
    Append, Arrival, Claim, Indexed, LockHeld, Logged, MemoryStore, NewRun, RunSummary, Store,
    StoreError,
};
use jiff::Timestamp;

/// Where a process dies.
#[derive(Debug, Clone, Copy)]
pub enum Point {
    /// Before so many commits are applied.
    BeforeCommit(usize),
    /// After, and before it knows.
    AfterCommit(usize),
    /// When so many writes have arrived at the simulator, the last one not done.
    BeforeSend(usize),
    /// When so many are done, the last one not answered.
    AfterSend(usize),
}

/// A store as it looks to one process: when that process has died, nothing of it arrives any more.
#[derive(Debug)]
pub struct Mortal {
    disk: Arc<MemoryStore>,
    life: Arc<Life>,
    commits: AtomicUsize,
    point: Option<Point>,
}

/// Whether a process is alive.
#[derive(Debug, Default)]
pub struct Life {
    dead: AtomicBool,
    died: tokio::sync::Notify,
}

impl Life {
    /// It dies now.
    pub fn end(&self) {
        self.dead.store(true, Ordering::SeqCst);
        self.died.notify_one();
    }

    /// Whether it has died.
    pub fn over(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    /// Returns when it dies.
    pub async fn died(&self) {
        self.died.notified().await;
    }
}

impl Mortal {
    /// A process that dies at `point`, by the store that outlives it.
    pub fn new(disk: Arc<MemoryStore>, life: Arc<Life>, point: Option<Point>) -> Self {
        Self {
            disk,
            life,
            commits: AtomicUsize::new(0),
            point,
        }
    }

    fn alive(&self) -> Result<(), StoreError> {
        if self.life.over() {
            return Err(StoreError::Broken("the process is dead".to_owned()));
        }
        Ok(())
    }
}

impl Store for Mortal {
    fn open(&self, new: &NewRun, now: Timestamp, until: Timestamp) -> Result<Claim, StoreError> {
        self.alive()?;
        self.disk.open(new, now, until)
    }

    fn claim(
        &self,
        run: &str,
        holder: &Actor,
        now: Timestamp,
        until: Timestamp,
        gone: Option<u64>,
    ) -> Result<Claim, StoreError> {
        self.alive()?;
        self.disk.claim(run, holder, now, until, gone)
    }

    fn beat(&self, claim: &Claim, until: Timestamp) -> Result<(), StoreError> {
        self.alive()?;
        self.disk.beat(claim, until)
    }

    fn append(&self, append: &Append<'_>) -> Result<(), StoreError> {
        self.alive()?;
        let commit = self.commits.fetch_add(1, Ordering::SeqCst) + 1;
        match self.point {
            Some(Point::BeforeCommit(k)) if k == commit => self.life.end(),
            Some(Point::AfterCommit(k)) if k == commit => {
                self.disk.append(append)?;
                self.life.end();
            }
            _ => return self.disk.append(append),
        }
        self.alive()
    }

    fn take_in(&self, arrival: &Arrival<'_>, now: Timestamp) -> Result<(), StoreError> {
        self.alive()?;
        self.disk.take_in(arrival, now)
    }

    fn export(&self, run: &str, now: Timestamp, gone: Option<u64>) -> Result<(), StoreError> {
        self.alive()?;
        self.disk.export(run, now, gone)
    }

    fn reopen(&self, run: &str, locks: &[String], now: Timestamp) -> Result<(), StoreError> {
        self.alive()?;
        self.disk.reopen(run, locks, now)
    }

    fn abandon(&self, claim: &Claim) -> Result<(), StoreError> {
        self.alive()?;
        self.disk.abandon(claim)
    }

    fn index(&self) -> Result<Vec<Indexed>, StoreError> {
        self.disk.index()
    }

    fn leaf_count(&self) -> Result<u64, StoreError> {
        self.disk.leaf_count()
    }

    fn entry_count(&self) -> Result<u64, StoreError> {
        self.disk.entry_count()
    }

    fn leaves(&self, first: u64, max: usize) -> Result<Vec<String>, StoreError> {
        self.disk.leaves(first, max)
    }

    fn leaves_of(&self, run: &str) -> Result<Vec<(u64, String)>, StoreError> {
        self.disk.leaves_of(run)
    }

    fn logged(&self, first: u64, max: usize) -> Result<Vec<Logged>, StoreError> {
        self.disk.logged(first, max)
    }

    fn release(&self, claim: &Claim) -> Result<(), StoreError> {
        self.alive()?;
        self.disk.release(claim)
    }

    fn read(&self, run: &str, first: u64, max: usize) -> Result<Vec<Record>, StoreError> {
        self.disk.read(run, first, max)
    }

    fn runs(&self, now: Timestamp, max: usize) -> Result<Vec<RunSummary>, StoreError> {
        self.disk.runs(now, max)
    }

    fn run(&self, run: &str, now: Timestamp) -> Result<RunSummary, StoreError> {
        self.disk.run(run, now)
    }

    fn locks(&self) -> Result<Vec<LockHeld>, StoreError> {
        self.disk.locks()
    }
}
