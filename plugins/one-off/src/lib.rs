//! Runs a command in a Machine of its own, with any image in an app's environment: its secrets,
//! its network, its settings.
//!
//! The procedure is in the crate `errand`; here is what an operator can say about it. The Machine
//! is in the process group `groundcrew_one_off`, so it never counts as one of the app's and a
//! grant can name it alone. It serves nothing, is not found by name, starts once and is destroyed
//! whatever happens. What it prints is in the app's logs, which the Machines API does not give away.

use errand::{Report, Variable, Work};
use groundcrew_plugin::{Host, Result, Timespan, plugin};
use schemars::JsonSchema;
use serde::Deserialize;

/// The process group of these Machines. No app has one of that name.
const GROUP: &str = "groundcrew_one_off";

/// What to run, and in what.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The app in whose environment the command runs.
    pub app: String,
    /// The process group whose first started Machine, by id, is the pattern of the new one; when
    /// none is started, the first.
    #[serde(default = "default_group")]
    pub group: String,
    /// The image; that of the pattern if none.
    #[serde(default)]
    pub image: Option<String>,
    /// The arguments of the image's entry point, or the program and its arguments if it has none.
    #[schemars(length(min = 1))]
    pub command: Vec<String>,
    /// Added to the environment of the pattern, each as `KEY=VALUE`.
    #[serde(default)]
    pub env: Vec<Variable>,
    /// Megabytes of memory; as the pattern if none.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub memory_mb: Option<u32>,
    /// How many CPUs; as the pattern if none.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub cpus: Option<u32>,
    /// The region, such as `fra`; that of the pattern if none.
    #[serde(default)]
    pub region: Option<String>,
    /// How long it may take, from the Machine's making to its stop.
    #[serde(default = "default_timeout")]
    pub timeout: Timespan,
}

fn default_group() -> String {
    "app".to_owned()
}

fn default_timeout() -> Timespan {
    Timespan::minutes(10)
}

/// Run a command in a Machine of its own, with any image in an app's environment.
#[plugin(machines(
    list,
    create,
    wait,
    destroy,
    reason = "makes a Machine for the command, waits for its end and destroys it"
))]
pub async fn one_off(input: Input, host: Host) -> Result<Report> {
    let work = Work {
        app: input.app,
        pattern_group: input.group,
        group: GROUP,
        image: input.image,
        command: input.command,
        env: input.env,
        memory_mb: input.memory_mb,
        cpus: input.cpus,
        region: input.region,
        timeout: input.timeout.duration(),
    };
    errand::run(&host, &work).await
}

#[cfg(test)]
mod tests;
