//! What an [`Engine`] is made of, and why a run does not start. Its verbs stand in the rooms that tell
//! them: `Engine::admit` in `admit/`, `start`, `plan`, `resume`, `cancel_run` and `replay` in `run/`,
//! `drift` in `rehearse/fits.rs`.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use groundcrew_runbook::GrantKeys;
use jiff::Timestamp;
use thiserror::Error;

use crate::capability::operations::Operations;
use crate::capability::{Capability, terms};
use crate::clock::Clock;
use crate::effect::{Executor, Row, Setting};
use crate::journal::{Illegal, Record, RunState};
use crate::limits::Limits;
use crate::plan::Drift;
use crate::sandbox::cache::CompiledCache;
use crate::sandbox::{Plugin, PluginError, Sandbox};
use crate::store::{JournalError, Store, StoreError};

/// What performs the effects of a run, by capability.
pub(crate) type Executors = HashMap<&'static str, Arc<dyn Executor>>;

/// Where plugins come from: a directory, the binary itself, memory.
pub trait PluginSource: Send + Sync + 'static {
    /// The component of a name; none if there is no such plugin here.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn component(&self, name: &str) -> Result<Option<Vec<u8>>, String>;
    /// The names that are here.
    fn names(&self) -> Vec<String>;
}

/// Runs runbooks. Cheap to keep, meant to be shared.
pub struct Engine {
    pub(crate) sandbox: Sandbox,
    pub(crate) capabilities: Vec<Arc<dyn Capability>>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) wall: Arc<dyn Clock>,
    pub(crate) limits: Limits,
    plugins: Vec<Box<dyn PluginSource>>,
}

/// What an [`Engine`] is made of.
pub struct EngineParts {
    /// What plugins may be granted.
    pub capabilities: Vec<Arc<dyn Capability>>,
    /// Where plugins come from; the first that has a name wins.
    pub plugins: Vec<Box<dyn PluginSource>>,
    /// Where journals are kept.
    pub store: Arc<dyn Store>,
    /// The wall clock.
    pub wall: Arc<dyn Clock>,
    /// The bounds of every run.
    pub limits: Limits,
    /// Where compiled plugins are kept, if anywhere.
    pub cache: Option<CompiledCache>,
}

/// Why a run that was admitted did not start, or a run could not be closed.
#[derive(Debug, Error)]
pub enum StartError {
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The first entries could not be written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The target lacks something that a capability needs.
    #[error("{0}")]
    Capability(String),
    /// The journal of the run does not fold.
    #[error("the journal of run `{run}` is damaged: {illegal}")]
    Damaged {
        /// The run.
        run: String,
        /// Where.
        illegal: Illegal,
    },
    /// The run has ended; there is nothing to close.
    #[error("run `{run}` has ended: {status}")]
    Ended {
        /// The run.
        run: String,
        /// How.
        status: &'static str,
    },
    /// The plan that it applies has expired.
    #[error("the plan has expired at {0}")]
    Expired(Timestamp),
    /// The plan that it applies says that it was made later than now.
    #[error("the plan says that it was made at {0}, which is still to come")]
    Unmade(Timestamp),
    /// The plan that it applies has been applied.
    #[error("the plan has been applied, by run `{0}`")]
    Applied(String),
    /// The target is not as it was when the plan was made, in more than was accepted.
    #[error("the target has changed since the plan was made, in {} places", .0.len())]
    Drifted(Vec<Drift>),
    /// The limits are wider than this host can keep.
    #[error("{0}")]
    Limits(String),
    /// The program itself cannot go on.
    #[error("{0}")]
    Fault(String),
}

impl Engine {
    /// An engine.
    ///
    /// # Errors
    /// If the capabilities cannot be linked together: an embedder's mistake. If the limits are wider
    /// than can be kept.
    pub fn new(parts: EngineParts) -> Result<Self, StartError> {
        if let Some(wide) = parts.limits.too_wide() {
            return Err(StartError::Limits(wide));
        }
        let sandbox = Sandbox::new(&parts.capabilities, parts.limits, parts.cache)
            .map_err(|e| StartError::Fault(format!("the host's interfaces do not link: {e:#}")))?;
        Ok(Self {
            sandbox,
            capabilities: parts.capabilities,
            store: parts.store,
            wall: parts.wall,
            limits: parts.limits,
            plugins: parts.plugins,
        })
    }

