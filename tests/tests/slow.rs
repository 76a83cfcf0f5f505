//! Time begins when work does: any one answer may take 20 seconds, and nothing is lost, nothing is used
//! up, and no write is refused for its age alone.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use anyhow::{Result, ensure};
use groundcrew_fleet::FaultRule;
use groundcrew_tests::{World, fleet};
use tokio::task::JoinSet;

const RESTART: [&str; 6] = ["-i", "app=web", "-i", "group=web", "--target", "test"];

/// From now on the k-th answer takes longer than a process may go without showing that it is alive.
fn slow(world: &World, kth: usize) -> Result<()> {
    let rule: FaultRule = format!("*@{kth}:slow(20s)")
        .parse()
        .map_err(|e| anyhow::anyhow!("{e}"))?;
    world.simulator.set_faults(vec![rule]);
    Ok(())
}

/// Does it with each answer, at the same time.
async fn at_once<F>(answers: RangeInclusive<usize>, one: impl Fn(usize) -> F) -> Result<()>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let mut all: JoinSet<Result<()>> = answers.map(one).collect();
    while let Some(ended) = all.join_next().await {
        ended??;
    }
    Ok(())
}

/// How often each started Machine of the group was restarted.
fn each_once(world: &World, started: usize) -> Result<()> {
    let applied = world.applied("machines.restart");
    let machines: BTreeSet<&String> = applied.iter().map(|(_, _, id)| id).collect();
    let (times, many) = (applied.len(), machines.len());
    ensure!(
        (times, many) == (started, started),
        "{times} restarts of {many} Machines, of {started}"
    );
    world.verify()
}

async fn run(kth: usize) -> Result<()> {
    let world = World::start(fleet(6, 3), 1.0).await?;
    let started = world.started("web", "web")?.len();
    slow(&world, kth)?;
    let said = world
        .run(&[&["run", "restart-by-group", "--yes"][..], &RESTART].concat())
        .await?;
    ensure!(said.code == 0, "answer {kth}: {said:?}");
    each_once(&world, started)
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_run_is_under_way() -> Result<()> {
    at_once(1..=16, run).await
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_plan_is_applied() -> Result<()> {
    async fn apply(kth: usize) -> Result<()> {
        let world = World::start(fleet(6, 3), 1.0).await?;
        let started = world.started("web", "web")?.len();
        let file = world.project().join("a.plan").display().to_string();
        let plan = [&["plan", "restart-by-group", "-o", &file][..], &RESTART].concat();
        let said = world.run(&plan).await?;
        ensure!(said.code == 0, "{said:?}");
        slow(&world, kth)?;
        let said = world.run(&["apply", &file]).await?;
        ensure!(said.code == 0, "answer {kth}: {said:?}");
        each_once(&world, started)
    }
    at_once(1..=6, apply).await
}

/// A run whose process was killed after its first restart.
async fn killed() -> Result<(World, String)> {
    let world = World::start(fleet(6, 3), 1.0).await?;
    let mut child = world
        .command(&[&["run", "restart-by-group", "--yes"][..], &RESTART].concat())?
        .spawn()?;
    world.until_applied("machines.restart", 1).await?;
    child.kill().await?;
    let run = world.newest_run().await?;
    Ok((world, run))
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_run_is_taken_up_again() -> Result<()> {
    async fn resume(kth: usize) -> Result<()> {
        let (world, run) = killed().await?;
        slow(&world, kth)?;
        let said = world.run(&["resume", &run]).await?;
        ensure!(said.code == 0, "answer {kth}: {said:?}");
        let all = world.started("web", "web")?.len();
        each_once(&world, all)
    }
    at_once(1..=8, resume).await
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_run_is_cancelled() -> Result<()> {
    async fn cancel(kth: usize) -> Result<()> {
        let (world, run) = killed().await?;
        slow(&world, kth)?;
        let said = world.run(&["runs", "cancel", &run]).await?;
        // Nobody finds out what was under way when it was killed: that is said.
        ensure!(matches!(said.code, 0 | 6), "answer {kth}: {said:?}");
        ensure!(said.err.contains("cancelled"), "answer {kth}: {said:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
        world.verify()
    }
    at_once(1..=3, cancel).await
}
