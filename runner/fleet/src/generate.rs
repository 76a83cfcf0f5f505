//! Making up an organisation: the same one for the same seed.

use serde_json::{Value, json};

use crate::fate::Fate;
use crate::fleet::{Fleet, Settings};
use crate::machine::Machine;
use crate::state::State;
use groundcrew_faults as random;

/// Of this many Machines one is stopped, and another one of a group stands by.
const ONE_IN: usize = 20;

/// What is made up. The first app is `web`, further ones `web-2`, `web-3`, …
#[derive(Clone, Debug)]
pub struct Generated {
    /// Machines over all apps.
    pub machines: usize,
    /// Apps that share them evenly.
    pub apps: usize,
    /// Whether one in twenty is stopped and one in twenty stands by.
    pub idle_ones: bool,
}

impl Default for Generated {
    fn default() -> Generated {
        Generated {
            machines: 500,
            apps: 1,
            idle_ones: true,
        }
    }
}

/// A fleet with these Machines, two thirds of them in the group `web` and the rest `worker`.
pub fn generate(settings: Settings, wanted: &Generated) -> Fleet {
    let mut fleet = Fleet::new(settings);
    for index in 0..wanted.apps.max(1) {
        let app = app_name(index);
        fleet.create_app(&app);
        let share = share_of(wanted.machines, wanted.apps.max(1), index);
        let mut first = None;
        for place in 0..share {
            let id = add(&mut fleet, &app, place, first.as_deref(), wanted.idle_ones);
            first.get_or_insert(id);
        }
    }
    fleet
}

fn app_name(index: usize) -> String {
    if index == 0 {
        "web".into()
    } else {
        format!("web-{}", index + 1)
    }
}

fn share_of(machines: usize, apps: usize, index: usize) -> usize {
    machines / apps + usize::from(index < machines % apps)
}

fn add(fleet: &mut Fleet, app: &str, place: usize, first: Option<&str>, idle_ones: bool) -> String {
    let group = if place % 3 == 2 { "worker" } else { "web" };
    let standby = first.filter(|_| idle_ones && place % ONE_IN == 7);
    let stopped = standby.is_some() || (idle_ones && place % ONE_IN == 13);
    let regions = &fleet.settings().regions;
    let region = regions
        .get(place % regions.len().max(1))
        .cloned()
        .unwrap_or_else(|| "iad".into());
    let seed = fleet.settings().seed;
    let drawn = random::draw(seed, "generated", app, place as u64);
    let id = format!("{:014x}", drawn >> 8);
    let config = config(seed, app, group, standby);
    let machine = fleet.blank(
        id.as_str().into(),
        format!("{group}-{place:04}-{:04x}", drawn & 0xffff),
        region,
        std::sync::Arc::new(config),
    );
    fleet.settle(
        app,
        machine,
        if stopped {
            State::Stopped
        } else {
            State::Started
        },
    );
    id
}

impl Fleet {
    /// Puts a made-up Machine into a state that it has had for a day.
    fn settle(&mut self, app: &str, mut machine: Machine, state: State) {
        const DAY: u64 = 24 * 3600 * 1000;
        let id = machine.id.clone();
        let back = crate::Time::from_millis(self.now.as_millis().saturating_sub(DAY));
        machine.created = back;
        machine.state = State::Creating;
        machine.fate = Fate::Normal;
        self.insert(app, machine);
        self.enter(app, &id, State::Creating, "launch", "user", json!(null));
        let (kind, request) = if state == State::Started {
            ("start", json!({ "restart_count": 0 }))
        } else {
            ("exit", json!(null))
        };
        self.enter(app, &id, state, kind, "flyd", request);
        let Some(machine) = self.machine_mut(app, &id) else {
            return;
        };
        machine.updated = back;
        for event in &mut machine.events {
            event.timestamp = i64::try_from(back.as_millis()).unwrap_or(0);
        }
        machine.renew_checks();
        if state == State::Started {
            machine.running_since = Some(back);
            machine.run_began = back;
            machine.boots = 1;
            machine.first_check_ms = 1000;
        }
    }
}

fn config(seed: u64, app: &str, group: &str, standby: Option<&str>) -> Value {
    let digest = format!("{:016x}", random::draw(seed, "image", app, 0)).repeat(4);
    let image =
        format!("registry.fly.io/{app}:deployment-01KA0000000000000000000001@sha256:{digest}");
    let mut config = json!({
        "image": image,
        "env": { "FLY_PROCESS_GROUP": group, "PRIMARY_REGION": "fra", "RAILS_ENV": "production" },
        "init": {},
        "guest": { "cpu_kind": "shared", "cpus": 2, "memory_mb": 2048 },
        "metadata": {
            "fly_platform_version": "v2",
            "fly_process_group": group,
            "fly_release_id": "rel-1",
            "fly_release_version": "1",
            "fly_flyctl_version": "0.3.200"
        },
        "restart": { "policy": "on-failure", "max_retries": 10 },
        "stop_config": { "signal": "SIGTERM", "timeout": "30s" }
    });
    if group == "web" {
        config["services"] = json!([{
            "protocol": "tcp",
            "internal_port": 3000,
            "autostop": "off",
            "autostart": true,
            "ports": [{ "port": 443, "handlers": ["tls", "http"] }],
            "concurrency": { "type": "requests", "soft_limit": 200, "hard_limit": 250 },
            "checks": [{ "type": "http", "interval": "15s", "timeout": "2s", "grace_period": "5s", "method": "GET", "path": "/up" }]
        }]);
    } else {
        config["checks"] = json!({ "worker": { "type": "tcp", "port": 7433, "interval": "15s", "timeout": "2s", "grace_period": "10s" } });
    }
    if let Some(first) = standby {
        config["standbys"] = json!([first]);
        config["env"]["FLY_STANDBY_FOR"] = json!(first);
    }
    config
}
