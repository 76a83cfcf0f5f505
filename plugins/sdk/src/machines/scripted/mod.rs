//! Machines in a scripted run: the contract's functions on them. `fleet.rs` has what a test says.

mod fleet;

use crate::bindings::groundcrew::host::machines::{
    CreateOptions, Created, Done, Event, ExecOptions, Executed, Filter, Healthy, HealthyOptions,
    Machine, MachinePage, RestartOptions, RestoreOptions, Scope, StopOptions, UpdateOptions,
    Updated, Version, WaitOptions, Waited,
};
use crate::bindings::groundcrew::host::operations::Failure;
use crate::testing::script::{Call, submit, take, with};

use self::fleet::Fleet;
pub use self::fleet::machine;

/// How the ids of Machines begin that plugins make.
const MADE: &str = "new-";

const DONE: Done = Done {
    baseline_event: None,
};

fn updated() -> Updated {
    Updated {
        instance_id: "02".to_owned(),
        previous: "01".to_owned(),
        baseline_event: "baseline".to_owned(),
    }
}

pub(crate) fn list(scope: &Scope, filter: &Filter) -> u64 {
    with(|script| {
        let op = script.submit(Call {
            options: format!("{scope:?} {filter:?}"),
            ..Call::new("machines.list", "")
        });
        let fleet = script.own::<Fleet>();
        let listed = fleet.list(scope, filter);
        fleet.listed.insert(op, listed);
        op
    })
}

pub(crate) fn take_list(op: u64, offset: u32, max: u32) -> Result<MachinePage, Failure> {
    with(|script| {
        if offset == 0 {
            script.take(op)?;
        }
        let fleet = script.own::<Fleet>();
        let listed = fleet.listed.get(&op);
        let listed = listed.expect("a listing is taken to its end once");
        let total = listed.len();
        let page = listed.iter().skip(offset as usize).take(max as usize);
        let machines: Vec<_> = page.cloned().collect();
        if offset as usize + machines.len() >= total {
            fleet.listed.remove(&op);
        }
        Ok(MachinePage {
            machines,
            total: u32::try_from(total).expect("a test lists fewer"),
            missing_regions: fleet.missing_regions.clone(),
            left_out: fleet.left_out,
        })
    })
}

pub(crate) fn get(_app: &str, id: &str) -> u64 {
    submit(Call::new("machines.get", id))
}

pub(crate) fn take_get(op: u64) -> Result<Machine, Failure> {
    with(|script| {
        let id = script.subject(op);
        script.take(op)?;
        let found = script.own::<Fleet>().find(&id).cloned();
        found.ok_or_else(|| Failure::NotFound(format!("there is no Machine {id}")))
    })
}

pub(crate) fn announce(_app: &str, ids: &[String], makes: u32) -> u64 {
    submit(Call {
        // No write: an interrupt lets it be.
        cleans_up: true,
        ..Call::new("machines.announce", "").options((ids, makes))
    })
}

pub(crate) fn take_announce(op: u64) -> Result<(), Failure> {
    take(op)
}

pub(crate) fn events(_app: &str, id: &str, limit: u32) -> u64 {
    submit(Call::new("machines.events", id).options(limit))
}

pub(crate) fn take_events(op: u64) -> Result<Vec<Event>, Failure> {
    with(|script| {
        let id = script.subject(op);
        script.take(op)?;
        let events = script.own::<Fleet>().events.get(&id);
        Ok(events.cloned().unwrap_or_default())
    })
}

pub(crate) fn versions(_app: &str, id: &str) -> u64 {
    submit(Call::new("machines.versions", id))
}

pub(crate) fn take_versions(op: u64) -> Result<Vec<Version>, Failure> {
    take(op).map(|()| Vec::new())
}

pub(crate) fn lease(_app: &str, id: &str) -> u64 {
    with(|script| {
        let known = script.own::<Fleet>().find(id).cloned();
        let holder = known.as_ref().and_then(|it| it.lease_owner.as_ref());
        let op = script.submit(Call {
            refusal: holder.map(|it| Failure::Conflict(format!("{it} holds the lease"))),
            ..Call::new("machines.lease", id)
        });
        if known.is_some() && script.succeeds(op) {
            let fleet = script.own::<Fleet>();
            fleet.leases.insert(id.to_owned());
            fleet.max_leased = fleet.max_leased.max(fleet.leases.len());
        }
        op
    })
}

pub(crate) fn take_lease(op: u64) -> Result<(), Failure> {
    take(op)
}

pub(crate) fn release(_app: &str, id: &str) -> u64 {
    with(|script| {
        let op = script.submit(Call {
            cleans_up: true,
            ..Call::new("machines.release", id)
        });
        if script.succeeds(op) {
            script.own::<Fleet>().leases.remove(id);
        }
        op
    })
}

pub(crate) fn take_release(op: u64) -> Result<(), Failure> {
    take(op)
}

pub(crate) fn start(_app: &str, id: &str) -> u64 {
    submit(Call::new("machines.start", id))
}

pub(crate) fn take_start(op: u64) -> Result<Done, Failure> {
    take(op).map(|()| DONE)
}

pub(crate) fn stop(_app: &str, id: &str, options: &StopOptions) -> u64 {
    submit(Call::new("machines.stop", id).options(options))
}

pub(crate) fn take_stop(op: u64) -> Result<Done, Failure> {
    take(op).map(|()| DONE)
}

