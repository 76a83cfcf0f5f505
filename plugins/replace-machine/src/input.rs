//! What an operator can say.

use groundcrew_plugin::{Error, Result, Timespan};
use schemars::JsonSchema;
use serde::Deserialize;

/// What to replace, and how.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The app of the Machines.
    pub app: String,
    /// The Machines that are replaced.
    #[schemars(length(min = 1, max = 5000))]
    pub ids: Vec<String>,
    /// How many are replaced at once.
    #[serde(default = "default_parallel")]
    #[schemars(range(min = 1, max = 5000))]
    pub parallel: u32,
    /// Destroy each Machine before its replacement is made, for when there is no room for both.
    /// The replacement then gets the configuration of another Machine of the group, as a Machine
    /// that is gone has none to give.
    #[serde(default)]
    pub destroy_first: bool,
    /// Also replace Machines that have volumes mounted. The volumes do not move: they stay behind
    /// unattached, and the replacement has none.
    #[serde(default)]
    pub allow_mounts: bool,
    /// How long a replacement may take to start and for its checks to pass.
    #[serde(default = "default_wait_timeout")]
    pub wait_timeout: Timespan,
}

fn default_parallel() -> u32 {
    10
}

fn default_wait_timeout() -> Timespan {
    Timespan::minutes(5)
}

impl Input {
    /// What a schema cannot say.
    ///
    /// # Errors
    /// Names the field.
    pub(crate) fn check(&self) -> Result<()> {
        if self.ids.is_empty() {
            return Err(Error::invalid("`ids` names no Machine"));
        }
        let mut sorted: Vec<&String> = self.ids.iter().collect();
        sorted.sort();
        match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            None => Ok(()),
            Some(pair) => Err(Error::invalid(format!("`ids` names {} twice", pair[0]))),
        }
    }
}
