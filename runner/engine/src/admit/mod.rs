//! Admission: everything that can be refused is refused here, all of it together, before anything
//! has touched the network.

mod planned;
pub(crate) mod powers;
mod request;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use groundcrew_runbook::{EvaluatedGrant, Scope, Step};
use jiff::Timestamp;
use serde_json::{Value, json};
use thiserror::Error;

use crate::capability::Capability;
use crate::clock::{Clock, millis};
use crate::deadline::Deadline;
use crate::digest::digest;
use crate::effect::{Commons, Kind, Mode, Row, Setting};
use crate::engine::Engine;
use crate::grant::{CapabilityGrant, Effective, Policy, quoted};
use crate::journal::PluginUsed;
use crate::sandbox::Plugin;
use powers::powers;

pub(crate) use planned::another_build;
pub use request::RunRequest;

/// By which names a run is known.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// Its journal's.
    pub(crate) journal: Arc<str>,
    /// What expressions and plugins see.
    pub(crate) known_as: Arc<str>,
    pub(crate) started_at: Timestamp,
}

impl Identity {
    pub(crate) fn of(run: Arc<str>, started_at: Timestamp) -> Self {
        Self {
            journal: run.clone(),
            known_as: run,
            started_at,
        }
    }
}

/// One reason why a run is not admitted. Nothing has happened.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct Refusal {
    /// The step that it concerns.
    pub step: Option<String>,
    /// A sentence.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// A run that may start.
pub struct Admitted {
    pub(crate) request: RunRequest,
    pub(crate) run: Arc<str>,
    pub(crate) started_at: Timestamp,
    pub(crate) scope: Scope,
    pub(crate) steps: Vec<AdmittedStep>,
    pub(crate) finally: Vec<AdmittedStep>,
    pub(crate) locks: Vec<String>,
    pub(crate) plugins: Vec<PluginUsed>,
    pub(crate) policy_digest: Option<String>,
    /// The keys, by name, whose approval counts.
    pub(crate) approvals: Vec<String>,
    /// Of a rehearsal for a plan: the run that will apply it.
    pub(crate) rehearses: Option<String>,
    /// What an operator may want to know before it starts.
    pub warnings: Vec<String>,
}

impl Admitted {
    /// The run's id.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// The locks that it will take.
    pub fn locks(&self) -> &[String] {
        &self.locks
    }

    /// What its executors are made for, in one of the two worlds.
    pub(crate) fn setting(&self, mode: Mode, clock: Arc<dyn Clock>, deadline: Deadline) -> Setting {
        Setting {
            run: self.run.clone(),
            target: self.request.target.clone(),
            mode,
            clock,
            seed: self.request.seed,
            deadline,
            commons: Commons::default(),
        }
    }

    /// What each step may do, by step and capability.
    pub fn grants(&self) -> impl Iterator<Item = (&str, &str, &Effective)> {
        self.steps.iter().chain(&self.finally).flat_map(|step| {
            step.grants
                .iter()
                .map(|(name, grant)| (step.id(), *name, grant))
        })
    }
}

/// A step with its plugin and grants.
pub(crate) struct AdmittedStep {
    pub(crate) step: Step,
    pub(crate) plugin: Plugin,
    pub(crate) grants: BTreeMap<&'static str, Effective>,
    pub(crate) timeout: Duration,
    pub(crate) rescue: Vec<AdmittedStep>,
}

impl AdmittedStep {
    pub(crate) fn id(&self) -> &str {
        &self.step.id
    }
}

impl Engine {
    /// Checks everything that can be checked without touching the network.
    ///
    /// # Errors
    /// Every refusal.
    pub async fn admit(&self, request: RunRequest) -> Result<Admitted, Vec<Refusal>> {
        let identity = match &request.plan {
            Some(plan) => Identity::of(plan.plan().run.as_str().into(), plan.plan().made_at),
            None => {
                let now = self.wall.now();
                Identity::of(new_id(now, request.seed), now)
            }
        };
        admit(self, request, identity).await
    }
}

