//! What a run has written, and with a plan what it may still write.
//!
//! A run that applies a plan makes the planned writes and no others, in whatever order and perhaps
//! fewer of them: they are matched as a multiset over step, operation, target and arguments. Beside
//! them it may take back what it wrote itself, do what `rescue` and `finally` say, and, once
//! something has failed, what a rehearsed contingency has beyond the plan. Anything else is denied,
//! and after that nothing passes but the way back. No I/O here and no clock.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use crate::bindings::Failure;
use crate::effect::{Outcome, Request, Row};
use crate::grant::Effective;
use crate::journal::{Decision, IntendedRequest, OperationState, RunState};
use crate::plan::{Plan, PlannedWrite, made, renamed};

/// Which part of the pipeline a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// A step of the pipeline itself.
    Step,
    /// It cleans up after a step that failed.
    Rescue,
    /// It runs at the end, whatever happened.
    Finally,
}

/// Why an effect is not performed, and what the journal calls that.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) decision: Decision,
    pub(crate) failure: Failure,
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        let decision = Decision::Denied;
        Self { decision, failure }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    /// By app and subject.
    targets: BTreeMap<(String, String), Target>,
    plan: Option<Unmade>,
    /// What will have been made when an effect has succeeded, by step and number.
    making: HashMap<(String, u64), Making>,
    /// By what names the plan knows what this run has made, by app and id.
    names: HashMap<(String, String), String>,
}

/// An effect that makes something.
#[derive(Debug)]
struct Making {
    row: &'static Row,
    app: String,
    /// Its name in the plan, if there is one.
    name: Option<String>,
}

/// What was written to one thing.
#[derive(Debug, Default)]
struct Target {
    /// How often an operation may still take something back here.
    undos: BTreeMap<&'static str, u64>,
    /// The last one that did: trying it again takes nothing more back.
    last: Option<&'static str>,
}

/// What of a plan has not been made.
#[derive(Debug)]
struct Unmade {
    writes: Multiset,
    /// What each contingency has beyond the plan.
    contingencies: Vec<Multiset>,
    /// Something has failed, so a contingency may have come about.
    failed: bool,
    /// A write that was in no plan.
    broken: bool,
}

/// The arguments, and the name of what is made, by what is done to what.
#[derive(Debug, Clone, Default)]
struct Multiset(HashMap<Act, Vec<(Value, Option<String>)>>);

/// Step, operation, app and subject.
type Act = (String, String, String, String);

fn key(step: &str, request: &IntendedRequest) -> Act {
    // A second attempt goes on with the writes of the first.
    let step = step.split('~').next().unwrap_or(step);
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    (
        step.to_owned(),
        request.operation.clone(),
        text(&request.app),
        text(&request.subject),
    )
}

impl Multiset {
    fn of(writes: &[PlannedWrite]) -> Self {
        let mut all = Self::default();
        for write in writes {
            all.0
                .entry(key(&write.step, &write.request))
                .or_default()
                .push((write.request.arguments.clone(), write.makes.clone()));
        }
        all
    }

    /// Takes one out; gives the name of what it makes.
    fn take(&mut self, step: &str, request: &IntendedRequest) -> Option<Option<String>> {
        let planned = self.0.get_mut(&key(step, request))?;
        let at = planned
            .iter()
            .position(|(arguments, _)| *arguments == request.arguments)?;
        // In order: of things that are made alike, the first is the first.
        Some(planned.remove(at).1)
    }
}

impl Unmade {
    fn of(plan: &Plan) -> Self {
        let beyond = |writes: &[PlannedWrite]| {
            let mut planned = Multiset::of(&plan.writes);
            let more: Vec<PlannedWrite> = writes
                .iter()
                .filter(|write| planned.take(&write.step, &write.request).is_none())
                .cloned()
                .collect();
            Multiset::of(&more)
        };
        Self {
            writes: Multiset::of(&plan.writes),
            contingencies: plan
                .contingencies
                .iter()
                .map(|contingency| beyond(&contingency.writes))
                .collect(),
            failed: false,
            broken: false,
        }
    }

    /// Takes a write out of what was planned, if it was; gives the name of what it makes.
    fn take(&mut self, step: &str, request: &IntendedRequest) -> Option<Option<String>> {
        if self.broken {
            return None;
        }
        let mut contingencies = self.contingencies.iter_mut().filter(|_| self.failed);
        self.writes
            .take(step, request)
            .or_else(|| contingencies.find_map(|contingency| contingency.take(step, request)))
    }
}

