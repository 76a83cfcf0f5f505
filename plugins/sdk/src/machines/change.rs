//! Changes of a Machine's configuration, and the way back.

use std::future::IntoFuture;

pub use crate::bindings::groundcrew::host::machines::{Updated, Version};

use super::door;
use super::machine::Machine;
use crate::Result;
use crate::bindings::groundcrew::host::machines::{
    Change as Contract, RestoreOptions, UpdateOptions,
};
use crate::queue::Operation;

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

impl Machine {
    /// Gives it another configuration, in place and only if it is still what it was when it was
    /// read. Awaiting ends when the platform has accepted that.
    pub fn update(&self, change: Change) -> Update<'_> {
        Update {
            machine: self,
            options: UpdateOptions {
                change: change.into(),
                expected: Some(self.instance_id.clone()),
                launch: None,
                cordoned: None,
                min_secrets_version: None,
            },
        }
    }

    /// Gives it back the configuration of an earlier version.
    pub fn restore(&self, version: &str) -> Restore<'_> {
        Restore {
            machine: self,
            options: RestoreOptions {
                version: version.to_owned(),
                expected: None,
                launch: None,
                cordoned: None,
            },
        }
    }

    /// Reads its versions, newest first.
    pub async fn versions(&self) -> Result<Vec<Version>> {
        let id = door::versions(&self.app, &self.id);
        Operation::new(id, |op| Ok(door::take_versions(op)?)).await
    }
}

/// A request to give a Machine another configuration; `.await` sends it.
#[derive(Debug)]
#[must_use = "nothing is sent until it is awaited"]
pub struct Update<'a> {
    machine: &'a Machine,
    options: UpdateOptions,
}

impl Update<'_> {
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

impl Restore<'_> {
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
