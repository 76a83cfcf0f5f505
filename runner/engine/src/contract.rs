//! The contract's types as Rust types, and the one place of this crate that may be `unsafe`.
//!
//! The types of `wit/` are written out here with wasmtime's derives instead of generated, so that
//! the same types carry serde and are what the journal holds. A test instantiates a component
//! built from `wit/` against them: a type that differs does not link.
#![expect(
    unsafe_code,
    reason = "wasmtime's derives, and mapping compiled code that we wrote ourselves"
)]
#![expect(
    missing_docs,
    reason = "the fields are documented where they are decided, in wit/"
)]

use serde::{Deserialize, Serialize};
use wasmtime::component::{Component, ComponentType, Lift, Lower};

/// Loads code that [`wasmtime::Engine::precompile_component`] made.
///
/// Sound only because the bytes come from the private cache directory, which nobody but this user
/// can write to, were written there by this program, and are as it wrote them (checked by the cache).
pub(crate) fn load_compiled(
    engine: &wasmtime::Engine,
    bytes: &[u8],
) -> wasmtime::Result<Component> {
    // SAFETY: see above; wasmtime itself refuses code of another version or configuration.
    unsafe { Component::deserialize(engine, bytes) }
}

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

pub mod machines {
    //! The types of the interface `machines`.

    use serde::{Deserialize, Serialize};
    use wasmtime::component::{ComponentType, Lift, Lower};

    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower)]
    #[component(variant)]
    #[serde(rename_all = "kebab-case")]
    pub enum Scope {
        #[component(name = "app")]
        App(String),
        #[component(name = "organisation")]
        Organisation,
    }

    #[derive(
        Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower,
    )]
    #[component(record)]
    pub struct Filter {
        pub groups: Vec<String>,
        pub regions: Vec<String>,
        pub states: Vec<String>,
    }

    #[derive(
        Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower,
    )]
    #[component(enum)]
    #[repr(u8)]
    #[serde(rename_all = "kebab-case")]
    pub enum CheckStatus {
        #[component(name = "passing")]
        Passing,
        #[component(name = "warning")]
        Warning,
        #[component(name = "critical")]
        Critical,
        #[component(name = "unknown")]
        Unknown,
    }

    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower)]
    #[component(record)]
    pub struct Check {
        pub name: String,
        pub status: CheckStatus,
        pub output: String,
        #[component(name = "updated-at")]
        pub updated_at: u64,
    }

    #[derive(
        Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower,
    )]
    #[component(enum)]
    #[repr(u8)]
    #[serde(rename_all = "kebab-case")]
    pub enum HostStatus {
        #[component(name = "ok")]
        Ok,
        #[component(name = "unknown")]
        Unknown,
        #[component(name = "unreachable")]
        Unreachable,
    }

    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower)]
    #[component(record)]
    pub struct Mount {
        pub volume: String,
        pub path: String,
    }

    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower)]
    #[component(record)]
    pub struct Machine {
        pub app: String,
        pub id: String,
        pub name: String,
        pub state: String,
        pub region: String,
        pub group: String,
        pub image: String,
        #[component(name = "image-digest")]
        pub image_digest: Option<String>,
        pub release: Option<String>,
        pub checks: Vec<Check>,
        #[component(name = "host-status")]
        pub host_status: HostStatus,
        pub cordoned: bool,
        pub standbys: Vec<String>,
        pub mounts: Vec<Mount>,
        pub services: u32,
        #[component(name = "configured-checks")]
        pub configured_checks: u32,
        pub autostop: String,
        #[component(name = "private-address")]
        pub private_address: Option<String>,
        #[component(name = "lease-owner")]
        pub lease_owner: Option<String>,
        pub restarts: u32,
        #[component(name = "out-of-memory-kills")]
        pub out_of_memory_kills: u32,
        #[component(name = "instance-id")]
        pub instance_id: String,
        #[component(name = "created-at")]
        pub created_at: u64,
        #[component(name = "updated-at")]
        pub updated_at: u64,
    }

    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower)]
    #[component(record)]
    pub struct MachinePage {
        pub machines: Vec<Machine>,
        pub total: u32,
        #[component(name = "missing-regions")]
        pub missing_regions: Vec<String>,
    }

    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower)]
    #[component(record)]
    pub struct Event {
        pub id: String,
        pub kind: String,
        pub status: String,
        pub source: String,
        pub at: u64,
        #[component(name = "exit-code")]
        pub exit_code: Option<i32>,
        #[component(name = "out-of-memory")]
        pub out_of_memory: bool,
        #[component(name = "requested-stop")]
        pub requested_stop: bool,
        #[component(name = "restart-count")]
        pub restart_count: u32,
    }

    #[derive(
        Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower,
    )]
    #[component(record)]
    pub struct Done {
        #[component(name = "baseline-event")]
        pub baseline_event: Option<String>,
    }

    #[derive(
        Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower,
    )]
    #[component(record)]
    pub struct StopOptions {
        pub signal: Option<String>,
        #[component(name = "timeout-ms")]
        pub timeout_ms: Option<u64>,
    }

    #[derive(
        Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower,
    )]
    #[component(record)]
    pub struct RestartOptions {
        pub signal: Option<String>,
        #[component(name = "timeout-ms")]
        pub timeout_ms: Option<u64>,
        #[component(name = "force-stop")]
        pub force_stop: bool,
    }

    #[derive(
        Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower,
    )]
    #[component(record)]
    pub struct Change {
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub replace: Vec<String>,
        pub image: Option<String>,
        pub release: Option<String>,
        pub env: Vec<(String, Option<String>)>,
        pub metadata: Vec<(String, Option<String>)>,
        pub autostop: Option<String>,
        pub standbys: Option<Vec<String>>,
        pub patch: Option<String>,
    }

    #[derive(
        Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower,
    )]
    #[component(record)]
    pub struct UpdateOptions {
        pub change: Change,
        pub expected: Option<String>,
        pub launch: Option<bool>,
        pub cordoned: Option<bool>,
        #[component(name = "min-secrets-version")]
        pub min_secrets_version: Option<u64>,
    }

    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower)]
    #[component(record)]
    pub struct Updated {
        #[component(name = "instance-id")]
        pub instance_id: String,
        pub previous: String,
        #[component(name = "baseline-event")]
        pub baseline_event: String,
    }

    #[derive(
        Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower,
    )]
    #[component(record)]
    pub struct RestoreOptions {
        pub version: String,
        pub expected: Option<String>,
        pub launch: Option<bool>,
        pub cordoned: Option<bool>,
    }

    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower)]
    #[component(record)]
    pub struct Version {
        #[component(name = "instance-id")]
        pub instance_id: String,
        pub image: String,
        pub release: Option<String>,
    }

    #[derive(
        Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower,
    )]
    #[component(record)]
    pub struct CreateOptions {
        pub like: Option<String>,
        pub change: Change,
        pub region: Option<String>,
        pub launch: bool,
        pub cordoned: bool,
        #[component(name = "min-secrets-version")]
        pub min_secrets_version: Option<u64>,
    }

    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower)]
    #[component(record)]
    pub struct Created {
        pub id: String,
        pub name: String,
        pub region: String,
        #[component(name = "instance-id")]
        pub instance_id: String,
        #[component(name = "private-address")]
        pub private_address: Option<String>,
        #[component(name = "baseline-event")]
        pub baseline_event: String,
    }

    #[derive(
        Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower,
    )]
    #[component(record)]
    pub struct ExecOptions {
        pub command: Vec<String>,
        #[component(name = "timeout-ms")]
        pub timeout_ms: u64,
    }

    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower)]
    #[component(record)]
    pub struct Executed {
        #[component(name = "exit-code")]
        pub exit_code: i32,
        pub stdout: String,
        pub stderr: String,
    }

    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower)]
    #[component(record)]
    pub struct WaitOptions {
        pub states: Vec<String>,
        pub version: Option<String>,
        #[component(name = "from-event")]
        pub from_event: Option<String>,
        #[component(name = "timeout-ms")]
        pub timeout_ms: u64,
    }

    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower)]
    #[component(record)]
    pub struct Waited {
        pub state: String,
        pub version: String,
        pub event: Option<String>,
    }

    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower)]
    #[component(record)]
    pub struct HealthyOptions {
        #[serde(default)]
        pub version: Option<String>,
        #[component(name = "from-event")]
        pub from_event: Option<String>,
        #[component(name = "critical-after-ms")]
        pub critical_after_ms: u64,
        #[component(name = "timeout-ms")]
        pub timeout_ms: u64,
    }

    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower)]
    #[component(record)]
    pub struct Healthy {
        pub checks: u32,
        #[component(name = "started-at")]
        pub started_at: u64,
        #[component(name = "healthy-at")]
        pub healthy_at: u64,
    }
}

