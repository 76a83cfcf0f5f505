//! A run that is alive is alive seen from a container too: a process's number means something only
//! where it was given.

#![cfg(target_os = "linux")]

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use groundcrew_tests::{Said, World, fleet};
use serde_json::Value;
use tokio::process::{Child, Command};

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

/// Longer than a claim lives without a heartbeat.
const CLAIM: Duration = Duration::from_secs(31);

/// A PID namespace of its own, with its own `/proc` and with that of outside, as `unshare` makes it here:
/// for root, or for anybody where users may make namespaces.
async fn namespaces() -> Result<Vec<Vec<&'static str>>> {
    const FORK: &str = "--kill-child";
    for user in [&[][..], &["--map-root-user"]] {
        let own = [user, &["--pid", "--mount-proc", FORK]].concat();
        let made = Command::new("unshare").args(&own).arg("true").status();
        if made.await.is_ok_and(|status| status.success()) {
            let outer = [user, &["--pid", FORK]].concat();
            return Ok(vec![own, outer]);
        }
    }
    eprintln!("`unshare` makes no PID namespace here: this was tried with made-up holders only");
    Ok(Vec::new())
}

/// The command, in a namespace.
fn within(world: &World, namespace: &[&str], arguments: &[&str]) -> Result<Command> {
    let inner = world.command(arguments)?;
    let inner = inner.as_std();
    let mut outer = Command::new("unshare");
    outer
        .args(namespace)
        .arg(inner.get_program())
        .args(inner.get_args())
        .env_clear()
        .envs(
            inner
                .get_envs()
                .filter_map(|(key, value)| Some((key, value?))),
        )
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    Ok(outer)
}

async fn said(world: &World, mut command: Command) -> Result<Said> {
    let child = command.spawn()?;
    world.finish(child).await
}

/// Begins a run, and returns when it is under way.
async fn begun(world: &World, mut command: Command) -> Result<(Child, String)> {
    let child = command.spawn()?;
    world.until_applied("machines.restart", 3).await?;
    Ok((child, world.newest_run().await?))
}

/// What must not happen to a run that may be alive; `seen` does a command from elsewhere.
async fn alive(
    world: &World,
    run: &str,
    seen: impl AsyncFn(&[&str]) -> Result<Said>,
) -> Result<()> {
    let listed = seen(&["runs", "list", "--json"]).await?;
    let first: Value = serde_json::from_str(listed.out.lines().next().context("no run")?)?;
    ensure!(
        first["run"] == run && first["status"] == "running",
        "{listed:?}"
    );
    let bundle = world.project().join("run.bundle").display().to_string();
    for refused in [
        &["resume", run][..],
        &["runs", "cancel", run],
        &["runs", "export", run, "-o", &bundle],
    ] {
        let said = seen(refused).await?;
        ensure!(said.code == 4, "{refused:?}: {said:?}");
        ensure!(said.err.contains("may still be working on it"), "{said:?}");
    }
    Ok(())
}

/// Each Machine has been restarted once, by whichever process.
fn once_each(world: &World) -> Result<()> {
    let machines = world.started("web", "web")?.len() + world.started("web", "worker")?.len();
    let done = world.applied("machines.restart").len();
    ensure!(done == machines, "{done} of {machines}");
    world.verify()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_run_is_alive_from_another_namespace() -> Result<()> {
    let namespaces = namespaces().await?;
    let world = World::start(fleet(60, 7), 2.0).await?;
    let (child, run) = begun(&world, world.command(&RESTART)?).await?;
    for namespace in &namespaces {
        alive(&world, &run, async |arguments: &[&str]| {
            said(&world, within(&world, namespace, arguments)?).await
        })
        .await?;
    }
    let ended = world.finish(child).await?;
    ensure!(ended.code == 0, "{ended:?}");
    once_each(&world)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_in_a_namespace_is_alive_from_outside_until_its_claim_expires() -> Result<()> {
    for namespace in namespaces().await? {
        let world = World::start(fleet(60, 7), 2.0).await?;
        let inside = within(&world, &namespace, &RESTART)?;
        let (mut child, run) = begun(&world, inside).await?;
        let outside = async |arguments: &[&str]| world.run(arguments).await;
        alive(&world, &run, outside).await?;
        // Its process is gone now, and nobody outside can know that.
        child.kill().await?;
        alive(&world, &run, outside).await?;
        tokio::time::sleep(CLAIM).await;
        let resumed = world.run(&["resume", &run]).await?;
        ensure!(resumed.code == 0, "{resumed:?}");
        once_each(&world)?;
    }
    Ok(())
}

/// As those two, where no namespace can be made: the store says that it was begun elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_begun_elsewhere_is_not_known_to_be_gone() -> Result<()> {
    let world = World::start(fleet(60, 7), 2.0).await?;
    let (mut child, run) = begun(&world, world.command(&RESTART)?).await?;
    child.kill().await?;
    let store = rusqlite::Connection::open(world.state().join("groundcrew.sqlite"))?;
    let holder =
        |holder: &str| store.execute("UPDATE run SET holder = ?1 WHERE id = ?2", [holder, &run]);
    let own: String = store.query_row("SELECT holder FROM run WHERE id = ?1", [&run], |row| {
        row.get(0)
    })?;
    let outside = async |arguments: &[&str]| world.run(arguments).await;
    for (field, other) in [
        ("namespace", "pid:[1]"),
        ("namespace", ""),
        ("host", "other"),
        ("boot", "other 1"),
        ("boot", ""),
    ] {
        let mut elsewhere: Value = serde_json::from_str(&own)?;
        elsewhere[field] = other.into();
        holder(&elsewhere.to_string())?;
        alive(&world, &run, outside)
            .await
            .with_context(|| elsewhere.to_string())?;
    }
    // And nobody that is known, as a store of an older version has it.
    holder("")?;
    alive(&world, &run, outside).await?;
    // Here it is known, at once.
    holder(&own)?;
    let resumed = world.run(&["resume", &run]).await?;
    ensure!(resumed.code == 0, "{resumed:?}");
    once_each(&world)
}

/// Whoever takes a run over is its holder from then on: those that saw its first process dead do not
/// take it from the second.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_see_a_process_dead_one_goes_on() -> Result<()> {
    let world = World::start(fleet(60, 7), 2.0).await?;
    let (mut child, run) = begun(&world, world.command(&RESTART)?).await?;
    child.kill().await?;
    let resumed = world.at_once(6, &["resume", &run]).await?;
    let won: Vec<&Said> = resumed.iter().filter(|said| said.code == 0).collect();
    ensure!(won.len() == 1, "{} went on: {resumed:?}", won.len());
    for said in resumed.iter().filter(|said| said.code != 0) {
        ensure!(
            said.code == 4 && said.err.contains("may still be working on it"),
            "{said:?}"
        );
    }
    once_each(&world)
}
