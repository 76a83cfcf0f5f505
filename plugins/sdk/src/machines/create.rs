//! Making Machines.

use std::time::Duration;

use super::change::Change;
use super::door;
use super::machine::{HostStatus, Machine, Summary};
use crate::bindings::groundcrew::host::machines::CreateOptions;
use crate::queue::Operation;
use crate::{Host, Result};

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
