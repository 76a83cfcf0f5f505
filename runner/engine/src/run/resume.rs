//! Going on with a run whose process is gone, without doing anything twice.
//!
//! In this order: take the run over; read its journal; admit the same runbook with the same inputs,
//! limits and plugins; take over what it holds; find out what is in doubt, by the rule of each
//! operation's row; then run, which repeats what each step did (`gate/past.rs`) and goes on where the
//! journal ends. What cannot be found out is put to a person, as is what others have changed meanwhile
//! (`since.rs`), and until that is answered nothing is sent but what the taking over needs. A step that has ended is not repeated. A run that was being
//! interrupted is brought to its end and not on.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::admit::{self, Admitted, Identity, Refusal, RunRequest};
use crate::clock::{Clock, RealClock, after, between};
use crate::contract::Failure;
use crate::deadline::{CLAIM, Deadline};
use crate::effect::{Cover, Effect, EffectId, Executor, Found, Kind, Mode, Outcome, Row};
use crate::engine::{Engine, StartError};
use crate::grant::policy::Policy;
use crate::journal::{
    Actor, Decision, Draft, NoteBody, Observer, OperationState, PluginUsed, RunOpened, RunState,
    Settled, step_id,
};
use crate::plan::{Drift, SignedPlan};
use crate::run::heartbeat::while_alive;
use crate::run::{self, Launch, RunHandle};
use crate::store::{Claim, Standing, Writer};
use crate::target::Target;

/// What is needed beside the journal.
#[derive(Debug, Clone)]
pub struct ResumeRequest {
    /// The run.
    pub run: String,
    /// Its target, with a credential.
    pub target: Target,
    /// The operator's limits, as they are now.
    pub policy: Policy,
    /// Who goes on with it.
    pub actor: Actor,
    /// What a person knows of writes that cannot be found out: by `step/number`, or by the number
    /// alone where only one step has it.
    pub answers: BTreeMap<String, Answer>,
    /// The run's secret inputs, given again ([`RunRequest::secrets`]).
    pub secrets: serde_json::Value,
    /// What others have changed meanwhile, and may have: by the names of [`Drift::name`].
    pub accepted_drift: Vec<String>,
    /// The token of its claim, if the caller knows that the process that holds it is gone
    /// ([`RunSummary::gone`](crate::store::RunSummary::gone)): then nobody has to wait for the claim to
    /// expire.
    pub gone: Option<u64>,
}

/// What a person says about a write that cannot be found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It happened.
    Happened,
    /// It did not, or may be done again.
    Retry,
}

/// A write of which nobody but a person can tell whether it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// `step/number`.
    pub effect: String,
    /// Operation and what it acts on.
    pub write: String,
    /// When it was about to be sent.
    pub at: Timestamp,
    /// Why it cannot be found out.
    pub why: String,
}

/// Why a run is not resumed. It stays as it is.
#[derive(Debug, Error)]
pub enum ResumeError {
    /// The run, its store or its target.
    #[error(transparent)]
    Start(#[from] StartError),
    /// What it was started with is not to be had any more.
    #[error("run `{run}` cannot be resumed: {why}")]
    Changed {
        /// The run.
        run: String,
        /// What.
        why: String,
    },
    /// It is not admitted any more.
    #[error("the run is not admitted any more")]
    Refused(Vec<Refusal>),
    /// Others have changed meanwhile what it rests on, in more than was accepted.
    #[error("others have changed the target since the run stopped, in {} places", .0.len())]
    Drifted(Vec<Drift>),
    /// A person has to say what happened.
    #[error("it is not known whether {} happened", writes(.0))]
    Unknown(Vec<Question>),
}

fn writes(questions: &[Question]) -> String {
    match questions {
        [one] => format!("`{} {}`", one.effect, one.write),
        many => format!("{} writes", many.len()),
    }
}

impl From<crate::store::StoreError> for ResumeError {
    fn from(e: crate::store::StoreError) -> Self {
        Self::Start(e.into())
    }
}

impl Engine {
    /// Goes on with a run whose process is gone.
    ///
    /// # Errors
    /// If it is alive, has ended, or is not what it was; if a person is asked. It then stays as it
    /// is, and can be resumed again.
    pub async fn resume(
        self: &Arc<Self>,
        request: ResumeRequest,
        observer: Arc<dyn Observer>,
    ) -> Result<RunHandle, ResumeError> {
        let now = self.wall.now();
        if let Standing::Closed(status) = self.store.run(&request.run, now)?.standing {
            return Err(ResumeError::Start(StartError::Ended {
                run: request.run,
                status: status.word(),
            }));
        }
        let deadline = Deadline::new(self.wall.clone());
        let until = after(now, CLAIM);
        let claim = self
            .store
            .claim(&request.run, &request.actor, now, until, request.gone)?;
        let resuming = Resuming {
            engine: self.clone(),
            claim: claim.clone(),
            deadline: deadline.clone(),
        };
        // Taking over and finding out ask the target, which may be slow.
        let resumed = resuming.go(request, observer);
        let resumed = while_alive(self, &claim, &deadline, resumed)
            .await
            .map_err(StartError::Journal)?;
        if resumed.is_err() {
            // So that it can be tried again at once, and its locks stay its own.
            self.store.abandon(&claim)?;
        }
        resumed
    }

