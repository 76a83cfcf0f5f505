//! `groundcrew check`.

use clap::Args as Arguments;
use serde_json::json;

use crate::context::{Shared, grant_keys};
use crate::exit::Exit;
use crate::runbooks::{checked, find};
use crate::shown::as_json;
use crate::terminal::{data, say};

/// Check runbooks
#[derive(Debug, Arguments)]
pub(crate) struct Args {
    /// Runbooks, by name or path
    #[arg(required = true)]
    runbooks: Vec<String>,
}

pub(crate) fn run(shared: &Shared, args: &Args) -> Result<(), Exit> {
    let mut wrong = false;
    for name in &args.runbooks {
        let found = find(shared, name)?;
        if shared.json {
            let result = groundcrew::runbook::check_for(&found.text, &grant_keys());
            let diagnostics = match &result {
                Ok(runbook) => &runbook.warnings,
                Err(diagnostics) => diagnostics,
            };
            data!(
                "{}",
                as_json(
                    &json!({ "runbook": found.shown, "ok": result.is_ok(), "diagnostics": diagnostics })
                )
            );
            wrong |= result.is_err();
        } else {
            match checked(shared, &found) {
                Ok(runbook) => say!(
                    "ok: `{}` ({} steps, {} inputs)",
                    found.shown,
                    runbook.steps.len(),
                    runbook.inputs.len()
                ),
                Err(_) => wrong = true,
            }
        }
    }
    if wrong { Err(Exit::silent(3)) } else { Ok(()) }
}
