//! The commands of the API that write. Each asks in the same order: is it there, does its host
//! answer, may the caller write, is the request sound, does the state allow it.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::api::{self, ApiError, Done, parse_go_duration};
use crate::behaviour::{Fate, Phase};
use crate::fleet::{Caller, Fleet};
use crate::machine::{Machine, Pending, Previous, image_ref};
use crate::random;
use crate::state::{Next, State, Stimulus, transition};

/// How a process may be stopped. Fly's OpenAPI document, `StopRequest`.
const STOP_SIGNALS: [&str; 7] = [
    "SIGHUP", "SIGINT", "SIGQUIT", "SIGKILL", "SIGUSR1", "SIGUSR2", "SIGTERM",
];

/// What may be sent to a process, with its number. Fly's OpenAPI document, `SignalRequest`.
const SIGNALS: [(&str, i32); 14] = [
    ("SIGABRT", 6),
    ("SIGALRM", 14),
    ("SIGFPE", 8),
    ("SIGHUP", 1),
    ("SIGILL", 4),
    ("SIGINT", 2),
    ("SIGKILL", 9),
    ("SIGPIPE", 13),
    ("SIGQUIT", 3),
    ("SIGSEGV", 11),
    ("SIGTERM", 15),
    ("SIGTRAP", 5),
    ("SIGUSR1", 10),
    ("SIGUSR2", 12),
];

/// The signals that a well-behaved process survives.
const SURVIVED: [i32; 4] = [1, 10, 12, 13];

impl Fleet {
    /// Makes a Machine.
    pub fn create(
        &mut self,
        caller: &Caller<'_>,
        app: &str,
        request: &api::CreateRequest,
    ) -> Result<api::Machine, ApiError> {
        let names = &self.app(app)?.names;
        let image_missing = api::ConfigView::new(&request.config).image().is_empty();
        if !request.config.is_object() || image_missing {
            return Err(ApiError::new(
                422,
                "invalid_argument: config.image is required",
            ));
        }
        let name = request.name.clone().filter(|name| !name.is_empty());
        if let Some(id) = name.as_ref().and_then(|name| names.get(name)) {
            let name = name.as_deref().unwrap_or_default();
            let words = format!(
                "already_exists: unique machine name violation, machine ID {id} already exists with name {name}"
            );
            return Err(ApiError::new(409, words));
        }
        let region = self.region_for(request.region.as_deref())?;
        let machine = self.fresh(name, region, request);
        let id = machine.id.clone();
        self.insert(app, machine);
        self.enter(app, &id, State::Creating, "launch", "user", json!(null));
        let nonce = self.lease_with(caller, app, &id, request.lease_ttl);
        let at = self.now.after(self.take(Phase::Create, &id, 0));
        self.schedule(
            app,
            &id,
            at,
            Pending::Made {
                launch: !request.skip_launch,
            },
        );
        self.log_applied(caller, "machines.create", app, &id);
        self.shown(app, &id, nonce)
    }

    /// Gives a Machine another configuration.
    pub fn update(
        &mut self,
        caller: &Caller<'_>,
        app: &str,
        id: &str,
        request: &api::UpdateRequest,
    ) -> Result<api::Machine, ApiError> {
        let machine = self.writable(caller, app, id)?;
        check_update(machine, request)?;
        let state = self.allowed(app, id, Stimulus::Update, "update")?;
        let running = state == State::Replacing;
        let stop = if running {
            self.take(Phase::Stop, id, machine.stops)
        } else {
            0
        };
        let wait = stop + self.take(Phase::Update, id, machine.commands);
        let was_started = running;
        let instance_id = self.next_ulid();
        let config = Arc::new(request.config.clone());
        if let Some(machine) = self.machine_mut(app, id) {
            machine.previous = Some(Previous {
                instance_id: std::mem::replace(&mut machine.instance_id, instance_id.clone()),
                config: std::mem::replace(&mut machine.config, config.clone()),
                image_ref: machine.image_ref.clone(),
                was_running: was_started,
            });
            machine.image_ref = image_ref(machine.view().image());
            machine.versions.push((instance_id, config));
            machine.commands += 1;
            machine.cordoned = request.skip_service_registration;
            machine.renew_checks();
        }
        self.enter(app, id, state, "update", "user", json!(null));
        let nonce = self.lease_with(caller, app, id, request.lease_ttl);
        let at = self.now.after(wait);
        self.schedule(
            app,
            id,
            at,
            Pending::Updated {
                launch: !request.skip_launch,
            },
        );
        self.log_applied(caller, "machines.update", app, id);
        self.shown(app, id, nonce)
    }

