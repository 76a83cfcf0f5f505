//! What has changed on the target and is not accepted: shown, with the command that accepts it.

use std::fmt::Write;

use groundcrew::plan::Drift;
use serde_json::json;

use crate::context::Shared;
use crate::shown::as_json;
use crate::terminal::{data, say};

/// Shows every change, under a heading; gives `command` with what accepts them.
pub(super) fn shown(
    shared: &Shared,
    heading: &str,
    drifts: &[Drift],
    accepted: &[String],
    mut command: String,
) -> String {
    if shared.json {
        data!("{}", as_json(&json!({ "drift": drifts })));
    }
    say!("{}", heading);
    let mut open = Vec::new();
    for drift in drifts {
        let accepted = match drift.accepted(accepted) {
            true => "  (accepted)",
            false => {
                open.push(drift.name());
                ""
            }
        };
        say!("  {}{}", drift, accepted);
    }
    open.sort();
    open.dedup();
    for name in accepted.iter().chain(open.iter().take(3)) {
        let _ = write!(command, " --accept-drift {name}");
    }
    if open.len() > 3 {
        command.push_str(" …");
    }
    command
}
