//! The commands of the API that only read.

use std::collections::BTreeMap;

use crate::api::{self, ApiError};
use crate::fleet::Fleet;
use crate::machine::Machine;
use crate::state::State;
use crate::time::Time;

/// The most that a page of the organisation's listing holds. Fly's documentation.
pub const ORG_PAGE_MAX: usize = 1000;

/// The most events that one answer holds, and how many without a limit. Fly's documentation.
const EVENTS_MAX: usize = 50;
const EVENTS_DEFAULT: usize = 20;

/// What `wait` accepts. Fly's OpenAPI document.
const WAITABLE: [&str; 6] = [
    "started",
    "stopped",
    "suspended",
    "destroyed",
    "failed",
    "settled",
];

impl Fleet {
    /// The Machines of an app, sorted by id.
    pub fn list(&self, app: &str, query: &api::ListQuery) -> Result<Vec<api::Machine>, ApiError> {
        let machines = self.app(app)?.machines.values();
        let wanted = machines.filter(|machine| {
            let view = machine.view();
            (query.include_deleted || !machine.state.gone())
                && narrows(query.region.as_deref(), &query.states, machine)
                && query
                    .metadata
                    .iter()
                    .all(|(key, value)| view.metadata_value(key) == Some(value))
        });
        let shown = wanted.map(|machine| api::Machine {
            lease: if query.include_leases {
                machine.lease_view(self.now)
            } else {
                None
            },
            ..machine.to_api(self.now, query.summary)
        });
        Ok(shown.collect())
    }

    /// One page of the organisation's Machines, by the time of their last change.
    pub fn list_org(&self, query: &api::OrgQuery) -> Result<api::OrgMachines, ApiError> {
        let after = match query.cursor.as_deref().filter(|cursor| !cursor.is_empty()) {
            None => None,
            Some(cursor) => Some(read_cursor(cursor)?),
        };
        let mut found: Vec<_> = self
            .apps
            .values()
            .flat_map(|app| {
                app.machines
                    .values()
                    .map(|machine| (machine.updated, &machine.id, &app.name, machine))
            })
            .collect();
        found.retain(|(updated, id, _, machine)| {
            let unseen = after
                .as_ref()
                .is_none_or(|(at, last)| (*updated, &***id) > (*at, last.as_str()));
            unseen
                && (query.include_deleted || !machine.state.gone())
                && !self.error_regions.contains(&machine.region)
                && query.updated_after.is_none_or(|at| *updated > at)
                && narrows(query.region.as_deref(), &query.states, machine)
        });
        found.sort_by_key(|(updated, id, _, _)| (*updated, *id));
        let limit = query.limit.unwrap_or(ORG_PAGE_MAX).clamp(1, ORG_PAGE_MAX);
        let limit = if self.settings.short_pages {
            limit.div_ceil(2)
        } else {
            limit
        };
        let more = found.len() > limit;
        found.truncate(limit);
        let last = found
            .last()
            .map(|(updated, id, _, _)| (*updated, id.to_string()));
        let (at, id) = last.clone().unwrap_or_default();
        Ok(api::OrgMachines {
            machines: found
                .into_iter()
                .map(|(_, _, app, machine)| org_machine(app, machine, query.summary))
                .collect(),
            next_cursor: if more {
                format!("{}.{id}", at.as_millis())
            } else {
                String::new()
            },
            last_updated_at: last.map(|_| at.rfc3339()).unwrap_or_default(),
            last_machine_id: id,
            error_regions: self.error_regions.clone(),
        })
    }

    /// One Machine.
    pub fn get(&self, app: &str, id: &str) -> Result<api::Machine, ApiError> {
        Ok(self.visible(app, id)?.to_api(self.now, false))
    }

    /// A Machine's newest events, newest first.
    pub fn events(
        &self,
        app: &str,
        id: &str,
        limit: Option<usize>,
    ) -> Result<Vec<api::Event>, ApiError> {
        let limit = limit.unwrap_or(EVENTS_DEFAULT).min(EVENTS_MAX);
        Ok(self
            .there(app, id)?
            .events
            .iter()
            .take(limit)
            .cloned()
            .collect())
    }

    /// A Machine's versions, newest first.
    pub fn versions(&self, app: &str, id: &str) -> Result<Vec<api::MachineVersion>, ApiError> {
        let versions = self.there(app, id)?.versions.iter().rev();
        let shown = versions.map(|(version, config)| api::MachineVersion {
            version: version.clone(),
            user_config: serde_json::Value::clone(config),
        });
        Ok(shown.collect())
    }

