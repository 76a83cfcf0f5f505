//! What a plan says that can be found out again, without a look at the target: whoever signs a plan may
//! lie, and others approve of what they read. That the writes are the planned ones is the gate's business,
//! what plugins can do is compared at admission, and what the target is like by `drift.rs`.

use std::collections::HashMap;

use groundcrew_runbook::format_duration;

use super::{LONGEST_VALIDITY, Plan, PlannedWrite};
use crate::clock::after;
use crate::digest::digest;
use crate::effect::Row;
use crate::scale::Scale;

/// What of it is not so, in words.
pub(crate) fn untrue(plan: &Plan, rows: &HashMap<&'static str, &'static Row>) -> Vec<String> {
    let mut all = of_runbook(plan);
    let contingencies = plan.contingencies.iter().flat_map(|c| &c.writes);
    for write in plan.writes.iter().chain(contingencies) {
        all.extend(of_write(write, rows));
    }
    for write in &plan.writes {
        all.extend(unobserved(plan, write, rows));
    }
    all.sort();
    all.dedup();
    all
}

/// What it says of its runbook.
pub(crate) fn of_runbook(plan: &Plan) -> Vec<String> {
    let mut all = Vec::new();
    if plan.runbook_digest != digest(&plan.runbook_text) {
        all.push("its runbook has another digest".to_owned());
    }
    match groundcrew_runbook::check(&plan.runbook_text) {
        Ok(runbook) if runbook.name != plan.runbook => {
            all.push(format!("its runbook is called `{}`", runbook.name));
        }
        // That it is not valid here is said where it is used.
        Ok(_) | Err(_) => {}
    }
    all
}

/// Its numbers, which its author could have made up: how long it can be applied, and how fast its
/// target's time runs.
pub(crate) fn of_numbers(plan: &Plan) -> Vec<String> {
    let mut all = Vec::new();
    let (made_at, expires_at) = (plan.made_at, plan.expires_at);
    if expires_at <= made_at {
        all.push(format!(
            "it was made at {made_at}, and could be applied until {expires_at}"
        ));
    }
    if expires_at > after(made_at, LONGEST_VALIDITY) {
        let longest = format_duration(LONGEST_VALIDITY);
        all.push(format!(
            "it could be applied until {expires_at}, which is more than {longest} after it was made"
        ));
    }
    // The run itself goes by the scale that the configuration here has.
    if let Some(scale) = plan.target.get("time_scale")
        && scale.as_f64().and_then(Scale::new).is_none()
    {
        let (slowest, fastest) = (Scale::SLOWEST, Scale::FASTEST);
        all.push(format!(
            "its target's time scale is {scale}, and not a number from {slowest} to {fastest}"
        ));
    }
    all
}

/// What it says beside a write, which follows from the write.
fn of_write(write: &PlannedWrite, rows: &HashMap<&'static str, &'static Row>) -> Option<String> {
    let (step, operation, on) = (
        &write.step,
        write.request.operation.as_str(),
        write.request.on(),
    );
    let Some(row) = rows.get(operation) else {
        return Some(format!("step `{step}`: there is no `{operation}`"));
    };
    if write.undo.as_deref() != row.undo {
        let undo = row.undo.unwrap_or("nothing");
        return Some(format!(
            "step `{step}`: `{operation}` of `{on}` is taken back by `{undo}`"
        ));
    }
    if write.makes.is_some() != row.creates.is_some() {
        let makes = match row.creates {
            Some(_) => "something",
            None => "nothing",
        };
        return Some(format!(
            "step `{step}`: `{operation}` of `{on}` makes {makes}"
        ));
    }
    None
}

/// Each field that counts for a write to what is there has to be observed: otherwise the target could
/// have changed, and nobody would see it. What else was read only decides whether there is less to do.
fn unobserved(
    plan: &Plan,
    write: &PlannedWrite,
    rows: &HashMap<&'static str, &'static Row>,
) -> Option<String> {
    let request = &write.request;
    let subject = request.subject.as_deref()?;
    // What is made has a name with `#` in the plan.
    if subject.contains('#') {
        return None;
    }
    let on = request.on();
    let seen = |field: &&'static str| {
        plan.observed.iter().any(|observed| {
            let of = &observed.request;
            // Either it is asked for by name, or it would be missed in what is listed.
            let asked = (&of.app, &of.subject) == (&request.app, &request.subject);
            let listed = of.app.is_some() && observed.found.contains_key(&on);
            let row = rows.get(of.operation.as_str());
            (asked || listed) && row.is_some_and(|row| row.projection.contains(field))
        })
    };
    let projection = rows.get(request.operation.as_str())?.projection;
    let missing = projection.iter().find(|field| !seen(field))?;
    Some(format!(
        "it rests on `{on}` and does not have its `{missing}` as it was"
    ))
}
