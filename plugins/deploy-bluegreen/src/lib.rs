//! Deploys beside what is there: new Machines (green) are made out of service and checked, then take
//! over from the old ones (blue) by a share or all at once, and the old ones stay ready to come back
//! or are destroyed.
//!
//! A step brings the app to one *share*: so many of a hundred Machines of each process group and
//! region that serve are green. So a deploy can be several steps with gates between them; going back
//! is the share 0; and a step that is begun anew goes on with whatever it finds. Whatever fails on
//! the way up ends all blue. `pool.rs` is who is green and who is blue.

mod input;
mod pool;

use groundcrew_deploy::one::{both, made};
use groundcrew_deploy::select::Selection;
use groundcrew_deploy::target::{ill, in_order};
use groundcrew_deploy::{How, MachineReport, Outcome, Report, Scope, Target, Verify};
use groundcrew_plugin::{
    Change, Error, Host, Kind, Lease, Machine, Result, State, join, join_all, plugin,
};

pub use input::{After, Cutover, Input};
use pool::{Colour, Place, Pool};

/// Deploy beside what is there, and let the new Machines take over by a share or all at once.
#[plugin(
    machines(
        list,
        lease,
        update,
        cordon,
        create,
        destroy,
        start,
        stop,
        wait,
        reason = "makes new Machines, puts them into service in the place of the old ones, and destroys whichever lost; makes and removes those of process groups that come and go"
    ),
    apps(
        capacity,
        reason = "sees whether there is room before anything is made"
    ),
    releases(list, reason = "reads the definition of the release that is named")
)]
pub async fn deploy_bluegreen(input: Input, host: Host) -> Result<Report> {
    let mut scope = Scope::of(&host, &input.select, input.change.clone()).await?;
    if input.share < 100 {
        scope.leave_new("not before all that serve are new");
        scope.leave_gone("not before all that serve are new");
    } else if input.after == After::Keep {
        scope.leave_gone("what was there before is kept");
    }
    // What cannot be is refused before a new group is made.
    if !scope.selection.chosen.is_empty() {
        let pool = Pool::of(scope.selection.chosen.clone(), &scope.target)?;
        input.surge(pool.wanted())?;
    }
    let how = How {
        drain: Some(input.drain.duration()),
        wait: input.wait_timeout.duration(),
        critical_after: Some(input.critical_after.duration()),
        verify: Verify {
            checks: true,
            stopped: false,
        },
        rollback: true,
        replace: false,
    };
    let strategy =
        async |target: &_, selection| beside(&host, target, &how, &input, selection).await;
    scope.run(&host, &how, strategy).await
}

/// The Machines of groups that stay: new ones beside the old ones, and to the share.
async fn beside(
    host: &Host,
    target: &Target,
    how: &How,
    input: &Input,
    selection: Selection,
) -> Result<Report> {
    let pool = Pool::of(selection.chosen, target)?;
    let surge = input.surge(pool.wanted())?;
    let mut deploy = Deploy {
        host,
        target,
        input,
        how,
        pool,
        surge,
    };
    let alone = alone(host, &deploy.pool).await;
    let room = match &alone {
        Ok(_) => has_room(host, &deploy.pool, surge).await,
        Err(_) => Ok(()),
    };
    let excluded = selection.excluded.iter();
    let excluded = excluded.map(|machine| MachineReport::of(machine, Outcome::Excluded, None));
    let excluded = excluded.collect();
    // Before anything has been done there is nothing to go back to.
    let concluded = match alone.as_ref().err().or(room.as_ref().err()) {
        Some(error) => Err(not_begun(target, &deploy.pool, error, excluded)),
        None => {
            let went = deploy.go().await;
            deploy.conclude(went, excluded)
        }
    };
    for lease in alone.unwrap_or_default() {
        lease.give_back(host).await;
    }
    concluded
}

/// Leases one Machine of each process group and release, so that whoever else deploys this app finds
/// it taken, wherever it runs: two deploys beside the same Machines would double them.
async fn alone(host: &Host, pool: &Pool) -> Result<Vec<Lease>> {
    let work = async |machine: &Machine| machine.lease().await;
    let leases = host.for_each(pool.anchors(), 20, work).await;
    let taken: Result<Vec<Lease>> = leases.into_iter().collect();
    taken.map_err(|error| {
        let text = format!("somebody else is at work here, and nothing was done: {error}");
        Error::new(error.kind(), text)
    })
}

