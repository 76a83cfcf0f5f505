//! What a run's entries mean: one total function from a state and an entry to the next state, or
//! to the reason why no run can have written that entry there.

use std::collections::BTreeMap;

use thiserror::Error;

use super::{
    Decision, Entry, Intended, Mode, Record, RunClosed, RunOpened, Settled, StepEnded, StepStatus,
};

/// Where one effect is.
#[derive(Debug, Clone)]
pub struct OperationState {
    /// What was asked for.
    pub intended: Intended,
    /// What became of it. None: it is in doubt, if it is a write that was allowed.
    pub settled: Option<Settled>,
    /// The plugin has its outcome.
    pub delivered: bool,
}

/// Where one step is.
#[derive(Debug, Clone)]
pub struct StepState {
    /// The plugin's name.
    pub plugin: String,
    /// Its effects by number.
    pub effects: BTreeMap<u64, OperationState>,
    /// How it ended.
    pub ended: Option<StepEnded>,
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
        self.take(entry).map_err(illegal)?;
        self.entries += 1;
        Ok(())
    }

    fn take(&mut self, entry: Entry) -> Result<(), String> {
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
                self.steps.insert(
                    began.step,
                    StepState {
                        plugin: began.plugin,
                        effects: BTreeMap::new(),
                        ended: None,
                    },
                );
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
                Ok(())
            }
            Entry::StepEnded(ended) => self.end_step(ended),
            Entry::RunClosed(closed) => {
                self.closed = Some(closed);
                Ok(())
            }
            Entry::Note(_) => Ok(()),
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
        self.header = Some(header);
        Ok(())
    }

    fn intend(&mut self, intended: Intended) -> Result<(), String> {
        let step = running(&mut self.steps, &intended.step)?;
        let number = intended.effect;
        if step.effects.contains_key(&number) {
            return Err(format!("effect {number} was intended before"));
        }
        step.effects.insert(
            number,
            OperationState {
                intended,
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
                if effect.intended.decision == Decision::Denied && settled.answer.is_some() =>
            {
                Err(format!(
                    "effect {} was denied and cannot have an answer",
                    settled.effect
                ))
            }
            Some(effect) => {
                effect.settled = Some(settled);
                Ok(())
            }
        }
    }

    fn end_step(&mut self, ended: StepEnded) -> Result<(), String> {
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
                    plugin: String::new(),
                    effects: BTreeMap::new(),
                    ended: Some(ended.clone()),
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
