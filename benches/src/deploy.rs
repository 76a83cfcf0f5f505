//! Deploys: how near they come to what the Machines themselves take, and how much memory.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use anyhow::{Context, Result};
use groundcrew_fleet::api::ListQuery;
use groundcrew_simulator::DEFAULT_TOKEN;

use crate::fleet::{APP, CREATE_MS, Kind, fleet};
use crate::process::{Home, Server, Setting, Went, run};
use crate::report::{Report, Row, shown};
use crate::restart::megabytes;

const IMAGE: &str = "image=registry.fly.io/web:deployment-2";

/// What the proxy gets to notice who came and who went: pauses that are asked for.
const DISCOVERY: Duration = Duration::from_secs(2);
const DRAIN: Duration = Duration::from_secs(5);

/// What flyctl waits for by its constants alone in a blue/green deploy of Machines that are healthy
/// at once. (`fly.md`: strategy_bluegreen.go)
const FLYCTL: Duration = Duration::from_millis(20_300);

pub(crate) async fn measure(setting: &Setting, report: &mut Report) -> Result<()> {
    bluegreen(setting, report)?;
    many(setting, report).await?;
    rolling(setting, report)
}

fn serve(
    machines: usize,
    regions: usize,
    kind: &str,
    scale: f64,
    from: Option<&str>,
) -> Result<Server> {
    let (machines, scale, regions) = (machines.to_string(), scale.to_string(), regions.to_string());
    let mut arguments = vec![
        "serve",
        "--machines",
        &machines,
        "--kind",
        kind,
        "--regions",
        &regions,
        "--scale",
        &scale,
    ];
    arguments.extend(from.into_iter().flat_map(|file| ["--from", file]));
    let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
    Server::start(&arguments)
}

/// Runs a runbook on a target whose plugin has been compiled before.
fn command(
    setting: &Setting,
    server: &Server,
    scale: f64,
    runbook: &str,
    inputs: &[&str],
) -> Result<Went> {
    let home = Home::new(setting, &server.address, true)?.scaled(scale)?;
    run(home.command(&["plugin", "show", runbook]))?;
    let mut arguments = vec!["run", runbook, "--yes", "-i", "app=web"];
    arguments.extend(inputs.iter().flat_map(|input| ["-i", input]));
    run(home.command(&arguments)).with_context(|| runbook.to_owned())
}

/// From the create of a Machine to its first check, and the pauses that are asked for.
fn ideal() -> Duration {
    Duration::from_millis(CREATE_MS.iter().sum()) + DISCOVERY + DRAIN
}

fn bluegreen(setting: &Setting, report: &mut Report) -> Result<()> {
    let machines = if setting.quick { 4 } else { 30 };
    let mut took = Vec::new();
    for _ in 0..setting.times(3) {
        let server = serve(machines, 10, "creates", 1.0, None)?;
        let inputs = [IMAGE, "discovery=2s", "drain=5s"];
        took.push(command(setting, &server, 1.0, "deploy-bluegreen", &inputs)?.took);
    }
    let took = crate::report::median(took);
    let ideal = ideal();
    report.add(Row {
        what: format!("blue/green deploy of {machines} Machines, three in each region (so that no create is held up), boot 3 s, checks every 2 s, time scale 1 (process start to end)"),
        target: "<= 1.15 x (slowest boot + first passing check + drain bound)".to_owned(),
        measured: format!("{}: {:.2} x", shown(took), took.as_secs_f64() / ideal.as_secs_f64()),
        baseline: format!(
            "{}: create and boot 3.5 s, check 2 s, discovery 2 s, drain 5 s; flyctl's constants alone add {}",
            shown(ideal),
            shown(FLYCTL)
        ),
        reached: Some(took <= ideal.mul_f64(1.15)),
    });
    Ok(())
}

/// Hundreds at once in one region, where creates are limited; then back by flags.
async fn many(setting: &Setting, report: &mut Report) -> Result<()> {
    let (machines, scale) = if setting.quick {
        (12, 20.0)
    } else {
        (500, 20.0)
    };
    let server = serve(machines, 1, "creates", scale, None)?;
    let inputs = [IMAGE, "max_surge=100%", "after=keep", "max_machines=1200"];
    let went = command(setting, &server, scale, "deploy-bluegreen", &inputs)?;
    let took = went.took.mul_f64(scale);
    // One create a second, and three at first. (Fly's documented limit.)
    let limit = Duration::from_secs(machines as u64 - 3);
    report.add(Row {
        what: format!("blue/green deploy of {machines} Machines in one region, `max_surge = 100 %`, time scale {scale:.0} (in the fleet's time)"),
        target: "<= 1.05 x the time the create limit allows".to_owned(),
        measured: format!("{}: {:.3} x", shown(took), took.as_secs_f64() / limit.as_secs_f64()),
        baseline: format!("{}: one create a second, three at first", shown(limit)),
        reached: Some(took <= limit.mul_f64(1.05)),
    });
    report.add(Row {
        what: format!("resident memory at its peak, blue/green deploy of {machines} Machines"),
        target: "<= 120 MB".to_owned(),
        measured: megabytes(went.resident),
        baseline: String::new(),
        reached: Some(went.resident <= 120_000_000),
    });
    let kept = tempfile::NamedTempFile::new_in(&setting.directory)?;
    std::fs::write(kept.path(), world(&server).await?)?;
    drop(server);
    way_back(setting, report, machines, kept.path())
}

