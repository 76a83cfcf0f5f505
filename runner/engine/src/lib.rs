//! Groundcrew: an embeddable runner of sandboxed WASM runbooks for fleets of Fly Machines.
//!
//! A *runbook* (crate `groundcrew-runbook`) is a TOML pipeline of steps; each step runs a *plugin*,
//! a WebAssembly component that reaches the world only through *capabilities* of this host. Every
//! effect passes the gate (`gate.rs`), is written to the run's *journal* before it is performed,
//! and acts either on the target or, in a rehearsal, on a fork of its fleet.
//!
//! Start at [`Engine`]. This crate never prints, never reads the environment and never exits the
//! process: clocks, credentials, stores and plugins are handed in.

mod admit;
mod bindings;
mod cache;
mod capability;
mod clock;
mod core;
mod effect;
mod engine;
mod gate;
mod grant;
mod guest;
pub mod journal;
mod limits;
mod machines;
mod observe;
mod plugin;
mod run;
mod step;
pub mod store;
mod target;

pub use admit::{Admitted, Refusal, RunRequest};
pub use bindings::machines as machine_types;
pub use bindings::{
    CapabilityRequest, Failure, ItemState, Level, OtherFailure, PluginInfo, ProblemKind,
};
pub use cache::{CacheError, CompiledCache};
pub use capability::{Afterwards, Capability, Effect, Executor, Linking, Setting, arguments};
pub use clock::{BoxFuture, Busy, Clock, RealClock, VirtualClock};
pub use effect::{EffectId, Kind, Outcome, Request, Row};
pub use engine::{Closed, Engine, EngineParts, LeaseClosed, PluginSource, StartError};
pub use grant::{CapabilityGrant, Effective, Policy, TargetPolicy};
pub use guest::Guest;
pub use limits::Limits;
pub use machines::{EFFECT_HEADER, Machines, list_machines, reachable};
pub use observe::{Observer, Unobserved};
pub use plugin::{Plugin, PluginError};
pub use run::{RunHandle, RunReport};
pub use target::{CredentialSource, FLY_MACHINES_API, Secret, Target, TargetError};

pub use groundcrew_runbook as runbook;
