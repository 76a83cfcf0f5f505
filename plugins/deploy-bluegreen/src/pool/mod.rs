//! Who is green and who is blue, by process group and region. Pure.
//!
//! Green is what has the target's configuration; everything else is blue, of however many images. A
//! place wants as many greens as it has blues; when greens are there already, from a deploy that
//! was stopped, as many as the more numerous of the two.

use std::collections::BTreeMap;

use groundcrew_deploy::target::release_shown;
use groundcrew_deploy::{MachineReport, Outcome, Target};
use groundcrew_plugin::{Error, Machine, Result, State, Summary};

/// Process group and region.
pub(crate) type Place = (String, String);

/// A Machine of what is there.
#[derive(Debug, Clone)]
pub(crate) struct Blue {
    pub(crate) machine: Machine,
    /// It runs, or did before we stopped it.
    pub(crate) up: bool,
    cordoned: bool,
    /// It was out of service before anybody deployed.
    aside: bool,
    pub(crate) stopped_by_us: bool,
    pub(crate) destroyed: bool,
}

/// A Machine of what is to be there.
#[derive(Debug, Clone)]
pub(crate) struct Green {
    pub(crate) machine: Machine,
    /// It runs, or is made to.
    up: bool,
    cordoned: bool,
    /// It was there before this step.
    found: bool,
    destroyed: bool,
}

#[derive(Debug, Default)]
struct Members {
    blues: Vec<Blue>,
    greens: Vec<Green>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Pool {
    places: BTreeMap<Place, Members>,
    pub(crate) standbys: Vec<Machine>,
}

/// One place, as far as its share is concerned.
pub(crate) struct Side<'a> {
    members: &'a Members,
    /// Greens that run.
    pub(crate) greens_up: usize,
}

impl Side<'_> {
    /// So many of a hundred of those that serve, rounded up.
    pub(crate) fn green_share(&self, share: u32) -> usize {
        let wanted = self.members.serving();
        (wanted * share as usize).div_ceil(100).min(self.greens_up)
    }
}

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    Blue,
    Green,
}

/// Whose flags change.
#[derive(Debug, Default)]
pub(crate) struct Moves {
    /// They come into service.
    pub(crate) into: Vec<(Place, String)>,
    /// They leave it.
    pub(crate) out: Vec<(Place, String)>,
}

impl Members {
    /// Of a deploy that did not end: a blue that rests out of service did so before, for which there
    /// is a green that rests too, or was stopped since, by that deploy or as idle.
    fn tell_stopped(&mut self) {
        let resting = self.greens().filter(|green| !green.up).count();
        let blues = self.blues.iter_mut().filter(|b| !b.up && b.cordoned);
        for blue in blues.skip(resting) {
            (blue.up, blue.stopped_by_us) = (true, true);
        }
    }

    fn greens(&self) -> impl Iterator<Item = &Green> {
        self.greens.iter().filter(|green| !green.destroyed)
    }

    /// How many of them are to serve: those that do, and would if they were not out of the way.
    fn serving(&self) -> usize {
        let blues = self.blues.iter().filter(|b| b.up && !b.aside).count();
        // A blue that was out of service gets a green that is too.
        let aside = self.blues.iter().filter(|b| b.up && b.aside).count();
        let greens = self.greens().filter(|green| green.up).count();
        blues.max(greens.saturating_sub(aside))
    }
}

