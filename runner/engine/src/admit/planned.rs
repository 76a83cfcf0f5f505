//! The part of admission that is about plans: approvals, what a plan was made with, and the faults of
//! rehearsals.

use super::{Admission, Refusal};
use crate::effect::Mode;
use crate::grant::policy::{Approvals, TargetPolicy};
use crate::grant::quoted;
use crate::journal::PluginUsed;
use crate::key::Key;
use crate::plan::{PlanError, Powers, untrue};
use crate::target::Whereabouts;

/// What of the plugins that were used is not here any more, or is another step's now. Two of a runbook
/// may call themselves the same.
pub(crate) fn another_build(used: &[PluginUsed], here: &[PluginUsed]) -> Option<String> {
    let gone = used
        .iter()
        .find(|used| !here.iter().any(|p| p.digest == used.digest));
    if let Some(gone) = gone {
        let other = here.iter().find(|here| here.name == gone.name);
        return Some(format!(
            "plugin `{}` is another build: it was {}, here is {}",
            gone.name,
            gone.digest,
            other.map_or("none", |here| here.digest.as_str())
        ));
    }
    // By step, where that was written down.
    let of = |plugins: &'_ [PluginUsed], step: &String| {
        let uses = |used: &&PluginUsed| used.steps.contains(step);
        plugins.iter().find(uses).map(|used| used.digest.clone())
    };
    let mut steps = used.iter().flat_map(|used| &used.steps);
    let (step, was) = steps.find_map(|step| {
        let was = of(used, step);
        (was != of(here, step)).then_some((step, was?))
    })?;
    Some(format!(
        "step `{step}` uses another build: it was {was}, here is {}",
        of(here, step).unwrap_or_else(|| "none".to_owned())
    ))
}