    /// A run as it was admitted, by its journal, which need not be in the store. Nothing is changed.
    ///
    /// # Errors
    /// If it is not what it was, or is not admitted any more.
    pub async fn readmit(
        self: &Arc<Self>,
        request: &ResumeRequest,
        past: &RunState,
    ) -> Result<Admitted, ResumeError> {
        let changed = |why: String| ResumeError::Changed {
            run: request.run.clone(),
            why,
        };
        let header = past
            .header
            .as_deref()
            .ok_or_else(|| changed("its process ended before it had begun".to_owned()))?;
        self.unchanged(request, header).map_err(changed)?;
        let runbook = groundcrew_runbook::check(&header.runbook_text)
            .map_err(|_| changed("its runbook is not valid for this program".to_owned()))?;
        let plan = header.plan.as_ref();
        let plan = plan.map(|plan| SignedPlan::reopen(&plan.text)).transpose();
        let plan = plan.map_err(|e| changed(e.to_string()))?;
        if let Some(plan) = plan.as_ref().map(SignedPlan::plan)
            && (&plan.run, plan.made_at) != (&header.run, header.started_at)
        {
            return Err(changed(
                "the plan in its journal is another run's".to_owned(),
            ));
        }
        let again = RunRequest {
            runbook,
            text: header.runbook_text.clone(),
            inputs: header.inputs.clone(),
            secrets: request.secrets.clone(),
            target: request.target.clone(),
            mode: header.mode,
            actor: request.actor.clone(),
            policy: request.policy.clone(),
            seed: header.seed,
            faults: Vec::new(),
            plan,
            accepted_drift: Vec::new(),
        };
        let identity = Identity::of(header.run.as_str().into(), header.started_at);
        let admitted = admit::admit(self, again, identity)
            .await
            .map_err(ResumeError::Refused)?;
        if let Some(why) = admit::another_build(&header.plugins, &admitted.plugins) {
            return Err(changed(why));
        }
        // As each step that has begun says, in journals that do not have it of every step.
        for (key, began) in &past.steps {
            let Some(began) = began.began.as_ref().filter(|b| !b.digest.is_empty()) else {
                continue;
            };
            let uses = |used: &&PluginUsed| used.steps.iter().any(|step| step == step_id(key));
            let here = admitted.plugins.iter().find(uses);
            if here.is_some_and(|here| here.digest != began.digest) {
                let why = format!("step `{key}` would go on with another build of its plugin");
                return Err(changed(why));
            }
        }
        Ok(admitted)
    }

