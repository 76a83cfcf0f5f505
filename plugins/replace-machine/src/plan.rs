//! What happens to each of the named Machines. Nothing is sent here.

use std::collections::BTreeSet;

use groundcrew_plugin::{Machine, Result, State, refuse_unknown};

use crate::Input;

/// One Machine and its replacement's pattern.
pub(crate) struct Order {
    /// The Machine that is replaced.
    pub(crate) old: Machine,
    /// The one whose configuration the replacement gets, often the old one itself.
    pub(crate) pattern: Machine,
}

/// The named Machines, sorted into what happens to them.
#[derive(Default)]
pub(crate) struct Plan {
    /// Those that are replaced.
    pub(crate) orders: Vec<Order>,
    /// Those that are left alone, and why.
    pub(crate) refused: Vec<(Machine, String)>,
    /// Machines that stand by for one that is going to be replaced.
    pub(crate) bereft: Vec<String>,
}

impl Plan {
    /// Sorts them.
    ///
    /// # Errors
    ///
    /// If one of them was not listed: most likely a slip, and then better nothing is replaced.
    pub(crate) fn of(listed: &[Machine], input: &Input) -> Result<Self> {
        refuse_unknown(listed, &input.ids, &input.app, None)?;
        let named: BTreeSet<&String> = input.ids.iter().collect();
        let mut plan = Self::default();
        for old in listed.iter().filter(|it| named.contains(&it.id)) {
            match order(old, listed, &named, input) {
                Ok(order) => plan.orders.push(order),
                Err(why) => plan.refused.push((old.clone(), why)),
            }
        }
        plan.bereft = bereft(listed, &plan.orders);
        Ok(plan)
    }
}

/// What is done about one of them, or why nothing is.
fn order(
    old: &Machine,
    listed: &[Machine],
    named: &BTreeSet<&String>,
    input: &Input,
) -> Result<Order, String> {
    if is_going(old) {
        return Err(format!("is {}", old.state));
    }
    if !old.mounts.is_empty() && !input.allow_mounts {
        let volumes: Vec<&str> = old.mounts.iter().map(|it| it.volume.as_str()).collect();
        return Err(format!(
            "has {} mounted, and volumes do not move: `allow_mounts` replaces it without",
            volumes.join(", ")
        ));
    }
    let own = old.is_reachable() && !input.destroy_first;
    let pattern = if own {
        Some(old)
    } else {
        sibling(old, listed, named)
    };
    let pattern = pattern.ok_or_else(|| no_pattern(old, input))?;
    Ok(Order {
        old: old.clone(),
        pattern: pattern.clone(),
    })
}

fn no_pattern(old: &Machine, input: &Input) -> String {
    let why = if input.destroy_first {
        "it is destroyed first"
    } else {
        "its host is not reached, so its configuration is not known"
    };
    format!(
        "{why}, and the group `{}` has no other Machine to take a configuration from",
        old.group
    )
}

/// Another Machine of the group that stays, best one of the same kind and region that runs.
fn sibling<'a>(
    old: &Machine,
    listed: &'a [Machine],
    named: &BTreeSet<&String>,
) -> Option<&'a Machine> {
    let fit = listed.iter().filter(|it| {
        it.group == old.group && it.is_reachable() && !is_going(it) && !named.contains(&it.id)
    });
    fit.min_by_key(|it| {
        (
            it.is_standby() != old.is_standby(),
            it.region != old.region,
            !it.is(State::Started),
            it.id.clone(),
        )
    })
}

/// Fly lists Machines for a while that are gone.
pub(crate) fn is_going(machine: &Machine) -> bool {
    machine.state == "destroying" || machine.is(State::Destroyed)
}

/// The ids of Machines that will stand by for one that is gone.
fn bereft(listed: &[Machine], orders: &[Order]) -> Vec<String> {
    let going: BTreeSet<&String> = orders.iter().map(|order| &order.old.id).collect();
    listed
        .iter()
        .filter(|it| !going.contains(&it.id) && it.standbys.iter().any(|id| going.contains(id)))
        .map(|it| it.id.clone())
        .collect()
}
