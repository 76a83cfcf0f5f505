//! How one Machine gets to the target, and back.
//!
//! Whatever serves traffic leaves the proxy's service first, and comes back when its checks pass.
//! A Machine that does not get there is given back the configuration that it had, if the deploy
//! says so. Its lease is held for as long as it is worked on and no longer.

use std::time::Duration;

use groundcrew_plugin::{Change, Created, Error, Host, Kind, Machine, Result, State, Updated};

use crate::Target;

/// How carefully.
#[derive(Debug, Clone)]
pub struct How {
    /// How long the proxy gets to notice that a Machine is out of service; none: Machines are
    /// updated in service.
    pub drain: Option<Duration>,
    /// How long a Machine may take to start, and then again for its checks to pass.
    pub wait: Duration,
    /// A check that is critical for so long after the start is a failure; none: only the timeout is.
    pub critical_after: Option<Duration>,
    /// What is looked at.
    pub verify: Verify,
    /// A Machine that fails gets its configuration back.
    pub rollback: bool,
    /// A Machine whose host takes no changes is replaced by one on another host.
    pub replace: bool,
}

/// What is looked at after an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verify {
    /// The checks, and not only that it is started.
    pub checks: bool,
    /// Machines that were stopped are started for it, and stopped again.
    pub stopped: bool,
}

/// What became of one Machine.
#[derive(Debug)]
pub enum Became {
    /// It is at the target.
    Updated(Updated),
    /// It could not be updated where it was; the Machine with this id took its place.
    Replaced(String),
    /// It is as it was, and why: nothing was changed, or it was changed and got its configuration
    /// back.
    AsItWas(Error),
    /// It is at neither end, or at the target and not in order; and why.
    Failed(Option<Updated>, Error),
}

/// Brings one Machine to the target.
pub async fn bring(host: &Host, target: &Target, how: &How, machine: &Machine) -> Became {
    let work = async { Ok(leased(host, target, how, machine).await) };
    let became = machine.under_lease(host, work).await;
    became.unwrap_or_else(Became::AsItWas)
}

/// What a Machine was doing before.
pub(crate) struct Before {
    /// It runs.
    pub(crate) up: bool,
    /// It runs, and the proxy sends it traffic.
    pub(crate) serves: bool,
}

impl Before {
    pub(crate) fn of(machine: &Machine) -> Self {
        let up = !machine.is_standby()
            && ![State::Stopped, State::Suspended, State::Created]
                .iter()
                .any(|rest| machine.is(*rest));
        Self {
            up,
            serves: up && machine.services > 0 && !machine.cordoned,
        }
    }
}

async fn leased(host: &Host, target: &Target, how: &How, machine: &Machine) -> Became {
    let before = Before::of(machine);
    if let Some(drain) = how.drain
        && before.serves
    {
        host.item(&machine.id).working("leaving service");
        if let Err(error) = leave(host, machine, drain).await {
            return Became::AsItWas(error);
        }
    }
    host.item(&machine.id).working("updating");
    let drained = before.serves && how.drain.is_some();
    let updated = match update(target, how, machine, &before, drained).await {
        Ok(updated) => updated,
        Err(error) if how.replace && refused_by_host(&error) && machine.mounts.is_empty() => {
            return replace(host, target, how, machine, error).await;
        }
        Err(error) => return as_it_was(machine, drained, error).await,
    };
    host.item(&machine.id).working("waiting for it");
    match settle(how, machine, &before, &updated).await {
        Ok(()) => match back_in_service(machine, drained).await {
            Ok(()) => Became::Updated(updated),
            Err(error) => Became::Failed(Some(updated), error),
        },
        Err(error) if how.rollback => {
            host.item(&machine.id).working("going back");
            match undo(how, machine, &updated, drained).await {
                Ok(()) => Became::AsItWas(error),
                Err(undone) => Became::Failed(Some(updated), both(&error, &undone)),
            }
        }
        Err(error) => {
            // In service or not is for its checks to say: nobody would put it back by hand.
            if drained && let Err(also) = machine.uncordon().await {
                return Became::Failed(Some(updated), both(&error, &also));
            }
            Became::Failed(Some(updated), error)
        }
    }
}

/// Takes a Machine out of service and gives the proxy time to notice.
async fn leave(host: &Host, machine: &Machine, drain: Duration) -> Result<()> {
    machine.cordon().await?;
    if drain.is_zero() {
        return Ok(());
    }
    match host.sleep(drain).await {
        Ok(()) => Ok(()),
        Err(error) => {
            machine.uncordon().await?;
            Err(error)
        }
    }
}

async fn back_in_service(machine: &Machine, drained: bool) -> Result<()> {
    if drained {
        machine.uncordon().await?;
    }
    Ok(())
}

/// Nothing was changed: what was done to prepare it is taken back.
async fn as_it_was(machine: &Machine, drained: bool, error: Error) -> Became {
    match back_in_service(machine, drained).await {
        Ok(()) => Became::AsItWas(error),
        Err(also) => Became::Failed(None, both(&error, &also)),
    }
}

