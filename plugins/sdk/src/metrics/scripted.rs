//! Metrics in a scripted run.

use std::collections::HashMap;

use crate::bindings::groundcrew::host::metrics::Sample;
use crate::bindings::groundcrew::host::operations::Failure;
use crate::testing::TestHost;
use crate::testing::script::{Call, in_turn, submit, with};

/// Answers to a query, one after the other; the last stays.
#[derive(Debug, Default)]
struct Samples(HashMap<String, Vec<Vec<Sample>>>);

impl TestHost {
    /// Answers a query with these samples, after those that were given before; the last answer
    /// stays. A query that nobody speaks of has no data.
    #[must_use]
    pub fn samples(mut self, query: &str, samples: impl IntoIterator<Item = Sample>) -> Self {
        let answers = self.own::<Samples>().0.entry(query.to_owned());
        answers.or_default().push(samples.into_iter().collect());
        self
    }
}

pub(crate) fn query(promql: &str, at: Option<u64>) -> u64 {
    submit(Call::new("metrics.query", promql).options(at))
}

pub(crate) fn take_query(op: u64) -> Result<Vec<Sample>, Failure> {
    with(|script| {
        let query = script.subject(op);
        script.take(op)?;
        Ok(in_turn(&mut script.own::<Samples>().0, &query).unwrap_or_default())
    })
}
