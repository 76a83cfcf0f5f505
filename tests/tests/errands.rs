//! What operators do beside deploys: commands on Machines, Machines for one command, other Machines in
//! the place of some, more of them and fewer.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use groundcrew_fleet::{Fate, FaultRule};
use groundcrew_tests::World;
use groundcrew_tests::deploys::{Is, is_as_before, machines, run, watched};
use serde_json::Value;

fn count(world: &World, group: &str) -> Result<usize> {
    Ok(machines(world)?
        .values()
        .filter(|is| is.group == group)
        .count())
}

fn serving(all: &BTreeMap<String, Is>, group: &str) -> usize {
    let serves = |is: &&Is| is.group == group && is.state == "started" && !is.cordoned;
    all.values().filter(serves).count()
}

/// A runbook's report, as programs read it.
async fn report(world: &World, runbook: &str, step: &str, inputs: &[&str]) -> Result<(i32, Value)> {
    let mut arguments = vec!["run", runbook, "--yes", "--json", "-i", "app=web"];
    inputs
        .iter()
        .for_each(|input| arguments.extend(["-i", input]));
    let said = world.run(&arguments).await?;
    let mut lines = said
        .out
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let ended = lines
        .rfind(|line| line.to_string().contains("\"output\"") && line.to_string().contains(step));
    Ok((said.code, ended.with_context(|| format!("{said:?}"))?))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_runs_on_the_chosen_machines_and_its_outputs_are_collected() -> Result<()> {
    let world = watched(12, 3, 60.0).await?;
    let before = machines(&world)?;
    let said = run(&world, "run", "exec-on", &["group=web", "command=uptime"]).await?;
    ensure!(said.code == 0 && said.out.contains("uptime"), "{said:?}");
    let ran = world.applied("machines.exec").len();
    ensure!(ran == serving(&before, "web"), "{ran}");
    let inputs = ["group=web", "command=sh,-c,exit 3"];
    let (code, ended) = report(&world, "exec-on", "exec", &inputs).await?;
    let text = ended.to_string();
    ensure!(
        code == 1 && text.contains("\"exit_code\":3"),
        "{code}: {text}"
    );
    is_as_before(&before, &machines(&world)?)?;
    world.verify()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_for_one_command_is_gone_afterwards_however_it_ended() -> Result<()> {
    let world = watched(12, 4, 60.0).await?;
    let before = machines(&world)?;
    for (command, code, shown) in [
        ("command=rake,db:check", 0, "succeeded"),
        ("command=sh,-c,exit 4", 1, "exit code 4"),
    ] {
        let said = run(&world, "run", "one-off", &["group=web", command]).await?;
        let all = format!("{}{}", said.out, said.err);
        ensure!(said.code == code && all.contains(shown), "{said:?}");
        is_as_before(&before, &machines(&world)?)?;
    }
    // One that does not end is ended.
    let inputs = [
        "group=web",
        "command=sleep,600",
        "image=registry.fly.io/web:sim-slow-boot",
        "command_timeout=20s",
    ];
    let said = run(&world, "run", "one-off", &inputs).await?;
    ensure!(said.code == 1, "{said:?}");
    is_as_before(&before, &machines(&world)?)?;
    world.verify()
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_are_replaced_and_what_is_on_a_dead_host_is_named() -> Result<()> {
    let world = watched(12, 5, 60.0).await?;
    let before = machines(&world)?;
    let web: Vec<&String> = before
        .iter()
        .filter(|(_, is)| is.group == "web" && is.state == "started")
        .map(|(id, _)| id)
        .collect();
    let ids = format!("ids={},{}", web[0], web[1]);
    let said = run(&world, "run", "replace-machine", &[&ids]).await?;
    ensure!(said.code == 0, "{said:?}");
    let after = machines(&world)?;
    ensure!(!after.contains_key(web[0]) && !after.contains_key(web[1]));
    ensure!(
        serving(&after, "web") == serving(&before, "web"),
        "{after:#?}"
    );
    ensure!(after.len() == before.len(), "{after:#?}");
    world.verify()?;
    // The new one is there, and nobody knows whether the old one will go: that is said.
    world
        .simulator
        .act(|fleet| fleet.set_fate("web", web[2], Fate::HostUnreachable));
    let ids = format!("ids={}", web[2]);
    let said = run(&world, "run", "replace-machine", &[&ids]).await?;
    ensure!(
        said.code == 6 && said.err.contains(web[2]) && said.err.contains("still there"),
        "{said:?}"
    );
    world.verify()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_grows_and_shrinks_and_is_never_beyond_what_was_asked_for() -> Result<()> {
    let world = watched(12, 6, 40.0).await?;
    let others = count(&world, "worker")?;
    for wanted in [8, 3, 3, 5] {
        let count_ = format!("count={wanted}");
        let said = run(&world, "run", "scale-group", &["group=web", &count_]).await?;
        ensure!(said.code == 0, "{wanted}: {said:?}");
        ensure!(count(&world, "web")? == wanted, "{wanted}: {said:?}");
        ensure!(count(&world, "worker")? == others);
        world.verify()?;
    }
    let said = run(&world, "run", "scale-group", &["group=web", "count=0"]).await?;
    ensure!(
        said.code == 1 && said.err.contains("allow_zero"),
        "{said:?}"
    );
    ensure!(count(&world, "web")? == 5);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_it_grows_or_shrinks_it_is_resumed() -> Result<()> {
    for (wanted, at) in [(9, ("machines.create", 2)), (2, ("machines.destroy", 1))] {
        let world = watched(12, 7, 40.0).await?;
        let count_ = format!("count={wanted}");
        let arguments = [
            "run",
            "scale-group",
            "--yes",
            "-i",
            "app=web",
            "-i",
            "group=web",
            "-i",
            &count_,
        ];
        let mut child = world.command(&arguments)?.spawn()?;
        world.until_applied(at.0, at.1).await?;
        child.kill().await?;
        let newest = world.newest().await?;
        if newest["status"] != "succeeded" {
            let id = newest["run"].as_str().context("it has no id")?;
            let said = world.run(&["resume", id]).await?;
            ensure!(said.code == 0, "{said:?}");
        }
        ensure!(count(&world, "web")? == wanted, "{:#?}", machines(&world)?);
        world.verify()?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_whose_making_was_answered_late_has_started_meanwhile() -> Result<()> {
    let world = watched(12, 8, 40.0).await?;
    let more = count(&world, "web")? + 1;
    // It is made, and found again only after it has come up.
    let rules = [
        "machines.create@1:reply-lost",
        "machines.create@2:rate-limited(5s)",
        "machines.create@3:rate-limited(5s)",
    ];
    let rules: Result<Vec<FaultRule>, _> = rules.iter().map(|rule| rule.parse()).collect();
    let rules = rules.map_err(|e| anyhow::anyhow!("{e}"))?;
    world.simulator.set_faults(rules);
    let count_ = format!("count={more}");
    let said = run(&world, "run", "scale-group", &["group=web", &count_]).await?;
    ensure!(said.code == 0, "{said:?}");
    ensure!(count(&world, "web")? == more && world.applied("machines.create").len() == 1);
    world.verify()
}

/// An app in regions that no fleet of ours is made of can be rehearsed and deployed as any other.
#[tokio::test(flavor = "multi_thread")]
async fn machines_of_every_region_are_rehearsed() -> Result<()> {
    let settings = groundcrew_fleet::Settings {
        seed: 11,
        start: groundcrew_fleet::Time::from(jiff::Timestamp::now()),
        regions: ["ord", "lhr", "nrt", "mad"].map(str::to_owned).to_vec(),
        ..groundcrew_fleet::Settings::default()
    };
    let made = groundcrew_fleet::Generated {
        machines: 12,
        apps: 1,
        idle_ones: false,
    };
    let world = World::start(groundcrew_fleet::generate(settings, &made), 60.0).await?;
    let before = machines(&world)?;
    let one = before.iter().find(|(_, is)| is.state == "started");
    let ids = format!("ids={}", one.context("nobody")?.0);
    let new = "image=registry.fly.io/web:deployment-2";
    for (runbook, inputs) in [
        ("deploy-bluegreen", &[new][..]),
        ("deploy-canary", &[new]),
        ("replace-machine", &[&ids]),
        ("one-off", &["group=web", "command=uptime"]),
        ("scale-group", &["group=web", "count=9"]),
    ] {
        let mut arguments = vec!["run", runbook, "--dry-run", "-i", "app=web"];
        inputs
            .iter()
            .for_each(|input| arguments.extend(["-i", input]));
        let said = world.run(&arguments).await?;
        ensure!(said.code == 0, "{runbook}: {said:?}");
    }
    let said = run(&world, "run", "deploy-bluegreen", &[new]).await?;
    ensure!(said.code == 0, "{said:?}");
    world.verify()
}
