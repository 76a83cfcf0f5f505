//! Write Groundcrew plugins in Rust.
//!
//! A plugin is one `async` function with the attribute [`plugin`]. Its input is what a runbook's
//! step gives it, its output what later steps read, and [`Host`] is all that it can touch:
//!
//! ```
//! use groundcrew_plugin::{Host, Result, State, plugin};
//!
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! struct Input {
//!     /// The app whose Machines are stopped.
//!     app: String,
//! }
//!
//! #[derive(serde::Serialize, schemars::JsonSchema)]
//! struct Output {
//!     stopped: usize,
//! }
//!
//! /// Stop every started Machine of an app.
//! #[plugin(machines(list, stop, reason = "stops every started Machine of the app"))]
//! async fn stop_all(input: Input, host: Host) -> Result<Output> {
//!     let machines = host.machines(&input.app).state(State::Started).list().await?;
//!     let results = host.for_each(machines, 50, async |machine| machine.stop().await).await;
//!     let stopped = results.into_iter().collect::<Result<Vec<()>>>()?.len();
//!     Ok(Output { stopped })
//! }
//! ```
//!
//! Effects are only submitted and come back through one queue, in an order that is journalled;
//! this crate makes futures of them. Await nothing else: there are no threads, no clock and no
//! I/O here but the host's. Do not retry either; the host has.
//!
//! The same code runs natively against a scripted host, for tests: see `testing`.
//!
//! A capability is a folder: its types, its verbs on [`Host`], and its part of that scripted host.
//! Each chooses by itself whether the contract's functions are the host's or the script's, and
//! names only those it calls: a component imports what its plugin uses and nothing else.

pub mod apps;
pub mod http;
pub mod machines;
pub mod metrics;
pub mod releases;

pub mod bindings;
mod error;
#[doc(hidden)]
pub mod export;
mod fan_out;
mod host;
mod portion;
mod queue;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod timespan;

pub use apps::{App, Room};
pub use error::{Error, Kind, Result};
pub use fan_out::{Flow, Swept, join, join_all};
pub use groundcrew_plugin_macros::plugin;
pub use host::{Host, Item, Run};
pub use http::{Checked, Look, Method, PrivateLook};
pub use machines::{
    Change, Check, CheckStatus, Create, Created, Event, Exec, Executed, Healthy, HostStatus, Lease,
    Listing, Machine, Machines, Mount, Restart, Restarted, Restore, State, Stop, Summary, Update,
    Updated, Version, Wait, WaitHealthy, Waited, refuse_unknown,
};
pub use metrics::Sample;
pub use portion::Portion;
pub use queue::Operation;
pub use releases::{Release, Releases, Status};
pub use timespan::Timespan;
