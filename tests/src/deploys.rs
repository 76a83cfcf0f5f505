//! What tests of deploys share.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use groundcrew_fleet::{Extremes, api};

use crate::{Said, World, fleet};

/// What is deployed.
pub const NEW: &str = "registry.fly.io/web:deployment-2";

/// What a Machine is, as far as a deploy is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Is {
    /// Its process group.
    pub group: String,
    /// As Fly spells it.
    pub state: String,
    /// As it was asked for.
    pub image: String,
    /// Whether it is out of service.
    pub cordoned: bool,
}

/// The Machines of the app `web`, by id.
pub fn machines(world: &World) -> Result<BTreeMap<String, Is>> {
    let listed = world
        .simulator
        .act(|fleet| fleet.list("web", &api::ListQuery::default()))
        .map_err(|e| anyhow::anyhow!("{}", e.body.wording()))?;
    let is = |machine: api::Machine| {
        let is = Is {
            group: machine.process_group().to_owned(),
            image: machine.config_view().image().to_owned(),
            state: machine.state,
            cordoned: machine.cordoned,
        };
        (machine.id, is)
    };
    // What is being destroyed is on its way out, and nobody waits for that.
    let stay = |machine: &api::Machine| machine.state != "destroying";
    Ok(listed.into_iter().filter(stay).map(is).collect())
}

/// A world whose app `web` is watched from the start.
pub async fn watched(machines: usize, seed: u64, scale: f64) -> Result<World> {
    let world = World::start(fleet(machines, seed), scale).await?;
    world.simulator.act(|fleet| fleet.watch_service("web"));
    Ok(world)
}

/// What the watch saw.
pub fn extremes(world: &World) -> Result<Extremes> {
    let seen = world.simulator.act(|fleet| fleet.service_extremes("web"));
    seen.context("nobody watched")
}

/// Runs a runbook on the app `web`.
pub async fn run(world: &World, command: &str, runbook: &str, inputs: &[&str]) -> Result<Said> {
    let mut arguments = vec![command, runbook, "-i", "app=web"];
    for input in inputs {
        arguments.extend(["-i", input]);
    }
    if command == "run" {
        arguments.push("--yes");
    }
    world.run(&arguments).await
}

/// A rolling deploy of the group `web` to [`NEW`] that was killed after its second update; its id.
pub async fn killed(world: &World, more: &[&str]) -> Result<String> {
    let image = image(NEW);
    let mut deploy = vec!["run", "deploy-rolling", "--yes", "-i", "app=web"];
    for input in [image.as_str(), "groups=web"].iter().chain(more) {
        deploy.extend(["-i", input]);
    }
    let mut child = world.command(&deploy)?.spawn()?;
    world.until_applied("machines.update", 2).await?;
    child.kill().await?;
    world.newest_run().await
}

/// As an input.
pub fn image(image: &str) -> String {
    format!("image={image}")
}

/// All of them as they were before.
pub fn is_as_before(before: &BTreeMap<String, Is>, after: &BTreeMap<String, Is>) -> Result<()> {
    let new: Vec<_> = after.iter().filter(|m| !before.contains_key(m.0)).collect();
    ensure!(new.is_empty(), "there are more: {new:#?}");
    for (id, was) in before {
        ensure!(after.get(id) == Some(was), "{id}: {:?}", after.get(id));
    }
    Ok(())
}

/// All of them as they were before, but for the image.
pub fn is_deployed(before: &BTreeMap<String, Is>, after: &BTreeMap<String, Is>) -> Result<()> {
    for (id, was) in before {
        let wanted = Is {
            image: NEW.to_owned(),
            ..was.clone()
        };
        ensure!(after.get(id) == Some(&wanted), "{id}: {:?}", after.get(id));
    }
    ensure!(after.len() == before.len(), "{after:#?}");
    Ok(())
}

/// Green everywhere, as many as before and in the same places.
pub fn is_green(before: &BTreeMap<String, Is>, after: &BTreeMap<String, Is>) -> Result<()> {
    let counted = |all: &BTreeMap<String, Is>, image: Option<&str>| {
        let mut counts: BTreeMap<(String, String, String, bool), usize> = BTreeMap::new();
        for is in all.values() {
            let image = image.unwrap_or(&is.image).to_owned();
            let state = match is.state.as_str() {
                // One that was stopped has a green that was never started.
                "created" => "stopped".to_owned(),
                state => state.to_owned(),
            };
            *counts
                .entry((is.group.clone(), state, image, is.cordoned))
                .or_default() += 1;
        }
        counts
    };
    let (wanted, there) = (counted(before, Some(NEW)), counted(after, None));
    ensure!(wanted == there, "{there:#?} is not {wanted:#?}");
    Ok(())
}
