//! What a fly.toml wants of the Machines of each process group. Pure. `wanted/file.rs` is the file
//! as types, `wanted/reader.rs` how it is read, `wanted/mapping.rs` what becomes of it in a Machine's
//! configuration.
//!
//! Supported keys; every other one is refused, by its name and line:
//!
//! - `app` (that of the deploy, or it is refused), `primary_region`, `kill_signal`, `kill_timeout`,
//!   `swap_size_mb`, `[env]`;
//! - `[processes]`: a command for each process group; one group `app` if there is none;
//! - `[http_service]`, `[[services]]`: `internal_port`, `protocol`, `processes`, `force_https`,
//!   `ports` (`port`, `start_port`, `end_port`, `handlers`, `force_https`, `tls_options`,
//!   `http_options`, `proxy_proto_options`), `concurrency`, `auto_stop_machines`,
//!   `auto_start_machines`, `min_machines_running`, `checks`, `http_checks`, `tcp_checks`;
//! - `[checks]`: `type`, `port`, `interval`, `timeout`, `grace_period`, `method`, `path`,
//!   `protocol`, `headers`, `tls_skip_verify`, `tls_server_name`, `processes`;
//! - `[mounts]`: `destination`, `processes`. Volumes are never made, moved or resized: a Machine keeps
//!   the one that it has, which has to be mounted there; `source`, `initial_size`,
//!   `snapshot_retention` and `auto_extend_size_*` are accepted and ignored;
//! - `[[vm]]`: `size`, `memory`, `memory_mb`, `cpus`, `cpu_kind`, `processes`;
//! - `[[restart]]`: `policy`, `retries`, `processes`; `[metrics]`: `port`, `path`, `https`,
//!   `processes`; `[[statics]]`: `guest_path`, `url_prefix`, `tigris_bucket`, `index_document`;
//! - `[build]`: `image`, if the deploy names none. Images are not built here: what says how to
//!   (`dockerfile`, `builder`, …) is ignored if there is an image, and refused if not;
//! - accepted and not used, because the runbook says these, and the report notes it: `[deploy]` (`strategy`, `max_unavailable`,
//!   `wait_timeout`, `release_command*`, `seed_command`); and `console_command`.
//!
//! Which groups a section without `processes` is for, is as with flyctl (`appconfig.Flatten`):
//! `[[vm]]` is for all, `[env]` and `[[statics]]` too, any other is for the default group: `app`, or
//! the first by name. Services are an exception: with several groups flyctl refuses to guess, and so
//! does this.
//!
//! The mapping is flyctl's (`appconfig.ToMachineConfig`): also in that keys of the environment and
//! checks that the file does not have go, whoever set them.

mod file;
mod mapping;
mod reader;
mod values;

use std::collections::BTreeMap;
use std::rc::Rc;

use groundcrew_plugin::{Error, Machine, Result};
use serde_json::Value;

use file::{File, Service};
pub(crate) use mapping::on_top;

/// The process group of a file that names none, and the default one if it names several.
const DEFAULT_GROUP: &str = "app";

/// A fly.toml that has been checked.
#[derive(Debug, Clone)]
pub struct Config {
    // Types that are never copied make a smaller component.
    file: Rc<File>,
    /// What `[http_service]` is short for, if there is one, and all of `[[services]]`.
    services: Rc<Services>,
    /// By process group: its command, empty if it is the image's own.
    groups: BTreeMap<String, Vec<String>>,
}

#[derive(Debug)]
struct Services {
    http: Option<Service>,
    others: Vec<Service>,
}

impl Services {
    fn iter(&self) -> impl Iterator<Item = &Service> {
        self.http.iter().chain(&self.others)
    }
}

