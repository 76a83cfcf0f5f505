//! Which Machines an operator means, why the others that somebody may ask about are left alone, and
//! how many are worked on at once.

use std::collections::BTreeSet;

use groundcrew_plugin::{Host, Machine, Portion, Result, refuse_unknown};

/// What an operator can say about it. Each plugin spells these fields out in its own input: one that
/// refuses unknown fields cannot flatten another struct into itself.
#[derive(Debug, Clone, Copy)]
pub struct Which<'a> {
    /// The app.
    pub app: &'a str,
    /// Only this process group.
    pub group: Option<&'a str>,
    /// Only these regions; all if empty.
    pub regions: &'a [String],
    /// Only the Machines with these ids; all if empty.
    pub include: &'a [String],
    /// Not the Machines with these ids.
    pub exclude: &'a [String],
}

/// Listed Machines, sorted into what happens to them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Those that are worked on, in this order.
    pub chosen: Vec<Machine>,
    /// The platform does not reach their hosts, so a request could only time out.
    pub unreachable: Vec<Machine>,
    /// Left alone although named, with the reason.
    pub skipped: Vec<(Machine, String)>,
}

impl Which<'_> {
    /// Lists the Machines of the group and the regions, those that are not wanted among them.
    ///
    /// # Errors
    ///
    /// As the platform says.
    pub async fn list(&self, host: &Host) -> Result<Vec<Machine>> {
        let machines = host.machines(self.app).group(self.group);
        machines.region(self.regions.to_vec()).list().await
    }

    /// Sorts those that were listed. `left_alone` says why a Machine is none for this step, and is
    /// told of only where `include` names the Machine.
    ///
    /// # Errors
    ///
    /// If `include` names a Machine that was not listed: most likely a slip, and then better
    /// nothing is done.
    pub fn select(
        &self,
        listed: Vec<Machine>,
        left_alone: impl Fn(&Machine) -> Option<String>,
    ) -> Result<Selection> {
        refuse_unknown(&listed, self.include, self.app, self.group)?;
        let included: BTreeSet<&String> = self.include.iter().collect();
        let excluded: BTreeSet<&String> = self.exclude.iter().collect();
        let mut selection = Selection::default();
        for machine in listed {
            let named = included.contains(&machine.id);
            if !(included.is_empty() || named) {
                continue;
            }
            if excluded.contains(&machine.id) {
                selection.skipped.push((machine, "excluded".to_owned()));
            } else if let Some(why) = left_alone(&machine) {
                if named {
                    selection.skipped.push((machine, why));
                }
            } else if machine.is_reachable() {
                selection.chosen.push(machine);
            } else {
                selection.unreachable.push(machine);
            }
        }
        Ok(selection)
    }
}

/// How many may be worked on at once: `parallel`, which `most` of those that are `there` can only
/// lower.
#[must_use]
pub fn at_once(parallel: u32, most: Option<Portion>, there: usize) -> usize {
    let parallel = parallel.max(1) as usize;
    most.map_or(parallel, |most| most.of(there).min(parallel))
}

#[cfg(test)]
mod tests {
    use groundcrew_plugin::testing::machine;
    use groundcrew_plugin::{HostStatus, Kind, State, Summary};

    use super::*;

    fn listed() -> Vec<Machine> {
        let dead = Summary {
            host_status: HostStatus::Unreachable,
            ..machine("web", "dead")
        };
        let resting = Summary {
            state: "stopped".to_owned(),
            ..machine("web", "resting")
        };
        let all = [machine("web", "a"), machine("web", "b"), dead, resting];
        all.map(Machine::from).to_vec()
    }

    fn select(include: &[&str], exclude: &[&str]) -> Result<[Vec<String>; 3]> {
        let owned = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        let which = Which {
            app: "web",
            group: None,
            regions: &[],
            include: &owned(include),
            exclude: &owned(exclude),
        };
        let rests = |it: &Machine| (!it.is(State::Started)).then(|| "rests".to_owned());
        let selection = which.select(listed(), rests)?;
        let ids = |of: Vec<Machine>| of.into_iter().map(|it| it.id.clone()).collect();
        let skipped = selection.skipped.into_iter();
        let skipped = skipped.map(|(it, why)| format!("{} {why}", it.id));
        Ok([
            ids(selection.chosen),
            ids(selection.unreachable),
            skipped.collect(),
        ])
    }

    #[test]
    fn what_rests_is_told_of_only_if_it_is_named() {
        let all = select(&[], &["b"]).unwrap();
        assert_eq!(all, [vec!["a"], vec!["dead"], vec!["b excluded"]]);
        let named = select(&["b", "resting"], &[]).unwrap();
        assert_eq!(named, [vec!["b"], vec![], vec!["resting rests"]]);
    }

    #[test]
    fn a_share_only_lowers_how_many_are_worked_on_at_once() {
        assert_eq!(at_once(50, None, 100), 50);
        assert_eq!(at_once(50, Some(Portion::Percent(25)), 100), 25);
        assert_eq!(at_once(10, Some(Portion::Count(25)), 100), 10);
        assert_eq!(at_once(0, Some(Portion::Percent(1)), 3), 1);
    }

    #[test]
    fn a_name_that_is_not_listed_is_a_slip() {
        let error = select(&["a", "c"], &[]).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(error.message().ends_with(": c"), "{error}");
        assert!(
            select(&[], &["c"]).is_ok(),
            "it is not worked on either way"
        );
    }
}
