//! The watch against a second witness, which counts everything anew at every millisecond.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use crate::api::{CreateRequest, MetadataPatch, UpdateRequest};
use crate::behaviour::Span;
use crate::{Behaviour, Caller, Fate, Fleet, GroupExtremes, Settings, Time};

const TAGS: [&str; 6] = [
    "good",
    "good",
    "sim-sickens",
    "sim-unhealthy",
    "sim-exits-1",
    "unpullable",
];

#[derive(Clone, Debug)]
enum Command {
    Advance(u64),
    Create(usize, bool),
    Update(usize, usize),
    Cordon(usize, bool),
    Stop(usize),
    Start(usize),
    Restart(usize),
    Destroy(usize),
    Fate(usize, Fate),
    Group(usize, bool),
}

fn commands() -> impl Strategy<Value = Vec<Command>> {
    let which = 0..4_usize;
    let tag = 0..TAGS.len();
    let fates = prop_oneof![
        Just(Fate::Normal),
        Just(Fate::ChecksFail),
        Just(Fate::HostUnreachable),
        Just(Fate::NeverStarts),
        (0..900_u64).prop_map(|after_ms| Fate::Idle { after_ms }),
        (0..900_u64).prop_map(|after_ms| Fate::OutOfMemory { after_ms }),
    ];
    let one = prop_oneof![
        6 => (0..900_u64).prop_map(Command::Advance),
        2 => (tag.clone(), any::<bool>()).prop_map(|(tag, checked)| Command::Create(tag, checked)),
        1 => (which.clone(), tag).prop_map(|(at, tag)| Command::Update(at, tag)),
        2 => (which.clone(), any::<bool>()).prop_map(|(at, flag)| Command::Cordon(at, flag)),
        1 => which.clone().prop_map(Command::Stop),
        1 => which.clone().prop_map(Command::Start),
        1 => which.clone().prop_map(Command::Restart),
        1 => which.clone().prop_map(Command::Destroy),
        1 => (which.clone(), fates).prop_map(|(at, fate)| Command::Fate(at, fate)),
        1 => (which, any::<bool>()).prop_map(|(at, other)| Command::Group(at, other)),
    ];
    proptest::collection::vec(one, 1..30)
}

fn config(tag: usize, checked: bool) -> serde_json::Value {
    let mut config = json!({
        "image": format!("registry.fly.io/web:{}", TAGS[tag]),
        "restart": { "policy": "on-failure", "max_retries": 2 },
        "services": [{ "internal_port": 80, "autostop": "suspend" }]
    });
    if checked {
        let check = json!({ "type": "tcp", "interval": "70ms", "grace_period": "90ms" });
        config["checks"] = json!({ "up": check });
    }
    config
}

fn world(seed: u64) -> Fleet {
    let quick = Span::between(0, 200);
    let behaviour = Behaviour {
        create: quick,
        stop: quick,
        boot: quick,
        first_check: quick,
        update: quick,
        destroy: quick,
        crash: quick,
        healthy_for: quick,
        ..Behaviour::seeded()
    };
    let mut fleet = Fleet::new(Settings {
        seed,
        behaviour,
        ..Settings::default()
    });
    fleet.create_app("web");
    for checked in [true, true, false] {
        go(&mut fleet, &Command::Create(0, checked));
    }
    fleet.advance_to(fleet.now().after(2_000));
    fleet
}

