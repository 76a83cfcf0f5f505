//! Fly's proxy, as far as a roll-out meets it: which Machines get traffic, and since when; and which
//! it stops because they get none.
//!
//! The proxy learns late what a Machine is: one that may serve gets its first request only when
//! the proxy has seen it, and one that is cordoned goes on getting them until then (fly-go issue
//! 4, flyctl issue 3297). A Machine that stops running gets none at once. None of that is
//! scheduled: it is computed from moments that the Machine keeps.
//!
//! Nothing here counts requests: a Machine is idle if its fate says so. The proxy starts none, and
//! `min_machines_running` does not hold it back.

use serde_json::json;

use crate::api::Autostop;
use crate::behaviour::Phase;
use crate::fate::Course;
use crate::fleet::Fleet;
use crate::machine::{Machine, Pending};
use crate::state::{Next, State, Stimulus, transition};
use crate::time::Time;

impl Machine {
    /// Whether the proxy may stop it.
    pub(crate) fn left_to_the_proxy(&self) -> bool {
        !self.cordoned && self.view().autostop() != Autostop::Off
    }
}

impl Fleet {
    /// The ids of the Machines that get traffic now: of one process group, or of all. Sorted.
    pub fn in_service(&self, app: &str, group: Option<&str>) -> Vec<String> {
        let machines = self
            .apps
            .get(app)
            .into_iter()
            .flat_map(|app| app.machines.values());
        machines
            .filter(|machine| group.is_none_or(|group| machine.view().process_group() == group))
            .filter(|machine| self.gets_traffic(machine))
            .map(|machine| machine.id.to_string())
            .collect()
    }

    fn gets_traffic(&self, machine: &Machine) -> bool {
        let now = self.now;
        if !machine.sound(now) {
            return false;
        }
        let seen = || now >= self.seen_by_proxy(&machine.id, machine.serving_since(now));
        let trailing = |(from, until): &(Time, Time)| *from <= now && now < *until;
        (!machine.cordoned && seen()) || machine.trailing.iter().any(trailing)
    }

    /// When the proxy sees what changed at a moment.
    fn seen_by_proxy(&self, id: &str, changed: Time) -> Time {
        changed.after(self.take(Phase::Discovery, id, changed.as_millis()))
    }

    /// Sets or takes away the flag, and keeps what the proxy does not see yet.
    pub(crate) fn put_cordon(&mut self, app: &str, id: &str, cordoned: bool) {
        let now = self.now;
        let Some(machine) = self.apps.get(app).and_then(|app| app.machines.get(id)) else {
            return;
        };
        let changes = machine.cordoned != cordoned;
        // One that served for no time at all was never seen.
        let since = Some(machine.serving_since(now))
            .filter(|since| changes && machine.serving(now) && *since < now);
        let trailing = since
            .map(|since| (self.seen_by_proxy(id, since), self.seen_by_proxy(id, now)))
            .filter(|(from, until)| from < until);
        let Some(machine) = self.machine_mut(app, id) else {
            return;
        };
        machine.cordoned = cordoned;
        machine.updated = now;
        machine.trailing.retain(|(_, until)| *until > now);
        machine.trailing.extend(trailing);
        if !changes {
            return;
        }
        if !cordoned {
            machine.eligible_after = now;
        }
        self.turn_to_idle(app, id);
    }

    /// What is cordoned is not the proxy's to stop; what no longer is, begins to be idle.
    fn turn_to_idle(&mut self, app: &str, id: &str) {
        let Some(machine) = self.machine_mut(app, id) else {
            return;
        };
        let idle = matches!(machine.course(), Course::Idle { .. });
        if machine.state != State::Started || !idle {
            return;
        }
        machine.generation += 1;
        machine.pending = None;
        self.schedule_fate(app, id);
    }

    /// Stops or suspends what is idle. A lease does not hold the proxy back.
    pub(crate) fn autostop(&mut self, app: &str, id: &str) {
        let Some(machine) = self.apps.get(app).and_then(|app| app.machines.get(id)) else {
            return;
        };
        let (stimulus, kind, after, what) = match machine.view().autostop() {
            Autostop::Off => return,
            Autostop::Stop => {
                let after = self.natural_stop(machine);
                (Stimulus::Stop, "stop", after, Pending::Stop)
            }
            Autostop::Suspend => {
                let after = self.take(Phase::Suspend, id, machine.commands);
                (Stimulus::Suspend, "suspend", after, Pending::Suspend)
            }
        };
        if let Next::To(next) = transition(machine.state, stimulus) {
            let at = self.now.after(after);
            self.enter(app, id, next, kind, "proxy", json!(null));
            self.schedule(app, id, at, what);
        }
    }
}
