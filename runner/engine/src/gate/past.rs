//! What a step did before, while its plugin does it again: up to where the journal ends.
//!
//! The plugin runs again from its beginning, with the same input, randomness and limits. What it
//! asks for is compared with what was written down; it is given what was delivered, in the same
//! order and with the same `now`. Nothing is sent, and what it says to people again is not said
//! again. A difference ends the run, with both named ([`Diverged`]). Where the recorded deliveries
//! end the past is left, and what was under way then is what [`Left`] holds. No I/O here and no clock.

use std::collections::{BTreeMap, HashMap, VecDeque};

use serde_json::Value;
use thiserror::Error;

use crate::contract::Failure;
use crate::effect::{Outcome, Request};
use crate::journal::{Decision, Delivered, IntendedRequest, OperationState, Settled, StepState};

/// A plugin that does not do again what its journal says it did. Nothing has been sent.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("step `{step}` does not repeat what its journal tells: {what}")]
pub struct Diverged {
    /// The step's key.
    pub step: String,
    /// The effect's number, where one is concerned.
    pub effect: Option<u64>,
    /// Recorded and requested, in words.
    pub what: String,
}

/// What a step did before, as far as it has not been repeated yet.
pub(crate) struct Past {
    step: String,
    effects: BTreeMap<u64, OperationState>,
    deliveries: VecDeque<Delivered>,
    settled: Vec<u64>,
    asked: HashMap<u64, Request>,
    /// Asked for now, and not yet written down before.
    fresh: Vec<(u64, Request)>,
    cancelled: Vec<u64>,
    /// Asked for again and not delivered yet.
    in_flight: usize,
    notes: u64,
}

/// Where the journal ends: what goes on live.
#[derive(Default)]
pub(crate) struct Left {
    /// Settled and not delivered, in the order of settling.
    pub(crate) ready: Vec<(u64, Outcome)>,
    /// Written down and not settled: performed now, without another intent.
    pub(crate) again: Vec<Again>,
    /// Never written down.
    pub(crate) fresh: Vec<(u64, Request)>,
    /// What the plugin has asked to end early.
    pub(crate) cancelled: Vec<u64>,
    /// Settled as in doubt.
    pub(crate) in_doubt: Vec<u64>,
    /// The greatest number so far.
    pub(crate) last: u64,
}

/// An effect that goes on where it was.
pub(crate) struct Again {
    pub(crate) number: u64,
    /// What the plugin asked for; none for what the host does of its own accord.
    pub(crate) request: Option<Request>,
    pub(crate) recorded: IntendedRequest,
    pub(crate) baseline: Option<Value>,
    pub(crate) denied: bool,
}

/// What was delivered once, and the plugin's `now` then.
pub(crate) type Delivery = (Vec<(u64, Outcome)>, u64);

impl Past {
    pub(crate) fn new(step: &str, state: StepState) -> Self {
        Self {
            step: step.to_owned(),
            effects: state.effects,
            deliveries: state.deliveries.into(),
            settled: state.settled,
            asked: HashMap::new(),
            fresh: Vec::new(),
            cancelled: Vec::new(),
            in_flight: 0,
            notes: state.notes,
        }
    }

    fn diverged(&self, effect: Option<u64>, what: String) -> Diverged {
        Diverged {
            step: self.step.clone(),
            effect,
            what,
        }
    }

    /// Takes what the plugin asks for.
    pub(crate) fn ask(&mut self, number: u64, request: Request) -> Result<(), Diverged> {
        self.in_flight += 1;
        let Some(known) = self.effects.get(&number) else {
            self.fresh.push((number, request));
            return Ok(());
        };
        let recorded = &known.intended.request;
        let same = recorded.operation == request.row.name
            && recorded.app == request.app
            && recorded.subject == request.subject
            && recorded.arguments == request.arguments
            && !known.intended.host;
        if !same {
            let what = format!(
                "effect {number}: recorded `{}`, requested `{}`",
                shown(recorded),
                shown(&IntendedRequest::of(&request))
            );
            return Err(self.diverged(Some(number), what));
        }
        self.asked.insert(number, request);
        Ok(())
    }

    /// Whether the plugin waits for nothing: it is told so at once, and that is not written down.
    pub(crate) fn idle(&self) -> bool {
        self.in_flight == 0
    }

    /// What was delivered next; none where the journal ends.
    pub(crate) fn deliver(&mut self) -> Result<Option<Delivery>, Diverged> {
        let Some(delivered) = self.deliveries.pop_front() else {
            return Ok(None);
        };
        let mut batch = Vec::with_capacity(delivered.effects.len());
        for number in delivered.effects {
            let Some(known) = self.effects.get_mut(&number) else {
                continue;
            };
            if !known.intended.host && !self.asked.contains_key(&number) {
                let what = format!(
                    "effect {number}: recorded `{}`, not requested again",
                    shown(&known.intended.request)
                );
                return Err(self.diverged(Some(number), what));
            }
            self.in_flight -= usize::from(!known.intended.host);
            if let Some(settled) = &known.settled {
                batch.push((number, outcome(settled)));
            }
        }
        Ok(Some((batch, delivered.now)))
    }

    /// The plugin asks again for an effect to end early.
    pub(crate) fn cancel(&mut self, number: u64) {
        self.cancelled.push(number);
    }

    /// Whether the plugin says again what it has said before.
    pub(crate) fn said(&mut self) -> bool {
        let said = self.notes > 0;
        self.notes = self.notes.saturating_sub(1);
        said
    }

    /// Leaves the past.
    pub(crate) fn leave(mut self) -> Result<Left, Diverged> {
        let missing = self
            .effects
            .iter()
            .find(|(number, known)| !known.intended.host && !self.asked.contains_key(number));
        if let Some((number, known)) = missing {
            let what = format!(
                "effect {number}: recorded `{}`, not requested again",
                shown(&known.intended.request)
            );
            return Err(self.diverged(Some(*number), what));
        }
        let mut left = Left {
            fresh: std::mem::take(&mut self.fresh),
            cancelled: std::mem::take(&mut self.cancelled),
            last: self.effects.keys().next_back().copied().unwrap_or(0),
            ..Left::default()
        };
        for number in &self.settled {
            let Some(known) = self.effects.get(number) else {
                continue;
            };
            if let Some(settled) = known.settled.as_ref() {
                if settled.in_doubt {
                    left.in_doubt.push(*number);
                }
                if !known.delivered {
                    left.ready.push((*number, outcome(settled)));
                }
            }
        }
        for (number, known) in self.effects {
            let denied = known.intended.decision != Decision::Allowed;
            if known.settled.is_none() {
                left.again.push(Again {
                    number,
                    request: self.asked.remove(&number),
                    recorded: known.intended.request,
                    baseline: known.intended.baseline,
                    denied,
                });
            }
        }
        Ok(left)
    }
}

fn shown(request: &IntendedRequest) -> String {
    let mut text = format!("{} {}", request.operation, request.on());
    if !request.arguments.is_null() {
        text.push_str(&format!(" {}", request.arguments));
    }
    // An argument can be long; its beginning tells enough.
    text.chars().take(300).collect()
}

/// What was settled, as it was.
pub(crate) fn outcome(settled: &Settled) -> Outcome {
    let result = match (&settled.answer, &settled.failure) {
        (Some(answer), _) => Ok(answer.get().into()),
        (None, Some(failure)) => Err(failure.clone()),
        // The fold refuses this.
        (None, None) => Err(Failure::other("journal", "an outcome without a result")),
    };
    Outcome {
        result,
        in_doubt: settled.in_doubt,
        left_out: 0,
    }
}
