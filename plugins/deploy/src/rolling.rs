//! How many Machines get to the target: group beside group, in each a bounded number at once, until
//! more have failed than may; then all go back, if the deploy says so. An interrupt leaves them where
//! they are, all in service.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use groundcrew_plugin::{
    Error, Flow, Host, Kind, Machine, Portion, Result, State, Updated, join_all,
};

use crate::one::{Became, How, bring, undo};
use crate::report::{MachineReport, Outcome, Report};
use crate::select::Selection;
use crate::target::{Target, ill, in_order};

/// How many at once, and how many may fail.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// How many Machines of a group may be away at once, of those that run.
    pub max_unavailable: Portion,
    /// How many Machines of a group are worked on at once.
    pub parallel: usize,
    /// How many may fail before no further one is begun.
    pub max_failures: usize,
    /// The first Machine of a group goes alone.
    pub first_alone: bool,
    /// How long they are watched once all are there, before it counts as done.
    pub hold: Duration,
}

/// A deploy under way.
struct Rolling<'a> {
    host: &'a Host,
    target: &'a Target,
    how: &'a How,
    bounds: Bounds,
    failures: Cell<usize>,
    stopped: Cell<bool>,
    /// The run is being interrupted: what is there stays, as nothing could be watched going back.
    interrupted: Cell<bool>,
    done: RefCell<Vec<Done<'a>>>,
    /// What did not stay in order, by id.
    sick: RefCell<BTreeMap<String, Error>>,
}

/// One Machine that was worked on.
struct Done<'a> {
    machine: &'a Machine,
    became: Became,
}

/// Brings the chosen Machines to the target.
///
/// # Errors
///
/// If any of them is not there at the end; the report is the failure's output.
pub async fn roll(
    host: &Host,
    target: &Target,
    how: &How,
    bounds: Bounds,
    selection: &Selection,
) -> Result<Report> {
    let mut reports: Vec<MachineReport> = selection
        .excluded
        .iter()
        .map(|machine| MachineReport::of(machine, Outcome::Excluded, None))
        .collect();
    let mut groups: BTreeMap<&str, Vec<&Machine>> = BTreeMap::new();
    for machine in &selection.chosen {
        if target.is_met(machine) {
            reports.push(MachineReport::of(machine, Outcome::Unchanged, None));
        } else if !machine.is_reachable() {
            let why = Some("its host is not reached".to_owned());
            reports.push(MachineReport::of(machine, Outcome::Unreachable, why));
        } else {
            groups.entry(&machine.group).or_default().push(machine);
        }
    }
    host.expect(groups.values().map(Vec::len).sum(), "machines");
    if let Some(first) = groups.values().flatten().next() {
        let all = groups.values().flatten().copied();
        host.will_write(&first.app, all, 0).await?;
    }
    let rolling = Rolling {
        host,
        target,
        how,
        bounds,
        failures: Cell::new(0),
        stopped: Cell::new(false),
        interrupted: Cell::new(false),
        done: RefCell::default(),
        sick: RefCell::default(),
    };
    let running = |group: &str| {
        let of = selection.chosen.iter().filter(|m| m.group == group);
        of.filter(|m| m.is(State::Started)).count()
    };
    let each = groups
        .iter()
        .map(|(group, machines)| rolling.group(machines, running(group)));
    join_all(each).await;
    let unseen = rolling.look_again().await.err();
    let undone = rolling.go_back().await;
    let (worked_on, kinds) = rolling.reports(&undone);
    let begun: Vec<&str> = worked_on.iter().map(|report| report.id.as_str()).collect();
    let waiting = groups.values().flatten();
    let waiting = waiting.filter(|machine| !begun.contains(&machine.id.as_str()));
    let why = || Some("its turn did not come".to_owned());
    reports.extend(waiting.map(|m| MachineReport::of(m, Outcome::NotAttempted, why())));
    reports.extend(worked_on);
    let report = Report::new(&target.release, reports).conclude(&kinds)?;
    match unseen {
        None => Ok(report),
        Some(error) => {
            let text = format!("all are there, and were not watched to the end: {error}");
            Err(Error::new(error.kind(), text).with_output(&report))
        }
    }
}

