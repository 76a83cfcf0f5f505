//! What the steps of a run can do, whatever they do.

use serde_json::Value;

use super::AdmittedStep;
use crate::plan::Powers;

/// What each step can do, as it was admitted.
pub(crate) fn powers(steps: &[AdmittedStep], finally: &[AdmittedStep]) -> Vec<Powers> {
    fn of(step: &AdmittedStep, unbound: bool, all: &mut Vec<Powers>) {
        let grants = step.grants.iter();
        all.push(Powers {
            step: step.id().to_owned(),
            plugin: step.plugin.info.name.clone(),
            imports: step.plugin.imports.clone(),
            grants: grants
                .map(|(name, grant)| ((*name).to_owned(), grant.to_json()))
                .collect(),
            unbound,
        });
        step.rescue.iter().for_each(|step| of(step, true, all));
    }
    let mut all = Vec::new();
    steps.iter().for_each(|step| of(step, false, &mut all));
    finally.iter().for_each(|step| of(step, true, &mut all));
    all
}

impl Powers {
    /// Whether it can do no more than `planned`. A policy may have become stricter since.
    pub(crate) fn within(&self, planned: &Self) -> bool {
        let same = (&self.step, &self.plugin, &self.imports, self.unbound)
            == (
                &planned.step,
                &planned.plugin,
                &planned.imports,
                planned.unbound,
            );
        let grant = |(name, now): (&String, &Value)| {
            let planned = planned.grants.get(name);
            planned.is_some_and(|planned| no_more(now, planned))
        };
        same && self.grants.iter().all(grant)
    }
}

/// Whether a grant, as it is written down, allows no more than another.
fn no_more(now: &Value, planned: &Value) -> bool {
    let list = |of: &Value, field: &str| of[field].as_array().cloned().unwrap_or_default();
    let verbs = list(planned, "verbs");
    let fewer = list(now, "verbs").iter().all(|verb| verbs.contains(verb));
    // Each list is one more condition: what was one then has to be one now.
    let bound = |field: &str| {
        let conditions = list(now, field);
        let planned = list(planned, field);
        planned.iter().all(|list| conditions.contains(list))
    };
    let at_most = |field: &str| match (now[field].as_u64(), planned[field].as_u64()) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(now), Some(planned)) => now <= planned,
    };
    fewer
        && bound("apps")
        && bound("groups")
        && bound("origins")
        && at_most("max_machines")
        && at_most("max_share")
}
