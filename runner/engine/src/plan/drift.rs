//! Drift: what has changed on the target since a plan was made, in the fields that count.
//!
//! What the plan observed is asked again, of a new fork: one listing of each app. Nothing is written.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::admit::Admitted;
use crate::clock::{Clock, RealClock};
use crate::deadline::Deadline;
use crate::engine::{Engine, StartError};
use crate::journal::Mode;
use crate::plan::Observation;
use crate::rehearse::{original, projected};
use crate::run;
use crate::store::{RunSummary, Standing, StoreError, conflicts};

/// One field, or one thing as a whole, that is not as it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// `app/id`.
    pub subject: String,
    /// The field; empty if the thing is new in a listing, or gone from it.
    pub field: String,
    /// When the plan was made; null if the thing was not there.
    pub planned: Value,
    /// Now; null if it is not there any more.
    pub now: Value,
}

impl Drift {
    /// What it is accepted by: `app/id.field`, or `app/id`.
    pub fn name(&self) -> String {
        match self.field.as_str() {
            "" => self.subject.clone(),
            field => format!("{}.{field}", self.subject),
        }
    }

    /// Whether one of these names accepts it. The name of a thing accepts all of its fields.
    pub fn accepted(&self, names: &[String]) -> bool {
        names
            .iter()
            .any(|name| *name == self.subject || *name == self.name())
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.field.as_str(), &self.planned) {
            ("", Value::Null) => write!(f, "{} is new", self.subject),
            ("", _) => write!(f, "{} is gone", self.subject),
            (_, planned) => write!(f, "{}: {planned} is now {}", self.name(), self.now),
        }
    }
}

impl Engine {
    /// What has changed on the target since the plan was made that an admitted run applies. By the
    /// name, each once; nothing if it applies none.
    ///
    /// # Errors
    /// If the target cannot be read.
    pub async fn drift(&self, admitted: &Admitted) -> Result<Vec<Drift>, StartError> {
        let Some(plan) = &admitted.request.plan else {
            return Ok(Vec::new());
        };
        let scale = admitted.request.target.time_scale;
        let clock: Arc<dyn Clock> = Arc::new(RealClock::new(self.wall.now(), scale));
        let deadline = Deadline::new(self.wall.clone());
        let executors = run::executors(self, admitted, Mode::Rehearsal, &clock, &deadline)?;
        let rows = self.rows();
        let mut drifts = BTreeMap::new();
        for (number, observation) in (1..).zip(&plan.plan().observed) {
            let operation = observation.request.operation.as_str();
            let row = rows.get(operation).ok_or_else(|| {
                StartError::Capability(format!("the plan reads `{operation}`, which is not here"))
            })?;
            let request = &observation.request;
            let found = original(&executors, &admitted.run, row, request, number).await;
            let found = found.map_err(|e| {
                StartError::Capability(format!("what the plan rests on cannot be read: {e}"))
            })?;
            for drift in compare(observation, &projected(row, &found)) {
                drifts.insert(drift.name(), drift);
            }
        }
        Ok(drifts.into_values().collect())
    }
}

/// Whether the plan that a run applies, if it applies one, can still be applied: in time, and on a
/// target that is as it was but for what is accepted. Gives the names of that.
pub(crate) async fn fits(engine: &Engine, admitted: &Admitted) -> Result<Vec<String>, StartError> {
    let Some(signed) = &admitted.request.plan else {
        return Ok(Vec::new());
    };
    let (plan, now) = (signed.plan(), engine.wall.now());
    if plan.expires_at <= now {
        return Err(StartError::Expired(plan.expires_at));
    }
    // Said before the fleet is looked at: it has changed since, by that very run.
    if engine.store.run(&plan.run, now).is_ok() {
        return Err(StartError::Applied(plan.run.clone()));
    }
    // Whoever works there now changes it: that is no drift to be accepted.
    for held in engine.store.locks()? {
        let wanted = admitted
            .locks
            .iter()
            .any(|lock| conflicts(&held.name, lock));
        let ended = |run: RunSummary| matches!(run.standing, Standing::Closed(_));
        if wanted && !engine.store.run(&held.run, now).is_ok_and(ended) {
            let (lock, run) = (held.name, held.run);
            return Err(StoreError::Locked { lock, run }.into());
        }
    }
    let drifts = engine.drift(admitted).await?;
    let accepted = |drift: &Drift| drift.accepted(&admitted.request.accepted_drift);
    if drifts.iter().all(accepted) {
        return Ok(drifts.iter().map(Drift::name).collect());
    }
    Err(StartError::Drifted(drifts))
}

/// Everything that differs.
fn compare(observation: &Observation, now: &BTreeMap<String, Map<String, Value>>) -> Vec<Drift> {
    let drift = |subject: &str, field: &str, planned: Value, now: Value| Drift {
        subject: subject.to_owned(),
        field: field.to_owned(),
        planned,
        now,
    };
    let whole = |fields: &Map<String, Value>| Value::Object(fields.clone());
    let mut drifts = Vec::new();
    for (subject, planned) in &observation.found {
        let Some(found) = now.get(subject) else {
            drifts.push(drift(subject, "", whole(planned), Value::Null));
            continue;
        };
        for (field, value) in planned {
            let found = found.get(field).cloned().unwrap_or_default();
            if *value != found {
                drifts.push(drift(subject, field, value.clone(), found));
            }
        }
    }
    for (subject, found) in now {
        if !observation.found.contains_key(subject) {
            drifts.push(drift(subject, "", Value::Null, whole(found)));
        }
    }
    drifts
}
