//! `groundcrew machines`.

use clap::Args as Arguments;
use groundcrew_capabilities::fly::contract::{CheckStatus, HostStatus, Machine};
use serde_json::{Value, json};

use crate::context::Shared;
use crate::exit::Exit;
use crate::render::table;
use crate::shown::as_json;
use crate::terminal::{data, say};

/// List the Machines of an app with their checks
#[derive(Debug, Arguments)]
pub(crate) struct Args {
    /// The app
    app: String,
    /// Show this one Machine whole, and how to get a console on it
    id: Option<String>,
    /// Only this process group
    #[arg(short, long)]
    group: Option<String>,
    /// Only this state, such as `started`
    #[arg(short, long)]
    state: Option<String>,
    /// Only this region
    #[arg(short, long)]
    region: Option<String>,
    /// The target
    #[arg(short, long, value_name = "NAME")]
    target: Option<String>,
}

pub(crate) async fn run(shared: &Shared, args: Args) -> Result<(), Exit> {
    let config = shared.config()?;
    let target = shared.target(&config, args.target.as_deref())?;
    let all = groundcrew_capabilities::fly::list_machines(&target, &args.app)
        .await
        .map_err(|e| {
            Exit::failed(format!(
                "the Machines of `{}` cannot be listed: {e}",
                args.app
            ))
        })?;
    let keep = |wanted: &Option<String>, value: &str| wanted.as_deref().is_none_or(|w| w == value);
    let machines: Vec<&Machine> = all
        .iter()
        .filter(|m| {
            keep(&args.id, &m.id)
                && keep(&args.group, &m.group)
                && keep(&args.state, &m.state)
                && keep(&args.region, &m.region)
        })
        .collect();
    if shared.json {
        for machine in &machines {
            data!("{}", as_json(machine));
        }
        return Ok(());
    }
    if let Some(id) = &args.id {
        let Some(machine) = machines.first() else {
            return Err(Exit::failed(format!(
                "app `{}` has no Machine `{id}`",
                args.app
            )));
        };
        one(machine);
        return Ok(());
    }
    let rows: Vec<Value> = machines
        .iter()
        .map(|m| json!({ "id": m.id, "group": m.group, "region": m.region, "state": m.state, "checks": checks(m), "host": host(m), "notes": notes(m), "image": m.image }))
        .collect();
    if !rows.is_empty() {
        data!("{}", table(&rows, ""));
    }
    say!("{} of {} Machines", rows.len(), all.len());
    Ok(())
}

fn checks(machine: &Machine) -> String {
    let passing = machine
        .checks
        .iter()
        .filter(|c| c.status == CheckStatus::Passing)
        .count();
    if machine.checks.is_empty() {
        "-".to_owned()
    } else {
        format!("{passing}/{} passing", machine.checks.len())
    }
}

fn host(machine: &Machine) -> &'static str {
    match machine.host_status {
        HostStatus::Ok => "ok",
        HostStatus::Unknown => "unknown",
        HostStatus::Unreachable => "UNREACHABLE",
    }
}

fn notes(machine: &Machine) -> String {
    let mut notes = Vec::new();
    if machine.cordoned {
        notes.push("cordoned".to_owned());
    }
    if !machine.standbys.is_empty() {
        notes.push("standby".to_owned());
    }
    if machine.out_of_memory_kills > 0 {
        notes.push(format!("{} out of memory", machine.out_of_memory_kills));
    }
    if let Some(owner) = &machine.lease_owner {
        notes.push(format!("leased by {owner}"));
    }
    notes.join(", ")
}

fn one(machine: &Machine) {
    data!("{} ({}) of app {}", machine.id, machine.name, machine.app);
    data!(
        "  {} in {}, group {}, host {}",
        machine.state,
        machine.region,
        machine.group,
        host(machine)
    );
    data!(
        "  image {}{}",
        machine.image,
        machine
            .image_digest
            .as_ref()
            .map_or_else(String::new, |d| format!("@{d}"))
    );
    data!("  version {}", machine.instance_id);
    for check in &machine.checks {
        data!(
            "  check {}: {:?} {}",
            check.name,
            check.status,
            check.output.lines().next().unwrap_or_default()
        );
    }
    let notes = notes(machine);
    if !notes.is_empty() {
        data!("  {}", notes);
    }
    if let Some(address) = &machine.private_address {
        data!(
            "\nA console on it:\n  fly ssh console -a {} -A {}",
            machine.app,
            address
        );
    }
}
