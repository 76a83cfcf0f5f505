//! One step: its condition, its attempts, its rescue. It is tried again only after a *transient*
//! problem and only with nothing in doubt; after a rescue it has failed all the same.

use std::sync::Arc;
use std::time::Duration;

use groundcrew_runbook::Scope;
use serde_json::Value;

use crate::admit::{AdmittedStep, given};
use crate::capability::guest::Guest;
use crate::clock::{BoxFuture, Busy, between, millis};
use crate::contract::{Level, Problem, ProblemKind, RunInfo};
use crate::engine::Engine;
use crate::gate::Gate;
use crate::gate::past::{Diverged, Past};
use crate::gate::shared::{Halt, RunShared};
use crate::gate::writes::Part;
use crate::journal::{
    Draft, NoteBody, StepBegan, StepEnded, StepProblem, StepState, StepStatus, step_key,
};
use crate::json;
use crate::run::report::{Ran, outcome};
use crate::sandbox::{Stopped, problem};

/// Runs a step to its end, with its retries and its rescue. The one `busy` that it holds is what
/// its guest and its sleeps lay down: a second one would hold a virtual clock for ever. It goes
/// back with the answer, so that nothing moves before what comes next has started.
pub(crate) fn run(
    engine: Arc<Engine>,
    shared: Arc<RunShared>,
    step: Arc<AdmittedStep>,
    part: Part,
    scope: Scope,
    busy: Option<Busy>,
) -> BoxFuture<'static, Result<Ran, Halt>> {
    Box::pin(async move {
        let id = step.id().to_owned();
        let mut ran = Ran {
            id: id.clone(),
            ended: Vec::new(),
            in_doubt: Vec::new(),
            busy,
        };
        if let Some(ended) = skip(&shared, &step, &scope) {
            ran.ended.push(ended);
            return Ok(ran);
        }
        let retry = &step.step.retry;
        let mut delay = retry.backoff;
        let mut attempt = 1;
        let failed = loop {
            let (ended, in_doubt) = Attempt {
                engine: &engine,
                shared: &shared,
                step: &step,
                part,
                scope: &scope,
                number: attempt,
            }
            .run()
            .await?;
            let transient = ended
                .problem
                .as_ref()
                .is_some_and(|p| p.kind == ProblemKind::Transient);
            let again = ended.status == StepStatus::Failed
                && transient
                && in_doubt.is_empty()
                && attempt < retry.max_attempts
                && !shared.interrupt.is_cancelled();
            let failed = ended.status == StepStatus::Failed;
            ran.ended.push(ended);
            ran.in_doubt.extend(in_doubt);
            if !again {
                break failed;
            }
            let pause = delay;
            delay = delay.saturating_mul(2).min(retry.max_backoff);
            attempt += 1;
            if shared.has_past(&step_key(&id, attempt)) {
                continue;
            }
            let message = format!("step `{id}` is tried again in {} s", pause.as_secs_f64());
            shared.journal.append(vec![Draft::note(
                None,
                NoteBody::Text {
                    level: Level::Warning,
                    message,
                },
            )]);
            tokio::select! {
                () = shared.clock.sleep(pause) => {}
                () = shared.interrupt.cancelled() => break failed,
            }
        };
        if failed && !step.rescue.is_empty() {
            rescue(&engine, &shared, &step, scope, &mut ran).await?;
        }
        Ok(ran)
    })
}

/// Runs the rescue steps in order. The step stays failed: a rescue cleans up after it.
async fn rescue(
    engine: &Arc<Engine>,
    shared: &Arc<RunShared>,
    step: &AdmittedStep,
    mut scope: Scope,
    ran: &mut Ran,
) -> Result<(), Halt> {
    let Some(failure) = ran.ended.pop() else {
        return Ok(());
    };
    scope.steps.insert(ran.id.clone(), outcome(&failure));
    for one in &step.rescue {
        if let Some(ended) = skip(shared, one, &scope) {
            ran.ended.push(ended);
            continue;
        }
        let (ended, in_doubt) = Attempt {
            engine,
            shared,
            step: one,
            part: Part::Rescue,
            scope: &scope,
            number: 1,
        }
        .run()
        .await?;
        scope.steps.insert(one.id().to_owned(), outcome(&ended));
        let stop = ended.status != StepStatus::Succeeded;
        ran.ended.push(ended);
        ran.in_doubt.extend(in_doubt);
        if stop {
            break;
        }
    }
    // Last, because the step's own end is what the run goes by.
    ran.ended.push(failure);
    Ok(())
}

