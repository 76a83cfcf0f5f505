//! The capabilities that come with Groundcrew. Each is made of the same four parts as anybody's own,
//! through the public trait [`groundcrew::Capability`]; nothing here is known to the engine.
//!
//! `fly/` has the three that act on one world of Fly's, `metrics.rs` and `http.rs` one each.

#![forbid(unsafe_code)]

pub mod fly;
mod http;
mod metrics;
mod promql;
mod rates;

use std::sync::Arc;

use groundcrew::Capability;

pub use http::Http;
pub use metrics::Metrics;

/// All of them, for an engine to offer beside an embedder's own.
pub fn all() -> Vec<Arc<dyn Capability>> {
    vec![
        Arc::new(fly::Machines),
        Arc::new(fly::Apps),
        Arc::new(fly::Releases),
        Arc::new(Metrics),
        Arc::new(Http),
    ]
}
