//! A fork of the fleet: what a rehearsal acts on.
//!
//! The first touch of anything in an app copies that app from the target, by reading; from then on
//! the model answers for it, and the organisation's listing is overlaid with the apps that have
//! been copied. Nothing here ever writes to the target: the only requests that leave are the
//! listings of [`Api::list`] and [`Api::list_organisation`]. A test sends a rehearsal a token that
//! may only read.
//!
//! What the model says is exact for what was read and assumed for how long things take and that
//! checks pass ([`Behaviour::assumed`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use groundcrew::service::retry::Retries;
use groundcrew::service::trouble::Trouble;
use groundcrew::{Clock, Difference, EffectId, Failure, Forked, InService, Population, millis};
use groundcrew_fleet::api::{self, ApiError, ListQuery};
use groundcrew_fleet::{Behaviour, Caller, Fleet, GroupExtremes, Settings, Time};
use serde_json::Value;

use super::api::{Api, At, Everything, Which};
use crate::fly::contract::Machine as Summary;
use crate::fly::names::App;
use crate::fly::refusals::answered;
use crate::fly::world::summary;

pub(crate) struct Fork {
    live: Arc<dyn Api>,
    /// For what is asked of it.
    retries: Retries,
    pub(super) clock: Arc<dyn Clock>,
    model: Mutex<Fleet>,
    /// The apps that have been copied, held while one is.
    pub(super) copied: tokio::sync::Mutex<BTreeSet<String>>,
    /// What was copied, by app and id, and the most Machines that the app has had since.
    originals: Mutex<BTreeMap<String, Original>>,
    /// The first listing of the whole organisation.
    organisation: tokio::sync::Mutex<Option<Everything>>,
}

#[derive(Default)]
struct Original {
    machines: BTreeMap<String, Summary>,
    /// How many of a process group serve.
    serving: BTreeMap<String, u64>,
    peak: usize,
}

impl Original {
    fn in_service(&self, model: &Fleet, app: &str) -> BTreeMap<String, InService> {
        let seen = model.service_extremes(app).unwrap_or_default().groups;
        let of = |(group, at): (String, GroupExtremes)| {
            let in_service = InService {
                before: self.serving.get(&group).copied().unwrap_or(0),
                least: at.least_serving,
                gap_ms: at.longest_gap_ms,
            };
            (group, in_service)
        };
        seen.into_iter().map(of).collect()
    }
}

impl Fork {
    pub(crate) fn new(
        live: Arc<dyn Api>,
        retries: Retries,
        clock: Arc<dyn Clock>,
        seed: u64,
    ) -> Self {
        let settings = Settings {
            seed,
            start: Time::from_millis(millis(clock.now())),
            behaviour: Behaviour::assumed(),
            ..Settings::default()
        };
        Self {
            live,
            retries,
            clock,
            model: Mutex::new(Fleet::new(settings)),
            copied: tokio::sync::Mutex::default(),
            originals: Mutex::default(),
            organisation: tokio::sync::Mutex::default(),
        }
    }

