//! End-to-end tests: the real binary, real wasm, the simulator.
//!
//! [`World`] starts a simulator and runs the binary against it in a home of its own. After every
//! test [`World::verify`] makes the checks that hold whatever happened: the simulator's log of
//! applied writes, by effect id, against the journals; no write from a rehearsal; every journal
//! folds; no lease left; no byte of the token anywhere.

pub mod deploys;
pub mod embedded;
pub mod mortal;
pub mod packages;
pub mod processes;
pub mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use groundcrew::audit::{AuditLog, Key};
use groundcrew::journal::{Decision, Mode, RunState};
use groundcrew::store::{SqliteStore, Store};
use groundcrew_fleet::{Behaviour, Fleet, Generated, Settings, Time, api, generate};
use groundcrew_simulator::{Pace, Running, SimulatorConfig, Token as Known};
use jiff::Timestamp;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// The examples of `CONTRIBUTING.md` are compiled.
#[cfg(doctest)]
#[doc = include_str!("../../CONTRIBUTING.md")]
struct Contributing;

/// The token that may write. It must show up nowhere.
pub const CANARY: &str = "canary-7f3a9c51-write";
/// The token that may only read.
pub const READ_CANARY: &str = "canary-7f3a9c51-read";

/// What does harm when it is done twice.
const ONCE: [&str; 4] = [
    "machines.restart",
    "machines.update",
    "machines.create",
    "machines.exec",
];

