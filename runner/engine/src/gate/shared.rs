//! What all gates of a run share: its journal, executors, interrupt and writes; and why it halts.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use groundcrew_faults::Faults;
use jiff::Timestamp;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::clock::{Busy, Clock};
use crate::effect::fault::OperationFault;
use crate::effect::{Executor, Request, Row};
use crate::gate::past::Diverged;
use crate::gate::radius::Radius;
use crate::gate::writes::Writes;
use crate::grant::effective::StepCovers;
use crate::journal::{StepEnded, StepState};
use crate::store::{JournalError, StoreError, Writer};

/// Why a run cannot go on: its journal cannot be written, or does not tell what its plugins do.
#[derive(Debug, Clone, Error)]
pub enum Halt {
    /// Nothing more can be written down.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A plugin does not repeat what it did before.
    #[error(transparent)]
    Diverged(#[from] Diverged),
}

impl Halt {
    /// Whether another process has taken the run over, and goes on with it or has ended it.
    pub fn taken_over(&self) -> bool {
        matches!(self, Self::Journal(e) if matches!(*e.0, StoreError::Fenced(_)))
    }
}

/// What all steps of a run share.
pub(crate) struct RunShared {
    pub(crate) id: Arc<str>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) journal: Writer,
    /// By capability. Which world they act on was decided when they were made.
    pub(crate) executors: HashMap<&'static str, Arc<dyn Executor>>,
    /// No more forward writes; waits end early; cleaning up goes on.
    pub(crate) interrupt: CancellationToken,
    /// The operations table.
    pub(crate) rows: HashMap<&'static str, &'static Row>,
    /// What the run has written, and may still write.
    pub(crate) writes: Mutex<Writes>,
    /// What it has written to.
    pub(crate) radius: Mutex<Radius>,
    /// What of an answer each step may see.
    pub(crate) covers: StepCovers,
    /// What goes wrong in a rehearsal that was asked to.
    pub(crate) faults: Mutex<Faults<OperationFault>>,
    /// What an earlier process did, by step; empty for a run that begins.
    pub(crate) past: Mutex<BTreeMap<String, StepState>>,
    /// When that process wrote down its last entry.
    pub(crate) resumed_from: Timestamp,
    /// Steps only repeat their past: nothing is performed, whatever they ask for.
    pub(crate) repeats_only: bool,
}

impl RunShared {
    /// Whether an earlier process began a step, or skipped it.
    pub(crate) fn has_past(&self, step: &str) -> bool {
        let past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        past.contains_key(step)
    }

    /// How an earlier process skipped a step; none if it ran it.
    pub(crate) fn skipped_before(&self, step: &str) -> Option<StepEnded> {
        let past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        let step = past.get(step)?;
        step.ended.clone().filter(|_| step.began.is_none())
    }

    /// What an earlier process did in a step. Taken once.
    pub(crate) fn past(&self, step: &str) -> Option<StepState> {
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        past.remove(step)
    }

    /// What the run has written, and may still write.
    pub(crate) fn writes(&self) -> MutexGuard<'_, Writes> {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the run has written to.
    pub(crate) fn radius(&self) -> MutexGuard<'_, Radius> {
        self.radius.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How an operation is to go wrong, if it is.
    pub(crate) fn fault(&self, request: &Request) -> Option<OperationFault> {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let app = request.app.as_deref().unwrap_or_default();
        let subject = request.subject.as_deref().unwrap_or_default();
        faults.decide(request.row.name, app, subject)
    }

    /// Holds a virtual clock in place; nothing otherwise.
    pub(crate) fn busy(&self) -> Option<Busy> {
        self.clock
            .as_virtual()
            .map(crate::clock::VirtualClock::busy)
    }
}