    /// Destroys a Machine; a running one only with `force`.
    pub fn destroy(
        &mut self,
        caller: &Caller<'_>,
        app: &str,
        id: &str,
        force: bool,
    ) -> Result<Done, ApiError> {
        self.writable(caller, app, id)?;
        let stimulus = if force {
            Stimulus::DestroyForced
        } else {
            Stimulus::Destroy
        };
        let after = self.take(Phase::Destroy, id, 0);
        self.command(
            caller,
            app,
            id,
            stimulus,
            ("destroy", "machines.destroy"),
            Some((after, Pending::Destroy)),
        )?;
        Ok(Done::default())
    }

    /// Starts a Machine.
    pub fn start(
        &mut self,
        caller: &Caller<'_>,
        app: &str,
        id: &str,
    ) -> Result<api::StartResponse, ApiError> {
        let machine = self.writable(caller, app, id)?;
        let previous_state = machine.state.as_str().to_owned();
        self.command(
            caller,
            app,
            id,
            Stimulus::Start,
            ("start", "machines.start"),
            None,
        )?;
        Ok(api::StartResponse {
            previous_state,
            ..api::StartResponse::default()
        })
    }

    /// Stops a Machine.
    pub fn stop(
        &mut self,
        caller: &Caller<'_>,
        app: &str,
        id: &str,
        request: &api::StopRequest,
    ) -> Result<Done, ApiError> {
        let machine = self.writable(caller, app, id)?;
        let after = self.stop_time(
            machine,
            request.signal.as_deref(),
            request.timeout.as_deref(),
            false,
        )?;
        self.command(
            caller,
            app,
            id,
            Stimulus::Stop,
            ("stop", "machines.stop"),
            Some((after, Pending::Stop)),
        )?;
        Ok(Done::default())
    }

    /// Restarts a Machine. The instance id stays.
    pub fn restart(
        &mut self,
        caller: &Caller<'_>,
        app: &str,
        id: &str,
        query: &api::RestartQuery,
    ) -> Result<Done, ApiError> {
        let machine = self.writable(caller, app, id)?;
        let after = self.stop_time(
            machine,
            query.signal.as_deref(),
            query.timeout.as_deref(),
            query.force_stop,
        )?;
        self.command(
            caller,
            app,
            id,
            Stimulus::Restart,
            ("restart", "machines.restart"),
            Some((after, Pending::RestartStop)),
        )?;
        Ok(Done::default())
    }

    /// Saves a Machine's memory and halts it.
    pub fn suspend(&mut self, caller: &Caller<'_>, app: &str, id: &str) -> Result<Done, ApiError> {
        let machine = self.writable(caller, app, id)?;
        let after = self.take(Phase::Suspend, id, machine.commands);
        self.command(
            caller,
            app,
            id,
            Stimulus::Suspend,
            ("suspend", "machines.suspend"),
            Some((after, Pending::Suspend)),
        )?;
        Ok(Done::default())
    }

    /// Sends a signal to the main process. Leases do not matter, as fly-go sends no nonce.
    pub fn signal(
        &mut self,
        caller: &Caller<'_>,
        app: &str,
        id: &str,
        request: &api::SignalRequest,
    ) -> Result<Done, ApiError> {
        let machine = self.visible(app, id)?;
        self.reachable(machine)?;
        let wanted = request.signal.as_str();
        let known = SIGNALS
            .iter()
            .find(|(name, number)| *name == wanted || number.to_string() == wanted);
        let Some((_, number)) = known else {
            return Err(ApiError::new(
                400,
                format!("invalid_argument: unknown signal '{wanted}'"),
            ));
        };
        self.running(app, id, "signal")?;
        self.log_applied(caller, "machines.signal", app, id);
        if !SURVIVED.contains(number) {
            // 128 + the signal: how a shell, and Fly, report it. A polite end is a clean one.
            let code = if [2, 15].contains(number) {
                0
            } else {
                128 + number
            };
            self.finish_crash(app, id, code, false);
        }
        Ok(Done::default())
    }

    /// Runs a command in a Machine; the model answers 0 and prints nothing.
    pub fn exec(
        &mut self,
        caller: &Caller<'_>,
        app: &str,
        id: &str,
        request: &api::ExecRequest,
    ) -> Result<api::ExecResponse, ApiError> {
        let machine = self.visible(app, id)?;
        self.reachable(machine)?;
        if request.cmd.is_empty() && request.command.is_empty() {
            return Err(ApiError::new(400, "invalid_argument: command is required"));
        }
        self.running(app, id, "exec in")?;
        self.log_applied(caller, "machines.exec", app, id);
        Ok(api::ExecResponse::default())
    }

    /// Takes a Machine out of the proxy's service.
    pub fn cordon(&mut self, caller: &Caller<'_>, app: &str, id: &str) -> Result<Done, ApiError> {
        self.set_cordoned(caller, app, id, true)
    }

