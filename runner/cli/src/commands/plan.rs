//! `groundcrew plan`, and what the commands share that take a plan.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args as Arguments;
use groundcrew::journal::Mode;
use groundcrew::plan::{LONGEST_VALIDITY, PlanError, SignedPlan};
use groundcrew::{Key, OperationRule, Policy, RunRequest, Unobserved, Whereabouts};
use groundcrew::{MakeError, PlanRequest};
use serde_json::{Value, json};

use super::run::confirm;
use crate::audit;
use crate::context::{Shared, actor, random_seed};
use crate::exit::Exit;
use crate::files;
use crate::inputs::inputs;
use crate::keys;
use crate::plan_text;
use crate::render;
use crate::runbooks::{checked, find, say_what_is_not_bundled};
use crate::shown::as_json;
use crate::terminal::{data, say};

/// Rehearse a runbook and save what it will do, to be applied exactly so
#[derive(Debug, Arguments)]
pub(crate) struct Args {
    /// A runbook's name, or the path of its file
    #[arg(required_unless_present = "show")]
    runbook: Option<String>,
    /// An input, as NAME=VALUE, or NAME=@FILE for what is in a file; may be given many times
    #[arg(short, long = "input", value_name = "NAME=VALUE")]
    input: Vec<String>,
    /// The target to plan for
    #[arg(short, long, value_name = "NAME")]
    target: Option<String>,
    /// Where to save the plan, signed; without it the plan is only shown
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Rehearse also what happens when operations go wrong, as OPERATION[/TARGET]@WHEN:FAILURE such
    /// as machines.wait-healthy@3:application. What the pipeline then does may be done. Each --fault
    /// is a case of its own; commas join several faults to one case
    #[arg(long, value_name = "FAULTS", value_parser = faults)]
    fault: Vec<Faults>,
    /// How long the plan can be applied, 30d at most
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = validity)]
    valid_for: Duration,
    /// The directory with your key [default: `identity` in your configuration]
    #[arg(long, value_name = "DIR")]
    key: Option<PathBuf>,
    /// Do not ask before others than the target are asked
    #[arg(short, long)]
    yes: bool,
    /// Only show a plan that was saved
    #[arg(long, value_name = "FILE", conflicts_with_all = ["runbook", "input", "out", "fault"])]
    show: Option<PathBuf>,
}

/// One case.
#[derive(Debug, Clone)]
struct Faults(Vec<OperationRule>);

fn faults(text: &str) -> Result<Faults, String> {
    let rules: Result<Vec<OperationRule>, _> = text.split(',').map(str::parse).collect();
    rules.map(Faults).map_err(|e| e.to_string())
}

fn validity(text: &str) -> Result<Duration, String> {
    let duration = groundcrew::runbook::parse_duration(text).map_err(|e| e.to_string())?;
    match duration {
        Duration::ZERO => Err("nobody could apply it".to_owned()),
        long if long > LONGEST_VALIDITY => Err(format!(
            "a plan can be applied for {} at most",
            groundcrew::runbook::format_duration(LONGEST_VALIDITY)
        )),
        fine => Ok(fine),
    }
}

pub(crate) async fn run(shared: &Shared, args: Args) -> Result<(), Exit> {
    let config = shared.config()?;
    if let Some(path) = &args.show {
        let plan = read(path, &known(args.key.as_ref(), &config.policy, None)?)?;
        show(shared, &config.policy, &plan);
        return Ok(());
    }
    let found = find(shared, args.runbook.as_deref().unwrap_or_default())?;
    let runbook = checked(shared, &found)?;
    let inputs = inputs(&config, args.target.as_deref(), &runbook, &args.input)?;
    let target = shared.target(&config, args.target.as_deref())?;
    let engine = shared.engine(&config)?;
    audit::open(shared, &config)?.guard(engine.store())?;
    let author = match &args.out {
        Some(_) => keys::own(args.key.as_ref())?,
        // What is not saved is signed by nobody in particular.
        None => Key::generate("nobody"),
    };
    let run = RunRequest {
        runbook,
        text: found.text.clone(),
        inputs,
        secrets: serde_json::Value::Null,
        target,
        mode: Mode::Rehearsal,
        actor: actor(),
        policy: config.policy.clone(),
        seed: random_seed(),
        faults: Vec::new(),
        plan: None,
        accepted_drift: Vec::new(),
    };
    let admitted = engine.admit(run.clone()).await;
    let admitted = admitted.map_err(|refusals| Exit::refusals(&refusals))?;
    say_what_is_not_bundled(&found, admitted.plugins());
    confirm(&engine, &admitted, Mode::Rehearsal, args.yes, shared)?;
    let request = PlanRequest {
        run,
        contingencies: args.fault.iter().map(|faults| faults.0.clone()).collect(),
        author,
        valid_for: args.valid_for,
    };
    let made = engine.plan(request, Arc::new(Unobserved)).await;
    audit::catch_up(shared, &config, engine.store()).await;
    let made = made.map_err(not_made)?;
    for warning in &made.warnings {
        say!("warning: {}", warning);
    }
    let Some(plan) = made.plan else {
        render::failures(&made.report);
        render::report(&made.report, Mode::Rehearsal, shared.json);
        return Err(Exit::failed(
            "the rehearsal did not succeed, so there is no plan",
        ));
    };
    show(shared, &config.policy, &plan);
    if let Some(path) = &args.out {
        write(path, &plan)?;
        let path = path.display();
        say!(
            "saved as `{}`; `groundcrew apply {}` does this, and nothing else",
            path,
            path
        );
    }
    Ok(())
}

