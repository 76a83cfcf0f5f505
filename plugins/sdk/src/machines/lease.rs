//! A Machine's lease.

use std::future::Future;

use super::door;
use super::machine::Machine;
use crate::queue::Operation;
use crate::{Host, Result};

/// The lease of one Machine, held by this step. The host refreshes it and sends it with writes.
///
/// Dropping it gives it back without waiting for the answer; whatever a plugin does, the host
/// gives back what is left when the step ends.
#[derive(Debug)]
pub struct Lease {
    app: String,
    id: String,
    held: bool,
}

impl Machine {
    /// Takes its lease for this step. Fails as a conflict if somebody else has it.
    pub async fn lease(&self) -> Result<Lease> {
        let id = door::lease(&self.app, &self.id);
        Operation::new(id, |op| Ok(door::take_lease(op)?)).await?;
        Ok(Lease {
            app: self.app.clone(),
            id: self.id.clone(),
            held: true,
        })
    }

    /// Does something under its lease, which is given back whatever became of it.
    ///
    /// # Errors
    ///
    /// As for [`Machine::lease`], and then nothing is done; otherwise as the work says.
    pub async fn under_lease<T>(
        &self,
        host: &Host,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let lease = self.lease().await?;
        let result = work.await;
        lease.give_back(host).await;
        result
    }
}

impl Lease {
    /// Gives it back.
    pub async fn release(mut self) -> Result<()> {
        self.submit().await
    }

    /// Gives it back, and says so if that fails: the work under it is done all the same, and what is
    /// left of the lease ends by itself.
    pub async fn give_back(self, host: &Host) {
        let id = self.id.clone();
        if let Err(error) = self.release().await {
            host.warn(&format!("{id}: the lease stays until it expires: {error}"));
        }
    }

    fn submit(&mut self) -> Operation<()> {
        self.held = false;
        Operation::new(door::release(&self.app, &self.id), |op| {
            Ok(door::take_release(op)?)
        })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.held {
            drop(self.submit());
        }
    }
}