/// The end of a step that is not run, written down; none if it is to be run.
fn skip(shared: &RunShared, step: &AdmittedStep, scope: &Scope) -> Option<StepEnded> {
    if shared.has_past(step.id()) {
        return shared.skipped_before(step.id());
    }
    let ended = skipped(step, scope)?;
    shared.journal.append(vec![Draft::step_ended(&ended)]);
    Some(ended)
}

fn skipped(step: &AdmittedStep, scope: &Scope) -> Option<StepEnded> {
    let condition = step.step.when.as_ref()?;
    let (status, problem) = match condition.holds(scope) {
        Ok(true) => return None,
        Ok(false) => (
            StepStatus::Skipped,
            StepProblem {
                kind: ProblemKind::Other,
                code: None,
                message: format!("`when` does not hold: {}", condition.source()),
            },
        ),
        Err(e) => (StepStatus::Failed, problem("expression", e.to_string())),
    };
    Some(StepEnded {
        step: step.id().to_owned(),
        status,
        output: None,
        problem: Some(problem),
    })
}

struct Attempt<'a> {
    engine: &'a Engine,
    shared: &'a Arc<RunShared>,
    step: &'a AdmittedStep,
    part: Part,
    scope: &'a Scope,
    number: u32,
}

impl Attempt<'_> {
    async fn run(&self) -> Result<(StepEnded, Vec<String>), Halt> {
        let key: Arc<str> = step_key(self.step.id(), self.number).into();
        let past = self.shared.past(&key);
        if let Some(mut past) = past.clone()
            && let Some(ended) = past.ended.take()
        {
            return Ok((ended, in_doubt(&key, &past)));
        }
        let (ended, in_doubt) = match self.input().await {
            Ok(input) => self.perform(&key, input, past).await?,
            Err(problem) => (
                ended(&key, StepStatus::Failed, None, Some(problem)),
                Vec::new(),
            ),
        };
        // Durable with the next intent or the end of the run: nothing else depends on it.
        self.shared.journal.append(vec![Draft::step_ended(&ended)]);
        Ok((ended, in_doubt))
    }

    /// The input, validated before the step's first effect.
    async fn input(&self) -> Result<Value, StepProblem> {
        let input = given(&self.step.step.with, self.scope)
            .await
            .map_err(|e| problem("expression", e))?;
        let faults = self.step.plugin.input_faults(&input).await;
        if faults.is_empty() {
            return Ok(input);
        }
        Err(problem(
            "input",
            format!(
                "the input does not fit plugin `{}`: {}",
                self.step.plugin.info.name,
                faults.join("; ")
            ),
        ))
    }

    async fn perform(
        &self,
        key: &Arc<str>,
        input: Value,
        past: Option<StepState>,
    ) -> Result<(StepEnded, Vec<String>), Halt> {
        let plugin = &self.step.plugin;
        let grant = self
            .step
            .grants
            .iter()
            .map(|(name, grant)| ((*name).to_owned(), grant.to_json()))
            .collect();
        let mut now = millis(self.shared.clock.now());
        let mut timeout = self.step.timeout;
        match past
            .as_ref()
            .and_then(|past| Some((past, past.began.as_ref()?)))
        {
            Some((past, began)) => {
                if began.input != input {
                    let what = format!("recorded input `{}`, now `{input}`", began.input);
                    return Err(Halt::Diverged(Diverged {
                        step: key.to_string(),
                        effect: None,
                        what,
                    }));
                }
                now = began.now;
                // What it has used of its time; the time in which nobody worked on it is not counted.
                let used = between(past.began_at, self.shared.resumed_from);
                timeout = timeout.saturating_sub(self.shared.clock.scale().on_the_clock(used));
            }
            None => {
                let began = StepBegan {
                    step: key.to_string(),
                    plugin: plugin.info.name.clone(),
                    digest: plugin.digest.clone(),
                    attempt: self.number,
                    input: input.clone(),
                    grant: Value::Object(grant),
                    now,
                };
                self.shared.journal.append(vec![Draft::step_began(&began)]);
            }
        }
        let past = past.map(|past| Past::new(key, past));
        let grants = self.step.grants.clone();
        let gate = Gate::new(self.shared.clone(), key.clone(), self.part, grants, past);
        let run = self.scope.run["id"].as_str().unwrap_or_default();
        let info = RunInfo {
            id: run.to_owned(),
            runbook: self.scope.run["runbook"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            step: self.step.id().to_owned(),
            attempt: self.number,
            target: self.scope.target["name"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        };
        let guest = Guest::new(
            Some(gate.clone()),
            self.engine.limits,
            info,
            crate::capability::guest::random(run, key),
            now,
        );
        let result = tokio::select! {
            // The alarms first, so that they are set before the plugin lets virtual time pass.
            biased;
            () = alarm(self.shared, timeout) => None,
            () = alarm_after_interrupt(self.shared, self.engine.limits.cleanup_timeout) => None,
            result = self.engine.sandbox.run(plugin, guest, input.to_string()) => Some(result),
        };
        let result = match result {
            Some(Err(Stopped::Halt(halt))) => return Err(halt),
            Some(Err(Stopped::Problem(problem))) => Some(Err(problem)),
            Some(Ok(ended)) => Some(Ok(ended)),
            None => None,
        };
        let finished = tokio::select! {
            biased;
            finished = gate.finish() => finished?,
            () = alarm(self.shared, self.engine.limits.cleanup_timeout) => {
                let message = "cleaning up takes too long; leases that are left expire by themselves".to_owned();
                self.shared.journal.append(vec![Draft::note(Some(key), NoteBody::Text { level: Level::Error, message })]);
                gate.give_up().await
            }
        };
        let in_doubt = finished
            .into_iter()
            .map(|number| format!("{key}/{number}"))
            .collect();
        let ended = match result {
            Some(Ok(Ok(output))) => self.output(key, &output).await,
            Some(Ok(Err(problem))) => self.problem(key, problem),
            Some(Err(problem)) => ended(key, StepStatus::Failed, None, Some(problem)),
            None if self.shared.interrupt.is_cancelled() => {
                let problem = StepProblem {
                    kind: ProblemKind::Cancelled,
                    code: Some("wall-clock".to_owned()),
                    message: "the plugin did not end after the interrupt".to_owned(),
                };
                ended(key, StepStatus::Cancelled, None, Some(problem))
            }
            None => ended(
                key,
                StepStatus::Failed,
                None,
                Some(problem(
                    "wall-clock",
                    format!(
                        "the step took longer than its timeout of {}",
                        groundcrew_runbook::format_duration(self.step.timeout)
                    ),
                )),
            ),
        };
        Ok((ended, in_doubt))
    }

    async fn output(&self, key: &str, output: &str) -> StepEnded {
        let value: Value = match json::parse(output.as_bytes()) {
            Ok(value) => value,
            Err(e) => {
                return ended(
                    key,
                    StepStatus::Failed,
                    None,
                    Some(problem(
                        "output",
                        format!("the plugin returned what is not JSON: {e}"),
                    )),
                );
            }
        };
        let faults = self.step.plugin.output_faults(&value).await;
        if faults.is_empty() {
            return ended(key, StepStatus::Succeeded, Some(value), None);
        }
        let text = format!(
            "the plugin's output does not fit its own schema: {}",
            faults.join("; ")
        );
        ended(
            key,
            StepStatus::Failed,
            Some(value),
            Some(problem("output", text)),
        )
    }

    fn problem(&self, key: &str, problem: Problem) -> StepEnded {
        let output = problem
            .output
            .as_deref()
            .and_then(|text| json::parse(text.as_bytes()).ok());
        let interrupted = self.shared.interrupt.is_cancelled();
        let status = if interrupted && problem.kind == ProblemKind::Cancelled {
            StepStatus::Cancelled
        } else {
            StepStatus::Failed
        };
        let why = StepProblem {
            kind: problem.kind,
            code: None,
            message: problem.message,
        };
        ended(key, status, output, Some(why))
    }
}

fn ended(
    key: &str,
    status: StepStatus,
    output: Option<Value>,
    problem: Option<StepProblem>,
) -> StepEnded {
    StepEnded {
        step: key.to_owned(),
        status,
        output,
        problem,
    }
}

/// The writes of a step that ended before, of which it is not known whether they happened.
fn in_doubt(key: &str, past: &StepState) -> Vec<String> {
    let unsure = past.effects.iter().filter(|(_, effect)| {
        effect
            .settled
            .as_ref()
            .is_some_and(|settled| settled.in_doubt)
    });
    unsure
        .map(|(number, _)| format!("{key}/{number}"))
        .collect()
}

/// Rings after a while of the run's time, which it does not hold up.
async fn alarm(shared: &RunShared, after: Duration) {
    let busy = shared.busy();
    shared.clock.sleep(after).await;
    drop(busy);
}

async fn alarm_after_interrupt(shared: &RunShared, after: Duration) {
    shared.interrupt.cancelled().await;
    alarm(shared, after).await;
}
