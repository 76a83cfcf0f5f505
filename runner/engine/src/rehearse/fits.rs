//! Whether a plan still fits: what it observed is asked again, of a new fork: one listing of each app.
//! Nothing is written.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{ABOUT, original};
use crate::admit::Admitted;
use crate::clock::{Clock, RealClock, after};
use crate::deadline::Deadline;
use crate::effect::Mode;
use crate::engine::{Engine, StartError};
use crate::grant::effective::step_cover;
use crate::plan::{Drift, chosen, compare, misdescribed, projected};
use crate::store::{RunSummary, Standing, StoreError, conflicts};

/// How much the clock of a plan's author may be ahead of the one here.
const SKEW: Duration = Duration::from_secs(300);

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
        let setting = admitted.setting(Mode::Rehearsal, clock, deadline);
        let observed = plan.plan().observed.iter();
        let observed = observed
            .map(|observed| observed.request.capability())
            .collect();
        let executors = self.executors(&setting, &observed)?;
        let rows = self.rows();
        let covers = admitted.covers();
        let (mut drifts, mut shown) = (BTreeMap::new(), BTreeMap::new());
        for (number, observation) in (1..).zip(&plan.plan().observed) {
            let operation = observation.request.operation.as_str();
            let row = rows.get(operation).ok_or_else(|| {
                StartError::Capability(format!("the plan reads `{operation}`, which is not here"))
            })?;
            let request = &observation.request;
            let cover = step_cover(&covers, &observation.step, row);
            let found = original(&executors, &admitted.run, row, request, number, cover).await;
            let found = found.map_err(|e| {
                StartError::Capability(format!("what the plan rests on cannot be read: {e}"))
            })?;
            for drift in compare(observation, &projected(row, &found)) {
                drifts.insert(drift.name(), drift);
            }
            for (on, whole) in found {
                shown.entry(on).or_insert_with(|| chosen(&whole, &ABOUT));
            }
        }
        let misdescribed = |write| misdescribed(write, &shown);
        let mut told: Vec<Drift> = plan.plan().writes.iter().flat_map(misdescribed).collect();
        // A share of fewer is a larger one than people were shown.
        for executor in executors.values() {
            for (app, now) in executor.forked().apps {
                let planned = plan
                    .plan()
                    .apps
                    .get(&app)
                    .map_or(0, |planned| planned.before);
                // What is gone is said of each.
                let within = format!("{app}/");
                let is_gone = |drift: &&Drift| {
                    drift.subject.starts_with(&within)
                        && drift.field.is_empty()
                        && drift.now.is_null()
                };
                let gone = drifts.values().filter(is_gone).count();
                if now.before + gone < planned {
                    told.push(Drift {
                        subject: app,
                        field: "number".to_owned(),
                        planned: planned.into(),
                        now: now.before.into(),
                    });
                }
            }
        }
        for drift in told {
            drifts.entry(drift.name()).or_insert(drift);
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
    if plan.made_at > after(now, SKEW) {
        return Err(StartError::Unmade(plan.made_at));
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
