//! `cargo xtask demo`: a tour on a simulated fleet of 500 Machines.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

/// Simulated seconds in one second: a restart of 4 s takes 0.8 s, and a Machine whose checks fail
/// for five minutes is given up after one.
const TIME_SCALE: &str = "5";

/// Ends the simulator however the tour ends.
struct Simulator(Child);

impl Drop for Simulator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn run(binary: &Path) -> Result<()> {
    let directory = std::env::temp_dir().join(format!("groundcrew-demo-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let mut used = Vec::new();
    let sim = [
        "sim",
        "--machines",
        "500",
        "--apps",
        "2",
        "--seed",
        "7",
        "--time-scale",
        TIME_SCALE,
        "--restart-ms",
        "2000..6000",
        "--listen",
        "127.0.0.1:0",
        "--fate",
        "web/3=never-starts",
        "--fate",
        "web/5=checks-fail",
        "--fate",
        "web/8=host-dies-on-restart",
    ];
    heading("A simulated fleet: 500 Machines, two apps, four regions; three of them will fail");
    shown(&sim, &mut used);
    let mut child = Command::new(binary)
        .args(sim)
        .stdout(Stdio::piped())
        .spawn()
        .context("the simulator cannot be started")?;
    let out = child.stdout.take().context("the simulator has no output")?;
    let _simulator = Simulator(child);
    let mut address = String::new();
    BufReader::new(out).read_line(&mut address)?;
    let address = address.trim();
    if address.is_empty() {
        bail!("the simulator did not start");
    }
    // To be pasted: on the port that the configuration names, not on any free one.
    if let Some(line) = used.first_mut() {
        *line = line.replace("127.0.0.1:0", address.trim_start_matches("http://"));
    }
    let config = format!(
        "default_target = \"demo\"\n\n[target.demo]\norganisation = \"groundcrew\"\nmachines_api = \"{address}\"\ncredential = \"sim://\"\ntime_scale = {TIME_SCALE}\n"
    );
    std::fs::write(directory.join("groundcrew.toml"), &config)?;
    eprintln!("\n{}/groundcrew.toml:\n{config}", directory.display());

    let place = directory.display().to_string();
    let state = directory.join("state").display().to_string();
    let mut step = |title: &str, arguments: &[&str], may_fail: bool| -> Result<String> {
        heading(title);
        let mut all = vec!["--project", place.as_str(), "--state-dir", state.as_str()];
        all.extend(arguments);
        shown(&all, &mut used);
        let output = Command::new(binary)
            .args(&all)
            .stdout(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()?
            .wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        excerpt(&text);
        if !output.status.success() && !may_fail {
            bail!("`groundcrew {}` failed", arguments.join(" "));
        }
        eprintln!("(exit code {})", output.status.code().unwrap_or(-1));
        Ok(text)
    };
    let restart = [
        "run",
        "restart-by-group",
        "-i",
        "app=web",
        "-i",
        "group=web",
        "-i",
        "parallel=100",
        "-i",
        "max_failures=5",
        "-i",
        "wait_timeout=60s",
    ];
    // One Machine's checks fail already, so the rehearsal foretells that it will not recover.
    step(
        "The rehearsal: on a fork of the live fleet, nothing is written",
        &[&restart[..], &["--dry-run"]].concat(),
        true,
    )?;
    step(
        "The real run: three Machines fail, each in its own way",
        &[&restart[..], &["--yes"]].concat(),
        true,
    )?;
    let runs = step("What has been run", &["runs", "list", "--json"], false)?;
    let run = runs
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find(|run| run["mode"] == "perform")
        .and_then(|run| run["run"].as_str().map(str::to_owned))
        .context("the run is not in the list")?;
    step(
        "Its journal, entry by entry",
        &["audit", "show", &run],
        false,
    )?;
    let (plan, key) = (
        directory.join("change.plan").display().to_string(),
        directory.join("identity").display().to_string(),
    );
    let planned = [
        "plan",
        "restart-by-group",
        "-i",
        "app=web-2",
        "-i",
        "group=worker",
        "--fault",
        "machines.wait-healthy@3:application",
    ];
    step(
        "A plan: rehearsed, with what happens if the third Machine does not become healthy; signed and saved",
        &[&planned[..], &["-o", &plan, "--key", &key]].concat(),
        false,
    )?;
    step(
        "Applied: exactly that, once",
        &["apply", &plan, "--key", &key],
        false,
    )?;
    let deploy = |runbook, image: &'static str, more: &[&'static str]| {
        let mut all = vec![
            "run",
            runbook,
            "--yes",
            "-i",
            "app=web-2",
            "-i",
            "groups=worker",
        ];
        all.extend(["-i", image]);
        more.iter().for_each(|input| all.extend(["-i", input]));
        all
    };
    step(
        "A deploy of an image that crashes: the first Machine shows it, and gets its old one back",
        &deploy(
            "deploy-rolling",
            "image=registry.fly.io/web:sim-crash-loop",
            &[],
        ),
        true,
    )?;
    step(
        "A deploy beside what is there; the old Machines are kept",
        &deploy(
            "deploy-bluegreen",
            "image=registry.fly.io/web:deployment-2",
            &["after=keep"],
        ),
        false,
    )?;
    step(
        "Back again, by flags alone",
        &[
            "run",
            "rollback",
            "--yes",
            "-i",
            "app=web-2",
            "-i",
            "groups=worker",
        ],
        false,
    )?;
    step(
        "Where the deploy stands",
        &[
            "run",
            "survey-deploy",
            "-i",
            "app=web-2",
            "-i",
            "groups=worker",
        ],
        true,
    )?;
    step(
        "The audit log of all of it, verified",
        &["audit", "verify"],
        false,
    )?;
    heading("The commands, to paste (the simulator first, in a terminal of its own)");
    for line in &used {
        println!("{} {line}", binary.display());
    }
    Ok(())
}

fn heading(text: &str) {
    eprintln!("\n== {text}\n");
}

fn shown(arguments: &[&str], used: &mut Vec<String>) {
    let line = arguments.join(" ");
    eprintln!("$ groundcrew {line}");
    used.push(line);
}

/// Long output is cut in the middle.
fn excerpt(text: &str) {
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() <= 40 {
        print!("{text}");
        return;
    }
    lines.iter().take(20).for_each(|line| println!("{line}"));
    println!("  … {} more lines …", lines.len() - 35);
    lines
        .iter()
        .skip(lines.len() - 15)
        .for_each(|line| println!("{line}"));
}
