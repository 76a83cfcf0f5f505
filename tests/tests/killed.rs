//! The real binary, killed and stopped by the system at random moments, and resumed.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use groundcrew_tests::{World, fleet};
use rand::{RngExt, SeedableRng};
use serde_json::Value;

const RESTART: [&str; 9] = [
    "run",
    "restart-by-group",
    "-i",
    "app=web",
    "-i",
    "group=",
    "-i",
    "parallel=5",
    "--yes",
];

/// The newest run: its id and how it stands.
async fn newest(world: &World) -> Result<Option<(String, String)>> {
    let said = world.run(&["runs", "list", "--json"]).await?;
    let Some(line) = said.out.lines().next() else {
        return Ok(None);
    };
    let line: Value = serde_json::from_str(line)?;
    let field = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
    let empty = line["entries"] == 0;
    Ok(Some((field("run"), field("status"))).filter(|_| !empty))
}

/// Kills so often, in as many runs as that takes; each is resumed until it ends.
async fn kills(seed: u64, wanted: usize) -> Result<()> {
    let mut random = rand_pcg::Pcg64::seed_from_u64(seed);
    let mut kills = 0;
    let mut runs = 0;
    while kills < wanted {
        runs += 1;
        let world = World::start(fleet(60, seed * 100 + runs), 4.0).await?;
        let machines = world.started("web", "web")?.len() + world.started("web", "worker")?.len();
        loop {
            let arguments = match newest(&world).await? {
                Some((_, status)) if status == "succeeded" => break,
                Some((run, status)) => {
                    if status != "interrupted" {
                        let shown = world.run(&["audit", "show", &run]).await?.out;
                        let failed = shown.lines().filter(|line| line.contains("fail"));
                        let failed: Vec<&str> = failed.collect();
                        bail!("seed {seed}, run {runs}: {status}: {failed:#?}");
                    }
                    vec!["resume".to_owned(), run]
                }
                None => RESTART.iter().map(|word| (*word).to_owned()).collect(),
            };
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let mut child = world.command(&arguments)?.spawn()?;
            let life = Duration::from_millis(random.random_range(30..900));
            if tokio::time::timeout(life, child.wait()).await.is_err() {
                child.kill().await?;
                kills += 1;
            }
        }
        let restarted = world.applied("machines.restart").len();
        ensure!(
            restarted == machines,
            "seed {seed}, run {runs}: {restarted} of {machines}"
        );
        world
            .verify()
            .with_context(|| format!("seed {seed}, run {runs}"))?;
    }
    eprintln!("{kills} kills in {runs} runs");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_kills() -> Result<()> {
    kills(1, 100).await
}

#[tokio::test(flavor = "multi_thread")]
async fn another_hundred_kills() -> Result<()> {
    kills(2, 100).await
}

/// A process that was stopped for so long that its run was taken over does nothing when it wakes.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_wakes_after_a_takeover_does_nothing() -> Result<()> {
    let world = World::start(fleet(60, 7), 2.0).await?;
    let machines = world.started("web", "web")?.len() + world.started("web", "worker")?.len();
    let sleeper = world.command(&RESTART)?.spawn()?;
    world.until_applied("machines.restart", 3).await?;
    let process = sleeper.id().unwrap_or_default().to_string();
    let signal = async |name: &str| {
        let mut kill = tokio::process::Command::new("kill");
        kill.args([name, &process]).status().await
    };
    // Not in the middle of a change to the store: nobody could change it then.
    let store = world.state().join("groundcrew.sqlite");
    loop {
        signal("-STOP").await?;
        let probe = rusqlite::Connection::open(&store)?;
        if probe.execute_batch("BEGIN IMMEDIATE; ROLLBACK").is_ok() {
            break;
        }
        signal("-CONT").await?;
    }
    let (run, status) = newest(&world).await?.context("no run")?;
    ensure!(status == "running", "{status}");
    let early = world.run(&["resume", &run]).await?;
    ensure!(
        early.code == 4 && early.err.contains("may still be working on it"),
        "{early:?}"
    );
    // A claim lives half a minute without a heartbeat.
    tokio::time::sleep(Duration::from_secs(31)).await;
    let resumed = world.run(&["resume", &run]).await?;
    ensure!(resumed.code == 0, "{resumed:?}");
    let done = world.applied("machines.restart").len();
    ensure!(done == machines, "{done} of {machines}");
    let requests = world.writes();
    signal("-CONT").await?;
    let woken = world.finish(sleeper).await?;
    ensure!(woken.code == 5, "{woken:?}");
    ensure!(
        woken.err.contains("another process has taken it over"),
        "{woken:?}"
    );
    ensure!(
        world.writes() == requests,
        "it sent something after it woke"
    );
    world.verify()
}