impl Admission<'_> {
    /// Refuses the whole run.
    fn refuse_all(&mut self, message: String, hint: Option<&str>) {
        self.refusals.push(Refusal {
            step: None,
            message,
            hint: hint.map(str::to_owned),
        });
    }

    /// Faults strike in rehearsals only, and have to name something that there is.
    pub(super) fn faults(&mut self) {
        if self.request.mode == Mode::Perform && !self.request.faults.is_empty() {
            let message = "faults are for rehearsals; this run is none";
            self.refuse_all(message.to_owned(), None);
        }
        if self.request.faults.is_empty() {
            return;
        }
        let rows = self.engine.rows();
        for rule in &self.request.faults {
            if !rows.keys().any(|name| rule.names(name)) {
                let near = groundcrew_runbook::nearest(&rule.route, rows.keys().copied());
                let near = near.map(|near| format!("did you mean `{near}`?"));
                let message = format!("the fault `{rule}` names no operation");
                self.refuse_all(message, near.as_deref());
            }
        }
    }

    /// Who has approved, where somebody has to.
    pub(super) fn approvals(&mut self) -> Vec<String> {
        let target = self.request.target.whereabouts();
        let policy = &self.request.policy;
        if self.request.mode == Mode::Rehearsal || !self.writes {
            return Vec::new();
        }
        let wanted: Vec<(String, Approvals)> = policy
            .approvals(&target)
            .into_iter()
            .map(|(name, approvals)| (name.to_owned(), approvals.clone()))
            .collect();
        if wanted.is_empty() {
            self.nobody_to_approve(&target);
            return Vec::new();
        }
        let mut by = Vec::new();
        for (name, approvals) in wanted {
            by.extend(self.approved(&name, &approvals));
        }
        by.sort();
        by.dedup();
        by
    }

    /// A target of a project's own making, where the policy wants approvals for others: nobody knows
    /// what it is.
    fn nobody_to_approve(&mut self, target: &Whereabouts) {
        let policy = &self.request.policy;
        let wants = |of: &TargetPolicy| of.approvals.as_ref().is_some_and(|a| a.required > 0);
        let wanted = policy.target.iter().find(|(_, of)| wants(of));
        let (Some((wanted, _)), true) = (wanted, target.from_project && !policy.knows(target))
        else {
            return;
        };
        let name = &target.name;
        let message = format!(
            "the operator's policy wants approvals for `{wanted}`, and does not know the project's target `{name}`"
        );
        let hint = format!(
            "a table `[target.{name}]` with its `address` in the policy says that it needs none"
        );
        self.refuse_all(message, Some(&hint));
    }

    /// Who has approved of the plan, as one table of the policy wants it.
    fn approved(&mut self, name: &str, approvals: &Approvals) -> Vec<String> {
        let required = approvals.required;
        let Some(plan) = &self.request.plan else {
            let message = format!(
                "the operator's policy wants what writes to `{name}` planned, and the plan approved ({required} of {} keys)",
                approvals.keys.len()
            );
            self.refuse_all(message, Some("`groundcrew plan RUNBOOK -o FILE` makes a plan, `groundcrew approve FILE` approves it, `groundcrew apply FILE` does it"));
            return Vec::new();
        };
        let keys: Result<Vec<Key>, _> =
            approvals.keys.iter().map(|k| Key::public_from(k)).collect();
        let approvers = keys.map_err(PlanError::from).and_then(|keys| {
            let approvers = plan.approvals(&keys)?;
            Ok(approvers
                .iter()
                .map(|key| key.name().to_owned())
                .collect::<Vec<_>>())
        });
        match approvers {
            Err(e) => self.refuse_all(format!("the approvals cannot be checked: {e}"), None),
            Ok(approvers) if approvers.len() < required as usize => {
                let by = match approvers.as_slice() {
                    [] => "nobody".to_owned(),
                    some => quoted(some),
                };
                let message = format!(
                    "the operator's policy wants {required} approvals for `{name}`, and the plan is approved by {by} (its author's own signature does not count)"
                );
                self.refuse_all(message, Some("whoever may, runs `groundcrew approve FILE`"));
            }
            Ok(approvers) => return approvers,
        }
        Vec::new()
    }

    /// What a plan is applied with has to be what it was made with.
    pub(super) fn as_planned(&mut self, plugins: &[PluginUsed], powers: &[Powers]) {
        let Some(signed) = self.request.plan.clone() else {
            return;
        };
        let (plan, request) = (signed.plan(), self.request);
        if request.mode == Mode::Rehearsal {
            self.refuse_all("a plan is applied, not rehearsed".to_owned(), None);
        }
        if (&request.text, &request.inputs, request.seed)
            != (&plan.runbook_text, &plan.inputs, plan.seed)
        {
            let message = "runbook, inputs and seed are not those of the plan";
            self.refuse_all(message.to_owned(), None);
        }
        if let Err(why) = request.target.is_still(&plan.target) {
            self.refuse_all(format!("the plan is for another target: {why}"), None);
        }
        if let Some(place) = request.target.beyond(&plan.target) {
            let message = format!("the plan does not say where the target's `{place}` is");
            self.refuse_all(message, Some("make the plan again"));
        }
        // What people read before they approved of it has to be so.
        for untrue in untrue(plan, &self.engine.rows()) {
            self.refuse_all(format!("the plan says what is not so: {untrue}"), None);
        }
        let told = |now: &Powers| plan.steps.iter().any(|planned| now.within(planned));
        if let Some(more) = powers.iter().find(|now| !told(now)) {
            let message = format!(
                "step `{}` can do something else than the plan says that it can",
                more.step
            );
            self.refuse_all(message, None);
        }
        let other = another_build(&plan.plugins, plugins);
        let named = |here: &&PluginUsed| {
            let planned = plan.plugins.iter().find(|p| p.digest == here.digest);
            planned.is_none_or(|p| (&p.name, &p.version) != (&here.name, &here.version))
        };
        let unnamed = || {
            let here = plugins.iter().find(named)?;
            let (name, version) = (&here.name, &here.version);
            Some(format!("plugin `{name}` {version} is not in the plan"))
        };
        if let Some(why) = other.or_else(unnamed) {
            self.refuse_all(format!("{why}; the plan was made with that"), None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(digest: &str, steps: &[&str]) -> PluginUsed {
        PluginUsed {
            name: "same".to_owned(),
            version: "1".to_owned(),
            digest: digest.to_owned(),
            steps: steps.iter().map(|step| (*step).to_owned()).collect(),
        }
    }

    #[test]
    fn builds_are_compared_by_step() {
        let here = [plugin("a", &["one", "three"]), plugin("b", &["two"])];
        let said = |used: &[PluginUsed]| another_build(used, &here);
        assert_eq!(said(&here), None);
        // As they were written down before.
        assert_eq!(said(&[plugin("b", &[]), plugin("a", &[])]), None);
        let gone = "plugin `same` is another build: it was c, here is a";
        assert_eq!(said(&[plugin("c", &["one"])]).as_deref(), Some(gone));
        for (used, why) in [
            (
                [plugin("b", &["one", "three"]), plugin("a", &["two"])],
                "step `one` uses another build: it was b, here is a",
            ),
            (
                [plugin("a", &["one"]), plugin("b", &["two", "three"])],
                "step `three` uses another build: it was b, here is a",
            ),
            (
                [plugin("a", &["one", "four"]), plugin("b", &["two"])],
                "step `four` uses another build: it was a, here is none",
            ),
        ] {
            assert_eq!(said(&used).as_deref(), Some(why));
        }
    }
}
