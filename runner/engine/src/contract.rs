//! The contract's types as Rust types: those that every plugin has to do with. A capability's own
//! are in its own `contract.rs`.
//!
//! The types of `wit/` are written out here with wasmtime's derives instead of generated, so that
//! the same types carry serde and are what the journal holds. A test instantiates a component
//! built from `wit/` against them: a type that differs does not link.
#![expect(
    missing_docs,
    reason = "the fields are documented where they are decided, in wit/"
)]

use serde::{Deserialize, Serialize};
use wasmtime::component::{ComponentType, Lift, Lower};

/// `operations.other-failure`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower)]
#[component(record)]
pub struct OtherFailure {
    pub code: String,
    pub message: String,
}

/// Why an effect did not succeed: `operations.failure`. Transient failures have been retried
/// within the host's bounds before anyone sees one of these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower)]
#[component(variant)]
#[serde(rename_all = "kebab-case")]
pub enum Failure {
    /// The step's grant, the operator's policy or a limit does not allow it. Nothing happened.
    #[component(name = "denied")]
    Denied(String),
    /// The app, Machine or lease does not exist.
    #[component(name = "not-found")]
    NotFound(String),
    /// Something else holds or changed the target.
    #[component(name = "conflict")]
    Conflict(String),
    /// Still refused for its rate after the host's retries.
    #[component(name = "rate-limited")]
    RateLimited(String),
    /// No room on the host or in the region.
    #[component(name = "capacity")]
    Capacity(String),
    /// What was awaited did not come to pass in time.
    #[component(name = "timeout")]
    Timeout(String),
    /// The service or the Machine's host did not answer.
    #[component(name = "unavailable")]
    Unavailable(String),
    /// The app is at fault.
    #[component(name = "application")]
    Application(String),
    /// The run is being interrupted, or the plugin cancelled the operation.
    #[component(name = "cancelled")]
    Cancelled(String),
    /// The request makes no sense.
    #[component(name = "invalid")]
    Invalid(String),
    /// Anything else.
    #[component(name = "other")]
    Other(OtherFailure),
}

impl Failure {
    /// A failure that no named case describes.
    pub fn other(code: &str, message: impl Into<String>) -> Self {
        Self::Other(OtherFailure {
            code: code.to_owned(),
            message: message.into(),
        })
    }

    /// The case's name in the contract, and its text.
    pub fn parts(&self) -> (&str, &str) {
        match self {
            Self::Denied(m) => ("denied", m),
            Self::NotFound(m) => ("not-found", m),
            Self::Conflict(m) => ("conflict", m),
            Self::RateLimited(m) => ("rate-limited", m),
            Self::Capacity(m) => ("capacity", m),
            Self::Timeout(m) => ("timeout", m),
            Self::Unavailable(m) => ("unavailable", m),
            Self::Application(m) => ("application", m),
            Self::Cancelled(m) => ("cancelled", m),
            Self::Invalid(m) => ("invalid", m),
            Self::Other(o) => (&o.code, &o.message),
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (kind, message) = self.parts();
        write!(f, "{kind}: {message}")
    }
}

/// `types.capability-request`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower)]
#[component(record)]
pub struct CapabilityRequest {
    pub name: String,
    pub verbs: Vec<String>,
    pub reason: String,
}

/// What a plugin says about itself: `types.plugin-info`.
#[derive(Debug, Clone, Serialize, Deserialize, ComponentType, Lift, Lower)]
#[component(record)]
pub struct PluginInfo {
    pub name: String,
    pub version: String,
    pub summary: String,
    #[component(name = "input-schema")]
    pub input_schema: String,
    #[component(name = "output-schema")]
    pub output_schema: String,
    pub capabilities: Vec<CapabilityRequest>,
}

/// `types.problem-kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    #[component(name = "transient")]
    Transient,
    #[component(name = "application")]
    Application,
    #[component(name = "invalid")]
    Invalid,
    #[component(name = "cancelled")]
    Cancelled,
    #[component(name = "other")]
    Other,
}

/// Why a plugin failed: `types.problem`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct Problem {
    pub kind: ProblemKind,
    pub message: String,
    pub output: Option<String>,
}

/// `log.level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warning")]
    Warning,
    #[component(name = "error")]
    Error,
}

/// `log.item-state`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower)]
#[component(variant)]
#[serde(rename_all = "kebab-case", tag = "state", content = "detail")]
pub enum ItemState {
    #[component(name = "working")]
    Working(String),
    #[component(name = "succeeded")]
    Succeeded(String),
    #[component(name = "failed")]
    Failed(String),
    #[component(name = "skipped")]
    Skipped(String),
}

/// `run-info.run`.
#[derive(Debug, Clone, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct RunInfo {
    pub(crate) id: String,
    pub(crate) runbook: String,
    pub(crate) step: String,
    pub(crate) attempt: u32,
    pub(crate) target: String,
}
