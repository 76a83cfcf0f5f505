//! What a run has written, and with a plan what it may still write.
//!
//! A run that applies a plan makes the planned writes and no others, in whatever order and perhaps
//! fewer of them: they are matched as a multiset over step, operation, target and arguments. Beside
//! them it may take back what it wrote itself, do what `rescue` and `finally` say, and, once
//! something has failed, what a rehearsed contingency has beyond the plan. Anything else is denied,
//! and after that nothing passes but the way back. No I/O here and no clock.

use std::collections::HashMap;

use crate::contract::Failure;
use crate::effect::{Outcome, Request, Row};
use crate::journal::{Decision, IntendedRequest, OperationState, RunState};
use crate::plan::{Act, Multiset, Plan, What, act, renamed};

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
    /// How often an operation may still take something back, by app, subject and operation.
    undos: HashMap<(String, String, &'static str), u64>,
    plan: Option<Unmade>,
    /// What has been allowed and is not settled, by step and number.
    under_way: HashMap<(String, u64), UnderWay>,
    /// By what names the plan knows what this run has made, by app and id.
    names: HashMap<(String, String), String>,
}

/// A write that has been allowed, so that it can be as if it had never been.
#[derive(Debug)]
struct UnderWay {
    row: &'static Row,
    app: String,
    subject: Option<String>,
    /// It takes something back, and opens no way back itself.
    takes_back: bool,
    planned: Option<Taken>,
}

/// A write that was taken out of a plan.
#[derive(Debug)]
struct Taken {
    act: Act,
    what: What,
    /// Out of the plan itself; otherwise out of these contingencies.
    planned: bool,
    contingencies: Vec<usize>,
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

impl Unmade {
    fn of(plan: &Plan) -> Self {
        Self {
            writes: Multiset::of(&plan.writes),
            contingencies: plan
                .contingencies
                .iter()
                .map(|contingency| Multiset::of(plan.beyond(&contingency.writes)))
                .collect(),
            failed: false,
            broken: false,
        }
    }

    /// Takes a write out of what was planned, if it was; or, once something has failed, out of every
    /// contingency that has it.
    fn take(&mut self, step: &str, request: &IntendedRequest) -> Option<Taken> {
        if self.broken {
            return None;
        }
        let act = act(step, request);
        let arguments = &request.arguments;
        if let Some(what) = self.writes.take(&act, arguments) {
            return Some(Taken {
                act,
                what,
                planned: true,
                contingencies: Vec::new(),
            });
        }
        let (mut found, mut contingencies) = (None, Vec::new());
        for (at, contingency) in self.contingencies.iter_mut().enumerate() {
            if let (true, Some(what)) = (self.failed, contingency.take(&act, arguments)) {
                found = Some(what);
                contingencies.push(at);
            }
        }
        Some(Taken {
            act,
            what: found?,
            planned: false,
            contingencies,
        })
    }

    /// A write that was taken and surely did not happen may be made yet.
    fn put_back(&mut self, taken: Taken) {
        if taken.planned {
            self.writes.put(taken.act, taken.what);
            return;
        }
        for at in taken.contingencies {
            if let Some(contingency) = self.contingencies.get_mut(at) {
                contingency.put(taken.act.clone(), taken.what.clone());
            }
        }
    }
}

/// Whether a contingency may have come about: not when a plugin ended something itself, asked for
/// nonsense, or only slept.
fn fails(operation: &str, failure: &Failure) -> bool {
    !operation.starts_with("operations.")
        && !matches!(
            failure,
            Failure::Cancelled(_) | Failure::Invalid(_) | Failure::Denied(_)
        )
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
        // In the order in which they were decided.
        let mut effects: Vec<(&str, &OperationState)> = past.effects().collect();
        effects.sort_by_key(|(_, effect)| effect.sequence);
        for (step, effect) in effects {
            let recorded = &effect.intended.request;
            let Some(row) = rows.get(recorded.operation.as_str()) else {
                continue;
            };
            match effect.intended.decision {
                Decision::Allowed => {}
                Decision::Denied => continue,
                Decision::Unplanned => {
                    if let Some(plan) = &mut writes.plan {
                        plan.broken = true;
                    }
                    continue;
                }
            }
            let (request, number) = (recorded.request(row), effect.intended.effect);
            if request.counts() {
                let planned = writes.take(step, &request);
                writes.begin(step, number, &request, planned);
            }
            let Some(settled) = &effect.settled else {
                continue;
            };
            match (&settled.answer, &settled.failure) {
                (Some(answer), _) => writes.succeeded(step, number, answer.get()),
                (None, Some(failure)) => {
                    writes.failed(step, number, row, failure, settled.in_doubt);
                }
                (None, None) => {}
            }
        }
        writes
    }

    /// Notes how an effect came out.
    pub(crate) fn settled(
        &mut self,
        step: &str,
        number: u64,
        row: &'static Row,
        outcome: &Outcome,
    ) {
        match &outcome.result {
            Ok(answer) => self.succeeded(step, number, answer),
            Err(failure) => self.failed(step, number, row, failure, outcome.in_doubt),
        }
    }

