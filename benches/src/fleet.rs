//! The fleet that is restarted, and the process that serves it.

use anyhow::Result;
use groundcrew_fleet::{Behaviour, Fleet, Generated, Settings, Time, generate};
use groundcrew_simulator::SimulatorConfig;

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
}

/// All of them started, in one app.
pub(crate) fn fleet(machines: usize) -> Fleet {
    let settings = Settings {
        seed: SEED,
        start: Time::from(jiff::Timestamp::now()),
        behaviour: Behaviour::seeded().with_restart_total(RESTART_MS.0, RESTART_MS.1),
        ..Settings::default()
    };
    let wanted = Generated {
        machines,
        apps: 1,
        idle_ones: false,
    };
    generate(settings, &wanted)
}

/// Serves in real time, with Fly's rate limits, until standard input closes.
pub(crate) async fn serve(arguments: Serve) -> Result<()> {
    let running = SimulatorConfig::new(fleet(arguments.machines))
        .start()
        .await?;
    println!("{}", running.base_url());
    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()))
        .await??;
    Ok(())
}
