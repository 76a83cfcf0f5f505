//! The model: apps, their Machines, and time.
//!
//! Here is what all share: the schedule, events, logs and ids. What can be asked is in `commands`,
//! `process` and `making` (Machines), `leases`, `apps`, `releases`, `capacity` and `reads`; how time
//! passes and what then happens in `platform`; what only a test does or asks in `mishaps`, `predict`
//! and `watch`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;

use groundcrew_faults as random;
use serde_json::Value;
use ulid::Ulid;

use crate::api::{self, ApiError, Event};
use crate::behaviour::{Behaviour, Phase};
use crate::holdings::{Secret, Volume};
use crate::log::{Applied, Log, Request};
use crate::machine::{EVENTS_KEPT, Machine, MachineKey, Pending};
use crate::serving::Watch;
use crate::state::State;
use crate::time::Time;

/// What a fleet starts from.
#[derive(Clone, Debug)]
pub struct Settings {
    /// All randomness comes from it.
    pub seed: u64,
    /// The moment at which time begins.
    pub start: Time,
    /// How long things take.
    pub behaviour: Behaviour,
    /// The organisation's name in URLs.
    pub organisation: String,
    /// The codes of the regions that it is made of, the nearest to whoever asks first. Others exist, too
    /// ([`Fleet::regions`]).
    pub regions: Vec<String>,
    /// Whether pages of the organisation's listing hold less than was asked for, as Fly's may.
    pub short_pages: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            seed: 0,
            // 2026-01-01T00:00:00Z, an arbitrary fixed moment: never the machine's clock.
            start: Time::from_millis(1_767_225_600_000),
            behaviour: Behaviour::seeded(),
            organisation: "groundcrew".into(),
            regions: ["fra", "iad", "sin", "syd"].map(str::to_owned).to_vec(),
            short_pages: false,
        }
    }
}

/// Who sends a command, and with what.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller<'a> {
    /// The nonce of the lease that it holds.
    pub nonce: Option<&'a str>,
    /// Its own name of this write, for the applied log.
    pub effect: Option<&'a str>,
    /// Who it is; the owner of leases it takes.
    pub owner: &'a str,
}

