//! Machines: listing them, and what can be done to one.

mod announce;
mod change;
mod create;
mod lease;
mod listing;
mod machine;
mod requests;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod scripted;
mod state;
mod waits;

#[cfg(not(target_arch = "wasm32"))]
use self::scripted as door;
#[cfg(target_arch = "wasm32")]
use crate::bindings::groundcrew::host::machines as door;

pub use change::{Change, Restore, Update, Updated, Version};
pub use create::{Create, Created};
pub use lease::Lease;
pub use listing::{Listing, Machines, refuse_unknown};
pub use machine::{Check, CheckStatus, HostStatus, Machine, Mount, Summary};
pub use requests::{Event, Exec, Executed, Restart, Restarted, Stop};
pub use state::State;
pub use waits::{Healthy, Wait, WaitHealthy, Waited};