/// `apps`.
pub(crate) mod apps {
    use serde::{Deserialize, Serialize};
    use wasmtime::component::{ComponentType, Lift, Lower};

    /// `apps.app`.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower)]
    #[component(record)]
    pub(crate) struct App {
        pub(crate) name: String,
        pub(crate) organisation: String,
        pub(crate) status: String,
        pub(crate) machines: u32,
        pub(crate) volumes: u32,
    }

    /// `apps.capacity-query`.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower)]
    #[component(record)]
    pub(crate) struct CapacityQuery {
        pub(crate) like: Option<String>,
        pub(crate) regions: Vec<String>,
        pub(crate) count: u32,
    }

    /// `apps.room`.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower)]
    #[component(record)]
    pub(crate) struct Room {
        pub(crate) region: String,
        pub(crate) machines: u32,
        #[component(name = "at-once")]
        pub(crate) at_once: u32,
    }
}

/// `releases`.
pub(crate) mod releases {
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
    #[derive(
        Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower,
    )]
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
}

/// `metrics`.
pub(crate) mod metrics {
    use serde::{Deserialize, Serialize};
    use wasmtime::component::{ComponentType, Lift, Lower};

    /// `metrics.sample`.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower)]
    #[component(record)]
    pub(crate) struct Sample {
        pub(crate) labels: Vec<(String, String)>,
        pub(crate) value: String,
        pub(crate) at: u64,
    }
}

/// `http`.
pub(crate) mod http {
    use serde::{Deserialize, Serialize};
    use wasmtime::component::{ComponentType, Lift, Lower};

    /// `http.method`.
    #[derive(
        Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower,
    )]
    #[component(enum)]
    #[repr(u8)]
    #[serde(rename_all = "kebab-case")]
    pub(crate) enum Method {
        #[component(name = "get")]
        Get,
        #[component(name = "head")]
        Head,
        #[component(name = "options")]
        Options,
    }

    /// `http.check-request`.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower)]
    #[component(record)]
    pub(crate) struct CheckRequest {
        pub(crate) url: String,
        pub(crate) method: Method,
        #[component(name = "timeout-ms")]
        pub(crate) timeout_ms: u64,
        #[component(name = "max-bytes")]
        pub(crate) max_bytes: u32,
    }

    /// `http.checked`.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower)]
    #[component(record)]
    pub(crate) struct Checked {
        pub(crate) status: u16,
        #[component(name = "content-type")]
        pub(crate) content_type: Option<String>,
        pub(crate) body: String,
        pub(crate) truncated: bool,
        #[component(name = "elapsed-ms")]
        pub(crate) elapsed_ms: u64,
    }
}