impl Pool {
    /// Sorts Machines.
    ///
    /// # Errors
    ///
    /// If there are volumes, of which each is in one Machine only, or nothing at all.
    pub(crate) fn of(machines: Vec<Machine>, target: &Target) -> Result<Self> {
        if machines.is_empty() {
            return Err(Error::invalid("there is no Machine to deploy beside"));
        }
        if let Some(machine) = machines.iter().find(|m| !m.mounts.is_empty()) {
            return Err(Error::invalid(format!(
                "Machine {} of the process group `{}` has a volume, which a new one would lack; deploy it with `deploy-rolling`",
                machine.id, machine.group
            )));
        }
        let mut places: BTreeMap<Place, Members> = BTreeMap::new();
        let mut standbys = Vec::new();
        let greens_there = machines.iter().any(|machine| target.has(machine));
        for machine in machines {
            let place = (machine.group.clone(), machine.region.clone());
            if machine.is_standby() {
                standbys.push(machine);
                continue;
            }
            let resting = [State::Stopped, State::Suspended, State::Created];
            let up = !resting.iter().any(|state| machine.is(*state));
            let members = places.entry(place).or_default();
            let cordoned = machine.cordoned;
            if target.has(&machine) {
                members.greens.push(Green {
                    machine,
                    up,
                    cordoned,
                    found: true,
                    destroyed: false,
                });
            } else {
                members.blues.push(Blue {
                    machine,
                    up,
                    cordoned,
                    // With greens there the flags are a deploy's that did not end.
                    aside: cordoned && !greens_there,
                    stopped_by_us: false,
                    destroyed: false,
                });
            }
        }
        if greens_there {
            places.values_mut().for_each(Members::tell_stopped);
        }
        Ok(Self { places, standbys })
    }

    /// All Machines, standbys aside.
    pub(crate) fn all(&self) -> Vec<&Machine> {
        let blues = self.members().flat_map(|members| &members.blues);
        let greens = self.members().flat_map(|members| &members.greens);
        let blues = blues.map(|blue| &blue.machine);
        blues.chain(greens.map(|green| &green.machine)).collect()
    }

    /// Of each process group and release the reachable Machine with the least id: whoever looks finds
    /// the same ones, whatever has been made meanwhile.
    pub(crate) fn anchors(&self) -> Vec<&Machine> {
        let mut anchors: BTreeMap<(&str, String), &Machine> = BTreeMap::new();
        for members in self.members() {
            let blues = members.blues.iter().map(|blue| &blue.machine);
            let all = blues.chain(members.greens().map(|green| &green.machine));
            for machine in all.filter(|machine| machine.is_reachable()) {
                let key = (machine.group.as_str(), release_shown(machine));
                let anchor = anchors.entry(key).or_insert(machine);
                if machine.id < anchor.id {
                    *anchor = machine;
                }
            }
        }
        anchors.into_values().collect()
    }

    /// By region, like which Machine, and how many greens that run have to be made there at once.
    pub(crate) fn needs(&self, surge: usize) -> Vec<(String, Machine, usize)> {
        let mut needs: BTreeMap<String, (Machine, usize)> = BTreeMap::new();
        for ((_, region), pattern, up) in self.missing(usize::MAX) {
            let need = needs.entry(region).or_insert((pattern, 0));
            need.1 += usize::from(up);
        }
        let needs = needs.into_iter().filter(|(_, (_, count))| *count > 0);
        needs
            .map(|(region, (like, count))| (region, like, count.min(surge.max(1))))
            .collect()
    }

    fn members(&self) -> impl Iterator<Item = &Members> {
        self.places.values()
    }

    /// How many Machines are wanted that run.
    pub(crate) fn wanted(&self) -> usize {
        let up = |members: &Members| members.blues.iter().filter(|blue| blue.up).count();
        let all = self.members().map(|m| up(m).max(m.serving()));
        all.sum::<usize>().max(1)
    }

    /// How many run now beyond those.
    pub(crate) fn beyond(&self) -> usize {
        let running = self.members().map(|members| {
            let blues = members.blues.iter();
            let blues = blues.filter(|b| b.up && !b.stopped_by_us && !b.destroyed);
            blues.count() + members.greens().filter(|green| green.up).count()
        });
        running.sum::<usize>().saturating_sub(self.wanted())
    }

    /// The greens that have to be made, each like a blue: at most `most` that run, and all that rest.
    pub(crate) fn missing(&self, most: usize) -> Vec<(Place, Machine, bool)> {
        let mut missing = Vec::new();
        let mut running = 0;
        for (place, members) in &self.places {
            for up in [true, false] {
                let there = members.greens().filter(|green| green.up == up).count();
                let blues = members.blues.iter().filter(|blue| blue.up == up);
                for blue in blues.skip(there) {
                    let Some(pattern) = self.pattern(place, blue) else {
                        continue;
                    };
                    running += usize::from(up);
                    if !up || running <= most {
                        missing.push((place.clone(), pattern, up));
                    }
                }
            }
        }
        missing
    }