/// A failure after which everything is as it was found.
fn not_begun(
    target: &Target,
    pool: &Pool,
    error: &Error,
    mut reports: Vec<MachineReport>,
) -> Error {
    let why = || Some(error.to_string());
    let there = pool.all().into_iter();
    reports.extend(there.map(|m| MachineReport::of(m, Outcome::NotAttempted, why())));
    let report = Report::new(&target.release, reports);
    Error::new(error.kind(), error.message()).with_output(&report)
}

/// Whether each region has room for the Machines that are missing there, as far as Fly says. No
/// reservation, so that a create may be refused all the same.
async fn has_room(host: &Host, pool: &Pool, surge: usize) -> Result<()> {
    let needs = pool.needs(surge);
    let ask = async |(region, like, count): (String, Machine, usize)| {
        let rooms = host.capacity(&like, vec![region.clone()], count).await;
        (region, count, rooms)
    };
    for (region, count, rooms) in host.for_each(needs, 20, ask).await {
        let rooms = match rooms {
            Ok(rooms) => rooms,
            Err(error) if error.kind() == Kind::Cancelled => return Err(error),
            Err(error) => {
                host.warn(&format!("whether {region} has room is not known: {error}"));
                continue;
            }
        };
        let room = rooms.iter().find(|room| room.region == region);
        let room = room.map_or(count, |room| room.machines as usize);
        if room < count {
            return Err(Error::new(
                Kind::Capacity,
                format!(
                    "{region} has room for {room} of {count} new Machines, and nothing was done: a smaller `max_surge` needs less"
                ),
            ));
        }
    }
    Ok(())
}

struct Deploy<'a> {
    host: &'a Host,
    target: &'a Target,
    input: &'a Input,
    how: &'a How,
    pool: Pool,
    /// How many Machines may run beyond those that did.
    surge: usize,
}

/// A green that is to be made: where, like which blue, and whether it is started.
type Wanted = (Place, Machine, bool);

