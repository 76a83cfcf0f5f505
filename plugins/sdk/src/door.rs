//! The functions of the contract: the host's in a component, a scripted host's in native tests.
//!
//! Nothing in between knows the difference, and nothing here keeps an import that a plugin does
//! not call: a component shows exactly what its plugin can do.

#[cfg(target_arch = "wasm32")]
pub(crate) use crate::bindings::groundcrew::host::{
    apps, http, log, machines, metrics, operations, releases, run_info,
};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use crate::testing::door::{
    apps, http, log, machines, metrics, operations, releases, run_info,
};
