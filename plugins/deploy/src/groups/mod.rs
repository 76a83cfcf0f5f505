//! Process groups that come and go with a fly.toml, around whatever a strategy does with the others.
//!
//! New groups are made first: out of service, checked, then put into service; so nothing else has
//! been touched if that fails. Groups that are gone are removed last, once the strategy has
//! succeeded. (flyctl removes them first, and then has nothing to go back to.) If the strategy fails
//! and is to go back, what was made is destroyed again: a failure ends with what was there before.
//! Nothing brings back what has been removed, the runbook `rollback` neither.
//!
//! Groups are left alone, and the report says so, if the deploy is to update only or is about some of
//! the app's Machines: whether a group is gone cannot be told from a part of the app.

mod new;

use std::collections::BTreeSet;

use groundcrew_plugin::{Error, Host, Kind, Machine, Result, State, Summary, join_all};

use crate::one::{Before, How, both};
use crate::report::{MachineReport, Outcome, Report};
use crate::rolling::{Bounds, roll};
use crate::select::{Select, Selection};
use crate::target::{Change, Target};
use new::{New, missing};

/// How many Machines are removed at once.
const PARALLEL: usize = 50;

/// What a deploy is about: what changes, the Machines that a strategy brings there, and the process
/// groups that come and go around it.
#[derive(Debug)]
pub struct Scope {
    /// What Machines become.
    pub target: Target,
    /// The Machines that a strategy is about: those of groups that stay.
    pub selection: Selection,
    /// Groups that are to be made, by name.
    new: Vec<New>,
    /// Machines of groups that are to be removed.
    gone: Vec<Machine>,
    /// Machines of such groups that are left alone.
    left: Vec<MachineReport>,
    notes: Vec<String>,
}

/// What became of Machines that came or went, and the kinds of failures there were.
#[derive(Debug, Default)]
struct Fates {
    reports: Vec<MachineReport>,
    kinds: Vec<Kind>,
}

/// How many releases are looked through. (The contract gives no more.)
const RELEASES: u32 = 100;

/// Puts the definition and the image of the release that a change names into the change.
async fn defined(host: &Host, app: &str, mut change: Change) -> Result<Change> {
    let Some(named) = change.config_of.take() else {
        return Ok(change);
    };
    if change.config.is_some() {
        return Err(Error::invalid("give either `config` or `config_of`"));
    }
    let releases = host.releases(app).list(RELEASES).await?;
    let mut all = releases.into_iter();
    let found = match named.as_str() {
        "current" => all.next(),
        named => all.find(|it| it.id == named || it.version.to_string() == named),
    };
    let missing = |what: &str| {
        let text = format!("release `{named}` of `{app}` {what}");
        Error::new(Kind::NotFound, text)
    };
    let release = found.ok_or_else(|| missing("is not among the newest 100"))?;
    let definition = host.releases(app).definition(&release).await?;
    change.config = Some(definition.ok_or_else(|| missing("has no definition that Fly shows"))?);
    change.image.get_or_insert(release.image);
    Ok(change)
}

impl Scope {
    /// Lists the Machines and tells the groups apart. Nothing is changed.
    ///
    /// # Errors
    ///
    /// If the change or the selection makes no sense, or the file is another app's, wants volumes
    /// that are not there, or a new group that cannot be made.
    pub async fn of(host: &Host, select: &Select, change: Change) -> Result<Self> {
        let change = defined(host, &select.app, change).await?;
        let update_only = change.update_only;
        let target = change.target()?;
        let selection = select.list(host).await?;
        Self::divided(target, selection, select, update_only)
    }

