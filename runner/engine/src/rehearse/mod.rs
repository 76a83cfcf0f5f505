//! From a rehearsal that has succeeded to a plan: what it wrote, in order, out of its journal
//! (`told.rs`); what that rests on and what will be different, out of the fork. The rehearsal's last
//! entry names the plan's digest, so that the audit log has it. `fits.rs` asks later whether a plan
//! still fits. Which rehearsals there are is `run/plan.rs`.

pub(crate) mod fits;
pub(crate) mod told;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use groundcrew_runbook::format_duration;
use jiff::Timestamp;
use serde_json::{Map, Value};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::admit::Refusal;
use crate::clock::after;
use crate::digest::digest;
use crate::effect::{Cover, Effect, EffectId, Executor, Forked, Row};
use crate::engine::{Engine, StartError};
use crate::gate::shared::RunShared;
use crate::grant::effective::step_cover;
use crate::journal::{Intended, IntendedRequest, step_id};
use crate::plan::{
    Assumption, Contingency, FORMAT, LONGEST_VALIDITY, Observation, Plan, PlanError, Powers,
    chosen, projected, written,
};
use told::Told;

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
    /// It could be applied for no time, or for too long.
    #[error(
        "a plan can be applied for some time, and for {} at most",
        format_duration(LONGEST_VALIDITY)
    )]
    Validity,
    /// The fleet could not be looked at.
    #[error("the plan cannot be made: {0}")]
    Unseen(String),
}

/// What a rehearsal needs to know to end in a plan.
#[derive(Clone)]
pub(crate) struct Planning {
    pub(crate) author: String,
    pub(crate) made_at: Timestamp,
    /// How long it can be applied, from when it is made.
    pub(crate) valid_for: Duration,
    pub(crate) steps: Vec<Powers>,
    pub(crate) contingencies: Vec<Contingency>,
    pub(crate) made: Arc<Mutex<Option<Result<Plan, MakeError>>>>,
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
            let like = || about.get(&write.like()?);
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
            // The rehearsals may have been slow; the longest validity counts them all the same.
            expires_at: after(engine.wall.now(), self.valid_for)
                .min(after(self.made_at, LONGEST_VALIDITY)),
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
            let step = step_id(&intended.step);
            let asked = |o: &Observation| o.request == intended.request && o.step == step;
            if listing && observed.iter().any(asked) {
                continue;
            }
            let found = original(
                &shared.executors,
                &shared.id,
                row,
                &intended.request,
                intended.effect,
                step_cover(&shared.covers, step, row),
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
                    step: step.to_owned(),
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

/// What a request reads or writes to, as it was when the fork was made.
pub(crate) async fn original(
    executors: &HashMap<&'static str, Arc<dyn Executor>>,
    run: &Arc<str>,
    row: &'static Row,
    request: &IntendedRequest,
    number: u64,
    cover: Cover,
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
        cover,
        cancel: CancellationToken::new(),
    };
    executor.original(&effect).await
}