    /// Puts it back.
    pub fn uncordon(&mut self, caller: &Caller<'_>, app: &str, id: &str) -> Result<Done, ApiError> {
        self.set_cordoned(caller, app, id, false)
    }

    /// Sets and deletes metadata. The instance id stays.
    pub fn metadata_patch(
        &mut self,
        caller: &Caller<'_>,
        app: &str,
        id: &str,
        patch: &api::MetadataPatch,
    ) -> Result<(), ApiError> {
        let machine = self.visible(app, id)?;
        self.reachable(machine)?;
        if patch
            .machine_version
            .as_ref()
            .is_some_and(|version| *version != machine.instance_id)
        {
            return Err(ApiError::new(
                412,
                "failed_precondition: machine_version is no longer current",
            ));
        }
        let (now, key) = (self.now, self.key(app, id));
        if let Some(machine) = self.machine_mut(app, id) {
            let config = Arc::make_mut(&mut machine.config);
            let metadata = config
                .as_object_mut()
                .map(|config| config.entry("metadata").or_insert_with(|| json!({})));
            if let Some(Value::Object(metadata)) = metadata {
                for (key, value) in &patch.metadata {
                    match value.as_ref().filter(|value| !value.is_empty()) {
                        Some(value) => drop(metadata.insert(key.clone(), json!(value))),
                        None => drop(metadata.remove(key)),
                    }
                }
            }
            machine.updated = now;
        }
        self.mark(key);
        self.log_applied(caller, "machines.metadata-set", app, id);
        Ok(())
    }

