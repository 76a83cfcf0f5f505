//! Restarts of a whole fleet at once: how long they take, and how much memory.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::fleet::{APP, Kind, fleet};
use crate::process::{Home, Server, Setting, Went, ourselves, run};
use crate::report::{Report, Row, shown};

pub(crate) fn measure(setting: &Setting, report: &mut Report) -> Result<()> {
    let sizes = if setting.quick { (20, 50) } else { (500, 5000) };
    let times = setting.times(3);
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..times {
        ours.push(command(setting, sizes.0, true)?);
        bare.push(loop_of_requests(sizes.0)?);
    }
    duration(report, sizes.0, &ours, &bare);
    memory(report, sizes.0, 60, &ours, &bare);
    let (ours, bare) = (command(setting, sizes.1, true)?, loop_of_requests(sizes.1)?);
    memory(report, sizes.1, 160, &[ours], &[bare]);
    for (machines, over, went) in [
        (sizes.1, "HTTP/2", ours),
        (sizes.0, "HTTP/1.1", command(setting, sizes.0, false)?),
        (sizes.1, "HTTP/1.1", command(setting, sizes.1, false)?),
    ] {
        report.add(Row {
            what: format!("for comparison: {machines} Machines at once over {over}"),
            target: String::new(),
            measured: format!("{}, {}", shown(went.took), megabytes(went.resident)),
            baseline: format!("slowest Machine {}", shown(slowest(machines))),
            reached: None,
        });
    }
    Ok(())
}

pub(crate) fn serve(machines: usize) -> Result<Server> {
    Server::start(&[
        "serve".to_owned(),
        "--machines".to_owned(),
        machines.to_string(),
    ])
}

fn command(setting: &Setting, machines: usize, http2: bool) -> Result<Went> {
    let server = serve(machines)?;
    let home = Home::new(setting, &server.address, http2)?;
    // As on every run but the first: the plugin is compiled.
    run(home.command(&["plugin", "show", "restart-by-group"]))?;
    let parallel = format!("parallel={machines}");
    let most = format!("max_machines={machines}");
    let went = run(home.command(&[
        "run",
        "restart-by-group",
        "--yes",
        "-i",
        "app=web",
        "-i",
        "group=",
        "-i",
        "canary=false",
        "-i",
        &parallel,
        "-i",
        &most,
    ]));
    went.context("the runbook")
}

fn loop_of_requests(machines: usize) -> Result<Went> {
    let server = serve(machines)?;
    let arguments = [
        "bare-restart".to_owned(),
        server.address.clone(),
        APP.to_owned(),
        machines.to_string(),
    ];
    run(ourselves(&arguments)?).context("the loop of requests")
}

/// The slowest Machine of the fleet: what its stop, boot and first check take by the seed.
fn slowest(machines: usize) -> Duration {
    let fleet = fleet(machines, Kind::Restarts, 0);
    let ids = fleet.machine_ids(APP);
    let took = ids.iter().filter_map(|id| fleet.predicted_restart(APP, id));
    Duration::from_millis(took.map(|took| took.total_ms()).max().unwrap_or(0))
}

fn duration(report: &mut Report, machines: usize, ours: &[Went], bare: &[Went]) {
    let took = |runs: &[Went]| crate::report::median(runs.iter().map(|went| went.took).collect());
    let (ours, bare, slowest) = (took(ours), took(bare), slowest(machines));
    let ratio = |base: Duration| ours.as_secs_f64() / base.as_secs_f64();
    report.add(Row {
        what: format!("restart of {machines} Machines, all at once, 2 to 6 s each, time scale 1 (process start to end)"),
        target: "<= 1.05 x slowest + 0.3 s; <= 1.10 x the loop".to_owned(),
        measured: format!("{}: {:.2} x slowest, {:.2} x the loop", shown(ours), ratio(slowest), ratio(bare)),
        baseline: format!("slowest Machine {}; loop of requests {}", shown(slowest), shown(bare)),
        reached: Some(ours <= slowest.mul_f64(1.05) + Duration::from_millis(300) && ours <= bare.mul_f64(1.10)),
    });
}

fn memory(report: &mut Report, machines: usize, most: u64, ours: &[Went], bare: &[Went]) {
    let peak = |runs: &[Went]| runs.iter().map(|went| went.resident).max().unwrap_or(0);
    report.add(Row {
        what: format!("resident memory at its peak, {machines} Machines at once"),
        target: format!("<= {most} MB"),
        measured: megabytes(peak(ours)),
        baseline: format!("{}: the loop of requests", megabytes(peak(bare))),
        reached: Some(peak(ours) <= most * 1_000_000),
    });
}

pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
