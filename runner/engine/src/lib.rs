//! Groundcrew: an embeddable runner of sandboxed WASM runbooks for fleets of Fly Machines.
//!
//! A *runbook* (crate `groundcrew-runbook`) is a TOML pipeline of steps; each step runs a *plugin*,
//! a WebAssembly component that reaches the world only through *capabilities* of this host. Every
//! effect passes the gate (`gate/`), is written to the run's *journal* before it is performed,
//! and acts either on the target or, in a rehearsal, on a fork of its fleet.
//!
//! ```no_run
//! use std::sync::Arc;
//! use groundcrew::{journal::{Actor, Mode}, runbook, store::MemoryStore, *};
//! # async fn embed(plugins: Box<dyn PluginSource>, text: String) -> Result<(), Box<dyn std::error::Error>> {
//! let wall = Arc::new(RealClock::new(jiff::Timestamp::now(), Scale::REAL));
//! let engine = Arc::new(Engine::new(EngineParts {
//!     capabilities: vec![], // `groundcrew_capabilities::all()`, and your own
//!     plugins: vec![plugins],
//!     store: Arc::new(MemoryStore::default()),
//!     wall,
//!     limits: Limits::default(),
//!     cache: None,
//! })?);
//! let runbook = runbook::check(&text).map_err(|wrong| format!("{} errors", wrong.len()))?;
//! let inputs = runbook.bind_values(&serde_json::json!({ "app": "web" })).map_err(|wrong| wrong[0].to_string())?;
//! let target = Target::new("production", Some("acme"), Scale::REAL); // and its places
//! let actor = Actor { user: "deploy-bot".into(), ..Actor::default() };
//! let request = RunRequest { runbook, text, inputs, secrets: serde_json::Value::Null, target, mode: Mode::Rehearsal, actor, policy: Policy::default(), seed: 7, faults: vec![], plan: None, accepted_drift: vec![] };
//! let admitted = engine.admit(request).await.map_err(|refusals| refusals[0].to_string())?;
//! let report = engine.start(admitted, Arc::new(Unobserved)).await?.finished().await;
//! println!("{:?}", report.status);
//! # Ok(())
//! # }
//! ```
//!
//! Start at [`Engine`]. This crate never prints, never reads the environment and never exits the
//! process: clocks, credentials, stores and plugins are handed in.

mod admit;
pub mod audit;
mod capability;
mod clock;
mod contract;
mod deadline;
mod digest;
mod effect;
mod engine;
mod gate;
mod grant;
pub mod journal;
pub mod json;
mod key;
mod limits;
pub mod plan;
mod rehearse;
mod run;
mod sandbox;
mod scale;
mod sealed;
pub mod service;
pub mod store;
pub mod system;
mod target;

pub use admit::{Admitted, Refusal, RunRequest};
pub use capability::guest::Guest;
pub use capability::{Capability, Linking};
pub use clock::{BoxFuture, Busy, Clock, RealClock, VirtualClock, after, between, millis};
pub use contract::{
    CapabilityRequest, Failure, ItemState, Level, OtherFailure, PluginInfo, ProblemKind,
};
pub use deadline::{Deadline, WRITE};
pub use digest::digest;
pub use effect::fault::{OperationFault, OperationRule};
pub use effect::{
    Afterwards, Announced, Announcing, Asked, Commons, Cover, Difference, Effect, EffectId,
    Executor, Forked, Found, GivenUp, InService, Kind, Mode, Name, Outcome, Population, Request,
    Row, Setting, arguments,
};
pub use engine::{Engine, EngineParts, PluginSource, StartError, grant_keys};
pub use gate::past::Diverged;
pub use gate::shared::Halt;
pub use grant::effective::Effective;
pub use grant::policy::{Approvals, Policy, TargetPolicy};
pub use grant::{CapabilityGrant, Covers, Radius, Scope, Unsaid};
pub use journal::{Observer, Unobserved};
pub use key::{Key, KeyError};
pub use limits::Limits;
pub use rehearse::MakeError;
pub use run::plan::{Made, PlanRequest};
pub use run::replay::{Repeated, ReplayError};
pub use run::resume::{Answer, Question, ResumeError, ResumeRequest};
pub use run::{Closed, RunHandle, RunReport};
pub use sandbox::cache::{CacheError, CompiledCache};
pub use sandbox::schema::judge;
pub use sandbox::{Plugin, PluginError};
pub use scale::Scale;
pub use sealed::Sealed;
pub use service::EFFECT_HEADER;
pub use target::{
    Credential, CredentialSource, Place, Scheme, Secret, Target, TargetError, Whereabouts, address,
};

pub use groundcrew_runbook as runbook;
pub use reqwest::Url;
pub use wasmtime;