    /// A Machine like which the green of a blue is made. The configuration of one on a dead host is
    /// not known: any other of its group will do, in its region.
    fn pattern(&self, place: &Place, blue: &Blue) -> Option<Machine> {
        let known = |machine: &Machine| machine.is_reachable();
        if known(&blue.machine) {
            return Some(blue.machine.clone());
        }
        let group = self
            .places
            .iter()
            .filter(|((group, _), _)| *group == place.0);
        let others = group.flat_map(|(_, members)| &members.blues);
        let mut others = others.filter(|other| known(&other.machine));
        let pattern = Summary::clone(&others.next()?.machine);
        Some(Machine::from(Summary {
            region: place.1.clone(),
            ..pattern
        }))
    }

    pub(crate) fn add(&mut self, place: &Place, machine: Machine, up: bool) {
        let members = self.places.entry(place.clone()).or_default();
        members.greens.push(Green {
            machine,
            up,
            cordoned: true,
            found: false,
            destroyed: false,
        });
    }

    /// Whose flags have to change so that `greens` of each place are green. What rests is in service
    /// too, because the proxy starts it when it wants it: that side which `resting` says, if it does.
    pub(crate) fn moves(
        &self,
        greens: impl Fn(&Side<'_>) -> usize,
        resting: Option<Colour>,
    ) -> Moves {
        let mut moves = Moves::default();
        for (place, members) in &self.places {
            let greens_up = members.greens().filter(|green| green.up).count();
            let side = Side { members, greens_up };
            let green = greens(&side).min(greens_up);
            let serving = members.serving();
            let blue = serving.saturating_sub(green);
            let mut change = |id: &str, cordoned: bool, serve: bool| {
                let key = (place.clone(), id.to_owned());
                match (cordoned, serve) {
                    (true, true) => moves.into.push(key),
                    (false, false) => moves.out.push(key),
                    (true, false) | (false, true) => {}
                }
            };
            // Those that serve go on doing so, as far as they are wanted.
            let mut ups: Vec<&Green> = members.greens().filter(|green| green.up).collect();
            ups.sort_by_key(|green| green.cordoned);
            for (at, it) in ups.iter().enumerate() {
                change(&it.machine.id, it.cordoned, at < green);
            }
            let there = members.blues.iter();
            let mut ups: Vec<&Blue> = there
                .filter(|b| b.up && !b.aside && !b.destroyed && !b.stopped_by_us)
                .filter(|b| b.machine.is_reachable())
                .collect();
            ups.sort_by_key(|it| it.cordoned);
            for (at, it) in ups.iter().enumerate() {
                change(&it.machine.id, it.cordoned, at < blue);
            }
            let Some(resting) = resting else {
                continue;
            };
            for it in members.greens().filter(|green| !green.up) {
                change(&it.machine.id, it.cordoned, resting == Colour::Green);
            }
            let rest = members.blues.iter().filter(|b| !b.up && !b.aside);
            for it in rest.filter(|b| !b.destroyed && b.machine.is_reachable()) {
                change(&it.machine.id, it.cordoned, resting == Colour::Blue);
            }
        }
        moves
    }

    /// Blues that run out of service while greens serve in their place.
    pub(crate) fn blues_to_stop(&self) -> Vec<(Place, String)> {
        self.blues(|b| b.up && b.cordoned && !b.aside && !b.stopped_by_us && !b.destroyed)
    }

    pub(crate) fn stopped_by_us(&self) -> Vec<(Place, String)> {
        self.blues(|blue| blue.stopped_by_us)
    }

    pub(crate) fn all_blues(&self) -> Vec<(Place, String)> {
        self.blues(|blue| !blue.destroyed)
    }

    fn blues(&self, which: impl Fn(&Blue) -> bool) -> Vec<(Place, String)> {
        let of = |(place, members): (&Place, &Members)| {
            let blues = members.blues.iter().filter(|blue| which(blue));
            let keys = blues.map(|blue| (place.clone(), blue.machine.id.clone()));
            keys.collect::<Vec<_>>()
        };
        self.places.iter().flat_map(of).collect()
    }

    pub(crate) fn all_greens(&self) -> Vec<(Place, String)> {
        let of = |(place, members): (&Place, &Members)| {
            let keys = members
                .greens()
                .map(|g| (place.clone(), g.machine.id.clone()));
            keys.collect::<Vec<_>>()
        };
        self.places.iter().flat_map(of).collect()
    }

    /// Greens that were there already and are to run.
    pub(crate) fn found_greens(&self) -> Vec<(Place, String)> {
        let of = |(place, members): (&Place, &Members)| {
            let found = members.greens().filter(|green| green.found && green.up);
            let keys = found.map(|g| (place.clone(), g.machine.id.clone()));
            keys.collect::<Vec<_>>()
        };
        self.places.iter().flat_map(of).collect()
    }

    pub(crate) fn green_ids(&self) -> Vec<&str> {
        let greens = self.members().flat_map(Members::greens);
        greens.map(|green| green.machine.id.as_str()).collect()
    }

    /// A green of a process group.
    pub(crate) fn green_of(&self, group: &str) -> Option<&str> {
        let of = self.places.iter().filter(|((g, _), _)| g == group);
        let mut greens = of.flat_map(|(_, members)| members.greens());
        greens.next().map(|green| green.machine.id.as_str())
    }

    /// The Machines of some keys, in their order.
    pub(crate) fn machines(&self, keys: &[(Place, String)]) -> Vec<&Machine> {
        let find = |(place, id): &(Place, String)| {
            let members = self.places.get(place)?;
            let blues = members.blues.iter().map(|blue| &blue.machine);
            let mut all = blues.chain(members.greens.iter().map(|green| &green.machine));
            all.find(|machine| machine.id == *id)
        };
        keys.iter().filter_map(find).collect()
    }

    /// Changes what is known of a blue.
    pub(crate) fn blue(&mut self, (place, id): &(Place, String), change: impl FnOnce(&mut Blue)) {
        let members = self.places.get_mut(place);
        let mut blues = members.into_iter().flat_map(|m| &mut m.blues);
        if let Some(blue) = blues.find(|blue| blue.machine.id == *id) {
            change(blue);
        }
    }

    pub(crate) fn set_cordoned(&mut self, key: &(Place, String), cordoned: bool) {
        self.blue(key, |blue| blue.cordoned = cordoned);
        self.green(key, |green| green.cordoned = cordoned);
    }

    pub(crate) fn remove_green(&mut self, key: &(Place, String)) {
        self.green(key, |green| green.destroyed = true);
    }

    fn green(&mut self, (place, id): &(Place, String), change: impl FnOnce(&mut Green)) {
        let members = self.places.get_mut(place);
        let mut greens = members.into_iter().flat_map(|m| &mut m.greens);
        if let Some(green) = greens.find(|green| green.machine.id == *id) {
            change(green);
        }
    }

    /// What is said of each Machine.
    pub(crate) fn reports(&self, failed: bool, why: Option<String>) -> Vec<MachineReport> {
        let mut reports = Vec::new();
        for members in self.members() {
            for blue in &members.blues {
                let (outcome, reason) = match (blue.destroyed, failed) {
                    (true, _) => (Outcome::Destroyed, None),
                    (false, true) => (Outcome::RolledBack, why.clone()),
                    (false, false) => (Outcome::Kept, None),
                };
                reports.push(MachineReport::of(&blue.machine, outcome, reason));
            }
            for green in &members.greens {
                let outcome = match (green.destroyed, green.found) {
                    (true, _) => Outcome::Destroyed,
                    (false, true) => Outcome::Unchanged,
                    (false, false) => Outcome::Created,
                };
                reports.push(MachineReport::of(&green.machine, outcome, None));
            }
        }
        let standbys = self.standbys.iter();
        reports.extend(standbys.map(|m| MachineReport::of(m, Outcome::Kept, None)));
        reports
    }
}

#[cfg(test)]
mod tests;
