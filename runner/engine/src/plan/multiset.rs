//! Planned writes, in no order: what is left of them while they are made.

use std::collections::HashMap;

use serde_json::Value;

use super::{Plan, PlannedWrite};
use crate::journal::{IntendedRequest, step_id};

/// Arguments, and the name of what is made, by what is done to what.
#[derive(Debug, Clone, Default)]
pub(crate) struct Multiset(HashMap<Act, Vec<What>>);

/// Step, operation, app (and what else it is within) and subject.
pub(crate) type Act = (String, String, String, String);

/// Arguments, and the name of what is made.
pub(crate) type What = (Value, Option<String>);

/// What a step does to what.
pub(crate) fn act(step: &str, request: &IntendedRequest) -> Act {
    // A second attempt goes on with the writes of the first.
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let mut within = text(&request.app);
    for (one, name) in &request.within {
        within.push_str(&format!(" {one}/{name}"));
    }
    (
        step_id(step).to_owned(),
        request.operation.clone(),
        within,
        text(&request.subject),
    )
}

impl Multiset {
    pub(crate) fn of<'w>(writes: impl IntoIterator<Item = &'w PlannedWrite>) -> Self {
        let mut all = Self::default();
        for write in writes {
            let what = (write.request.arguments.clone(), write.makes.clone());
            all.put(act(&write.step, &write.request), what);
        }
        all
    }

    pub(crate) fn put(&mut self, act: Act, what: What) {
        self.0.entry(act).or_default().push(what);
    }

    /// Takes one out.
    pub(crate) fn take(&mut self, act: &Act, arguments: &Value) -> Option<What> {
        let planned = self.0.get_mut(act)?;
        let at = planned
            .iter()
            .position(|(planned, _)| planned == arguments)?;
        // In order: of things that are made alike, the first is the first.
        Some(planned.remove(at))
    }
}

impl Plan {
    /// What some writes, those of a contingency, have beyond the planned ones.
    pub fn beyond<'w>(&self, writes: &'w [PlannedWrite]) -> Vec<&'w PlannedWrite> {
        let mut planned = Multiset::of(&self.writes);
        let mut beyond = |write: &&PlannedWrite| {
            let act = act(&write.step, &write.request);
            planned.take(&act, &write.request.arguments).is_none()
        };
        writes.iter().filter(|write| beyond(write)).collect()
    }
}
