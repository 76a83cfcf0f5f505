//! Watching over an app: how few Machines served, how many there were, and for how long none
//! served, at any moment of a run.
//!
//! A test reads this afterwards instead of asking in between, which would miss what is short. It
//! is reckoned at every change of a Machine and, for checks that turn with time alone, at moments
//! in a queue of its own: watching does not change what [`Fleet::next_due`] says.

use std::sync::Arc;

use crate::fleet::Fleet;
use crate::machine::MachineKey;
use crate::serving::{Extremes, Watch};
use crate::time::Time;

impl Fleet {
    /// Watches over an app from now on; an earlier watch over it is forgotten.
    pub fn watch_service(&mut self, app: &str) {
        let ids: Vec<_> = self
            .apps
            .get(app)
            .into_iter()
            .flat_map(|app| app.machines.keys().cloned())
            .collect();
        let (app, now): (Arc<str>, Time) = (app.into(), self.now);
        self.watches.insert(app.clone(), Watch::default());
        for id in ids {
            self.look(&app, &id, now);
        }
        if let Some(watch) = self.watches.get_mut(&app) {
            watch.begin(now);
        }
    }

    /// What was the least and the most since [`Fleet::watch_service`]; `None` if the app is not
    /// watched.
    pub fn service_extremes(&self, app: &str) -> Option<Extremes> {
        Some(self.watches.get(app)?.extremes(self.now))
    }

    /// Reckons with a Machine that may have changed at this moment.
    pub(crate) fn reckon(&mut self, key: &MachineKey) {
        if self.watches.is_empty() {
            return;
        }
        let now = self.now;
        self.look(&key.app, &key.id, now);
        if let Some(watch) = self.watches.get_mut(&key.app) {
            watch.settle(now);
        }
    }

    /// Reckons with the checks that turn until `to`. Those that turn at one moment do so at once.
    pub(crate) fn watch_until(&mut self, to: Time) {
        let apps: Vec<_> = self.watches.keys().cloned().collect();
        for app in apps {
            while let Some((at, ids)) = self
                .watches
                .get_mut(&app)
                .and_then(|watch| watch.next_turns(to))
            {
                for id in ids {
                    self.look(&app, &id, at);
                }
                if let Some(watch) = self.watches.get_mut(&app) {
                    watch.settle(at);
                }
            }
        }
    }

    fn look(&mut self, app: &Arc<str>, id: &Arc<str>, now: Time) {
        let Some(watch) = self.watches.get_mut(app) else {
            return;
        };
        let machine = self.apps.get(app).and_then(|app| app.machines.get(id));
        watch.see(id, machine, now);
    }
}

#[cfg(test)]
mod tests;
