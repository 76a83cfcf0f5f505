//! Finding out what became of a write that nobody confirmed: after an ambiguous answer, and when a run
//! is resumed whose process died before it could write the outcome down. Both by the same code.
//!
//! Absence proves nothing by itself: what has been sent may arrive late. So before a restart is
//! taken not to have happened its Machine's lease is taken anew, which refuses whatever still carries
//! the old nonce.

use std::collections::BTreeMap;
use std::time::Duration;

use groundcrew::{Effect, Executor, Failure, Found, GivenUp, Kind, after};
use groundcrew_fleet::api::Event;
use jiff::Timestamp;

use super::commands::{self, Shown};
use super::reach::Executing;
use crate::fly::names::App;
use crate::fly::world::api::At;

/// How long a restart that was not confirmed is looked for before we take its absence for a fact.
/// Longer than Fly holds a request for a host that does not answer.
const LATE: Duration = Duration::from_secs(8);

/// How long a Machine that is stopping is looked at: the longest kill timeout that Fly allows is five
/// minutes. (Documentation)
const STOPPING: Duration = Duration::from_secs(330);

/// When what is sent now would have been seen, if it ever arrives.
pub(super) fn late(now: Timestamp) -> Timestamp {
    after(now, LATE)
}

impl Executing {
    /// What became of a write that was written down `age` ago by the wall.
    pub(super) async fn find_out_later(&self, effect: &Effect, age: Duration) -> Found {
        let row = effect.request.row;
        if row.creates.is_some() {
            return match App::of(&effect.request) {
                Ok(app) => self.find_create(effect, app).await,
                Err(failure) => Found::Unknown(failure.to_string()),
            };
        }
        let at = match At::of(effect) {
            Ok(at) => at,
            Err(failure) => return Found::Unknown(failure.to_string()),
        };
        if row.kind == Kind::Write && !row.housekeeping {
            let passed = self.clock.scale().on_the_clock(age);
            let until = after(self.clock.now(), LATE.saturating_sub(passed));
            return self.found(effect, at, until).await;
        }
        match row.operation() {
            // Taken: it becomes ours again. Not taken: it is asked for again.
            "lease" => match self.read(effect, || self.leases.look(at)).await {
                Ok(Ok(())) => match self.take_anew(effect, at).await {
                    Ok(()) => Found::Happened(self.happened(effect)),
                    Err(_) => Found::DidNot,
                },
                Ok(Err(_)) | Err(_) => Found::DidNot,
            },
            // Given back twice is given back.
            _ => Found::DidNot,
        }
    }

    /// By the rule of the row. `until` is when what has been sent would have been seen, if it ever arrived.
    pub(super) async fn found(&self, effect: &Effect, at: At<'_>, until: Timestamp) -> Found {
        match effect.request.row.operation() {
            "update" | "restore" => return self.find_update(effect, at).await,
            "exec" => return Found::Unknown("a command leaves no trace".to_owned()),
            _ => {}
        }
        let Some(command) = commands::of(effect.request.row) else {
            return Found::Unknown(effect.request.row.in_doubt.to_owned());
        };
        let wanted = match command.shown {
            Shown::States(states) => states,
            Shown::Events => return self.find_restart(effect, at, until).await,
            Shown::Again => return Found::DidNot,
            Shown::Nothing(why) => return Found::Unknown(why.to_owned()),
        };
        match self.get(effect, at).await {
            Ok(machine) if machine.host_status == "unreachable" => {
                Found::Unknown("its host is unreachable".to_owned())
            }
            Ok(machine) if wanted.contains(&machine.state.as_str()) => {
                Found::Happened(self.happened(effect))
            }
            Ok(_) => Found::DidNot,
            Err(Failure::NotFound(_)) if command.gone_is_done => {
                Found::Happened(self.happened(effect))
            }
            Err(failure) => Found::Unknown(format!("its state cannot be read ({failure})")),
        }
    }

