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
use std::time::Duration;

use groundcrew_fleet::api::{
    self, ApiError, CreateRequest, Event, ExecRequest, ExecResponse, Lease, LeaseRequest,
    ListQuery, Machine, MachineVersion, RestartQuery, SignalRequest, StopRequest, UpdateRequest,
    WaitQuery, WaitResponse,
};
use groundcrew_fleet::{Behaviour, Caller, Fleet, GroupExtremes, Settings, Time};
use serde_json::Value;

use super::api::{Answer, Api, At, Command, Each, Everything};
use super::summary;
use crate::bindings::Failure;
use crate::bindings::machines::{ExecOptions, Machine as Summary};
use crate::capability::Forked;
use crate::clock::{Clock, millis};
use crate::effect::EffectId;
use crate::plan::{Change, InService, Population};
use crate::retry::Retries;
use crate::trouble::{Trouble, answered};

/// Leases in the model last this long: nobody refreshes them.
const LEASE_TTL: Duration = Duration::from_secs(7 * 24 * 3600);

/// How often a wait looks when the model knows of nothing to come.
const LOOK: Duration = Duration::from_secs(5);

pub(crate) struct Fork {
    live: Arc<dyn Api>,
    /// For what is asked of it.
    retries: Retries,
    clock: Arc<dyn Clock>,
    model: Mutex<Fleet>,
    /// The apps that have been copied, held while one is.
    copied: tokio::sync::Mutex<BTreeSet<String>>,
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
    pub(super) fn new(
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
    fn model(&self) -> MutexGuard<'_, Fleet> {
        let mut model = self.model.lock().unwrap_or_else(PoisonError::into_inner);
        model.advance_to(Time::from_millis(millis(self.clock.now())));
        model
    }

