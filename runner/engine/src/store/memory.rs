//! A store that forgets everything when it is dropped.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::{
    Append, Arrival, Claim, Indexed, LockHeld, Logged, NewRun, RunSummary, Standing, Store,
    StoreError, conflicts,
};
use crate::journal::leaf::{Leaf, NOTHING, link};
use crate::journal::{Actor, Record, RunStatus};

/// See the module.
#[derive(Debug, Default)]
pub struct MemoryStore {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    runs: BTreeMap<String, Run>,
    /// Runs by lock.
    locks: BTreeMap<String, String>,
    /// Run and entry of each leaf; what it says is worked out when somebody asks.
    log: Vec<(Arc<str>, usize)>,
}

#[derive(Debug)]
struct Run {
    new: NewRun,
    opened_at: Timestamp,
    closed: Option<(RunStatus, Timestamp)>,
    token: u64,
    holder: Actor,
    expires_at: Option<Timestamp>,
    exported: bool,
    records: Vec<Record>,
}

impl Run {
    fn summary(&self, now: Timestamp) -> RunSummary {
        let standing = match (&self.closed, self.expires_at) {
            (Some((status, _)), _) => Standing::Closed(*status),
            (None, _) if self.exported => Standing::Exported,
            (None, Some(until)) if until > now => Standing::Running,
            (None, _) => Standing::Abandoned,
        };
        RunSummary {
            run: self.new.run.clone(),
            runbook: self.new.runbook.clone(),
            target: self.new.target.clone(),
            mode: self.new.mode,
            standing,
            opened_at: self.opened_at,
            closed_at: self.closed.as_ref().map(|(_, at)| *at),
            entries: self.records.len() as u64,
            token: self.token,
            holder: self.holder.clone(),
        }
    }
}

impl Inner {
    fn run(&mut self, run: &str) -> Result<&mut Run, StoreError> {
        self.runs
            .get_mut(run)
            .ok_or_else(|| StoreError::NoSuchRun(run.to_owned()))
    }

    fn claimed(&mut self, claim: &Claim) -> Result<&mut Run, StoreError> {
        let run = self.run(&claim.run)?;
        if run.token == claim.token {
            Ok(run)
        } else {
            Err(StoreError::Fenced(claim.run.clone()))
        }
    }
}

impl Inner {
    /// Takes the locks of a run, those of runs that are over from them; all or nothing.
    fn take_locks(
        &mut self,
        of: &str,
        wanted: &[String],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        // A run that has ended, or has not begun and will not, has nothing to be gone on with.
        let over = |run: &String| {
            let run = self.runs.get(run);
            run.is_none_or(|run| {
                let expired = run.expires_at.is_none_or(|until| until <= now);
                run.closed.is_some() || (run.records.is_empty() && expired)
            })
        };
        for lock in wanted {
            if let Some((held, run)) = self
                .locks
                .iter()
                .find(|(held, run)| conflicts(held, lock) && !over(run))
            {
                return Err(StoreError::Locked {
                    lock: held.clone(),
                    run: run.clone(),
                });
            }
        }
        let Self { runs, locks, .. } = self;
        locks.retain(|held, run| {
            let taken = wanted.iter().any(|lock| conflicts(held, lock));
            if let (true, Some(loser)) = (taken, runs.get_mut(run)) {
                loser.token += 1;
            }
            !taken
        });
        let taken = wanted.iter().map(|lock| (lock.clone(), of.to_owned()));
        locks.extend(taken);
        Ok(())
    }

    fn open(
        &mut self,
        new: &NewRun,
        now: Timestamp,
        expires_at: Option<Timestamp>,
    ) -> Result<Claim, StoreError> {
        if self.runs.contains_key(&new.run) {
            return Err(StoreError::Exists(new.run.clone()));
        }
        self.take_locks(&new.run, &new.locks, now)?;
        let run = Run {
            new: new.clone(),
            opened_at: now,
            closed: None,
            token: 1,
            holder: new.holder.clone(),
            expires_at,
            exported: false,
            records: Vec::new(),
        };
        self.runs.insert(new.run.clone(), run);
        Ok(Claim {
            run: new.run.clone(),
            token: 1,
        })
    }

