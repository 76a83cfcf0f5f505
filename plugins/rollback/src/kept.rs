//! The Machines of an earlier release that a blue/green deploy has kept: who of them serves again, and
//! who leaves.

use std::collections::BTreeMap;

use groundcrew_deploy::target::{in_order, release_shown};
use groundcrew_deploy::{MachineReport, Outcome, Report};
use groundcrew_plugin::{Host, Kind, Machine, Result, State, join_all};

use crate::Input;

/// Process group and region.
type Place = (String, String);

/// Who comes and who goes.
#[derive(Debug)]
pub(crate) struct Kept<'a> {
    release: String,
    /// They serve again.
    back: Vec<&'a Machine>,
    /// Those of them that have been stopped meanwhile, as idle ones are.
    asleep: Vec<&'a Machine>,
    /// They rest, as they did before, and the proxy may start them.
    resting: Vec<&'a Machine>,
    /// What serves or rests now.
    out: Vec<&'a Machine>,
}

/// The Machines of one release in one place that are out of service.
#[derive(Debug, Default)]
struct Aside<'a> {
    up: Vec<&'a Machine>,
    down: Vec<&'a Machine>,
}

fn is_down(machine: &Machine) -> bool {
    machine.is(State::Stopped) || machine.is(State::Suspended)
}

impl<'a> Kept<'a> {
    /// None if there are too few to take over everywhere.
    pub(crate) fn of(machines: &'a [Machine], wanted: Option<&str>) -> Option<Self> {
        let machines = machines
            .iter()
            .filter(|machine| machine.is_reachable() && !machine.is_standby());
        let (aside, out): (Vec<&Machine>, Vec<&Machine>) = machines.partition(|m| m.cordoned);
        let serving: Vec<String> = out.iter().map(|m| release_shown(m)).collect();
        let mut needed: BTreeMap<Place, usize> = BTreeMap::new();
        for machine in out.iter().filter(|machine| machine.is(State::Started)) {
            *needed.entry(place(machine)).or_default() += 1;
        }
        let mut releases: BTreeMap<String, BTreeMap<Place, Aside<'a>>> = BTreeMap::new();
        for machine in aside {
            let release = release_shown(machine);
            if serving.contains(&release) || wanted.is_some_and(|wanted| wanted != release) {
                continue;
            }
            let places = releases.entry(release).or_default();
            let there = places.entry(place(machine)).or_default();
            match is_down(machine) {
                true => there.down.push(machine),
                false if in_order(machine) => there.up.push(machine),
                false => {}
            }
        }
        let enough = |places: &BTreeMap<Place, Aside<'_>>| {
            needed.iter().all(|(place, count)| {
                let there = places.get(place);
                there.is_some_and(|there| there.up.len() + there.down.len() >= *count)
            })
        };
        let mut releases = releases.into_iter().filter(|(_, places)| enough(places));
        let (release, places) = releases.next().filter(|_| !needed.is_empty())?;
        let mut kept = Self {
            release,
            back: Vec::new(),
            asleep: Vec::new(),
            resting: Vec::new(),
            out,
        };
        for (place, there) in places {
            let missing = needed.get(&place).copied().unwrap_or(0);
            let missing = missing.saturating_sub(there.up.len());
            let (asleep, resting) = there.down.split_at(missing.min(there.down.len()));
            kept.back.extend(there.up.iter().chain(asleep));
            kept.asleep.extend(asleep);
            kept.resting.extend(resting);
        }
        Some(kept)
    }

    /// The old ones come into service, then the new ones leave it.
    ///
    /// # Errors
    ///
    /// Until the new ones leave everything is as it was.
    pub(crate) async fn swap(self, host: &Host, input: &Input) -> Result<Report> {
        host.note(&format!(
            "{} Machines of `{}` were kept: back by flags",
            self.back.len(),
            self.release
        ));
        host.expect(self.back.len() + self.out.len(), "machines");
        if let Some(first) = self.back.first().or(self.out.first()) {
            let all = self
                .back
                .iter()
                .chain(&self.resting)
                .chain(&self.out)
                .copied();
            host.will_write(&first.app, all, 0).await?;
        }
        let returns = || self.back.iter().chain(&self.resting);
        let came = async {
            all(self.asleep.iter().map(|machine| wake(machine, input))).await?;
            all(returns().map(|machine| machine.uncordon())).await?;
            if !input.discovery.duration().is_zero() {
                host.sleep(input.discovery.duration()).await?;
            }
            Ok(())
        };
        if let Err(error) = came.await {
            // Two releases would serve.
            all(returns().map(|machine| machine.cordon())).await?;
            return Err(error);
        }
        all(self.out.iter().map(|machine| machine.cordon())).await?;
        let back = returns().map(|machine| (machine, Outcome::Updated));
        let out = self.out.iter().map(|machine| (machine, Outcome::Kept));
        let reports = back.chain(out);
        let reports = reports.map(|(machine, outcome)| MachineReport::of(machine, outcome, None));
        Ok(Report::new(&self.release, reports.collect()))
    }
}

fn place(machine: &Machine) -> Place {
    (machine.group.clone(), machine.region.clone())
}

async fn wake(machine: &Machine, input: &Input) -> Result<()> {
    let lease = machine.lease().await?;
    machine.start().await?;
    let healthy = machine.wait_healthy().within(input.wait_timeout.duration());
    healthy.await?;
    match lease.release().await {
        // The host gives it back when the step ends.
        Err(error) if error.kind() != Kind::Cancelled => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

async fn all(work: impl Iterator<Item = impl Future<Output = Result<()>>>) -> Result<()> {
    let results = join_all(work).await;
    results.into_iter().collect::<Result<Vec<()>>>().map(drop)
}

#[cfg(test)]
mod tests {
    use groundcrew_plugin::{Summary, testing::machine};

    use super::*;

    fn of(id: &str, release: &str, state: &str, cordoned: bool) -> Machine {
        let summary = Summary {
            release: Some(release.to_owned()),
            state: state.to_owned(),
            cordoned,
            ..machine("web", id)
        };
        summary.into()
    }

    fn ids(machines: &[&Machine]) -> Vec<String> {
        machines.iter().map(|machine| machine.id.clone()).collect()
    }

    #[test]
    fn as_many_come_back_as_serve_and_the_others_rest_as_before() {
        let machines = [
            of("a", "old", "started", true),
            of("b", "old", "stopped", true),
            of("c", "old", "stopped", true),
            of("d", "new", "started", false),
            of("e", "new", "started", false),
            of("f", "new", "created", false),
        ];
        let kept = Kept::of(&machines, None).unwrap();
        assert_eq!(ids(&kept.back), ["a", "b"]);
        assert_eq!(ids(&kept.asleep), ["b"]);
        assert_eq!(ids(&kept.resting), ["c"]);
        assert_eq!(ids(&kept.out), ["d", "e", "f"]);
    }

    #[test]
    fn too_few_or_another_release_are_none() {
        let machines = [
            of("a", "old", "started", true),
            of("d", "new", "started", false),
            of("e", "new", "started", false),
        ];
        assert!(Kept::of(&machines, None).is_none());
        assert!(Kept::of(&machines[..2], Some("older")).is_none());
        assert!(Kept::of(&machines[..2], Some("old")).is_some());
        assert!(Kept::of(&machines[1..], None).is_none());
        assert!(Kept::of(&machines[..1], None).is_none());
    }
}
