//! What the steps of a run can do, whatever they do.

use serde_json::Value;

use super::AdmittedStep;
use crate::journal::PluginUsed;
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

/// The plugins of a run, each with the steps that use it.
pub(crate) fn used(steps: &[AdmittedStep], finally: &[AdmittedStep]) -> Vec<PluginUsed> {
    fn of(step: &AdmittedStep, all: &mut Vec<PluginUsed>) {
        let plugin = &step.plugin;
        let known = all.iter_mut().find(|used| used.digest == plugin.digest);
        match known {
            Some(used) => used.steps.push(step.id().to_owned()),
            None => all.push(PluginUsed {
                name: plugin.info.name.clone(),
                version: plugin.info.version.clone(),
                digest: plugin.digest.clone(),
                steps: vec![step.id().to_owned()],
            }),
        }
        step.rescue.iter().for_each(|step| of(step, all));
    }
    let mut all = Vec::new();
    steps
        .iter()
        .chain(finally)
        .for_each(|step| of(step, &mut all));
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

/// Whether a grant, as it is written down, allows no more than another, whatever its keys are. A key
/// that only one of them has comes from another version of the capability.
fn no_more(now: &Value, planned: &Value) -> bool {
    let Some(planned) = planned.as_object() else {
        return false;
    };
    planned.iter().all(|(key, planned)| match planned {
        Value::Null => true,
        Value::Array(verbs) if key == "verbs" => {
            let now = now[key].as_array().map(Vec::as_slice).unwrap_or_default();
            now.iter().all(|verb| verbs.contains(verb))
        }
        // Each list is one more condition: what was one then has to be one now.
        Value::Array(lists) => match now.get(key).and_then(Value::as_array) {
            Some(now) => lists.iter().all(|list| now.contains(list)),
            None => lists
                .iter()
                .all(|list| list.as_array().is_some_and(Vec::is_empty)),
        },
        most => match (now[key].as_u64(), most.as_u64()) {
            (Some(now), Some(most)) => now <= most,
            _ => false,
        },
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// As grants were written down before each capability had keys of its own.
    fn old() -> Value {
        json!({
            "verbs": ["list", "ring"], "apps": [["web"]], "groups": [], "origins": [[]],
            "max_things": 3, "max_share": null
        })
    }

    fn with(key: &str, value: Value) -> Value {
        let mut grant = json!({
            "verbs": ["list"], "apps": [["web"]], "groups": [],
            "max_things": 3, "max_share": null
        });
        grant[key] = value;
        grant
    }

    #[test]
    fn a_grant_of_an_old_plan_covers_the_same_one_now() {
        assert!(no_more(&old(), &old()));
        assert!(no_more(&with("groups", json!([["app"]])), &old()));
        assert!(no_more(&with("max_things", json!(2)), &old()));
    }

    #[test]
    fn what_goes_further_is_more() {
        for (key, value) in [
            ("verbs", json!(["list", "destroy"])),
            ("apps", json!([["web", "api"]])),
            ("apps", json!([])),
            ("max_things", json!(4)),
            ("max_things", json!(null)),
        ] {
            assert!(!no_more(&with(key, value.clone()), &old()), "{key} {value}");
        }
        let mut planned = old();
        planned["queues"] = json!([["default"]]);
        assert!(!no_more(&with("verbs", json!([])), &planned));
    }
}
