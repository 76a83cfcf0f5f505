//! The embedding API: an [`Engine`] admits and starts runs, and closes those whose process died.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use thiserror::Error;

use crate::admit::{self, Admitted, Identity, Refusal, RunRequest};
use crate::capability::Capability;
use crate::capability::operations::Operations;
use crate::clock::{Clock, after};
use crate::contract::Failure;
use crate::deadline::CLAIM;
use crate::effect::Row;
use crate::journal::observer::Observer;
use crate::journal::{
    Draft, Illegal, JournalError, Record, RunClosed, RunState, RunStatus, StepEnded, StepProblem,
    StepStatus, Writer,
};
use crate::limits::Limits;
use crate::plan::Drift;
use crate::run::{self, RunHandle};
use crate::sandbox::cache::CompiledCache;
use crate::sandbox::{Plugin, PluginError, Sandbox};
use crate::store::{RunSummary, Store, StoreError};
use crate::target::Target;

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
    /// The plan that it applies has been applied.
    #[error("the plan has been applied, by run `{0}`")]
    Applied(String),
    /// The target is not as it was when the plan was made, in more than was accepted.
    #[error("the target has changed since the plan was made, in {} places", .0.len())]
    Drifted(Vec<Drift>),
    /// The program itself cannot go on.
    #[error("{0}")]
    Fault(String),
}

/// What closing an abandoned run did about one lease.
#[derive(Debug, Clone)]
pub struct LeaseClosed {
    /// The app.
    pub app: String,
    /// The Machine.
    pub machine: String,
    /// True: it was the run's and is released. False: it is not the run's any more.
    pub outcome: Result<bool, Failure>,
}

/// What closing an abandoned run found.
#[derive(Debug, Clone)]
pub struct Closed {
    /// The leases that the journal tells of.
    pub leases: Vec<LeaseClosed>,
    /// Writes of which it is not known whether they happened, as `step/number operation target`.
    pub in_doubt: Vec<String>,
}