struct Admission<'a> {
    engine: &'a Engine,
    request: &'a RunRequest,
    scope: Scope,
    plugins: BTreeMap<String, Plugin>,
    refusals: Vec<Refusal>,
    warnings: Vec<String>,
    default_locks: Vec<String>,
    /// A step is granted something that writes.
    writes: bool,
}

/// A new run's id.
pub(crate) fn new_id(now: Timestamp, seed: u64) -> Arc<str> {
    let random = u128::from(seed) << 16 | u128::from(seed.rotate_left(17) & 0xffff);
    let id = ulid::Ulid::from_parts(millis(now), random);
    id.to_string().to_lowercase().into()
}

/// Admits a run of these names.
pub(crate) async fn admit(
    engine: &Engine,
    request: RunRequest,
    identity: Identity,
) -> Result<Admitted, Vec<Refusal>> {
    let Identity {
        journal,
        known_as,
        started_at,
    } = identity;
    let scope = Scope {
        inputs: request.inputs.clone(),
        target: json!({ "name": request.target.name, "organisation": request.target.organisation }),
        run: json!({ "id": *known_as, "runbook": request.runbook.name, "started_at": started_at.to_string() }),
        steps: BTreeMap::new(),
    };
    let mut admission = Admission {
        engine,
        request: &request,
        scope,
        plugins: BTreeMap::new(),
        refusals: Vec::new(),
        warnings: Vec::new(),
        default_locks: Vec::new(),
        writes: false,
    };
    let steps = admission.steps(&request.runbook.steps).await;
    let finally = admission.steps(&request.runbook.finally).await;
    let locks = admission.locks();
    admission.faults();
    let approvals = admission.approvals();
    let plugins: Vec<PluginUsed> = admission
        .plugins
        .values()
        .map(|p| PluginUsed {
            name: p.info.name.clone(),
            version: p.info.version.clone(),
            digest: p.digest.clone(),
        })
        .collect();
    admission.as_planned(&plugins, &powers(&steps, &finally));
    let Admission {
        scope,
        refusals,
        warnings,
        ..
    } = admission;
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let policy_digest = (request.policy != Policy::default())
        .then(|| serde_json::to_vec(&request.policy).ok())
        .flatten()
        .map(digest);
    Ok(Admitted {
        rehearses: (journal != known_as).then(|| known_as.to_string()),
        run: journal,
        started_at,
        scope,
        steps,
        finally,
        locks,
        plugins,
        policy_digest,
        approvals,
        warnings,
        request,
    })
}

