//! Metrics.

#[cfg(not(target_arch = "wasm32"))]
mod scripted;

use std::time::Duration;

#[cfg(not(target_arch = "wasm32"))]
use self::scripted as door;
#[cfg(target_arch = "wasm32")]
use crate::bindings::groundcrew::host::metrics as door;

pub use crate::bindings::groundcrew::host::metrics::Sample;

use crate::queue::Operation;
use crate::timespan::milliseconds;
use crate::{Host, Result};

impl Host {
    /// The present value of every series that a PromQL query gives. **None of them means that there
    /// is no data**, not that the value is zero.
    ///
    /// # Errors
    ///
    /// As the service says; `invalid` if the query is wrong.
    pub async fn query(&self, promql: &str) -> Result<Vec<Sample>> {
        Operation::new(door::query(promql, None), |op| Ok(door::take_query(op)?)).await
    }

    /// The same at another time since the Unix epoch.
    ///
    /// # Errors
    ///
    /// As for [`Host::query`].
    pub async fn query_at(&self, promql: &str, at: Duration) -> Result<Vec<Sample>> {
        let id = door::query(promql, Some(milliseconds(at)));
        Operation::new(id, |op| Ok(door::take_query(op)?)).await
    }
}

impl Sample {
    /// Its value; none if it is no finite number: then there is nothing to compare.
    #[must_use]
    pub fn number(&self) -> Option<f64> {
        self.value.parse::<f64>().ok().filter(|it| it.is_finite())
    }
}
