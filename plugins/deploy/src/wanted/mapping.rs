//! From a fly.toml to the configuration of a Machine: which of its fields are replaced, and a JSON
//! Merge Patch (RFC 7386).

use std::collections::BTreeMap;

use groundcrew_plugin::Result;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::file::{Check, CheckType, HttpCheck, Service, TcpCheck, Vm};
use super::{Config, refused};

/// Memory of a preset, in megabytes for each CPU. (fly-go's `MachinePresets`.)
const SHARED_MB: u32 = 256;
const PERFORMANCE_MB: u32 = 2048;

/// The preset of a `[[vm]]` that names none. (fly-go's `DefaultVMSize`.)
const DEFAULT_SIZE: &str = "shared-cpu-1x";

/// The objects of which nothing stays that the file does not say. (flyctl's `updateMachineConfig`.)
const REPLACED: [&str; 5] = ["checks", "env", "metrics", "restart", "stop_config"];

/// See [`Config::replaced`].
pub(super) fn replaced(config: &Config, group: &str) -> Vec<String> {
    // Without a size, a Machine keeps what it was scaled to.
    let guest = vm(config, group).map(|_| "guest");
    let all = REPLACED.into_iter().chain(guest);
    all.map(str::to_owned).collect()
}

/// See [`Config::patch`].
pub(super) fn patch(config: &Config, group: &str) -> Result<Value> {
    let file = &config.file;
    let services = config.services.iter();
    let services = services.filter(|it| config.is_for(&it.processes, group));
    let mut restart = file.restart.iter();
    let restart = restart.rfind(|it| config.is_for(&it.processes, group));
    let mut metrics = file.metrics.iter();
    let metrics = metrics.find(|it| config.is_for(&it.processes, group));
    let stops = file.kill_signal.is_some() || file.kill_timeout.is_some();
    let command = config.groups.get(group).filter(|words| !words.is_empty());

    let mut patch = json!({
        "metadata": { "fly_process_group": group, "fly_platform_version": "v2" },
        "env": environment(config, group),
        "init": {
            "cmd": command, "entrypoint": null, "exec": null, "swap_size_mb": file.swap_size_mb,
        },
        "services": services.map(service).collect::<Vec<_>>(),
        "checks": top_level(config, group)?,
        "metrics": metrics.map(|it| json!({ "port": it.port, "path": it.path, "https": it.https })),
        "statics": Some(&file.statics).filter(|all| !all.is_empty()),
        "stop_config": stops.then(|| json!({
            "signal": file.kill_signal, "timeout": file.kill_timeout,
        })),
        "restart": restart.map(|it| json!({ "policy": it.policy, "max_retries": it.retries })),
    });
    if let Some(vm) = vm(config, group) {
        patch["guest"] = guest(vm)?;
    }
    Ok(patch)
}

fn environment(config: &Config, group: &str) -> Map<String, Value> {
    let file = config.file.env.iter();
    let file = file.map(|(key, value)| (key.as_str(), value.0.as_str()));
    let region = config.primary_region();
    let region = region.map(|region| ("PRIMARY_REGION", region));
    let own = [("FLY_PROCESS_GROUP", group)].into_iter().chain(region);
    file.chain(own)
        .map(|(key, value)| (key.to_owned(), value.into()))
        .collect()
}

fn top_level(config: &Config, group: &str) -> Result<Map<String, Value>> {
    let mut all = Map::new();
    let service = config.services.http.as_ref();
    let service = service.filter(|it| config.is_for(&it.processes, group));
    let port = service.map(|it| it.internal_port);
    for (name, check) in &config.file.checks {
        if !config.is_for(&check.processes, group) {
            continue;
        }
        let port = check.port.or(port).ok_or_else(|| {
            refused(&format!(
                "the check `{name}` of the process group `{group}` needs a `port`: there is no http_service to take it from"
            ))
        })?;
        all.insert(name.clone(), top_level_check(check, port));
    }
    Ok(all)
}

fn top_level_check(check: &Check, port: u16) -> Value {
    let method = check.method.as_ref().map(|method| method.to_uppercase());
    said([
        ("type", value(check.kind)),
        ("port", value(port)),
        ("interval", value(&check.interval)),
        ("timeout", value(&check.timeout)),
        ("grace_period", value(&check.grace_period)),
        ("method", value(method)),
        ("path", value(&check.path)),
        ("protocol", value(&check.protocol)),
        ("tls_skip_verify", value(check.tls_skip_verify)),
        ("tls_server_name", value(&check.tls_server_name)),
        ("headers", value(headers(check.headers.as_ref()))),
    ])
}

