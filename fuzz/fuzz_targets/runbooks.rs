//! Runbooks: any text is refused, with diagnostics that can be shown, or checked; and what is checked can
//! be evaluated, to a value or an error, over whatever its inputs are.

use groundcrew::runbook::{Runbook, Scope, check, render};
use serde_json::json;

pub(crate) fn run(text: &str) {
    match check(text) {
        Ok(runbook) => evaluate(&runbook),
        Err(wrong) => {
            for diagnostic in &wrong {
                render(diagnostic, text, "runbook.toml", false);
            }
        }
    }
}

fn evaluate(runbook: &Runbook) {
    let given: Vec<(String, String)> = runbook
        .inputs
        .iter()
        .map(|input| (input.name.clone(), "a,b,7".to_owned()))
        .collect();
    let inputs = runbook
        .bind_inputs(&given)
        .or_else(|_| runbook.bind_inputs(&[]));
    let scope = Scope {
        inputs: inputs.unwrap_or_else(|_| json!({ "a": [1, 2, "x"], "b": { "c": [] } })),
        target: json!({ "name": "t", "organisation": null }),
        run: json!({ "id": "r" }),
        ..Scope::default()
    };
    for step in runbook.steps.iter().chain(&runbook.finally) {
        let _ = step.with.evaluate(&scope);
        let _ = step.evaluate_grants(&scope);
        let _ = step.timeout(&scope);
        let _ = step.when.as_ref().map(|when| when.holds(&scope));
    }
}