impl Admission<'_> {
    fn refuse(&mut self, step: &str, message: String, hint: Option<String>) {
        self.refusals.push(Refusal {
            step: Some(step.to_owned()),
            message,
            hint,
        });
    }

    async fn steps(&mut self, steps: &[Step]) -> Vec<AdmittedStep> {
        let mut admitted = Vec::new();
        for step in steps {
            let Some(mut one) = self.step(step).await else {
                continue;
            };
            for rescue in &step.rescue {
                one.rescue.extend(self.step(rescue).await);
            }
            admitted.push(one);
        }
        admitted
    }

    async fn step(&mut self, step: &Step) -> Option<AdmittedStep> {
        let plugin = self.plugin(step).await;
        let timeout = match &step.timeout {
            Some(_) => step.timeout(&self.scope),
            None => Ok(self.engine.limits.step_timeout),
        };
        let timeout = match timeout {
            Ok(timeout) => timeout,
            Err(e) => {
                self.refuse(&step.id, e.to_string(), None);
                return None;
            }
        };
        let grants = match step.evaluate_grants(&self.scope) {
            Ok(grants) => grants,
            Err(e) => {
                self.refuse(&step.id, e.to_string(), None);
                return None;
            }
        };
        let plugin = plugin?;
        // A step that will be skipped needs no powers, and its input need not make sense.
        let grants = match self.surely_skipped(step) {
            true => BTreeMap::new(),
            false => {
                self.input(step, &plugin);
                self.grants(step, &plugin, &grants)
            }
        };
        Some(AdmittedStep {
            step: step.clone(),
            plugin,
            grants,
            timeout,
            rescue: Vec::new(),
        })
    }

    async fn plugin(&mut self, step: &Step) -> Option<Plugin> {
        let name = match step.plugin.evaluate(&self.scope) {
            Ok(Value::String(name)) => name,
            Ok(other) => {
                self.refuse(&step.id, format!("`plugin` is {other}, not a name"), None);
                return None;
            }
            Err(e) => {
                self.refuse(&step.id, e.to_string(), None);
                return None;
            }
        };
        if let Some(plugin) = self.plugins.get(&name) {
            return Some(plugin.clone());
        }
        match self.engine.plugin(&name).await {
            Ok(plugin) => {
                self.plugins.insert(name, plugin.clone());
                Some(plugin)
            }
            Err(e) => {
                let message = e.to_string();
                self.refuse(&step.id, message, e.hint);
                None
            }
        }
    }

    fn grants(
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
            let read = |key: &&String| key.as_str() == "origins" && name != "machines";
            let keys: Vec<String> = grant.extra.keys().filter(|k| !read(k)).cloned().collect();
            if !keys.is_empty() {
                self.refuse(
                    &step.id,
                    format!("a grant of `{name}` has no {}", quoted(&keys)),
                    None,
                );
            }
            let granted = CapabilityGrant {
                verbs: Some(grant.verbs.clone()),
                apps: Some(grant.apps.clone()),
                groups: (!grant.groups.is_empty()).then(|| grant.groups.clone()),
                origins: grant.extra.get("origins").cloned(),
                max_machines: grant
                    .max_machines
                    .map(|n| u32::try_from(n).unwrap_or(u32::MAX)),
                max_share: grant.max_share,
            };
            let requested = plugin.requested(name);
            match Effective::meet(
                name,
                &granted,
                &requested,
                &self.request.policy,
                &self.request.target.name,
            ) {
                Ok(met) => {
                    self.note_gaps(step, plugin, capability.as_ref(), &met);
                    if met.verbs().iter().any(|verb| writes(rows, verb)) {
                        self.writes = true;
                        self.lock_for(&granted);
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

    fn lock_for(&mut self, grant: &CapabilityGrant) {
        let target = &self.request.target.name;
        for app in grant.apps.iter().flatten() {
            // A pattern may cover any app.
            if app.contains(['*', '?', '[', '{', '\\']) {
                self.default_locks.push(format!("{target}/app/*"));
                continue;
            }
            match &grant.groups {
                Some(groups) => self.default_locks.extend(
                    groups
                        .iter()
                        .map(|group| format!("{target}/app/{app}/{group}")),
                ),
                None => self.default_locks.push(format!("{target}/app/{app}/*")),
            }
        }
    }

    fn locks(&mut self) -> Vec<String> {
        let mut locks = match &self.request.runbook.lock {
            None => std::mem::take(&mut self.default_locks),
            Some(templates) => {
                let mut locks = Vec::new();
                for template in templates {
                    match template.evaluate(&self.scope) {
                        Ok(Value::String(name)) => {
                            locks.push(format!("{}/{name}", self.request.target.name))
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

    /// Whether a step's `when` is decided by now, and does not hold.
    fn surely_skipped(&self, step: &Step) -> bool {
        let decided = step.when.as_ref().filter(|when| when.steps().is_empty());
        decided.is_some_and(|when| matches!(when.holds(&self.scope), Ok(false)))
    }

    /// An input that needs no other step's output is validated now, the others before their step.
    fn input(&mut self, step: &Step, plugin: &Plugin) {
        if step.with.uses_steps() {
            return;
        }
        match step.with.evaluate(&self.scope) {
            Ok(input) => {
                for fault in plugin.input_faults(&input) {
                    let message = format!(
                        "the input does not fit plugin `{}`: {fault}",
                        plugin.info.name
                    );
                    self.refuse(
                        &step.id,
                        message,
                        Some(format!(
                            "`groundcrew plugin show {}` prints what it takes",
                            plugin.info.name
                        )),
                    );
                }
            }
            Err(e) => self.refuse(&step.id, e.to_string(), None),
        }
    }
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
