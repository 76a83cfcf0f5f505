//! Apps, and whether there is room for their Machines.

#[cfg(not(target_arch = "wasm32"))]
mod scripted;

#[cfg(not(target_arch = "wasm32"))]
use self::scripted as door;
#[cfg(target_arch = "wasm32")]
use crate::bindings::groundcrew::host::apps as door;

pub use crate::bindings::groundcrew::host::apps::{App, Room};

use crate::bindings::groundcrew::host::apps::CapacityQuery;
use crate::queue::Operation;
use crate::{Host, Machine, Result};

impl Host {
    /// The apps of the target's organisation.
    ///
    /// # Errors
    ///
    /// As the platform says.
    pub async fn apps(&self) -> Result<Vec<App>> {
        Operation::new(door::list(), |op| Ok(door::take_list(op)?)).await
    }

    /// One app.
    ///
    /// # Errors
    ///
    /// Also if there is none of this name.
    pub async fn app(&self, name: &str) -> Result<App> {
        Operation::new(door::get(name), |op| Ok(door::take_get(op)?)).await
    }

    /// For how many of `count` Machines in each of these regions there is room, of the size of a
    /// Machine of the app. No reservation.
    ///
    /// # Errors
    ///
    /// As the platform says.
    pub async fn capacity(
        &self,
        like: &Machine,
        regions: Vec<String>,
        count: usize,
    ) -> Result<Vec<Room>> {
        let query = CapacityQuery {
            like: Some(like.id.clone()),
            regions,
            count: u32::try_from(count).unwrap_or(u32::MAX),
        };
        let id = door::capacity(&like.app, &query);
        Operation::new(id, |op| Ok(door::take_capacity(op)?)).await
    }

    /// Deletes an app; one that has Machines only with `force`.
    ///
    /// # Errors
    ///
    /// As the platform says. An app that is gone is no failure.
    pub async fn delete_app(&self, name: &str, force: bool) -> Result<()> {
        Operation::new(door::delete(name, force), |op| Ok(door::take_delete(op)?)).await
    }
}