    fn unchanged(&self, request: &ResumeRequest, header: &RunOpened) -> Result<(), String> {
        if header.mode == Mode::Rehearsal {
            return Err("it is a rehearsal; start it again".to_owned());
        }
        if header.limits != self.limits {
            return Err("this engine's limits are not those that it was started with".to_owned());
        }
        let still = request.target.is_still(&header.target);
        still.map_err(|why| format!("its target is another: {why}"))
    }
}

pub(super) struct Resuming {
    engine: Arc<Engine>,
    claim: Claim,
    deadline: Deadline,
}

impl Resuming {
    async fn go(
        self,
        request: ResumeRequest,
        observer: Arc<dyn Observer>,
    ) -> Result<RunHandle, ResumeError> {
        let (records, mut past) = self.engine.journal(&request.run)?;
        let admitted = self.engine.readmit(&request, &past).await?;
        let now = self.engine.wall.now();
        // The plugin's time does not go back.
        let deliveries = past.steps.values().flat_map(|step| &step.deliveries);
        let seen = deliveries.map(|delivered| delivered.now).max();
        let seen = seen.and_then(|ms| Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok());
        let scale = admitted.request.target.time_scale;
        let clock: Arc<dyn Clock> = Arc::new(RealClock::new(
            seen.map_or(now, |seen| seen.max(now)),
            scale,
        ));
        let setting = admitted.setting(Mode::Perform, clock.clone(), self.deadline.clone());
        let mut wanted = admitted.granted();
        wanted.extend(past.capabilities());
        let executors = self.engine.executors(&setting, &wanted)?;

        let journal = Writer::start(
            self.engine.store.clone(),
            self.claim.clone(),
            records.len() as u64,
            self.engine.wall.clone(),
            observer,
        );
        let mut drafts = self.take_over(&past, &executors).await;
        let (found, questions, said) = self.find_out(&past, &executors, &records, &request).await;
        drafts.extend(said);
        for (step, number, outcome) in found {
            drafts.push(Draft::settled(&step, number, &outcome));
            settle(&mut past, &step, number, &outcome);
        }
        let others = match questions.is_empty() {
            true => {
                let (covers, accepted) = (admitted.covers(), &request.accepted_drift);
                self.changed_by_others(&past, &executors, &covers, accepted)
                    .await
            }
            false => Err(ResumeError::Unknown(questions)),
        };
        let note = NoteBody::Resumed {
            actor: request.actor.clone(),
            engine: env!("CARGO_PKG_VERSION").to_owned(),
            accepted: others.as_ref().cloned().unwrap_or_default(),
        };
        drafts.insert(0, Draft::note(None, note));
        journal.commit(drafts).await.map_err(StartError::Journal)?;
        others?;
        Ok(run::launch(Launch {
            engine: self.engine,
            admitted,
            claim: self.claim,
            journal,
            clock,
            deadline: self.deadline,
            executors,
            past,
            planning: None,
        }))
    }

    fn row(&self, operation: &str) -> Option<&'static Row> {
        self.engine.operations().find(|row| row.name == operation)
    }

    pub(super) fn effect(&self, step: &str, state: &OperationState) -> Option<Effect> {
        let recorded = &state.intended.request;
        let request = recorded.request(self.row(&recorded.operation)?);
        Some(Effect {
            id: EffectId {
                run: self.claim.run.as_str().into(),
                step: step.into(),
                number: state.intended.effect,
            },
            request: Arc::new(request),
            baseline: state.intended.baseline.clone(),
            cover: Cover::all(),
            cancel: CancellationToken::new(),
        })
    }

    /// What the steps that have not ended hold, such as leases.
    async fn take_over(
        &self,
        past: &RunState,
        executors: &std::collections::HashMap<&'static str, Arc<dyn Executor>>,
    ) -> Vec<Draft> {
        let mut drafts = Vec::new();
        for (name, executor) in executors {
            let mut done = Vec::new();
            for (key, step) in past.steps.iter().filter(|(_, step)| step.ended.is_none()) {
                for number in &step.settled {
                    let Some(state) = step.effects.get(number) else {
                        continue;
                    };
                    let happened = state.settled.as_ref().is_some_and(|s| s.answer.is_some());
                    let effect = self.effect(key, state).filter(|effect| {
                        let row = effect.request.row;
                        happened && row.housekeeping && row.capability() == *name
                    });
                    done.extend(effect);
                }
            }
            for message in executor.take_over(done).await {
                let level = crate::contract::Level::Warning;
                drafts.push(Draft::note(None, NoteBody::Text { level, message }));
            }
        }
        drafts
    }

