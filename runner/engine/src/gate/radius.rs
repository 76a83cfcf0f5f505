//! What a run has written to, or holds: how far its blast radius has got. A thing is one thing however
//! often, and whatever, is done to it. A step's grant counts what the step did in all its attempts; the
//! operator's policy counts what the run did in all its steps. Both go on counting after a resume. No
//! I/O here.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{target, unmade};
use crate::effect::{Announced, Executor, Outcome, Request, Row};
use crate::grant::bound::Whose;
use crate::grant::effective::Effective;
use crate::journal::{Decision, RunState, step_id};

/// Capability, app and subject.
type Thing = (&'static str, String, String);

#[derive(Debug, Default)]
struct Touched {
    /// What it was found to belong to, where that was asked.
    within: Option<String>,
    /// By which steps, in the order of [`Radius::steps`]: there are thousands of things, and few steps.
    steps: Vec<u16>,
}

impl Touched {
    /// Whether it counts by a measure: the step's own, or the run's.
    fn counts(&self, whose: Whose, step: Option<u16>) -> bool {
        whose == Whose::Policy || step.is_some_and(|step| self.steps.contains(&step))
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Radius {
    things: HashMap<Thing, Touched>,
    steps: Vec<String>,
    by_step: HashMap<(&'static str, u16), usize>,
    by_run: HashMap<&'static str, usize>,
}

/// What a request counts as; none if it does not count.
pub(super) fn thing(step: &str, number: u64, request: &Request) -> Option<Thing> {
    let (app, subject) = target(step, number, request).filter(|_| request.reaches())?;
    Some((request.row.capability(), app, subject))
}

impl Radius {
    /// Of a run as its journal tells it.
    pub(crate) fn new(past: &RunState, rows: &HashMap<&'static str, &'static Row>) -> Self {
        let mut radius = Self::default();
        for (step, effect) in past.effects() {
            let intended = &effect.intended;
            let row = rows.get(intended.request.operation.as_str());
            let (Some(row), Decision::Allowed) = (row, intended.decision) else {
                continue;
            };
            let request = intended.request.request(row);
            let Some(thing) = thing(step, intended.effect, &request) else {
                continue;
            };
            radius.add(step_id(step), thing, None);
            let Some(settled) = &effect.settled else {
                continue;
            };
            let answer = settled.answer.as_ref().map(|answer| answer.get());
            radius.came_out(step, intended.effect, &request, answer, settled.in_doubt);
        }
        radius
    }

    /// Whether a write to one more thing stays within a grant.
    ///
    /// # Errors
    /// The limit in words.
    pub(super) fn allows(
        &self,
        step: &str,
        thing: &Thing,
        grant: &Effective,
        executor: Option<&dyn Executor>,
        within: Option<&str>,
    ) -> Result<(), String> {
        let step = self.place(step_id(step));
        for whose in [Whose::Step, Whose::Policy] {
            if self.has_counted(whose, thing, step) {
                continue;
            }
            grant.allows_one_more(whose, self.count(whose, thing.0, step))?;
            if let (true, Some(within)) = (grant.asks_share(), within) {
                let alike = self.alike(whose, thing, step, executor, within);
                let size = executor.and_then(|executor| executor.population(&thing.1, within));
                grant.allows_share(whose, within, alike, size.unwrap_or(0))?;
            }
        }
        Ok(())
    }

    /// Whether writes to all of these things of an app, and to so many more that are going to be made, would
    /// stay within a grant. Counts nothing.
    ///
    /// # Errors
    /// The limit in words.
    pub(super) fn allows_all(
        &self,
        step: &str,
        request: &Request,
        Announced { ids, makes }: Announced,
        grant: &Effective,
        executor: Option<&dyn Executor>,
    ) -> Result<(), String> {
        let app = request.app.clone().unwrap_or_default();
        let step = self.place(step_id(step));
        let ids: BTreeSet<String> = ids.into_iter().collect();
        let belongs = |id: &str| executor.and_then(|executor| executor.belongs(&app, id));
        for id in &ids {
            if let Some(within) = belongs(id) {
                grant.allows_found(&within)?;
            }
        }
        for whose in [Whose::Step, Whose::Policy] {
            let mut more = makes;
            let mut alike: BTreeMap<String, (usize, Thing)> = BTreeMap::new();
            for id in &ids {
                let thing = (request.row.capability(), app.clone(), id.clone());
                if self.has_counted(whose, &thing, step) {
                    continue;
                }
                more += 1;
                if let Some(within) = belongs(id).filter(|_| grant.asks_share()) {
                    alike.entry(within).or_insert((0, thing)).0 += 1;
                }
            }
            let before = self.count(whose, request.row.capability(), step);
            grant.allows_more(whose, before, more)?;
            for (within, (more, thing)) in alike {
                let before = self.alike(whose, &thing, step, executor, &within);
                let size = executor.and_then(|executor| executor.population(&app, &within));
                grant.allows_share(whose, &within, before + more - 1, size.unwrap_or(0))?;
            }
        }
        Ok(())
    }

    fn has_counted(&self, whose: Whose, thing: &Thing, step: Option<u16>) -> bool {
        let known = self.things.get(thing);
        known.is_some_and(|touched| touched.counts(whose, step))
    }

    fn place(&self, step: &str) -> Option<u16> {
        let at = self.steps.iter().position(|known| known == step)?;
        u16::try_from(at).ok()
    }

    fn count(&self, whose: Whose, capability: &'static str, step: Option<u16>) -> usize {
        let count = match whose {
            Whose::Step => step.and_then(|step| self.by_step.get(&(capability, step))),
            Whose::Policy => self.by_run.get(capability),
        };
        count.copied().unwrap_or(0)
    }

    /// How many of the same app, and within the same, have been written to. What nobody can tell of
    /// counts.
    fn alike(
        &self,
        whose: Whose,
        thing: &Thing,
        step: Option<u16>,
        executor: Option<&dyn Executor>,
        within: &str,
    ) -> usize {
        let alike = |(key, touched): &(&Thing, &Touched)| {
            let asked = || executor.and_then(|executor| executor.belongs(&key.1, &key.2));
            let of = touched.within.clone().or_else(asked);
            (key.0, &key.1) == (thing.0, &thing.1)
                && touched.counts(whose, step)
                && of.is_none_or(|of| of == within)
        };
        self.things.iter().filter(alike).count()
    }

    /// Counts what has been allowed.
    pub(super) fn add(&mut self, step: &str, thing: Thing, within: Option<String>) {
        let step = match self.place(step_id(step)) {
            Some(step) => step,
            None => {
                self.steps.push(step_id(step).to_owned());
                u16::try_from(self.steps.len() - 1).unwrap_or(u16::MAX)
            }
        };
        self.count_in(step, thing, within);
    }

    fn count_in(&mut self, step: u16, thing: Thing, within: Option<String>) {
        let capability = thing.0;
        let known = self.things.contains_key(&thing);
        let touched = self.things.entry(thing).or_default();
        touched.within = within.or(touched.within.take());
        if !touched.steps.contains(&step) {
            touched.steps.push(step);
            *self.by_step.entry((capability, step)).or_default() += 1;
        }
        if !known {
            *self.by_run.entry(capability).or_default() += 1;
        }
    }

    /// What has been made counts by its id from now on; what surely was not, not at all.
    pub(super) fn settled(
        &mut self,
        step: &str,
        number: u64,
        request: &Request,
        outcome: &Outcome,
    ) {
        let answer = outcome.result.as_deref().ok();
        self.came_out(step, number, request, answer, outcome.in_doubt);
    }

    fn came_out(
        &mut self,
        step: &str,
        number: u64,
        request: &Request,
        answer: Option<&str>,
        in_doubt: bool,
    ) {
        let row = request.row;
        let (Some(app), true) = (&request.app, row.creates.is_some() && !in_doubt) else {
            return;
        };
        let key = (row.capability(), app.clone(), unmade(step, number));
        let Some(touched) = self.things.remove(&key) else {
            return;
        };
        for step in &touched.steps {
            if let Some(count) = self.by_step.get_mut(&(key.0, *step)) {
                *count = count.saturating_sub(1);
            }
        }
        if let Some(count) = self.by_run.get_mut(key.0) {
            *count = count.saturating_sub(1);
        }
        if let Some(id) = answer.and_then(|answer| row.made(answer)) {
            let made = (key.0, key.1, id);
            for step in touched.steps {
                self.count_in(step, made.clone(), touched.within.clone());
            }
        }
    }
}
