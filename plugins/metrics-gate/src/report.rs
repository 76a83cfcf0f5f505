//! What comes out.

use std::collections::BTreeMap;
use std::time::Duration;

use groundcrew_plugin::{Error, Kind, Sample};
use schemars::JsonSchema;
use serde::Serialize;

use crate::look::Look;

/// The most series that a report keeps, those outside the bounds first. An answer may have 10,000.
const MOST: usize = 100;

/// How it ended, and what the last look saw.
#[derive(Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Report {
    /// The answer was within the bounds for as long as it had to be.
    pub passed: bool,
    /// How many answers there were.
    pub looks: u32,
    /// What was held against the bounds at the last look: every series, or what they were reduced
    /// to. At most 100, those outside the bounds first.
    pub values: Vec<Series>,
    /// At the last look there was no sample, or one that was no finite number.
    pub no_data: bool,
    /// For how long every look up to the last was within the bounds, in milliseconds.
    pub held_ms: u64,
    /// Why it did not pass.
    pub reason: Option<String>,
}

/// One value.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub struct Series {
    /// Its labels; a sum has none.
    pub labels: BTreeMap<String, String>,
    /// The value; none if it is no finite number.
    pub value: Option<f64>,
}

impl Series {
    pub(crate) fn of(sample: Sample) -> Self {
        Self {
            value: sample.number(),
            labels: sample.labels.into_iter().collect(),
        }
    }
}

impl Report {
    pub(crate) fn saw(&mut self, look: Look, held: Option<Duration>) {
        self.looks = self.looks.saturating_add(1);
        self.no_data = look.no_data;
        self.values = look.compared;
        self.values.truncate(MOST);
        self.held_ms = held.unwrap_or_default().as_millis() as u64;
    }

    pub(crate) fn passes(mut self) -> Self {
        self.passed = true;
        self
    }

    pub(crate) fn fails(mut self, kind: Kind, why: &str) -> Error {
        self.reason = Some(why.to_owned());
        Error::new(kind, why).with_output(&self)
    }
}
