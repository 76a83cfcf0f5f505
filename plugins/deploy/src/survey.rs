//! Where a deploy stands: of each process group which images how many Machines run, in which states,
//! and who is stuck. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use groundcrew_plugin::{CheckStatus, Machine};
use schemars::JsonSchema;
use serde::Serialize;

/// States that a Machine passes through, and after how long it is stuck in one. (Fly's advice on
/// Machine states.)
const PASSING: [(&str, Duration); 9] = [
    ("creating", Duration::from_secs(300)),
    ("starting", Duration::from_secs(300)),
    ("stopping", Duration::from_secs(300)),
    ("restarting", Duration::from_secs(300)),
    ("suspending", Duration::from_secs(300)),
    ("destroying", Duration::from_secs(300)),
    ("updating", Duration::from_secs(600)),
    ("replacing", Duration::from_secs(600)),
    ("launch_failed", Duration::ZERO),
];

/// Where an app stands.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Survey {
    /// By process group and image, the most numerous first.
    pub images: Vec<ImageCount>,
    /// Machines that need somebody.
    pub stuck: Vec<Stuck>,
    /// How many Machines there are.
    pub machines: u32,
}

/// The Machines of a process group that run one image.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ImageCount {
    /// The process group.
    pub group: String,
    /// Repository and tag.
    pub image: String,
    /// What their last deploy calls itself.
    pub release: Option<String>,
    /// How many there are.
    pub machines: u32,
    /// How many are in which state.
    pub states: BTreeMap<String, u32>,
    /// How many are started, with all their checks passing.
    pub healthy: u32,
    /// How many are out of the proxy's service.
    pub cordoned: u32,
}

/// A Machine that will not get on by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Stuck {
    /// Its id.
    pub id: String,
    /// Its process group.
    pub group: String,
    /// Its image.
    pub image: String,
    /// Its state.
    pub state: String,
    /// Seconds since it last changed.
    pub since_s: u64,
    /// What is wrong.
    pub why: String,
}

impl Survey {
    /// Of these Machines, at this moment since the epoch.
    #[must_use]
    pub fn of(machines: &[Machine], now: Duration) -> Self {
        let mut images: BTreeMap<(String, String, Option<String>), ImageCount> = BTreeMap::new();
        for machine in machines {
            let key = (
                machine.group.clone(),
                machine.image.clone(),
                machine.release.clone(),
            );
            let count = images.entry(key).or_insert_with(|| ImageCount {
                group: machine.group.clone(),
                image: machine.image.clone(),
                release: machine.release.clone(),
                machines: 0,
                states: BTreeMap::new(),
                healthy: 0,
                cordoned: 0,
            });
            count.machines += 1;
            *count.states.entry(machine.state.clone()).or_default() += 1;
            count.healthy += u32::from(healthy(machine));
            count.cordoned += u32::from(machine.cordoned);
        }
        let mut images: Vec<ImageCount> = images.into_values().collect();
        images.sort_by(|a, b| (&a.group, b.machines).cmp(&(&b.group, a.machines)));
        Self {
            images,
            stuck: machines.iter().filter_map(|m| stuck(m, now)).collect(),
            machines: u32::try_from(machines.len()).unwrap_or(u32::MAX),
        }
    }
}

/// Whether it is started and all its checks pass.
#[must_use]
pub fn healthy(machine: &Machine) -> bool {
    let passing = machine
        .checks
        .iter()
        .filter(|check| check.status == CheckStatus::Passing);
    machine.state == "started" && passing.count() >= machine.configured_checks as usize
}

/// What is wrong with a Machine, if it will not get on by itself.
#[must_use]
pub fn stuck(machine: &Machine, now: Duration) -> Option<Stuck> {
    let changed = Duration::from_millis(machine.updated_at);
    let since = now.saturating_sub(changed);
    let passing = PASSING.iter().find(|(state, _)| *state == machine.state);
    let why = if !machine.is_reachable() {
        "its host is not reached".to_owned()
    } else if machine.state == "failed" {
        "it could not be started".to_owned()
    } else if let Some((state, limit)) = passing
        && since > *limit
    {
        format!("it should not be `{state}` for so long")
    } else if machine.state == "started" && !healthy(machine) && since > PASSING[1].1 {
        let failing = machine
            .checks
            .iter()
            .find(|check| check.status != CheckStatus::Passing);
        failing.map_or_else(
            || "a check has not reported".to_owned(),
            |check| format!("check `{}` fails: {}", check.name, check.output),
        )
    } else {
        return None;
    };
    Some(Stuck {
        id: machine.id.clone(),
        group: machine.group.clone(),
        image: machine.image.clone(),
        state: machine.state.clone(),
        since_s: since.as_secs(),
        why,
    })
}

#[cfg(test)]
mod tests {
    use groundcrew_plugin::{Check, HostStatus, Summary, testing::machine};

    use super::*;

    const NOW: Duration = Duration::from_secs(10_000);

    fn of(state: &str, ago: u64) -> Machine {
        Machine::from(Summary {
            state: state.to_owned(),
            configured_checks: 0,
            updated_at: (10_000 - ago) * 1000,
            ..machine("web", "a")
        })
    }

    #[test]
    fn states_that_pass_may_take_their_time_and_no_longer() {
        for (state, limit) in [("starting", 300), ("replacing", 600)] {
            assert_eq!(stuck(&of(state, limit), NOW), None);
            let found = stuck(&of(state, limit + 1), NOW).unwrap();
            assert!(found.why.contains(state) && found.since_s == limit + 1);
        }
        assert!(stuck(&of("failed", 0), NOW).is_some());
        assert!(stuck(&of("started", 9000), NOW).is_none());
        assert!(stuck(&of("stopped", 9000), NOW).is_none());
    }

    #[test]
    fn checks_and_hosts_count() {
        let check = Check {
            name: "up".to_owned(),
            status: CheckStatus::Critical,
            output: "500".to_owned(),
            updated_at: 0,
        };
        let ill = Summary {
            configured_checks: 1,
            checks: vec![check],
            ..Summary::clone(&of("started", 400))
        };
        assert!(
            stuck(&ill.into(), NOW)
                .unwrap()
                .why
                .contains("`up` fails: 500")
        );
        let dead = Summary {
            host_status: HostStatus::Unreachable,
            ..Summary::clone(&of("started", 0))
        };
        assert!(stuck(&dead.into(), NOW).unwrap().why.contains("host"));
    }

    #[test]
    fn images_are_counted_by_group() {
        let with = |image: &str, group: &str, state: &str| {
            Machine::from(Summary {
                image: image.to_owned(),
                group: group.to_owned(),
                ..Summary::clone(&of(state, 0))
            })
        };
        let survey = Survey::of(
            &[
                with("web:1", "web", "started"),
                with("web:2", "web", "started"),
                with("web:2", "web", "replacing"),
                with("web:1", "worker", "stopped"),
            ],
            NOW,
        );
        let counted: Vec<_> = survey
            .images
            .iter()
            .map(|i| (i.group.as_str(), i.image.as_str(), i.machines, i.healthy))
            .collect();
        assert_eq!(
            counted,
            [
                ("web", "web:2", 2, 1),
                ("web", "web:1", 1, 1),
                ("worker", "web:1", 1, 0)
            ]
        );
    }
}