    async fn find_restart(&self, effect: &Effect, at: At<'_>, until: Timestamp) -> Found {
        let Some(baseline) = effect
            .baseline
            .as_ref()
            .map(|b| b["event"].as_str().unwrap_or_default().to_owned())
        else {
            return Found::Unknown("its events before the restart are not known".to_owned());
        };
        let patience = after(self.clock.now(), STOPPING);
        let mut sure = false;
        loop {
            match self.get(effect, at).await {
                Ok(machine) if machine.host_status == "unreachable" => {
                    return Found::Unknown("its host is unreachable".to_owned());
                }
                Ok(machine) => {
                    if machine
                        .events
                        .iter()
                        .any(|e| e.id > baseline && restarts(e))
                    {
                        return Found::Happened(self.happened(effect));
                    }
                    // Under way is neither: an exit may take as long as the Machine's own timeout.
                    if ["restarting", "stopping", "starting"].contains(&machine.state.as_str()) {
                        if self.clock.now() >= patience {
                            return Found::Unknown(format!("it is still `{}`", machine.state));
                        }
                        self.clock.sleep(Duration::from_secs(1)).await;
                        continue;
                    }
                    if sure {
                        return Found::DidNot;
                    }
                }
                Err(failure) => {
                    return Found::Unknown(format!("its events cannot be read ({failure})"));
                }
            }
            if self.clock.now() >= until {
                if self.leases.nonce(at).is_none() {
                    return Found::Unknown(
                        "no restart is seen, but without a lease it may still come".to_owned(),
                    );
                }
                // From here on the request that is in doubt carries a nonce that is refused.
                if let Err(failure) = self.take_anew(effect, at).await {
                    return Found::Unknown(format!("the lease cannot be taken anew ({failure})"));
                }
                sure = true;
            } else {
                self.clock.sleep(Duration::from_secs(1)).await;
            }
        }
    }

    /// Gives the lease up, if we have it, and takes it again. Each half may be sent again: what is released twice
    /// is released, and a lease that is ours already carries a new nonce.
    async fn take_anew(&self, effect: &Effect, at: At<'_>) -> Result<(), Failure> {
        self.rates.action(effect, "lease", at.id.text()).await?;
        match self.read(effect, || self.leases.renew(at)).await {
            // Whoever is in the way may be we ourselves, by an earlier try whose answer was lost.
            Err(Failure::Conflict(text)) => {
                match self.read(effect, || self.leases.look(at)).await {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(_)) | Err(_) => Err(Failure::Conflict(text)),
                }
            }
            other => other,
        }
    }

    /// Takes over the leases that an earlier process of this run holds; gives those that it cannot.
    pub(super) async fn adopt_all(&self, done: Vec<Effect>) -> Vec<String> {
        let mut held = BTreeMap::new();
        for effect in done {
            let key = (effect.request.app.clone(), effect.request.subject.clone());
            match effect.request.row.operation() {
                "lease" => held.insert(key, effect),
                "release" => held.remove(&key),
                _ => None,
            };
        }
        let adopted = held.values().map(|effect| self.adopt(effect));
        let adopted = futures_util::future::join_all(adopted).await;
        adopted.into_iter().flatten().collect()
    }

    /// Gives back the leases that a run which is gone may still hold: each is looked at first, and
    /// released only if it is that run's.
    pub(super) async fn give_up(&self, done: Vec<Effect>, perhaps: Vec<Effect>) -> Vec<GivenUp> {
        let mut held = BTreeMap::new();
        let of = |effect: &Effect| (effect.request.app.clone(), effect.request.subject.clone());
        for effect in perhaps {
            if effect.request.row.operation() == "lease" {
                held.insert(of(&effect), effect);
            }
        }
        for effect in done {
            match effect.request.row.operation() {
                "lease" => held.insert(of(&effect), effect),
                _ => held.remove(&of(&effect)),
            };
        }
        let mut all = Vec::new();
        for effect in held.values() {
            let Ok(at) = At::of(effect) else { continue };
            let on = format!("{}/{}", at.app, at.id);
            let outcome = self.leases.release_if_ours(at).await;
            all.push(GivenUp { on, outcome });
        }
        all
    }

    /// Makes a lease of an earlier process of this run ours, with another nonce: what that process
    /// has sent and is still on its way is refused from then on. Says why it is not, if so.
    async fn adopt(&self, effect: &Effect) -> Option<String> {
        let at = At::of(effect).ok()?;
        let look = async {
            self.rates.action(effect, "lease", at.id.text()).await?;
            self.read(effect, || self.leases.look(at)).await
        };
        let taken = match look.await {
            Ok(Ok(()) | Err(None)) => self.take_anew(effect, at).await,
            Ok(Err(Some(holder))) => Err(Failure::Conflict(format!("it is leased by {holder}"))),
            Err(failure) => Err(failure),
        };
        taken.err().map(|failure| {
            format!(
                "Machine {}: its lease is not ours any more: {failure}",
                at.id
            )
        })
    }
}

/// Whether an event can only be there if the Machine was restarted.
fn restarts(event: &Event) -> bool {
    event.kind == "start" || (event.kind == "exit" && event.requested_stop())
}
