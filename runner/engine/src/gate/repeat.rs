//! The part of the gate that goes through a step's past (`past.rs`) and leaves it.

use std::sync::Arc;

use super::Gate;
use crate::contract::Failure;
use crate::effect::{Outcome, Request};
use crate::gate::past::{Again, Delivery, Diverged, Past};
use crate::gate::shared::Halt;
use crate::journal::{Draft, IntendedRequest};

/// Where a step that is repeated is.
pub(super) enum Repeat {
    Delivered(Delivery),
    /// The plugin waits for nothing.
    Idle,
    Left(Past),
    /// Nothing is repeated any more.
    Nothing,
}

impl Gate {
    /// What was delivered next before, or the past when it is over. When the plugin has ended, what
    /// it waited for does not matter any more.
    pub(super) fn repeat(&self, waits: bool) -> Result<Repeat, Halt> {
        let mut state = self.state();
        let Some(past) = &mut state.past else {
            return Ok(Repeat::Nothing);
        };
        if waits && past.idle() {
            return Ok(Repeat::Idle);
        }
        if let Some(delivery) = past.deliver()? {
            return Ok(Repeat::Delivered(delivery));
        }
        Ok(state.past.take().map_or(Repeat::Nothing, Repeat::Left))
    }

    /// Goes on live where the journal ends: what was settled waits to be delivered, what was under
    /// way is performed under the intent that it has, what was never written down goes the whole
    /// way.
    pub(super) async fn leave(self: &Arc<Self>, past: Past) -> Result<(), Halt> {
        let left = past.leave()?;
        if self.run.repeats_only {
            return Err(self.at_the_end(left.fresh.first()));
        }
        {
            let mut state = self.state();
            state.last = state.last.max(left.last);
            state.in_doubt.extend(left.in_doubt);
            state.ready.extend(left.ready);
        }
        for again in left.again {
            self.again(again);
        }
        self.go(left.fresh).await?;
        left.cancelled
            .into_iter()
            .for_each(|number| self.cancel(number));
        Ok(())
    }

    /// Where a step that only repeats cannot go on: its journal ends here. That is as it should be if
    /// the step has not ended.
    fn at_the_end(&self, beyond: Option<&(u64, Request)>) -> Halt {
        let what = beyond.map_or_else(
            || "its journal ends here".to_owned(),
            |(number, request)| format!("effect {number}: `{request}` is in no journal"),
        );
        let diverged = Diverged {
            step: self.step.to_string(),
            effect: beyond.map(|(number, _)| *number),
            what,
        };
        diverged.into()
    }

    /// After a plugin that only repeats has ended: whether it has asked for everything.
    pub(crate) fn nothing_left(&self) -> Result<(), Halt> {
        loop {
            match self.repeat(false)? {
                Repeat::Delivered(_) | Repeat::Idle => {}
                Repeat::Left(past) => return Ok(past.leave().map(drop)?),
                Repeat::Nothing => return Ok(()),
            }
        }
    }

    /// What was written down, as a request; none of a capability that this host lacks.
    fn recorded(&self, recorded: &IntendedRequest) -> Option<Request> {
        let row = self.run.rows.get(recorded.operation.as_str())?;
        Some(recorded.request(row))
    }

    /// One effect of which only the intent is known. That it may be performed (again) has been found
    /// out before the run went on.
    fn again(self: &Arc<Self>, again: Again) {
        // What nobody asks for again is the host's own: giving back, and nothing else.
        let own = || self.recorded(&again.recorded).filter(|r| !r.counts());
        let Some(request) = again.request.or_else(own) else {
            return;
        };
        let mut effect = self.effect(again.number, request);
        effect.baseline = again.baseline;
        let granted = match self.may_go_on(&effect.request) {
            Ok(()) if again.denied => Err(Failure::Denied("denied before".to_owned())),
            granted => granted,
        };
        match granted {
            Ok(()) => self.spawn(effect, Gate::perform),
            Err(failure) => {
                let outcome = Outcome::failed(failure);
                let settled = Draft::settled(&self.step, again.number, &outcome);
                self.run.journal.append(vec![settled]);
                self.arrive(again.number, outcome);
            }
        }
    }

    /// Whether the plugin only says again what it has said before.
    pub(crate) fn said(&self) -> bool {
        self.state().past.as_mut().is_some_and(Past::said)
    }
}
