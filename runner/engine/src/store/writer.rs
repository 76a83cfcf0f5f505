//! The one writer of a run.
//!
//! A thread owns the end of the journal. Everything is appended in the order in which it is
//! handed over; what is handed over while the disk is busy is committed together with what comes
//! next. [`Writer::commit`] returns when everything up to and including its entries is durable;
//! [`Writer::append`] only takes a place in the order, and becomes durable with the next commit
//! or within [`LINGER`]. Since an effect is performed only after its intent has been committed,
//! nothing can happen in the world whose cause is not on the disk.
//!
//! A write that fails is final: nothing more is accepted, and the run stops. Nothing stands behind
//! the entry that closes a run: what comes too late, such as an interrupt, is not written down.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::oneshot;

use super::{Append, Claim, Store, StoreError};
use crate::clock::Clock;
use crate::journal::{Draft, Observer, Record};

/// How long an entry that nobody waits for may stay in memory.
const LINGER: Duration = Duration::from_millis(100);

/// How many entries may stay in memory that nobody waits for.
const BACKLOG: usize = 2048;

/// The journal could not be written. The run stops at once.
#[derive(Debug, Clone, Error)]
#[error("the journal cannot be written: {0}")]
pub struct JournalError(pub Arc<StoreError>);

/// Hands entries to the journal of one run.
#[derive(Debug, Clone)]
pub struct Writer {
    queue: Sender<Message>,
    failed: Arc<OnceLock<JournalError>>,
}

#[derive(Debug)]
struct Message {
    drafts: Vec<Draft>,
    done: Option<oneshot::Sender<Result<(), JournalError>>>,
}

impl Writer {
    /// Starts the writer of the run that `claim` holds, whose journal has `length` entries.
    pub(crate) fn start(
        store: Arc<dyn Store>,
        claim: Claim,
        length: u64,
        wall: Arc<dyn Clock>,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let (queue, messages) = channel();
        let failed = Arc::new(OnceLock::new());
        let tail = Tail {
            store,
            claim,
            next: length,
            wall,
            observer,
            failed: failed.clone(),
            pending: Vec::new(),
            waiting: Vec::new(),
            closing: None,
        };
        std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || tail.work(&messages))
            .map_or_else(
                |e| {
                    let _ = failed.set(JournalError(Arc::new(StoreError::Broken(format!(
                        "no thread for the journal: {e}"
                    )))));
                },
                drop,
            );
        Self { queue, failed }
    }

    /// Why nothing can be written any more, if so.
    pub fn failure(&self) -> Option<JournalError> {
        self.failed.get().cloned()
    }

    /// Takes a place in the order for entries that nobody waits for.
    pub(crate) fn append(&self, drafts: Vec<Draft>) {
        // If the thread is gone the failure is set, and the next commit says so.
        let _ = self.queue.send(Message { drafts, done: None });
    }

    /// Returns when the entries, and all before them, are durable.
    pub(crate) async fn commit(&self, drafts: Vec<Draft>) -> Result<(), JournalError> {
        if let Some(failure) = self.failure() {
            return Err(failure);
        }
        let (done, answer) = oneshot::channel();
        let gone = || {
            JournalError(Arc::new(StoreError::Broken(
                "the journal's thread has ended".to_owned(),
            )))
        };
        self.queue
            .send(Message {
                drafts,
                done: Some(done),
            })
            .map_err(|_| self.failure().unwrap_or_else(gone))?;
        answer
            .await
            .unwrap_or_else(|_| Err(self.failure().unwrap_or_else(gone)))
    }
}

struct Tail {
    store: Arc<dyn Store>,
    claim: Claim,
    next: u64,
    wall: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
    failed: Arc<OnceLock<JournalError>>,
    pending: Vec<Record>,
    waiting: Vec<oneshot::Sender<Result<(), JournalError>>>,
    /// How the run is closed, once it is.
    closing: Option<crate::journal::RunStatus>,
}