impl Deploy<'_> {
    /// Forward to the share; back to all blue if that fails.
    async fn go(&mut self) -> Result<()> {
        let forward = self.forward().await;
        let Err(error) = forward else {
            return self.retire().await;
        };
        self.host
            .warn(&format!("going back to what was there: {error}"));
        match self.back().await {
            Ok(()) => Err(error),
            Err(also) => Err(both(&error, &also)),
        }
    }

    async fn forward(&mut self) -> Result<()> {
        if self.input.share > 0 {
            self.look_at_found().await?;
            self.make_all().await?;
        } else {
            self.revive().await?;
        }
        if (1..100).contains(&self.input.share) {
            self.host.note(&format!(
                "{} % of the Machines in service become new ones; that is no share of the traffic",
                self.input.share
            ));
        }
        self.shift(self.input.share, self.input.cutover).await?;
        if !self.input.hold.duration().is_zero() {
            self.host.sleep(self.input.hold.duration()).await?;
            self.look_at_greens().await?;
        }
        Ok(())
    }

    /// Makes the greens that are missing, as many at a time as the surge allows. Between two waves
    /// the greens that are there take over from as many blues, which are stopped.
    async fn make_all(&mut self) -> Result<()> {
        let missing = self.pool.missing(usize::MAX).len();
        self.host.expect(missing, "machines");
        loop {
            let room = self.surge.saturating_sub(self.pool.beyond()).max(1);
            self.make(self.pool.missing(room)).await?;
            if self.pool.missing(1).is_empty() {
                return Ok(());
            }
            self.make_room().await?;
        }
    }

    /// Makes some greens, cordoned, and waits until each is in order. All of them come to an end.
    async fn make(&mut self, wanted: Vec<Wanted>) -> Result<()> {
        let at_once = wanted.len();
        let (host, target, how) = (self.host, self.target, self.how);
        let work = async |(place, pattern, launch): Wanted| {
            let result = async {
                let change = Change {
                    metadata: vec![("groundcrew_color".to_owned(), Some("green".to_owned()))],
                    ..target.change_for(&pattern)?
                };
                made(host, target, how, &pattern, change, launch).await
            };
            let result = result.await;
            match &result {
                Ok(machine) => host.item(&machine.id).succeeded("created"),
                Err(error) => host.item(&pattern.id).failed(error.message()),
            }
            (place, launch, result)
        };
        let mut failed = None;
        for (place, launch, result) in self.host.for_each(wanted, at_once, work).await {
            match result {
                Ok(machine) => self.pool.add(&place, machine, launch),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Between two waves: every green that runs serves, and as many blues are stopped.
    async fn make_room(&mut self) -> Result<()> {
        let share = |place: &pool::Side<'_>| place.greens_up;
        self.shift_to(share, None, Cutover::Overlap).await?;
        let idle: Vec<(Place, String)> = self.pool.blues_to_stop();
        let how = self.how;
        let stop = self.pool.machines(&idle).into_iter();
        let stop = stop.map(|machine| async move {
            machine.stop().await?;
            let stopped = machine.wait(State::Stopped).within(how.wait).await;
            stopped.map(drop)
        });
        let stopped = join_all(stop).await;
        for (key, result) in idle.iter().zip(&stopped) {
            if result.is_ok() {
                self.pool.blue(key, |blue| blue.stopped_by_us = true);
            }
        }
        stopped.into_iter().collect::<Result<Vec<()>>>().map(drop)
    }

    /// Brings so many of a hundred of each place's Machines in service to green.
    async fn shift(&mut self, share: u32, cutover: Cutover) -> Result<()> {
        let of = |place: &pool::Side<'_>| place.green_share(share);
        let resting = match share {
            0 => Some(Colour::Blue),
            100 => Some(Colour::Green),
            _ => None,
        };
        self.shift_to(of, resting, cutover).await
    }

    async fn shift_to(
        &mut self,
        greens: impl Fn(&pool::Side<'_>) -> usize,
        resting: Option<Colour>,
        cutover: Cutover,
    ) -> Result<()> {
        let moves = self.pool.moves(greens, resting);
        let atomic = cutover == Cutover::Atomic && !moves.out.is_empty() && !moves.into.is_empty();
        if atomic {
            self.flags(&moves.out, true).await?;
            self.flags(&moves.into, false).await?;
            return self.pause(self.input.drain.duration()).await;
        }
        self.flags(&moves.into, false).await?;
        if !(moves.into.is_empty() || moves.out.is_empty()) {
            self.pause(self.input.discovery.duration()).await?;
        }
        self.flags(&moves.out, true).await?;
        if moves.out.is_empty() {
            return Ok(());
        }
        self.pause(self.input.drain.duration()).await
    }

    async fn pause(&self, duration: std::time::Duration) -> Result<()> {
        if duration.is_zero() {
            return Ok(());
        }
        self.host.sleep(duration).await
    }

    /// Cordons Machines, or puts them back into service; all at once.
    async fn flags(&mut self, which: &[(Place, String)], cordon: bool) -> Result<()> {
        let machines = self.pool.machines(which).into_iter();
        let set = machines.map(|machine| async move {
            match cordon {
                true => machine.cordon().await,
                false => machine.uncordon().await,
            }
        });
        let results = join_all(set).await;
        for (key, result) in which.iter().zip(&results) {
            if result.is_ok() {
                self.pool.set_cordoned(key, cordon);
            }
        }
        results.into_iter().collect::<Result<Vec<()>>>().map(drop)
    }

    /// Whether the greens are still in order.
    async fn look_at_greens(&self) -> Result<()> {
        let machines = self.host.machines(&self.input.select.app);
        let listed = machines
            .group(self.input.select.groups.clone())
            .list()
            .await?;
        let ours = self.pool.green_ids();
        let bad = listed
            .iter()
            .find(|machine| ours.contains(&machine.id.as_str()) && !in_order(machine));
        let missing = ours
            .iter()
            .find(|id| !listed.iter().any(|machine| machine.id == **id));
        match (bad, missing) {
            (Some(machine), _) => Err(Error::application(format!(
                "{} did not stay in order: {}",
                machine.id,
                ill(machine)
            ))),
            (None, Some(id)) => Err(Error::application(format!("{id} is gone"))),
            (None, None) => Ok(()),
        }
    }

    /// Greens of a deploy that did not end are taken for ours if they come up, and made anew if not.
    async fn look_at_found(&mut self) -> Result<()> {
        let found = self.pool.found_greens();
        let how = self.how;
        let look = async |key: (Place, String)| {
            let Some(machine) = self.pool.machines(std::slice::from_ref(&key)).pop() else {
                return Ok(None);
            };
            let patience = how.critical_after.unwrap_or(how.wait);
            let healthy = machine.wait_healthy().critical_after(patience);
            match healthy.within(how.wait).await {
                Ok(_) => Ok(None),
                Err(error) if error.kind() == Kind::Cancelled => Err(error),
                Err(error) => {
                    self.host
                        .warn(&format!("{} is made anew: {error}", machine.id));
                    machine.destroy().await.map(|()| Some(key))
                }
            }
        };
        let results = self.host.for_each(found, 500, look).await;
        let gone: Result<Vec<_>> = results.into_iter().collect();
        for key in gone?.into_iter().flatten() {
            self.pool.remove_green(&key);
        }
        Ok(())
    }

    /// Back to what was there: the blues serve, and the greens are destroyed.
    async fn back(&mut self) -> Result<()> {
        let started = self.revive().await;
        let shifted = match self.shift(0, Cutover::Overlap).await {
            // What is left of it is to cordon what is destroyed now anyway.
            Err(error) if error.kind() == Kind::Cancelled => Ok(()),
            other => other,
        };
        started?;
        shifted?;
        self.destroy_greens().await
    }

    /// Starts the blues that were stopped to make room.
    async fn revive(&mut self) -> Result<()> {
        let stopped = self.pool.stopped_by_us();
        let how = self.how;
        let start = self.pool.machines(&stopped).into_iter();
        let start = start.map(|machine| async move {
            machine.start().await?;
            match machine.wait_healthy().within(how.wait).await {
                // The run is being interrupted: there is no time left to look.
                Err(error) if error.kind() == Kind::Cancelled => Ok(()),
                other => other.map(drop),
            }
        });
        let started: Result<Vec<()>> = join_all(start).await.into_iter().collect();
        for key in &stopped {
            self.pool.blue(key, |blue| blue.stopped_by_us = false);
        }
        started.map(drop)
    }

    async fn destroy_greens(&mut self) -> Result<()> {
        let greens = self.pool.all_greens();
        let machines = self.pool.machines(&greens).into_iter();
        let results = join_all(machines.map(|machine| machine.destroy())).await;
        for (key, result) in greens.iter().zip(&results) {
            if result.is_ok() {
                self.pool.remove_green(key);
            }
        }
        results.into_iter().collect::<Result<Vec<()>>>().map(drop)
    }

    /// Whoever lost for good is kept for a while, and destroyed or kept.
    async fn retire(&mut self) -> Result<()> {
        let lost = match self.input.share {
            0 | 100 if self.input.after == After::Destroy => self.input.share,
            _ => return Ok(()),
        };
        self.pause(self.input.keep.duration()).await?;
        if lost == 0 {
            return self.destroy_greens().await;
        }
        self.look_at_greens().await?;
        let (blues, standbys) = (self.destroy_blues(), self.move_standbys());
        let (blues, standbys) = join(blues, standbys).await;
        let gone = blues?;
        for key in &gone {
            self.pool.blue(key, |blue| blue.destroyed = true);
        }
        standbys
    }

    /// Destroys the blues; gives those that are gone. A dead host is no reason to fail.
    async fn destroy_blues(&self) -> Result<Vec<(Place, String)>> {
        let blues = self.pool.all_blues();
        let work = async |key: (Place, String)| {
            let Some(machine) = self.pool.machines(std::slice::from_ref(&key)).pop() else {
                return Ok(None);
            };
            let lease = machine.lease().await;
            let destroyed = match &lease {
                Ok(_) => machine.destroy().await,
                Err(error) => Err(error.clone()),
            };
            match destroyed {
                Ok(()) => Ok(Some(key)),
                Err(error) if !machine.is_reachable() => {
                    self.host.warn(&format!(
                        "{}: its host is not reached, so it stays: {error}",
                        machine.id
                    ));
                    Ok(None)
                }
                Err(error) => Err(error),
            }
        };
        let results = self.host.for_each(blues, 500, work).await;
        let gone: Result<Vec<_>> = results.into_iter().collect();
        Ok(gone?.into_iter().flatten().collect())
    }

    /// Standbys stand by for the greens from now on.
    async fn move_standbys(&self) -> Result<()> {
        let work = async |machine: &Machine| {
            let Some(green) = self.pool.green_of(&machine.group) else {
                return Ok(());
            };
            let mut change = self.target.change_for(machine)?;
            change.standbys = Some(vec![green.to_owned()]);
            let lease = machine.lease().await?;
            let updated = machine.update(change).launch(false).await?;
            let settled = machine.wait(State::Settled).version(&updated.instance_id);
            settled.within(self.how.wait).await?;
            lease.release().await
        };
        let results = self.host.for_each(&self.pool.standbys, 20, work).await;
        results.into_iter().collect::<Result<Vec<()>>>().map(drop)
    }

    fn conclude(&self, went: Result<()>, mut reports: Vec<MachineReport>) -> Result<Report> {
        let failed = went.as_ref().err();
        reports.extend(
            self.pool
                .reports(failed.is_some(), failed.map(ToString::to_string)),
        );
        let report = Report::new(&self.target.release, reports);
        match went {
            Ok(()) => Ok(report),
            Err(error) => {
                let text = format!("{error} ({})", report.summary());
                Err(Error::new(error.kind(), text).with_output(&report))
            }
        }
    }
}

#[cfg(test)]
mod tests;