/// What the simulator has, as JSON.
async fn world(server: &Server) -> Result<Vec<u8>> {
    let client = crate::bare::client()?;
    let url = format!("{}/_sim/fleet", server.address);
    let answer = client.get(url).bearer_auth(DEFAULT_TOKEN).send().await?;
    Ok(answer.error_for_status()?.bytes().await?.to_vec())
}

fn way_back(
    setting: &Setting,
    report: &mut Report,
    machines: usize,
    kept: &std::path::Path,
) -> Result<()> {
    let from = kept.to_str().context("a path that is no text")?;
    let mut took = Vec::new();
    for _ in 0..setting.times(3) {
        let server = serve(machines, 1, "creates", 1.0, Some(from))?;
        let inputs = ["discovery=2s"];
        let went = command(setting, &server, 1.0, "rollback", &inputs)?;
        took.push(went.took);
    }
    let took = crate::report::median(took);
    let api = took.saturating_sub(DISCOVERY);
    report.add(Row {
        what: format!("way back from a cut-over of {machines} Machines that were kept, time scale 1: the API part (process start to end, less the pause for the proxy)"),
        target: "<= 2 s".to_owned(),
        measured: shown(api),
        baseline: format!("traffic is back with the proxy's discovery, here 0.5 to 2 s later; with the pause {}", shown(took)),
        reached: Some(api <= Duration::from_secs(2)),
    });
    Ok(())
}

fn rolling(setting: &Setting, report: &mut Report) -> Result<()> {
    let machines = if setting.quick { 9 } else { 100 };
    let mut took = Vec::new();
    for _ in 0..setting.times(3) {
        let server = serve(machines, 1, "updates", 1.0, None)?;
        let inputs = [IMAGE, "max_unavailable=33%", "canary=false", "drain=5s"];
        took.push(command(setting, &server, 1.0, "deploy-rolling", &inputs)?.took);
    }
    let took = crate::report::median(took);
    let ideal = schedule(machines);
    report.add(Row {
        what: format!("rolling deploy of {machines} Machines, `max_unavailable = 33 %`, time scale 1 (process start to end)"),
        target: "<= 1.10 x the ideal schedule of the same durations".to_owned(),
        measured: format!("{}: {:.2} x", shown(took), took.as_secs_f64() / ideal.as_secs_f64()),
        baseline: format!("{}: each Machine begun as soon as one before it is done", shown(ideal)),
        reached: Some(took <= ideal.mul_f64(1.10)),
    });
    Ok(())
}

/// Each process group's Machines in the order of their ids, a third of them at once, each as soon as
/// one is done; the drain before it counts for those that serve.
fn schedule(machines: usize) -> Duration {
    let fleet = fleet(machines, Kind::Updates, 1);
    let mut groups: BTreeMap<String, Vec<(String, u64)>> = BTreeMap::new();
    for machine in fleet.list(APP, &ListQuery::default()).unwrap_or_default() {
        let serves = machine.config["services"]
            .as_array()
            .is_some_and(|s| !s.is_empty());
        let drain = if serves { DRAIN.as_millis() as u64 } else { 0 };
        let update = fleet.predicted_update(APP, &machine.id).unwrap_or(0);
        let group = groups
            .entry(machine.process_group().to_owned())
            .or_default();
        group.push((machine.id.clone(), drain + update));
    }
    let ends = groups.into_values().map(|mut group| {
        group.sort();
        let at_once = (group.len() * 33 / 100).max(1);
        let mut free: BinaryHeap<Reverse<u64>> = (0..at_once).map(|_| Reverse(0)).collect();
        let mut end = 0;
        for (_, took) in group {
            let Reverse(from) = free.pop().unwrap_or(Reverse(0));
            end = end.max(from + took);
            free.push(Reverse(from + took));
        }
        end
    });
    Duration::from_millis(ends.max().unwrap_or(0))
}