    /// One command: the state's leave, the event, the log, and what follows.
    fn command(
        &mut self,
        caller: &Caller<'_>,
        app: &str,
        id: &str,
        stimulus: Stimulus,
        (event, route): (&str, &'static str),
        then: Option<(u64, Pending)>,
    ) -> Result<(), ApiError> {
        let before = self.visible(app, id)?.state;
        let after = self.allowed(app, id, stimulus, event)?;
        self.log_applied(caller, route, app, id);
        if before == after {
            return Ok(());
        }
        // `start` is written when the process runs; a second event of that kind would mislead.
        let event = if after == State::Starting {
            "starting"
        } else {
            event
        };
        if let Some(machine) = self.machine_mut(app, id) {
            machine.commands += 1;
            machine.retries.clear();
        }
        self.enter(app, id, after, event, "user", json!(null));
        match then {
            _ if after == State::Starting => self.schedule_boot(app, id),
            Some((wait, what)) if !after.settled() => {
                let at = self.now.after(wait);
                self.schedule(app, id, at, what);
            }
            Some(_) | None => {}
        }
        Ok(())
    }

    fn allowed(
        &self,
        app: &str,
        id: &str,
        stimulus: Stimulus,
        verb: &str,
    ) -> Result<State, ApiError> {
        let state = self.visible(app, id)?.state;
        match transition(state, stimulus) {
            Next::To(next) => Ok(next),
            Next::Stay => Ok(state),
            Next::Refused => Err(wrong_state(state, verb)),
        }
    }

    fn running(&self, app: &str, id: &str, verb: &str) -> Result<(), ApiError> {
        let state = self.visible(app, id)?.state;
        if state == State::Started {
            Ok(())
        } else {
            Err(wrong_state(state, verb))
        }
    }

    fn set_cordoned(
        &mut self,
        caller: &Caller<'_>,
        app: &str,
        id: &str,
        cordoned: bool,
    ) -> Result<Done, ApiError> {
        let machine = self.writable(caller, app, id)?;
        if machine.state.gone() {
            return Err(wrong_state(machine.state, "cordon"));
        }
        let (now, key) = (self.now, self.key(app, id));
        if let Some(machine) = self.machine_mut(app, id) {
            machine.cordoned = cordoned;
            machine.updated = now;
        }
        self.mark(key);
        self.log_applied(
            caller,
            if cordoned {
                "machines.cordon"
            } else {
                "machines.uncordon"
            },
            app,
            id,
        );
        Ok(Done::default())
    }

    /// How long the process takes to end: not at all when killed, never longer than it may.
    fn stop_time(
        &self,
        machine: &Machine,
        signal: Option<&str>,
        timeout: Option<&str>,
        force: bool,
    ) -> Result<u64, ApiError> {
        let signal = signal.filter(|signal| !signal.is_empty());
        if let Some(signal) = signal.filter(|signal| !STOP_SIGNALS.contains(signal)) {
            return Err(ApiError::new(
                400,
                format!("invalid_argument: unknown signal '{signal}'"),
            ));
        }
        let configured = machine.view().stop_config();
        let limit = match timeout.filter(|timeout| !timeout.is_empty()) {
            None => configured.timeout_ms,
            Some(text) => match parse_go_duration(text) {
                Some(millis) => Some(millis),
                None => {
                    return Err(ApiError::new(
                        400,
                        format!("invalid_argument: invalid duration '{text}'"),
                    ));
                }
            },
        };
        if force || signal == Some("SIGKILL") {
            return Ok(0);
        }
        let natural = self.take(Phase::Stop, &machine.id, machine.stops);
        // 0 means no limit of its own: fly-go sends it when none was given.
        Ok(limit
            .filter(|limit| *limit > 0)
            .map_or(natural, |limit| natural.min(limit)))
    }

    fn region_for(&self, wanted: Option<&str>) -> Result<String, ApiError> {
        let regions = &self.settings.regions;
        match wanted.filter(|region| !region.is_empty()) {
            None => Ok(regions.first().cloned().unwrap_or_else(|| "iad".into())),
            Some(region) if regions.iter().any(|known| known == region) => Ok(region.to_owned()),
            Some(region) => Err(ApiError::new(
                400,
                format!("invalid_argument: region {region} not found"),
            )),
        }
    }

    fn fresh(
        &mut self,
        name: Option<String>,
        region: String,
        request: &api::CreateRequest,
    ) -> Machine {
        self.made += 1;
        // 14 hexadecimal digits, as Fly's ids have.
        let drawn = random::draw(self.settings.seed, "machine", "", self.made);
        let id: Arc<str> = format!("{:014x}", drawn >> 8).into();
        let name = name.unwrap_or_else(|| format!("machine-{id}"));
        let mut machine = self.blank(id, name, region, Arc::new(request.config.clone()));
        machine.cordoned = request.skip_service_registration;
        machine.visible_from = self.now.after(self.take(Phase::Visible, &machine.id, 0));
        machine
    }

    /// A Machine with nothing but its names and its configuration.
    pub(crate) fn blank(
        &mut self,
        id: Arc<str>,
        name: String,
        region: String,
        config: Arc<Value>,
    ) -> Machine {
        let instance_id = self.next_ulid();
        let address = random::draw(self.settings.seed, "address", &id, 0);
        let mut machine = Machine {
            private_ip: format!(
                "fdaa:0:1:a7b:{:x}:{:x}:{:x}:2",
                address >> 48,
                (address >> 32) & 0xffff,
                (address >> 16) & 0xffff
            ),
            image_ref: image_ref(api::ConfigView::new(&config).image()),
            versions: vec![(instance_id.clone(), config.clone())],
            id,
            name,
            region,
            state: State::Creating,
            instance_id,
            config,
            events: VecDeque::new(),
            checks: Vec::new(),
            created: self.now,
            updated: self.now,
            cordoned: false,
            lease: None,
            fate: Fate::Normal,
            host: api::HostStatus::Ok,
            generation: 0,
            pending: None,
            stops: 0,
            boots: 0,
            commands: 0,
            running_since: None,
            first_check_ms: 0,
            retries: VecDeque::new(),
            visible_from: self.now,
            previous: None,
        };
        machine.renew_checks();
        machine
    }

    pub(crate) fn insert(&mut self, app: &str, machine: Machine) {
        if let Some(app) = self.apps.get_mut(app) {
            app.names.insert(machine.name.clone(), machine.id.clone());
            app.machines.insert(machine.id.clone(), machine);
        }
    }

    fn shown(&self, app: &str, id: &str, nonce: String) -> Result<api::Machine, ApiError> {
        let machine = self.app(app)?.machines.get(id);
        let machine =
            machine.ok_or_else(|| ApiError::new(404, format!("machine not found: {id}")))?;
        Ok(api::Machine {
            nonce,
            ..machine.to_api(self.now, false)
        })
    }
}

fn check_update(machine: &Machine, request: &api::UpdateRequest) -> Result<(), ApiError> {
    if !request.config.is_object() || api::ConfigView::new(&request.config).image().is_empty() {
        return Err(ApiError::new(
            400,
            "invalid_argument: config.image is required",
        ));
    }
    let differs = |asked: &Option<String>, real: &str| {
        asked
            .as_deref()
            .is_some_and(|asked| !asked.is_empty() && asked != real)
    };
    if differs(&request.current_version, &machine.instance_id) {
        return Err(ApiError::new(
            409,
            "aborted: machine update failed due to concurrent update",
        ));
    }
    if differs(&request.region, &machine.region) || differs(&request.name, &machine.name) {
        return Err(ApiError::new(
            400,
            "invalid_argument: region and name cannot be changed",
        ));
    }
    Ok(())
}

fn wrong_state(state: State, verb: &str) -> ApiError {
    let words = format!(
        "failed_precondition: unable to {verb} machine from current state: '{}'",
        state.as_str()
    );
    ApiError::new(412, words).with_code("failed_precondition")
}
