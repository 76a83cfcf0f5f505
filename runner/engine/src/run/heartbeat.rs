//! Showing that a run is alive, through everything that may be slow: its steps, and before them the
//! looking at the target that a resume or a cancel begins with.

use std::sync::Arc;

use crate::clock::after;
use crate::deadline::{CLAIM, Deadline, HEARTBEAT};
use crate::engine::Engine;
use crate::store::{Claim, JournalError, StoreError};

/// Does what may be slow for a claimed run.
///
/// # Errors
/// The run has been taken over meanwhile.
pub(super) async fn while_alive<T>(
    engine: &Arc<Engine>,
    claim: &Claim,
    deadline: &Deadline,
    work: impl Future<Output = T>,
) -> Result<T, JournalError> {
    tokio::select! {
        biased;
        fenced = heartbeat(engine, claim, deadline) => {
            // From here on nothing is sent, whatever is still under way.
            deadline.pass();
            Err(fenced)
        }
        done = work => Ok(done),
    }
}

/// Shows that the run is alive; returns when it has been taken over: nothing can be written down
/// any more, whether the run had something to write or not.
pub(super) async fn heartbeat(
    engine: &Arc<Engine>,
    claim: &Claim,
    deadline: &Deadline,
) -> JournalError {
    loop {
        engine.wall.sleep(HEARTBEAT).await;
        let began = deadline.beginning();
        let (engine, claim) = (engine.clone(), claim.clone());
        let beat = tokio::task::spawn_blocking(move || {
            engine.store.beat(&claim, after(engine.wall.now(), CLAIM))
        })
        .await;
        match beat {
            Ok(Err(e @ StoreError::Fenced(_))) => return JournalError(Arc::new(e)),
            Ok(Err(e)) => tracing::warn!("the run could not show that it is alive: {e}"),
            Ok(Ok(())) => deadline.extend(began),
            Err(_) => {}
        }
    }
}
