//! What a rehearsal's journal tells of the plan that comes of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Map;

use super::MakeError;
use crate::contract::Level;
use crate::effect::Row;
use crate::journal::{Decision, Entry, Intended, Note, NoteBody, Record, Settled, step_id};
use crate::plan::{PlannedWrite, Said, renamed};

/// How many notes a plan keeps.
const NOTES: usize = 100;

/// What a rehearsal's journal tells.
#[derive(Default)]
pub(crate) struct Told {
    /// What counts for drift: what was read and written to, in order.
    pub(crate) regarded: Vec<Intended>,
    pub(crate) writes: Vec<PlannedWrite>,
    /// How many answers were assumed, by operation and what was.
    pub(crate) assumptions: BTreeMap<(String, &'static str), u64>,
    pub(crate) notes: Vec<Said>,
    /// How many notes came after these.
    pub(crate) more_notes: u64,
    /// The first and the last moment by the rehearsal's clock.
    time: Option<(u64, u64)>,
}

/// A journal on its way through.
struct Reading<'a> {
    rows: &'a HashMap<&'static str, &'static Row>,
    told: Told,
    /// By step: its effects whose answers are assumed, and whether it has been given one.
    assumed: BTreeMap<String, (BTreeSet<u64>, bool)>,
    /// What makes something, by step and number: the app that it is made in, and its name.
    making: BTreeMap<(String, u64), (&'static Row, String, String)>,
    /// The names of what was made, by app and id.
    names: HashMap<(String, String), String>,
}

impl Reading<'_> {
    fn entry(&mut self, entry: Entry) {
        match entry {
            Entry::StepBegan(began) => self.told.passes(began.now),
            Entry::Delivered(delivered) => {
                self.told.passes(delivered.now);
                let (assumed, given) = self.assumed.entry(delivered.step).or_default();
                *given |= delivered.effects.iter().any(|n| assumed.contains(n));
            }
            Entry::Intended(intended) if intended.decision == Decision::Allowed => {
                self.intended(intended);
            }
            Entry::Settled(settled) => self.settled(settled),
            Entry::Note(Note {
                step: Some(step),
                note: NoteBody::Text { level, message },
            }) if level != Level::Debug => self.told.said(&step, message),
            Entry::RunOpened(_)
            | Entry::Intended(_)
            | Entry::StepEnded(_)
            | Entry::RunClosed(_)
            | Entry::Note(_) => {}
        }
    }

    fn intended(&mut self, intended: Intended) {
        let Some(row) = self.rows.get(intended.request.operation.as_str()) else {
            return;
        };
        let (assumed, given) = self.assumed.entry(intended.step.clone()).or_default();
        let given = *given;
        if !row.assumes.is_empty() {
            assumed.insert(intended.effect);
            let of = (intended.request.operation.clone(), row.assumes);
            *self.told.assumptions.entry(of).or_default() += 1;
        }
        if intended.request.request(row).counts() {
            self.write(&intended, row, given);
        }
        if !row.projection.is_empty() {
            self.told.regarded.push(intended);
        }
    }

    fn write(&mut self, intended: &Intended, row: &'static Row, assumed: bool) {
        let step = step_id(&intended.step);
        let makes = row.creates.map(|_| {
            let same = |w: &&PlannedWrite| w.step == step && w.request.operation == row.name;
            let before = self.told.writes.iter().filter(same).count();
            format!("{step}/{}#{}", row.operation(), before + 1)
        });
        if let (Some(name), Some(app)) = (&makes, &intended.request.app) {
            let key = (intended.step.clone(), intended.effect);
            self.making.insert(key, (row, app.clone(), name.clone()));
        }
        self.told.writes.push(PlannedWrite {
            step: step.to_owned(),
            request: intended.request.clone(),
            makes,
            undo: row.undo.map(str::to_owned),
            assumed,
            about: Map::new(),
        });
    }

    fn settled(&mut self, settled: Settled) {
        let making = self.making.remove(&(settled.step, settled.effect));
        if let (Some((row, app, name)), Some(answer)) = (making, settled.answer)
            && let Some(id) = row.made(answer.get())
        {
            self.names.insert((app, id), name);
        }
    }
}

impl Told {
    /// What a journal tells.
    pub(crate) fn of(
        records: &[Record],
        rows: &HashMap<&'static str, &'static Row>,
    ) -> Result<Self, MakeError> {
        let mut reading = Reading {
            rows,
            told: Self::default(),
            assumed: BTreeMap::new(),
            making: BTreeMap::new(),
            names: HashMap::new(),
        };
        for record in records {
            reading.entry(record.entry().map_err(MakeError::Unseen)?);
        }
        let Reading {
            mut told, names, ..
        } = reading;
        for write in &mut told.writes {
            write.request = renamed(&write.request, &names);
        }
        Ok(told)
    }

    /// How long the rehearsal took by its own clock, in milliseconds.
    pub(crate) fn duration(&self) -> u64 {
        self.time.map_or(0, |(first, last)| last - first)
    }

    fn passes(&mut self, now: u64) {
        let (first, last) = self.time.get_or_insert((now, now));
        *first = now.min(*first);
        *last = now.max(*last);
    }

    fn said(&mut self, step: &str, text: String) {
        if self.notes.len() < NOTES {
            let step = step_id(step).to_owned();
            self.notes.push(Said { step, text });
        } else {
            self.more_notes += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_keeps_the_first_hundred_notes_and_counts_the_others() {
        let after = |count: usize| {
            let mut told = Told::default();
            for n in 1..=count {
                told.said("s~2", n.to_string());
            }
            told
        };
        let all = after(NOTES);
        assert_eq!((all.notes.len(), all.more_notes), (NOTES, 0));
        let some = after(NOTES + 3);
        assert_eq!((some.notes.len(), some.more_notes), (NOTES, 3));
        let last = some.notes.last().unwrap();
        assert_eq!((last.step.as_str(), last.text.as_str()), ("s", "100"));
    }
}
