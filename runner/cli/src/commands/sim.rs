//! `groundcrew sim`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args as Arguments;
use groundcrew_fleet::{
    Behaviour, CATALOGUE, Fate, FaultRule, Fleet, Generated, Settings, Time, api, generate,
};
use groundcrew_simulator::{DEFAULT_READ_TOKEN, DEFAULT_TOKEN, Pace, SimulatorConfig};
use tokio::signal::unix::{SignalKind, signal};

use crate::context::{Shared, scale};
use crate::exit::Exit;
use crate::shown::as_json;
use crate::terminal::{data, say};

/// Serve a simulated fleet as Fly's Machines API
#[derive(Debug, Arguments)]
pub(crate) struct Args {
    /// How many Machines to make up
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    machines: u32,
    /// Over how many apps
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=100))]
    apps: u32,
    /// Decides everything that is random
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seconds of the fleet's time in one second
    #[arg(long, default_value_t = 1.0)]
    time_scale: f64,
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:4280")]
    listen: SocketAddr,
    /// Load a real fleet instead: the output of `fly machine list --json`
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// The name of the app that is loaded
    #[arg(long, default_value = "app", requires = "from")]
    app: String,
    /// Restarts take FROM..TO milliseconds in all
    #[arg(long, value_name = "FROM..TO")]
    restart_ms: Option<String>,
    /// What goes wrong: ROUTE[/MACHINE]@WHEN:KIND, such as `machines.restart@5%:unavailable`
    #[arg(long = "fault", value_name = "RULE")]
    faults: Vec<FaultRule>,
    /// What becomes of one Machine: APP/N=FATE, N counting the app's started `web` Machines from 0, such
    /// as `web/3=never-starts`
    #[arg(long = "fate", value_name = "APP/N=FATE")]
    fates: Vec<String>,
    /// Do not keep Fly's rate limits
    #[arg(long)]
    no_rate_limits: bool,
    /// Print every fault, rate, fate and tag of an image, with an example of each, and end
    #[arg(long)]
    list_faults: bool,
}

fn list_faults(json: bool) {
    for entry in CATALOGUE {
        if json {
            data!("{}", as_json(&serde_json::json!(entry)));
        } else {
            data!("{:<6} {:<42} {}", entry.kind, entry.example, entry.about);
        }
    }
}

pub(crate) async fn run(shared: &Shared, args: Args) -> Result<(), Exit> {
    if args.list_faults {
        list_faults(shared.json);
        return Ok(());
    }
    scale(args.time_scale).map_err(|why| Exit::usage(why, None))?;
    let mut fleet = fleet(&args)?;
    for fate in &args.fates {
        set_fate(&mut fleet, fate)?;
    }
    let count: usize = fleet
        .apps()
        .apps
        .iter()
        .map(|app| fleet.machine_ids(&app.name).len())
        .sum();
    let apps: Vec<String> = fleet
        .apps()
        .apps
        .iter()
        .map(|app| app.name.clone())
        .collect();
    let organisation = fleet.settings().organisation.clone();
    let config = SimulatorConfig {
        bind: args.listen,
        pace: Pace::Scaled(args.time_scale),
        rate_limits: !args.no_rate_limits,
        faults: args.faults,
        ..SimulatorConfig::new(fleet)
    };
    let running = config.start().await.map_err(|e| {
        Exit::failed(format!(
            "the simulator cannot listen on {}: {}",
            args.listen,
            source(&e)
        ))
    })?;
    say!(
        "{} Machines of the apps {} in the organisation `{}`, {} times as fast as the wall",
        count,
        apps.join(", "),
        organisation,
        args.time_scale
    );
    say!(
        "tokens: {} (reads and writes), {} (reads)",
        DEFAULT_TOKEN,
        DEFAULT_READ_TOKEN
    );
    data!("{}", running.base_url());
    let trouble = |e: std::io::Error| Exit::bug(format!("signals cannot be listened for: {e}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(trouble)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(trouble)?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    running.stop(Duration::from_millis(200)).await;
    Ok(())
}

fn source(e: &dyn std::error::Error) -> String {
    e.source()
        .map_or_else(|| e.to_string(), ToString::to_string)
}

fn fleet(args: &Args) -> Result<Fleet, Exit> {
    let behaviour = match &args.restart_ms {
        None => Behaviour::seeded(),
        Some(range) => {
            let parsed = range
                .split_once("..")
                .and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
            let (from, to) = parsed.filter(|(a, b): &(u64, u64)| a <= b).ok_or_else(|| {
                Exit::usage(format!("`{range}` is no range"), Some("write `2000..6000`"))
            })?;
            Behaviour::seeded().with_restart_total(from, to)
        }
    };
    let settings = Settings {
        seed: args.seed,
        start: Time::from(jiff::Timestamp::now()),
        behaviour,
        ..Settings::default()
    };
    let Some(path) = &args.from else {
        return Ok(generate(
            settings,
            &Generated {
                machines: args.machines as usize,
                apps: args.apps as usize,
                ..Generated::default()
            },
        ));
    };
    let text = std::fs::read_to_string(path)
        .map_err(|e| Exit::usage(format!("`{}` cannot be read: {e}", path.display()), None))?;
    let machines: Vec<api::Machine> = serde_json::from_str(&text).map_err(|e| {
        Exit::usage(
            format!("`{}` is not a list of Machines: {e}", path.display()),
            Some("it has to be what `fly machine list --json` prints"),
        )
    })?;
    let mut fleet = Fleet::new(settings);
    fleet.adopt(&args.app, machines);
    Ok(fleet)
}

fn set_fate(fleet: &mut Fleet, text: &str) -> Result<(), Exit> {
    let wrong = |why: &str| {
        Exit::usage(
            format!("`{text}`: {why}"),
            Some("write `web/3=never-starts`"),
        )
    };
    let (whom, fate) = text
        .split_once('=')
        .ok_or_else(|| wrong("there is no `=`"))?;
    let (app, number) = whom
        .rsplit_once('/')
        .ok_or_else(|| wrong("there is no `/`"))?;
    let number: usize = number
        .parse()
        .map_err(|_| wrong("the Machine is not a number"))?;
    let fate: Fate = fate.parse().map_err(|why: String| {
        Exit::usage(
            format!("`{text}`: {why}"),
            Some("`groundcrew sim --list-faults` shows what there is"),
        )
    })?;
    let query = api::ListQuery {
        states: vec!["started".to_owned()],
        ..api::ListQuery::default()
    };
    let machines = fleet
        .list(app, &query)
        .map_err(|e| wrong(e.body.wording()))?;
    let mut ids: Vec<String> = machines
        .iter()
        .filter(|m| m.process_group() == "web" && m.config_view().standbys().is_empty())
        .map(|m| m.id.clone())
        .collect();
    ids.sort();
    let id = ids
        .get(number)
        .ok_or_else(|| wrong("there are not that many Machines"))?;
    fleet.set_fate(app, id, fate);
    Ok(())
}
