//! How one Machine is made, and how one is destroyed.
//!
//! A new one is made out of the proxy's service and comes into it when its checks pass; one that
//! does not get there is destroyed again. An old one leaves the service before it is stopped, and
//! comes back into it if it is not stopped after all.

use groundcrew_plugin::{Change, Error, Host, Machine, Result, State};

use crate::Input;
use crate::plan::New;

/// What became of one Machine.
pub(crate) struct Became {
    /// Its id, if it ever was there.
    pub(crate) id: Option<String>,
    pub(crate) result: Result<()>,
}

/// Makes one and brings it into service.
pub(crate) async fn make(host: &Host, input: &Input, new: &New) -> Became {
    host.item(&new.name).working("being made");
    let serves = new.pattern.services > 0;
    let create = host.create_like(&new.pattern, Change::default());
    let create = create.region(&new.region).cordoned(serves);
    let created = match create.send().await {
        Ok(created) => created,
        Err(error) => {
            return Became {
                id: None,
                result: Err(error),
            };
        }
    };
    let id = &created.machine.id;
    host.item(&new.name)
        .working(format!("waiting for the checks of {id}"));
    let result = match created
        .into_service(input.wait_timeout.duration(), serves)
        .await
    {
        Ok(()) => Ok(()),
        Err(error) => Err(take_back(&created.machine, error).await),
    };
    Became {
        id: Some(id.clone()),
        result,
    }
}

/// Destroys a new one that is not to stay, and says so.
async fn take_back(made: &Machine, error: Error) -> Error {
    let why = match made.destroy().await {
        Ok(()) => format!("it was destroyed again: {error}"),
        Err(left) => format!("{error}; it is still there: {left}"),
    };
    Error::new(error.kind(), why)
}

/// Destroys one. Holds its lease meanwhile, so that nobody else changes it; a host that is not
/// reached cannot give one, and then nobody can change it anyway.
pub(crate) async fn destroy(host: &Host, input: &Input, machine: &Machine) -> Became {
    Became {
        id: Some(machine.id.clone()),
        result: lease_and_destroy(host, input, machine).await,
    }
}

async fn lease_and_destroy(host: &Host, input: &Input, machine: &Machine) -> Result<()> {
    if !machine.is_reachable() {
        host.item(&machine.id).working("destroying");
        return machine.destroy().await;
    }
    let work = leave_and_destroy(host, input, machine);
    machine.under_lease(host, work).await
}

async fn leave_and_destroy(host: &Host, input: &Input, listed: &Machine) -> Result<()> {
    // The proxy may have started it since it was listed, or somebody else stopped it.
    let machine = listed.refresh().await?;
    if is_at_rest(&machine) {
        host.item(&machine.id).working("destroying");
        return machine.destroy().await;
    }
    let serves = machine.services > 0 && !machine.cordoned;
    if serves {
        host.item(&machine.id).working("leaving service");
        machine.cordon().await?;
    }
    if let Err(error) = drain_and_stop(host, input, &machine, serves).await {
        return Err(back_in_service(&machine, serves, error).await);
    }
    let stopped = machine.wait(State::Stopped);
    stopped
        .within(input.wait_timeout.duration())
        .await
        .map_err(|error| but("it was told to stop and is out of service", &error))?;
    host.item(&machine.id).working("destroying");
    let destroyed = machine.destroy().await;
    destroyed.map_err(|error| but("it has stopped and is still there", &error))
}

/// Gives the proxy time to notice that it has left, and tells it to stop.
async fn drain_and_stop(host: &Host, input: &Input, machine: &Machine, serves: bool) -> Result<()> {
    if serves && !input.drain.duration().is_zero() {
        host.sleep(input.drain.duration()).await?;
    }
    host.item(&machine.id).working("stopping");
    let stop = machine.stop();
    stop.timeout(input.stop_timeout.map(Into::into)).await
}

/// It was not stopped: what was done to prepare that is taken back.
async fn back_in_service(machine: &Machine, serves: bool, error: Error) -> Error {
    if !serves {
        return error;
    }
    match machine.uncordon().await {
        Ok(()) => error,
        Err(also) => Error::new(
            error.kind(),
            format!("{error}; it stays out of service: {also}"),
        ),
    }
}

/// Nothing runs in it that could be stopped.
fn is_at_rest(machine: &Machine) -> bool {
    let rests = ["created", "stopped", "suspended", "failed", "launch_failed"];
    rests.contains(&machine.state.as_str())
}

fn but(what: &str, error: &Error) -> Error {
    Error::new(error.kind(), format!("{what}: {error}"))
}
