//! Leases: taken, refreshed, read and given back; and the check that every write passes.

use crate::api::{ApiError, Done, Lease, LeaseRequest};
use crate::fleet::{Caller, Fleet};
use crate::machine::{HeldLease, Machine};
use crate::time::Time;
use groundcrew_faults as random;

/// Seconds of a lease whose taker names none. Fly does not document its default.
pub const DEFAULT_LEASE_TTL: u64 = 60;

impl Fleet {
    /// Reads the lease of a Machine, nonce included, as Fly does.
    pub fn lease_get(&self, app: &str, id: &str) -> Result<Lease, ApiError> {
        let machine = self.there(app, id)?;
        machine.lease_view(self.now).ok_or_else(lease_not_found)
    }

    /// Takes a lease, or refreshes it when the caller holds it.
    pub fn lease_acquire(
        &mut self,
        caller: &Caller<'_>,
        app: &str,
        id: &str,
        request: &LeaseRequest,
    ) -> Result<Lease, ApiError> {
        let now = self.now;
        let machine = self.alive(app, id)?;
        self.reachable(machine)?;
        let held = machine.held(now);
        let refreshes = match (held, caller.nonce) {
            (None, Some(_)) => return Err(lease_not_found()),
            (None, None) => false,
            (Some(lease), Some(nonce)) if lease.nonce == nonce => true,
            (Some(lease), Some(_) | None) => return Err(held_by(id, lease)),
        };
        let nonce = match held.filter(|_| refreshes) {
            Some(lease) => lease.nonce.clone(),
            None => self.fresh_nonce(id),
        };
        let expires = now.after(
            request
                .ttl
                .unwrap_or(DEFAULT_LEASE_TTL)
                .saturating_mul(1000),
        );
        let owner = caller.owner.to_owned();
        let description = request.description.clone();
        let Some(machine) = self.machine_mut(app, id) else {
            return Err(lease_not_found());
        };
        let kept = machine.lease.take().filter(|_| refreshes);
        machine.lease = Some(match kept {
            Some(lease) => HeldLease {
                expires,
                description: description.unwrap_or(lease.description),
                ..lease
            },
            None => HeldLease {
                nonce,
                expires,
                owner,
                description: description.unwrap_or_default(),
            },
        });
        let view = machine.lease_view(now).ok_or_else(lease_not_found)?;
        self.log_applied(
            caller,
            if refreshes {
                "machines.lease-refresh"
            } else {
                "machines.lease"
            },
            app,
            id,
        );
        Ok(view)
    }

    /// Gives a lease back.
    pub fn lease_release(
        &mut self,
        caller: &Caller<'_>,
        app: &str,
        id: &str,
    ) -> Result<Done, ApiError> {
        let now = self.now;
        let machine = self.there(app, id)?;
        self.reachable(machine)?;
        let Some(nonce) = caller.nonce else {
            return Err(ApiError::new(
                400,
                "fly-machine-lease-nonce header is required",
            ));
        };
        match machine.held(now) {
            Some(lease) if lease.nonce == nonce => {}
            Some(_) | None => return Err(lease_not_found()),
        }
        if let Some(machine) = self.machine_mut(app, id) {
            machine.lease = None;
        }
        self.log_applied(caller, "machines.release", app, id);
        Ok(Done::default())
    }

    /// What every write asks first: the host answers, and the caller may write.
    pub(crate) fn writable(
        &self,
        caller: &Caller<'_>,
        app: &str,
        id: &str,
    ) -> Result<&Machine, ApiError> {
        let machine = self.there(app, id)?;
        self.reachable(machine)?;
        match (machine.held(self.now), caller.nonce) {
            (None, None) => Ok(machine),
            (Some(lease), Some(nonce)) if lease.nonce == nonce => Ok(machine),
            (Some(lease), Some(_) | None) => Err(held_by(id, lease)),
            // Assumed: an old nonce fences its holder out, whoever holds the lease now.
            (None, Some(_)) => Err(ApiError::new(
                409,
                "lease nonce is not valid: lease not found",
            )),
        }
    }

    /// Commands to a dead host fail with 503 or 408, as the API layer gives up on it.
    pub(crate) fn reachable(&self, machine: &Machine) -> Result<(), ApiError> {
        if !machine.unreachable() {
            return Ok(());
        }
        let drawn = random::draw(
            self.settings.seed,
            "dead-host",
            &machine.id,
            self.now.as_millis(),
        );
        Err(if random::below(drawn, 2) == 0 {
            ApiError::new(503, "unavailable: host is unreachable")
        } else {
            ApiError::new(
                408,
                "deadline_exceeded: timed out talking to the machine's host",
            )
        })
    }

    pub(crate) fn fresh_nonce(&mut self, id: &str) -> String {
        self.order += 1;
        let drawn = random::draw(self.settings.seed, "nonce", id, self.order);
        format!("{:012x}", drawn >> 16)
    }

    /// The lease that a create or update asked for, and its nonce.
    pub(crate) fn lease_with(
        &mut self,
        caller: &Caller<'_>,
        app: &str,
        id: &str,
        ttl: Option<u64>,
    ) -> String {
        let Some(ttl) = ttl.filter(|ttl| *ttl > 0) else {
            return String::new();
        };
        let nonce = self.fresh_nonce(id);
        let expires = self.now.after(ttl.saturating_mul(1000));
        let (owner, now) = (caller.owner.to_owned(), self.now);
        let Some(machine) = self.machine_mut(app, id) else {
            return String::new();
        };
        let nonce = machine.held(now).map_or(nonce, |lease| lease.nonce.clone());
        machine.lease = Some(HeldLease {
            nonce: nonce.clone(),
            expires,
            owner,
            description: String::new(),
        });
        nonce
    }
}

/// Worded as clients have recorded it.
fn held_by(id: &str, lease: &HeldLease) -> ApiError {
    let mut words = format!(
        "aborted: machine ID {id} lease currently held by {}, expires at {}",
        lease.owner,
        Time::rfc3339(lease.expires)
    );
    if !lease.description.is_empty() {
        words = format!("{words} ({})", lease.description);
    }
    ApiError::new(409, words)
}

fn lease_not_found() -> ApiError {
    ApiError::new(404, "lease not found")
}
