//! Reading what is needed out of a Machine's configuration, which stays JSON.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::go_duration_millis;

/// The group of a Machine that names none.
const DEFAULT_GROUP: &str = "app";

/// Between two runs of a check that names no interval, in milliseconds. Assumed.
const DEFAULT_INTERVAL: u64 = 15_000;

/// How often `on-failure` starts a Machine again if `max_retries` is not given. Fly's restart
/// policy page.
const DEFAULT_MAX_RETRIES: u32 = 10;

/// A Machine's configuration, read only. All accessors are total: what is missing or of another
/// type is the default.
#[derive(Copy, Clone, Debug)]
pub struct ConfigView<'a>(&'a Value);

/// A volume and where it is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The volume's id.
    pub volume: String,
    /// The directory.
    pub path: String,
}

/// What Fly's proxy does with an idle Machine.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Autostop {
    /// Nothing.
    #[default]
    Off,
    /// It stops it.
    Stop,
    /// It suspends it.
    Suspend,
}

impl Autostop {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Autostop::Off => "off",
            Autostop::Stop => "stop",
            Autostop::Suspend => "suspend",
        }
    }
}

/// A check as it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfiguredCheck {
    /// The name its results carry.
    pub name: String,
    /// `http` or `tcp`.
    pub kind: String,
    /// Milliseconds between two runs.
    pub interval_ms: u64,
    /// Milliseconds after a start in which failures do not count.
    pub grace_ms: u64,
}

/// How a Machine is stopped when nobody says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StopConfig {
    /// Such as `SIGTERM`.
    pub signal: Option<String>,
    /// Milliseconds until it is killed.
    pub timeout_ms: Option<u64>,
}

/// What happens when the main process ends by itself.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum RestartPolicy {
    /// It stays down.
    No,
    /// It is always started again.
    Always,
    /// It is started again after a failure, at most so many times in a row.
    OnFailure {
        /// How many times.
        max_retries: u32,
    },
}

impl<'a> ConfigView<'a> {
    /// A view of this JSON.
    pub const fn new(config: &'a Value) -> ConfigView<'a> {
        ConfigView(config)
    }

    /// The process group: metadata `fly_process_group`, the older `process_group`, or `app`.
    pub fn process_group(self) -> &'a str {
        let named = ["fly_process_group", "process_group"];
        let mut found = named.iter().filter_map(|key| self.metadata_value(key));
        found
            .find(|group| !group.is_empty())
            .unwrap_or(DEFAULT_GROUP)
    }

