//! Making a plan: rehearse, each contingency first and the run itself last, and take the plan out of
//! the journal and the fork. The rehearsal's last entry names the plan's digest, so that the audit
//! log has it.

pub(crate) mod told;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::admit::{self, AdmittedStep, Identity, Refusal, RunRequest};
use crate::capability::{Effect, Executor, Forked};
use crate::clock::after;
use crate::digest::digest;
use crate::effect::fault::OperationRule;
use crate::effect::{EffectId, Row};
use crate::engine::{Engine, StartError};
use crate::gate::shared::RunShared;
use crate::journal::observer::Observer;
use crate::journal::{Intended, IntendedRequest, Mode};
use crate::key::Key;
use crate::plan::{
    Assumption, Contingency, FORMAT, Observation, Plan, PlanError, Powers, SignedPlan, texts,
    written,
};
use crate::rehearse::told::Told;
use crate::run::RunReport;

/// What is to be planned.
#[derive(Debug, Clone)]
pub struct PlanRequest {
    /// The run. Its mode and faults do not matter.
    pub run: RunRequest,
    /// Each is rehearsed too, and what the pipeline then does may be done.
    pub contingencies: Vec<Vec<OperationRule>>,
    /// Signs it.
    pub author: Key,
    /// How long it can be applied.
    pub valid_for: Duration,
}

/// What came out of it.
#[derive(Debug)]
pub struct Made {
    /// How the rehearsal ended.
    pub report: RunReport,
    /// The plan; none if the rehearsal did not succeed.
    pub plan: Option<SignedPlan>,
    /// What an operator may want to know.
    pub warnings: Vec<String>,
}

/// Why there is no plan. Nothing has happened.
#[derive(Debug, Error)]
pub enum MakeError {
    /// It is not admitted.
    #[error("the run is not admitted")]
    Refused(Vec<Refusal>),
    /// The rehearsal cannot be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// It cannot be written or signed.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The fleet could not be looked at.
    #[error("the plan cannot be made: {0}")]
    Unseen(String),
}

/// What a rehearsal needs to know to end in a plan.
#[derive(Clone)]
pub(crate) struct Planning {
    author: String,
    made_at: Timestamp,
    expires_at: Timestamp,
    steps: Vec<Powers>,
    contingencies: Vec<Contingency>,
    made: Arc<Mutex<Option<Result<Plan, MakeError>>>>,
}

impl Engine {
    /// Rehearses a run, and makes a signed plan of what it did.
    ///
    /// # Errors
    /// If it is not admitted, cannot be rehearsed, or the plan cannot be signed. A rehearsal that
    /// fails is none: its report says why there is no plan.
    pub async fn plan(
        self: &Arc<Self>,
        request: PlanRequest,
        observer: Arc<dyn Observer>,
    ) -> Result<Made, MakeError> {
        let made_at = self.wall.now();
        let run = admit::new_id(made_at, request.run.seed);
        let rehearsal = |suffix: String, faults: Vec<OperationRule>| {
            let identity = Identity {
                journal: format!("{run}{suffix}").into(),
                known_as: run.clone(),
                started_at: made_at,
            };
            let request = RunRequest {
                mode: Mode::Rehearsal,
                faults,
                plan: None,
                accepted_drift: Vec::new(),
                ..request.run.clone()
            };
            async move {
                let admitted = admit::admit(self, request, identity).await;
                admitted.map_err(MakeError::Refused)
            }
        };
        let mut main = rehearsal("-plan".to_owned(), Vec::new()).await?;
        let mut contingencies = Vec::new();
        for (at, faults) in request.contingencies.iter().enumerate() {
            let admitted = rehearsal(format!("-plan-{}", at + 1), faults.clone()).await?;
            let handle = self.start(admitted, observer.clone()).await?;
            contingencies.push(self.contingency(faults, &handle.finished().await)?);
        }
        let made: Arc<Mutex<Option<Result<Plan, MakeError>>>> = Arc::default();
        main.planning = Some(Planning {
            author: request.author.public().to_owned(),
            made_at,
            expires_at: after(made_at, request.valid_for),
            steps: powers(&main.steps, &main.finally),
            contingencies,
            made: made.clone(),
        });
        let warnings = main.warnings.clone();
        let report = self.start(main, observer).await?.finished().await;
        let plan = made.lock().unwrap_or_else(PoisonError::into_inner).take();
        let plan = match plan {
            Some(plan) => Some(SignedPlan::sign(plan?, &request.author)?),
            None => None,
        };
        Ok(Made {
            report,
            plan,
            warnings,
        })
    }

    fn contingency(
        &self,
        faults: &[OperationRule],
        report: &RunReport,
    ) -> Result<Contingency, MakeError> {
        let unended = || MakeError::Unseen(format!("rehearsal {} did not end", report.run));
        let (records, _) = self.journal(&report.run)?;
        let told = Told::of(&records, &self.rows())?;
        Ok(Contingency {
            faults: texts(faults),
            rehearsal: report.run.to_string(),
            status: report.status.ok_or_else(unended)?,
            writes: told.writes,
        })
    }
}

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

/// What a new thing is made like, by app and id.
fn pattern(request: &IntendedRequest) -> Option<String> {
    let like = request.arguments.get("like")?.as_str()?;
    Some(format!("{}/{like}", request.app.as_deref()?))
}

