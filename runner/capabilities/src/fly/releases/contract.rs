//! The contract's types as Rust types: `wit/releases.wit`.

use serde::{Deserialize, Serialize};
use wasmtime::component::{ComponentType, Lift, Lower};

/// `releases.release`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct Release {
    pub(crate) id: String,
    pub(crate) version: u32,
    pub(crate) status: String,
    pub(crate) strategy: String,
    pub(crate) image: String,
    pub(crate) user: String,
    #[component(name = "created-at")]
    pub(crate) created_at: String,
    #[component(name = "in-progress")]
    pub(crate) in_progress: bool,
    pub(crate) definition: Option<String>,
}

/// `releases.new-release`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct NewRelease {
    pub(crate) strategy: String,
    pub(crate) image: String,
    pub(crate) definition: Option<String>,
}

/// `releases.status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Status {
    #[component(name = "running")]
    Running,
    #[component(name = "complete")]
    Complete,
    #[component(name = "failed")]
    Failed,
    #[component(name = "interrupted")]
    Interrupted,
}

/// As Fly's web application writes it.
pub(super) fn word(status: Status) -> &'static str {
    match status {
        Status::Running => "running",
        Status::Complete => "complete",
        Status::Failed => "failed",
        Status::Interrupted => "interrupted",
    }
}
