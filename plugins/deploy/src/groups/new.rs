//! Process groups that are made: how many Machines they have, and what these are made like.

use std::collections::BTreeMap;

use groundcrew_plugin::{Host, Machine, Result, State, Summary};

use crate::one::{How, made};
use crate::target::Target;
use crate::wanted::Config;

/// So many Machines has a new process group that the proxy serves. (flyctl's count.) Any other has
/// one, and one that stands by for it.
const SERVING: usize = 2;

/// A process group that is to be made.
#[derive(Debug)]
pub(super) struct New {
    pub(super) group: String,
    pub(super) serves: bool,
    /// The Machine that its own are made like: of another group, but for its region.
    pub(super) pattern: Machine,
}

impl New {
    /// Makes its Machines, out of service. Gives what was made also if it fails.
    pub(super) async fn make(
        &self,
        host: &Host,
        target: &Target,
        how: &How,
    ) -> (Vec<Machine>, Result<()>) {
        host.note(&format!("the process group `{}` is made", self.group));
        let mut machines = Vec::new();
        let result = async {
            let first = self.one(host, target, how, None).await?;
            let id = first.id.clone();
            machines.push(first);
            if !self.serves {
                machines.push(self.one(host, target, how, Some(&id)).await?);
            }
            while machines.len() < SERVING {
                machines.push(self.one(host, target, how, None).await?);
            }
            Ok(())
        };
        let result = result.await;
        (machines, result)
    }

    /// One Machine, out of service; one that stands by is not started.
    async fn one(
        &self,
        host: &Host,
        target: &Target,
        how: &How,
        standby_for: Option<&str>,
    ) -> Result<Machine> {
        let change = target.change_for_new(&self.group, standby_for)?;
        let launch = standby_for.is_none();
        let machine = made(host, target, how, &self.pattern, change, launch).await?;
        // What is known of it without asking.
        let machine = Machine::from(Summary {
            group: self.group.clone(),
            services: self.serves.into(),
            standbys: standby_for.map(str::to_owned).into_iter().collect(),
            ..Summary::clone(&machine)
        });
        host.item(&machine.id).succeeded("created");
        Ok(machine)
    }
}

/// The groups of a file that have no Machine.
pub(super) fn missing(config: &Config, machines: &[Machine]) -> Vec<New> {
    // One that is like the new ones in most: it is within reach, and runs.
    let fit = |machine: &&Machine| {
        let (reached, standby) = (machine.is_reachable(), machine.is_standby());
        (reached, !standby, machine.is(State::Started))
    };
    let Some(pattern) = machines.iter().rev().max_by_key(fit) else {
        return Vec::new();
    };
    let region = config.primary_region();
    let region = region.map_or_else(|| most_common_region(machines), str::to_owned);
    let new = config
        .groups()
        .filter(|group| !machines.iter().any(|machine| machine.group == *group));
    new.map(|group| New {
        group: group.to_owned(),
        serves: config.serves(group),
        pattern: Machine::from(Summary {
            region: region.clone(),
            ..Summary::clone(pattern)
        }),
    })
    .collect()
}

/// The region of most Machines; the first by name of several.
fn most_common_region(machines: &[Machine]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for machine in machines {
        *counts.entry(&machine.region).or_default() += 1;
    }
    let most = counts.iter().rev().max_by_key(|(_, count)| **count);
    most.map(|(region, _)| (*region).to_owned())
        .unwrap_or_default()
}
