//! The model: apps, their Machines, and time.
//!
//! Commands are in `commands`, reads in `reads`, leases in `leases`; here are the parts they
//! share: the schedule, events, and what the platform does when something falls due.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::Arc;

use serde_json::{Value, json};
use ulid::Ulid;

use crate::api::{self, ApiError, Event, ExitEvent, HostStatus, RestartPolicy};
use crate::behaviour::{Behaviour, Fate, Phase, RestartPrediction};
use crate::log::{Applied, Log, Request};
use crate::machine::{EVENTS_KEPT, Machine, Pending};
use crate::random;
use crate::state::{Next, State, Stimulus, transition};
use crate::time::Time;

/// The window of `max_retries`. Fly's restart policy page: 10 in 5 minutes.
const RETRY_WINDOW: u64 = 5 * 60 * 1000;

/// The exit code of a process killed by SIGKILL, as the kernel's out-of-memory killer does.
const KILLED: i32 = 137;

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
    /// Region codes that exist.
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

/// A Machine by its app and id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MachineKey {
    /// The app's name.
    pub app: Arc<str>,
    /// The Machine's id.
    pub id: Arc<str>,
}

#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) name: Arc<str>,
    pub(crate) number: u64,
    pub(crate) machines: BTreeMap<Arc<str>, Machine>,
    pub(crate) names: HashMap<String, Arc<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Due {
    pub(crate) at: Time,
    order: u64,
    key: MachineKey,
    what: Falls,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Falls {
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
    pub(crate) error_regions: Vec<String>,
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
            error_regions: Vec::new(),
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

    /// The moment of the next transition, if any is scheduled. A stale entry may name a moment at
    /// which nothing changes.
    pub fn next_due(&self) -> Option<Time> {
        self.queue.peek().map(|Reverse(due)| due.at)
    }

    /// The moment at which anything of this Machine next changes: its state, or a check's result.
    pub fn next_change(&self, app: &str, id: &str) -> Option<Time> {
        let machine = self.apps.get(app)?.machines.get(id)?;
        let pending = machine
            .pending
            .map(|(at, _)| at)
            .filter(|_| !machine.unreachable());
        [pending, machine.next_result(self.now)]
            .into_iter()
            .flatten()
            .min()
    }

    /// Moves time to `to` (never back), doing everything that falls due on the way, in order.
    pub fn advance_to(&mut self, to: Time) {
        while self.next_due().is_some_and(|at| at <= to) {
            let Some(Reverse(due)) = self.queue.pop() else {
                break;
            };
            self.now = self.now.max(due.at);
            self.fall_due(&due);
        }
        self.now = self.now.max(to);
    }

    /// Makes an app; one that exists is left alone.
    pub fn create_app(&mut self, name: &str) {
        let number = self.apps.len() as u64 + 1;
        let name: Arc<str> = name.into();
        let fresh = || App {
            name: name.clone(),
            number,
            machines: BTreeMap::new(),
            names: HashMap::new(),
        };
        self.apps.entry(name.clone()).or_insert_with(fresh);
    }

    /// What is wrong with a Machine from now on. False if there is no such Machine.
    pub fn set_fate(&mut self, app: &str, id: &str, fate: Fate) -> bool {
        let now = self.now;
        let Some(machine) = self.machine_mut(app, id) else {
            return false;
        };
        if machine.state == State::Started {
            let since = machine.running_since;
            machine.freeze_checks(now);
            machine.running_since = since;
        }
        let was_dead = machine.unreachable();
        machine.fate = fate;
        machine.host = if fate == Fate::HostUnreachable {
            HostStatus::Unreachable
        } else {
            HostStatus::Ok
        };
        let running = machine.state == State::Started;
        let resumed = machine.pending.filter(|_| was_dead);
        if running {
            machine.pending = None;
            machine.generation += 1;
        }
        let key = self.key(app, id);
        if let Fate::HostDiesAt { at } = fate {
            self.push_due(
                Time::from_millis(at).max(now),
                key.clone(),
                Falls::HostDeath,
            );
        }
        match resumed {
            Some((at, what)) if !running => self.schedule(app, id, at.max(now), what),
            Some(_) | None if running => self.schedule_crash(app, id),
            Some(_) | None => {}
        }
        self.mark(key);
        true
    }

    /// What is wrong with a Machine.
    pub fn fate(&self, app: &str, id: &str) -> Option<Fate> {
        Some(self.apps.get(app)?.machines.get(id)?.fate)
    }

    /// Regions that organisation listings cannot reach from now on.
    pub fn set_error_regions(&mut self, regions: Vec<String>) {
        self.error_regions = regions;
    }

    /// How long the next restart of this Machine will take if nothing interferes.
    pub fn predicted_restart(&self, app: &str, id: &str) -> Option<RestartPrediction> {
        let machine = self.apps.get(app)?.machines.get(id)?;
        Some(RestartPrediction {
            stop_ms: self.take(Phase::Stop, id, machine.stops),
            boot_ms: self.boot_time(machine),
            first_check_ms: if machine.checks.is_empty() {
                0
            } else {
                self.take(Phase::FirstCheck, id, machine.boots)
            },
        })
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

    pub(crate) fn boot_time(&self, machine: &Machine) -> u64 {
        match machine.fate {
            Fate::SlowStart { boot_ms } => boot_ms,
            Fate::Normal
            | Fate::NeverStarts
            | Fate::ChecksFail
            | Fate::HostUnreachable
            | Fate::HostDiesAt { .. }
            | Fate::HostDiesOnRestart
            | Fate::OutOfMemory { .. }
            | Fate::ImagePullFails => self.take(Phase::Boot, &machine.id, machine.boots),
        }
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
        if let Some(changed) = &mut self.changed {
            changed.push(key);
        }
    }

    fn push_due(&mut self, at: Time, key: MachineKey, what: Falls) {
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

    /// Puts a Machine into a state and writes the event. The caller asked [`transition`] first.
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
            machine.freeze_checks(now);
        }
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

    /// Starts the boot of a Machine that is `starting`.
    pub(crate) fn schedule_boot(&mut self, app: &str, id: &str) {
        let Some(machine) = self.apps.get(app).and_then(|app| app.machines.get(id)) else {
            return;
        };
        let at = self.now.after(self.boot_time(machine));
        self.schedule(app, id, at, Pending::Boot);
        if let Some(machine) = self.machine_mut(app, id)
            && machine.fate == Fate::HostDiesOnRestart
        {
            machine.host = HostStatus::Unreachable;
        }
    }

    fn fall_due(&mut self, due: &Due) {
        let (app, id) = (due.key.app.clone(), due.key.id.clone());
        let Some(machine) = self.machine_mut(&app, &id) else {
            return;
        };
        match due.what {
            Falls::HostDeath => {
                if matches!(machine.fate, Fate::HostDiesAt { at } if at <= due.at.as_millis()) {
                    machine.host = HostStatus::Unreachable;
                    self.mark(due.key.clone());
                }
            }
            Falls::Transition(generation) => {
                // On a dead host nothing moves; the pending one is kept for its return.
                if machine.generation != generation || machine.unreachable() {
                    return;
                }
                if let Some((_, what)) = machine.pending.take() {
                    self.finish(&app, &id, what);
                }
            }
        }
    }

    fn finish(&mut self, app: &str, id: &str, what: Pending) {
        match what {
            Pending::Made { launch } => self.finish_made(app, id, launch),
            Pending::Updated { launch } => self.finish_update(app, id, launch),
            Pending::Boot => self.finish_boot(app, id),
            Pending::Stop => {
                self.count_stop(app, id);
                self.exit(
                    app,
                    id,
                    Stimulus::Exited,
                    &ExitEvent {
                        requested_stop: true,
                        ..clean_exit(self.now)
                    },
                );
            }
            Pending::RestartStop => {
                self.count_stop(app, id);
                self.exit(
                    app,
                    id,
                    Stimulus::ExitedToStart,
                    &ExitEvent {
                        requested_stop: true,
                        ..clean_exit(self.now)
                    },
                );
            }
            Pending::Suspend => self.step(app, id, Stimulus::Saved, "suspend", json!(null)),
            Pending::Destroy => {
                self.step(app, id, Stimulus::Removed, "destroy", json!(null));
                self.forget_name(app, id);
            }
            Pending::Crash {
                code,
                out_of_memory,
            } => self.finish_crash(app, id, code, out_of_memory),
        }
    }

    fn step(&mut self, app: &str, id: &str, stimulus: Stimulus, kind: &str, request: Value) {
        let Some(state) = self.machine_mut(app, id).map(|machine| machine.state) else {
            return;
        };
        if let Next::To(next) = transition(state, stimulus) {
            self.enter(app, id, next, kind, "flyd", request);
        }
    }

    fn finish_made(&mut self, app: &str, id: &str, launch: bool) {
        let unpullable = self
            .machine_mut(app, id)
            .is_some_and(|machine| machine.unpullable());
        if unpullable {
            self.step(app, id, Stimulus::NotMade, "launch", json!(null));
            let at = self.now.after(self.take(Phase::Destroy, id, 0));
            self.schedule(app, id, at, Pending::Destroy);
        } else if launch {
            self.step(app, id, Stimulus::Launched, "launch", json!(null));
            self.schedule_boot(app, id);
        } else {
            self.step(app, id, Stimulus::Made, "launch", json!(null));
        }
    }

    fn finish_update(&mut self, app: &str, id: &str, launch: bool) {
        let Some(machine) = self.machine_mut(app, id) else {
            return;
        };
        let unpullable = machine.unpullable();
        let previous = machine.previous.take();
        let replacing = machine.state == State::Replacing;
        let mut launch = launch;
        if let Some(previous) = previous.filter(|_| unpullable) {
            machine.instance_id = previous.instance_id;
            machine.config = previous.config;
            machine.image_ref = previous.image_ref;
            machine.versions.pop();
            machine.renew_checks();
            launch = previous.was_running;
        }
        if replacing {
            self.count_stop(app, id);
            let exit = ExitEvent {
                requested_stop: true,
                ..clean_exit(self.now)
            };
            let stimulus = if launch {
                Stimulus::Launched
            } else {
                Stimulus::Exited
            };
            self.exit(app, id, stimulus, &exit);
        } else if launch {
            self.step(app, id, Stimulus::Launched, "launch", json!(null));
            self.schedule_boot(app, id);
        } else {
            self.step(app, id, Stimulus::Made, "update", json!(null));
        }
    }

    fn finish_boot(&mut self, app: &str, id: &str) {
        let count = match self.machine_mut(app, id) {
            Some(machine) => machine.retries.len(),
            None => return,
        };
        self.step(
            app,
            id,
            Stimulus::Booted,
            "start",
            json!({ "restart_count": count }),
        );
        let boots = self.machine_mut(app, id).map_or(0, |machine| machine.boots);
        let first_check_ms = self.take(Phase::FirstCheck, id, boots);
        let now = self.now;
        if let Some(machine) = self.machine_mut(app, id) {
            machine.boots += 1;
            machine.first_check_ms = first_check_ms;
            machine.running_since = Some(now);
        }
        self.schedule_crash(app, id);
    }

    /// A started Machine whose fate is to end by itself.
    fn schedule_crash(&mut self, app: &str, id: &str) {
        let Some(machine) = self.machine_mut(app, id) else {
            return;
        };
        let (fate, boots) = (machine.fate, machine.boots);
        let (after, code, out_of_memory) = match fate {
            Fate::NeverStarts => (self.take(Phase::Crash, id, boots), 1, false),
            Fate::OutOfMemory { after_ms } => (after_ms, KILLED, true),
            Fate::Normal
            | Fate::ChecksFail
            | Fate::HostUnreachable
            | Fate::HostDiesAt { .. }
            | Fate::HostDiesOnRestart
            | Fate::SlowStart { .. }
            | Fate::ImagePullFails => return,
        };
        let at = self.now.after(after);
        self.schedule(
            app,
            id,
            at,
            Pending::Crash {
                code,
                out_of_memory,
            },
        );
    }

    /// The process ended by itself: the restart policy decides.
    pub(crate) fn finish_crash(&mut self, app: &str, id: &str, code: i32, out_of_memory: bool) {
        let now = self.now;
        let Some(machine) = self.machine_mut(app, id) else {
            return;
        };
        while machine
            .retries
            .front()
            .is_some_and(|at| now.since(*at) > RETRY_WINDOW)
        {
            machine.retries.pop_front();
        }
        let used = u32::try_from(machine.retries.len()).unwrap_or(u32::MAX);
        let restarting = match machine.view().restart_policy() {
            RestartPolicy::No => false,
            RestartPolicy::Always => true,
            RestartPolicy::OnFailure { max_retries } => code != 0 && used < max_retries,
        };
        if restarting {
            machine.retries.push_back(now);
        }
        let exit = ExitEvent {
            exit_code: code,
            guest_exit_code: code,
            oom_killed: out_of_memory,
            restarting,
            ..clean_exit(now)
        };
        let stimulus = if restarting {
            Stimulus::ExitedToStart
        } else {
            Stimulus::Exited
        };
        self.exit(app, id, stimulus, &exit);
    }

    /// Writes the `exit`, and boots the Machine again if that is where it leads.
    fn exit(&mut self, app: &str, id: &str, stimulus: Stimulus, exit: &ExitEvent) {
        let count = self
            .machine_mut(app, id)
            .map_or(0, |machine| machine.retries.len());
        let request = Event::exit_request(exit, u32::try_from(count).unwrap_or(u32::MAX));
        self.step(app, id, stimulus, "exit", request);
        if self
            .machine_mut(app, id)
            .is_some_and(|machine| machine.state == State::Starting)
        {
            self.schedule_boot(app, id);
        }
    }

    fn count_stop(&mut self, app: &str, id: &str) {
        if let Some(machine) = self.machine_mut(app, id) {
            machine.stops += 1;
        }
    }

    fn forget_name(&mut self, app: &str, id: &str) {
        if let Some(app) = self.apps.get_mut(app) {
            app.names.retain(|_, named| &**named != id);
        }
    }

    pub(crate) fn app(&self, app: &str) -> Result<&App, ApiError> {
        self.apps
            .get(app)
            .ok_or_else(|| ApiError::new(404, format!("app '{app}' not found")))
    }

    /// A Machine that the caller may see by now.
    pub(crate) fn visible(&self, app: &str, id: &str) -> Result<&Machine, ApiError> {
        let found = self.app(app)?.machines.get(id);
        let visible = found.filter(|machine| machine.visible_from <= self.now);
        visible.ok_or_else(|| ApiError::new(404, format!("machine not found: {id}")))
    }
}

/// An exit with code 0, of nobody's asking.
fn clean_exit(now: Time) -> ExitEvent {
    ExitEvent {
        signal: -1,
        guest_signal: -1,
        exited_at: now.rfc3339(),
        ..ExitEvent::default()
    }
}

impl api::App {
    pub(crate) fn of(app: &App, organisation: &str) -> api::App {
        api::App {
            id: app.name.to_string(),
            name: app.name.to_string(),
            internal_numeric_id: app.number,
            network: "default".into(),
            status: "deployed".into(),
            machine_count: app
                .machines
                .values()
                .filter(|machine| !machine.state.gone())
                .count() as u64,
            volume_count: 0,
            organization: api::AppOrganization {
                name: organisation.into(),
                slug: organisation.into(),
                internal_numeric_id: 1,
            },
        }
    }
}