    fn divided(
        target: Target,
        mut selection: Selection,
        select: &Select,
        update_only: bool,
    ) -> Result<Self> {
        let mut new = Vec::new();
        let mut gone = Vec::new();
        let mut notes = Vec::new();
        if let Some(config) = target.config() {
            if let Some(app) = config.app().filter(|app| *app != select.app) {
                return Err(Error::invalid(format!(
                    "fly.toml: it is the app `{app}`'s, and the deploy is of `{}`",
                    select.app
                )));
            }
            let all = std::mem::take(&mut selection.chosen);
            if all.is_empty() && !select.is_narrow() {
                let none =
                    "the app has no Machine, and new ones are made like those that there are";
                notes.push(none.to_owned());
            }
            if config.says_how() {
                let how = "`[deploy]` of fly.toml is not used: strategy, release command and limits are the runbook's";
                notes.push(how.to_owned());
            }
            new = missing(config, &all);
            (selection.chosen, gone) = all.into_iter().partition(|m| config.names(&m.group));
            for machine in &selection.chosen {
                config.check_volume(machine)?;
            }
            let freed = selection.chosen.iter().filter(|it| config.frees(it));
            notes.extend(freed.map(|it| {
                format!(
                    "Machine {} stands by no longer: the proxy serves its process group `{}`",
                    it.id, it.group
                )
            }));
            notes.extend(out_of_service(&target, &selection.chosen));
        }
        let mut scope = Self {
            target,
            selection,
            new,
            gone,
            left: Vec::new(),
            notes,
        };
        if scope.target.config().is_some() && select.is_narrow() {
            // A group without a Machine here may have some elsewhere.
            scope.new.clear();
            let why = "the deploy is about a part of the app";
            scope
                .notes
                .push(format!("no process group is made or removed: {why}"));
            scope.leave_gone(why);
        } else if update_only {
            scope.leave_new("the deploy is to update only");
            scope.leave_gone("the deploy is to update only");
        }
        scope.check_new()?;
        Ok(scope)
    }

    fn check_new(&self) -> Result<()> {
        let Some(config) = self.target.config() else {
            return Ok(());
        };
        let volume = self.new.iter().find(|new| config.needs_volume(&new.group));
        if let Some(new) = volume {
            return Err(Error::invalid(format!(
                "fly.toml: the process group `{}` is new and needs a volume, which is not made here: make its first Machine by hand, or say `update_only`",
                new.group
            )));
        }
        match self.new.iter().find(|new| !new.pattern.is_reachable()) {
            Some(new) => Err(Error::invalid(format!(
                "fly.toml: the process group `{}` is new, and there is no Machine within reach to make its first one like",
                new.group
            ))),
            None => Ok(()),
        }
    }

    /// New groups are not made, and the report says why.
    pub fn leave_new(&mut self, why: &str) {
        let groups: Vec<String> = self.new.drain(..).map(|new| new.group).collect();
        self.note("not made", groups, why);
    }

    /// Groups that are gone are not removed, and the report says why.
    pub fn leave_gone(&mut self, why: &str) {
        let groups: BTreeSet<String> = self.gone.iter().map(|m| m.group.clone()).collect();
        let left = self.gone.drain(..).map(|machine| {
            let reason = format!("its process group is not in the file, and {why}");
            MachineReport::of(&machine, Outcome::Excluded, Some(reason))
        });
        self.left.extend(left);
        self.note("not removed", groups.into_iter().collect(), why);
    }

    fn note(&mut self, what: &str, groups: Vec<String>, why: &str) {
        if !groups.is_empty() {
            let groups = groups.join("`, `");
            self.notes
                .push(format!("process groups `{groups}` are {what}: {why}"));
        }
    }

