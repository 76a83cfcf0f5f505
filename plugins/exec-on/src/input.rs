//! What an operator can say.

use std::time::Duration;

use groundcrew_plugin::{Error, Result, Timespan};
use groundcrew_sweep::Which;
use schemars::JsonSchema;
use serde::Deserialize;

/// No command may take longer. (The contract.)
const LONGEST: Duration = Duration::from_secs(60);

/// What to run, and where.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The app whose Machines run the command.
    pub app: String,
    /// Only this process group.
    #[serde(default)]
    pub group: Option<String>,
    /// Only these regions; every region if empty.
    #[serde(default)]
    pub regions: Vec<String>,
    /// Only the Machines with these ids; all if empty.
    #[serde(default)]
    pub include: Vec<String>,
    /// Not the Machines with these ids.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Only so many Machines: the first, by id, that are started and reachable.
    #[serde(default)]
    #[schemars(range(min = 1, max = 5000))]
    pub limit: Option<u32>,
    /// How many Machines run it at once.
    #[serde(default = "default_parallel")]
    #[schemars(range(min = 1, max = 5000))]
    pub parallel: u32,
    /// The program and its arguments, a word each. No shell is in between: for one, say
    /// `["sh", "-c", "..."]`.
    #[schemars(length(min = 1))]
    pub command: Vec<String>,
    /// How long it may take on each Machine, a minute at most.
    #[serde(default = "default_timeout")]
    pub timeout: Timespan,
    /// On how many Machines it may fail, or not be run because their hosts are not reached.
    #[serde(default)]
    pub tolerate: u32,
}

fn default_parallel() -> u32 {
    50
}

fn default_timeout() -> Timespan {
    Timespan::seconds(10)
}

impl Input {
    /// Which Machines it is about.
    pub(crate) fn which(&self) -> Which<'_> {
        Which {
            app: &self.app,
            group: self.group.as_deref(),
            regions: &self.regions,
            include: &self.include,
            exclude: &self.exclude,
        }
    }

    /// What a schema cannot say.
    ///
    /// # Errors
    /// Names the field.
    pub(crate) fn check(&self) -> Result<()> {
        if self.command.first().is_none_or(String::is_empty) {
            return Err(Error::invalid("`command` names no program"));
        }
        if !(Duration::from_secs(1)..=LONGEST).contains(&self.timeout.duration()) {
            return Err(Error::invalid(format!(
                "`timeout` is {}: a command may take from 1s to 1m",
                self.timeout
            )));
        }
        if self.limit == Some(0) {
            return Err(Error::invalid("`limit` is 0: then there is nothing to do"));
        }
        Ok(())
    }
}
