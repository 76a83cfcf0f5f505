//! Deploys by the bundled runbooks: whatever goes wrong, each ends in a state that somebody would want
//! to find at three in the morning, and says which.

use anyhow::{Context, Result, ensure};
use groundcrew_tests::deploys::{
    NEW, extremes, image, is_as_before, is_deployed, is_green, machines, run, watched,
};
use groundcrew_tests::{READ_CANARY, World};

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
        is_as_before(&before, &machines(&world)?).context(bad)?;
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
    is_as_before(&before, &machines(&world)?)?;
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
async fn green_takes_over_from_blue_and_nobody_is_out_of_service() -> Result<()> {
    let world = watched(40, 7, 20.0).await?;
    let before = machines(&world)?;
    let said = run(&world, "run", "deploy-bluegreen", &[&image(NEW)]).await?;
    ensure!(said.code == 0, "{said:?}");
    is_green(&before, &machines(&world)?)?;
    for (group, seen) in extremes(&world)?.groups {
        let of = before.values().filter(|m| m.group == group);
        let (there, up) = (
            of.clone().count(),
            of.filter(|m| m.state == "started").count(),
        );
        ensure!(
            seen.least_serving >= up as u64,
            "{group}: {seen:?}, of {up}"
        );
        ensure!(seen.most_machines <= 2 * there as u64, "{group}: {seen:?}");
    }
    let again = run(&world, "run", "deploy-bluegreen", &[&image(NEW)]).await?;
    ensure!(again.code == 0, "{again:?}");
    is_green(&before, &machines(&world)?)?;
    world.verify()
}

#[tokio::test(flavor = "multi_thread")]
async fn bounded_surges_and_atomic_cutovers() -> Result<()> {
    let world = watched(40, 8, 20.0).await?;
    let before = machines(&world)?;
    let inputs = [&image(NEW), "max_surge=25%", "discovery=1s", "drain=1s"];
    let said = run(&world, "run", "deploy-bluegreen", &inputs).await?;
    ensure!(said.code == 0, "{said:?}");
    is_green(&before, &machines(&world)?)?;
    for (group, seen) in extremes(&world)?.groups {
        let up = before
            .values()
            .filter(|m| m.group == group && m.state == "started");
        ensure!(seen.least_serving >= up.count() as u64, "{group}: {seen:?}");
    }
    world.verify()?;

    let world = watched(40, 8, 20.0).await?;
    let inputs = [&image(NEW), "cutover=atomic"];
    let said = run(&world, "run", "deploy-bluegreen", &inputs).await?;
    ensure!(said.code == 0, "{said:?}");
    is_green(&before, &machines(&world)?)?;
    for (group, seen) in extremes(&world)?.groups {
        // The gap is what the flags of one side take.
        ensure!(
            seen.least_serving == 0 && seen.longest_gap_ms < 10_000,
            "{group}: {seen:?}"
        );
    }
    world.verify()
}

