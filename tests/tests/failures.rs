//! Every strategy of deploying against everything that goes wrong, one by one: where the Machines are
//! afterwards, what the command says, and that a second try gets there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use groundcrew_fleet::{Caller, Fate, FaultRule, api};
use groundcrew_tests::deploys::{
    Is, NEW, image, is_as_before, is_deployed, is_green, machines, run, watched,
};
use groundcrew_tests::{Said, World};

const STRATEGIES: [&str; 4] = [
    "deploy-rolling",
    "deploy-canary",
    "deploy-immediate",
    "deploy-bluegreen",
];

/// Small, so that each case takes a second or two.
async fn world(seed: u64) -> Result<World> {
    watched(12, seed, 40.0).await
}

fn faults(world: &World, rules: &[&str]) -> Result<()> {
    let rules: Result<Vec<FaultRule>, _> = rules.iter().map(|rule| rule.parse()).collect();
    let rules = rules.map_err(|e| anyhow::anyhow!("{e}"))?;
    world.simulator.set_faults(rules);
    Ok(())
}

/// All new, in whichever way the strategy gets there.
fn is_new(
    strategy: &str,
    before: &BTreeMap<String, Is>,
    after: &BTreeMap<String, Is>,
) -> Result<()> {
    match strategy {
        "deploy-bluegreen" => is_green(before, after),
        _ => is_deployed(before, after),
    }
}

/// A started Machine of the group that serves.
fn one(before: &BTreeMap<String, Is>) -> Result<&str> {
    let mut serving = before
        .iter()
        .filter(|(_, is)| is.group == "web" && is.state == "started");
    let (id, _) = serving.next_back().context("nobody serves")?;
    Ok(id)
}

/// A deploy that has to fail, and to leave everything as it was; the next one gets there.
async fn fails(strategy: &str, inputs: &[&str], rules: &[&str], reason: &str) -> Result<()> {
    let world = world(3).await?;
    let before = machines(&world)?;
    faults(&world, rules)?;
    let said = run(&world, "run", strategy, inputs).await?;
    ensure!(
        said.code == 1 && said.err.contains(reason),
        "{strategy} {inputs:?} {rules:?}: {said:?}"
    );
    faults(&world, &[])?;
    is_as_before(&before, &machines(&world)?)
        .with_context(|| format!("{strategy} {inputs:?} {rules:?}: {said:?}"))?;
    world.verify()?;
    let said = run(&world, "run", strategy, &[&image(NEW)]).await?;
    ensure!(said.code == 0, "{strategy} again: {said:?}");
    is_new(strategy, &before, &machines(&world)?)?;
    world.verify()
}

/// A deploy that gets there all the same.
async fn succeeds(strategy: &str, rules: &[&str]) -> Result<()> {
    let world = world(4).await?;
    let before = machines(&world)?;
    faults(&world, rules)?;
    let said = run(&world, "run", strategy, &[&image(NEW)]).await?;
    ensure!(said.code == 0, "{strategy} {rules:?}: {said:?}");
    is_new(strategy, &before, &machines(&world)?)
        .with_context(|| format!("{strategy} {rules:?}"))?;
    world.verify()
}

#[tokio::test(flavor = "multi_thread")]
async fn images_that_are_bad() -> Result<()> {
    for strategy in STRATEGIES {
        // An immediate deploy follows every Machine to its end, and goes back only if asked to.
        let back: &[&str] = match strategy {
            "deploy-immediate" => &["rollback=true"],
            _ => &[],
        };
        for (tag, reason) in [
            ("unpullable", ""),
            ("sim-crash-loop", "exit"),
            ("sim-unhealthy", "check"),
        ] {
            let bad = format!("image=registry.fly.io/web:{tag}");
            let inputs = [&[bad.as_str()], back].concat();
            fails(strategy, &inputs, &[], reason).await?;
        }
    }
    Ok(())
}