fn service(service: &Service) -> Value {
    let checks = service.tcp_checks.iter().map(tcp_check);
    let checks = checks.chain(service.http_checks.iter().map(http_check));
    let checks: Vec<Value> = checks.collect();
    said([
        ("protocol", value(&service.protocol)),
        ("internal_port", value(service.internal_port)),
        ("ports", value(&service.ports)),
        ("concurrency", value(&service.concurrency)),
        ("autostop", value(service.auto_stop_machines.map(|it| it.0))),
        ("autostart", value(service.auto_start_machines)),
        ("min_machines_running", value(service.min_machines_running)),
        ("checks", value(Some(checks).filter(|all| !all.is_empty()))),
    ])
}

fn tcp_check(check: &TcpCheck) -> Value {
    said([
        ("type", value(CheckType::Tcp)),
        ("interval", value(&check.interval)),
        ("timeout", value(&check.timeout)),
        ("grace_period", value(&check.grace_period)),
    ])
}

fn http_check(check: &HttpCheck) -> Value {
    said([
        ("type", value(CheckType::Http)),
        ("interval", value(&check.interval)),
        ("timeout", value(&check.timeout)),
        ("grace_period", value(&check.grace_period)),
        ("method", value(&check.method)),
        ("path", value(&check.path)),
        ("protocol", value(&check.protocol)),
        ("tls_skip_verify", value(check.tls_skip_verify)),
        ("tls_server_name", value(&check.tls_server_name)),
        ("headers", value(headers(check.headers.as_ref()))),
    ])
}

fn headers(headers: Option<&BTreeMap<String, String>>) -> Option<Vec<Value>> {
    let headers = headers?.iter();
    let each = headers.map(|(name, value)| json!({ "name": name, "values": [value] }));
    Some(each.collect())
}

/// The `[[vm]]` of a group: its own, or that which is for all.
fn vm<'a>(config: &'a Config, group: &str) -> Option<&'a Vm> {
    let own = |vm: &&Vm| vm.processes.iter().any(|named| named == group);
    let all = || config.file.vm.iter();
    all()
        .find(own)
        .or_else(|| all().find(|vm| vm.processes.is_empty()))
}

fn guest(vm: &Vm) -> Result<Value> {
    let size = vm.size.as_deref().unwrap_or(DEFAULT_SIZE);
    let (kind, cpus, memory) =
        preset(size).ok_or_else(|| refused(&format!("[[vm]]: `{size}` is no known size")))?;
    let memory = vm.memory_mb.or(vm.memory.map(|it| it.0)).unwrap_or(memory);
    Ok(json!({
        "cpu_kind": vm.cpu_kind.as_deref().unwrap_or(kind),
        "cpus": vm.cpus.unwrap_or(cpus),
        "memory_mb": memory,
    }))
}

/// Kind and number of CPUs, and megabytes of memory, of `shared-cpu-2x` or `performance-4x`.
fn preset(size: &str) -> Option<(&'static str, u32, u32)> {
    let (kind, rest, each) = match size.strip_prefix("shared-cpu-") {
        Some(rest) => ("shared", rest, SHARED_MB),
        None => (
            "performance",
            size.strip_prefix("performance-")?,
            PERFORMANCE_MB,
        ),
    };
    let cpus: u32 = rest.strip_suffix('x')?.parse().ok()?;
    let memory = each.checked_mul(cpus).filter(|memory| *memory > 0)?;
    Some((kind, cpus, memory))
}

fn value(of: impl Serialize) -> Value {
    serde_json::to_value(of).unwrap_or_default()
}

/// An object of what is not `null`.
fn said<const N: usize>(fields: [(&str, Value); N]) -> Value {
    let said = fields.into_iter().filter(|(_, value)| !value.is_null());
    said.map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Puts one merge patch on top of another: the result does what both do, the second last.
pub(crate) fn on_top(of: &mut Value, patch: &Value) {
    match (of.as_object_mut(), patch.as_object()) {
        (Some(of), Some(patch)) => {
            for (key, value) in patch {
                on_top(of.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (_, _) => *of = patch.clone(),
    }
}
