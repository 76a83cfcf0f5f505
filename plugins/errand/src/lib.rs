//! A Machine that is made for one command, in an app's environment, and destroyed after it.
//!
//! The plugins `one-off` and `release-command` share it. It is a crate of its own, and no plugin,
//! because a component can export only one. `config.rs` has what the Machine is made of, `report.rs`
//! what comes out; this file is the procedure: choose a pattern, make, wait, read, destroy.
//!
//! What the command prints goes to the app's logs and is not here: the Machines API does not give
//! logs away.

mod config;
mod report;

use std::time::Duration;

use groundcrew_plugin::{Created, Error, Event, Host, Kind, Machine, Result, State};

pub use config::{Variable, Work};
use report::Run;
pub use report::{Outcome, Report};

/// The event of the exit may be shown a little later than the state.
const LOOKS: u32 = 5;
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// As many as the contract gives at once.
const EVENTS: u32 = 50;

/// Does it: a report if the command has ended with 0 and nothing is left behind.
///
/// # Errors
///
/// With the report as output once the Machine was asked for.
pub async fn run(host: &Host, work: &Work) -> Result<Report> {
    work.check()?;
    let pattern = pattern(host, work).await?;
    host.expect(1, "machines");
    let began = host.now();
    let create = host.create_like(&pattern, work.change());
    let create = match &work.region {
        Some(region) => create.region(region),
        None => create,
    };
    let created = create.send().await?;
    let id = &created.machine.id;
    host.item(id).working("running the command");
    let result = follow(host, work, &created).await;
    let duration = host.now().saturating_sub(began);
    // Whatever happened: nobody else knows of it.
    let destroyed = created.machine.destroy().await;
    if let Err(error) = &destroyed {
        host.warn(&format!("{id}: it is still there: {error}"));
    }
    let run = Run {
        pattern: &pattern,
        created: &created,
        duration,
        result,
        destroyed,
    };
    run.conclude(host)
}

/// The Machine whose configuration the new one gets: the first started one of the group, by id,
/// or, when the group is at rest, the first whose configuration is known.
async fn pattern(host: &Host, work: &Work) -> Result<Machine> {
    let mut listed = host
        .machines(&work.app)
        .group([work.pattern_group.clone()])
        .list()
        .await?;
    listed.retain(|machine| machine.is_reachable() && !machine.is_standby());
    let first = listed
        .into_iter()
        .min_by_key(|machine| (!machine.is(State::Started), machine.id.clone()));
    first.ok_or_else(|| {
        Error::new(
            Kind::NotFound,
            format!(
                "no reachable Machine in the group `{}` of app `{}` to take the configuration from",
                work.pattern_group, work.app
            ),
        )
    })
}

/// Waits until the Machine has stopped by itself, and reads how.
async fn follow(host: &Host, work: &Work, created: &Created) -> Result<Event> {
    let machine = &created.machine;
    machine
        .wait(State::Stopped)
        .version(&machine.instance_id)
        .since(created.since())
        .within(work.timeout)
        .await?;
    for look in 0..LOOKS {
        if look > 0 {
            host.sleep(BETWEEN_LOOKS).await?;
        }
        let events = machine.events(EVENTS).await?;
        if let Some(exit) = events.into_iter().find(|event| event.kind == "exit") {
            return Ok(exit);
        }
    }
    Err(Error::new(
        Kind::Other,
        "it has stopped, and none of its events is an exit",
    ))
}
