//! What a run's entries mean: one total function from a state and an entry to the next state, or
//! to the reason why no run can have written that entry there.

use std::collections::BTreeMap;

use jiff::Timestamp;
use thiserror::Error;

use super::{
    Actor, Decision, Delivered, Entry, Intended, Mode, NoteBody, Record, RunClosed, RunOpened,
    Settled, StepBegan, StepEnded, StepStatus,
};
use crate::effect::Difference;

/// Where one effect is.
#[derive(Debug, Clone)]
pub struct OperationState {
    /// What was asked for.
    pub intended: Intended,
    /// The place of that entry in the run's journal.
    pub sequence: u64,
    /// What became of it. None: it is in doubt, if it is a write that was allowed.
    pub settled: Option<Settled>,
    /// The plugin has its outcome.
    pub delivered: bool,
}

/// Where one step is.
#[derive(Debug, Clone, Default)]
pub struct StepState {
    /// How it began; none if it was skipped.
    pub began: Option<StepBegan>,
    /// When, by the wall clock.
    pub began_at: Timestamp,
    /// Its effects by number.
    pub effects: BTreeMap<u64, OperationState>,
    /// Effects in the order in which they were settled.
    pub settled: Vec<u64>,
    /// What the plugin was given, in order.
    pub deliveries: Vec<Delivered>,
    /// How many notes it has in the journal.
    pub notes: u64,
    /// How it ended.
    pub ended: Option<StepEnded>,
}

impl StepState {
    /// The plugin's name, if it began.
    pub fn plugin(&self) -> &str {
        self.began.as_ref().map_or("", |began| &began.plugin)
    }
}

/// Where a run is.
#[derive(Debug, Clone, Default)]
pub struct RunState {
    /// The header.
    pub header: Option<Box<RunOpened>>,
    /// Steps by key, those that have begun or were skipped.
    pub steps: BTreeMap<String, StepState>,
    /// How it ended.
    pub closed: Option<RunClosed>,
    /// Who works on it, or did last.
    pub actor: Option<Actor>,
    /// What others changed while nobody worked on it, as far as whoever went on with it accepted that.
    pub accepted: Vec<Difference>,
    /// It was interrupted, and was being brought to an end.
    pub interrupted: bool,
    /// When the first entry was written, by the wall clock.
    pub opened_at: Timestamp,
    /// When the last one was.
    pub last_at: Timestamp,
    /// How many entries have been folded.
    pub entries: u64,
}

/// An entry that cannot stand where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("entry {sequence} ({kind}) cannot stand here: {reason}")]
pub struct Illegal {
    /// Its place.
    pub sequence: u64,
    /// Its kind.
    pub kind: &'static str,
    /// Why.
    pub reason: String,
}

