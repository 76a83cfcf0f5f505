//! A fly.toml as types: what is not here is refused.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::values::{Autostop, GoDuration, Megabytes, Text};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) app: Option<String>,
    pub(super) primary_region: Option<String>,
    pub(super) kill_signal: Option<String>,
    pub(super) kill_timeout: Option<GoDuration>,
    pub(super) swap_size_mb: Option<u32>,
    #[serde(rename = "console_command")]
    _console_command: Option<IgnoredAny>,
    pub(super) build: Build,
    pub(super) deploy: Option<Deploy>,
    pub(super) env: BTreeMap<String, Text>,
    pub(super) processes: BTreeMap<String, String>,
    pub(super) http_service: Option<HttpService>,
    pub(super) services: Vec<Service>,
    pub(super) checks: BTreeMap<String, Check>,
    #[serde(alias = "mount")]
    pub(super) mounts: Vec<Mount>,
    pub(super) vm: Vec<Vm>,
    pub(super) restart: Vec<Restart>,
    pub(super) metrics: Vec<Metrics>,
    pub(super) statics: Vec<Static>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct Build {
    pub(super) image: Option<String>,
    dockerfile: Option<IgnoredAny>,
    builder: Option<IgnoredAny>,
    buildpacks: Option<IgnoredAny>,
    builtin: Option<IgnoredAny>,
    build_target: Option<IgnoredAny>,
    #[serde(rename = "ignorefile")]
    _ignorefile: Option<IgnoredAny>,
    #[serde(rename = "args")]
    _args: Option<IgnoredAny>,
    #[serde(rename = "settings")]
    _settings: Option<IgnoredAny>,
}

impl Build {
    /// The key that says how an image would be built.
    pub(super) fn how(&self) -> Option<&'static str> {
        let keys = [
            ("dockerfile", &self.dockerfile),
            ("builder", &self.builder),
            ("buildpacks", &self.buildpacks),
            ("builtin", &self.builtin),
            ("build-target", &self.build_target),
        ];
        let said = keys.into_iter().find(|(_, value)| value.is_some());
        said.map(|(key, _)| key)
    }
}

/// Accepted and not looked at: the runbook says these.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Deploy {
    #[serde(rename = "strategy")]
    _strategy: Option<IgnoredAny>,
    #[serde(rename = "max_unavailable")]
    _max_unavailable: Option<IgnoredAny>,
    #[serde(rename = "wait_timeout")]
    _wait_timeout: Option<IgnoredAny>,
    #[serde(rename = "release_command")]
    _release_command: Option<IgnoredAny>,
    #[serde(rename = "release_command_timeout")]
    _release_command_timeout: Option<IgnoredAny>,
    #[serde(rename = "release_command_vm")]
    _release_command_vm: Option<IgnoredAny>,
    #[serde(rename = "seed_command")]
    _seed_command: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HttpService {
    internal_port: u16,
    #[serde(default)]
    force_https: bool,
    auto_stop_machines: Option<Autostop>,
    auto_start_machines: Option<bool>,
    min_machines_running: Option<u32>,
    #[serde(default)]
    processes: Vec<String>,
    concurrency: Option<Concurrency>,
    tls_options: Option<TlsOptions>,
    http_options: Option<HttpOptions>,
    #[serde(default)]
    checks: Vec<HttpCheck>,
    #[serde(default)]
    tcp_checks: Vec<TcpCheck>,
}

/// The service that it is short for. (flyctl's `HTTPService.ToService`.)
impl From<HttpService> for Service {
    fn from(http: HttpService) -> Self {
        let port = |port, handlers: &[&str]| Port {
            port: Some(port),
            handlers: Some(handlers.iter().map(|h| (*h).to_owned()).collect()),
            http_options: http.http_options.clone(),
            ..Port::default()
        };
        let plain = Port {
            force_https: http.force_https.then_some(true),
            ..port(80, &["http"])
        };
        let secure = Port {
            tls_options: http.tls_options,
            ..port(443, &["http", "tls"])
        };
        Self {
            protocol: "tcp".to_owned(),
            internal_port: http.internal_port,
            auto_stop_machines: http.auto_stop_machines,
            auto_start_machines: http.auto_start_machines,
            min_machines_running: http.min_machines_running,
            processes: http.processes,
            concurrency: http.concurrency,
            ports: vec![plain, secure],
            http_checks: http.checks,
            tcp_checks: http.tcp_checks,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Service {
    #[serde(default = "tcp")]
    pub(super) protocol: String,
    pub(super) internal_port: u16,
    pub(super) auto_stop_machines: Option<Autostop>,
    pub(super) auto_start_machines: Option<bool>,
    pub(super) min_machines_running: Option<u32>,
    #[serde(default)]
    pub(super) processes: Vec<String>,
    pub(super) concurrency: Option<Concurrency>,
    #[serde(default)]
    pub(super) ports: Vec<Port>,
    #[serde(default)]
    pub(super) http_checks: Vec<HttpCheck>,
    #[serde(default)]
    pub(super) tcp_checks: Vec<TcpCheck>,
}

fn tcp() -> String {
    "tcp".to_owned()
}

/// Spelt as in a Machine's configuration.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Concurrency {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    soft_limit: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hard_limit: Option<u32>,
}

/// Spelt as in a Machine's configuration.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Port {
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    handlers: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    force_https: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_options: Option<TlsOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_options: Option<HttpOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy_proto_options: Option<ProxyProtoOptions>,
}

/// Spelt as in a Machine's configuration.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TlsOptions {
    #[serde(skip_serializing_if = "Option::is_none")]
    alpn: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    versions: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    default_self_signed: Option<bool>,
}

