//! Machines: listing them, and what can be done to one.

mod change;
mod lease;
mod listing;
mod machine;
mod requests;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod scripted;
mod state;

#[cfg(not(target_arch = "wasm32"))]
use self::scripted as door;
#[cfg(target_arch = "wasm32")]
use crate::bindings::groundcrew::host::machines as door;

pub use change::{Change, Create, Created, Exec, Executed, Restore, Update, Updated, Version};
pub use lease::Lease;
pub use listing::{Listing, Machines, refuse_unknown};
pub use machine::{Check, CheckStatus, Event, HostStatus, Machine, Mount, Summary, Waited};
pub use requests::{Healthy, Restart, Restarted, Stop, Wait, WaitHealthy};
pub use state::State;
