//! The fleets that are worked on, and the process that serves one.

use anyhow::Result;
use std::path::PathBuf;

use groundcrew_fleet::api::{ListQuery, Machine};
use groundcrew_fleet::{Behaviour, Fleet, Generated, Settings, Span, Time, generate};
use groundcrew_simulator::{Pace, SimulatorConfig};

/// Restarts take two to six seconds in all: what the promise says.
const RESTART_MS: (u64, u64) = (2000, 6000);
const SEED: u64 = 7;
/// The one app.
pub(crate) const APP: &str = "web";

#[derive(Debug, clap::Args)]
pub(crate) struct Serve {
    /// How many Machines.
    #[arg(long)]
    machines: usize,
    /// What they are like.
    #[arg(long, value_enum, default_value_t = Kind::Restarts)]
    kind: Kind,
    /// In how many regions; all of the model's if 0.
    #[arg(long, default_value_t = 0)]
    regions: usize,
    /// Seconds of the fleet in one second.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// These Machines instead: what `GET /_sim/fleet` of another answered.
    #[arg(long)]
    from: Option<PathBuf>,
}

/// What a fleet is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// Restarts take two to six seconds.
    Restarts,
    /// Every create, boot and first check takes the same.
    Creates,
    /// Every update takes its own time.
    Updates,
}

/// From the create of a Machine to its start, to its being started, and to its first check.
pub(crate) const CREATE_MS: [u64; 3] = [500, 3000, 2000];

/// All of them started, in one app, with checks every two seconds.
pub(crate) fn fleet(machines: usize, kind: Kind, regions: usize) -> Fleet {
    let settings = settings(kind, regions);
    let wanted = Generated {
        machines,
        apps: 1,
        idle_ones: false,
    };
    let made = generate(settings.clone(), &wanted);
    if kind == Kind::Restarts {
        return made;
    }
    let mut all = made.list(APP, &ListQuery::default()).unwrap_or_default();
    for machine in &mut all {
        for check in ["/services/0/checks/0/interval", "/checks/worker/interval"] {
            if let Some(interval) = machine.config.pointer_mut(check) {
                *interval = "2s".into();
            }
        }
    }
    adopted(settings, all)
}

/// A code of three letters.
fn region(number: usize) -> String {
    let letter = |n: usize| char::from(b'a' + (n % 26) as u8);
    [letter(number / 26), letter(number), 'x'].iter().collect()
}

fn adopted(settings: Settings, machines: Vec<Machine>) -> Fleet {
    let mut fleet = Fleet::new(settings);
    fleet.adopt(APP, machines);
    fleet
}

fn settings(kind: Kind, regions: usize) -> Settings {
    let mut settings = Settings {
        seed: SEED,
        start: Time::from(jiff::Timestamp::now()),
        behaviour: Behaviour::seeded().with_restart_total(RESTART_MS.0, RESTART_MS.1),
        ..Settings::default()
    };
    if regions > 0 {
        settings.regions = (0..regions).map(region).collect();
    }
    let [create, boot, first_check] = CREATE_MS.map(Span::constant);
    match kind {
        Kind::Restarts => settings,
        Kind::Creates => Settings {
            behaviour: Behaviour {
                create,
                boot,
                first_check,
                ..Behaviour::seeded()
            },
            ..settings
        },
        Kind::Updates => Settings {
            behaviour: Behaviour::seeded(),
            ..settings
        },
    }
}

/// The app's Machines out of what `GET /_sim/fleet` answered.
fn exported(file: &std::path::Path) -> Result<Vec<Machine>> {
    let all: serde_json::Value = serde_json::from_slice(&std::fs::read(file)?)?;
    Ok(serde_json::from_value(all["apps"][APP].clone())?)
}

/// Serves at its pace, with Fly's rate limits, until standard input closes.
pub(crate) async fn serve(arguments: Serve) -> Result<()> {
    let fleet = match &arguments.from {
        Some(file) => adopted(settings(arguments.kind, arguments.regions), exported(file)?),
        None => fleet(arguments.machines, arguments.kind, arguments.regions),
    };
    let config = SimulatorConfig {
        pace: Pace::Scaled(arguments.scale),
        ..SimulatorConfig::new(fleet)
    };
    let running = config.start().await?;
    println!("{}", running.base_url());
    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()))
        .await??;
    Ok(())
}
