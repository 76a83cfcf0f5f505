//! Apps: made, shown and deleted.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use crate::api::{self, ApiError};
use crate::fleet::{App, Caller, Fleet};
use crate::machine::MachineKey;

impl Fleet {
    /// Makes an app; one that exists is left alone.
    pub fn create_app(&mut self, name: &str) {
        // Greater than all there are: one that is deleted leaves its number to the others.
        let number = self.apps.values().map(|app| app.number).max().unwrap_or(0) + 1;
        let name: Arc<str> = name.into();
        let fresh = || App {
            name: name.clone(),
            number,
            machines: BTreeMap::new(),
            names: HashMap::new(),
            releases: VecDeque::new(),
            secrets: BTreeMap::new(),
            secrets_version: 0,
            volumes: BTreeMap::new(),
            network: "default".to_owned(),
        };
        self.apps.entry(name.clone()).or_insert_with(fresh);
    }

    /// Makes an app as somebody asks for it: names are unique over all of Fly.
    pub fn make_app(
        &mut self,
        caller: &Caller<'_>,
        request: &api::CreateAppRequest,
    ) -> Result<api::App, ApiError> {
        let name = request.name.as_str();
        if !is_name(name) {
            return Err(ApiError::new(
                400,
                "invalid_argument: name may have small letters, digits and dashes only",
            ));
        }
        if self.apps.contains_key(name) {
            return Err(ApiError::new(
                422,
                "Validation failed: Name has already been taken",
            ));
        }
        self.create_app(name);
        if let (Some(app), false) = (self.apps.get_mut(name), request.network.is_empty()) {
            app.network.clone_from(&request.network);
        }
        self.log_applied(caller, "apps.create", name, "");
        self.get_app(name)
    }

    /// Deletes an app; one that has Machines only with `force`, and they are gone with it, whoever
    /// holds their leases. Its releases are forgotten. The wording of the refusal is assumed.
    pub fn delete_app(
        &mut self,
        caller: &Caller<'_>,
        app: &str,
        force: bool,
    ) -> Result<(), ApiError> {
        let machines = self.app(app)?.machines.values();
        let there = machines.filter(|machine| !machine.state.gone()).count();
        if there > 0 && !force {
            let words = format!("failed_precondition: app '{app}' still has {there} machines");
            return Err(ApiError::new(422, words));
        }
        self.log_applied(caller, "apps.delete", app, "");
        let Some(gone) = self.apps.remove(app) else {
            return Ok(());
        };
        // What was scheduled must not meet a later app of the same name.
        self.queue.retain(|Reverse(due)| due.key.app != gone.name);
        for id in gone.machines.into_keys() {
            self.mark(MachineKey {
                app: gone.name.clone(),
                id,
            });
        }
        Ok(())
    }
}

impl api::App {
    pub(crate) fn of(app: &App, organisation: &str) -> api::App {
        api::App {
            id: app.name.to_string(),
            name: app.name.to_string(),
            internal_numeric_id: app.number,
            network: app.network.clone(),
            status: "deployed".into(),
            machine_count: app
                .machines
                .values()
                .filter(|machine| !machine.state.gone())
                .count() as u64,
            volume_count: app.volumes.len() as u64,
            organization: api::AppOrganization {
                name: organisation.into(),
                slug: organisation.into(),
                internal_numeric_id: 1,
            },
        }
    }
}

/// A label of a host name, as Fly's apps have them.
fn is_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && !name.starts_with('-')
        && !name.ends_with('-')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}
