//! The first runbook, whole: rehearsed, run, failing, interrupted, killed.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use groundcrew_fleet::{Fate, FaultRule};
use groundcrew_tests::{READ_CANARY, World, fleet};
use serde_json::Value;

const RESTART: [&str; 8] = [
    "run",
    "restart-by-group",
    "-i",
    "app=web",
    "-i",
    "group=web",
    "-i",
    "parallel=100",
];

fn restart<'a>(more: &[&'a str]) -> Vec<&'a str> {
    RESTART.iter().chain(more).copied().collect()
}

/// The last line of `--json` output: the report.
fn report(out: &str) -> Result<Value> {
    Ok(serde_json::from_str(
        out.lines().last().unwrap_or_default(),
    )?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rehearsal_needs_only_a_token_that_reads_and_writes_nothing() -> Result<()> {
    let mut world = World::start(fleet(120, 7), 20.0).await?;
    world.use_token(READ_CANARY);
    let wanted = world.started("web", "web")?.len() as u64;
    let said = world.run(&restart(&["--dry-run", "--json"])).await?;
    ensure!(said.code == 0, "{said:?}");
    let report = report(&said.out)?;
    ensure!(report["steps"][0]["output"]["totals"]["restarted"] == wanted);
    ensure!(
        world.applied("machines.restart").is_empty() && world.applied("machines.lease").is_empty()
    );
    world.verify()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_started_machine_of_the_group_is_restarted_once_and_no_other() -> Result<()> {
    let world = World::start(fleet(120, 7), 20.0).await?;
    let wanted = world.started("web", "web")?;
    let said = world.run(&restart(&["--yes"])).await?;
    ensure!(said.code == 0, "{said:?}");
    let restarted = world.applied("machines.restart");
    let distinct: BTreeSet<String> = restarted.iter().map(|(_, _, id)| id.clone()).collect();
    ensure!(restarted.len() == wanted.len() && distinct == wanted);
    ensure!(restarted.iter().all(|(_, app, _)| app == "web"));
    world.verify()
}

/// As many as are restarted at once are waited for at once, and no connection carries more
/// requests than a service has to take.
#[tokio::test(flavor = "multi_thread")]
async fn over_http2_requests_share_connections_and_none_waits() -> Result<()> {
    let world = World::start(fleet(780, 7), 5.0).await?;
    world.use_http2()?;
    let wanted = world.started("web", "web")?;
    ensure!(wanted.len() > 200, "{}", wanted.len());
    let mut all = RESTART.to_vec();
    all.pop();
    all.extend(["parallel=400", "-i", "canary=false", "--yes"]);
    let said = world.run(&all).await?;
    ensure!(said.code == 0, "{said:?}");
    let restarted = world.applied("machines.restart");
    ensure!(restarted.len() == wanted.len(), "{}", restarted.len());
    let lanes = wanted.len().div_ceil(100) as u64;
    let connections = world.simulator.connections();
    // The one that lists, and those that are opened anew while another is closing.
    ensure!(
        (lanes..=lanes + 2).contains(&connections),
        "{connections} connections for {} Machines",
        wanted.len()
    );
    world.verify()
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_that_fail_are_reported_each_with_its_reason() -> Result<()> {
    let world = World::start(fleet(120, 7), 20.0).await?;
    let ids: Vec<String> = world.started("web", "web")?.into_iter().collect();
    world.simulator.act(|fleet| {
        fleet.set_fate("web", &ids[3], Fate::NeverStarts);
        fleet.set_fate("web", &ids[5], Fate::ChecksFail);
        fleet.set_fate("web", &ids[8], Fate::HostUnreachable);
    });
    let said = world
        .run(&restart(&[
            "--yes",
            "--json",
            "-i",
            "max_failures=5",
            "-i",
            "wait_timeout=60s",
        ]))
        .await?;
    ensure!(said.code == 1, "{said:?}");
    let report = report(&said.out)?;
    let machines = report["steps"][0]["output"]["machines"].clone();
    let of = |id: &str| {
        machines
            .as_array()
            .and_then(|all| all.iter().find(|m| m["id"] == id))
            .cloned()
            .unwrap_or_default()
    };
    ensure!(of(&ids[3])["result"] == "failed", "{}", of(&ids[3]));
    ensure!(of(&ids[5])["result"] == "failed", "{}", of(&ids[5]));
    ensure!(
        of(&ids[5])["reason"]
            .as_str()
            .is_some_and(|r| r.contains("check")),
        "{}",
        of(&ids[5])
    );
    ensure!(of(&ids[8])["result"] == "unreachable", "{}", of(&ids[8]));
    ensure!(of(&ids[0])["result"] == "restarted", "{}", of(&ids[0]));
    world.verify()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flaky_api_changes_nothing_about_once() -> Result<()> {
    for seed in [1, 2, 3] {
        let world = World::start(fleet(60, seed), 20.0).await?;
        let wanted = world.started("web", "web")?;
        let rules = [
            "machines.restart@20%:unavailable",
            "machines.restart@20%:reply-lost",
            "machines.lease@10%:rate-limited(1s)",
            "machines.get@5%:drop",
            "machines.list@1:bad-gateway",
        ];
        let rules: Vec<FaultRule> = rules.iter().filter_map(|r| r.parse().ok()).collect();
        ensure!(rules.len() == 5);
        world.simulator.set_faults(rules);
        let said = world.run(&restart(&["--yes"])).await?;
        ensure!(said.code == 0, "seed {seed}: {said:?}");
        ensure!(
            world.applied("machines.restart").len() == wanted.len(),
            "seed {seed}"
        );
        world.verify()?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_on_the_same_app_is_refused_with_the_first_ones_id() -> Result<()> {
    let world = World::start(fleet(60, 7), 2.0).await?;
    let first = world.command(&restart(&["--yes", "--json"]))?.spawn()?;
    world.until_applied("machines.restart", 1).await?;
    let second = world.run(&restart(&["--yes"])).await?;
    ensure!(second.code == 4, "{second:?}");
    ensure!(second.err.contains("is locked by run"), "{second:?}");
    let first = world.finish(first).await?;
    ensure!(first.code == 0, "{first:?}");
    let run = report(&first.out)?["run"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    ensure!(!run.is_empty() && second.err.contains(&run), "{second:?}");
    world.verify()
}

async fn signalled(signal: &str, code: i32) -> Result<()> {
    let world = World::start(fleet(60, 7), 2.0).await?;
    let child = world.command(&restart(&["--yes"]))?.spawn()?;
    world.until_applied("machines.restart", 2).await?;
    let pid = child.id().unwrap_or_default().to_string();
    tokio::process::Command::new("kill")
        .args([signal, &pid])
        .status()
        .await?;
    let said = world.finish(child).await?;
    ensure!(said.code == code, "{said:?}");
    let list = world.run(&["runs", "list", "--json"]).await?;
    ensure!(list.out.contains("\"status\":\"interrupted\""), "{list:?}");
    world.verify()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_ends_the_run_in_order() -> Result<()> {
    signalled("-INT", 130).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_termination_ends_the_run_in_order() -> Result<()> {
    signalled("-TERM", 143).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_run_is_shown_and_can_be_cancelled() -> Result<()> {
    let world = World::start(fleet(60, 7), 2.0).await?;
    let mut child = world.command(&restart(&["--yes"]))?.spawn()?;
    world.until_applied("machines.restart", 2).await?;
    child.kill().await?;
    let list = world.run(&["runs", "list", "--json"]).await?;
    let line: Value = serde_json::from_str(list.out.lines().next().unwrap_or_default())?;
    ensure!(line["status"] == "interrupted", "{line}");
    let run = line["run"].as_str().unwrap_or_default().to_owned();
    let cancelled = world.run(&["runs", "cancel", &run]).await?;
    // 6 when the kill fell between an intent and its outcome.
    ensure!(matches!(cancelled.code, 0 | 6), "{cancelled:?}");
    world.verify()?;
    let again = world.run(&["runs", "cancel", &run]).await?;
    ensure!(again.code == 4, "{again:?}");
    // Its locks are free: the app can be worked on at once.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let next = world.run(&restart(&["--yes"])).await?;
    ensure!(next.code == 0, "{next:?}");
    world.verify()
}

#[tokio::test(flavor = "multi_thread")]
async fn count_machines_counts_the_organisation_and_calls_partial_data_partial() -> Result<()> {
    let world = World::start(fleet(130, 7), 20.0).await?;
    let said = world.run(&["run", "count-machines", "--json"]).await?;
    ensure!(said.code == 0, "{said:?}");
    let whole = report(&said.out)?["steps"][0]["output"].clone();
    ensure!(
        whole["total"] == 130 && whole["partial"] == false,
        "{whole}"
    );
    world
        .simulator
        .act(|fleet| fleet.set_error_regions(vec!["syd".to_owned()]));
    let said = world.run(&["run", "count-machines", "--json"]).await?;
    let part = report(&said.out)?["steps"][0]["output"].clone();
    ensure!(part["partial"] == true, "{part}");
    world.verify()
}