impl<'a> Rolling<'a> {
    /// One group: what runs within the bound, what rests beside it.
    async fn group(&self, machines: &[&'a Machine], running: usize) {
        let (up, resting): (Vec<&Machine>, Vec<&Machine>) = machines
            .iter()
            .partition(|machine| machine.is(State::Started));
        let at_once = self
            .bounds
            .max_unavailable
            .of(running)
            .min(self.bounds.parallel);
        let alone = usize::from(self.bounds.first_alone).min(up.len());
        let (first, others) = up.split_at(alone);
        self.sweep(first, 1).await;
        let others = self.sweep(others, at_once);
        groundcrew_plugin::join(others, self.sweep(&resting, self.bounds.parallel)).await;
    }

    async fn sweep(&self, machines: &[&'a Machine], at_once: usize) {
        if self.stopped.get() {
            return;
        }
        let work = async |machine: &'a Machine| self.one(machine).await;
        let judge = |_: &()| match self.stopped.get() {
            true => Flow::Stop,
            false => Flow::Continue,
        };
        let machines = machines.iter().copied();
        self.host
            .for_each_until(machines, at_once, work, judge)
            .await;
    }

    async fn one(&self, machine: &'a Machine) {
        let became = bring(self.host, self.target, self.how, machine).await;
        let item = self.host.item(&machine.id);
        match &became {
            Became::Updated(_) => item.succeeded("updated"),
            Became::Replaced(new) => item.succeeded(format!("replaced by {new}")),
            Became::AsItWas(error) | Became::Failed(_, error) => {
                item.failed(error.message());
                self.failures.set(self.failures.get() + 1);
                let too_many = self.failures.get() > self.bounds.max_failures;
                let interrupted = error.kind() == Kind::Cancelled;
                if too_many || interrupted {
                    self.stopped.set(true);
                }
                if interrupted {
                    self.interrupted.set(true);
                }
            }
        }
        self.done.borrow_mut().push(Done { machine, became });
    }

    /// Whether what got there stays in order for as long as it is watched. What does not counts as
    /// failed.
    async fn look_again(&self) -> Result<()> {
        let there: Vec<&Machine> = {
            let done = self.done.borrow();
            let there = done.iter().filter(|done| {
                done.machine.is(State::Started) && matches!(done.became, Became::Updated(_))
            });
            there.map(|done| done.machine).collect()
        };
        if self.stopped.get() || there.is_empty() {
            return Ok(());
        }
        self.watch(&there).await?;
        let sick = self.sick.borrow().len();
        if sick > self.bounds.max_failures.saturating_sub(self.failures.get()) {
            self.stopped.set(true);
        }
        Ok(())
    }

    async fn watch(&self, there: &[&Machine]) -> Result<()> {
        if !self.bounds.hold.is_zero() {
            let count = there.len();
            let hold = self.bounds.hold.as_secs_f64();
            self.host
                .note(&format!("{count} Machines are watched for {hold} s"));
            self.host.sleep(self.bounds.hold).await?;
        }
        if !self.how.verify.checks {
            return Ok(());
        }
        let listed = self.host.machines(&there[0].app).list().await?;
        for machine in there {
            let now = listed.iter().find(|now| now.id == machine.id);
            let ill = match now {
                Some(now) if in_order(now) => continue,
                Some(now) => ill(now),
                None => "it is gone".to_owned(),
            };
            let text = format!("{} did not stay in order: {ill}", machine.id);
            self.host.item(&machine.id).failed(&text);
            let mut sick = self.sick.borrow_mut();
            sick.insert(machine.id.clone(), Error::application(text));
        }
        Ok(())
    }

    /// After a deploy that was stopped: every Machine that got there goes back, if it is to. Gives
    /// how each came out.
    async fn go_back(&self) -> BTreeMap<String, Result<(), Error>> {
        if !(self.how.rollback && self.stopped.get()) || self.interrupted.get() {
            return BTreeMap::new();
        }
        let there = |done: &Done<'a>| match &done.became {
            Became::Updated(updated) => Some((done.machine, updated.clone())),
            Became::Replaced(_) | Became::AsItWas(_) | Became::Failed(..) => None,
        };
        let there: Vec<_> = self.done.borrow().iter().filter_map(there).collect();
        if there.is_empty() {
            return BTreeMap::new();
        }
        self.host.warn(&format!("{} Machines go back", there.len()));
        let running = there.iter().filter(|(m, _)| m.is(State::Started)).count();
        let at_once = self.bounds.max_unavailable.of(running);
        let at_once = at_once.min(self.bounds.parallel);
        let work = async |(machine, updated): (&Machine, Updated)| {
            self.host.item(&machine.id).working("going back");
            let result = self.back(machine, &updated).await;
            match &result {
                Ok(()) => self.host.item(&machine.id).failed("as it was"),
                Err(error) => self.host.item(&machine.id).failed(error.message()),
            }
            (machine.id.clone(), result)
        };
        let results = self.host.for_each(there, at_once, work).await;
        results.into_iter().collect()
    }

    async fn back(&self, machine: &Machine, updated: &Updated) -> Result<()> {
        let lease = machine.lease().await?;
        let serves = machine.is(State::Started) && machine.services > 0 && !machine.cordoned;
        let drained = serves && self.how.drain.is_some();
        let result = async {
            if drained {
                machine.cordon().await?;
                if let Some(drain) = self.how.drain.filter(|drain| !drain.is_zero()) {
                    match self.host.sleep(drain).await {
                        Err(error) if error.kind() == Kind::Cancelled => {}
                        other => other?,
                    }
                }
            }
            undo(self.how, machine, updated, drained).await
        };
        let result = result.await;
        lease.release().await?;
        result
    }

    /// What is said of each Machine that was worked on, and the kinds of failures there were.
    fn reports(
        &self,
        undone: &BTreeMap<String, Result<(), Error>>,
    ) -> (Vec<MachineReport>, Vec<Kind>) {
        let mut kinds = Vec::new();
        let mut reports = Vec::new();
        for Done { machine, became } in &*self.done.borrow() {
            let sick = self.sick.borrow();
            let sick = sick.get(&machine.id);
            let (outcome, by, error) = match became {
                Became::Updated(_) => match (undone.get(&machine.id), sick) {
                    (None, None) => (Outcome::Updated, None, None),
                    (None, Some(error)) => (Outcome::Failed, None, Some(error)),
                    (Some(Ok(())), sick) => (Outcome::RolledBack, None, sick),
                    (Some(Err(error)), _) => (Outcome::Failed, None, Some(error)),
                },
                Became::Replaced(new) => (Outcome::Replaced, Some(new.clone()), None),
                Became::AsItWas(error) => (Outcome::RolledBack, None, Some(error)),
                Became::Failed(_, error) => (Outcome::Failed, None, Some(error)),
            };
            kinds.extend(error.map(Error::kind));
            let reason = match (error, outcome) {
                (Some(error), _) => Some(error.to_string()),
                (None, Outcome::RolledBack) => Some("others failed".to_owned()),
                (None, _) => None,
            };
            reports.push(MachineReport {
                replaced_by: by,
                ..MachineReport::of(machine, outcome, reason)
            });
        }
        (reports, kinds)
    }
}
