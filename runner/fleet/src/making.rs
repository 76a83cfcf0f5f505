//! Machines that are made, and their new versions: create and update.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::api::{self, ApiError};
use crate::behaviour::Phase;
use crate::fate::Fate;
use crate::fleet::{Caller, Fleet};
use crate::image::image_ref;
use crate::machine::{Machine, Pending, Previous};
use crate::state::{State, Stimulus};
use crate::time::Time;
use groundcrew_faults as random;

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
        let wanted = request.region.as_deref().unwrap_or_default();
        let mounts = api::ConfigView::new(&request.config).mounts();
        let of_mounts = self.region_of_mounts(app, &mounts, wanted)?;
        let region = self.region_for(of_mounts.as_deref().unwrap_or(wanted))?;
        let machine = self.fresh(name, region, request);
        let id = machine.id.clone();
        self.insert(app, machine);
        self.enter(app, &id, State::Created, "launch", "user", json!(null));
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
        self.alive(app, id)?;
        let machine = self.writable(caller, app, id)?;
        check_update(machine, request)?;
        let running = matches!(machine.state, State::Started | State::Starting);
        let state = self.allowed(app, id, Stimulus::Update, "update")?;
        let stop = if running {
            self.take(Phase::Stop, id, machine.stops)
        } else {
            0
        };
        let wait = stop + self.take(Phase::Update, id, machine.commands);
        let was_started = running;
        let instance_id = self.next_ulid();
        let config = Arc::new(request.config.clone());
        let now = self.now;
        if let Some(machine) = self.machine_mut(app, id) {
            // What its checks said was said of the old image.
            machine.end_run(now);
            machine.retries.clear();
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
        let hidden = std::mem::take(&mut self.hidden_for);
        machine.visible_from = self.now.after(hidden);
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
            state: State::Created,
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
            doomed: false,
            sick_from: None,
            run_began: self.now,
            eligible_after: Time::default(),
            trailing: Vec::new(),
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
