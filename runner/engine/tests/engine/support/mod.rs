//! What the tests of the engine share: guests, a capability, a store that can be watched, a wall
//! clock that stands still, and an engine made of them.

pub(crate) mod guest;
pub(crate) mod ledger;
pub(crate) mod store;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use groundcrew::journal::{
    Actor, Delivered, Entry, Intended, Mode, Note, NoteBody, Record, RunState, Settled, StepEnded,
    StepProblem,
};
use groundcrew::store::Store;
use groundcrew::{
    Admitted, BoxFuture, Capability, Clock, Credential, CredentialSource, Engine, EngineParts,
    Limits, Place, PluginSource, Policy, Refusal, RunHandle, RunReport, RunRequest, Scheme, Secret,
    StartError, Target, Unobserved,
};
use jiff::Timestamp;
use tokio::sync::Notify;

pub(crate) use guest::{GuestSource, component, guest, times};
pub(crate) use ledger::{Event, Ledger};
pub(crate) use store::Watched;

/// A text that must never be seen anywhere.
pub(crate) const CANARY: &str = "canary-7f3a9c-secret";

/// A wall clock that moves only when told to. Its sleepers wake only when told to: no heartbeat
/// without [`Wall::wake`].
#[derive(Clone)]
pub(crate) struct Wall {
    now: Arc<Mutex<Timestamp>>,
    woken: Arc<Notify>,
}

impl Wall {
    pub(crate) fn at(now: Timestamp) -> Self {
        Self {
            now: Arc::new(Mutex::new(now)),
            woken: Arc::default(),
        }
    }

    /// One sleeper wakes: the one there is, or the next.
    pub(crate) fn wake(&self) {
        self.woken.notify_one();
    }

    pub(crate) fn advance(&self, seconds: i64) {
        let mut now = self.now.lock().unwrap();
        *now = now
            .checked_add(jiff::SignedDuration::from_secs(seconds))
            .unwrap();
    }
}

impl Clock for Wall {
    fn now(&self) -> Timestamp {
        *self.now.lock().unwrap()
    }

    fn sleep(&self, _duration: Duration) -> BoxFuture<'static, ()> {
        let woken = self.woken.clone();
        Box::pin(async move { woken.notified().await })
    }
}

struct Memory(BTreeMap<String, Vec<u8>>);

impl PluginSource for Memory {
    fn component(&self, name: &str) -> Result<Option<Vec<u8>>, String> {
        Ok(self.0.get(name).cloned())
    }

    fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }
}

struct Canary;

impl CredentialSource for Canary {
    fn reference(&self) -> String {
        "env://TOKEN".to_owned()
    }

    fn resolve(&self) -> Result<Secret, String> {
        Ok(Secret::new(CANARY))
    }
}

/// An engine and everything around it.
pub(crate) struct Stage {
    pub(crate) engine: Arc<Engine>,
    pub(crate) store: Arc<Watched>,
    pub(crate) ledger: Ledger,
    pub(crate) wall: Wall,
    pub(crate) policy: Policy,
}

/// The runbook that most tests use: one step `s` of the plugin `p` with every verb.
pub(crate) const ONE: &str = r#"
name = "one"
summary = "One step."
[[step]]
id = "s"
plugin = "p"
[step.grant.ledger]
apps = ["*"]
verbs = ["write", "read", "wait", "keep"]
"#;

impl Stage {
    /// With one plugin, `p`.
    pub(crate) fn new(limits: Limits, plugin: &GuestSource) -> Self {
        Self::with_plugins(limits, &[("p", plugin.build())])
    }

    pub(crate) fn with_plugins(limits: Limits, plugins: &[(&str, Vec<u8>)]) -> Self {
        Self::with(limits, plugins, Vec::new())
    }

    /// With further capabilities beside the ledger.
    pub(crate) fn with(
        limits: Limits,
        plugins: &[(&str, Vec<u8>)],
        mut capabilities: Vec<Arc<dyn Capability>>,
    ) -> Self {
        let ledger = Ledger::default();
        let store = Arc::new(Watched::new(ledger.log.clone()));
        let wall = Wall::at(Timestamp::from_second(1_800_000_000).unwrap());
        let plugins = plugins
            .iter()
            .map(|(name, bytes)| ((*name).to_owned(), bytes.clone()))
            .collect();
        capabilities.push(Arc::new(ledger.clone()));
        let parts = EngineParts {
            capabilities,
            plugins: vec![Box::new(Memory(plugins))],
            store: store.clone(),
            wall: Arc::new(wall.clone()),
            limits,
            cache: None,
        };
        Self {
            engine: Arc::new(Engine::new(parts).unwrap()),
            store,
            ledger,
            wall,
            policy: Policy::default(),
        }
    }

    pub(crate) fn request(&self, runbook: &str, mode: Mode, seed: u64) -> RunRequest {
        let checked = groundcrew::runbook::check(runbook).expect("the test's runbook is valid");
        RunRequest {
            inputs: checked.bind_inputs(&[]).unwrap(),
            runbook: checked,
            text: runbook.to_owned(),
            secrets: serde_json::Value::Null,
            target: target(),
            mode,
            actor: Actor::default(),
            policy: self.policy.clone(),
            seed,
            faults: Vec::new(),
            plan: None,
            accepted_drift: Vec::new(),
        }
    }