    /// The model, at the present instant.
    pub(super) fn model(&self) -> MutexGuard<'_, Fleet> {
        let mut model = self.model.lock().unwrap_or_else(PoisonError::into_inner);
        model.advance_to(Time::from_millis(millis(self.clock.now())));
        model
    }

    /// Copies an app at its first touch.
    pub(crate) async fn touch(&self, effect: &EffectId, app: &str) -> Result<(), Trouble> {
        let mut copied = self.copied.lock().await;
        if !copied.contains(app) {
            let name = App::read(app).map_err(|e| Trouble::refused(Failure::Invalid(e)))?;
            let machines = Mutex::new(Vec::new());
            let each = |machine| {
                let mut machines = machines.lock().unwrap_or_else(PoisonError::into_inner);
                machines.push(machine);
            };
            let list = || {
                // What an earlier try left.
                machines
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clear();
                self.live.list(effect, name, Which::There, &each)
            };
            self.retries.read_to_end(effect, list).await?;
            let machines = machines
                .into_inner()
                .unwrap_or_else(PoisonError::into_inner);
            let summaries = machines
                .iter()
                .map(|m| (m.id.clone(), summary::machine(app, m)));
            let mut original = Original {
                machines: summaries.collect(),
                peak: machines.len(),
                ..Original::default()
            };
            {
                let mut model = self.model();
                model.adopt(app, machines);
                model.watch_service(app);
                let seen = model.service_extremes(app).unwrap_or_default().groups;
                let serving = seen
                    .into_iter()
                    .map(|(group, at)| (group, at.least_serving));
                original.serving = serving.collect();
            }
            self.originals().insert(app.to_owned(), original);
            copied.insert(app.to_owned());
        }
        Ok(())
    }

    fn originals(&self) -> MutexGuard<'_, BTreeMap<String, Original>> {
        self.originals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The Machines of an app that has been copied, or one of them, as they were then.
    pub(crate) fn original(&self, app: &str, id: Option<&str>) -> Vec<Summary> {
        let originals = self.originals();
        let Some(original) = originals.get(app) else {
            return Vec::new();
        };
        match id {
            Some(id) => original.machines.get(id).cloned().into_iter().collect(),
            None => original.machines.values().cloned().collect(),
        }
    }

    /// The organisation as it was when it was first listed.
    pub(crate) async fn organisation(&self, effect: &EffectId) -> Result<Everything, Trouble> {
        let mut kept = self.organisation.lock().await;
        if let Some(everything) = &*kept {
            return Ok(everything.clone());
        }
        let list = || self.live.list_organisation(effect);
        let everything = self.retries.read_to_end(effect, list).await?;
        *kept = Some(everything.clone());
        Ok(everything)
    }

    /// What has become of the apps that were copied.
    pub(crate) fn forked(&self) -> Forked {
        let mut forked = Forked::default();
        let model = self.model();
        for (app, original) in &*self.originals() {
            let now: BTreeMap<String, Summary> = model
                .list(app, &ListQuery::default())
                .unwrap_or_default()
                .iter()
                .map(|machine| (machine.id.clone(), summary::machine(app, machine)))
                .collect();
            let population = Population {
                before: original.machines.len(),
                peak: original.peak.max(now.len()),
                after: now.len(),
                service: original.in_service(&model, app),
            };
            forked.apps.insert(app.clone(), population);
            let ids: BTreeSet<&String> = original.machines.keys().chain(now.keys()).collect();
            for id in ids {
                let subject = format!("{app}/{id}");
                let (before, after) = (original.machines.get(id), now.get(id));
                forked.changes.extend(changes(&subject, before, after));
            }
        }
        forked
    }

    pub(super) async fn on<T>(
        &self,
        at: At<'_>,
        nonce: Option<&str>,
        act: impl FnOnce(&mut Fleet, &Caller<'_>) -> Result<T, ApiError> + Send,
    ) -> Result<T, Trouble> {
        self.within(at.effect, at.app.text(), nonce, act).await
    }

    /// Acts on an app of the model, which is copied before.
    pub(crate) async fn in_app<T>(
        &self,
        effect: &EffectId,
        app: &str,
        act: impl FnOnce(&mut Fleet, &Caller<'_>) -> Result<T, ApiError> + Send,
    ) -> Result<T, Trouble> {
        self.within(effect, app, None, act).await
    }

    async fn within<T>(
        &self,
        effect: &EffectId,
        app: &str,
        nonce: Option<&str>,
        act: impl FnOnce(&mut Fleet, &Caller<'_>) -> Result<T, ApiError> + Send,
    ) -> Result<T, Trouble> {
        self.touch(effect, app).await?;
        let effect = effect.to_string();
        let caller = Caller {
            nonce,
            effect: Some(&effect),
            owner: "groundcrew rehearsal",
        };
        act(&mut self.model(), &caller).map_err(|e| refused(&e))
    }

    /// What has become of an app that was copied, none if it was deleted; none at all of another.
    pub(crate) async fn of_app(&self, app: &str) -> Option<Option<api::App>> {
        let copied = self.copied.lock().await.contains(app);
        copied.then(|| self.model().get_app(app).ok())
    }

    /// How many Machines more than at first a region has, of all apps that were copied.
    pub(crate) fn more_in(&self, region: &str) -> i64 {
        let model = self.model();
        let mut more = 0;
        for (app, original) in &*self.originals() {
            let before = original.machines.values().filter(|m| m.region == region);
            let now = model.list(app, &ListQuery::default()).unwrap_or_default();
            // What is on its way out takes no room of anybody's.
            let gone = |state: &str| matches!(state, "destroying" | "destroyed");
            let now = now.iter().filter(|m| m.region == region && !gone(&m.state));
            more += now.count() as i64 - before.count() as i64;
        }
        more
    }

    /// After something that may have made a Machine.
    pub(super) fn count(&self, app: &str) {
        let machines = self.model().machine_count(app);
        if let Some(original) = self.originals().get_mut(app) {
            original.peak = original.peak.max(machines);
        }
    }
}

/// What is not there to stay, or is only a sign of what was done.
const PASSING: [&str; 6] = [
    "checks",
    "lease_owner",
    "created_at",
    "updated_at",
    "restarts",
    "out_of_memory_kills",
];

fn changes(subject: &str, before: Option<&Summary>, after: Option<&Summary>) -> Vec<Difference> {
    let shown = |machine: Option<&Summary>| {
        machine
            .and_then(|machine| serde_json::to_value(machine).ok())
            .unwrap_or_default()
    };
    let change = |field: &str, before: Value, after: Value| Difference {
        subject: subject.to_owned(),
        field: field.to_owned(),
        before,
        after,
    };
    let (before, after) = (shown(before), shown(after));
    let (Some(was), Some(is)) = (before.as_object(), after.as_object()) else {
        return vec![change("", before, after)];
    };
    was.iter()
        .filter(|(field, value)| {
            !PASSING.contains(&field.as_str()) && is.get(*field) != Some(value)
        })
        .map(|(field, value)| {
            let now = is.get(field).cloned().unwrap_or_default();
            change(field, value.clone(), now)
        })
        .collect()
}

/// The model never fails to answer: what it refuses, Fly would refuse.
pub(super) fn refused(e: &ApiError) -> Trouble {
    Trouble {
        may_have_happened: false,
        ..answered(e.status, &e.body)
    }
}
