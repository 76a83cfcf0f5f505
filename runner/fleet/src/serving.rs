//! Whether a Machine serves; and, counted over a time, how few of an app's did, how many there were,
//! and for how long none served.
//!
//! Only the counting: `watch` looks at the Machines.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use crate::machine::Machine;
use crate::state::State;
use crate::time::Time;

impl Machine {
    /// Whether it may serve: started on a host that answers, not cordoned, and every check passed
    /// in this run of it.
    pub(crate) fn serving(&self, now: Time) -> bool {
        !self.cordoned && self.sound(now)
    }

    /// The same, were it not cordoned.
    pub(crate) fn sound(&self, now: Time) -> bool {
        self.state == State::Started && !self.unreachable() && self.all_pass(now)
    }

    /// Since when one that is serving has been.
    pub(crate) fn serving_since(&self, now: Time) -> Time {
        self.run_began
            .max(self.eligible_after)
            .max(self.passing_since(now))
    }
}

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
/// [`crate::Fleet::in_service`] says who gets traffic.
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

impl Member {
    fn of(machine: &Machine, now: Time) -> Member {
        Member {
            group: machine.view().process_group().to_owned(),
            serving: machine.serving(now),
            turn: machine.next_turn(now),
        }
    }
}

impl Watch {
    /// Begins anew with the Machines as they were last seen.
    pub(crate) fn begin(&mut self, now: Time) {
        for tally in self.groups.values_mut() {
            tally.begin(now);
        }
    }

    /// Sees a Machine as it is at this moment; one that is gone is none.
    pub(crate) fn see(&mut self, id: &Arc<str>, machine: Option<&Machine>, now: Time) {
        let there = machine.filter(|machine| !machine.state.gone());
        let seen = there.map(|machine| Member::of(machine, now));
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

    /// Reckons with what was seen at one moment.
    pub(crate) fn settle(&mut self, now: Time) {
        for tally in self.groups.values_mut() {
            tally.settle(now);
        }
    }

    /// The Machines whose checks turn next, all at one moment not later than `to`.
    pub(crate) fn next_turns(&mut self, to: Time) -> Option<(Time, Vec<Arc<str>>)> {
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
    pub(crate) fn extremes(&self, now: Time) -> Extremes {
        let groups = self.groups.iter();
        let shown = groups.map(|(group, tally)| (group.clone(), tally.shown(now)));
        Extremes {
            groups: shown.collect(),
        }
    }
}
