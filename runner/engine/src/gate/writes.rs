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
use crate::effect::{Request, Row};
use crate::grant::Effective;
use crate::journal::{Decision, IntendedRequest, RunState};
use crate::plan::{Plan, PlannedWrite};

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

/// Arguments by step, operation, app and subject.
#[derive(Debug, Clone, Default)]
struct Multiset(HashMap<(String, String, String, String), Vec<Value>>);

fn key(step: &str, request: &IntendedRequest) -> (String, String, String, String) {
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
                .push(write.request.arguments.clone());
        }
        all
    }

    fn take(&mut self, step: &str, request: &IntendedRequest) -> bool {
        let Some(arguments) = self.0.get_mut(&key(step, request)) else {
            return false;
        };
        let found = arguments.iter().position(|a| *a == request.arguments);
        found.map(|at| arguments.swap_remove(at)).is_some()
    }
}

impl Unmade {
    fn of(plan: &Plan) -> Self {
        let beyond = |writes: &[PlannedWrite]| {
            let mut planned = Multiset::of(&plan.writes);
            let more: Vec<PlannedWrite> = writes
                .iter()
                .filter(|write| !planned.take(&write.step, &write.request))
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

    /// Takes a write out of what was planned, if it was.
    fn take(&mut self, step: &str, request: &IntendedRequest) -> bool {
        let mut contingencies = self.contingencies.iter_mut().filter(|_| self.failed);
        !self.broken
            && (self.writes.take(step, request)
                || contingencies.any(|contingency| contingency.take(step, request)))
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
            targets: BTreeMap::new(),
            plan: plan.map(Unmade::of),
        };
        let unplanned = |decision| decision == Decision::Unplanned;
        let broken = past.effects().any(|(_, e)| unplanned(e.intended.decision));
        let failed = |(_, effect): (&str, &crate::journal::OperationState)| {
            let settled = effect.settled.as_ref();
            effect.intended.decision == Decision::Allowed
                && settled.is_some_and(|settled| settled.failure.is_some())
        };
        if past.effects().any(failed) {
            writes.failed();
        }
        for (step, effect) in past.effects() {
            let recorded = &effect.intended.request;
            let row = rows.get(recorded.operation.as_str());
            if let (Decision::Allowed, Some(row)) = (effect.intended.decision, row) {
                let request = recorded.request(row);
                if Effective::counts(&request) {
                    writes.admit(step, &request, recorded);
                }
            }
        }
        if let Some(plan) = &mut writes.plan {
            plan.broken = broken;
        }
        writes
    }

    /// From now on a contingency may have come about.
    pub(crate) fn failed(&mut self) {
        if let Some(plan) = &mut self.plan {
            plan.failed = true;
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
        request: &Request,
    ) -> Result<(), Refused> {
        if !Effective::counts(request) {
            return Ok(());
        }
        let planned = self.admit(step, request, &IntendedRequest::of(request));
        let Some(plan) = &mut self.plan else {
            return Ok(());
        };
        if planned || part != Part::Step {
            return Ok(());
        }
        let why = if plan.broken {
            "a write that was not planned was denied before; only the way back is open"
        } else {
            "the plan that is applied does not have it"
        };
        plan.broken = true;
        Err(Refused {
            decision: Decision::Unplanned,
            failure: Failure::Denied(format!("`{request}`: {why}")),
        })
    }

    /// Counts a write, and says whether it is planned or takes something back.
    fn admit(&mut self, step: &str, request: &Request, recorded: &IntendedRequest) -> bool {
        let planned = self
            .plan
            .as_mut()
            .is_some_and(|plan| plan.take(step, recorded));
        let takes_back = !planned && self.takes_back(request);
        let (Some(app), Some(subject)) = (&request.app, &request.subject) else {
            return planned;
        };
        let target = (app.clone(), subject.clone());
        let target = self.targets.entry(target).or_default();
        let operation = request.row.name;
        if takes_back {
            if target.last != Some(operation)
                && let Some(left) = target.undos.get_mut(operation)
            {
                *left = left.saturating_sub(1);
            }
            target.last = Some(operation);
        } else if planned || self.plan.is_none() {
            target.last = None;
            if let Some(undo) = request.row.undo {
                *target.undos.entry(undo).or_default() += 1;
            }
        }
        planned || takes_back
    }
}
