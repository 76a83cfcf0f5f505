//! What an operator can say.

use std::fmt;
use std::time::Duration;

use groundcrew_plugin::{Error, Result, Timespan};
use schemars::JsonSchema;
use serde::Deserialize;

/// Every look is a request to the metrics and an entry of the journal.
const SHORTEST: Duration = Duration::from_secs(1);

/// What to ask, and when its answer is good enough.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The query, in PromQL. Its answer is an instant vector or a scalar.
    #[schemars(length(min = 1))]
    pub query: String,
    /// The least value that is within the bounds. There has to be a `min` or a `max`.
    #[serde(default)]
    pub min: Option<f64>,
    /// The greatest value that is within the bounds.
    #[serde(default)]
    pub max: Option<f64>,
    /// For how long every look has to be within the bounds; one look is enough if `0s`.
    #[serde(default)]
    pub hold: Timespan,
    /// How long from one look to the next, a second at least.
    #[serde(default = "default_every")]
    pub every: Timespan,
    /// When the gate gives up; there is only one look if `0s`.
    #[serde(default = "default_timeout")]
    pub timeout: Timespan,
    /// The first look outside the bounds is the last.
    #[serde(default)]
    pub fail_fast: bool,
    /// What to do with an answer that has no samples, or one that is no finite number.
    #[serde(default)]
    pub no_data: NoData,
    /// What of several series is held against the bounds.
    #[serde(default)]
    pub reduce: Reduce,
}

/// What to do without data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NoData {
    /// Look again: it is not within the bounds, and not outside either.
    #[default]
    Wait,
    /// Fail at once.
    Fail,
    /// Take what has no number to be within the bounds.
    Pass,
}

/// What of several series is held against the bounds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reduce {
    /// The greatest.
    Max,
    /// The least.
    Min,
    /// All of them together.
    Sum,
    /// Each of them.
    #[default]
    Each,
}

/// What a value has to be; the bounds themselves are allowed.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    min: Option<f64>,
    max: Option<f64>,
}

impl Bounds {
    /// Whether a value is within them.
    pub(crate) fn allow(self, value: f64) -> bool {
        self.min.is_none_or(|min| value >= min) && self.max.is_none_or(|max| value <= max)
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.min, self.max) {
            (Some(min), Some(max)) => write!(f, "from {min} to {max}"),
            (Some(min), None) => write!(f, "at least {min}"),
            (None, Some(max)) => write!(f, "at most {max}"),
            (None, None) => f.write_str("anything"),
        }
    }
}

fn default_every() -> Timespan {
    Timespan::seconds(15)
}

fn default_timeout() -> Timespan {
    Timespan::minutes(5)
}

impl Input {
    pub(crate) fn bounds(&self) -> Bounds {
        Bounds {
            min: self.min,
            max: self.max,
        }
    }

    /// What a schema cannot say.
    ///
    /// # Errors
    /// Names the field.
    pub(crate) fn check(&self) -> Result<()> {
        if self.query.trim().is_empty() {
            return Err(Error::invalid("`query` is empty"));
        }
        match (self.min, self.max) {
            (None, None) => {
                return Err(Error::invalid(
                    "neither `min` nor `max` is given: then there is nothing to wait for",
                ));
            }
            (Some(min), Some(max)) if min > max => {
                return Err(Error::invalid(format!(
                    "`min` is {min} and `max` {max}: nothing is within these bounds"
                )));
            }
            (Some(_), _) | (None, Some(_)) => {}
        }
        if self.every.duration() < SHORTEST {
            return Err(Error::invalid(format!(
                "`every` is {}: looks are 1s apart at least",
                self.every
            )));
        }
        if !self.hold.duration().is_zero() && self.hold >= self.timeout {
            return Err(Error::invalid(format!(
                "`hold` is {}, and the gate gives up after `timeout`, {}",
                self.hold, self.timeout
            )));
        }
        Ok(())
    }
}
