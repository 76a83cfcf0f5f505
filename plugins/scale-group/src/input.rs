//! What an operator can say.

use groundcrew_plugin::{Error, Result, Timespan};
use schemars::JsonSchema;
use serde::Deserialize;

/// How many Machines a process group is to have, and how it gets there.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The app of the group.
    pub app: String,
    /// The process group.
    pub group: String,
    /// How many Machines it is to have, whether they run or rest. Standbys do not count.
    #[schemars(range(max = 5000))]
    pub count: u32,
    /// Allow a `count` of 0. A group without a Machine cannot grow again here: there is none left
    /// to take the configuration from.
    #[serde(default)]
    pub allow_zero: bool,
    /// Where new Machines are made, spread evenly; in the regions where the group is already if
    /// empty. Which Machines are destroyed does not depend on it.
    #[serde(default)]
    pub regions: Vec<String>,
    /// How long the proxy gets to notice that a Machine is out of service before it is stopped.
    #[serde(default = "default_drain")]
    pub drain: Timespan,
    /// How long a Machine may take to stop before it is killed; its own setting if none.
    #[serde(default)]
    pub stop_timeout: Option<Timespan>,
    /// How long a new Machine may take to start and for its checks to pass, and an old one to
    /// have stopped.
    #[serde(default = "default_wait_timeout")]
    pub wait_timeout: Timespan,
    /// How many Machines are made or destroyed at once.
    #[serde(default = "default_parallel")]
    #[schemars(range(min = 1, max = 5000))]
    pub parallel: u32,
    /// Also destroy Machines that have volumes mounted. The volumes stay behind unattached.
    #[serde(default)]
    pub allow_mounts: bool,
}

fn default_drain() -> Timespan {
    Timespan::seconds(5)
}

fn default_wait_timeout() -> Timespan {
    Timespan::minutes(5)
}

fn default_parallel() -> u32 {
    10
}

impl Input {
    /// What a schema cannot say.
    ///
    /// # Errors
    /// Names the field.
    pub(crate) fn check(&self) -> Result<()> {
        if self.count == 0 && !self.allow_zero {
            return Err(Error::invalid(
                "`count` is 0, which destroys the whole group: that takes `allow_zero`",
            ));
        }
        if let Some(stop) = self.stop_timeout
            && stop > self.wait_timeout
        {
            return Err(Error::invalid(format!(
                "`stop_timeout` is {stop}, and no stop is awaited for longer than `wait_timeout`, \
                 {}",
                self.wait_timeout
            )));
        }
        let mut sorted: Vec<&String> = self.regions.iter().collect();
        sorted.sort();
        match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            None => Ok(()),
            Some(pair) => Err(Error::invalid(format!("`regions` names {} twice", pair[0]))),
        }
    }
}
