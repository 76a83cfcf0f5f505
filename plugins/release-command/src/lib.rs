//! Runs a deploy's release command: with the new image, in the app's environment, before any of
//! its Machines is touched.
//!
//! The procedure is in the crate `errand`; here is what an operator can say about it. The Machine
//! is in the process group `groundcrew_release_command`, so it never counts as one of the app's
//! and a grant can name it alone. As flyctl does, it sets `RELEASE_COMMAND=1`.
//!
//! The last lines of its log would be the best reason for a failure. They are in the app's logs
//! and not here: the Machines API does not give logs away.

use errand::{Report, Variable, Work};
use groundcrew_plugin::{Host, Result, Timespan, plugin};
use schemars::JsonSchema;
use serde::Deserialize;

/// The process group of these Machines. No app has one of that name.
const GROUP: &str = "groundcrew_release_command";

/// What to run, and in what.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The app that is going to be deployed.
    pub app: String,
    /// The image that it is going to be deployed with.
    pub image: String,
    /// The arguments of the image's entry point, or the program and its arguments if it has none.
    #[schemars(length(min = 1))]
    pub command: Vec<String>,
    /// The process group whose first started Machine, by id, is the pattern of the new one; when
    /// none is started, the first.
    #[serde(default = "default_group")]
    pub group: String,
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

/// What flyctl allows a release command by default.
fn default_timeout() -> Timespan {
    Timespan::minutes(5)
}

/// Run a deploy's release command in a Machine of its own, with the new image.
#[plugin(machines(
    list,
    create,
    wait,
    destroy,
    reason = "makes a Machine for the release command, waits for its end and destroys it"
))]
pub async fn release_command(input: Input, host: Host) -> Result<Report> {
    let mut env = vec![Variable::new("RELEASE_COMMAND", "1")];
    env.extend(input.env);
    let work = Work {
        app: input.app,
        pattern_group: input.group,
        group: GROUP,
        image: Some(input.image),
        command: input.command,
        env,
        memory_mb: input.memory_mb,
        cpus: input.cpus,
        region: input.region,
        timeout: input.timeout.duration(),
    };
    errand::run(&host, &work).await
}

#[cfg(test)]
mod tests;