    /// A run that may be taken from whoever has it.
    fn free(
        &mut self,
        run: &str,
        now: Timestamp,
        gone: Option<u64>,
    ) -> Result<&mut Run, StoreError> {
        let found = self.run(run)?;
        if found.exported {
            return Err(StoreError::Exported(run.to_owned()));
        }
        if gone != Some(found.token) && found.expires_at.is_some_and(|until| until > now) {
            return Err(StoreError::Held(run.to_owned()));
        }
        Ok(found)
    }

    fn append(&mut self, append: &Append<'_>) -> Result<(), StoreError> {
        let run = self.claimed(append.claim)?;
        if append
            .records
            .first()
            .is_some_and(|r| r.sequence != run.records.len() as u64)
        {
            return Err(StoreError::Fenced(append.claim.run.clone()));
        }
        let first = run.records.len();
        if let (0, Some(record)) = (first, append.records.first()) {
            run.opened_at = record.at;
        }
        run.records.extend_from_slice(append.records);
        let count = run.records.len();
        if let (Some(status), Some(last)) = (append.closing, append.records.last()) {
            run.closed = Some((status, last.at));
        }
        let name: Arc<str> = append.claim.run.as_str().into();
        self.log
            .extend((first..count).map(|sequence| (name.clone(), sequence)));
        Ok(())
    }
}

impl Inner {
    fn logged(&self) -> Vec<Logged> {
        let mut chains: BTreeMap<&str, String> = BTreeMap::new();
        let mut all = Vec::new();
        for (run, sequence) in &self.log {
            let record = self
                .runs
                .get(&**run)
                .and_then(|found| found.records.get(*sequence));
            let Some(record) = record else { continue };
            let chain = chains.entry(run).or_insert_with(|| NOTHING.to_owned());
            let leaf = Leaf::of(run, record, chain).text();
            *chain = link(&leaf);
            all.push(Logged {
                index: all.len() as u64,
                leaf,
                run: run.to_string(),
                record: record.clone(),
            });
        }
        all
    }
}