    /// [`Scope::run`] with [`roll`] as the strategy.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn roll(self, host: &Host, how: &How, bounds: Bounds) -> Result<Report> {
        let strategy =
            async |target: &_, selection| roll(host, target, how, bounds, &selection).await;
        self.run(host, how, strategy).await
    }

    /// Makes the new groups, does what the strategy does, removes those that are gone.
    ///
    /// # Errors
    ///
    /// If any Machine is not where it should be at the end; the report is the failure's output.
    pub async fn run(
        mut self,
        host: &Host,
        how: &How,
        strategy: impl AsyncFnOnce(&Target, Selection) -> Result<Report>,
    ) -> Result<Report> {
        self.notes.iter().for_each(|note| host.warn(note));
        let nothing_new = self.new.is_empty();
        let (made, failed) = self.make_all(host, how).await;
        if let Some(error) = failed {
            let why = "a new process group did not come up";
            let fates = take_back(host, how, made, why).await;
            let waiting = self.selection.chosen.iter().chain(&self.gone);
            let waiting = waiting.map(|machine| not_attempted(machine, why));
            let none = Report::new(&self.target.release, waiting.collect());
            let text = format!(
                "a new process group did not come up, and nothing else was touched: {error}"
            );
            let report = self.report(none, fates);
            return Err(Error::new(error.kind(), text).with_output(&report));
        }
        let selection = std::mem::take(&mut self.selection);
        // Of an app whose groups are all new there is nothing left to change.
        let went = match selection.chosen.is_empty() && !nothing_new {
            true => Ok(Report::new(&self.target.release, Vec::new())),
            false => strategy(&self.target, selection).await,
        };
        match went {
            Ok(report) => {
                let mut fates = remove_all(host, how, std::mem::take(&mut self.gone)).await;
                let kinds = std::mem::take(&mut fates.kinds);
                fates.reports.extend(created(&made));
                self.report(report, fates).conclude(&kinds)
            }
            Err(error) => {
                // An interrupted deploy stays where it is.
                let back = how.rollback && error.kind() != Kind::Cancelled;
                let mut fates = match back {
                    true => take_back(host, how, made, "the deploy failed").await,
                    false => Fates {
                        reports: created(&made).collect(),
                        kinds: Vec::new(),
                    },
                };
                let gone = self.gone.iter();
                let why = "the deploy failed before its process group was removed";
                fates.reports.extend(gone.map(|m| not_attempted(m, why)));
                let before = Report::carried(&error);
                let before =
                    before.unwrap_or_else(|| Report::new(&self.target.release, Vec::new()));
                let report = self.report(before, fates);
                Err(Error::new(error.kind(), error.message()).with_output(&report))
            }
        }
    }

    /// A strategy's report, with what came and went.
    fn report(&mut self, strategy: Report, fates: Fates) -> Report {
        let mut machines = strategy.machines;
        machines.extend(fates.reports);
        machines.append(&mut self.left);
        Report {
            notes: std::mem::take(&mut self.notes),
            ..Report::new(&strategy.release, machines)
        }
    }

    /// Makes the new groups, each beside the other, and puts them into service once all are in order.
    /// Gives what was made, and what failed.
    async fn make_all(&self, host: &Host, how: &How) -> (Vec<Machine>, Option<Error>) {
        let each = self.new.iter().map(|new| new.make(host, &self.target, how));
        let mut made = Vec::new();
        let mut failed = None;
        for (machines, result) in join_all(each).await {
            made.extend(machines);
            failed = failed.or(result.err());
        }
        if failed.is_none() {
            let serve = join_all(made.iter().map(Machine::uncordon)).await;
            failed = serve.into_iter().find_map(Result::err);
            made = made.iter().map(in_service).collect();
        }
        (made, failed)
    }
}

/// Groups all of whose Machines are at the target and out of service: nobody else would say so.
fn out_of_service(target: &Target, machines: &[Machine]) -> Option<String> {
    let idle = |machine: &&Machine| machine.cordoned && target.has(machine);
    let groups: BTreeSet<&str> = machines.iter().filter(idle).map(|m| &*m.group).collect();
    let others = machines.iter().filter(|machine| !idle(machine));
    let others: BTreeSet<&str> = others.map(|machine| &*machine.group).collect();
    let groups: Vec<&str> = groups.difference(&others).copied().collect();
    (!groups.is_empty()).then(|| {
        format!(
            "no Machine of the process groups `{}` is in service: a deploy that did not end may have left them so",
            groups.join("`, `")
        )
    })
}