    /// Loads a plugin by name.
    ///
    /// # Errors
    /// Why it is not admitted.
    pub async fn plugin(&self, name: &str) -> Result<Plugin, PluginError> {
        for source in &self.plugins {
            match source.component(name) {
                Ok(Some(bytes)) => return self.sandbox.load(name, &bytes).await,
                Ok(None) => {}
                Err(reason) => {
                    return Err(PluginError {
                        name: name.to_owned(),
                        reason: format!("cannot be read: {reason}"),
                        hint: None,
                    });
                }
            }
        }
        let hint =
            groundcrew_runbook::nearest(name, self.plugin_names().iter().map(String::as_str))
                .map(|near| format!("did you mean `{near}`?"));
        let hint =
            hint.or_else(|| Some("`groundcrew plugin list` shows those that are here".to_owned()));
        Err(PluginError {
            name: name.to_owned(),
            reason: "is not here".to_owned(),
            hint,
        })
    }

    /// The names of all plugins.
    pub fn plugin_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .plugins
            .iter()
            .flat_map(|source| source.names())
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// The operations table: every row of every capability.
    pub fn operations(&self) -> impl Iterator<Item = &'static Row> {
        self.capabilities
            .iter()
            .flat_map(|capability| capability.operations())
    }

    /// Whether a capability goes elsewhere than to the target's places ([`Capability::leaves`]).
    pub fn leaves(&self, capability: &str) -> bool {
        let mut all = self.capabilities.iter();
        all.any(|known| known.name() == capability && known.leaves())
    }

    /// What grants of its capabilities can say, for whoever checks a runbook
    /// ([`crate::runbook::check_for`]).
    pub fn grant_keys(&self) -> GrantKeys {
        grant_keys(&self.capabilities)
    }

    /// The table by name, with the rows of the queue itself.
    pub(crate) fn rows(&self) -> HashMap<&'static str, &'static Row> {
        self.operations()
            .chain(Operations.operations())
            .map(|row| (row.name, row))
            .collect()
    }

    /// Where journals are kept.
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// The entries of a run and what they fold to.
    ///
    /// # Errors
    /// If there is no such run, or its journal is damaged.
    pub fn journal(&self, run: &str) -> Result<(Vec<Record>, RunState), StartError> {
        let records = self.store.read(run, 0, usize::MAX)?;
        let state = RunState::fold(&records).map_err(|illegal| StartError::Damaged {
            run: run.to_owned(),
            illegal,
        })?;
        Ok((records, state))
    }

    /// What performs effects, by capability: of those that are `wanted`, and of those that need no grant.
    /// Others are not made: what they need of the target nobody has to have.
    pub(crate) fn executors(
        &self,
        setting: &Setting,
        wanted: &BTreeSet<&str>,
    ) -> Result<Executors, StartError> {
        let operations: Arc<dyn Capability> = Arc::new(Operations);
        let all = self.capabilities.iter().chain([&operations]);
        let free = |row: &Row| row.verb.is_empty();
        let needed = all.filter(|capability| {
            wanted.contains(capability.name()) || capability.operations().iter().any(free)
        });
        needed
            .map(|capability| {
                let executor = capability.executor(setting);
                Ok((capability.name(), executor.map_err(StartError::Capability)?))
            })
            .collect()
    }
}

/// What grants of these capabilities can say, without an engine.
pub fn grant_keys(capabilities: &[Arc<dyn Capability>]) -> GrantKeys {
    let keys = |capability: &Arc<dyn Capability>| {
        let terms = terms(capability.as_ref());
        (terms.capability.to_owned(), terms.keys())
    };
    GrantKeys(capabilities.iter().map(keys).collect())
}
