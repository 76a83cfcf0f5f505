//! Requests that make Machines and give them other configurations.

use std::future::IntoFuture;
use std::time::Duration;

use super::door;
use crate::bindings::groundcrew::host::machines::{
    Change as Contract, CreateOptions, ExecOptions, HostStatus, Machine as Summary, RestoreOptions,
    UpdateOptions,
};
pub use crate::bindings::groundcrew::host::machines::{Executed, Updated, Version};
use crate::queue::Operation;
use crate::timespan::milliseconds;
use crate::{Host, Machine, Result};

/// A change of a Machine's configuration. What is not given stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// Top-level fields of the configuration, such as `env` and `checks`, of which nothing stays: they
    /// have what the rest says and no more. At most 32.
    pub replace: Vec<String>,
    /// The new image.
    pub image: Option<String>,
    /// What this deploy calls itself; a Machine shows it as its `release`.
    pub release: Option<String>,
    /// Values of the environment to set; those without a value are removed.
    pub env: Vec<(String, Option<String>)>,
    /// Metadata to set; those without a value are removed.
    pub metadata: Vec<(String, Option<String>)>,
    /// `off`, `stop` or `suspend`, for every service.
    pub autostop: Option<String>,
    /// Ids of the Machines that it stands by for.
    pub standbys: Option<Vec<String>>,
    /// A JSON Merge Patch of the whole configuration, applied after the above.
    pub patch: Option<String>,
}

impl From<Change> for Contract {
    fn from(change: Change) -> Self {
        Self {
            replace: change.replace,
            image: change.image,
            release: change.release,
            env: change.env,
            metadata: change.metadata,
            autostop: change.autostop,
            standbys: change.standbys,
            patch: change.patch,
        }
    }
}

/// A request to give a Machine another configuration; `.await` sends it.
#[derive(Debug)]
#[must_use = "nothing is sent until it is awaited"]
pub struct Update<'a> {
    machine: &'a Machine,
    options: UpdateOptions,
}

impl<'a> Update<'a> {
    pub(crate) fn new(machine: &'a Machine, change: Change) -> Self {
        Self {
            machine,
            options: UpdateOptions {
                change: change.into(),
                expected: Some(machine.instance_id.clone()),
                launch: None,
                cordoned: None,
                min_secrets_version: None,
            },
        }
    }

    /// Starts it with the new configuration, or leaves it stopped; otherwise it is as before.
    pub fn launch(mut self, launch: bool) -> Self {
        self.options.launch = Some(launch);
        self
    }

    /// Cordons it with the new configuration, or does not; otherwise it is as before.
    pub fn cordoned(mut self, cordoned: bool) -> Self {
        self.options.cordoned = Some(cordoned);
        self
    }

    /// It must see at least this version of the app's secrets.
    pub fn min_secrets_version(mut self, version: Option<u64>) -> Self {
        self.options.min_secrets_version = version;
        self
    }
}

impl IntoFuture for Update<'_> {
    type Output = Result<Updated>;
    type IntoFuture = Operation<Updated>;

    fn into_future(self) -> Self::IntoFuture {
        let id = door::update(&self.machine.app, &self.machine.id, &self.options);
        Operation::new(id, |op| Ok(door::take_update(op)?))
    }
}

/// A request to give a Machine back a configuration that it had; `.await` sends it.
#[derive(Debug)]
#[must_use = "nothing is sent until it is awaited"]
pub struct Restore<'a> {
    machine: &'a Machine,
    options: RestoreOptions,
}

impl<'a> Restore<'a> {
    pub(crate) fn new(machine: &'a Machine, version: &str) -> Self {
        Self {
            machine,
            options: RestoreOptions {
                version: version.to_owned(),
                expected: None,
                launch: None,
                cordoned: None,
            },
        }
    }

    /// Only if this is its version now.
    pub fn expected(mut self, version: &str) -> Self {
        self.options.expected = Some(version.to_owned());
        self
    }

    /// Starts it, or leaves it stopped; otherwise it is as before.
    pub fn launch(mut self, launch: bool) -> Self {
        self.options.launch = Some(launch);
        self
    }

    /// Cordons it, or does not; otherwise it is as before.
    pub fn cordoned(mut self, cordoned: bool) -> Self {
        self.options.cordoned = Some(cordoned);
        self
    }
}

impl IntoFuture for Restore<'_> {
    type Output = Result<Updated>;
    type IntoFuture = Operation<Updated>;

    fn into_future(self) -> Self::IntoFuture {
        let id = door::restore(&self.machine.app, &self.machine.id, &self.options);
        Operation::new(id, |op| Ok(door::take_restore(op)?))
    }
}

