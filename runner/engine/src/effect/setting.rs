//! What an executor is made for, and what those of one run share.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::deadline::Deadline;
use crate::sealed::Sealed;
use crate::target::Target;

/// Whether effects reach the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Writes act on the target.
    Perform,
    /// Writes act on a fork of it.
    Rehearsal,
}

/// What an executor is made for.
#[derive(Clone)]
pub struct Setting {
    /// The run's id.
    pub run: Arc<str>,
    /// Where it acts.
    pub target: Target,
    /// On the target itself, or on a fork of it.
    pub mode: Mode,
    /// The run's clock; virtual on a fork.
    pub clock: Arc<dyn Clock>,
    /// Seeds every jitter.
    pub seed: u64,
    /// To be checked right before each write is sent.
    pub deadline: Deadline,
    /// What the capabilities of the run share.
    pub commons: Commons,
    /// The values that the run was given and that nothing keeps.
    pub sealed: Sealed,
}

/// What the capabilities of one run share, such as one fork of the fleet: one value of each type,
/// made by whoever asks first.
#[derive(Clone, Default)]
pub struct Commons(Arc<Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>>);

impl Commons {
    /// The value of a type; `make` makes it if nobody has.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn share<T: Send + Sync + 'static>(
        &self,
        make: impl FnOnce() -> Result<T, String>,
    ) -> Result<Arc<T>, String> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.get(&TypeId::of::<T>()).cloned();
        if let Some(value) = known.and_then(|value| value.downcast::<T>().ok()) {
            return Ok(value);
        }
        let value = Arc::new(make()?);
        all.insert(TypeId::of::<T>(), value.clone());
        Ok(value)
    }
}