impl Config {
    /// Reads the text of a fly.toml, or the same as JSON, as releases have it.
    ///
    /// # Errors
    ///
    /// If it is neither, has a key that is not supported, or contradicts itself.
    pub fn parse(text: &str) -> Result<Self> {
        let read = match text.trim_start().starts_with('{') {
            true => serde_json::from_str(text).map_err(|error| error.to_string()),
            false => reader::read(text),
        };
        let mut file: File = read.map_err(|error| refused(&error))?;
        let mut groups = BTreeMap::new();
        for (group, command) in &file.processes {
            let words = shlex::split(command).ok_or_else(|| {
                refused(&format!(
                    "the command of the process group `{group}` has an open quote"
                ))
            })?;
            groups.insert(group.clone(), words);
        }
        if groups.is_empty() {
            groups.insert(DEFAULT_GROUP.to_owned(), Vec::new());
        }
        let services = Services {
            http: file.http_service.take().map(Service::from),
            others: std::mem::take(&mut file.services),
        };
        let config = Self {
            file: Rc::new(file),
            services: Rc::new(services),
            groups,
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        let file = &self.file;
        let services = || self.services.iter();
        let named = file.checks.values().map(|it| &it.processes);
        let named = named.chain(file.mounts.iter().map(|it| &it.processes));
        let named = named.chain(file.vm.iter().map(|it| &it.processes));
        let named = named.chain(file.restart.iter().map(|it| &it.processes));
        let named = named.chain(file.metrics.iter().map(|it| &it.processes));
        let named = named.chain(services().map(|it| &it.processes));
        if let Some(group) = named.flatten().find(|group| !self.names(group)) {
            return Err(refused(&format!(
                "`processes` names `{group}`, which is not in [processes]"
            )));
        }
        let several = self.groups.len() > 1;
        if several && services().any(|service| service.processes.is_empty()) {
            return Err(refused(
                "a service has to say for which process groups it is: give it `processes`",
            ));
        }
        for group in self.groups() {
            if self.mounts(group).count() > 1 {
                return Err(refused(&format!(
                    "the process group `{group}` has several mounts, and a Machine one volume"
                )));
            }
            self.patch(group)?;
        }
        Ok(())
    }

    /// The app that it is for, if it says so.
    #[must_use]
    pub fn app(&self) -> Option<&str> {
        self.file.app.as_deref()
    }

    /// Whether it says how to deploy, which is for the runbook to say.
    #[must_use]
    pub fn says_how(&self) -> bool {
        self.file.deploy.is_some()
    }

    /// The image that it names.
    #[must_use]
    pub fn image(&self) -> Option<&str> {
        self.file.build.image.as_deref()
    }

    /// The key that says how an image would be built, if one does.
    #[must_use]
    pub fn builds(&self) -> Option<&'static str> {
        self.file.build.how()
    }

    /// Where new Machines go, if it says so.
    #[must_use]
    pub fn primary_region(&self) -> Option<&str> {
        self.file.primary_region.as_deref()
    }

    /// The process groups, by name.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.keys().map(String::as_str)
    }

    /// Whether it has this process group.
    #[must_use]
    pub fn names(&self, group: &str) -> bool {
        self.groups.contains_key(group)
    }

    /// Whether the proxy serves a process group.
    #[must_use]
    pub fn serves(&self, group: &str) -> bool {
        let mut services = self.services.iter();
        services.any(|it| self.is_for(&it.processes, group))
    }

    /// Whether a Machine stands by for another one and is not to any more: its process group is one
    /// that the proxy serves, which starts Machines itself. (flyctl's `launchInputForUpdate`.)
    #[must_use]
    pub fn frees(&self, machine: &Machine) -> bool {
        machine.is_standby() && self.serves(&machine.group)
    }

    /// Whether the Machines of a process group need a volume.
    #[must_use]
    pub fn needs_volume(&self, group: &str) -> bool {
        self.mounts(group).next().is_some()
    }

    /// The fields of a configuration that have nothing but what [`Self::patch`] says.
    #[must_use]
    pub fn replaced(&self, group: &str) -> Vec<String> {
        mapping::replaced(self, group)
    }

    /// The part of a configuration that the file says, as a JSON Merge Patch of that of any Machine
    /// of a process group.
    ///
    /// # Errors
    ///
    /// If the file does not have the process group.
    pub fn patch(&self, group: &str) -> Result<Value> {
        if !self.names(group) {
            let text = format!("it has no process group `{group}`");
            return Err(refused(&text));
        }
        mapping::patch(self, group)
    }

    /// Whether a Machine has the volume that its process group is to have, if any. Of a Machine whose
    /// host is not reached that is not known.
    ///
    /// # Errors
    ///
    /// If it has not, or one that is mounted elsewhere, or one too many.
    pub fn check_volume(&self, machine: &Machine) -> Result<()> {
        let wanted = self.mounts(&machine.group).next();
        let there = machine.mounts.first().map(|mount| mount.path.as_str());
        if !machine.is_reachable() || wanted == there {
            return Ok(());
        }
        let of = |path: Option<&str>| match path {
            Some(path) => format!("one at `{path}`"),
            None => "none".to_owned(),
        };
        Err(refused(&format!(
            "Machine {} of the process group `{}` is to have {} as its volume and has {}; volumes are not made, moved or dropped here",
            machine.id,
            machine.group,
            of(wanted),
            of(there)
        )))
    }

    /// Where a process group's volumes are mounted.
    fn mounts(&self, group: &str) -> impl Iterator<Item = &str> {
        let mounts = self.file.mounts.iter();
        let mounts = mounts.filter(move |it| self.is_for(&it.processes, group));
        mounts.map(|it| it.destination.as_str())
    }

    /// Whether a section with these `processes` is for a group.
    fn is_for(&self, processes: &[String], group: &str) -> bool {
        if processes.is_empty() {
            return group == self.default_group();
        }
        processes.iter().any(|named| named == group)
    }

    fn default_group(&self) -> &str {
        let first = self.groups().next().unwrap_or(DEFAULT_GROUP);
        if self.names(DEFAULT_GROUP) {
            return DEFAULT_GROUP;
        }
        first
    }
}

fn refused(why: &str) -> Error {
    Error::invalid(format!("fly.toml: {why}"))
}

#[cfg(test)]
mod tests;
