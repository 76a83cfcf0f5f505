//! The commands of the API that change a Machine; those to its process are in `process`, new
//! Machines and new versions in `making`. Each asks in the same order: is it there, does its host
//! answer, may the caller write, is the request sound, does the state allow it.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::api::{self, ApiError, Done, parse_go_duration};
use crate::behaviour::Phase;
use crate::fleet::{Caller, Fleet};
use crate::machine::{Machine, Pending};
use crate::state::{Next, State, Stimulus, transition};

/// How a process may be stopped. Fly's OpenAPI document, `StopRequest`.
const STOP_SIGNALS: [&str; 7] = [
    "SIGHUP", "SIGINT", "SIGQUIT", "SIGKILL", "SIGUSR1", "SIGUSR2", "SIGTERM",
];

impl Fleet {
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
        if let Some(why) = machine.view().not_suspendable() {
            return Err(ApiError::new(
                412,
                format!("failed_precondition: machine cannot be suspended: {why}"),
            ));
        }
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
        let machine = self.alive(app, id)?;
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
        let before = self.there(app, id)?.state;
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

    pub(crate) fn allowed(
        &self,
        app: &str,
        id: &str,
        stimulus: Stimulus,
        verb: &str,
    ) -> Result<State, ApiError> {
        let state = self.there(app, id)?.state;
        match transition(state, stimulus) {
            Next::To(next) => Ok(next),
            Next::Stay => Ok(state),
            Next::Refused if stimulus == Stimulus::Update && state.is_new_version() => {
                Err(ApiError::new(
                    409,
                    format!(
                        "aborted: machine is {}: concurrent update in progress",
                        state.as_str()
                    ),
                ))
            }
            Next::Refused => Err(wrong_state(state, verb)),
        }
    }

    fn set_cordoned(
        &mut self,
        caller: &Caller<'_>,
        app: &str,
        id: &str,
        cordoned: bool,
    ) -> Result<Done, ApiError> {
        self.alive(app, id)?;
        self.writable(caller, app, id)?;
        self.put_cordon(app, id, cordoned);
        let key = self.key(app, id);
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
        Ok(self.stop_within(machine, limit))
    }

    /// How long a stop takes that nobody said anything about.
    pub(crate) fn natural_stop(&self, machine: &Machine) -> u64 {
        self.stop_within(machine, machine.view().stop_config().timeout_ms)
    }

    fn stop_within(&self, machine: &Machine, limit: Option<u64>) -> u64 {
        let natural = self.take(Phase::Stop, &machine.id, machine.stops);
        // 0 means no limit of its own: fly-go sends it when none was given.
        limit
            .filter(|limit| *limit > 0)
            .map_or(natural, |limit| natural.min(limit))
    }
}

pub(crate) fn wrong_state(state: State, verb: &str) -> ApiError {
    let words = format!(
        "failed_precondition: unable to {verb} machine from current state: '{}'",
        state.as_str()
    );
    ApiError::new(412, words)
}
