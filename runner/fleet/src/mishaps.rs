//! What a test does to the world that no request can: the fate of a Machine, and regions that listings
//! do not reach. How many Machines a region holds is in `capacity`.

use crate::api::HostStatus;
use crate::fate::Fate;
use crate::fleet::{Falls, Fleet};
use crate::state::State;
use crate::time::Time;

impl Fleet {
    /// What is wrong with a Machine from now on. False if there is no such Machine.
    pub fn set_fate(&mut self, app: &str, id: &str, fate: Fate) -> bool {
        let now = self.now;
        let Some(machine) = self.machine_mut(app, id) else {
            return false;
        };
        let served = machine.serving(now).then(|| machine.serving_since(now));
        if machine.state == State::Started {
            machine.freeze_checks(now);
        }
        let was_dead = machine.unreachable();
        machine.fate = fate;
        machine.host = if fate == Fate::HostUnreachable {
            HostStatus::Unreachable
        } else {
            HostStatus::Ok
        };
        let running = machine.state == State::Started;
        let resumed = machine.pending.filter(|_| was_dead);
        if running {
            machine.doomed = false;
            machine.pending = None;
            machine.generation += 1;
        }
        if machine.serving(now) {
            machine.eligible_after = served.unwrap_or(now);
        }
        let key = self.key(app, id);
        if let Fate::HostDiesAt { at } = fate {
            self.push_due(
                Time::from_millis(at).max(now),
                key.clone(),
                Falls::HostDeath,
            );
        }
        match resumed {
            Some((at, what)) if !running => self.schedule(app, id, at.max(now), what),
            // One that is up stays up: what never starts shows at its next start.
            Some(_) | None if running && fate != Fate::NeverStarts => self.schedule_fate(app, id),
            Some(_) | None => {}
        }
        self.mark(key);
        true
    }

    /// What is wrong with a Machine.
    pub fn fate(&self, app: &str, id: &str) -> Option<Fate> {
        Some(self.apps.get(app)?.machines.get(id)?.fate)
    }

    /// Regions that organisation listings cannot reach from now on.
    pub fn set_error_regions(&mut self, regions: Vec<String>) {
        self.error_regions = regions;
    }
}
