//! Releases: the record of what was deployed.

#[cfg(not(target_arch = "wasm32"))]
mod scripted;

#[cfg(not(target_arch = "wasm32"))]
use self::scripted as door;
#[cfg(target_arch = "wasm32")]
use crate::bindings::groundcrew::host::releases as door;

pub use crate::bindings::groundcrew::host::releases::{Release, Status};

use crate::bindings::groundcrew::host::releases::NewRelease;
use crate::queue::Operation;
use crate::{Host, Result};

/// The releases of an app.
#[derive(Debug, Clone)]
pub struct Releases {
    app: String,
}

impl Host {
    /// The releases of an app.
    #[must_use]
    pub fn releases(&self, app: &str) -> Releases {
        Releases {
            app: app.to_owned(),
        }
    }
}

impl Releases {
    /// The newest ones, newest first; at most 100.
    ///
    /// # Errors
    ///
    /// As the platform says.
    pub async fn list(&self, limit: u32) -> Result<Vec<Release>> {
        Operation::new(door::list(&self.app, limit), |op| Ok(door::take_list(op)?)).await
    }

    /// The newest one, whatever became of it.
    ///
    /// # Errors
    ///
    /// Also if there is none.
    pub async fn current(&self) -> Result<Release> {
        Operation::new(door::current(&self.app), |op| Ok(door::take_current(op)?)).await
    }

    /// What one was deployed with, as JSON and as it is: releases that are listed have fingerprints in the
    /// place of values that may be secrets. Needs `read-config`.
    ///
    /// # Errors
    ///
    /// As the platform says.
    pub async fn definition(&self, release: &Release) -> Result<Option<String>> {
        let id = door::definition(&self.app, &release.id);
        Operation::new(id, |op| Ok(door::take_definition(op)?)).await
    }

    /// Records one, as pending. It changes no Machine.
    ///
    /// # Errors
    ///
    /// As the platform says.
    pub async fn create(&self, strategy: &str, image: &str) -> Result<Release> {
        let new = NewRelease {
            strategy: strategy.to_owned(),
            image: image.to_owned(),
            definition: None,
        };
        let id = door::create(&self.app, &new);
        Operation::new(id, |op| Ok(door::take_create(op)?)).await
    }

    /// Says how far one is. One of the same step may be ended also while the run is interrupted.
    ///
    /// # Errors
    ///
    /// As the platform says.
    pub async fn set_status(&self, release: &Release, status: Status) -> Result<()> {
        let id = door::set_status(&self.app, &release.id, status);
        Operation::new(id, |op| Ok(door::take_set_status(op)?)).await
    }
}
