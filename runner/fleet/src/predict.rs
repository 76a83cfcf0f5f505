//! What will happen to a Machine if nothing interferes: all that is drawn can be drawn before.

use crate::behaviour::Phase;
use crate::fleet::Fleet;
use crate::time::Time;

/// How long a restart will take, in milliseconds, as [`Fleet::predicted_restart`] sees it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct RestartPrediction {
    /// To the exit.
    pub stop_ms: u64,
    /// From the exit to `started`.
    pub boot_ms: u64,
    /// From `started` to the first result of a check, 0 without checks.
    pub first_check_ms: u64,
}

impl RestartPrediction {
    /// From the command to the first result of a check.
    pub const fn total_ms(self) -> u64 {
        self.stop_ms + self.boot_ms + self.first_check_ms
    }
}

impl Fleet {
    /// The moment at which anything of this Machine next changes: its state, or a check's result.
    pub fn next_change(&self, app: &str, id: &str) -> Option<Time> {
        let machine = self.apps.get(app)?.machines.get(id)?;
        let pending = machine
            .pending
            .map(|(at, _)| at)
            .filter(|_| !machine.unreachable());
        [pending, machine.next_result(self.now)]
            .into_iter()
            .flatten()
            .min()
    }

    /// How long the next restart of this Machine will take if nothing interferes.
    pub fn predicted_restart(&self, app: &str, id: &str) -> Option<RestartPrediction> {
        let machine = self.apps.get(app)?.machines.get(id)?;
        Some(RestartPrediction {
            stop_ms: self.take(Phase::Stop, id, machine.stops),
            boot_ms: self.boot_time(machine),
            first_check_ms: if machine.checks.is_empty() {
                0
            } else {
                self.take(Phase::FirstCheck, id, machine.boots)
            },
        })
    }

    /// How long the next update of this Machine will take, from the command to the first result of a
    /// check, in milliseconds, if it runs and nothing interferes.
    pub fn predicted_update(&self, app: &str, id: &str) -> Option<u64> {
        let machine = self.apps.get(app)?.machines.get(id)?;
        let update = self.take(Phase::Update, id, machine.commands);
        Some(self.predicted_restart(app, id)?.total_ms() + update)
    }
}