    fn end(&mut self, step: &str, number: u64) -> Option<UnderWay> {
        if self.under_way.is_empty() {
            return None;
        }
        self.under_way.remove(&(step.to_owned(), number))
    }

    /// What has been made is known by its name from now on, and may be taken back.
    fn succeeded(&mut self, step: &str, number: u64, answer: &str) {
        let Some(done) = self.end(step, number) else {
            return;
        };
        let Some(id) = done.row.made(answer) else {
            return;
        };
        if let Some(undo) = done.row.undo {
            let undo = (done.app.clone(), id.clone(), undo);
            *self.undos.entry(undo).or_default() += 1;
        }
        if let Some(name) = done.planned.and_then(|taken| taken.what.1) {
            self.names.insert((done.app, id), name);
        }
    }

    /// What surely did not happen is as if it had never been asked for.
    fn failed(
        &mut self,
        step: &str,
        number: u64,
        row: &'static Row,
        failure: &Failure,
        in_doubt: bool,
    ) {
        if let Some(plan) = &mut self.plan {
            plan.failed |= fails(row.name, failure);
        }
        let Some(done) = self.end(step, number).filter(|_| !in_doubt) else {
            return;
        };
        if let (Some(plan), Some(taken)) = (&mut self.plan, done.planned) {
            plan.put_back(taken);
        }
        let Some(subject) = done.subject else {
            return;
        };
        if done.takes_back {
            let undo = (done.app, subject, row.name);
            *self.undos.entry(undo).or_default() += 1;
        } else if let Some(undo) = row.undo {
            let left = self.undos.get_mut(&(done.app, subject, undo));
            left.into_iter().for_each(|n| *n = n.saturating_sub(1));
        }
    }

    /// Whether a request takes back what this run wrote.
    pub(crate) fn takes_back(&self, request: &Request) -> bool {
        let (Some(app), Some(subject)) = (&request.app, &request.subject) else {
            return false;
        };
        let undo = (app.clone(), subject.clone(), request.row.name);
        self.undos.get(&undo).is_some_and(|left| *left > 0)
    }

