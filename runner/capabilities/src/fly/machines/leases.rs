//! The leases that a run holds: taken one Machine at a time, refreshed while a step works on it,
//! released when the step ends however it ends. The nonces stay here; no plugin and no journal
//! sees them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use groundcrew::service::trouble::Trouble;
use groundcrew::{Clock, EffectId, Failure, after};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::fly::world::api::{Api, At};

/// How long a lease lasts if we vanish: short, so that nobody waits long for a dead run.
pub(super) const TTL: Duration = Duration::from_secs(60);

/// Refreshed this often: two refreshes may fail before a lease is lost.
const REFRESH: Duration = Duration::from_secs(20);

/// A run holds at most so many leases at once: who holds everything stops everybody. Our own bound:
/// the largest fleet that our benches restart.
pub(super) const MOST: usize = 5000;

/// Starts the description of every lease of ours, before the run's id.
const DESCRIPTION: &str = "groundcrew run ";

type Key = (String, String);

#[derive(Debug, Clone)]
struct Held {
    nonce: String,
    effect: EffectId,
    refresh_at: Timestamp,
}

/// See the module.
pub(super) struct Leases {
    api: Arc<dyn Api>,
    clock: Arc<dyn Clock>,
    run: Arc<str>,
    held: Mutex<HashMap<Key, Held>>,
    /// Stops the refreshing when the run is over.
    over: CancellationToken,
}

impl Drop for Leases {
    fn drop(&mut self) {
        self.over.cancel();
    }
}

fn description(run: &str, step: &str) -> String {
    format!("{DESCRIPTION}{run} step {step}")
}

fn ours(description: &str, run: &str) -> bool {
    description
        .strip_prefix(DESCRIPTION)
        .and_then(|rest| rest.split(' ').next())
        == Some(run)
}

impl Leases {
    pub(super) fn new(api: Arc<dyn Api>, clock: Arc<dyn Clock>, run: Arc<str>) -> Arc<Self> {
        let leases = Arc::new(Self {
            api,
            clock: clock.clone(),
            run,
            held: Mutex::default(),
            over: CancellationToken::new(),
        });
        // In a rehearsal the leases are the model's, and outlast it.
        if clock.as_virtual().is_none() {
            let (weak, over) = (Arc::downgrade(&leases), leases.over.clone());
            tokio::spawn(async move {
                loop {
                    tokio::select! {
                        () = over.cancelled() => return,
                        () = clock.sleep(REFRESH / 4) => {}
                    }
                    let Some(leases) = weak.upgrade() else { return };
                    leases.refresh_due().await;
                }
            });
        }
        leases
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn nonce(&self, at: At<'_>) -> Option<String> {
        self.lock()
            .get(&(at.app.text().to_owned(), at.id.text().to_owned()))
            .map(|held| held.nonce.clone())
    }

    fn keep(&self, at: At<'_>, nonce: String) {
        let refresh_at = after(self.clock.now(), REFRESH);
        let held = Held {
            nonce,
            effect: at.effect.clone(),
            refresh_at,
        };
        self.lock()
            .insert((at.app.text().to_owned(), at.id.text().to_owned()), held);
    }

    /// Releases a Machine's lease if it belongs to the run; false if it does not.
    pub(super) async fn release_if_ours(&self, at: At<'_>) -> Result<bool, Failure> {
        let held = self.api.held_lease(at).await.map_err(|t| t.failure)?;
        match held {
            Some(lease) if ours(&lease.description, &self.run) => {
                let released = self.api.release(at, &lease.nonce).await;
                released.map(|()| true).map_err(|t| t.failure)
            }
            Some(_) | None => Ok(false),
        }
    }

    /// Sends one request for the lease.
    pub(super) async fn acquire(&self, at: At<'_>) -> Result<(), Trouble> {
        if self.nonce(at).is_none() && self.lock().len() >= MOST {
            let text = format!("the run holds {MOST} leases already, which is the most");
            return Err(Trouble::refused(Failure::Denied(text)));
        }
        let lease = self
            .api
            .lease(at, TTL, &description(&self.run, &at.effect.step), None)
            .await?;
        self.keep(at, lease.nonce);
        Ok(())
    }

    /// After a conflict or an answer that never came: the lease may be ours all the same. True if
    /// it is; otherwise who holds it, if anyone.
    pub(super) async fn look(&self, at: At<'_>) -> Result<Result<(), Option<String>>, Trouble> {
        Ok(match self.api.held_lease(at).await? {
            Some(lease) if ours(&lease.description, &self.run) => {
                self.keep(at, lease.nonce);
                Ok(())
            }
            Some(lease) => Err(Some(holder(&lease.owner, &lease.description))),
            None => Err(None),
        })
    }

    /// Gives the lease up and takes it anew, so that a request which still carries the old nonce
    /// is refused when it arrives late.
    pub(super) async fn renew(&self, at: At<'_>) -> Result<(), Trouble> {
        if let Some(nonce) = self.nonce(at) {
            self.api.release(at, &nonce).await?;
        }
        self.acquire(at).await
    }

    /// Sends one request to give the lease back.
    pub(super) async fn release(&self, at: At<'_>) -> Result<(), Trouble> {
        let Some(nonce) = self.nonce(at) else {
            return Ok(());
        };
        self.api.release(at, &nonce).await?;
        self.lock()
            .remove(&(at.app.text().to_owned(), at.id.text().to_owned()));
        Ok(())
    }

    /// The Machines whose leases a step still holds.
    pub(super) fn of_step(&self, step: &str) -> Vec<Key> {
        let mut keys: Vec<Key> = self
            .lock()
            .iter()
            .filter(|(_, held)| *held.effect.step == *step)
            .map(|(key, _)| key.clone())
            .collect();
        keys.sort();
        keys
    }

    async fn refresh_due(&self) {
        let now = self.clock.now();
        let due: Vec<(Key, Held)> = self
            .lock()
            .iter()
            .filter(|(_, held)| held.refresh_at <= now)
            .map(|(k, h)| (k.clone(), h.clone()))
            .collect();
        // Sixteen at a time keeps 5,000 leases well within the interval without a stampede.
        for chunk in due.chunks(16) {
            futures_util::future::join_all(chunk.iter().map(|(key, held)| self.refresh(key, held)))
                .await;
        }
    }

    async fn refresh(&self, (app, id): &Key, held: &Held) {
        // What is held was read when it was taken.
        let Ok(at) = At::new(&held.effect, app, id) else {
            return;
        };
        let description = description(&self.run, &held.effect.step);
        match self
            .api
            .lease(at, TTL, &description, Some(&held.nonce))
            .await
        {
            Ok(lease) => {
                let mut all = self.lock();
                // It may have been given back meanwhile.
                if let Some(found) = all.get_mut(&(app.clone(), id.clone()))
                    && found.nonce == held.nonce
                {
                    found.nonce = lease.nonce;
                    found.refresh_at = after(self.clock.now(), REFRESH);
                }
            }
            // The next round tries again; a write with a lost lease is refused by Fly.
            Err(trouble) => tracing::debug!(
                "the lease of {app}/{id} is not refreshed: {}",
                trouble.failure
            ),
        }
    }
}

fn holder(owner: &str, description: &str) -> String {
    match (owner, description) {
        ("", "") => "someone".to_owned(),
        (owner, "") => owner.to_owned(),
        ("", description) => format!("“{description}”"),
        (owner, description) => format!("{owner} (“{description}”)"),
    }
}