impl Tail {
    fn work(mut self, messages: &Receiver<Message>) {
        loop {
            let first = if self.pending.is_empty() {
                messages.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                messages.recv_timeout(LINGER)
            };
            let ended = matches!(first, Err(RecvTimeoutError::Disconnected));
            let idle = matches!(first, Err(RecvTimeoutError::Timeout));
            if let Ok(message) = first {
                self.take(message);
                while let Ok(more) = messages.try_recv() {
                    self.take(more);
                }
            }
            if (idle || ended || !self.waiting.is_empty() || self.pending.len() >= BACKLOG)
                && self.flush().is_err()
            {
                return;
            }
            if ended {
                return;
            }
        }
    }

    fn take(&mut self, message: Message) {
        let at = self.wall.now();
        for draft in message.drafts {
            if self.closing.is_some() {
                if let Some(done) = message.done {
                    let closed = StoreError::Broken("the run is closed".to_owned());
                    let _ = done.send(Err(JournalError(Arc::new(closed))));
                }
                return;
            }
            self.closing = draft.closing;
            let record = Record {
                sequence: self.next,
                at,
                kind: draft.kind,
                payload: draft.payload.into(),
            };
            self.next += 1;
            self.observer.entry(&self.claim.run, &record);
            self.pending.push(record);
        }
        self.waiting.extend(message.done);
    }

    fn flush(&mut self) -> Result<(), ()> {
        let records = std::mem::take(&mut self.pending);
        let result = if records.is_empty() {
            Ok(())
        } else {
            self.store.append(&Append {
                claim: &self.claim,
                records: &records,
                closing: self.closing,
            })
        };
        let result = result.map_err(|e| JournalError(Arc::new(e)));
        if let Err(failure) = &result {
            let _ = self.failed.set(failure.clone());
        }
        for waiting in self.waiting.drain(..) {
            let _ = waiting.send(result.clone());
        }
        result.map_err(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::RealClock;
    use crate::effect::Mode;
    use crate::journal::Actor;
    use crate::journal::EntryKind;
    use crate::journal::NoteBody;
    use crate::journal::RunClosed;
    use crate::journal::RunStatus;
    use crate::journal::Unobserved;
    use crate::store::MemoryStore;
    use crate::store::NewRun;

    #[tokio::test]
    async fn nothing_stands_behind_the_entry_that_closes_a_run() {
        let store = Arc::new(MemoryStore::default());
        let now = jiff::Timestamp::UNIX_EPOCH;
        let new = NewRun {
            run: "r".to_owned(),
            runbook: "b".to_owned(),
            target: "t".to_owned(),
            mode: Mode::Perform,
            locks: Vec::new(),
            holder: Actor::default(),
        };
        let claim = store.open(&new, now, now).unwrap();
        let wall = Arc::new(RealClock::new(now, crate::scale::Scale::REAL));
        let writer = Writer::start(store.clone(), claim, 0, wall, Arc::new(Unobserved));
        let note = || Draft::note(None, NoteBody::Interrupted);
        let closed = RunClosed {
            status: RunStatus::Succeeded,
            in_doubt: Vec::new(),
            plan: None,
        };
        writer.append(vec![note()]);
        writer.append(vec![Draft::run_closed(&closed)]);
        // Too late, whether it comes with the same batch or after it, is waited for or not.
        writer.append(vec![note()]);
        writer.commit(Vec::new()).await.unwrap();
        writer.append(vec![note()]);
        assert!(writer.commit(vec![note()]).await.is_err());
        writer.commit(Vec::new()).await.unwrap();
        let kinds: Vec<_> = store.read("r", 0, 99).unwrap();
        let kinds: Vec<_> = kinds.iter().map(|record| record.kind).collect();
        assert_eq!(kinds, [EntryKind::Note, EntryKind::RunClosed]);
    }
}