fn in_service(machine: &Machine) -> Machine {
    Machine::from(Summary {
        cordoned: false,
        ..Summary::clone(machine)
    })
}

fn created(made: &[Machine]) -> impl Iterator<Item = MachineReport> {
    let of = |machine| MachineReport::of(machine, Outcome::Created, None);
    made.iter().map(of)
}

fn not_attempted(machine: &Machine, why: &str) -> MachineReport {
    MachineReport::of(machine, Outcome::NotAttempted, Some(why.to_owned()))
}

/// Destroys what was made for the deploy. An interrupt does not keep it from that, only from waiting.
async fn take_back(host: &Host, how: &How, made: Vec<Machine>, why: &str) -> Fates {
    let work = async |machine: Machine| {
        host.item(&machine.id).working("being destroyed again");
        let left = leave(host, how, &machine).await;
        let result = match left {
            Err(error) if error.kind() != Kind::Cancelled => Err(error),
            Err(_) | Ok(()) => machine.destroy().await,
        };
        (machine, result)
    };
    let results = host.for_each(made, PARALLEL, work).await;
    Fates::of(results, Outcome::Destroyed, Some(why))
}

/// Removes Machines of groups that are gone.
async fn remove_all(host: &Host, how: &How, gone: Vec<Machine>) -> Fates {
    let (reached, lost): (Vec<_>, Vec<_>) = gone.into_iter().partition(|m| m.is_reachable());
    let work = async |machine: Machine| {
        host.item(&machine.id).working("being removed");
        let result = remove(host, how, &machine).await;
        match &result {
            Ok(()) => host.item(&machine.id).succeeded("removed"),
            Err(error) => host.item(&machine.id).failed(error.message()),
        }
        (machine, result)
    };
    let results = host.for_each(reached, PARALLEL, work).await;
    let mut fates = Fates::of(results, Outcome::Removed, None);
    let why = || Some("its host is not reached, so it is not removed".to_owned());
    let lost = lost.iter();
    let lost = lost.map(|machine| MachineReport::of(machine, Outcome::Unreachable, why()));
    fates.reports.extend(lost);
    fates
}

/// Out of service, stopped, destroyed. Its lease goes with it.
async fn remove(host: &Host, how: &How, machine: &Machine) -> Result<()> {
    let _lease = machine.lease().await?;
    if let Err(error) = leave(host, how, machine).await {
        return match machine.cordoned {
            true => Err(error),
            false => match machine.uncordon().await {
                Ok(()) => Err(error),
                Err(also) => Err(both(&error, &also)),
            },
        };
    }
    if Before::of(machine).up {
        machine.stop().await?;
        machine.wait(State::Stopped).within(how.wait).await?;
    }
    machine.destroy().await
}

/// Takes a Machine out of service and gives the proxy time to notice, if it was in it.
async fn leave(host: &Host, how: &How, machine: &Machine) -> Result<()> {
    let Some(drain) = how.drain.filter(|_| Before::of(machine).serves) else {
        return Ok(());
    };
    machine.cordon().await?;
    match drain.is_zero() {
        true => Ok(()),
        false => host.sleep(drain).await,
    }
}

impl Fates {
    fn of(results: Vec<(Machine, Result<()>)>, good: Outcome, why: Option<&str>) -> Self {
        let mut fates = Self::default();
        for (machine, result) in results {
            let (outcome, reason) = match &result {
                Ok(()) => (good, why.map(str::to_owned)),
                Err(error) => (Outcome::Failed, Some(error.to_string())),
            };
            fates.kinds.extend(result.err().map(|error| error.kind()));
            fates
                .reports
                .push(MachineReport::of(&machine, outcome, reason));
        }
        fates
    }
}

#[cfg(test)]
mod tests;