/// As a person would: killed, listed, shown, resumed; and moved to another place on the way.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_run_can_be_taken_along() -> Result<()> {
    let world = World::start(fleet(60, 7), 2.0).await?;
    let mut child = world.command(&RESTART)?.spawn()?;
    world.until_applied("machines.restart", 4).await?;
    child.kill().await?;
    let (run, _) = newest(&world).await?.context("no run")?;
    let locked = world.run(&RESTART).await?;
    ensure!(locked.code == 4, "{locked:?}");
    ensure!(
        locked.err.contains(&format!("groundcrew resume {run}")),
        "{locked:?}"
    );
    let bundle = world.project().join("run.bundle").display().to_string();
    let exported = world.run(&["runs", "export", &run, "-o", &bundle]).await?;
    ensure!(
        exported.code == 0 && exported.err.contains("closed here"),
        "{exported:?}"
    );
    // Not here any more, by whatever way.
    for arguments in [&["resume", &run][..], &["runs", "cancel", &run]] {
        let closed = world.run(arguments).await?;
        ensure!(
            closed.code == 4 && closed.err.contains("was exported: it goes on elsewhere"),
            "{closed:?}"
        );
    }
    let here = world.run(&["resume", "--from", &bundle, "--yes"]).await?;
    ensure!(here.code == 5 && here.err.contains("already"), "{here:?}");
    let (_, status) = newest(&world).await?.context("no run")?;
    ensure!(status == "exported", "{status}");
    // Nobody who does not know the key, and nobody who has not been asked.
    let elsewhere = world.project().join("elsewhere").display().to_string();
    let other = world.project().join("other").display().to_string();
    let strange = world
        .run(&["resume", "--from", &bundle, "--yes", "--key", &other])
        .await?;
    ensure!(
        strange.code == 4 && strange.err.contains("whose key is not known here"),
        "{strange:?}"
    );
    let unasked = world
        .run(&["resume", "--from", &bundle, "--state-dir", &elsewhere])
        .await?;
    ensure!(
        unasked.code == 4
            && unasked.err.contains("has to be confirmed")
            && unasked
                .err
                .contains("can be taken up in more than one store")
            && unasked.err.contains("This run may write:"),
        "{unasked:?}"
    );
    let done = world.writes();
    let read = world.run(&["audit", "show", "--from", &bundle]).await?;
    ensure!(
        read.code == 0 && read.out.contains("run-opened") && read.err.contains("signed by"),
        "{read:?}"
    );
    // Taken back and exported once more: a journal is not changed by that.
    let reopened = world.run(&["runs", "reopen", &run]).await?;
    ensure!(
        reopened.code == 4 && reopened.err.contains("is done twice"),
        "{reopened:?}"
    );
    let reopened = world.run(&["runs", "reopen", &run, "--yes"]).await?;
    ensure!(reopened.code == 0, "{reopened:?}");
    let bytes = std::fs::read(&bundle)?;
    let exported = world.run(&["runs", "export", &run, "-o", &bundle]).await?;
    ensure!(exported.code == 0, "{exported:?}");
    ensure!(std::fs::read(&bundle)? == bytes && world.writes() == done);
    let resumed = world
        .run(&[
            "resume",
            "--from",
            &bundle,
            "--yes",
            "--state-dir",
            &elsewhere,
        ])
        .await?;
    ensure!(resumed.code == 0, "{resumed:?}");
    let machines = world.started("web", "web")?.len() + world.started("web", "worker")?.len();
    let done = world.applied("machines.restart").len();
    ensure!(done == machines, "{done} of {machines}");
    // The journal that is left here knows no better: what it tells is true, and not all.
    let shown = world.run(&["runs", "show", &run]).await?;
    ensure!(shown.out.contains("It was exported"), "{shown:?}");
    let shown = world
        .run(&["runs", "show", &run, "--state-dir", &elsewhere])
        .await?;
    ensure!(shown.out.contains("was taken in by tester"), "{shown:?}");
    let verified = world
        .run(&["audit", "verify", "--state-dir", &elsewhere])
        .await?;
    ensure!(verified.code == 0, "{verified:?}");
    Ok(())
}
