//! On which of the listed Machines the command is run.

use groundcrew_plugin::{Machine, Result, State};
use groundcrew_sweep::Selection;

use crate::Input;

/// Sorts them by id. Machines that are not started are left out silently unless `include` names them.
///
/// # Errors
///
/// If `include` names a Machine that was not listed.
pub(crate) fn select(mut listed: Vec<Machine>, input: &Input) -> Result<Selection> {
    listed.sort_by(|a, b| a.id.cmp(&b.id));
    let rests = |it: &Machine| (!it.is(State::Started)).then(|| format!("is {}", it.state));
    let mut selection = input.which().select(listed, rests)?;
    // Once there are as many as were asked for, those that are not reached are not missed.
    if let Some(limit) = input.limit
        && selection.chosen.len() >= limit as usize
    {
        selection.chosen.truncate(limit as usize);
        selection.unreachable.clear();
    }
    Ok(selection)
}