    /// Copies an app at its first touch.
    pub(super) async fn touch(&self, effect: &EffectId, app: &str) -> Result<(), Trouble> {
        let mut copied = self.copied.lock().await;
        if !copied.contains(app) {
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
                self.live.list(effect, app, &each)
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
    pub(super) fn original(&self, app: &str, id: Option<&str>) -> Vec<Summary> {
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
    pub(super) async fn organisation(&self, effect: &EffectId) -> Result<Everything, Trouble> {
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
    pub(super) fn forked(&self) -> Forked {
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

    async fn on<T>(
        &self,
        at: At<'_>,
        nonce: Option<&str>,
        act: impl FnOnce(&mut Fleet, &Caller<'_>) -> Result<T, ApiError> + Send,
    ) -> Result<T, Trouble> {
        self.touch(at.effect, at.app).await?;
        let effect = at.effect.to_string();
        let caller = Caller {
            nonce,
            effect: Some(&effect),
            owner: "groundcrew rehearsal",
        };
        act(&mut self.model(), &caller).map_err(|e| refused(&e))
    }

    /// Acts on an app of the model, which has been copied before.
    pub(crate) async fn in_app<T>(
        &self,
        effect: &EffectId,
        app: &str,
        act: impl FnOnce(&mut Fleet, &Caller<'_>) -> Result<T, ApiError> + Send,
    ) -> Result<T, Trouble> {
        self.on(
            At {
                effect,
                app,
                id: "",
            },
            None,
            act,
        )
        .await
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
    fn count(&self, app: &str) {
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

fn changes(subject: &str, before: Option<&Summary>, after: Option<&Summary>) -> Vec<Change> {
    let shown = |machine: Option<&Summary>| {
        machine
            .and_then(|machine| serde_json::to_value(machine).ok())
            .unwrap_or_default()
    };
    let change = |field: &str, before: Value, after: Value| Change {
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
fn refused(e: &ApiError) -> Trouble {
    Trouble {
        may_have_happened: false,
        ..answered(e.status, &e.body)
    }
}

impl Api for Fork {
    fn list<'a>(
        &'a self,
        effect: &'a EffectId,
        app: &'a str,
        each: &'a Each<'a>,
    ) -> Answer<'a, ()> {
        Box::pin(async move {
            self.touch(effect, app).await?;
            let listed = self.model().list(app, &ListQuery::default());
            listed.map_err(|e| refused(&e))?.into_iter().for_each(each);
            Ok(())
        })
    }

    fn list_organisation<'a>(&'a self, effect: &'a EffectId) -> Answer<'a, Everything> {
        Box::pin(async move {
            let mut all = self.organisation(effect).await?;
            let copied = self.copied.lock().await;
            let model = self.model();
            all.machines
                .retain(|machine| !copied.contains(&machine.app_name));
            for app in copied.iter() {
                for machine in model
                    .list(app, &ListQuery::default())
                    .map_err(|e| refused(&e))?
                {
                    all.machines.push(api::OrgMachine {
                        app_name: app.clone(),
                        id: machine.id,
                        name: machine.name,
                        instance_id: machine.instance_id,
                        version: machine.version,
                        private_ip: machine.private_ip,
                        region: machine.region,
                        state: machine.state,
                        created_at: machine.created_at,
                        updated_at: machine.updated_at,
                        config: machine.config,
                    });
                }
            }
            Ok(all)
        })
    }

    fn get<'a>(&'a self, at: At<'a>) -> Answer<'a, Machine> {
        Box::pin(self.on(at, None, move |fleet, _| fleet.get(at.app, at.id)))
    }

    fn events<'a>(&'a self, at: At<'a>, limit: u32) -> Answer<'a, Vec<Event>> {
        Box::pin(self.on(at, None, move |fleet, _| {
            fleet.events(at.app, at.id, Some(limit as usize))
        }))
    }

    fn command<'a>(
        &'a self,
        at: At<'a>,
        command: &'a Command,
        nonce: Option<&'a str>,
    ) -> Answer<'a, ()> {
        let text = |ms: Option<u64>| ms.map(|ms| format!("{ms}ms"));
        let act = self.on(at, nonce, move |fleet, caller| {
            let (app, id) = (at.app, at.id);
            match command {
                Command::Start => fleet.start(caller, app, id).map(drop),
                Command::Suspend => fleet.suspend(caller, app, id).map(drop),
                Command::Cordon => fleet.cordon(caller, app, id).map(drop),
                Command::Uncordon => fleet.uncordon(caller, app, id).map(drop),
                Command::Signal(signal) => fleet
                    .signal(
                        caller,
                        app,
                        id,
                        &SignalRequest {
                            signal: signal.clone(),
                        },
                    )
                    .map(drop),
                Command::Stop(options) => {
                    let request = StopRequest {
                        signal: options.signal.clone(),
                        timeout: text(options.timeout_ms),
                    };
                    fleet.stop(caller, app, id, &request).map(drop)
                }
                Command::Restart(options) => {
                    let query = RestartQuery {
                        force_stop: options.force_stop,
                        timeout: text(options.timeout_ms),
                        signal: options.signal.clone(),
                    };
                    fleet.restart(caller, app, id, &query).map(drop)
                }
                Command::Destroy { force } => fleet.destroy(caller, app, id, *force).map(drop),
                Command::SetMetadata(patch) => fleet.metadata_patch(caller, app, id, patch),
            }
        });
        Box::pin(act)
    }

    fn versions<'a>(&'a self, at: At<'a>) -> Answer<'a, Vec<MachineVersion>> {
        Box::pin(self.on(at, None, move |fleet, _| fleet.versions(at.app, at.id)))
    }

    fn update<'a>(
        &'a self,
        at: At<'a>,
        request: &'a UpdateRequest,
        nonce: Option<&'a str>,
    ) -> Answer<'a, Machine> {
        Box::pin(self.on(at, nonce, move |fleet, caller| {
            fleet.update(caller, at.app, at.id, request)
        }))
    }

    fn create<'a>(
        &'a self,
        effect: &'a EffectId,
        app: &'a str,
        request: &'a CreateRequest,
    ) -> Answer<'a, Machine> {
        let at = At {
            effect,
            app,
            id: "",
        };
        Box::pin(async move {
            let made = self
                .on(at, None, move |fleet, caller| {
                    fleet.create(caller, app, request)
                })
                .await?;
            self.count(app);
            Ok(made)
        })
    }

    fn exec<'a>(&'a self, at: At<'a>, options: &'a ExecOptions) -> Answer<'a, ExecResponse> {
        Box::pin(self.on(at, None, move |fleet, caller| {
            let request = ExecRequest {
                command: options.command.clone(),
                ..ExecRequest::default()
            };
            // Whether it can be run is the model's to say; what it says is assumed.
            fleet.exec(caller, at.app, at.id, &request)?;
            Ok(ExecResponse::default())
        }))
    }

    fn wait<'a>(
        &'a self,
        at: At<'a>,
        query: &'a WaitQuery,
        timeout: Duration,
    ) -> Answer<'a, Option<WaitResponse>> {
        Box::pin(async move {
            self.touch(at.effect, at.app).await?;
            let until = millis(self.clock.now())
                .saturating_add(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
            loop {
                let (answer, next) = {
                    let model = self.model();
                    (
                        model.wait_poll(at.app, at.id, query),
                        model.next_change(at.app, at.id),
                    )
                };
                if let Some(reached) = answer.map_err(|e| refused(&e))? {
                    return Ok(Some(reached));
                }
                let now = millis(self.clock.now());
                if now >= until {
                    return Ok(None);
                }
                let next = next
                    .map_or(until, Time::as_millis)
                    .min(until)
                    .min(now.saturating_add(u64::try_from(LOOK.as_millis()).unwrap_or(u64::MAX)));
                self.clock
                    .sleep(Duration::from_millis(next.saturating_sub(now).max(1)))
                    .await;
            }
        })
    }

    fn lease<'a>(
        &'a self,
        at: At<'a>,
        _ttl: Duration,
        description: &'a str,
        nonce: Option<&'a str>,
    ) -> Answer<'a, Lease> {
        let request = LeaseRequest {
            ttl: Some(LEASE_TTL.as_secs()),
            description: Some(description.to_owned()),
        };
        Box::pin(self.on(at, nonce, move |fleet, caller| {
            fleet.lease_acquire(caller, at.app, at.id, &request)
        }))
    }

    fn held_lease<'a>(&'a self, at: At<'a>) -> Answer<'a, Option<Lease>> {
        Box::pin(async move {
            match self
                .on(at, None, move |fleet, _| fleet.lease_get(at.app, at.id))
                .await
            {
                Ok(lease) => Ok(Some(lease)),
                Err(Trouble {
                    failure: Failure::NotFound(_),
                    ..
                }) => Ok(None),
                Err(trouble) => Err(trouble),
            }
        })
    }

    fn release<'a>(&'a self, at: At<'a>, nonce: &'a str) -> Answer<'a, ()> {
        Box::pin(self.on(at, Some(nonce), move |fleet, caller| {
            fleet.lease_release(caller, at.app, at.id).map(drop)
        }))
    }
}