    /// One metadata value.
    pub fn metadata_value(self, key: &str) -> Option<&'a str> {
        self.0.get("metadata")?.get(key)?.as_str()
    }

    /// All metadata.
    pub fn metadata(self) -> BTreeMap<String, String> {
        let entries = self.object("metadata").into_iter().flatten();
        let texts =
            entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
        texts.collect()
    }

    /// The image's name.
    pub fn image(self) -> &'a str {
        self.0
            .get("image")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// Ids of the Machines that this one stands by for.
    pub fn standbys(self) -> Vec<String> {
        let ids = self.array("standbys").iter().filter_map(Value::as_str);
        ids.map(str::to_owned).collect()
    }

    /// The mounted volumes.
    pub fn mounts(self) -> Vec<Mount> {
        let text = |mount: &Value, key: &str| {
            mount
                .get(key)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let mounts = self.array("mounts").iter();
        mounts
            .map(|mount| Mount {
                volume: text(mount, "volume"),
                path: text(mount, "path"),
            })
            .collect()
    }

    /// How many services the proxy serves it for.
    pub fn services(self) -> usize {
        self.array("services").len()
    }

    /// The strongest autostop of its services. `true` is the older spelling of `stop`.
    pub fn autostop(self) -> Autostop {
        let services = self.array("services").iter();
        let found = services.map(|service| match service.get("autostop") {
            Some(Value::Bool(true)) => Autostop::Stop,
            Some(Value::String(word)) if word == "stop" => Autostop::Stop,
            Some(Value::String(word)) if word == "suspend" => Autostop::Suspend,
            _ => Autostop::Off,
        });
        found.max().unwrap_or_default()
    }

    /// The checks whose results the Machine will show: those of its own and those of its services.
    pub fn configured_checks(self) -> Vec<ConfiguredCheck> {
        let own = self.object("checks").into_iter().flatten();
        let mut checks: Vec<_> = own
            .map(|(name, check)| configured(name.clone(), check))
            .collect();
        let services = self.array("services").iter();
        let of_services = services.flat_map(|service| {
            let port = service
                .get("internal_port")
                .and_then(Value::as_u64)
                .unwrap_or(0);
            list(service.get("checks"))
                .iter()
                .map(move |check| (port, check))
        });
        for (index, (port, check)) in of_services.enumerate() {
            let kind = check.get("type").and_then(Value::as_str).unwrap_or("tcp");
            let port = check.get("port").and_then(Value::as_u64).unwrap_or(port);
            checks.push(configured(
                format!("servicecheck-{index:02}-{kind}-{port}"),
                check,
            ));
        }
        checks
    }

    /// How it is stopped.
    pub fn stop_config(self) -> StopConfig {
        let stop = self.0.get("stop_config");
        let signal = stop
            .and_then(|stop| stop.get("signal"))
            .and_then(Value::as_str);
        let timeout = stop.and_then(|stop| stop.get("timeout"));
        StopConfig {
            signal: signal.map(str::to_owned),
            timeout_ms: timeout.and_then(go_duration_millis),
        }
    }

    /// The arguments that replace the image's, `init.cmd`.
    pub fn command(self) -> Vec<&'a str> {
        let command = self.0.pointer("/init/cmd").and_then(Value::as_array);
        let words = command.into_iter().flatten();
        words.filter_map(Value::as_str).collect()
    }

    /// What happens when it ends by itself; `on-failure` with 10 retries if it does not say.
    pub fn restart_policy(self) -> RestartPolicy {
        let restart = self.0.get("restart");
        let policy = restart
            .and_then(|restart| restart.get("policy"))
            .and_then(Value::as_str);
        let retries = restart
            .and_then(|restart| restart.get("max_retries"))
            .and_then(Value::as_u64);
        let max_retries = match retries {
            None | Some(0) => DEFAULT_MAX_RETRIES,
            Some(retries) => u32::try_from(retries).unwrap_or(u32::MAX),
        };
        match policy {
            Some("no") => RestartPolicy::No,
            Some("always") => RestartPolicy::Always,
            Some(_) | None => RestartPolicy::OnFailure { max_retries },
        }
    }

    /// Why it cannot be suspended, if so. (Fly's documentation, "Suspend and resume".)
    pub fn not_suspendable(self) -> Option<&'static str> {
        let number = |pointer: &str| self.0.pointer(pointer).and_then(Value::as_u64);
        let scheduled = self.0.get("schedule").and_then(Value::as_str);
        if number("/swap_size_mb").is_some_and(|size| size > 0) {
            return Some("it has swap");
        }
        if scheduled.is_some_and(|schedule| !schedule.is_empty()) {
            return Some("it has a schedule");
        }
        let memory = number("/guest/memory_mb").unwrap_or_default();
        (memory >= 16 << 10).then_some("it has 16 GB of memory or more")
    }

    /// Whether it is destroyed when it ends by itself.
    pub fn auto_destroy(self) -> bool {
        self.0
            .get("auto_destroy")
            .and_then(Value::as_bool)
            .unwrap_or(false)
    }

    fn array(self, key: &str) -> &'a [Value] {
        list(self.0.get(key))
    }

    fn object(self, key: &str) -> Option<&'a Map<String, Value>> {
        self.0.get(key)?.as_object()
    }
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn configured(name: String, check: &Value) -> ConfiguredCheck {
    let millis = |key: &str| check.get(key).and_then(go_duration_millis);
    ConfiguredCheck {
        name,
        kind: check
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or("tcp")
            .to_owned(),
        interval_ms: millis("interval").unwrap_or(DEFAULT_INTERVAL).max(1),
        grace_ms: millis("grace_period").unwrap_or(0),
    }
}
