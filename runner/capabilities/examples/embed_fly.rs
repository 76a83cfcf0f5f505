//! Embeds the engine with the capabilities that come with Groundcrew: rehearses a restart against a
//! simulated fleet, then does it.
//!
//!     cargo xtask plugins
//!     cargo run -p groundcrew-capabilities --example embed_fly
//!
//! Against Fly itself the target has no `machines_api`, and a credential of yours.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use groundcrew::journal::{Actor, Mode};
use groundcrew::store::MemoryStore;
use groundcrew::{
    CredentialSource, Engine, EngineParts, Limits, PluginSource, Policy, RealClock, RunRequest,
    Scale, Secret, Unobserved, runbook,
};
use groundcrew_capabilities::fly;
use groundcrew_fleet::{Generated, Settings, generate};
use groundcrew_simulator::{DEFAULT_TOKEN, Pace, SimulatorConfig};

/// How much faster than the wall the simulator's time passes.
const SCALE: f64 = 20.0;

const RUNBOOK: &str = include_str!("../../../runbooks/restart-by-group.toml");

/// Where a token comes from; yours would ask a vault.
struct Token;

impl CredentialSource for Token {
    fn reference(&self) -> String {
        "vault://simulator".to_owned()
    }
    fn resolve(&self) -> Result<Secret, String> {
        Ok(Secret::new(DEFAULT_TOKEN))
    }
}

#[tokio::main(flavor = "multi_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let fleet = generate(
        Settings::default(),
        &Generated {
            machines: 12,
            apps: 1,
            ..Generated::default()
        },
    );
    let app = fleet.apps().apps[0].name.clone();
    let group = fleet.list(&app, &Default::default())?[0]
        .process_group()
        .to_owned();
    let mut simulator = SimulatorConfig::new(fleet);
    simulator.pace = Pace::Scaled(SCALE);
    let simulator = simulator.start().await?;
    let address = format!("http://{}", simulator.address());

    let engine = Arc::new(Engine::new(EngineParts {
        capabilities: groundcrew_capabilities::all(), // and your own
        plugins: vec![Box::new(Built::here()?)],
        store: Arc::new(MemoryStore::default()),
        wall: Arc::new(RealClock::new(jiff::Timestamp::now(), Scale::REAL)),
        limits: Limits::default(),
        cache: None,
    })?);
    let addresses = fly::Addresses {
        machines_api: Some(&address),
        ..fly::Addresses::default()
    };
    let target = fly::target(
        "sim",
        Some("groundcrew"),
        Scale::new(SCALE).ok_or("no scale")?,
        addresses,
        Some(&Token),
        &[],
    )?;
    for mode in [Mode::Rehearsal, Mode::Perform] {
        let runbook = runbook::check_for(RUNBOOK, &engine.grant_keys());
        let runbook = runbook.map_err(|wrong| wrong[0].message.clone())?;
        let inputs = serde_json::json!({ "app": app, "group": group });
        let inputs = runbook.bind_values(&inputs);
        let request = RunRequest {
            inputs: inputs.map_err(|wrong| wrong[0].to_string())?,
            runbook,
            text: RUNBOOK.to_owned(),
            secrets: serde_json::Value::Null,
            target: target.clone(),
            mode,
            actor: Actor {
                user: "night-shift".to_owned(),
                ..Actor::default()
            },
            policy: Policy::default(),
            seed: 1 + mode as u64,
            faults: Vec::new(),
            plan: None,
            accepted_drift: Vec::new(),
        };
        let admitted = engine.admit(request).await;
        let admitted = admitted.map_err(|refusals| refusals[0].to_string())?;
        let handle = engine.start(admitted, Arc::new(Unobserved)).await?;
        let report = handle.finished().await;
        let step = report.steps.first().ok_or("no step")?;
        let output = step.output.as_ref().ok_or("no output")?;
        println!("{mode:?}: {:?}, {}", report.status, output["totals"]);
    }
    simulator.stop(std::time::Duration::from_secs(1)).await;
    Ok(())
}

/// The bundled plugins, as `cargo xtask plugins` leaves them two folders above this program.
struct Built(PathBuf);

impl Built {
    fn here() -> Result<Self, Box<dyn Error>> {
        let program = std::env::current_exe()?;
        let target = program.ancestors().nth(3).ok_or("no target directory")?;
        Ok(Self(target.join("plugins")))
    }
}

impl PluginSource for Built {
    fn component(&self, name: &str) -> Result<Option<Vec<u8>>, String> {
        let path = self.0.join(name).with_extension("wasm");
        let read = std::fs::read(&path);
        read.map(Some)
            .map_err(|e| format!("{}: {e}; `cargo xtask plugins` builds it", path.display()))
    }

    fn names(&self) -> Vec<String> {
        Vec::new()
    }
}
