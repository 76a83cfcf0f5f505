//! What a test says of Machines, and what is looked at in the end.

use std::collections::{BTreeSet, HashMap};

use crate::bindings::groundcrew::host::machines::{
    Check, CheckStatus, Event, Executed, Filter, HostStatus, Machine, Scope,
};
use crate::testing::{TestHost, Tested};

#[derive(Debug, Default)]
pub(super) struct Fleet {
    pub(super) machines: Vec<Machine>,
    pub(super) missing_regions: Vec<String>,
    pub(super) left_out: u32,
    pub(super) keeps_track: bool,
    /// By Machine.
    pub(super) events: HashMap<String, Vec<Event>>,
    /// By Machine.
    pub(super) executed: HashMap<String, Executed>,
    /// What listings have found that were not yet taken to their ends, by operation.
    pub(super) listed: HashMap<u64, Vec<Machine>>,
    /// Where the Machines go that are being made, by operation.
    pub(super) regions: HashMap<u64, String>,
    pub(super) leases: BTreeSet<String>,
    pub(super) max_leased: usize,
}

/// A started, reachable Machine of the group `app` in `fra` whose one check passes, to be changed by
/// struct update.
#[must_use]
pub fn machine(app: &str, id: &str) -> Machine {
    Machine {
        app: app.to_owned(),
        id: id.to_owned(),
        name: format!("{app}-{id}"),
        state: "started".to_owned(),
        region: "fra".to_owned(),
        group: "app".to_owned(),
        image: format!("registry.fly.io/{app}:deployment-1"),
        image_digest: None,
        release: None,
        checks: vec![Check {
            name: "alive".to_owned(),
            status: CheckStatus::Passing,
            output: String::new(),
            updated_at: 0,
        }],
        host_status: HostStatus::Ok,
        cordoned: false,
        standbys: Vec::new(),
        mounts: Vec::new(),
        services: 1,
        configured_checks: 1,
        autostop: "off".to_owned(),
        private_address: None,
        lease_owner: None,
        restarts: 0,
        out_of_memory_kills: 0,
        instance_id: "01".to_owned(),
        created_at: 0,
        updated_at: 0,
    }
}

impl TestHost {
    /// Adds a Machine.
    #[must_use]
    pub fn machine(self, machine: Machine) -> Self {
        self.machines([machine])
    }

    /// Adds Machines.
    #[must_use]
    pub fn machines(mut self, machines: impl IntoIterator<Item = Machine>) -> Self {
        self.own::<Fleet>().machines.extend(machines);
        self
    }

    /// Gives a Machine events, the newest first; otherwise it has none.
    #[must_use]
    pub fn events(mut self, machine: &str, events: impl IntoIterator<Item = Event>) -> Self {
        let events = events.into_iter().collect();
        let all = &mut self.own::<Fleet>().events;
        all.insert(machine.to_owned(), events);
        self
    }

    /// Makes commands end like this in a Machine; otherwise they succeed and print nothing.
    #[must_use]
    pub fn executed(mut self, machine: &str, executed: Executed) -> Self {
        let all = &mut self.own::<Fleet>().executed;
        all.insert(machine.to_owned(), executed);
        self
    }

    /// Makes listings have the Machines that were made, as their patterns are, and no longer those
    /// that were destroyed.
    #[must_use]
    pub fn keep_track(mut self) -> Self {
        self.own::<Fleet>().keeps_track = true;
        self
    }

    /// Makes listings leave out so many Machines that no grant covers.
    #[must_use]
    pub fn left_out(mut self, machines: u32) -> Self {
        self.own::<Fleet>().left_out = machines;
        self
    }

    /// Makes listings lack this region.
    #[must_use]
    pub fn missing_region(mut self, region: &str) -> Self {
        let regions = &mut self.own::<Fleet>().missing_regions;
        regions.push(region.to_owned());
        self
    }
}

impl<T> Tested<T> {
    /// The most leases that were held at once.
    #[must_use]
    pub fn max_leased(&self) -> usize {
        self.own::<Fleet>().map_or(0, |fleet| fleet.max_leased)
    }

    /// The run, which holds no lease any more.
    ///
    /// # Panics
    ///
    /// If it does.
    #[must_use]
    pub fn holding_nothing(self) -> Self {
        if let Some(Fleet { leases, .. }) = self.own() {
            assert!(leases.is_empty(), "leases were not given back: {leases:?}");
        }
        self
    }
}

impl Fleet {
    pub(super) fn find(&self, id: &str) -> Option<&Machine> {
        self.machines.iter().find(|machine| machine.id == id)
    }

    pub(super) fn list(&self, scope: &Scope, filter: &Filter) -> Vec<Machine> {
        let kept = |list: &[String], value: &String| list.is_empty() || list.contains(value);
        let listed = self.machines.iter().filter(|machine| {
            let in_scope = match scope {
                Scope::App(app) => machine.app == *app,
                Scope::Organisation => true,
            };
            in_scope
                && kept(&filter.groups, &machine.group)
                && kept(&filter.regions, &machine.region)
                && kept(&filter.states, &machine.state)
                && !self.missing_regions.contains(&machine.region)
        });
        listed.cloned().collect()
    }

    /// The world after a create or a destroy, if listings are to show it.
    pub(super) fn track(&mut self, made: Option<Machine>, gone: Option<&str>) {
        if self.keeps_track {
            self.machines.retain(|it| gone != Some(it.id.as_str()));
            // A lease goes with its Machine.
            self.leases.retain(|id| gone != Some(id.as_str()));
            self.machines.extend(made);
        }
    }
}