    /// What became of each write that has an intent and no outcome, all at once.
    async fn find_out(
        &self,
        past: &RunState,
        executors: &std::collections::HashMap<&'static str, Arc<dyn Executor>>,
        records: &[crate::journal::Record],
        request: &ResumeRequest,
    ) -> (Vec<(String, u64, Outcome)>, Vec<Question>, Vec<Draft>) {
        let now = self.engine.wall.now();
        let intended_at = intended_at(records);
        let mut asking = Vec::new();
        for (key, step) in past.steps.iter().filter(|(_, step)| step.ended.is_none()) {
            for (number, state) in &step.effects {
                let open = state.settled.is_none() && state.intended.decision == Decision::Allowed;
                let Some(effect) = self.effect(key, state).filter(|_| open) else {
                    continue;
                };
                let row = effect.request.row;
                let Some(executor) = executors.get(row.capability()) else {
                    continue;
                };
                if row.kind == Kind::Read {
                    continue;
                }
                let at = intended_at
                    .get(&(key.as_str(), *number))
                    .copied()
                    .unwrap_or(past.last_at);
                asking.push(async move {
                    let found = executor.find_out(&effect, between(at, now)).await;
                    (key.clone(), *number, effect, at, found)
                });
            }
        }
        let (mut settled, mut questions, mut said) = (Vec::new(), Vec::new(), Vec::new());
        for (step, number, effect, at, found) in futures_util::future::join_all(asking).await {
            let name = format!("{step}/{number}");
            let why = match found {
                Found::Happened(outcome) => {
                    settled.push((step, number, outcome));
                    continue;
                }
                Found::DidNot => continue,
                Found::Unknown(why) => why,
            };
            let answer = request
                .answers
                .get(&name)
                .or_else(|| request.answers.get(&number.to_string()));
            match answer {
                Some(Answer::Retry) => said.push((name, "may be done again")),
                Some(Answer::Happened) => {
                    said.push((name, "happened"));
                    let executor = executors.get(effect.request.row.capability());
                    let outcome = match executor {
                        Some(executor) => executor.happened(&effect),
                        None => {
                            Outcome::failed(Failure::other("no-executor", "nothing performs it"))
                        }
                    };
                    settled.push((step, number, outcome));
                }
                None => questions.push(Question {
                    effect: name,
                    write: effect.request.to_string(),
                    at,
                    why,
                }),
            }
        }
        let said = said.into_iter().map(|(name, what)| {
            let message = format!("{} says that {name} {what}", request.actor.user);
            let level = crate::contract::Level::Warning;
            Draft::note(None, NoteBody::Text { level, message })
        });
        (settled, questions, said.collect())
    }
}

/// When each effect was written down.
fn intended_at(records: &[crate::journal::Record]) -> BTreeMap<(&str, u64), Timestamp> {
    #[derive(serde::Deserialize)]
    struct Of<'a> {
        #[serde(borrow)]
        step: &'a str,
        effect: u64,
    }
    let intended = records
        .iter()
        .filter(|record| record.kind == crate::journal::EntryKind::Intended);
    intended
        .filter_map(|record| {
            let of: Of<'_> = serde_json::from_str(&record.payload).ok()?;
            Some(((of.step, of.effect), record.at))
        })
        .collect()
}

/// The same in the folded state as in the journal.
fn settle(past: &mut RunState, step: &str, number: u64, outcome: &Outcome) {
    let Some(step) = past.steps.get_mut(step) else {
        return;
    };
    step.settled.push(number);
    let Some(state) = step.effects.get_mut(&number) else {
        return;
    };
    let answer = outcome
        .result
        .as_ref()
        .ok()
        .and_then(|json| serde_json::value::RawValue::from_string(json.to_string()).ok());
    state.settled = Some(Settled {
        step: state.intended.step.clone(),
        effect: number,
        in_doubt: outcome.in_doubt,
        answer,
        failure: outcome.result.as_ref().err().cloned(),
    });
}