impl Engine {
    /// An engine.
    ///
    /// # Errors
    /// If the capabilities cannot be linked together: an embedder's mistake.
    pub fn new(parts: EngineParts) -> Result<Self, StartError> {
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

    /// Checks everything that can be checked without touching the network.
    ///
    /// # Errors
    /// Every refusal.
    pub async fn admit(&self, request: RunRequest) -> Result<Admitted, Vec<Refusal>> {
        let identity = match &request.plan {
            Some(plan) => Identity::of(plan.plan().run.as_str().into(), plan.plan().made_at),
            None => {
                let now = self.wall.now();
                Identity::of(admit::new_id(now, request.seed), now)
            }
        };
        admit::admit(self, request, identity).await
    }

    /// Opens the journal, takes the locks and starts. A rehearsal takes no locks. Where a plan is
    /// applied the target is first compared with it.
    ///
    /// # Errors
    /// If a lock is held or the store fails; if the plan has expired, has been applied, or the
    /// target has changed. Nothing has been written to the target.
    pub async fn start(
        self: &Arc<Self>,
        admitted: Admitted,
        observer: Arc<dyn Observer>,
    ) -> Result<RunHandle, StartError> {
        run::start(self.clone(), admitted, observer).await
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

    /// Closes a run whose process is gone: releases the leases that are still its own, closes its
    /// journal and gives up its locks. `sure` says that the caller knows the process to be dead,
    /// so that nobody has to wait for the claim to expire.
    ///
    /// # Errors
    /// If the run is alive, has ended, or the store fails.
    pub async fn cancel_run(
        &self,
        run: &str,
        target: &Target,
        sure: bool,
        observer: Arc<dyn Observer>,
    ) -> Result<Closed, StartError> {
        let now = self.wall.now();
        let summary: RunSummary = self.store.run(run, now)?;
        if let crate::store::Standing::Closed(status) = summary.standing {
            return Err(StartError::Ended {
                run: run.to_owned(),
                status: status.word(),
            });
        }
        let claim = self.store.claim(run, now, after(now, CLAIM * 4), sure)?;
        let (records, state) = match self.journal(run) {
            Err(damaged @ StartError::Damaged { .. }) => {
                // Nobody can go on with it: its locks must not stay for ever.
                self.store.release(&claim)?;
                return Err(damaged);
            }
            other => other?,
        };
        let held = held_leases(&state);
        let leases = match state.mode() {
            Some(crate::journal::Mode::Perform) => {
                crate::fly::machines::release_abandoned(target, run, &held)
                    .await
                    .map_err(StartError::Capability)?
            }
            Some(crate::journal::Mode::Rehearsal) | None => Vec::new(),
        };
        let in_doubt = in_doubt(&state, |operation| self.is_read(operation));
        let writer = Writer::start(
            self.store.clone(),
            claim.clone(),
            records.len() as u64,
            self.wall.clone(),
            observer,
        );
        let mut drafts: Vec<Draft> = Vec::new();
        for key in state
            .steps
            .iter()
            .filter(|(_, step)| step.ended.is_none())
            .map(|(key, _)| key)
        {
            let problem = StepProblem {
                kind: crate::contract::ProblemKind::Cancelled,
                code: None,
                message: "the run's process was gone".to_owned(),
            };
            drafts.push(Draft::step_ended(&StepEnded {
                step: key.clone(),
                status: StepStatus::Cancelled,
                output: None,
                problem: Some(problem),
            }));
        }
        if state.header.is_some() {
            drafts.push(Draft::run_closed(&RunClosed {
                status: RunStatus::Cancelled,
                in_doubt: in_doubt.clone(),
                plan: None,
            }));
            writer.commit(drafts).await?;
        }
        self.store.release(&claim)?;
        let leases = leases
            .into_iter()
            .map(|(app, machine, outcome)| LeaseClosed {
                app,
                machine,
                outcome,
            })
            .collect();
        Ok(Closed { leases, in_doubt })
    }

    /// By the table; what is not in it (a capability that this engine lacks) counts as a write.
    /// What is housekeeping ends by itself.
    fn is_read(&self, operation: &str) -> bool {
        let reads = |row: &Row| {
            row.name == operation && (row.kind == crate::effect::Kind::Read || row.housekeeping)
        };
        operation.starts_with("operations.") || self.operations().any(reads)
    }
}

/// The Machines whose lease the run may still hold: asked for and not given back.
fn held_leases(state: &RunState) -> Vec<(String, String)> {
    let mut held = std::collections::BTreeSet::new();
    for (_, effect) in state.effects() {
        let request = &effect.intended.request;
        let (Some(app), Some(id)) = (&request.app, &request.subject) else {
            continue;
        };
        let answered = effect
            .settled
            .as_ref()
            .map(|settled| settled.answer.is_some());
        match (request.operation.as_str(), answered) {
            ("machines.lease", None | Some(true)) => {
                held.insert((app.clone(), id.clone()));
            }
            ("machines.release", Some(true)) => {
                held.remove(&(app.clone(), id.clone()));
            }
            _ => {}
        }
    }
    held.into_iter().collect()
}

/// Writes that were intended and never settled, or settled as in doubt.
fn in_doubt(state: &RunState, is_read: impl Fn(&str) -> bool) -> Vec<String> {
    let unsure = state.effects().filter(|(_, effect)| {
        let write = effect.intended.decision == crate::journal::Decision::Allowed
            && !is_read(&effect.intended.request.operation);
        write
            && effect
                .settled
                .as_ref()
                .is_none_or(|settled| settled.in_doubt)
    });
    unsure
        .map(|(step, effect)| {
            let request = &effect.intended.request;
            let on = request.on();
            format!(
                "{step}/{} {} {on}",
                effect.intended.effect, request.operation
            )
        })
        .collect()
}
