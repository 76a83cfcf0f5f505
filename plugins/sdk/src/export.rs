//! What `#[plugin]` expands to. Not for plugins to call.

use std::panic;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use crate::bindings::Guest;
use crate::bindings::groundcrew::host::log::Level;
pub use crate::bindings::groundcrew::host::types::{CapabilityRequest, PluginInfo, Problem};
use crate::host::log;
use crate::{Error, Host, Kind, Result, queue};

/// A capability request as the attribute spells it: name, verbs, reason.
pub type Request = (&'static str, &'static [&'static str], &'static str);

/// Describes a plugin. `_plugin` only tells the types.
pub fn describe<I: JsonSchema, O: JsonSchema, F: AsyncFnOnce(I, Host) -> Result<O>>(
    _plugin: F,
    name: &str,
    version: &str,
    summary: &str,
    requests: &[Request],
) -> PluginInfo {
    PluginInfo {
        name: name.to_owned(),
        version: version.to_owned(),
        summary: summary.to_owned(),
        input_schema: schema::<I>(),
        output_schema: schema::<O>(),
        capabilities: requests.iter().map(request).collect(),
    }
}

/// Runs a plugin on JSON.
///
/// # Errors
///
/// As the plugin fails, or because the input is not of its type.
pub fn run<I: DeserializeOwned, O: Serialize, F: AsyncFnOnce(I, Host) -> Result<O>>(
    plugin: F,
    input: &str,
) -> Result<String, Problem> {
    panic::set_hook(Box::new(|panic| {
        log::note(Level::Error, &panic.to_string())
    }));
    let input =
        serde_json::from_str(input).map_err(|error| Error::invalid(format!("input: {error}")))?;
    let output = queue::block_on(plugin(input, Host::new()))?;
    serde_json::to_string(&output)
        .map_err(|error| Error::new(Kind::Other, format!("output: {error}")).into())
}

fn request((name, verbs, reason): &Request) -> CapabilityRequest {
    CapabilityRequest {
        name: (*name).to_owned(),
        verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        reason: (*reason).to_owned(),
    }
}

/// A schema with nothing outside itself.
fn schema<T: JsonSchema>() -> String {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings
        .into_generator()
        .into_root_schema_for::<T>()
        .as_value()
        .to_string()
}