/// A Machine whose image cannot be pulled destroys itself, and its name is free again: it is not made
/// a second time because nobody said that it was made.
#[tokio::test(flavor = "multi_thread")]
async fn what_destroys_itself_unseen_is_made_once() -> Result<()> {
    let bad = "image=registry.fly.io/web:unpullable";
    for strategy in ["deploy-bluegreen", "deploy-canary"] {
        let rule = "machines.create@100%:timeout-done";
        fails(strategy, &[bad], &[rule], "cannot be pulled").await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_that_pass_and_then_fail() -> Result<()> {
    let bad = "image=registry.fly.io/web:sim-sickens";
    for strategy in STRATEGIES {
        let back: &[&str] = match strategy {
            "deploy-immediate" => &["rollback=true"],
            _ => &[],
        };
        let inputs = [&[bad, "hold=40s"], back].concat();
        let reason = match strategy {
            "deploy-canary" => "canary",
            _ => "in order",
        };
        fails(strategy, &inputs, &[], reason).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_room_at_the_third_create() -> Result<()> {
    for refusal in ["capacity", "no-memory", "quota", "no-capacity"] {
        let rule = format!("machines.create@3:{refusal}");
        fails("deploy-bluegreen", &[&image(NEW)], &[&rule], "").await?;
    }
    // The canary is the first one.
    fails(
        "deploy-canary",
        &[&image(NEW)],
        &["machines.create@1:capacity"],
        "",
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_room_for_all_of_them_is_known_before_the_first() -> Result<()> {
    let world = world(3).await?;
    let before = machines(&world)?;
    let regions = world
        .simulator
        .act(|fleet| fleet.settings().regions.clone());
    for region in &regions {
        let room = |fleet: &mut groundcrew_fleet::Fleet| fleet.set_capacity(region, Some(0));
        world.simulator.act(room);
    }
    let said = run(&world, "run", "deploy-bluegreen", &[&image(NEW)]).await?;
    ensure!(
        said.code == 1 && said.err.contains("room for 0 of"),
        "{said:?}"
    );
    ensure!(world.applied("machines.create").is_empty());
    is_as_before(&before, &machines(&world)?)?;
    world.verify()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_counts_for_the_blast_radius_and_can_be_taken_back() -> Result<()> {
    let world = world(3).await?;
    let before = machines(&world)?;
    let inputs = [&image(NEW), "max_machines=3"];
    let said = run(&world, "run", "deploy-bluegreen", &inputs).await?;
    ensure!(
        said.code == 1 && said.err.contains("at most 3 Machines"),
        "{said:?}"
    );
    ensure!(world.applied("machines.create").len() <= 3);
    is_as_before(&before, &machines(&world)?)?;
    world.verify()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_takes_no_changes_gets_a_replacement() -> Result<()> {
    for refusal in ["no-memory", "host-disabled"] {
        let world = world(5).await?;
        let before = machines(&world)?;
        let old = one(&before)?;
        faults(
            &world,
            &[&format!("machines.update/{old}@first-99:{refusal}")],
        )?;
        let said = run(&world, "run", "deploy-rolling", &[&image(NEW)]).await?;
        ensure!(said.code == 0, "{refusal}: {said:?}");
        let after = machines(&world)?;
        ensure!(!after.contains_key(old), "{refusal}: it is still there");
        is_green(&before, &after)?;
        world.verify()?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_do_not_come_or_come_wrong() -> Result<()> {
    for strategy in STRATEGIES {
        for rules in [
            &[
                "machines.create@30%:timeout-done",
                "machines.update@30%:timeout-done",
            ][..],
            &[
                "machines.create@20%:reply-lost",
                "machines.update@20%:reply-lost",
            ],
            &["machines.*@15%:rate-limited(1s)"],
            &["machines.*@10%:unavailable"],
            &["machines.*@5%:drop", "machines.*@5%:late(2s)"],
        ] {
            succeeds(strategy, rules).await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_of_somebody_else() -> Result<()> {
    for strategy in STRATEGIES {
        let world = world(6).await?;
        let before = machines(&world)?;
        let id = one(&before)?;
        let lease = world.simulator.act(|fleet| {
            let caller = Caller {
                nonce: None,
                effect: None,
                owner: "ann@example.com",
            };
            let request = api::LeaseRequest {
                ttl: Some(100_000),
                description: Some("looking at it".to_owned()),
            };
            fleet.lease_acquire(&caller, "web", id, &request)
        });
        let lease = lease.map_err(|e| anyhow::anyhow!("{}", e.body.wording()))?;
        let said = run(&world, "run", strategy, &[&image(NEW)]).await?;
        ensure!(
            said.code == 1 && said.err.contains("ann@example.com") && said.err.contains(id),
            "{strategy}: {said:?}"
        );
        let after = machines(&world)?;
        let serving: Vec<_> = after
            .values()
            .filter(|is| is.state == "started" && !is.cordoned)
            .map(|is| &is.image)
            .collect();
        match strategy {
            "deploy-bluegreen" => ensure!(
                serving.iter().all(|image| *image == serving[0]),
                "{after:#?}"
            ),
            "deploy-immediate" => ensure!(after[id] == before[id], "{after:#?}"),
            _ => is_as_before(&before, &after).context(strategy)?,
        }
        world.simulator.act(|fleet| {
            let caller = Caller {
                nonce: Some(&lease.nonce),
                effect: None,
                owner: "ann@example.com",
            };
            fleet.lease_release(&caller, "web", id).map(drop).ok();
        });
        let said = run(&world, "run", strategy, &[&image(NEW)]).await?;
        ensure!(said.code == 0, "{strategy}: {said:?}");
        is_new(strategy, &before, &machines(&world)?).context(strategy)?;
        world.verify()?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_gone_is_named_and_the_others_go_on() -> Result<()> {
    for strategy in STRATEGIES {
        let world = world(7).await?;
        let before = machines(&world)?;
        let dead = one(&before)?.to_owned();
        world
            .simulator
            .act(|fleet| fleet.set_fate("web", &dead, Fate::HostUnreachable));
        let said = run(&world, "run", strategy, &[&image(NEW)]).await?;
        // What cannot be reached is not at the target: that is no success.
        let shown = format!("{}{}", said.out, said.err);
        ensure!(
            shown.contains(&dead) && shown.contains("not reached"),
            "{strategy}: {said:?}"
        );
        ensure!(
            said.code == 1 || strategy == "deploy-bluegreen",
            "{strategy}: {said:?}"
        );
        let others = |all: BTreeMap<String, Is>| -> BTreeMap<String, Is> {
            all.into_iter().filter(|(id, _)| *id != dead).collect()
        };
        let after = others(machines(&world)?);
        ensure!(
            after.values().all(|is| is.image == NEW && !is.cordoned),
            "{strategy}: {said:?} {after:#?}"
        );
        world.verify()?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_dies_meanwhile() -> Result<()> {
    for strategy in STRATEGIES {
        let world = world(8).await?;
        let before = machines(&world)?;
        let dying = one(&before)?.to_owned();
        world
            .simulator
            .act(|fleet| fleet.set_fate("web", &dying, Fate::HostDiesOnRestart));
        let inputs = [&image(NEW), "wait_timeout=20s"];
        let said = run(&world, "run", strategy, &inputs).await?;
        let after = machines(&world)?;
        // Blue/green never restarts it.
        if strategy == "deploy-bluegreen" {
            ensure!(said.code == 0, "{strategy}: {said:?}");
            is_green(&before, &after)?;
        } else {
            ensure!(
                said.code != 0 && said.err.contains(&dying),
                "{strategy}: {said:?}"
            );
        }
        let images: BTreeSet<&String> = after
            .iter()
            .filter(|(id, _)| **id != dying)
            .map(|(_, is)| &is.image)
            .collect();
        ensure!(images.len() == 1, "{strategy}: {said:?} {after:#?}");
    }
    Ok(())
}

/// Runs the command and does something to it after so many writes of a kind.
async fn disturbed(world: &World, strategy: &str, at: (&str, usize), signal: &str) -> Result<Said> {
    let new = image(NEW);
    let arguments = ["run", strategy, "-i", "app=web", "-i", &new, "--yes"];
    let child = world.command(&arguments)?.spawn()?;
    let id = child.id().context("it is gone")?;
    let reached = tokio::time::timeout(Duration::from_secs(30), world.until_applied(at.0, at.1));
    reached
        .await
        .with_context(|| format!("{strategy}: no {at:?}"))??;
    // It may have ended by itself just now.
    let kill = tokio::process::Command::new("kill")
        .args([signal, &id.to_string()])
        .stderr(std::process::Stdio::null())
        .status();
    kill.await?;
    world.finish(child).await
}

/// A write of each phase, so many of which there are in a deploy of twelve Machines.
fn phases(strategy: &str) -> &'static [(&'static str, usize)] {
    match strategy {
        "deploy-bluegreen" => &[
            ("machines.create", 1),
            ("machines.create", 6),
            ("machines.uncordon", 1),
            ("machines.cordon", 1),
            ("machines.cordon", 6),
            ("machines.destroy", 1),
            ("machines.destroy", 6),
        ],
        "deploy-canary" => &[
            ("machines.create", 1),
            ("machines.uncordon", 1),
            ("machines.update", 1),
            ("machines.update", 6),
        ],
        "deploy-immediate" => &[
            ("machines.lease", 1),
            ("machines.update", 1),
            ("machines.update", 6),
        ],
        _ => &[
            ("machines.lease", 1),
            ("machines.cordon", 1),
            ("machines.update", 1),
            ("machines.update", 4),
            ("machines.uncordon", 3),
        ],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupts_in_every_phase() -> Result<()> {
    for strategy in STRATEGIES {
        for phase in phases(strategy) {
            let world = world(9).await?;
            let before = machines(&world)?;
            let said = disturbed(&world, strategy, *phase, "-INT").await?;
            let at = format!("{strategy} at {phase:?}: {said:?}");
            ensure!(matches!(said.code, 130 | 0), "{at}");
            let after = machines(&world)?;
            world.verify().with_context(|| at.clone())?;
            let cordoned: Vec<_> = after.iter().filter(|(_, is)| is.cordoned).collect();
            let serving = after
                .values()
                .filter(|is| is.state == "started" && !is.cordoned);
            let images: BTreeSet<_> = serving.map(|is| &is.image).collect();
            if strategy == "deploy-bluegreen" {
                ensure!(images.len() == 1, "{at}: mixed: {after:#?}");
            } else {
                ensure!(cordoned.is_empty(), "{at}: {cordoned:#?}");
            }
            let said = run(&world, "run", strategy, &[&image(NEW)]).await?;
            ensure!(said.code == 0, "{at}, then {said:?}");
            is_new(strategy, &before, &machines(&world)?).context(at)?;
            world.verify()?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_every_phase_and_resumed() -> Result<()> {
    for strategy in STRATEGIES {
        for phase in phases(strategy) {
            let world = world(10).await?;
            let before = machines(&world)?;
            disturbed(&world, strategy, *phase, "-KILL").await?;
            let at = format!("{strategy} at {phase:?}");
            let newest = world.newest().await?;
            // It may have got there before the kill.
            if newest["status"] != "succeeded" {
                let run = newest["run"].as_str().context("it has no id")?;
                let said = world.run(&["resume", run]).await?;
                ensure!(said.code == 0, "{at}: {said:?}");
            }
            is_new(strategy, &before, &machines(&world)?).with_context(|| at.clone())?;
            world.verify().context(at)?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_deploy_meanwhile() -> Result<()> {
    for strategy in STRATEGIES {
        // Slow enough that all of this happens meanwhile, also on a machine that has much to do.
        let scale = match strategy {
            "deploy-immediate" | "deploy-bluegreen" => 3.0,
            _ => 10.0,
        };
        let world = watched(12, 11, scale).await?;
        let before = machines(&world)?;
        let new = image(NEW);
        let arguments = ["run", strategy, "-i", "app=web", "-i", &new, "--yes"];
        let first = world.command(&arguments)?.spawn()?;
        let (begun, _) = phases(strategy)[0];
        world.until_applied(begun, 1).await?;
        // The same store: the lock refuses it, and says whose it is.
        let said = world.run(&arguments).await?;
        ensure!(
            said.code == 4 && said.err.contains("app/web"),
            "{strategy}: {said:?}"
        );
        // And so does any other runbook that works there, on one process group or on all.
        for (other, inputs) in [
            ("deploy-rolling", &[new.as_str(), "groups=worker"][..]),
            ("scale-group", &["group=web", "count=9"]),
            ("rollback", &[]),
        ] {
            let said = run(&world, "run", other, inputs).await?;
            ensure!(said.code == 4, "{strategy}, then {other}: {said:?}");
        }
        // Another machine has no such lock, and the leases are in its way.
        let other = image("registry.fly.io/web:deployment-3");
        let elsewhere = world.project().join("elsewhere");
        let arguments = ["run", strategy, "-i", "app=web", "-i", &other, "--yes"];
        let said = world.finish(world.command_in(&elsewhere, &arguments)?.spawn()?);
        let said = said.await?;
        let said_first = world.finish(first).await?;
        let after = machines(&world)?;
        ensure!(after.len() >= before.len(), "{strategy}: {after:#?}");
        // Both may get there only one after the other.
        let images: BTreeSet<_> = after.values().map(|is| &is.image).collect();
        ensure!(
            images.len() == 1 || said.code != 0 || said_first.code != 0,
            "{strategy}: {said:?} {said_first:?} {after:#?}"
        );
        let then = run(&world, "run", strategy, &[&image(NEW)]).await?;
        ensure!(then.code == 0, "{strategy}: {then:?}");
        let at_last = machines(&world)?;
        ensure!(
            at_last.values().all(|is| is.image == NEW && !is.cordoned),
            "{strategy}: {said_first:?} {said:?} {after:#?} {then:?} {at_last:#?}"
        );
    }
    Ok(())
}
