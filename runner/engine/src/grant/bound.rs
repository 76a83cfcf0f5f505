//! How much may be written to, by whose word.

/// Whose bound: each counts by its own measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The step's own: what the step writes to, in all its attempts.
    Step,
    /// The operator's: what the run writes to, in all its steps.
    Policy,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bound {
    pub(super) step: Option<u64>,
    pub(super) policy: Option<u64>,
}

impl Bound {
    pub(super) fn of(self, whose: Whose) -> Option<u64> {
        match whose {
            Whose::Step => self.step,
            Whose::Policy => self.policy,
        }
    }

    pub(super) fn least(self) -> Option<u64> {
        self.step.into_iter().chain(self.policy).min()
    }
}

pub(super) fn words(whose: Whose) -> &'static str {
    match whose {
        Whose::Step => "the grant",
        Whose::Policy => "the operator's policy",
    }
}
