//! On which of the listed Machines the command is run.

use std::collections::BTreeSet;

use groundcrew_plugin::{Machine, Result, State, refuse_unknown};

use crate::Input;

/// The listed Machines, sorted into what happens to them. Machines that are not started are left
/// out silently unless `include` names them.
#[derive(Default)]
pub(crate) struct Selection {
    /// Those that run it, by id.
    pub(crate) chosen: Vec<Machine>,
    /// The platform does not reach their hosts.
    pub(crate) unreachable: Vec<Machine>,
    /// Left alone although named, with the reason.
    pub(crate) skipped: Vec<(Machine, String)>,
}

impl Selection {
    /// Sorts them.
    ///
    /// # Errors
    ///
    /// If `include` names a Machine that was not listed: most likely a slip, and then better
    /// nothing is run.
    pub(crate) fn of(mut listed: Vec<Machine>, input: &Input) -> Result<Self> {
        refuse_unknown(&listed, &input.include, &input.app, input.group.as_deref())?;
        listed.sort_by(|a, b| a.id.cmp(&b.id));
        let included: BTreeSet<&String> = input.include.iter().collect();
        let excluded: BTreeSet<&String> = input.exclude.iter().collect();
        let mut selection = Self::default();
        for machine in listed {
            let named = included.contains(&machine.id);
            if !(included.is_empty() || named) {
                continue;
            }
            if excluded.contains(&machine.id) {
                selection.skipped.push((machine, "excluded".to_owned()));
            } else if !machine.is(State::Started) {
                if named {
                    let why = format!("is {}", machine.state);
                    selection.skipped.push((machine, why));
                }
            } else if machine.is_reachable() {
                selection.chosen.push(machine);
            } else {
                selection.unreachable.push(machine);
            }
        }
        selection.cut(input.limit);
        Ok(selection)
    }

    /// Once there are as many as were asked for, those that are not reached are not missed.
    fn cut(&mut self, limit: Option<u32>) {
        let Some(limit) = limit else { return };
        let limit = limit as usize;
        if self.chosen.len() >= limit {
            self.chosen.truncate(limit);
            self.unreachable.clear();
        }
    }
}
