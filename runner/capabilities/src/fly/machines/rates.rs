//! Fly's documented rate limits.
//!
//! One request per second and action and Machine, bursts of three; reading one Machine five per
//! second, bursts of ten; what concerns a whole app counts per app. (Machines API documentation.)

use std::sync::Arc;

use groundcrew::{Clock, Effect, Failure};

use crate::rates::Rate;

pub(super) struct Rates {
    actions: Rate,
    reads: Rate,
}

impl Rates {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            actions: Rate::new(&clock, 1, 3),
            reads: Rate::new(&clock, 5, 10),
        }
    }

    /// Returns when an effect's action on something may be sent.
    pub(super) async fn action(
        &self,
        effect: &Effect,
        action: &'static str,
        on: &str,
    ) -> Result<(), Failure> {
        self.actions.pass(&effect.cancel, action, on).await
    }

    /// Returns when a Machine may be read.
    pub(super) async fn read(&self, effect: &Effect, on: &str) -> Result<(), Failure> {
        self.reads.pass(&effect.cancel, "get", on).await
    }

    /// Forgets what no longer limits anything.
    pub(super) fn tidy(&self) {
        self.actions.tidy();
        self.reads.tidy();
    }
}