/// Spelt as in a Machine's configuration.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HttpOptions {
    #[serde(skip_serializing_if = "Option::is_none")]
    compress: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    h2_backend: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers_read_timeout: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_timeout: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<HttpResponse>,
}

/// Spelt as in a Machine's configuration.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct HttpResponse {
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<BTreeMap<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pristine: Option<bool>,
}

/// Spelt as in a Machine's configuration.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct ProxyProtoOptions {
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TcpCheck {
    pub(super) interval: Option<GoDuration>,
    pub(super) timeout: Option<GoDuration>,
    pub(super) grace_period: Option<GoDuration>,
    /// Of the platform before Machines, and without meaning.
    #[serde(rename = "restart_limit")]
    _restart_limit: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HttpCheck {
    pub(super) interval: Option<GoDuration>,
    pub(super) timeout: Option<GoDuration>,
    pub(super) grace_period: Option<GoDuration>,
    pub(super) method: Option<String>,
    pub(super) path: Option<String>,
    pub(super) protocol: Option<String>,
    pub(super) tls_skip_verify: Option<bool>,
    pub(super) tls_server_name: Option<String>,
    pub(super) headers: Option<BTreeMap<String, String>>,
    /// Of the platform before Machines, and without meaning.
    #[serde(rename = "restart_limit")]
    _restart_limit: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Check {
    #[serde(rename = "type")]
    pub(super) kind: CheckType,
    pub(super) port: Option<u16>,
    pub(super) interval: Option<GoDuration>,
    pub(super) timeout: Option<GoDuration>,
    pub(super) grace_period: Option<GoDuration>,
    pub(super) method: Option<String>,
    pub(super) path: Option<String>,
    pub(super) protocol: Option<String>,
    pub(super) tls_skip_verify: Option<bool>,
    pub(super) tls_server_name: Option<String>,
    pub(super) headers: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub(super) processes: Vec<String>,
}

#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum CheckType {
    Http,
    Tcp,
}

/// A volume. What says how one is made or grows is accepted and not looked at: none is made.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mount {
    #[serde(rename = "source")]
    _source: Option<IgnoredAny>,
    pub(super) destination: String,
    #[serde(default)]
    pub(super) processes: Vec<String>,
    #[serde(rename = "initial_size")]
    _initial_size: Option<IgnoredAny>,
    #[serde(rename = "snapshot_retention")]
    _snapshot_retention: Option<IgnoredAny>,
    #[serde(rename = "auto_extend_size_threshold")]
    _auto_extend_size_threshold: Option<IgnoredAny>,
    #[serde(rename = "auto_extend_size_increment")]
    _auto_extend_size_increment: Option<IgnoredAny>,
    #[serde(rename = "auto_extend_size_limit")]
    _auto_extend_size_limit: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Vm {
    pub(super) size: Option<String>,
    pub(super) memory: Option<Megabytes>,
    pub(super) memory_mb: Option<u32>,
    pub(super) cpus: Option<u32>,
    pub(super) cpu_kind: Option<String>,
    #[serde(default)]
    pub(super) processes: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Restart {
    pub(super) policy: RestartPolicy,
    pub(super) retries: Option<u32>,
    #[serde(default)]
    pub(super) processes: Vec<String>,
}

/// Spelt as in fly.toml on the way in and as in a Machine's configuration on the way out.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RestartPolicy {
    Always,
    #[serde(rename(serialize = "no"))]
    Never,
    OnFailure,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Metrics {
    pub(super) port: u16,
    pub(super) path: String,
    pub(super) https: Option<bool>,
    #[serde(default)]
    pub(super) processes: Vec<String>,
}

/// Spelt as in a Machine's configuration.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Static {
    guest_path: String,
    url_prefix: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tigris_bucket: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index_document: Option<String>,
}
