//! The contract's types as Rust types: `wit/machines.wit`.
#![expect(
    missing_docs,
    reason = "the fields are documented where they are decided, in wit/"
)]

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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower)]
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower)]
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
    #[component(name = "left-out")]
    pub left_out: u32,
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