/// A request to make a Machine; `.await` sends it.
#[derive(Debug)]
#[must_use = "nothing is sent until it is awaited"]
pub struct Create {
    app: String,
    group: String,
    options: CreateOptions,
}

/// A Machine that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// The Machine, of which nothing has been reported yet.
    pub machine: Machine,
    /// The event of its making; what happens to it later is newer.
    pub baseline: String,
}

impl Created {
    /// The event of its making, for waits: none if Fly has shown none, and then everything counts.
    #[must_use]
    pub fn since(&self) -> Option<&str> {
        Some(self.baseline.as_str()).filter(|event| !event.is_empty())
    }

    /// Waits until it has started and its checks pass, and puts it into service if it was made
    /// `cordoned`.
    ///
    /// # Errors
    ///
    /// If it does not get there in this time. It is still there then.
    pub async fn into_service(&self, within: Duration, cordoned: bool) -> Result<()> {
        let healthy = self.machine.wait_healthy().since(self.since());
        healthy.within(within).await?;
        if cordoned {
            self.machine.uncordon().await?;
        }
        Ok(())
    }
}

impl Host {
    /// Makes a Machine in an app, with this configuration and no other.
    pub fn create(&self, app: &str, change: Change) -> Create {
        Create {
            app: app.to_owned(),
            group: String::new(),
            options: CreateOptions {
                like: None,
                change: change.into(),
                region: None,
                launch: true,
                cordoned: false,
                min_secrets_version: None,
            },
        }
    }

    /// Makes a Machine like another one of its app, its volumes aside, with a change.
    pub fn create_like(&self, pattern: &Machine, change: Change) -> Create {
        let mut create = self.create(&pattern.app, change);
        create.group.clone_from(&pattern.group);
        create.options.like = Some(pattern.id.clone());
        create.options.region = Some(pattern.region.clone());
        create
    }
}

impl Create {
    /// In this region.
    pub fn region(mut self, region: &str) -> Self {
        self.options.region = Some(region.to_owned());
        self
    }

    /// Starts it, which is so unless this says otherwise, or does not.
    pub fn launch(mut self, launch: bool) -> Self {
        self.options.launch = launch;
        self
    }

    /// Makes it cordoned, or not, which is so unless this says otherwise.
    pub fn cordoned(mut self, cordoned: bool) -> Self {
        self.options.cordoned = cordoned;
        self
    }

    /// It must see at least this version of the app's secrets.
    pub fn min_secrets_version(mut self, version: Option<u64>) -> Self {
        self.options.min_secrets_version = version;
        self
    }

    /// Sends it.
    pub async fn send(self) -> Result<Created> {
        let id = door::create(&self.app, &self.options);
        let made = Operation::new(id, |op| Ok(door::take_create(op)?)).await?;
        let change = self.options.change;
        let machine = Machine(Summary {
            app: self.app,
            id: made.id,
            name: made.name,
            state: "creating".to_owned(),
            region: made.region,
            group: self.group,
            image: change.image.unwrap_or_default(),
            image_digest: None,
            release: change.release,
            checks: Vec::new(),
            host_status: HostStatus::Ok,
            cordoned: self.options.cordoned,
            standbys: Vec::new(),
            mounts: Vec::new(),
            services: 0,
            configured_checks: 0,
            autostop: "off".to_owned(),
            private_address: made.private_address,
            lease_owner: None,
            restarts: 0,
            out_of_memory_kills: 0,
            instance_id: made.instance_id,
            created_at: 0,
            updated_at: 0,
        });
        Ok(Created {
            machine,
            baseline: made.baseline_event,
        })
    }
}

/// A command to be run in a Machine; `.await` runs it.
#[derive(Debug)]
#[must_use = "nothing is run until it is awaited"]
pub struct Exec<'a> {
    machine: &'a Machine,
    options: ExecOptions,
}

impl<'a> Exec<'a> {
    pub(crate) fn new(machine: &'a Machine, command: &[String]) -> Self {
        Self {
            machine,
            options: ExecOptions {
                command: command.to_vec(),
                timeout_ms: 10_000,
            },
        }
    }

    /// Ends it after this long, ten seconds otherwise and a minute at most.
    pub fn within(mut self, timeout: Duration) -> Self {
        self.options.timeout_ms = milliseconds(timeout);
        self
    }
}

impl IntoFuture for Exec<'_> {
    type Output = Result<Executed>;
    type IntoFuture = Operation<Executed>;

    fn into_future(self) -> Self::IntoFuture {
        let id = door::exec(&self.machine.app, &self.machine.id, &self.options);
        Operation::new(id, |op| Ok(door::take_exec(op)?))
    }
}