fn go(fleet: &mut Fleet, command: &Command) {
    let caller = Caller::default();
    let id = |fleet: &Fleet, at: usize| {
        let ids = fleet.machine_ids("web");
        ids.get(at % ids.len().max(1)).cloned().unwrap_or_default()
    };
    match command {
        Command::Advance(_) => {}
        Command::Create(tag, checked) => {
            let config = config(*tag, *checked);
            let request = CreateRequest {
                config,
                ..CreateRequest::default()
            };
            fleet
                .create(&caller, "web", &request)
                .expect("nothing is against it");
        }
        Command::Update(at, tag) => {
            let request = UpdateRequest {
                config: config(*tag, true),
                ..UpdateRequest::default()
            };
            let id = id(fleet, *at);
            let _ = fleet.update(&caller, "web", &id, &request);
        }
        Command::Cordon(at, true) => drop(fleet.cordon(&caller, "web", &id(fleet, *at))),
        Command::Cordon(at, false) => drop(fleet.uncordon(&caller, "web", &id(fleet, *at))),
        Command::Stop(at) => {
            let id = id(fleet, *at);
            let _ = fleet.stop(&caller, "web", &id, &Default::default());
        }
        Command::Start(at) => drop(fleet.start(&caller, "web", &id(fleet, *at))),
        Command::Restart(at) => {
            let id = id(fleet, *at);
            let _ = fleet.restart(&caller, "web", &id, &Default::default());
        }
        Command::Destroy(at) => drop(fleet.destroy(&caller, "web", &id(fleet, *at), true)),
        Command::Fate(at, fate) => drop(fleet.set_fate("web", &id(fleet, *at), *fate)),
        Command::Group(at, other) => {
            let group = if *other { "other" } else { "app" };
            let patch = MetadataPatch {
                metadata: [("fly_process_group".to_owned(), Some(group.to_owned()))].into(),
                machine_version: None,
            };
            let id = id(fleet, *at);
            let _ = fleet.metadata_patch(&caller, "web", &id, &patch);
        }
    }
}

#[derive(Default)]
struct Witness {
    groups: BTreeMap<String, (GroupExtremes, Option<Time>)>,
}

impl Witness {
    fn look(&mut self, fleet: &Fleet, first: bool) {
        let now = fleet.now;
        let mut counts: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for group in self.groups.keys() {
            counts.entry(group.clone()).or_default();
        }
        let machines = fleet.apps["web"].machines.values();
        for machine in machines.filter(|machine| !machine.state.gone()) {
            let group = machine.view().process_group().to_owned();
            let (serving, there) = counts.entry(group).or_default();
            *serving += u64::from(machine.serving(now));
            *there += 1;
        }
        for (group, (serving, there)) in counts {
            let (extremes, none_since) = self.groups.entry(group).or_insert_with(|| {
                let least_serving = if first { serving } else { 0 };
                let extremes = GroupExtremes {
                    least_serving,
                    ..GroupExtremes::default()
                };
                (extremes, (least_serving == 0).then_some(now))
            });
            extremes.least_serving = extremes.least_serving.min(serving);
            extremes.most_machines = extremes.most_machines.max(there);
            if serving == 0 {
                none_since.get_or_insert(now);
            }
            if let Some(since) = none_since {
                extremes.longest_gap_ms = extremes.longest_gap_ms.max(now.since(*since));
            }
            if serving > 0 {
                *none_since = None;
            }
        }
    }

    fn advance(&mut self, fleet: &mut Fleet, millis: u64) {
        let to = fleet.now.after(millis);
        loop {
            while fleet.next_due().is_some_and(|at| at <= fleet.now) {
                let Some(Reverse(due)) = fleet.queue.pop() else {
                    break;
                };
                fleet.fall_due(&due);
                self.look(fleet, false);
            }
            if fleet.now >= to {
                return;
            }
            fleet.now = fleet.now.after(1);
            self.look(fleet, false);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_extremes_are_those_of_every_moment(seed in 0..1000_u64, commands in commands()) {
        let mut watched = world(seed);
        let mut counted = watched.clone();
        let mut witness = Witness::default();
        watched.watch_service("web");
        witness.look(&counted, true);
        for command in &commands {
            go(&mut watched, command);
            go(&mut counted, command);
            witness.look(&counted, false);
            if let Command::Advance(millis) = command {
                watched.advance_to(watched.now().after(*millis));
                witness.advance(&mut counted, *millis);
            }
            let seen: BTreeMap<_, _> = witness
                .groups
                .iter()
                .map(|(group, (extremes, _))| (group.clone(), *extremes))
                .collect();
            let extremes = watched.service_extremes("web").expect("it is watched");
            prop_assert_eq!(extremes.groups, seen);
        }
        prop_assert!(watched.export("web") == counted.export("web"));
    }
}