fn not_made(e: MakeError) -> Exit {
    match e {
        MakeError::Refused(refusals) => Exit::refusals(&refusals),
        MakeError::Start(e) => e.into(),
        MakeError::Plan(e) => e.into(),
        MakeError::Validity => Exit::usage(e.to_string(), None),
        MakeError::Unseen(_) => Exit::failed(e.to_string()),
    }
}

/// Who has approved, of those whom the policy names for the plan's target.
fn approvers(policy: &Policy, plan: &SignedPlan) -> Vec<String> {
    let wanted = policy.approvals(&Whereabouts::recorded(&plan.plan().target));
    let keys: Vec<Key> = wanted
        .iter()
        .flat_map(|(_, approvals)| &approvals.keys)
        .filter_map(|key| Key::public_from(key).ok())
        .collect();
    let approvals = plan.approvals(&keys).unwrap_or_default();
    approvals.iter().map(|key| key.name().to_owned()).collect()
}

/// Shows a plan: to people, or as JSON.
pub(crate) fn show(shared: &Shared, policy: &Policy, plan: &SignedPlan) {
    let approvers = approvers(policy, plan);
    if shared.json {
        let body: Value = serde_json::to_value(plan.plan()).unwrap_or_default();
        data!(
            "{}",
            as_json(&json!({ "digest": plan.digest(), "approved_by": approvers, "plan": body }))
        );
    } else {
        data!("{}", plan_text::of(plan, &approvers));
    }
}

/// The keys whose plans are taken: one's own, and those that the policy names, for one target or
/// for any.
pub(crate) fn known(
    given: Option<&PathBuf>,
    policy: &Policy,
    target: Option<&Whereabouts>,
) -> Result<Vec<Key>, Exit> {
    let own = match keys::own_directory(given) {
        Ok(directory) => keys::read(&directory)?,
        Err(_) => None,
    };
    // Where others have to approve, it is the policy that says who may ask them.
    let own = own.filter(|_| target.is_none_or(|target| policy.approvals(target).is_empty()));
    let named = policy.plan_authors(target);
    let named = named.map_err(|e| Exit::refused(format!("the policy: {e}"), None))?;
    Ok(own.into_iter().chain(named).collect())
}

/// A plan may not be larger: some ten thousand Machines.
const PLAN_BYTES: u64 = 64 << 20;

/// Reads a plan that one of these keys has signed.
pub(crate) fn read(path: &Path, known: &[Key]) -> Result<SignedPlan, Exit> {
    let text = files::text(path, PLAN_BYTES)?;
    SignedPlan::open(&text, known).map_err(|e| Exit::from(e).about(path))
}

/// Saves a plan, whole or not at all.
pub(crate) fn write(path: &Path, plan: &SignedPlan) -> Result<(), Exit> {
    let unwritable = |e: std::io::Error| {
        Exit::usage(format!("`{}` cannot be written: {e}", path.display()), None)
    };
    files::replace(path, &format!("{}\n", plan.text())).map_err(unwritable)
}

impl From<PlanError> for Exit {
    fn from(e: PlanError) -> Self {
        let hint = match &e {
            PlanError::Malformed(_) => Some("`groundcrew plan RUNBOOK -o FILE` makes one"),
            PlanError::Untrue(_) => Some("whoever signed it, signed that; do not approve of it"),
            PlanError::Edited => Some("make it again: what was not signed is not applied"),
            PlanError::Unsigned { .. } | PlanError::Key(_) => None,
            PlanError::Foreign(_) => Some(
                "if you trust that person, put their public key (`groundcrew keys show`) into `plan_authors` of your policy",
            ),
        };
        Exit::refused(format!("{e}; nothing has happened"), hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_valid_for_some_time_and_not_for_ever() {
        assert_eq!(validity("1ms"), Ok(Duration::from_millis(1)));
        assert_eq!(validity("30d"), Ok(LONGEST_VALIDITY));
        for (text, says) in [
            ("0s", "nobody could apply it"),
            ("30d1ms", "a plan can be applied for 30d at most"),
            ("99999999999d", "longer than a year"),
            ("soon", "does not start with a whole number"),
        ] {
            let refused = validity(text).unwrap_err();
            assert!(refused.contains(says), "{text}: {refused}");
        }
    }
}
