//! Says where a deploy stands, and changes nothing: of each process group which images how many
//! Machines run, in which states, and who is stuck and since when.

use groundcrew_deploy::Select;
use groundcrew_deploy::survey::Survey;
use groundcrew_plugin::{Host, Result, plugin};
use schemars::JsonSchema;
use serde::Deserialize;

/// What is looked at.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Which Machines.
    pub select: Select,
}

/// Count the Machines of an app by image and state, and name those that are stuck.
#[plugin(machines(list, reason = "reads the Machines of the app"))]
pub async fn survey_deploy(input: Input, host: Host) -> Result<Survey> {
    let selection = input.select.list(&host).await?;
    let survey = Survey::of(&selection.chosen, host.now());
    if !survey.stuck.is_empty() {
        host.warn(&format!("{} Machines are stuck", survey.stuck.len()));
    }
    Ok(survey)
}
