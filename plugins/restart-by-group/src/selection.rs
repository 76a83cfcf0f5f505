//! Which of the listed Machines are restarted, and why the others that somebody may ask about are
//! not.

use std::collections::BTreeSet;

use groundcrew_plugin::{Machine, Result, State, refuse_unknown};

use crate::Input;

/// The listed Machines, sorted into what happens to them. Standbys and Machines that are not
/// started are left out silently unless `include` names them.
pub(crate) struct Selection {
    /// To be restarted, in this order.
    pub(crate) chosen: Vec<Machine>,
    /// The platform does not reach their hosts, so a restart could only time out.
    pub(crate) unreachable: Vec<Machine>,
    /// Left alone although named, with the reason.
    pub(crate) skipped: Vec<(Machine, String)>,
    /// How many may be worked on at once.
    pub(crate) at_once: usize,
}

impl Selection {
    /// Sorts them.
    ///
    /// # Errors
    ///
    /// If `include` names a Machine that was not listed: most likely a slip, and then better
    /// nothing is restarted.
    pub(crate) fn of(listed: Vec<Machine>, input: &Input) -> Result<Self> {
        refuse_unknown(&listed, &input.include, &input.app, input.group.as_deref())?;
        let running = listed
            .iter()
            .filter(|machine| left_alone(machine).is_none())
            .count();
        let parallel = input.parallel.max(1) as usize;
        let at_once = input
            .max_unavailable
            .map_or(parallel, |most| most.of(running).min(parallel));

        let mut selection = Self {
            chosen: Vec::new(),
            unreachable: Vec::new(),
            skipped: Vec::new(),
            at_once,
        };
        let included: BTreeSet<&String> = input.include.iter().collect();
        let excluded: BTreeSet<&String> = input.exclude.iter().collect();
        for machine in listed {
            let named = included.contains(&machine.id);
            if !(included.is_empty() || named) {
                continue;
            }
            if excluded.contains(&machine.id) {
                selection.skipped.push((machine, "excluded".to_owned()));
            } else if let Some(why) = left_alone(&machine) {
                if named {
                    selection.skipped.push((machine, why));
                }
            } else if !machine.is_reachable() {
                selection.unreachable.push(machine);
            } else {
                selection.chosen.push(machine);
            }
        }
        Ok(selection)
    }
}

/// Why a Machine is none that this step restarts.
fn left_alone(machine: &Machine) -> Option<String> {
    if machine.is_standby() {
        Some(format!("stands by for {}", machine.standbys.join(", ")))
    } else if !machine.is(State::Started) {
        Some(format!("is {}", machine.state))
    } else {
        None
    }
}
