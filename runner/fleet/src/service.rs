//! Watching over an app: how few Machines served, how many there were, and for how long none
//! served, at any moment of a run.
//!
//! A test reads this afterwards instead of asking in between, which would miss what is short. It
//! is reckoned at every change of a Machine and, for checks that turn with time alone, at moments
//! in a queue of its own: watching does not change what [`Fleet::next_due`] says.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use crate::fleet::{Fleet, MachineKey};
use crate::time::Time;

/// What was the least and the most since the watch over an app began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extremes {
    /// By process group. One that had no Machine then appears with its first.
    pub groups: BTreeMap<String, GroupExtremes>,
}

/// What was the least and the most in one process group.
///
/// A Machine serves while it is started on a host that answers, is not cordoned, and every check
/// it has passed in this run of it. How late the proxy sees that is left out:
/// [`Fleet::in_service`] says who gets traffic.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupExtremes {
    /// The fewest Machines that served at any moment.
    pub least_serving: u64,
    /// The most Machines that were there at once, standbys and stopped ones included.
    pub most_machines: u64,
    /// The longest time during which none served, in milliseconds.
    pub longest_gap_ms: u64,
}

/// The watch over one app.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    members: BTreeMap<Arc<str>, Member>,
    groups: BTreeMap<String, Tally>,
    turns: BinaryHeap<Reverse<(Time, Arc<str>)>>,
}

/// A Machine as it was last seen.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Member {
    group: String,
    serving: bool,
    /// When a check of it turns by itself.
    turn: Option<Time>,
}

#[derive(Copy, Clone, Debug, Default)]
struct Tally {
    serving: u64,
    there: u64,
    extremes: GroupExtremes,
    none_since: Option<Time>,
}

impl Tally {
    fn begin(&mut self, now: Time) {
        self.none_since = (self.serving == 0).then_some(now);
        self.extremes = GroupExtremes {
            least_serving: self.serving,
            most_machines: self.there,
            longest_gap_ms: 0,
        };
    }

    fn settle(&mut self, now: Time) {
        let extremes = &mut self.extremes;
        extremes.least_serving = extremes.least_serving.min(self.serving);
        extremes.most_machines = extremes.most_machines.max(self.there);
        if self.serving == 0 {
            self.none_since.get_or_insert(now);
        } else if let Some(since) = self.none_since.take() {
            extremes.longest_gap_ms = extremes.longest_gap_ms.max(now.since(since));
        }
    }

    fn shown(&self, now: Time) -> GroupExtremes {
        let open = self.none_since.map_or(0, |since| now.since(since));
        GroupExtremes {
            longest_gap_ms: self.extremes.longest_gap_ms.max(open),
            ..self.extremes
        }
    }
}

impl Watch {
    fn count(&mut self, id: &Arc<str>, seen: Option<Member>, now: Time) {
        if let Some(old) = self.members.remove(id)
            && let Some(tally) = self.groups.get_mut(&old.group)
        {
            tally.there -= 1;
            tally.serving -= u64::from(old.serving);
        }
        let Some(member) = seen else {
            return;
        };
        let tally = self.groups.entry(member.group.clone()).or_insert(Tally {
            none_since: Some(now),
            ..Tally::default()
        });
        tally.there += 1;
        tally.serving += u64::from(member.serving);
        if let Some(turn) = member.turn {
            self.turns.push(Reverse((turn, id.clone())));
        }
        self.members.insert(id.clone(), member);
    }

    fn settle(&mut self, now: Time) {
        for tally in self.groups.values_mut() {
            tally.settle(now);
        }
    }

    /// The Machines whose checks turn next, all at one moment not later than `to`.
    fn next_turns(&mut self, to: Time) -> Option<(Time, Vec<Arc<str>>)> {
        let at = self.turns.peek().map(|Reverse((at, _))| *at)?;
        let mut ids = Vec::new();
        while let Some(Reverse((turn, _))) = self.turns.peek()
            && *turn == at
            && at <= to
        {
            let Some(Reverse((_, id))) = self.turns.pop() else {
                break;
            };
            let awaited = |member: &Member| member.turn == Some(at);
            if self.members.get(&id).is_some_and(awaited) && ids.last() != Some(&id) {
                ids.push(id);
            }
        }
        (at <= to).then_some((at, ids))
    }
}

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
            for tally in watch.groups.values_mut() {
                tally.begin(now);
            }
        }
    }

    /// What was the least and the most since [`Fleet::watch_service`]; `None` if the app is not
    /// watched.
    pub fn service_extremes(&self, app: &str) -> Option<Extremes> {
        let groups = self.watches.get(app)?.groups.iter();
        let shown = groups.map(|(group, tally)| (group.clone(), tally.shown(self.now)));
        Some(Extremes {
            groups: shown.collect(),
        })
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
        let there = machine.filter(|machine| !machine.state.gone());
        let seen = there.map(|machine| Member {
            group: machine.view().process_group().to_owned(),
            serving: machine.serving(now),
            turn: machine.next_turn(now),
        });
        watch.count(id, seen, now);
    }
}

#[cfg(test)]
mod tests;
