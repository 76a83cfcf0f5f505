//! What an operator can say.

use groundcrew_plugin::{Portion, Timespan};
use groundcrew_sweep::Which;
use schemars::JsonSchema;
use serde::Deserialize;

/// What to restart, and how carefully.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The app whose Machines are restarted.
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
    /// How many Machines are worked on at once.
    #[serde(default = "default_parallel")]
    #[schemars(range(min = 1, max = 5000))]
    pub parallel: u32,
    /// How many Machines may be away at once because of this step: a number such as `10`, or a
    /// share such as `25%` of the started Machines of the group and regions (rounded down, but at
    /// least one). It can only lower `parallel`. Machines that are away for other reasons do not
    /// count.
    #[serde(default)]
    pub max_unavailable: Option<Portion>,
    /// Restart one Machine first, alone, and stop if it does not come back.
    #[serde(default = "default_canary")]
    pub canary: bool,
    /// How many Machines may fail before no further one is restarted.
    #[serde(default)]
    pub max_failures: u32,
    /// The signal that stops a Machine, such as `SIGTERM`; its own setting if none.
    #[serde(default)]
    pub signal: Option<String>,
    /// How long a Machine may take to stop before it is killed; its own setting if none.
    #[serde(default)]
    pub stop_timeout: Option<Timespan>,
    /// How long a Machine may take to start, and then again for its checks to pass.
    #[serde(default = "default_wait_timeout")]
    pub wait_timeout: Timespan,
    /// Be content with started Machines, whatever their checks say.
    #[serde(default)]
    pub skip_health_checks: bool,
}

fn default_parallel() -> u32 {
    50
}

fn default_canary() -> bool {
    true
}

fn default_wait_timeout() -> Timespan {
    Timespan::minutes(5)
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
}