    pub(crate) async fn admit(&self, runbook: &str, seed: u64) -> Result<Admitted, Vec<Refusal>> {
        self.engine
            .admit(self.request(runbook, Mode::Perform, seed))
            .await
    }

    /// Starts a run; `seed` makes its id.
    pub(crate) async fn start(&self, runbook: &str, seed: u64) -> Result<RunHandle, StartError> {
        let admitted = self
            .admit(runbook, seed)
            .await
            .expect("the test's run is admitted");
        self.engine.start(admitted, Arc::new(Unobserved)).await
    }

    /// Runs to the end.
    pub(crate) async fn run(&self, runbook: &str, mode: Mode) -> Ended {
        let admitted = self
            .engine
            .admit(self.request(runbook, mode, 1))
            .await
            .expect("the test's run is admitted");
        let handle = self
            .engine
            .start(admitted, Arc::new(Unobserved))
            .await
            .expect("the test's run starts");
        let report = tokio::time::timeout(Duration::from_secs(60), handle.finished())
            .await
            .expect("the run ends");
        self.ended(report)
    }

    pub(crate) fn ended(&self, report: RunReport) -> Ended {
        let (records, state) = self.engine.journal(&report.run).expect("the journal folds");
        Ended {
            report,
            records,
            state,
        }
    }

    /// The token of a run's claim, for somebody who knows that its process is gone.
    pub(crate) fn token(&self, run: &str) -> Option<u64> {
        let found = self.store.run(run, self.wall.now());
        Some(found.expect("the run is here").token)
    }

    /// Returns once `count` effects have been performed.
    pub(crate) async fn performed(&self, count: usize) {
        let enough = async {
            while self.ledger.performed().len() < count {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), enough)
            .await
            .expect("the effects are performed");
    }
}

/// A target with one place on loopback, and a credential.
pub(crate) fn target() -> Target {
    target_at("test", "http://127.0.0.1:9")
}

/// The same elsewhere. The place is called as the golden journals call it.
pub(crate) fn target_at(name: &str, at: &str) -> Target {
    let url = groundcrew::address(name, at, &["http", "https"]).unwrap();
    let trusted = [at.to_owned()];
    let canary = Credential::resolve(name, &url, &Canary, Scheme::BEARER, &trusted).unwrap();
    let place = Place::new(url, Some(&canary));
    Target::new(name, None, groundcrew::Scale::REAL)
        .with_place("machines_api", place)
        .unwrap()
}

/// A run that is over, and its journal.
pub(crate) struct Ended {
    pub(crate) report: RunReport,
    pub(crate) records: Vec<Record>,
    pub(crate) state: RunState,
}

impl Ended {
    /// The end of step `s`.
    pub(crate) fn step(&self) -> &StepEnded {
        self.state.steps["s"]
            .ended
            .as_ref()
            .expect("the step has ended")
    }

    /// Why step `s` failed.
    #[track_caller]
    pub(crate) fn problem(&self) -> &StepProblem {
        self.step()
            .problem
            .as_ref()
            .unwrap_or_else(|| panic!("the step should have failed: {:?}", self.step()))
    }

    /// The code and message that stopped the plugin of step `s`.
    #[track_caller]
    pub(crate) fn stopped_by(&self) -> (&str, &str) {
        let problem = self.problem();
        (problem.code.as_deref().unwrap_or("none"), &problem.message)
    }

    /// The numbers that the plugin of step `s` said.
    #[track_caller]
    pub(crate) fn said(&self) -> Vec<u64> {
        let output = self.step().output.as_ref().and_then(|o| o.as_str());
        let output = output.unwrap_or_else(|| panic!("the step said nothing: {:?}", self.step()));
        output
            .split_terminator(',')
            .map(|n| n.parse().unwrap())
            .collect()
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.records
            .iter()
            .map(|record| record.entry().unwrap())
            .collect()
    }

    pub(crate) fn intended(&self) -> Vec<Intended> {
        self.entries()
            .into_iter()
            .filter_map(|e| {
                if let Entry::Intended(i) = e {
                    Some(i)
                } else {
                    None
                }
            })
            .collect()
    }

    pub(crate) fn settled(&self) -> Vec<Settled> {
        self.entries()
            .into_iter()
            .filter_map(|e| {
                if let Entry::Settled(s) = e {
                    Some(s)
                } else {
                    None
                }
            })
            .collect()
    }

    pub(crate) fn delivered(&self) -> Vec<Delivered> {
        self.entries()
            .into_iter()
            .filter_map(|e| {
                if let Entry::Delivered(d) = e {
                    Some(d)
                } else {
                    None
                }
            })
            .collect()
    }

    /// What was said to people, in text.
    pub(crate) fn notes(&self) -> Vec<String> {
        let text = |entry: Entry| match entry {
            Entry::Note(Note {
                note: NoteBody::Text { message, .. },
                ..
            }) => Some(message),
            _ => None,
        };
        self.entries().into_iter().filter_map(text).collect()
    }
}
