//! A pure model of a fleet of Fly Machines: state, transitions, virtual time, faults.
//!
//! No I/O, no async, no clock: time moves only when the caller says so, and everything random
//! comes from a seed. The simulator serves this model over HTTP; a rehearsal runs on a copy of
//! the live fleet inside it. Look first at [`state`] (what leads where), then at the wire types
//! in [`api`]; `fleet.rs` says which file does what. A *fate* is what is wrong with a Machine, a
//! *fault* what goes wrong with a request.

#![forbid(unsafe_code)]

mod adopt;
pub mod api;
mod apps;
mod behaviour;
mod capacity;
mod catalogue;
mod checks;
mod commands;
mod fate;
mod fault;
mod fleet;
mod generate;
mod holdings;
mod image;
mod leases;
mod log;
mod machine;
mod making;
mod mishaps;
mod platform;
mod predict;
mod process;
mod proxy;
mod reads;
mod regions;
mod releases;
mod secrets;
mod serving;
pub mod state;
mod time;
mod volumes;
mod watch;

pub use behaviour::{Behaviour, Span};
pub use catalogue::{CATALOGUE, Entry};
pub use fate::Fate;
pub use fault::{Fault, FaultParseError, FaultRule, Faults, When};
pub use fleet::{Caller, Fleet, Settings};
pub use generate::{Generated, generate};
pub use leases::DEFAULT_LEASE_TTL;
pub use log::{Applied, Kept, LOG_BYTES, Log, Request};
pub use machine::MachineKey;
pub use predict::RestartPrediction;
pub use reads::ORG_PAGE_MAX;
pub use serving::{Extremes, GroupExtremes};
pub use state::State;
pub use time::Time;
