//! Looking at Machines without a run.

use std::sync::Arc;

use groundcrew::{Capability, Mode, Request, Setting, arguments};

use super::contract::{Filter, Machine, Scope};
use super::machines::{ListArguments, Listing, Machines, row};

/// The Machines of an app, for people who look: one listing, with the retries of any read.
///
/// # Errors
/// As the plugin would see it.
pub async fn list_machines(
    target: &groundcrew::Target,
    app: &str,
) -> Result<Vec<Machine>, groundcrew::Failure> {
    let listing = look(target, Scope::App(app.to_owned())).await?;
    Ok(listing.machines)
}

/// How many Machines the target's organisation has; none if it names no organisation.
///
/// # Errors
/// Why the Machines API does not answer.
pub async fn reachable(target: &groundcrew::Target) -> Result<Option<usize>, groundcrew::Failure> {
    if target.organisation.is_none() {
        return Ok(None);
    }
    Ok(Some(
        look(target, Scope::Organisation).await?.machines.len(),
    ))
}

async fn look(target: &groundcrew::Target, scope: Scope) -> Result<Listing, groundcrew::Failure> {
    use groundcrew::Failure;
    let unlinked = |e: String| Failure::other("client", e);
    let clock: Arc<dyn groundcrew::Clock> = Arc::new(groundcrew::RealClock::new(
        jiff::Timestamp::UNIX_EPOCH,
        target.time_scale,
    ));
    let setting = Setting {
        run: "look".into(),
        target: target.clone(),
        mode: Mode::Perform,
        clock: clock.clone(),
        seed: 0,
        deadline: groundcrew::Deadline::never(clock),
        commons: groundcrew::Commons::default(),
        sealed: groundcrew::Sealed::default(),
    };
    let executor = Machines.executor(&setting).map_err(unlinked)?;
    let all = ListArguments {
        scope,
        filter: Filter::default(),
    };
    let request = Arc::new(Request::new(row("list")).with(arguments(&all)));
    let id = groundcrew::EffectId {
        run: "look".into(),
        step: "list".into(),
        number: 1,
    };
    let effect = groundcrew::Effect {
        id,
        request,
        baseline: None,
        cover: groundcrew::Cover::all(),
        cancel: tokio_util::sync::CancellationToken::new(),
    };
    let json = executor.perform(effect).await.result?;
    serde_json::from_str(&json).map_err(|e| unlinked(e.to_string()))
}