impl RunState {
    /// Folds records from the beginning of a run.
    ///
    /// # Errors
    /// The first entry that no run can have written.
    pub fn fold<'a>(records: impl IntoIterator<Item = &'a Record>) -> Result<Self, Illegal> {
        let mut state = Self::default();
        for record in records {
            state.apply(record)?;
        }
        Ok(state)
    }

    /// Takes one entry.
    ///
    /// # Errors
    /// If it cannot come next; the state is then as before.
    pub fn apply(&mut self, record: &Record) -> Result<(), Illegal> {
        let illegal = |reason: String| Illegal {
            sequence: record.sequence,
            kind: record.kind.word(),
            reason,
        };
        if record.sequence != self.entries {
            return Err(illegal(format!("its number should be {}", self.entries)));
        }
        let entry = record
            .entry()
            .map_err(|e| illegal(format!("its payload does not read: {e}")))?;
        self.take(entry, record.at).map_err(illegal)?;
        if self.entries == 0 {
            self.opened_at = record.at;
        }
        self.last_at = record.at;
        self.entries += 1;
        Ok(())
    }

    fn take(&mut self, entry: Entry, at: Timestamp) -> Result<(), String> {
        if self.closed.is_some() {
            return Err("the run is closed".to_owned());
        }
        if self.header.is_none() && !matches!(entry, Entry::RunOpened(_)) {
            return Err("the run is not open yet".to_owned());
        }
        match entry {
            Entry::RunOpened(header) => self.open(header),
            Entry::StepBegan(began) => {
                if self.steps.contains_key(&began.step) {
                    return Err(format!("step `{}` has begun before", began.step));
                }
                let key = began.step.clone();
                let step = StepState {
                    began: Some(began),
                    began_at: at,
                    ..StepState::default()
                };
                self.steps.insert(key, step);
                Ok(())
            }
            Entry::Intended(intended) => self.intend(intended),
            Entry::Settled(settled) => self.settle(settled),
            Entry::Delivered(delivered) => {
                let step = running(&mut self.steps, &delivered.step)?;
                for (at, number) in delivered.effects.iter().enumerate() {
                    match step.effects.get(number) {
                        None => return Err(format!("effect {number} was never intended")),
                        Some(effect) if effect.settled.is_none() => {
                            return Err(format!("effect {number} is not settled"));
                        }
                        Some(effect)
                            if effect.delivered || delivered.effects[..at].contains(number) =>
                        {
                            return Err(format!("effect {number} has been delivered before"));
                        }
                        Some(_) => {}
                    }
                }
                for number in &delivered.effects {
                    if let Some(effect) = step.effects.get_mut(number) {
                        effect.delivered = true;
                    }
                }
                step.deliveries.push(delivered);
                Ok(())
            }
            Entry::StepEnded(ended) => self.end_step(ended, at),
            Entry::RunClosed(closed) => {
                self.closed = Some(closed);
                Ok(())
            }
            Entry::Note(note) => {
                match note.note {
                    NoteBody::Interrupted => self.interrupted = true,
                    NoteBody::Resumed {
                        actor, accepted, ..
                    } => {
                        self.actor = Some(actor);
                        self.accepted.extend(accepted);
                    }
                    NoteBody::TakenIn { actor, .. } => self.actor = Some(actor),
                    NoteBody::Text { .. } | NoteBody::Expect { .. } | NoteBody::Item { .. } => {}
                }
                if let Some(step) = note.step.and_then(|key| self.steps.get_mut(&key)) {
                    step.notes += 1;
                }
                Ok(())
            }
        }
    }

    fn open(&mut self, header: Box<RunOpened>) -> Result<(), String> {
        if self.header.is_some() {
            return Err("the run is open already".to_owned());
        }
        if header.format > super::FORMAT {
            return Err(format!(
                "format {} is newer than this program's {}",
                header.format,
                super::FORMAT
            ));
        }
        self.actor = Some(header.actor.clone());
        self.header = Some(header);
        Ok(())
    }

    fn intend(&mut self, intended: Intended) -> Result<(), String> {
        let sequence = self.entries;
        let step = running(&mut self.steps, &intended.step)?;
        let number = intended.effect;
        if step.effects.contains_key(&number) {
            return Err(format!("effect {number} was intended before"));
        }
        step.effects.insert(
            number,
            OperationState {
                intended,
                sequence,
                settled: None,
                delivered: false,
            },
        );
        Ok(())
    }

    fn settle(&mut self, settled: Settled) -> Result<(), String> {
        if settled.answer.is_some() == settled.failure.is_some() {
            return Err("an outcome is either an answer or a failure".to_owned());
        }
        let step = running(&mut self.steps, &settled.step)?;
        match step.effects.get_mut(&settled.effect) {
            None => Err(format!("effect {} was never intended", settled.effect)),
            Some(effect) if effect.settled.is_some() => {
                Err(format!("effect {} is settled already", settled.effect))
            }
            Some(effect)
                if effect.intended.decision != Decision::Allowed && settled.answer.is_some() =>
            {
                Err(format!(
                    "effect {} was denied and cannot have an answer",
                    settled.effect
                ))
            }
            Some(effect) => {
                step.settled.push(settled.effect);
                effect.settled = Some(settled);
                Ok(())
            }
        }
    }

    fn end_step(&mut self, ended: StepEnded, at: Timestamp) -> Result<(), String> {
        match self.steps.get_mut(&ended.step) {
            Some(step) if step.ended.is_some() => {
                Err(format!("step `{}` has ended before", ended.step))
            }
            Some(step) => {
                step.ended = Some(ended);
                Ok(())
            }
            None if matches!(
                ended.status,
                StepStatus::Skipped | StepStatus::Cancelled | StepStatus::Failed
            ) =>
            {
                let step = StepState {
                    began_at: at,
                    ended: Some(ended.clone()),
                    ..StepState::default()
                };
                self.steps.insert(ended.step, step);
                Ok(())
            }
            None => Err(format!("step `{}` has not begun", ended.step)),
        }
    }

    /// Whether effects reached the world.
    pub fn mode(&self) -> Option<Mode> {
        self.header.as_ref().map(|h| h.mode)
    }

    /// The capabilities that were asked for anything.
    pub(crate) fn capabilities(&self) -> impl Iterator<Item = &str> {
        self.effects()
            .map(|(_, effect)| effect.intended.request.capability())
    }

    /// Every effect with the step it belongs to.
    pub fn effects(&self) -> impl Iterator<Item = (&str, &OperationState)> {
        self.steps
            .iter()
            .flat_map(|(key, step)| step.effects.values().map(move |e| (key.as_str(), e)))
    }
}

fn running<'a>(
    steps: &'a mut BTreeMap<String, StepState>,
    key: &str,
) -> Result<&'a mut StepState, String> {
    match steps.get_mut(key) {
        None => Err(format!("step `{key}` has not begun")),
        Some(step) if step.ended.is_some() => Err(format!("step `{key}` has ended")),
        Some(step) => Ok(step),
    }
}
