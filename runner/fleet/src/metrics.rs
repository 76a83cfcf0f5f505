//! Metrics: what a query is answered, as tests say. Queries are not understood, only known.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::fleet::Fleet;

/// One series and its present value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Labels by name.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The value as Prometheus writes it, `NaN` included.
    pub value: String,
}

impl Sample {
    /// One without labels.
    pub fn of(value: impl ToString) -> Self {
        Self {
            labels: BTreeMap::new(),
            value: value.to_string(),
        }
    }
}

impl Fleet {
    /// Answers a query with these samples from now on; with none it has no data.
    pub fn set_metric(&mut self, query: &str, samples: Vec<Sample>) {
        self.metrics.insert(query.to_owned(), samples);
    }

    /// The samples of a query; none of one that nobody has spoken of, as of a series that does not
    /// exist.
    pub fn metric(&self, query: &str) -> &[Sample] {
        self.metrics.get(query).map_or(&[], Vec::as_slice)
    }
}