impl Planning {
    /// Makes the plan of a rehearsal that has succeeded and is about to be closed; gives its digest.
    pub(crate) async fn make(&self, engine: &Engine, shared: &RunShared) -> Option<String> {
        let plan = self.plan(engine, shared).await;
        let digest = plan
            .as_ref()
            .ok()
            .and_then(|plan| Some(digest(&written(plan).ok()?)));
        *self.made.lock().unwrap_or_else(PoisonError::into_inner) = Some(plan);
        digest
    }

    async fn plan(&self, engine: &Engine, shared: &RunShared) -> Result<Plan, MakeError> {
        shared
            .journal
            .commit(Vec::new())
            .await
            .map_err(StartError::from)?;
        let (records, state) = engine.journal(&shared.id)?;
        let header = state
            .header
            .ok_or_else(|| MakeError::Unseen(format!("rehearsal {} has not begun", shared.id)))?;
        let mut told = Told::of(&records, &shared.rows)?;
        let (observed, about) = self.observe(shared, &told.regarded).await?;
        for write in &mut told.writes {
            let known = about.get(&write.request.on());
            let like = || about.get(&pattern(&write.request)?);
            write.about = known.or_else(like).cloned().unwrap_or_default();
        }
        let mut forked = Forked::default();
        for executor in shared.executors.values() {
            let part = executor.forked();
            forked.apps.extend(part.apps);
            forked.changes.extend(part.changes);
        }
        let expected_ms = told.duration();
        let assumptions = told.assumptions.into_iter();
        Ok(Plan {
            format: FORMAT,
            run: header.rehearses.clone().unwrap_or(header.run),
            made_at: self.made_at,
            expires_at: self.expires_at,
            author: self.author.clone(),
            actor: header.actor,
            engine: header.engine,
            runbook: header.runbook,
            runbook_digest: header.runbook_digest,
            runbook_text: header.runbook_text,
            inputs: header.inputs,
            target: header.target,
            seed: header.seed,
            plugins: header.plugins,
            policy_digest: header.policy_digest,
            steps: self.steps.clone(),
            writes: told.writes,
            observed,
            assumptions: assumptions
                .map(|((operation, what), answers)| Assumption {
                    operation,
                    what: what.to_owned(),
                    answers,
                })
                .collect(),
            expected_ms,
            notes: told.notes,
            more_notes: told.more_notes,
            apps: forked.apps,
            changes: forked.changes,
            contingencies: self.contingencies.clone(),
        })
    }

    /// What the rehearsal rests on, and what is known of each thing.
    async fn observe(
        &self,
        shared: &RunShared,
        regarded: &[Intended],
    ) -> Result<(Vec<Observation>, BTreeMap<String, Map<String, Value>>), MakeError> {
        let mut observed: Vec<Observation> = Vec::new();
        let mut covered: BTreeMap<String, BTreeSet<&'static str>> = BTreeMap::new();
        let mut about = BTreeMap::new();
        for intended in regarded {
            let Some(row) = shared.rows.get(intended.request.operation.as_str()) else {
                continue;
            };
            let listing = intended.request.subject.is_none();
            if listing && observed.iter().any(|o| o.request == intended.request) {
                continue;
            }
            let found = original(
                &shared.executors,
                &shared.id,
                row,
                &intended.request,
                intended.effect,
            )
            .await;
            let found = found.map_err(|e| MakeError::Unseen(e.to_string()))?;
            // A listing of everything says less of each thing than the thing itself.
            let everything = intended.request.app.is_none();
            let mut news = listing || found.is_empty();
            for (subject, whole) in &found {
                about
                    .entry(subject.clone())
                    .or_insert_with(|| chosen(whole, &ABOUT));
                if everything {
                    continue;
                }
                let fields = covered.entry(subject.clone()).or_default();
                for field in row.projection {
                    news |= fields.insert(field);
                }
            }
            if news {
                observed.push(Observation {
                    request: intended.request.clone(),
                    found: projected(row, &found),
                });
            }
        }
        Ok((observed, about))
    }
}

/// What people want to know of a thing, if it has it.
const ABOUT: [&str; 3] = ["name", "group", "region"];

fn chosen(whole: &Value, fields: &[&str]) -> Map<String, Value> {
    let of = |field: &&str| Some(((*field).to_owned(), whole.get(*field)?.clone()));
    fields.iter().filter_map(of).collect()
}

/// Of each thing the fields that count.
pub(crate) fn projected(
    row: &Row,
    found: &BTreeMap<String, Value>,
) -> BTreeMap<String, Map<String, Value>> {
    let of = |(subject, whole): (&String, &Value)| (subject.clone(), chosen(whole, row.projection));
    found.iter().map(of).collect()
}

/// What a request reads or writes to, as it was when the fork was made.
pub(crate) async fn original(
    executors: &HashMap<&'static str, Arc<dyn Executor>>,
    run: &Arc<str>,
    row: &'static Row,
    request: &IntendedRequest,
    number: u64,
) -> Result<BTreeMap<String, Value>, crate::contract::Failure> {
    let Some(executor) = executors.get(row.capability()) else {
        return Ok(BTreeMap::new());
    };
    let effect = Effect {
        id: EffectId {
            run: run.clone(),
            step: "plan".into(),
            number,
        },
        request: Arc::new(request.request(row)),
        baseline: None,
        cancel: CancellationToken::new(),
    };
    executor.original(&effect).await
}
