//! Where new Machines go and which old ones lose. Nothing is sent here.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet};

use groundcrew_deploy::survey::healthy;
use groundcrew_plugin::{Error, Kind, Machine, Result, State};

use crate::Input;

/// What makes up for the difference.
#[derive(Default)]
pub(crate) struct Plan {
    /// How many Machines the group has.
    pub(crate) before: u32,
    /// What is done, in this order; nothing if the group has as many as wanted.
    pub(crate) tasks: Vec<Task>,
    /// What the operator may not expect.
    pub(crate) warnings: Vec<String>,
}

/// What is done about one Machine.
pub(crate) enum Task {
    /// It is made.
    Make(New),
    /// It goes.
    Destroy(Machine),
}

/// A Machine that is to be made.
pub(crate) struct New {
    /// What it is called until it has an id.
    pub(crate) name: String,
    /// The Machine whose configuration it gets.
    pub(crate) pattern: Machine,
    pub(crate) region: String,
}

impl Task {
    /// What it is called in the progress of the step.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Make(new) => &new.name,
            Self::Destroy(machine) => &machine.id,
        }
    }
}

impl Plan {
    /// From the Machines of the group.
    ///
    /// # Errors
    ///
    /// If the number cannot be reached in a way that the input allows. Then better nothing is done.
    pub(crate) fn of(listed: &[Machine], input: &Input) -> Result<Self> {
        let members: Vec<&Machine> = listed.iter().filter(|it| is_member(it)).collect();
        let mut plan = Self {
            before: count(listed),
            ..Self::default()
        };
        match plan.before.cmp(&input.count) {
            Ordering::Less => plan.grow(&members, input)?,
            Ordering::Equal => {}
            Ordering::Greater => plan.shrink(&members, input)?,
        }
        plan.warnings.extend(bereft(listed, &plan.tasks));
        Ok(plan)
    }

    fn grow(&mut self, members: &[&Machine], input: &Input) -> Result<()> {
        if let Some(mounted) = members.iter().find(|it| !it.mounts.is_empty()) {
            return Err(Error::invalid(format!(
                "the group `{}` has volumes (one is mounted in {}) and cannot grow here: no new \
                 volumes are made",
                input.group, mounted.id
            )));
        }
        let images = images(members);
        if images.len() > 1 {
            self.warnings.push(format!(
                "the Machines of the group have {} different images; new ones get the commonest",
                images.len()
            ));
        }
        let pattern = pattern(members, &images).ok_or_else(|| no_pattern(input))?;
        let mut crowds = crowds(members);
        let regions = if input.regions.is_empty() {
            crowds.keys().map(|region| (*region).to_owned()).collect()
        } else {
            input.regions.clone()
        };
        for number in 1..=input.count - self.before {
            let crowd = |region: &&String| crowds.get(region.as_str()).copied();
            let Some(region) = regions.iter().min_by_key(crowd) else {
                return Err(no_pattern(input));
            };
            *crowds.entry(region).or_default() += 1;
            self.tasks.push(Task::Make(New {
                name: format!("new {number} ({region})"),
                pattern: pattern.clone(),
                region: region.clone(),
            }));
        }
        Ok(())
    }

    fn shrink(&mut self, members: &[&Machine], input: &Input) -> Result<()> {
        let surplus = self.before - input.count;
        let may_go = |it: &&&Machine| input.allow_mounts || it.mounts.is_empty();
        let mut left: Vec<&Machine> = members.iter().filter(may_go).copied().collect();
        if left.len() < surplus as usize {
            return Err(Error::invalid(format!(
                "{surplus} Machines have to go, and only {} of the group have no volume mounted: \
                 `allow_mounts` destroys the others too",
                left.len()
            )));
        }
        // Of each region the last is the first to lose.
        left.sort_by_key(|it| (!is_well(it), &it.id));
        let mut regions: BTreeMap<&str, Vec<&Machine>> = BTreeMap::new();
        for machine in left {
            regions.entry(&machine.region).or_default().push(machine);
        }
        let mut crowds = crowds(members);
        for _ in 0..surplus {
            let next = regions.values().filter_map(|it| it.last().copied());
            let loses = |it: &&Machine| (!is_well(it), crowds[it.region.as_str()]);
            let Some(loser) = next.max_by_key(|it| (loses(it), it.id.clone())) else {
                break;
            };
            regions.entry(&loser.region).or_default().pop();
            *crowds.entry(&loser.region).or_default() -= 1;
            self.tasks.push(Task::Destroy(loser.clone()));
        }
        Ok(())
    }
}

/// How many Machines the group has.
pub(crate) fn count(listed: &[Machine]) -> u32 {
    let members = listed.iter().filter(|it| is_member(it));
    u32::try_from(members.count()).unwrap_or(u32::MAX)
}

/// A standby is not one of the number, and neither is what Fly lists for a while after its end.
fn is_member(machine: &Machine) -> bool {
    let going = machine.state == "destroying" || machine.is(State::Destroyed);
    !machine.is_standby() && !going
}

/// Whether it does its work. One that rests does not, on purpose or not.
fn is_well(machine: &Machine) -> bool {
    machine.is_reachable() && healthy(machine)
}

/// How many Machines each region has.
fn crowds<'a>(members: &[&'a Machine]) -> BTreeMap<&'a str, usize> {
    let mut crowds = BTreeMap::new();
    for machine in members {
        *crowds.entry(machine.region.as_str()).or_default() += 1;
    }
    crowds
}

/// How many Machines have each image, of those that a new one can be like: the started ones whose
/// hosts are reached, or, when the group is at rest, the others.
fn images<'a>(members: &[&'a Machine]) -> BTreeMap<&'a str, usize> {
    let mut images = BTreeMap::new();
    for machine in fit(members) {
        *images.entry(image(machine)).or_default() += 1;
    }
    images
}

fn fit<'a>(members: &[&'a Machine]) -> Vec<&'a Machine> {
    let known = members.iter().filter(|it| it.is_reachable()).copied();
    let (up, resting): (Vec<&Machine>, Vec<&Machine>) = known.partition(|it| it.is(State::Started));
    if up.is_empty() { resting } else { up }
}

fn image(machine: &Machine) -> &str {
    machine.image_digest.as_deref().unwrap_or(&machine.image)
}

/// The Machine that new ones are like: of the commonest image, healthy if one is, and of these the
/// one that was changed last.
fn pattern<'a>(members: &[&'a Machine], images: &BTreeMap<&str, usize>) -> Option<&'a Machine> {
    fit(members).into_iter().max_by_key(|it| {
        let common = images.get(image(it)).copied();
        (common, healthy(it), it.updated_at, Reverse(it.id.clone()))
    })
}

fn no_pattern(input: &Input) -> Error {
    Error::new(
        Kind::NotFound,
        format!(
            "no reachable Machine in the group `{}` of app `{}` to take the configuration from",
            input.group, input.app
        ),
    )
}

/// Says which Machines will stand by for one that is gone.
fn bereft(listed: &[Machine], tasks: &[Task]) -> Option<String> {
    let going = tasks.iter().filter_map(|task| match task {
        Task::Make(_) => None,
        Task::Destroy(machine) => Some(&machine.id),
    });
    let going: BTreeSet<&String> = going.collect();
    let standbys = listed.iter();
    let standbys: Vec<&str> = standbys
        .filter(|it| it.standbys.iter().any(|id| going.contains(id)))
        .map(|it| it.id.as_str())
        .collect();
    (!standbys.is_empty()).then(|| {
        format!(
            "these stand by for a Machine that is destroyed: {}",
            standbys.join(", ")
        )
    })
}
