//! What a run may do, and what it holds meanwhile: grants met with the policy, and locks.

use std::collections::BTreeMap;

use groundcrew_runbook::{EvaluatedGrant, Step, nearest};
use serde_json::Value;

use super::{Admission, Refusal};
use crate::capability::{Capability, terms};
use crate::effect::{Kind, Row};
use crate::grant::effective::Effective;
use crate::grant::{CapabilityGrant, Terms, quoted};
use crate::key::Key;
use crate::sandbox::Plugin;

impl Admission<'_> {
    /// The operator's policy has to say something that this host understands: a slip of the pen must
    /// not be a limit that nobody keeps.
    pub(super) fn policy(&mut self) {
        let policy = &self.request.policy;
        let of_targets = policy.target.values().map(|of_target| &of_target.grant);
        let mut refusals = Vec::new();
        for (name, grant) in [&policy.grant].into_iter().chain(of_targets).flatten() {
            let capabilities = &self.engine.capabilities;
            let names = || capabilities.iter().map(|capability| capability.name());
            let faults = match capabilities.iter().find(|c| c.name() == name) {
                Some(capability) => {
                    let mut faults = terms(capability.as_ref()).faults(grant);
                    faults.extend(no_verbs(capability.as_ref(), grant));
                    faults
                }
                None => {
                    let near = nearest(name, names()).map(|near| format!("did you mean `{near}`?"));
                    vec![(format!("there is no capability `{name}` to limit"), near)]
                }
            };
            let refusal = |(message, hint)| Refusal {
                step: None,
                message: format!("the operator's policy: {message}"),
                hint,
            };
            refusals.extend(faults.into_iter().map(refusal));
        }
        let approvals = policy.target.iter();
        let approvals =
            approvals.filter_map(|(name, of)| Some((name, of.approvals.as_ref()?.fault()?)));
        refusals.extend(approvals.map(|(name, why)| Refusal {
            step: None,
            message: format!("the operator's policy: `{name}`: {why}"),
            hint: None,
        }));
        let named = [&policy.plan_authors, &policy.run_authors];
        for key in named.into_iter().flatten() {
            if let Err(why) = Key::public_from(key) {
                refusals.push(Refusal {
                    step: None,
                    message: format!("the operator's policy: {why}"),
                    hint: None,
                });
            }
        }
        self.refusals.extend(refusals);
    }

    pub(super) fn grants(
        &mut self,
        step: &Step,
        plugin: &Plugin,
        grants: &BTreeMap<String, EvaluatedGrant>,
    ) -> BTreeMap<&'static str, Effective> {
        let mut effective = BTreeMap::new();
        for (name, grant) in grants {
            let capabilities = self.engine.capabilities.clone();
            let Some(capability) = capabilities.iter().find(|c| c.name() == name) else {
                let known: Vec<String> = capabilities.iter().map(|c| c.name().to_owned()).collect();
                self.refuse(
                    &step.id,
                    format!("there is no capability `{name}` to grant"),
                    Some(format!("this host has {}", quoted(&known))),
                );
                continue;
            };
            let rows = capability.operations();
            for verb in grant
                .verbs
                .iter()
                .filter(|verb| !rows.iter().any(|row| row.verb == **verb))
            {
                self.refuse(
                    &step.id,
                    format!("`{name}` has no verb `{verb}`"),
                    Some(format!("its verbs are {}", quoted(&verbs(rows)))),
                );
            }
            let terms = terms(capability.as_ref());
            let granted = CapabilityGrant::from(grant);
            for (message, hint) in terms.faults(&granted) {
                self.refuse(&step.id, message, hint);
            }
            let requested = plugin.requested(name);
            let (policy, target) = (&self.request.policy, self.request.target.whereabouts());
            match Effective::meet(terms, &granted, &requested, policy, &target) {
                Ok(met) => {
                    for why in met.withheld() {
                        let hint = "grant less, or ask whoever keeps the policy";
                        self.refuse(&step.id, why, Some(hint.to_owned()));
                    }
                    self.note_gaps(step, plugin, capability.as_ref(), &met);
                    if met.verbs().iter().any(|verb| writes(rows, verb)) {
                        self.writes = true;
                        self.lock_for(terms, &granted);
                    }
                    effective.insert(capability.name(), met);
                }
                Err(why) => self.refuse(&step.id, why, None),
            }
        }
        effective
    }

    /// Says what a plugin asks for and will not get: it will be denied when it tries. Verbs that the
    /// runbook makes of its inputs are meant to be fewer at times.
    fn note_gaps(
        &mut self,
        step: &Step,
        plugin: &Plugin,
        capability: &dyn Capability,
        met: &Effective,
    ) {
        let verbs = step.grant.get(capability.name()).map(|grant| &grant.verbs);
        if verbs.is_some_and(|verbs| verbs.iter().any(|verb| verb.literal().is_none())) {
            return;
        }
        let requested = plugin.requested(capability.name());
        let missing: Vec<String> = requested
            .into_iter()
            .filter(|verb| !met.verbs().contains(verb))
            .collect();
        if !missing.is_empty() {
            self.warnings.push(format!(
                "step `{}`: plugin `{}` asks for {} of `{}`, which it is not granted",
                step.id,
                plugin.info.name,
                quoted(&missing),
                capability.name()
            ));
        }
    }

    /// Locks what a step is granted by name, and within that what would be looked up: `app/web/worker`,
    /// or `app/web/*` where the grant says nothing of it.
    fn lock_for(&mut self, terms: Terms, grant: &CapabilityGrant) {
        let targets = self.request.target.locked_as();
        let found = terms.scopes.iter().find(|scope| scope.looked_up);
        let found = found.and_then(|scope| grant.names(scope.key));
        for scope in terms.scopes.iter().filter(|scope| !scope.looked_up) {
            for name in grant.names(scope.key).unwrap_or_default() {
                let one = scope.one;
                for target in &targets {
                    // A pattern may cover any of them.
                    if name.contains(['*', '?', '[', '{', '\\']) {
                        self.default_locks.push(format!("{target}/{one}/*"));
                        continue;
                    }
                    match found.filter(|found| !found.is_empty()) {
                        Some(found) => self
                            .default_locks
                            .extend(found.iter().map(|f| format!("{target}/{one}/{name}/{f}"))),
                        None => self.default_locks.push(format!("{target}/{one}/{name}/*")),
                    }
                }
            }
        }
    }

    pub(super) fn locks(&mut self) -> Vec<String> {
        let mut locks = match &self.request.runbook.lock {
            None => std::mem::take(&mut self.default_locks),
            Some(templates) => {
                let mut locks = Vec::new();
                for template in templates {
                    match template.evaluate(&self.scope) {
                        Ok(Value::String(name)) => {
                            let targets = self.request.target.locked_as();
                            locks.extend(targets.iter().map(|target| format!("{target}/{name}")));
                        }
                        Ok(other) => self.refusals.push(Refusal {
                            step: None,
                            message: format!("a lock is a name, not {other}"),
                            hint: None,
                        }),
                        Err(e) => self.refusals.push(Refusal {
                            step: None,
                            message: e.to_string(),
                            hint: None,
                        }),
                    }
                }
                locks
            }
        };
        locks.sort();
        locks.dedup();
        locks
    }
}

/// Verbs of a policy that the capability does not have.
fn no_verbs(
    capability: &dyn Capability,
    grant: &CapabilityGrant,
) -> impl Iterator<Item = (String, Option<String>)> {
    let known = verbs(capability.operations());
    let name = capability.name();
    let said = grant.verbs.clone().unwrap_or_default().into_iter();
    said.filter(|verb| !known.contains(verb))
        .map(|verb| {
            let near = nearest(&verb, known.iter().map(String::as_str));
            let hint = near.map_or_else(
                || format!("its verbs are {}", quoted(&known)),
                |near| format!("did you mean `{near}`?"),
            );
            (format!("`{name}` has no verb `{verb}`"), Some(hint))
        })
        .collect::<Vec<_>>()
        .into_iter()
}

fn verbs(rows: &[Row]) -> Vec<String> {
    let mut verbs: Vec<String> = rows
        .iter()
        .filter(|row| !row.verb.is_empty())
        .map(|row| row.verb.to_owned())
        .collect();
    verbs.sort();
    verbs.dedup();
    verbs
}

fn writes(rows: &[Row], verb: &str) -> bool {
    rows.iter()
        .any(|row| row.verb == verb && row.kind == Kind::Write && !row.housekeeping)
}