pub(crate) fn restart(_app: &str, id: &str, options: &RestartOptions) -> u64 {
    submit(Call::new("machines.restart", id).options(options))
}

pub(crate) fn take_restart(op: u64) -> Result<Done, Failure> {
    take(op).map(|()| Done {
        baseline_event: Some("baseline".to_owned()),
    })
}

pub(crate) fn suspend(_app: &str, id: &str) -> u64 {
    submit(Call::new("machines.suspend", id))
}

pub(crate) fn take_suspend(op: u64) -> Result<Done, Failure> {
    take(op).map(|()| DONE)
}

pub(crate) fn signal(_app: &str, id: &str, signal: &str) -> u64 {
    submit(Call::new("machines.signal", id).options(signal))
}

pub(crate) fn take_signal(op: u64) -> Result<Done, Failure> {
    take(op).map(|()| DONE)
}

pub(crate) fn cordon(_app: &str, id: &str) -> u64 {
    submit(Call::new("machines.cordon", id))
}

pub(crate) fn take_cordon(op: u64) -> Result<Done, Failure> {
    take(op).map(|()| DONE)
}

pub(crate) fn uncordon(_app: &str, id: &str) -> u64 {
    submit(Call {
        cleans_up: true,
        ..Call::new("machines.uncordon", id)
    })
}

pub(crate) fn take_uncordon(op: u64) -> Result<Done, Failure> {
    take(op).map(|()| DONE)
}

pub(crate) fn set_metadata(_app: &str, id: &str, values: &[(String, Option<String>)]) -> u64 {
    submit(Call::new("machines.set-metadata", id).options(values))
}

pub(crate) fn take_set_metadata(op: u64) -> Result<Done, Failure> {
    take(op).map(|()| DONE)
}

pub(crate) fn update(_app: &str, id: &str, options: &UpdateOptions) -> u64 {
    submit(Call::new("machines.update", id).options(options))
}

pub(crate) fn take_update(op: u64) -> Result<Updated, Failure> {
    take(op).map(|()| updated())
}

pub(crate) fn restore(_app: &str, id: &str, options: &RestoreOptions) -> u64 {
    submit(Call::new("machines.restore", id).options(options))
}

pub(crate) fn take_restore(op: u64) -> Result<Updated, Failure> {
    take(op).map(|()| updated())
}

/// New Machines are `new-1` and so on, by the number of the operation.
pub(crate) fn create(_app: &str, options: &CreateOptions) -> u64 {
    with(|script| {
        let pattern = options.like.as_deref().unwrap_or_default();
        let op = script.submit(Call::new("machines.create", pattern).options(options));
        let region = options.region.clone().unwrap_or_else(|| "fra".to_owned());
        script.own::<Fleet>().regions.insert(op, region);
        op
    })
}

pub(crate) fn take_create(op: u64) -> Result<Created, Failure> {
    with(|script| {
        let pattern = script.subject(op);
        script.take(op)?;
        let fleet = script.own::<Fleet>();
        let region = fleet.regions.remove(&op).unwrap_or_default();
        let id = format!("{MADE}{op}");
        let made = fleet.find(&pattern).map(|pattern| Machine {
            id: id.clone(),
            region: region.clone(),
            ..pattern.clone()
        });
        fleet.track(made, None);
        Ok(Created {
            id,
            name: format!("groundcrew-{op}"),
            region,
            instance_id: "01".to_owned(),
            private_address: None,
            baseline_event: "made".to_owned(),
        })
    })
}

/// What was made here may be destroyed whatever happens: it takes back what was done.
pub(crate) fn destroy(_app: &str, id: &str, force: bool) -> u64 {
    submit(Call {
        cleans_up: id.starts_with(MADE),
        ..Call::new("machines.destroy", id).options(force)
    })
}

pub(crate) fn take_destroy(op: u64) -> Result<Done, Failure> {
    with(|script| {
        let id = script.subject(op);
        script.take(op)?;
        script.own::<Fleet>().track(None, Some(&id));
        Ok(DONE)
    })
}

pub(crate) fn exec(_app: &str, id: &str, options: &ExecOptions) -> u64 {
    submit(Call::new("machines.exec", id).options(options))
}

pub(crate) fn take_exec(op: u64) -> Result<Executed, Failure> {
    let silent = Executed {
        exit_code: 0,
        stdout: String::new(),
        stderr: String::new(),
    };
    with(|script| {
        let id = script.subject(op);
        script.take(op)?;
        let executed = script.own::<Fleet>().executed.get(&id);
        Ok(executed.cloned().unwrap_or(silent))
    })
}

pub(crate) fn wait(_app: &str, id: &str, options: &WaitOptions) -> u64 {
    submit(Call {
        waits: true,
        ..Call::new("machines.wait", id).options(options)
    })
}

pub(crate) fn take_wait(op: u64) -> Result<Waited, Failure> {
    take(op).map(|()| Waited {
        state: "started".to_owned(),
        version: "01".to_owned(),
        event: None,
    })
}

pub(crate) fn wait_healthy(_app: &str, id: &str, options: &HealthyOptions) -> u64 {
    submit(Call {
        waits: true,
        ..Call::new("machines.wait-healthy", id).options(options)
    })
}

pub(crate) fn take_wait_healthy(op: u64) -> Result<Healthy, Failure> {
    take(op).map(|()| Healthy {
        checks: 1,
        started_at: 0,
        healthy_at: 0,
    })
}