    /// Decides about a request of a step, and remembers what it writes.
    pub(crate) fn decide(
        &mut self,
        step: &str,
        part: Part,
        number: u64,
        request: &Request,
    ) -> Result<(), Refused> {
        if !request.counts() {
            return Ok(());
        }
        let planned = self.take(step, request);
        let open = planned.is_some() || part != Part::Step || self.takes_back(request);
        if let (false, Some(plan)) = (open, &mut self.plan) {
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
        self.begin(step, number, request, planned);
        Ok(())
    }

    /// Takes a write out of the plan, if there is one and it has that write.
    fn take(&mut self, step: &str, request: &Request) -> Option<Taken> {
        let plan = self.plan.as_mut()?;
        let named = renamed(&IntendedRequest::of(request), &self.names);
        plan.take(step, &named)
    }

    /// Counts a write that is allowed. What takes something back, planned or not, uses that up and
    /// opens nothing; anything else may be taken back itself.
    fn begin(&mut self, step: &str, number: u64, request: &Request, planned: Option<Taken>) {
        let row = request.row;
        let takes_back = self.takes_back(request);
        if planned.is_none() && !takes_back && row.undo.is_none() && row.creates.is_none() {
            return;
        }
        let app = request.app.clone().unwrap_or_default();
        if let Some(subject) = &request.subject {
            let undo = |operation| (app.clone(), subject.clone(), operation);
            if takes_back {
                let left = self.undos.get_mut(&undo(row.name));
                left.into_iter().for_each(|n| *n = n.saturating_sub(1));
            } else if let Some(operation) = row.undo.filter(|_| row.creates.is_none()) {
                *self.undos.entry(undo(operation)).or_default() += 1;
            }
        }
        let under_way = UnderWay {
            row,
            app,
            subject: request.subject.clone().filter(|_| row.creates.is_none()),
            takes_back,
            planned,
        };
        self.under_way.insert((step.to_owned(), number), under_way);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::effect::Kind;

    const fn row(name: &'static str, undo: Option<&'static str>) -> Row {
        Row {
            name,
            kind: Kind::Write,
            verb: "write",
            idempotent: true,
            housekeeping: false,
            waits: false,
            in_doubt: "",
            undo,
            creates: None,
            announces: None,
            fork: "",
            assumes: "",
            projection: &[],
            sound: |_| Ok(()),
        }
    }

    static CORDON: Row = row("door.lock", Some("door.unlock"));
    static UNCORDON: Row = row("door.unlock", Some("door.lock"));
    static RESTART: Row = row("door.ring", None);

    fn on(row: &'static Row, id: &str) -> Request {
        Request::new(row).on("web".to_owned(), id.to_owned())
    }

    /// A plan of these writes and cases, of the one step `s`.
    fn plan(writes: &[Request], cases: &[&[Request]]) -> Plan {
        let all = |writes: &[Request]| {
            let one = |request: &Request| json!({ "step": "s", "operation": request.row.name, "app": request.app, "subject": request.subject });
            writes.iter().map(one).collect::<Vec<_>>()
        };
        let case = |writes: &&[Request]| json!({ "faults": [], "rehearsal": "", "status": "failed", "writes": all(writes) });
        serde_json::from_value(json!({
            "format": 1, "run": "", "made_at": "2026-01-01T00:00:00Z", "expires_at": "2026-01-01T00:00:00Z",
            "author": "", "actor": { "user": "", "host": "", "process": 1 }, "engine": "", "runbook": "",
            "runbook_digest": "", "runbook_text": "", "inputs": {}, "target": {}, "seed": 1, "plugins": [],
            "policy_digest": null, "steps": [], "writes": all(writes), "observed": [], "assumptions": [],
            "expected_ms": 0, "apps": {}, "changes": [],
            "contingencies": cases.iter().map(case).collect::<Vec<_>>()
        }))
        .unwrap()
    }

    /// Asks one after the other, and says which were allowed.
    struct Asking(Writes, u64);

    impl Asking {
        fn of(plan: Option<&Plan>) -> Self {
            Self(Writes::new(plan, &RunState::default(), &HashMap::new()), 0)
        }

        fn may(&mut self, request: &Request) -> bool {
            self.1 += 1;
            self.0.decide("s", Part::Step, self.1, request).is_ok()
        }

        fn came_out(&mut self, row: &'static Row, outcome: &Outcome) {
            self.0.settled("s", self.1, row, outcome);
        }
    }

    #[test]
    fn a_plan_that_takes_back_its_own_writes_opens_nothing_more() {
        let (cordon, uncordon) = (on(&CORDON, "m1"), on(&UNCORDON, "m1"));
        let planned = plan(&[cordon.clone(), uncordon.clone()], &[]);
        let mut run = Asking::of(Some(&planned));
        assert!(run.may(&cordon) && run.may(&uncordon));
        assert!(!run.may(&cordon) && !run.may(&uncordon));
        // Half of it, and the way back was the other half.
        let mut run = Asking::of(Some(&planned));
        assert!(run.may(&cordon));
        assert!(!run.may(&on(&RESTART, "m1")));
        assert!(run.may(&uncordon) && !run.may(&uncordon) && !run.may(&cordon));
    }

    #[test]
    fn what_surely_did_not_happen_may_still_be_done_and_is_not_taken_back() {
        let (cordon, uncordon) = (on(&CORDON, "m1"), on(&UNCORDON, "m1"));
        let planned = plan(std::slice::from_ref(&cordon), &[]);
        let refused = Outcome::failed(Failure::Conflict("leased".to_owned()));
        let mut run = Asking::of(Some(&planned));
        assert!(run.may(&cordon));
        run.came_out(&CORDON, &refused);
        assert!(!run.0.takes_back(&uncordon));
        assert!(run.may(&cordon));
        // A way back that was not gone is still open.
        assert!(run.may(&uncordon));
        run.came_out(&UNCORDON, &refused);
        assert!(run.may(&uncordon) && !run.may(&uncordon));
        // What may have happened is neither made again nor forgotten.
        let mut run = Asking::of(Some(&planned));
        assert!(run.may(&cordon));
        run.came_out(
            &CORDON,
            &Outcome::in_doubt(Failure::Unavailable(String::new())),
        );
        assert!(run.0.takes_back(&uncordon) && !run.may(&cordon));
    }

    #[test]
    fn cases_do_not_add_up_and_open_only_when_something_fails() {
        let (planned, more) = (on(&RESTART, "m1"), on(&RESTART, "m2"));
        let case = [planned.clone(), more.clone()];
        let planned_once = plan(std::slice::from_ref(&planned), &[&case, &case, &case]);
        for (failure, opens) in [
            (Failure::Application(String::new()), true),
            (Failure::Cancelled(String::new()), false),
            (Failure::Invalid(String::new()), false),
        ] {
            let mut run = Asking::of(Some(&planned_once));
            run.came_out(&RESTART, &Outcome::failed(failure));
            assert_eq!(run.may(&more), opens);
            assert!(!run.may(&more));
        }
    }

    #[test]
    fn without_a_plan_everything_is_open_and_what_was_written_can_be_taken_back() {
        let mut run = Asking::of(None);
        let uncordon = on(&UNCORDON, "m1");
        assert!(!run.0.takes_back(&uncordon));
        assert!(run.may(&on(&CORDON, "m1")) && run.may(&on(&RESTART, "m1")));
        assert!(run.0.takes_back(&uncordon) && !run.0.takes_back(&on(&UNCORDON, "m2")));
        assert!(run.may(&uncordon) && !run.0.takes_back(&uncordon));
    }
}
