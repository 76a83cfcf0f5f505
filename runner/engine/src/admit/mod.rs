//! Admission: everything that can be refused is refused here, all of it together, before anything
//! has touched the network. `grants.rs` is about grants and locks, `planned.rs` about plans and
//! approvals, `powers.rs` says what steps can do.

mod grants;
mod planned;
pub(crate) mod powers;
mod request;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use groundcrew_runbook::{Scope, Step, TemplateValue};
use jiff::Timestamp;
use serde_json::{Value, json};
use thiserror::Error;

use crate::clock::{Clock, millis};
use crate::deadline::Deadline;
use crate::digest::digest;
use crate::effect::{Commons, Mode, Setting};
use crate::engine::Engine;
use crate::grant::effective::{Effective, StepCovers};
use crate::grant::policy::Policy;
use crate::journal::PluginUsed;
use crate::sandbox::Plugin;
use crate::sealed::{Sealed, seal};
use powers::{powers, used};

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
    /// The values behind its inputs' marks.
    pub(crate) sealed: Sealed,
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
            sealed: self.sealed.clone(),
        }
    }

    /// The capabilities of which any step may do something, however little.
    pub(crate) fn granted(&self) -> BTreeSet<&str> {
        fn of<'a>(steps: &'a [AdmittedStep], all: &mut BTreeSet<&'a str>) {
            for step in steps {
                all.extend(step.grants.keys());
                of(&step.rescue, all);
            }
        }
        let mut all = BTreeSet::new();
        of(&self.steps, &mut all);
        of(&self.finally, &mut all);
        all
    }

    /// What of an answer each step may see.
    pub(crate) fn covers(&self) -> StepCovers {
        fn of(steps: &[AdmittedStep], all: &mut StepCovers) {
            for step in steps {
                for (name, grant) in &step.grants {
                    all.insert((step.id().to_owned(), *name), grant.cover());
                }
                of(&step.rescue, all);
            }
        }
        let mut all = StepCovers::new();
        of(&self.steps, &mut all);
        of(&self.finally, &mut all);
        all
    }

    /// What each step may do, by step and capability.
    /// Those that clean up after another are among them.
    pub fn grants(&self) -> impl Iterator<Item = (&str, &str, &Effective)> {
        fn of<'a>(steps: &'a [AdmittedStep], all: &mut Vec<(&'a str, &'a str, &'a Effective)>) {
            for step in steps {
                let grants = step.grants.iter();
                all.extend(grants.map(|(name, grant)| (step.id(), *name, grant)));
                of(&step.rescue, all);
            }
        }
        let mut all = Vec::new();
        of(&self.steps, &mut all);
        of(&self.finally, &mut all);
        all.into_iter()
    }

    /// Where it acts.
    pub fn target(&self) -> &crate::target::Target {
        &self.request.target
    }

    /// The plugins that its steps are.
    pub fn plugins(&self) -> &[PluginUsed] {
        &self.plugins
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
    let (request, sealed, unknown) = sealed(request).await;
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
        refusals: unknown,
        warnings: Vec::new(),
        default_locks: Vec::new(),
        writes: false,
    };
    let steps = admission.steps(&request.runbook.steps).await;
    let finally = admission.steps(&request.runbook.finally).await;
    let locks = admission.locks();
    admission.policy();
    admission.faults();
    let approvals = admission.approvals();
    let plugins = used(&steps, &finally);
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
        sealed,
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

/// Seals what is secret in the inputs; not on this thread, because that is meant to take a while. What
/// cannot be opened is a refusal.
async fn sealed(request: RunRequest) -> (RunRequest, Sealed, Vec<Refusal>) {
    if !request.runbook.inputs.iter().any(|spec| spec.secret) {
        return (request, Sealed::default(), Vec::new());
    }
    let place = request.target.organisation.clone().unwrap_or_default();
    let (runbook, inputs) = (request.runbook.clone(), request.inputs.clone());
    let given = request.secrets.clone();
    let done = tokio::task::spawn_blocking(move || seal(&runbook, inputs, &given, &place)).await;
    let refusal = |message: String| Refusal {
        step: None,
        message,
        hint: Some("give it with `-i NAME=…`, as the first time".to_owned()),
    };
    match done.unwrap_or_else(|e| Err(vec![e.to_string()])) {
        Ok((inputs, sealed)) => {
            let request = RunRequest {
                inputs,
                secrets: Value::Null,
                ..request
            };
            (request, sealed, Vec::new())
        }
        Err(unknown) => (
            request,
            Sealed::default(),
            unknown.into_iter().map(refusal).collect(),
        ),
    }
}

/// What a step is given; not reckoned on this thread if that takes a while, because this thread shows
/// that the run is alive.
pub(crate) async fn given(with: &TemplateValue, scope: &Scope) -> Result<Value, String> {
    let value = match with.evaluate_soon(scope) {
        Some(value) => value,
        None => {
            let (with, scope) = (with.clone(), scope.clone());
            tokio::task::spawn_blocking(move || with.evaluate(&scope))
                .await
                .map_err(|e| e.to_string())?
        }
    };
    value.map_err(|e| e.to_string())
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
                self.input(step, &plugin).await;
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

    /// Whether a step's `when` is decided by now, and does not hold.
    fn surely_skipped(&self, step: &Step) -> bool {
        let decided = step.when.as_ref().filter(|when| when.steps().is_empty());
        decided.is_some_and(|when| matches!(when.holds(&self.scope), Ok(false)))
    }

    /// An input that needs no other step's output is validated now, the others before their step.
    async fn input(&mut self, step: &Step, plugin: &Plugin) {
        if step.with.uses_steps() {
            return;
        }
        match given(&step.with, &self.scope).await {
            Ok(input) => {
                for fault in plugin.input_faults(&input).await {
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
            Err(e) => self.refuse(&step.id, e, None),
        }
    }
}
