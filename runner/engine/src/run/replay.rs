//! Re-executing a run from its journal, without effects: shows that the named plugins really ask for
//! exactly what the journal says, and come to the same end.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use groundcrew_faults::Faults;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::capability::guest::Guest;
use crate::clock::{Clock, RealClock};
use crate::contract::RunInfo;
use crate::engine::{Engine, StartError};
use crate::gate::Gate;
use crate::gate::past::{Diverged, Past};
use crate::gate::shared::{Halt, RunShared};
use crate::gate::writes::Part;
use crate::grant::effective::StepCovers;
use crate::journal::{PluginUsed, RunOpened, StepState, StepStatus, Unobserved, step_id};
use crate::json;
use crate::sandbox::{Plugin, Stopped};
use crate::scale::Scale;
use crate::store::{MemoryStore, NewRun, Store, Writer};

/// Why a run is not shown to be what its journal says.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// Its journal cannot be read.
    #[error(transparent)]
    Start(#[from] StartError),
    /// It cannot be re-executed here.
    #[error("run `{run}` cannot be re-executed: {why}")]
    Unsuited {
        /// The run.
        run: String,
        /// Why.
        why: String,
    },
    /// A plugin asks for something else, or comes to another end.
    #[error(transparent)]
    Diverged(#[from] Diverged),
}

/// A step that did again what its journal says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeated {
    /// The step's key.
    pub step: String,
    /// How many effects it asked for.
    pub effects: usize,
    /// It came to the same end. False where it came to none of its own: it has not ended yet, or was
    /// stopped by the host.
    pub ended: bool,
}

