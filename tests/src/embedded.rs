//! The engine inside the test's own process.

use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result, anyhow};
use groundcrew::journal::{Actor, Mode};
use groundcrew::store::Store;
use groundcrew::{
    CompiledCache, Engine, EngineParts, Limits, PluginSource, Policy, RealClock, RunRequest, Scale,
    Target, runbook,
};
use groundcrew_capabilities::fly;
use groundcrew_simulator::DEFAULT_TOKEN;
use jiff::Timestamp;

use crate::{Token, binary};

/// The plugins as they were built.
struct Built(Vec<(String, Vec<u8>)>);

impl PluginSource for Built {
    fn component(&self, name: &str) -> Result<Option<Vec<u8>>, String> {
        let found = self.0.iter().find(|(built, _)| *built == name);
        Ok(found.map(|(_, bytes)| bytes.clone()))
    }

    fn names(&self) -> Vec<String> {
        self.0.iter().map(|(name, _)| name.clone()).collect()
    }
}

fn built() -> Result<Built> {
    let directory = binary()?.with_file_name("../plugins");
    let files = std::fs::read_dir(&directory).with_context(|| directory.display().to_string())?;
    let mut built = Vec::new();
    for entry in files {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "wasm") {
            let name = path.file_stem().and_then(|name| name.to_str());
            let name = name.context("a component without a name")?;
            built.push((name.to_owned(), std::fs::read(&path)?));
        }
    }
    Ok(Built(built))
}

fn compiled() -> Result<CompiledCache> {
    static DIRECTORY: OnceLock<tempfile::TempDir> = OnceLock::new();
    if DIRECTORY.get().is_none() {
        let _ = DIRECTORY.set(tempfile::tempdir()?);
    }
    let path = DIRECTORY.get().context("no directory")?.path();
    let directory = cap_std::fs::Dir::open_ambient_dir(path, cap_std::ambient_authority())?;
    Ok(CompiledCache::new(directory)?)
}

/// An engine with the bundled plugins, compiled once for the whole test program.
pub fn engine(store: Arc<dyn Store>) -> Result<Arc<Engine>> {
    let engine = Engine::new(EngineParts {
        capabilities: groundcrew_capabilities::all(),
        plugins: vec![Box::new(built()?)],
        store,
        wall: Arc::new(RealClock::new(Timestamp::now(), Scale::REAL)),
        limits: Limits::default(),
        cache: Some(compiled()?),
    })?;
    Ok(Arc::new(engine))
}

/// A simulator that was started with its usual tokens.
pub fn target(address: &str, scale: f64) -> Result<Target> {
    let token = Token(DEFAULT_TOKEN);
    let organisation = Some("groundcrew");
    let scale = Scale::new(scale).context("no scale")?;
    let addresses = fly::Addresses {
        machines_api: Some(address),
        ..fly::Addresses::default()
    };
    Ok(fly::target(
        "test",
        organisation,
        scale,
        addresses,
        Some(&token),
        &[],
    )?)
}

/// A run of a runbook's text.
pub fn request(
    text: &str,
    inputs: &[(&str, &str)],
    target: Target,
    seed: u64,
) -> Result<RunRequest> {
    let runbook = runbook::check(text).map_err(|wrong| anyhow!("{wrong:?}"))?;
    let pairs: Vec<(String, String)> = inputs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let inputs = runbook.bind_inputs(&pairs);
    Ok(RunRequest {
        inputs: inputs.map_err(|wrong| anyhow!("{wrong:?}"))?,
        runbook,
        text: text.to_owned(),
        secrets: serde_json::Value::Null,
        target,
        mode: Mode::Perform,
        actor: Actor::default(),
        policy: Policy::default(),
        seed,
        faults: Vec::new(),
        plan: None,
        accepted_drift: Vec::new(),
    })
}
