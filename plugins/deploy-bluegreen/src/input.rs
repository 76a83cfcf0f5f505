//! What an operator can say.

use groundcrew_deploy::{Change, Select};
use groundcrew_plugin::{Error, Portion, Result, Timespan};
use schemars::JsonSchema;
use serde::Deserialize;

/// What to deploy where, and how far.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Which Machines.
    pub select: Select,
    /// What changes.
    pub change: Change,
    /// How many of a hundred Machines in service are to be new ones, in each process group and region
    /// (rounded up). It is a share of the Machines, not of the traffic. 0 goes back to the old ones.
    #[serde(default = "hundred")]
    #[schemars(range(min = 0, max = 100))]
    pub share: u32,
    /// How many Machines may run beyond those that run now: a number, or a share of them.
    #[serde(default = "all")]
    pub max_surge: Portion,
    /// How those that serve change.
    #[serde(default)]
    pub cutover: Cutover,
    /// How long the proxy gets to notice a Machine that came into service, before others leave it.
    #[serde(default = "groundcrew_deploy::defaults::discovery")]
    pub discovery: Timespan,
    /// How long the proxy gets to notice that a Machine has left its service, before it is stopped.
    #[serde(default = "groundcrew_deploy::defaults::drain")]
    pub drain: Timespan,
    /// How long the new Machines are watched once they serve; if they do not stay in order
    /// everything goes back.
    #[serde(default)]
    pub hold: Timespan,
    /// What becomes of the Machines that lost when the share is 0 or 100.
    #[serde(default)]
    pub after: After,
    /// For how long they are kept before they are destroyed.
    #[serde(default)]
    pub keep: Timespan,
    /// How long a Machine may take to start, and then again for its checks to pass.
    #[serde(default = "groundcrew_deploy::defaults::wait")]
    pub wait_timeout: Timespan,
    /// A check that is critical for so long after the start, its own grace period aside, is a
    /// failure at once.
    #[serde(default = "groundcrew_deploy::defaults::critical")]
    pub critical_after: Timespan,
}

/// How those that serve change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Cutover {
    /// The new ones serve before the old ones leave: both versions serve for a moment.
    #[default]
    Overlap,
    /// The old ones leave before the new ones serve: nobody is served for a moment.
    Atomic,
}

/// What becomes of the Machines that lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum After {
    /// They are destroyed.
    #[default]
    Destroy,
    /// They stay, out of service and running.
    Keep,
}

impl Input {
    /// How many Machines may run beyond `wanted`.
    ///
    /// # Errors
    ///
    /// If what is asked for contradicts itself.
    pub(crate) fn surge(&self, wanted: usize) -> Result<usize> {
        if self.share > 100 {
            return Err(Error::invalid("a share is at most 100"));
        }
        let surge = self.max_surge.of(wanted);
        let whole = surge >= wanted;
        if !whole && self.share > 0 && self.share < 100 {
            return Err(Error::invalid(
                "a share between 0 and 100 needs room for all of both: `max_surge = \"100%\"`",
            ));
        }
        if !whole && self.share == 100 && self.cutover == Cutover::Atomic {
            return Err(Error::invalid(
                "an atomic cutover needs room for all of both: `max_surge = \"100%\"`",
            ));
        }
        if !whole && self.share == 100 && self.after == After::Keep {
            return Err(Error::invalid(
                "the old Machines can be kept only if there is room for all of both: `max_surge = \"100%\"`",
            ));
        }
        Ok(surge)
    }
}

fn hundred() -> u32 {
    100
}

fn all() -> Portion {
    Portion::Percent(100)
}