async fn update(
    target: &Target,
    how: &How,
    machine: &Machine,
    before: &Before,
    drained: bool,
) -> Result<Updated> {
    let verified = !before.up && how.verify.stopped && !machine.is_standby();
    if let Some(version) = target.version(machine).await? {
        let restore = machine.restore(&version);
        let mut restore = restore.expected(&machine.instance_id).launch(before.up);
        if drained || verified {
            restore = restore.cordoned(true);
        }
        return restore.await;
    }
    let mut update = machine
        .update(target.change_for(machine)?)
        .min_secrets_version(target.min_secrets_version);
    if drained || verified {
        update = update.cordoned(true);
    }
    update.await
}

/// Waits for the new version, as far as it is to run.
async fn settle(how: &How, machine: &Machine, before: &Before, updated: &Updated) -> Result<()> {
    if before.up {
        return healthy(how, machine, updated).await;
    }
    rested(how, machine, updated).await?;
    if how.verify.stopped && !machine.is_standby() {
        // Fly leaves a new version of what was stopped stopped.
        machine.start().await?;
        healthy(how, machine, updated).await?;
        machine.stop().await?;
        machine.wait(State::Stopped).within(how.wait).await?;
        if !machine.cordoned {
            machine.uncordon().await?;
        }
    }
    Ok(())
}

/// Waits until a version that was given to a Machine is there and nothing is on its way any more.
async fn rested(how: &How, machine: &Machine, version: &Updated) -> Result<()> {
    machine
        .wait(State::Settled)
        .version(&version.instance_id)
        .since(Some(&version.baseline_event))
        .within(how.wait)
        .await
        .map(drop)
}

/// Waits until a version is started and its checks pass.
async fn healthy(how: &How, machine: &Machine, updated: &Updated) -> Result<()> {
    let since = Some(updated.baseline_event.as_str());
    machine
        .wait(State::Started)
        .version(&updated.instance_id)
        .since(since)
        .within(how.wait)
        .await?;
    if how.verify.checks {
        machine
            .wait_healthy()
            .version(&updated.instance_id)
            .since(since)
            .critical_after(how.critical_after.unwrap_or_default())
            .within(how.wait)
            .await?;
    }
    Ok(())
}

/// Gives a Machine back the configuration from before an update.
///
/// # Errors
///
/// If it does not get it, or does not come back with it.
pub async fn undo(how: &How, machine: &Machine, updated: &Updated, drained: bool) -> Result<()> {
    let before = Before::of(machine);
    let now = machine.refresh().await?;
    if now.instance_id != updated.previous {
        let mut restore = machine
            .restore(&updated.previous)
            .expected(&updated.instance_id)
            .launch(before.up);
        if drained {
            restore = restore.cordoned(true);
        }
        let restored = restore.await?;
        let ended = now.is(State::Failed) || !Before::of(&now).up;
        if before.up && ended {
            // Fly leaves a new version of what is not started stopped.
            rested(how, machine, &restored).await?;
            machine.start().await?;
        }
        if before.up {
            match healthy(how, machine, &restored).await {
                // The run is being interrupted: there is no time left to look.
                Err(error) if error.kind() == Kind::Cancelled => {}
                other => other?,
            }
        }
    }
    back_in_service(machine, drained).await
}

/// Whether it is the host of a Machine that does not take the change.
fn refused_by_host(error: &Error) -> bool {
    error.kind() == Kind::Capacity
        || (error.kind() == Kind::Unavailable && error.message().contains("takes no changes"))
}

/// Makes a new Machine in the place of one that cannot be updated.
async fn replace(
    host: &Host,
    target: &Target,
    how: &How,
    machine: &Machine,
    refused: Error,
) -> Became {
    let before = Before::of(machine);
    let drained = before.serves && how.drain.is_some();
    host.item(&machine.id).working("being replaced");
    let new = async {
        let change = target.change_for(machine)?;
        made(host, target, how, machine, change, before.up).await
    };
    let new = match new.await {
        Ok(new) => new,
        Err(error) => return as_it_was(machine, drained, both(&refused, &error)).await,
    };
    let served = before.serves || (machine.services > 0 && !machine.cordoned);
    let swapped = async {
        if served {
            new.uncordon().await?;
        }
        machine.destroy().await
    };
    match swapped.await {
        Ok(()) => Became::Replaced(new.id.clone()),
        Err(error) => Became::Failed(None, both(&refused, &error)),
    }
}

/// Makes a cordoned Machine at the target and waits for its checks; one that fails is destroyed.
///
/// # Errors
///
/// If it cannot be made, or does not come up.
pub async fn made(
    host: &Host,
    target: &Target,
    how: &How,
    pattern: &Machine,
    change: Change,
    launch: bool,
) -> Result<Machine> {
    let create = host.create_like(pattern, change).cordoned(true);
    let create = create
        .launch(launch)
        .min_secrets_version(target.min_secrets_version);
    let Created { machine, baseline } = create.send().await?;
    let updated = Updated {
        instance_id: machine.instance_id.clone(),
        previous: String::new(),
        baseline_event: baseline,
    };
    let up = if launch {
        healthy(how, &machine, &updated).await
    } else {
        let waited = machine.wait(State::Settled).within(how.wait).await;
        waited.map(drop)
    };
    match up {
        Ok(()) => Ok(machine),
        Err(error) => match machine.destroy().await {
            Ok(()) => Err(error),
            Err(also) => Err(both(&error, &also)),
        },
    }
}

/// One failure, and one of the attempt to deal with it.
#[must_use]
pub fn both(first: &Error, then: &Error) -> Error {
    Error::new(first.kind(), format!("{first}; and then: {then}"))
}