    /// A Machine's metadata.
    pub fn metadata(&self, app: &str, id: &str) -> Result<BTreeMap<String, String>, ApiError> {
        Ok(self.there(app, id)?.view().metadata())
    }

    /// The processes of a Machine: the model knows only the main one.
    pub fn ps(&self, app: &str, id: &str) -> Result<Vec<api::Process>, ApiError> {
        let machine = self.there(app, id)?;
        self.reachable(machine)?;
        if machine.state != State::Started {
            return Ok(Vec::new());
        }
        let command = format!("/app/{}", machine.view().process_group());
        Ok(vec![api::Process {
            pid: 1,
            command,
            directory: "/app".into(),
        }])
    }

    /// Whether what is waited for holds now. `None`: not yet; the caller asks again when the
    /// Machine changes.
    pub fn wait_poll(
        &self,
        app: &str,
        id: &str,
        query: &api::WaitQuery,
    ) -> Result<Option<api::WaitResponse>, ApiError> {
        if let Some(state) = query
            .states
            .iter()
            .find(|state| !WAITABLE.contains(&state.as_str()))
        {
            return Err(ApiError::new(
                400,
                format!("invalid_argument: unsupported state '{state}'"),
            ));
        }
        let machine = self.visible(app, id)?;
        let event_id = machine
            .events
            .front()
            .map(|event| event.id.clone())
            .unwrap_or_default();
        let reached = |wanted: &String| match wanted.as_str() {
            "settled" => machine.state.settled(),
            word => word == machine.state.as_str(),
        };
        let default = query.states.is_empty() && machine.state == State::Started;
        let version = query
            .version
            .as_ref()
            .is_none_or(|version| *version == machine.instance_id);
        let newer = query
            .from_event_id
            .as_ref()
            .is_none_or(|from| event_id > *from);
        let holds = (default || query.states.iter().any(reached)) && version && newer;
        Ok(holds.then(|| api::WaitResponse {
            ok: true,
            state: machine.state.as_str().into(),
            version: machine.instance_id.clone(),
            event_id,
        }))
    }

    /// The apps of the organisation.
    pub fn apps(&self) -> api::AppList {
        let apps: Vec<_> = self
            .apps
            .values()
            .map(|app| api::App::of(app, &self.settings.organisation))
            .collect();
        api::AppList {
            total_apps: apps.len() as u64,
            apps,
        }
    }

    /// One app.
    pub fn get_app(&self, name: &str) -> Result<api::App, ApiError> {
        Ok(api::App::of(self.app(name)?, &self.settings.organisation))
    }

    /// The app's name and the ids of its Machines that are not gone.
    pub fn machine_ids(&self, app: &str) -> Vec<String> {
        let machines = self
            .apps
            .get(app)
            .into_iter()
            .flat_map(|app| app.machines.values());
        machines
            .filter(|machine| !machine.state.gone())
            .map(|machine| machine.id.to_string())
            .collect()
    }

    /// How many Machines an app has that are not gone.
    pub fn machine_count(&self, app: &str) -> usize {
        let machines = self.apps.get(app).map(|app| app.machines.values());
        let there = machines.into_iter().flatten();
        there.filter(|machine| !machine.state.gone()).count()
    }
}

fn narrows(region: Option<&str>, states: &[String], machine: &Machine) -> bool {
    region.is_none_or(|region| region == machine.region)
        && (states.is_empty() || states.iter().any(|state| state == machine.state.as_str()))
}

fn read_cursor(cursor: &str) -> Result<(Time, String), ApiError> {
    let parts = cursor
        .split_once('.')
        .and_then(|(at, id)| Some((at.parse::<u64>().ok()?, id)));
    match parts {
        Some((at, id)) => Ok((Time::from_millis(at), id.to_owned())),
        None => Err(ApiError::new(400, "invalid_argument: invalid cursor")),
    }
}

fn org_machine(app: &str, machine: &Machine, summary: bool) -> api::OrgMachine {
    api::OrgMachine {
        app_name: app.to_owned(),
        id: machine.id.to_string(),
        name: machine.name.clone(),
        instance_id: machine.instance_id.clone(),
        version: machine.instance_id.clone(),
        private_ip: machine.private_ip.clone(),
        region: machine.region.clone(),
        state: machine.state.as_str().into(),
        created_at: machine.created.rfc3339(),
        updated_at: machine.updated.rfc3339(),
        config: match summary {
            true => serde_json::Value::Null,
            false => machine.overview(),
        },
    }
}
