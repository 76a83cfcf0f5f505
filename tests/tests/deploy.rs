//! Deploys by the bundled runbooks: whatever goes wrong, each ends in a state that somebody would want
//! to find at three in the morning, and says which.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use groundcrew_fleet::{Extremes, api};
use groundcrew_tests::{READ_CANARY, Said, World, fleet};

const NEW: &str = "registry.fly.io/web:deployment-2";

/// What a Machine is, as far as a deploy is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Is {
    group: String,
    state: String,
    image: String,
    cordoned: bool,
}

fn machines(world: &World) -> Result<BTreeMap<String, Is>> {
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

async fn watched(machines: usize, seed: u64, scale: f64) -> Result<World> {
    let world = World::start(fleet(machines, seed), scale).await?;
    world.simulator.act(|fleet| fleet.watch_service("web"));
    Ok(world)
}

fn extremes(world: &World) -> Result<Extremes> {
    let seen = world.simulator.act(|fleet| fleet.service_extremes("web"));
    seen.context("nobody watched")
}

/// Runs a runbook on the app `web`.
async fn run(world: &World, command: &str, runbook: &str, inputs: &[&str]) -> Result<Said> {
    let mut arguments = vec![command, runbook, "-i", "app=web"];
    for input in inputs {
        arguments.extend(["-i", input]);
    }
    if command == "run" {
        arguments.push("--yes");
    }
    world.run(&arguments).await
}

fn image(image: &str) -> String {
    format!("image={image}")
}

/// All of them as they were before, but for the image.
fn is_deployed(before: &BTreeMap<String, Is>, after: &BTreeMap<String, Is>) -> Result<()> {
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

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_deploy_keeps_most_machines_in_service() -> Result<()> {
    let world = watched(60, 7, 20.0).await?;
    let before = machines(&world)?;
    let said = run(&world, "run", "deploy-rolling", &[&image(NEW)]).await?;
    ensure!(said.code == 0, "{said:?}");
    is_deployed(&before, &machines(&world)?)?;
    let count = |group: &str| {
        before
            .values()
            .filter(|m| m.group == group && m.state == "started")
            .count() as u64
    };
    for (group, seen) in extremes(&world)?.groups {
        let started = count(&group);
        let least = started - (started * 33 / 100).max(1);
        ensure!(
            seen.least_serving >= least,
            "{group}: {seen:?}, of {started}"
        );
        ensure!(seen.most_machines == before.values().filter(|m| m.group == group).count() as u64);
    }
    // Once more there is nothing left to do.
    let writes = world.writes();
    let again = run(&world, "run", "deploy-rolling", &[&image(NEW)]).await?;
    ensure!(again.code == 0 && world.writes() == writes, "{again:?}");
    world.verify()
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_images_are_taken_back() -> Result<()> {
    for (bad, reason) in [
        ("web:sim-crash-loop", "exit"),
        ("web:sim-unhealthy", "check"),
        ("web:unpullable", "cannot be pulled"),
    ] {
        let world = watched(24, 3, 40.0).await?;
        let before = machines(&world)?;
        let bad = image(&format!("registry.fly.io/{bad}"));
        let said = run(&world, "run", "deploy-rolling", &[&bad]).await?;
        ensure!(
            said.code == 1 && said.err.contains(reason),
            "{bad}: {said:?}"
        );
        ensure!(
            machines(&world)? == before,
            "{bad}: {:#?}",
            machines(&world)?
        );
        world.verify()?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_immediate_deploy_follows_every_machine_to_its_end() -> Result<()> {
    let world = watched(60, 5, 20.0).await?;
    let before = machines(&world)?;
    let said = run(&world, "run", "deploy-immediate", &[&image(NEW)]).await?;
    ensure!(said.code == 0, "{said:?}");
    is_deployed(&before, &machines(&world)?)?;
    world.verify()?;
    // One that fails does not stop the others, and is named.
    let bad = image("registry.fly.io/web:sim-crash-loop");
    let said = run(&world, "run", "deploy-immediate", &[&bad, "groups=worker"]).await?;
    ensure!(said.code == 1 && said.err.contains("failed"), "{said:?}");
    world.verify()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_that_dies_leaves_everything_as_it_was() -> Result<()> {
    let world = watched(24, 9, 40.0).await?;
    let before = machines(&world)?;
    let bad = image("registry.fly.io/web:sim-sickens");
    let said = run(&world, "run", "deploy-canary", &[&bad, "hold=30s"]).await?;
    ensure!(said.code == 1 && said.err.contains("canary"), "{said:?}");
    ensure!(machines(&world)? == before, "{said:?}");
    let said = run(&world, "run", "deploy-canary", &[&image(NEW), "hold=5s"]).await?;
    ensure!(said.code == 0, "{said:?}");
    is_deployed(&before, &machines(&world)?)?;
    for (group, seen) in extremes(&world)?.groups {
        let there = before.values().filter(|m| m.group == group).count() as u64;
        ensure!(seen.most_machines == there + 1, "{group}: {seen:?}");
    }
    world.verify()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_rehearsed_with_a_token_that_reads_is_what_is_applied() -> Result<()> {
    for runbook in ["deploy-rolling", "deploy-immediate", "deploy-canary"] {
        let mut world = watched(24, 4, 40.0).await?;
        let before = machines(&world)?;
        world.use_token(READ_CANARY);
        let file = world.project().join("deploy.plan");
        let file = file.display().to_string();
        let new = image(NEW);
        let said = world
            .run(&["plan", runbook, "-i", "app=web", "-i", &new, "-o", &file])
            .await?;
        ensure!(said.code == 0, "{runbook}: {said:?}");
        ensure!(world.writes() == 0, "{runbook}: a rehearsal writes");
        world.use_token(groundcrew_tests::CANARY);
        let said = world.run(&["apply", &file]).await?;
        ensure!(said.code == 0, "{runbook}: {said:?}");
        is_deployed(&before, &machines(&world)?).context(runbook)?;
        world.verify().context(runbook)?;
    }
    Ok(())
}