impl MemoryStore {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn open(
        &self,
        new: &NewRun,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<Claim, StoreError> {
        self.lock().open(new, now, Some(expires_at))
    }

    fn claim(
        &self,
        run: &str,
        holder: &Actor,
        now: Timestamp,
        expires_at: Timestamp,
        gone: Option<u64>,
    ) -> Result<Claim, StoreError> {
        let mut inner = self.lock();
        let found = inner.free(run, now, gone)?;
        found.token += 1;
        found.holder = holder.clone();
        found.expires_at = Some(expires_at);
        Ok(Claim {
            run: run.to_owned(),
            token: found.token,
        })
    }

    fn beat(&self, claim: &Claim, expires_at: Timestamp) -> Result<(), StoreError> {
        let mut inner = self.lock();
        inner.claimed(claim)?.expires_at = Some(expires_at);
        Ok(())
    }

    fn append(&self, append: &Append<'_>) -> Result<(), StoreError> {
        self.lock().append(append)
    }

    fn abandon(&self, claim: &Claim) -> Result<(), StoreError> {
        self.lock().claimed(claim)?.expires_at = None;
        Ok(())
    }

    fn release(&self, claim: &Claim) -> Result<(), StoreError> {
        let mut inner = self.lock();
        inner.claimed(claim)?.expires_at = None;
        inner.locks.retain(|_, run| *run != claim.run);
        Ok(())
    }

    fn take_in(&self, arrival: &Arrival<'_>, now: Timestamp) -> Result<(), StoreError> {
        let mut inner = self.lock();
        if arrival.records.first().is_some_and(|r| r.sequence != 0) {
            return Err(StoreError::Fenced(arrival.new.run.clone()));
        }
        let claim = inner.open(arrival.new, now, None)?;
        inner.append(&Append {
            claim: &claim,
            records: arrival.records,
            closing: arrival.closing,
        })
    }

    fn export(&self, run: &str, now: Timestamp, gone: Option<u64>) -> Result<(), StoreError> {
        let mut inner = self.lock();
        let found = inner.free(run, now, gone)?;
        if found.closed.is_none() {
            found.token += 1;
            (found.expires_at, found.exported) = (None, true);
            inner.locks.retain(|_, holder| holder != run);
        }
        Ok(())
    }

    fn reopen(&self, run: &str, locks: &[String], now: Timestamp) -> Result<(), StoreError> {
        let mut inner = self.lock();
        if inner.run(run)?.exported {
            inner.take_locks(run, locks, now)?;
            inner.run(run)?.exported = false;
        }
        Ok(())
    }

    fn leaf_count(&self) -> Result<u64, StoreError> {
        Ok(self.lock().log.len() as u64)
    }

    fn entry_count(&self) -> Result<u64, StoreError> {
        let inner = self.lock();
        Ok(inner
            .runs
            .values()
            .map(|run| run.records.len() as u64)
            .sum())
    }

    fn leaves(&self, first: u64, max: usize) -> Result<Vec<String>, StoreError> {
        let logged = self.logged(first, max)?;
        Ok(logged.into_iter().map(|logged| logged.leaf).collect())
    }

    fn leaves_of(&self, run: &str) -> Result<Vec<(u64, String)>, StoreError> {
        let mut inner = self.lock();
        inner.run(run)?;
        let all = inner.logged().into_iter();
        let of = all.filter(|logged| logged.run == run);
        Ok(of.map(|logged| (logged.index, logged.leaf)).collect())
    }

    fn logged(&self, first: u64, max: usize) -> Result<Vec<Logged>, StoreError> {
        let first = usize::try_from(first).unwrap_or(usize::MAX);
        let all = self.lock().logged().into_iter();
        Ok(all.skip(first).take(max).collect())
    }

    fn read(&self, run: &str, first: u64, max: usize) -> Result<Vec<Record>, StoreError> {
        let mut inner = self.lock();
        let first = usize::try_from(first).unwrap_or(usize::MAX);
        Ok(inner
            .run(run)?
            .records
            .iter()
            .skip(first)
            .take(max)
            .cloned()
            .collect())
    }

    fn runs(&self, now: Timestamp, max: usize) -> Result<Vec<RunSummary>, StoreError> {
        let mut all: Vec<_> = self
            .lock()
            .runs
            .values()
            .filter(|run| !run.records.is_empty())
            .map(|run| run.summary(now))
            .collect();
        all.sort_by(|a, b| (b.opened_at, &b.run).cmp(&(a.opened_at, &a.run)));
        all.truncate(max);
        Ok(all)
    }

    fn run(&self, run: &str, now: Timestamp) -> Result<RunSummary, StoreError> {
        Ok(self.lock().run(run)?.summary(now))
    }

    fn index(&self) -> Result<Vec<Indexed>, StoreError> {
        let inner = self.lock();
        let logged = inner.logged();
        let chain = |run: &str| {
            let last = logged.iter().rfind(|logged| logged.run == run);
            last.map_or_else(|| NOTHING.to_owned(), |last| link(&last.leaf))
        };
        let all = inner.runs.values().map(|run| Indexed {
            summary: run.summary(Timestamp::MIN),
            chain: chain(&run.new.run),
        });
        Ok(all.collect())
    }

    fn locks(&self) -> Result<Vec<LockHeld>, StoreError> {
        let inner = self.lock();
        let all = inner.locks.iter().map(|(name, run)| LockHeld {
            name: name.clone(),
            run: run.clone(),
        });
        Ok(all.collect())
    }
}