#[tokio::test(flavor = "multi_thread")]
async fn green_that_fails_leaves_all_blue() -> Result<()> {
    for (inputs, reason) in [
        (vec!["image=registry.fly.io/web:sim-crash-loop"], "exit"),
        (vec!["image=registry.fly.io/web:sim-unhealthy"], "check"),
        (vec!["image=registry.fly.io/web:unpullable"], ""),
        (
            vec!["image=registry.fly.io/web:sim-sickens", "hold=40s"],
            "in order",
        ),
        (
            vec![
                "image=registry.fly.io/web:sim-sickens",
                "hold=40s",
                "cutover=atomic",
            ],
            "in order",
        ),
        (
            vec![
                "image=registry.fly.io/web:sim-sickens",
                "hold=40s",
                "max_surge=30%",
            ],
            "in order",
        ),
    ] {
        let world = watched(24, 3, 40.0).await?;
        let before = machines(&world)?;
        let said = run(&world, "run", "deploy-bluegreen", &inputs).await?;
        ensure!(
            said.code == 1 && said.err.contains(reason),
            "{inputs:?}: {said:?}"
        );
        is_as_before(&before, &machines(&world)?)
            .with_context(|| format!("{inputs:?}: {said:?}"))?;
        world.verify()?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn shares_go_up_and_back() -> Result<()> {
    let world = watched(40, 6, 40.0).await?;
    let before = machines(&world)?;
    let green = |world: &World| -> Result<(usize, usize)> {
        let all = machines(world)?;
        let serving = all.values().filter(|m| m.state == "started" && !m.cordoned);
        let green = serving.clone().filter(|m| m.image == NEW).count();
        Ok((green, serving.count() - green))
    };
    let (_, all) = green(&world)?;
    for share in [10, 50, 0, 50, 100] {
        let inputs = [&image(NEW), &format!("share={share}"), "after=keep"];
        let said = run(&world, "run", "deploy-bluegreen", &inputs).await?;
        ensure!(said.code == 0, "{said:?}");
        let (greens, blues) = green(&world)?;
        ensure!(
            greens + blues == all,
            "{share} %: {greens} and {blues} of {all}"
        );
        let least = (all * share).div_ceil(100);
        // Rounded up in each process group and region.
        ensure!(
            (least..=least + 8).contains(&greens),
            "{share} %: {greens} of {all}"
        );
    }
    // The way back is flags alone.
    let made = world.applied("machines.create").len();
    let said = run(&world, "run", "deploy-bluegreen", &[&image(NEW), "share=0"]).await?;
    ensure!(said.code == 0, "{said:?}");
    is_as_before(&before, &machines(&world)?)?;
    ensure!(
        world.applied("machines.create").len() == made
            && world.applied("machines.update").is_empty()
    );
    world.verify()
}

#[tokio::test(flavor = "multi_thread")]
async fn rollback_goes_to_the_release_before_or_to_one_that_is_named() -> Result<()> {
    let world = watched(24, 6, 40.0).await?;
    let before = machines(&world)?;
    for (image_of, release) in [(NEW, "two"), ("registry.fly.io/web:deployment-3", "three")] {
        let (image, release) = (image(image_of), format!("release={release}"));
        let inputs = [image.as_str(), release.as_str()];
        let said = run(&world, "run", "deploy-immediate", &inputs).await?;
        ensure!(said.code == 0, "{said:?}");
    }
    let said = run(&world, "run", "rollback", &[]).await?;
    ensure!(said.code == 0, "{said:?}");
    is_deployed(&before, &machines(&world)?)?;
    let said = run(&world, "run", "rollback", &["release=rel-1"]).await?;
    ensure!(said.code == 0, "{said:?}");
    is_as_before(&before, &machines(&world)?)?;
    let said = run(&world, "run", "rollback", &["release=none"]).await?;
    ensure!(said.code == 1 && said.err.contains("never had"), "{said:?}");
    is_as_before(&before, &machines(&world)?)?;
    world.verify()
}

#[tokio::test(flavor = "multi_thread")]
async fn rollback_of_a_bluegreen_deploy_that_kept_the_old_machines_is_flags() -> Result<()> {
    let world = watched(24, 5, 40.0).await?;
    let before = machines(&world)?;
    let said = run(
        &world,
        "run",
        "deploy-bluegreen",
        &[&image(NEW), "after=keep"],
    )
    .await?;
    ensure!(said.code == 0, "{said:?}");
    let said = run(&world, "run", "rollback", &[]).await?;
    ensure!(said.code == 0, "{said:?}");
    ensure!(world.applied("machines.update").is_empty());
    // Everything that was there is as it was; what is new is out of service.
    let after = machines(&world)?;
    for (id, was) in &before {
        ensure!(after.get(id) == Some(was), "{id}: {:?}", after.get(id));
    }
    let new = after.iter().filter(|(id, _)| !before.contains_key(*id));
    ensure!(
        new.clone().count() > 0 && new.clone().all(|(_, is)| is.cordoned),
        "{after:#?}"
    );
    for (group, seen) in extremes(&world)?.groups {
        let up = before
            .values()
            .filter(|m| m.group == group && m.state == "started");
        ensure!(seen.least_serving >= up.count() as u64, "{group}: {seen:?}");
    }
    world.verify()
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_old_machines_are_kept_an_interrupt_and_a_rollback_go_back() -> Result<()> {
    let world = watched(24, 8, 40.0).await?;
    let before = machines(&world)?;
    let new = image(NEW);
    let arguments = [
        "run",
        "deploy-bluegreen",
        "--yes",
        "-i",
        "app=web",
        "-i",
        &new,
        "-i",
        "keep=10h",
    ];
    let child = world.command(&arguments)?.spawn()?;
    let serving = before.values().filter(|is| is.state == "started").count();
    world.until_applied("machines.cordon", serving).await?;
    // The drain is over, and an interrupt no longer takes back what is done.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    // Nobody else gets in its way meanwhile.
    let said = run(&world, "run", "rollback", &[]).await?;
    ensure!(said.code == 4 && said.err.contains("app/web"), "{said:?}");
    let id = child.id().context("it is gone")?.to_string();
    let kill = tokio::process::Command::new("kill")
        .args(["-INT", &id])
        .status();
    kill.await?;
    let said = world.finish(child).await?;
    ensure!(said.code == 130, "{said:?}");
    ensure!(world.applied("machines.destroy").is_empty());
    let said = run(&world, "run", "rollback", &[]).await?;
    ensure!(said.code == 0, "{said:?}");
    let after = machines(&world)?;
    for (id, was) in &before {
        ensure!(after.get(id) == Some(was), "{id}: {:?}", after.get(id));
    }
    world.verify()
}

#[tokio::test(flavor = "multi_thread")]
async fn old_machines_that_were_stopped_meanwhile_are_started_for_the_way_back() -> Result<()> {
    let world = watched(24, 5, 40.0).await?;
    let before = machines(&world)?;
    let inputs = [&image(NEW), "after=keep"];
    let said = run(&world, "run", "deploy-bluegreen", &inputs).await?;
    ensure!(said.code == 0, "{said:?}");
    let kept = before.iter().find(|(_, is)| is.state == "started");
    let (kept, _) = kept.context("nobody")?;
    world.simulator.act(|fleet| {
        let caller = groundcrew_fleet::Caller {
            nonce: None,
            effect: None,
            owner: "the proxy",
        };
        let request = groundcrew_fleet::api::StopRequest::default();
        fleet.stop(&caller, "web", kept, &request).map(drop).ok()
    });
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    ensure!(machines(&world)?[kept].state == "stopped");
    let said = run(&world, "run", "rollback", &[]).await?;
    ensure!(said.code == 0, "{said:?}");
    let after = machines(&world)?;
    for (id, was) in &before {
        ensure!(after.get(id) == Some(was), "{id}: {:?}", after.get(id));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_of_several_images_are_deployed_and_taken_back_each_to_its_own() -> Result<()> {
    for strategy in ["deploy-rolling", "deploy-bluegreen"] {
        let world = watched(24, 7, 40.0).await?;
        let some: Vec<String> = machines(&world)?.into_keys().step_by(3).collect();
        let other = image("registry.fly.io/web:deployment-9");
        let include = format!("include={}", some.join(","));
        let said = run(&world, "run", "deploy-immediate", &[&other, &include]).await?;
        ensure!(said.code == 0, "{said:?}");
        let before = machines(&world)?;
        let bad = image("registry.fly.io/web:sim-crash-loop");
        let said = run(&world, "run", strategy, &[&bad]).await?;
        ensure!(said.code == 1, "{strategy}: {said:?}");
        is_as_before(&before, &machines(&world)?).context(strategy)?;
        let said = run(&world, "run", strategy, &[&image(NEW)]).await?;
        ensure!(said.code == 0, "{strategy}: {said:?}");
        let after = machines(&world)?;
        ensure!(
            after.len() == before.len() && after.values().all(|is| is.image == NEW && !is.cordoned),
            "{strategy}: {after:#?}"
        );
        world.verify()?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_that_failed_half_way_is_surveyed_and_recovered() -> Result<()> {
    for (updated, case) in [(0, "nothing"), (5, "minority"), (17, "majority")] {
        let world = watched(24, 6, 40.0).await?;
        let before = machines(&world)?;
        let some: Vec<String> = before
            .iter()
            .filter(|(_, is)| is.state == "started")
            .map(|(id, _)| format!("include={id}"))
            .take(updated)
            .collect();
        let new = image(NEW);
        if updated > 0 {
            let include = format!("include={}", some.join(",").replace("include=", ""));
            let inputs = [&new, &"release=r2".to_owned(), &include];
            let inputs: Vec<&str> = inputs.iter().map(|s| s.as_str()).collect();
            let said = run(&world, "run", "deploy-immediate", &inputs).await?;
            ensure!(said.code == 0, "{said:?}");
        }
        let survey = run(&world, "run", "survey-deploy", &[]).await?;
        ensure!(
            survey.code == 0 && survey.out.contains("deployment-"),
            "{survey:?}"
        );
        let stuck = before
            .iter()
            .rfind(|(_, is)| is.state == "started" && is.group == "web");
        let (stuck, _) = stuck.context("nobody")?;
        world
            .simulator
            .act(|fleet| fleet.set_fate("web", stuck, groundcrew_fleet::Fate::HostUnreachable));
        let inputs = [&new, "release=r2", "workers=worker"];
        let writes = world.writes();
        let mut rehearsed = vec!["run", "recover-deploy", "--dry-run", "-i", "app=web"];
        inputs
            .iter()
            .for_each(|input| rehearsed.extend(["-i", input]));
        let said = world.run(&rehearsed).await?;
        // What is on a dead host takes no update, and a rehearsal knows it.
        ensure!(
            said.code == 1
                && said.err.contains(case)
                && said.out.contains("its host is not reached"),
            "{case}: {said:?}"
        );
        ensure!(world.writes() == writes);
        let said = run(&world, "run", "recover-deploy", &inputs).await?;
        ensure!(said.code == 1, "{case}: {said:?}");
        world
            .simulator
            .act(|fleet| fleet.set_fate("web", stuck, groundcrew_fleet::Fate::Normal));
        let said = run(&world, "run", "recover-deploy", &inputs).await?;
        ensure!(said.code == 0, "{case}: {said:?}");
        let after = machines(&world)?;
        ensure!(
            after.values().all(|is| is.image == NEW && !is.cordoned),
            "{case}: {after:#?}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_rehearsed_with_a_token_that_reads_is_what_is_applied() -> Result<()> {
    for runbook in [
        "deploy-rolling",
        "deploy-immediate",
        "deploy-canary",
        "deploy-bluegreen",
    ] {
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
        let after = machines(&world)?;
        let there = match runbook {
            "deploy-bluegreen" => is_green(&before, &after),
            _ => is_deployed(&before, &after),
        };
        there.context(runbook)?;
        world.verify().context(runbook)?;
    }
    Ok(())
}

/// Fly leaves a new version of a stopped Machine stopped: it is started to be looked at, and rests again.
#[tokio::test(flavor = "multi_thread")]
async fn stopped_machines_are_looked_at_if_that_is_wanted() -> Result<()> {
    let world = watched(24, 6, 40.0).await?;
    let up = world.started("web", "web")?;
    let rests: Vec<&String> = up.iter().take(2).collect();
    for id in &rests {
        world.simulator.act(|fleet| {
            let request = groundcrew_fleet::api::StopRequest::default();
            let nobody = groundcrew_fleet::Caller::default();
            fleet.stop(&nobody, "web", id, &request).map(drop).ok()
        });
    }
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    let before = machines(&world)?;
    ensure!(rests.iter().all(|id| before[*id].state == "stopped"));
    let inputs = [&image(NEW), "verify_stopped=true"];
    let said = run(&world, "run", "deploy-rolling", &inputs).await?;
    ensure!(said.code == 0, "{said:?}");
    is_deployed(&before, &machines(&world)?)?;
    let started = world.applied("machines.start");
    let started = started.iter().map(|(_, _, id)| id);
    let looked_at = started.filter(|id| rests.contains(id)).count();
    ensure!(looked_at == rests.len(), "{looked_at} of {}", rests.len());
    world.verify()?;
    // What does not get well is taken back, and rests as well.
    let sick = image("registry.fly.io/web:sim-crash-loop");
    let before = machines(&world)?;
    let inputs = [&sick, "verify_stopped=true", "critical_after=1s"];
    let said = run(&world, "run", "deploy-rolling", &inputs).await?;
    ensure!(said.code == 1, "{said:?}");
    is_as_before(&before, &machines(&world)?)?;
    world.verify()
}