impl Engine {
    /// Re-executes every step of a run that has begun, without effects.
    ///
    /// # Errors
    /// The first step that is not what its journal says.
    pub async fn replay(&self, run: &str) -> Result<Vec<Repeated>, ReplayError> {
        let (_, state) = self.journal(run)?;
        let unsuited = |why: String| ReplayError::Unsuited {
            run: run.to_owned(),
            why,
        };
        let header = state
            .header
            .as_deref()
            .ok_or_else(|| unsuited("it has not begun".to_owned()))?;
        if header.limits != self.limits {
            let why = "this engine's limits are not those that it was started with";
            return Err(unsuited(why.to_owned()));
        }
        let mut repeated = Vec::new();
        for (key, step) in state.steps {
            let Some(began) = step.began.clone() else {
                continue;
            };
            let named = |p: &&PluginUsed| p.name == began.plugin;
            let exact = |p: &&PluginUsed| p.digest == began.digest;
            let mut used = header.plugins.iter();
            let recorded = used.clone().find(exact).or_else(|| used.find(named));
            let plugin = match recorded {
                Some(recorded) => self.plugin_of(&recorded.digest).await,
                None => None,
            };
            let plugin = plugin.ok_or_else(|| {
                unsuited(format!(
                    "the build of plugin `{}` that it ran is not here",
                    began.plugin
                ))
            })?;
            let shared = self.nowhere(header)?;
            let past = Past::new(&key, step.clone());
            let (step_key, grants) = (key.as_str().into(), BTreeMap::new());
            let gate = Gate::new(shared, step_key, Part::Step, grants, Some(past));
            let info = RunInfo {
                id: header.known_as().to_owned(),
                runbook: header.runbook.clone(),
                step: step_id(&key).to_owned(),
                attempt: began.attempt,
                target: header.target["name"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
            };
            let random = crate::capability::guest::random(header.known_as(), &key);
            let guest = Guest::new(Some(gate.clone()), self.limits, info, random, began.now);
            let input = began.input.to_string();
            let result = self.sandbox.run(&plugin, guest, input).await;
            let halted = match &result {
                Err(Stopped::Halt(halt)) => Some(halt.clone()),
                Ok(_) | Err(Stopped::Problem(_)) => gate.nothing_left().err(),
            };
            let beyond = |effect: Option<u64>| {
                effect.is_none_or(|number| !step.effects.contains_key(&number))
            };
            let went_on = match halted {
                None => false,
                // Where the journal of a step ends that has not, nothing more is known.
                Some(Halt::Diverged(diverged))
                    if step.ended.is_none() && beyond(diverged.effect) =>
                {
                    true
                }
                Some(Halt::Diverged(diverged)) => return Err(diverged.into()),
                Some(Halt::Journal(e)) => return Err(StartError::Journal(e).into()),
            };
            let ended = !went_on && same_end(&key, &step, result)?;
            repeated.push(Repeated {
                step: key,
                effects: step.effects.len(),
                ended,
            });
        }
        Ok(repeated)
    }

    /// The plugin of this digest, by whatever name it is here.
    async fn plugin_of(&self, digest: &str) -> Option<Plugin> {
        for name in self.plugin_names() {
            match self.plugin(&name).await {
                Ok(plugin) if plugin.digest == digest => return Some(plugin),
                Ok(_) | Err(_) => {}
            }
        }
        None
    }

    /// A run that nothing comes out of: no executors, and a journal that is forgotten.
    fn nowhere(&self, header: &RunOpened) -> Result<Arc<RunShared>, ReplayError> {
        let store = Arc::new(MemoryStore::default());
        let now = self.wall.now();
        let new = NewRun {
            run: header.run.clone(),
            runbook: header.runbook.clone(),
            target: String::new(),
            mode: header.mode,
            locks: Vec::new(),
            holder: header.actor.clone(),
        };
        let claim = store.open(&new, now, now).map_err(StartError::Store)?;
        let wall = self.wall.clone();
        let clock: Arc<dyn Clock> = Arc::new(RealClock::new(now, Scale::REAL));
        Ok(Arc::new(RunShared {
            id: header.run.as_str().into(),
            clock,
            journal: Writer::start(store, claim, 0, wall, Arc::new(Unobserved)),
            executors: HashMap::new(),
            interrupt: CancellationToken::new(),
            rows: self.rows(),
            writes: Mutex::default(),
            radius: Mutex::default(),
            covers: StepCovers::default(),
            faults: Mutex::new(Faults::new(0, Vec::new())),
            past: Mutex::default(),
            resumed_from: now,
            repeats_only: true,
        }))
    }
}

/// Whether a step came to the end that it had; none where the host ended it, or nothing did.
fn same_end(
    key: &str,
    step: &StepState,
    result: Result<Result<String, crate::contract::Problem>, Stopped>,
) -> Result<bool, Diverged> {
    let Some(recorded) = &step.ended else {
        return Ok(false);
    };
    let other = |what: String| Diverged {
        step: key.to_owned(),
        effect: None,
        what,
    };
    let code = recorded.problem.as_ref().and_then(|p| p.code.as_deref());
    match (recorded.status, code, result) {
        // By the clock, or by an interrupt.
        (_, Some("wall-clock"), _) => Ok(false),
        (StepStatus::Succeeded, _, Ok(Ok(output))) => {
            let output = json::parse(output.as_bytes()).ok();
            match output == recorded.output {
                true => Ok(true),
                false => Err(other("its output is another one".to_owned())),
            }
        }
        (StepStatus::Failed | StepStatus::Cancelled, None, Ok(Err(problem))) => {
            let recorded = recorded.problem.as_ref().map(|p| p.message.as_str());
            match recorded == Some(problem.message.as_str()) {
                true => Ok(true),
                false => Err(other(format!(
                    "recorded problem `{}`, now `{}`",
                    recorded.unwrap_or_default(),
                    problem.message
                ))),
            }
        }
        (_, Some(code), Err(Stopped::Problem(problem)))
            if problem.code.as_deref() == Some(code) =>
        {
            Ok(true)
        }
        // Not JSON, or not of its schema: the plugin came to an end, and the host refused it.
        (StepStatus::Failed, Some("output"), Ok(Ok(_))) => Ok(true),
        (_, _, Ok(_) | Err(_)) => Err(other("it comes to another end".to_owned())),
    }
}