impl Writes {
    /// Of a run that applies `plan`, if any, and has done `past`.
    pub(crate) fn new(
        plan: Option<&Plan>,
        past: &RunState,
        rows: &HashMap<&'static str, &'static Row>,
    ) -> Self {
        let mut writes = Self {
            plan: plan.map(Unmade::of),
            ..Self::default()
        };
        let allowed = |effect: &OperationState| effect.intended.decision == Decision::Allowed;
        let failed = |effect: &OperationState| {
            let settled = effect.settled.as_ref();
            settled.is_some_and(|settled| settled.failure.is_some())
        };
        if past.effects().any(|(_, e)| allowed(e) && failed(e)) {
            writes.failed();
        }
        // What was made has to be known by its name before what was done to it.
        for makers in [true, false] {
            for (step, effect) in past.effects().filter(|(_, effect)| allowed(effect)) {
                let recorded = &effect.intended.request;
                let Some(row) = rows.get(recorded.operation.as_str()) else {
                    continue;
                };
                let request = recorded.request(row);
                if row.creates.is_some() != makers || !Effective::counts(&request) {
                    continue;
                }
                let number = effect.intended.effect;
                let planned = writes.take(step, &request);
                match planned.is_none() && writes.takes_back(&request) {
                    true => writes.take_back(&request),
                    false => writes.count(step, number, &request, planned.flatten()),
                }
                let settled = effect.settled.as_ref();
                if let Some(answer) = settled.and_then(|settled| settled.answer.as_ref()) {
                    writes.succeeded(step, number, answer.get());
                }
            }
        }
        let unplanned = |e: &OperationState| e.intended.decision == Decision::Unplanned;
        if let Some(plan) = &mut writes.plan {
            plan.broken = past.effects().any(|(_, e)| unplanned(e));
        }
        writes
    }

    /// Notes how an effect came out.
    pub(crate) fn settled(&mut self, step: &str, number: u64, outcome: &Outcome) {
        match &outcome.result {
            Ok(answer) => self.succeeded(step, number, answer),
            Err(_) => self.failed(),
        }
    }

    /// From now on a contingency may have come about.
    fn failed(&mut self) {
        if let Some(plan) = &mut self.plan {
            plan.failed = true;
        }
    }

    /// What has been made is known by its name from now on, and may be taken back.
    fn succeeded(&mut self, step: &str, number: u64, answer: &str) {
        if self.making.is_empty() {
            return;
        }
        let Some(making) = self.making.remove(&(step.to_owned(), number)) else {
            return;
        };
        let Some(id) = made(making.row, answer) else {
            return;
        };
        let target = (making.app, id);
        if let Some(undo) = making.row.undo {
            let made = self.targets.entry(target.clone()).or_default();
            *made.undos.entry(undo).or_default() += 1;
        }
        if let Some(name) = making.name {
            self.names.insert(target, name);
        }
    }

    /// Whether a request takes back what this run wrote.
    pub(crate) fn takes_back(&self, request: &Request) -> bool {
        let operation = request.row.name;
        self.target(request).is_some_and(|target| {
            target.last == Some(operation) || target.undos.get(operation).is_some_and(|n| *n > 0)
        })
    }

    fn target(&self, request: &Request) -> Option<&Target> {
        let (app, subject) = (request.app.clone()?, request.subject.clone()?);
        self.targets.get(&(app, subject))
    }

    /// Decides about a request of a step, and remembers what it writes.
    pub(crate) fn decide(
        &mut self,
        step: &str,
        part: Part,
        number: u64,
        request: &Request,
    ) -> Result<(), Refused> {
        if !Effective::counts(request) {
            return Ok(());
        }
        let planned = self.take(step, request);
        let takes_back = planned.is_none() && self.takes_back(request);
        if let Some(plan) = &mut self.plan
            && planned.is_none()
            && !takes_back
            && part == Part::Step
        {
            let why = if plan.broken {
                "a write that was not planned was denied before; only the way back is open"
            } else {
                "the plan that is applied does not have it"
            };
            plan.broken = true;
            return Err(Refused {
                decision: Decision::Unplanned,
                failure: Failure::Denied(format!("`{request}`: {why}")),
            });
        }
        match takes_back {
            true => self.take_back(request),
            false => self.count(step, number, request, planned.flatten()),
        }
        Ok(())
    }

    /// Takes a write out of the plan, if there is one and it has that write; gives the name of what
    /// it makes.
    fn take(&mut self, step: &str, request: &Request) -> Option<Option<String>> {
        let plan = self.plan.as_mut()?;
        let named = renamed(&IntendedRequest::of(request), &self.names);
        plan.take(step, &named)
    }

    /// Counts a write that is allowed: it may be taken back.
    fn count(&mut self, step: &str, number: u64, request: &Request, name: Option<String>) {
        let row = request.row;
        if let (Some(app), Some(_)) = (&request.app, row.creates) {
            let app = app.clone();
            let making = Making { row, app, name };
            self.making.insert((step.to_owned(), number), making);
        } else if let (Some(app), Some(subject), Some(undo)) =
            (&request.app, &request.subject, row.undo)
        {
            let target = (app.clone(), subject.clone());
            let target = self.targets.entry(target).or_default();
            target.last = None;
            *target.undos.entry(undo).or_default() += 1;
        }
    }

    fn take_back(&mut self, request: &Request) {
        let (Some(app), Some(subject)) = (&request.app, &request.subject) else {
            return;
        };
        let target = self
            .targets
            .entry((app.clone(), subject.clone()))
            .or_default();
        let operation = request.row.name;
        if target.last != Some(operation)
            && let Some(left) = target.undos.get_mut(operation)
        {
            *left = left.saturating_sub(1);
        }
        target.last = Some(operation);
    }
}
