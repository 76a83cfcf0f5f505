//! Fly: three capabilities that act on one world. `world/` is what Fly, or a fork of it, answers;
//! `machines/`, `apps.rs` and `releases.rs` are what plugins may ask for.

mod apps;
pub mod contract;
mod look;
mod machines;
mod names;
mod refusals;
mod releases;
pub(crate) mod scopes;
mod target;
mod world;

pub use apps::Apps;
pub use look::{list_machines, reachable};
pub use machines::Machines;
pub use releases::Releases;
pub use target::{Addresses, FLY_INSIDE, FLY_MACHINES_API, TOKENS, target, target_showing};