#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) name: Arc<str>,
    pub(crate) number: u64,
    pub(crate) machines: BTreeMap<Arc<str>, Machine>,
    pub(crate) names: HashMap<String, Arc<str>>,
    /// Oldest first.
    pub(crate) releases: VecDeque<api::Release>,
    pub(crate) secrets: BTreeMap<String, Secret>,
    pub(crate) secrets_version: u64,
    pub(crate) volumes: BTreeMap<String, Volume>,
    pub(crate) network: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Due {
    pub(crate) at: Time,
    order: u64,
    pub(crate) key: MachineKey,
    pub(crate) what: Falls,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Falls {
    /// The pending transition of this generation.
    Transition(u64),
    /// The host dies, if that is still the Machine's fate.
    HostDeath,
}

/// The model.
#[derive(Clone, Debug)]
pub struct Fleet {
    pub(crate) settings: Settings,
    pub(crate) now: Time,
    pub(crate) apps: BTreeMap<Arc<str>, App>,
    pub(crate) queue: BinaryHeap<Reverse<Due>>,
    pub(crate) order: u64,
    pub(crate) last_ulid: Ulid,
    pub(crate) made: u64,
    pub(crate) released: u64,
    pub(crate) error_regions: Vec<String>,
    /// Of the Machine that is made next, in milliseconds.
    pub(crate) hidden_for: u64,
    pub(crate) capacity: BTreeMap<String, u64>,
    pub(crate) watches: BTreeMap<Arc<str>, Watch>,
    answered: u64,
    changed: Option<Vec<MachineKey>>,
    applied: Log<Applied>,
    requests: Log<Request>,
}

impl Fleet {
    /// An empty fleet.
    pub fn new(settings: Settings) -> Fleet {
        Fleet {
            now: settings.start,
            settings,
            apps: BTreeMap::new(),
            queue: BinaryHeap::new(),
            order: 0,
            last_ulid: Ulid::nil(),
            made: 0,
            released: 0,
            error_regions: Vec::new(),
            hidden_for: 0,
            capacity: BTreeMap::new(),
            watches: BTreeMap::new(),
            answered: 0,
            changed: None,
            applied: Log::default(),
            requests: Log::default(),
        }
    }

    /// The moment it is.
    pub fn now(&self) -> Time {
        self.now
    }

    /// What it was made from.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The writes that were really applied, oldest first.
    pub fn applied(&self) -> &Log<Applied> {
        &self.applied
    }

    /// The requests that arrived, oldest first.
    pub fn requests(&self) -> &Log<Request> {
        &self.requests
    }

    /// Adds a request to the log.
    pub fn record_request(&mut self, request: Request) {
        self.requests.push(request);
    }

    /// An id for the next request, as Fly puts one into every answer.
    pub fn next_request_id(&mut self) -> String {
        self.answered += 1;
        let drawn = random::draw(self.settings.seed, "request", "", self.answered);
        format!(
            "{drawn:016x}-{}",
            self.settings.regions.first().map_or("sim", String::as_str)
        )
    }

    /// From now on keeps which Machines changed, for [`Fleet::take_changed`].
    pub fn track_changes(&mut self) {
        self.changed.get_or_insert_default();
    }

    /// The Machines that changed since the last call; empty unless they are tracked.
    pub fn take_changed(&mut self) -> Vec<MachineKey> {
        self.changed
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// The Machine's key, whether or not it exists.
    pub fn key(&self, app: &str, id: &str) -> MachineKey {
        let found = self
            .apps
            .get(app)
            .and_then(|app| Some((app, app.machines.get(id)?)));
        match found {
            Some((app, machine)) => MachineKey {
                app: app.name.clone(),
                id: machine.id.clone(),
            },
            None => MachineKey {
                app: app.into(),
                id: id.into(),
            },
        }
    }

    pub(crate) fn machine_mut(&mut self, app: &str, id: &str) -> Option<&mut Machine> {
        self.apps.get_mut(app)?.machines.get_mut(id)
    }

    pub(crate) fn take(&self, phase: Phase, id: &str, count: u64) -> u64 {
        self.settings
            .behaviour
            .take(self.settings.seed, phase, id, count)
    }

    pub(crate) fn log_applied(
        &mut self,
        caller: &Caller<'_>,
        command: &'static str,
        app: &str,
        id: &str,
    ) {
        let effect = caller.effect.map(str::to_owned);
        self.applied.push(Applied {
            at: self.now,
            command,
            app: app.into(),
            id: id.into(),
            effect,
        });
    }

    /// An id greater than all before it: event ids and instance ids.
    pub(crate) fn next_ulid(&mut self) -> String {
        let millis = self.now.as_millis();
        let noise = random::draw(self.settings.seed, "ulid", "", self.order) >> 1;
        self.order += 1;
        let fresh = Ulid::from_parts(millis, u128::from(noise) << 8);
        let last = self.last_ulid;
        let next = if fresh > last {
            fresh
        } else {
            last.increment().unwrap_or(last)
        };
        self.last_ulid = next;
        next.to_string()
    }

    pub(crate) fn mark(&mut self, key: MachineKey) {
        self.reckon(&key);
        if let Some(changed) = &mut self.changed {
            changed.push(key);
        }
    }

    pub(crate) fn push_due(&mut self, at: Time, key: MachineKey, what: Falls) {
        self.order += 1;
        self.queue.push(Reverse(Due {
            at,
            order: self.order,
            key,
            what,
        }));
    }

    pub(crate) fn schedule(&mut self, app: &str, id: &str, at: Time, what: Pending) {
        let key = self.key(app, id);
        let Some(machine) = self.machine_mut(app, id) else {
            return;
        };
        machine.generation += 1;
        machine.pending = Some((at, what));
        let generation = machine.generation;
        self.push_due(at, key, Falls::Transition(generation));
    }

    /// Puts a Machine into a state and writes the event. The caller asked [`crate::state::transition`] first.
    pub(crate) fn enter(
        &mut self,
        app: &str,
        id: &str,
        state: State,
        kind: &str,
        source: &str,
        request: Value,
    ) {
        let event_id = self.next_ulid();
        let (now, key) = (self.now, self.key(app, id));
        let Some(machine) = self.machine_mut(app, id) else {
            return;
        };
        if machine.state == State::Started && state != State::Started {
            machine.end_run(now);
        }
        machine.doomed = false;
        machine.state = state;
        machine.updated = now;
        machine.generation += 1;
        machine.pending = None;
        machine.events.push_front(Event {
            id: event_id,
            kind: kind.into(),
            status: state.as_str().into(),
            source: source.into(),
            timestamp: i64::try_from(now.as_millis()).unwrap_or(i64::MAX),
            request,
        });
        machine.events.truncate(EVENTS_KEPT);
        self.mark(key);
    }

    pub(crate) fn app(&self, app: &str) -> Result<&App, ApiError> {
        self.apps
            .get(app)
            .ok_or_else(|| ApiError::new(404, format!("app '{app}' not found")))
    }

    /// A Machine.
    pub(crate) fn there(&self, app: &str, id: &str) -> Result<&Machine, ApiError> {
        let found = self.app(app)?.machines.get(id);
        found.ok_or_else(|| not_found(id))
    }

    /// A Machine that is not gone: of others Fly finds nothing to change.
    pub(crate) fn alive(&self, app: &str, id: &str) -> Result<&Machine, ApiError> {
        let found = self.there(app, id)?;
        match found.state.gone() {
            false => Ok(found),
            true => Err(not_found(id)),
        }
    }

    /// A Machine that `get` and `wait` see by now: of one that was made just now they may not know yet.
    /// (flyctl asks again only there, and only of those that it has just made.)
    pub(crate) fn visible(&self, app: &str, id: &str) -> Result<&Machine, ApiError> {
        let found = self.there(app, id)?;
        match found.visible_from <= self.now {
            true => Ok(found),
            false => Err(not_found(id)),
        }
    }

    /// `get` and `wait` do not know the Machine that is made next for so many milliseconds.
    pub fn hide_next(&mut self, millis: u64) {
        self.hidden_for = millis;
    }
}

fn not_found(id: &str) -> ApiError {
    ApiError::new(404, format!("machine not found: {id}"))
}
