//! Which of the listed Machines are restarted, and how many may be worked on at once.

use groundcrew_plugin::{Machine, Result, State};
use groundcrew_sweep::Selection;

use crate::Input;

/// Sorts them. Standbys and Machines that are not started are left out silently unless `include`
/// names them.
///
/// # Errors
///
/// If `include` names a Machine that was not listed.
pub(crate) fn select(listed: Vec<Machine>, input: &Input) -> Result<Selection> {
    input.which().select(listed, left_alone)
}

/// How many may be worked on at once.
pub(crate) fn at_once(listed: &[Machine], input: &Input) -> usize {
    let running = listed.iter().filter(|it| left_alone(it).is_none());
    groundcrew_sweep::at_once(input.parallel, input.max_unavailable, running.count())
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