/// A credential that is just there.
pub struct Token(pub &'static str);

impl groundcrew::CredentialSource for Token {
    fn reference(&self) -> String {
        "test".to_owned()
    }

    fn resolve(&self) -> Result<groundcrew::Secret, String> {
        Ok(groundcrew::Secret::new(self.0))
    }
}

/// Where the user's own configuration is, in its home.
const OWN: &str = ".config/groundcrew/config.toml";

/// A simulator, and a home for the binary.
pub struct World {
    /// The simulator.
    pub simulator: Running,
    home: TempDir,
    token: &'static str,
    said: std::sync::Mutex<Vec<String>>,
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Said {
    /// The exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// A made-up fleet whose restarts take one to three seconds of its own time.
pub fn fleet(machines: usize, seed: u64) -> Fleet {
    let settings = Settings {
        seed,
        start: Time::from(Timestamp::now()),
        behaviour: Behaviour::seeded().with_restart_total(1000, 3000),
        ..Settings::default()
    };
    generate(
        settings,
        &Generated {
            machines,
            apps: 2,
            ..Generated::default()
        },
    )
}

impl World {
    /// Serves `fleet` at `scale` times the wall's pace.
    pub async fn start(fleet: Fleet, scale: f64) -> Result<Self> {
        let organisation = fleet.settings().organisation.clone();
        let config = SimulatorConfig {
            pace: Pace::Scaled(scale),
            tokens: vec![
                Known::read_write(CANARY, &organisation),
                Known::read_only(READ_CANARY, &organisation),
            ],
            ..SimulatorConfig::new(fleet)
        };
        let simulator = config.start().await?;
        let home = tempfile::tempdir()?;
        let text = format!(
            "default_target = \"test\"\n[target.test]\norganisation = \"{organisation}\"\nmachines_api = \"{}\"\ncredential = \"env://TEST_TOKEN\"\ntime_scale = {scale:.1}\n",
            simulator.base_url()
        );
        // The user's own configuration: a project may not say what is on this machine.
        let own = home.path().join(OWN);
        std::fs::create_dir_all(own.parent().context("it is in a directory")?)?;
        std::fs::write(own, text)?;
        Ok(Self {
            simulator,
            home,
            token: CANARY,
            said: std::sync::Mutex::default(),
        })
    }

    /// From now on the target is known to speak HTTP/2.
    pub fn use_http2(&self) -> Result<()> {
        self.configure("http2 = true\n")
    }

    /// The user's own configuration, which has the target.
    pub fn configuration(&self) -> PathBuf {
        self.home.path().join(OWN)
    }

    /// Adds to it: to the target, or tables of their own.
    pub fn configure(&self, text: &str) -> Result<()> {
        let path = self.configuration();
        let before = std::fs::read_to_string(&path)?;
        Ok(std::fs::write(path, format!("{before}{text}"))?)
    }

    /// From now on with this token.
    pub fn use_token(&mut self, token: &'static str) {
        self.token = token;
    }

    /// The project's directory.
    pub fn project(&self) -> PathBuf {
        self.home.path().to_owned()
    }

    /// The state directory.
    pub fn state(&self) -> PathBuf {
        self.home.path().join("state")
    }

    /// The binary with these arguments, ready to be started.
    pub fn command(&self, arguments: &[&str]) -> Result<Command> {
        self.command_in(&self.state(), arguments)
    }

    /// The same with another state directory, as on another machine.
    pub fn command_in(&self, state: &Path, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(binary()?);
        // Compiled plugins are shared between tests; nothing else is.
        let cache = std::env::temp_dir().join("groundcrew-tests-cache");
        command
            .args(["--project"])
            .arg(self.home.path())
            .arg("--state-dir")
            .arg(state)
            .args(arguments)
            .env_clear()
            .env("HOME", self.home.path())
            .env("XDG_CACHE_HOME", cache)
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("USER", "tester")
            .env("TEST_TOKEN", self.token)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        Ok(command)
    }

    /// Runs the binary to its end.
    pub async fn run(&self, arguments: &[&str]) -> Result<Said> {
        let child = self.command(arguments)?.spawn()?;
        self.finish(child).await
    }

    /// Runs the same several times, begun at the same time, each to its end.
    pub async fn at_once(&self, count: usize, arguments: &[&str]) -> Result<Vec<Said>> {
        let children: Result<Vec<_>> = (0..count)
            .map(|_| Ok(self.command(arguments)?.spawn()?))
            .collect();
        let mut all = Vec::new();
        for child in children? {
            all.push(self.finish(child).await?);
        }
        Ok(all)
    }

    /// The newest run, as `runs list --json` shows it.
    pub async fn newest(&self) -> Result<serde_json::Value> {
        let list = self.run(&["runs", "list", "--json"]).await?;
        let line = list.out.lines().next().context("there is no run")?;
        Ok(serde_json::from_str(line)?)
    }

    /// The newest run's id.
    pub async fn newest_run(&self) -> Result<String> {
        let run = self.newest().await?;
        Ok(run["run"].as_str().context("it has no id")?.to_owned())
    }

    /// Waits for a started binary.
    pub async fn finish(&self, child: Child) -> Result<Said> {
        // A minute is far more than any test needs; a test that hangs should say so.
        let output = tokio::time::timeout(Duration::from_secs(60), child.wait_with_output())
            .await
            .context("the command hangs")??;
        let said = Said {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        if let Ok(mut all) = self.said.lock() {
            all.push(format!("{}{}", said.out, said.err));
        }
        Ok(said)
    }

    /// Waits until the simulator has applied at least `count` writes of a command.
    pub async fn until_applied(&self, command: &str, count: usize) -> Result<()> {
        for _ in 0..1000 {
            if self.applied(command).len() >= count {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        bail!("the simulator has not seen {count} of `{command}`")
    }

    /// Effect id, app and Machine of each write of a command that was really applied.
    pub fn applied(&self, command: &str) -> Vec<(Option<String>, String, String)> {
        self.simulator.act(|fleet| {
            let all = fleet.applied().entries();
            all.filter(|a| a.command == command)
                .map(|a| (a.effect.clone(), a.app.clone(), a.id.clone()))
                .collect()
        })
    }

    /// How many requests that are no reads have arrived. (Some questions are asked by POST.)
    pub fn writes(&self) -> usize {
        self.simulator.act(|fleet| {
            let all = fleet.requests().entries();
            let asks = ["platform.placements", "metrics.query"];
            all.filter(|request| request.method != "GET" && !asks.contains(&request.route))
                .count()
        })
    }

    /// The ids of an app's started Machines of a group that stand by for no other.
    pub fn started(&self, app: &str, group: &str) -> Result<BTreeSet<String>> {
        let query = api::ListQuery {
            states: vec!["started".to_owned()],
            ..api::ListQuery::default()
        };
        let machines = self
            .simulator
            .act(|fleet| fleet.list(app, &query))
            .map_err(|e| anyhow::anyhow!("{}", e.body.wording()))?;
        let of_group = machines
            .iter()
            .filter(|m| m.process_group() == group && m.config_view().standbys().is_empty());
        Ok(of_group.map(|m| m.id.clone()).collect())
    }

    /// What holds after every test.
    pub fn verify(&self) -> Result<()> {
        let store = SqliteStore::open(&self.state())?;
        let mut intended = BTreeMap::new();
        for run in store.runs(Timestamp::now(), 1000)? {
            let records = store.read(&run.run, 0, usize::MAX)?;
            let state = RunState::fold(&records).with_context(|| format!("run {}", run.run))?;
            for (step, effect) in state.effects() {
                let id = format!("{}/{step}/{}", run.run, effect.intended.effect);
                intended.insert(id, (state.mode(), effect.intended.clone()));
            }
        }
        let (applied, leases): (Vec<_>, Vec<_>) = self.simulator.act(|fleet| {
            let applied = fleet.applied().entries();
            let applied = applied
                .map(|a| (a.command, a.app.clone(), a.id.clone(), a.effect.clone()))
                .collect();
            let apps = fleet.apps().apps;
            let ids = apps.iter().flat_map(|app| {
                let ids = fleet.machine_ids(&app.name);
                ids.into_iter().map(|id| (app.name.clone(), id))
            });
            let leases = ids.filter(|(app, id)| fleet.lease_get(app, id).is_ok());
            (applied, leases.collect())
        });
        let mut times: BTreeMap<String, usize> = BTreeMap::new();
        for (command, app, id, effect) in applied {
            // Taking leases over in `runs cancel` is no effect of a plugin.
            let Some(effect) = effect.filter(|e| !e.contains("/cancel/")) else {
                continue;
            };
            let (mode, intent) = intended.get(&effect).with_context(|| {
                format!("the simulator applied {command} for {effect}, which no journal intends")
            })?;
            ensure!(
                *mode == Some(Mode::Perform),
                "a rehearsal wrote: {command} for {effect}"
            );
            ensure!(
                intent.decision == Decision::Allowed,
                "a denied effect was applied: {effect}"
            );
            let request = &intent.request;
            // What makes a Machine names none.
            let there = request
                .subject
                .as_ref()
                .is_none_or(|subject| *subject == id);
            ensure!(
                request.app.as_ref() == Some(&app) && there,
                "{effect} was applied to {app}/{id}, not to its target"
            );
            if ONCE.contains(&command) {
                *times.entry(effect).or_default() += 1;
            }
        }
        if let Some((effect, count)) = times.iter().find(|(_, count)| **count > 1) {
            bail!("{effect} was done {count} times");
        }
        ensure!(leases.is_empty(), "leases are left behind: {leases:?}");
        self.standbys()?;
        self.audit(&store)?;
        self.no_secret()
    }

    /// What a Machine stands by for is what its environment says.
    fn standbys(&self) -> Result<()> {
        let machines = self.simulator.act(|fleet| {
            let apps = fleet.apps().apps;
            let all = apps.iter().flat_map(|app| fleet.export(&app.name));
            all.collect::<Vec<_>>()
        });
        for machine in machines {
            let of = machine.config_view().standbys();
            let told = machine.config["env"]["FLY_STANDBY_FOR"].as_str();
            ensure!(
                told.unwrap_or_default() == of.join(","),
                "{} stands by for {of:?} and is told {told:?}",
                machine.id
            );
        }
        Ok(())
    }

    /// The audit log, caught up with, verifies.
    fn audit(&self, store: &SqliteStore) -> Result<()> {
        let directory = self.state().join("audit");
        if !directory.is_dir() {
            return Ok(());
        }
        let read = |name: &str| std::fs::read_to_string(directory.join(name));
        let key = Key::from_pair(&read("key")?, &read("key.pub")?)?;
        let files = cap_std::fs::Dir::open_ambient_dir(&directory, cap_std::ambient_authority())?;
        let log = AuditLog::new(files, key);
        log.advance(store)?;
        match groundcrew::audit::verify(store, &log, None) {
            Ok(_) => Ok(()),
            Err(faults) => bail!("the audit log does not verify: {faults:?}"),
        }
    }

    fn no_secret(&self) -> Result<()> {
        let secret = CANARY.as_bytes().get(..16).unwrap_or_default();
        let files = std::fs::read_dir(self.state())?;
        for entry in files.chain(std::fs::read_dir(self.home.path())?) {
            let path = entry?.path();
            if path.is_dir() {
                continue;
            }
            let bytes = std::fs::read(&path)?;
            ensure!(
                !bytes.windows(secret.len()).any(|w| w == secret),
                "the token is in {}",
                path.display()
            );
        }
        let said = self.said.lock().map_err(|_| anyhow::anyhow!("poisoned"))?;
        ensure!(
            !said.iter().any(|text| text.contains("canary-7f3a9c51")),
            "the token was printed"
        );
        Ok(())
    }
}

/// The binary under test: beside the tests' own directory, where the build puts it.
pub fn binary() -> Result<PathBuf> {
    let here = std::env::current_exe()?;
    let directory = here.parent().and_then(|deps| deps.parent());
    let path = directory.context("no directory")?.join("groundcrew");
    ensure!(
        path.is_file(),
        "there is no {}; `cargo xtask test` builds it",
        path.display()
    );
    Ok(path)
}
