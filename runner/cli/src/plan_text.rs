//! A plan as an operator reads it before saying yes: what it can do, what it will do, what that
//! rests on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use groundcrew::plan::{Contingency, Difference, InService, Plan, PlannedWrite, SignedPlan};
use groundcrew::runbook::format_duration;
use serde_json::Value;

use crate::render;
use crate::shown::{Shown, put, shown};

/// The plan. It is somebody's word: each line of it is ours, and what is said in it stays in its line.
pub(crate) fn of(signed: &SignedPlan, approvers: &[String]) -> Shown {
    let plan = signed.plan();
    let others = signed.signatures().saturating_sub(1 + approvers.len());
    let mut signatures = shown!("{}", signed.author().name());
    if !approvers.is_empty() {
        put!(signatures, ", approved by {}", approvers.join(", "));
    }
    if others > 0 {
        put!(
            signatures,
            ", and {} that the policy here does not know",
            others
        );
    }
    let mut text = shown!(
        "plan of `{}` on `{}`\n  made by {} on {} at {}, can be applied until {}\n  digest {}, signed by {}\n  runbook {}, inputs {}",
        plan.runbook,
        plan.target["name"].as_str().unwrap_or_default(),
        plan.actor.user,
        plan.actor.host,
        plan.made_at.strftime("%Y-%m-%d %H:%M:%SZ"),
        plan.expires_at.strftime("%Y-%m-%d %H:%M:%SZ"),
        signed.digest().chars().take(16).collect::<String>(),
        signatures,
        plan.runbook_digest.chars().take(12).collect::<String>(),
        plan.inputs,
    );
    can(&mut text, plan);
    will(&mut text, plan);
    assumed(&mut text, plan);
    for contingency in &plan.contingencies {
        otherwise(&mut text, plan, contingency);
    }
    put!(
        text,
        "\n\nThe writes, what they are about and what plugins can do are compared when it is applied. Times, who serves,\nhow the fleet differs, what is assumed and what steps say are as its author's rehearsal told them."
    );
    text
}

/// What the plugins could do.
fn can(text: &mut Shown, plan: &Plan) {
    put!(text, "\n\nits plugins CAN do no more than this:");
    for powers in &plan.steps {
        let of_step = plan.plugins.iter().find(|p| p.steps.contains(&powers.step));
        // Older plans do not say which step uses which.
        let named = || plan.plugins.iter().find(|p| p.name == powers.plugin);
        let used = of_step.or_else(named);
        let build = used.map_or_else(String::new, |p| {
            let digest: String = p.digest.chars().take(12).collect();
            format!(" {}, build {digest}", p.version)
        });
        put!(
            text,
            "\n  step `{}` ({}{})",
            powers.step,
            powers.plugin,
            build
        );
        put!(text, "\n    imports  {}", imports(&powers.imports));
        for (capability, grant) in &powers.grants {
            put!(text, "\n    granted  {}", render::grant(capability, grant));
        }
        if powers.unbound {
            put!(
                text,
                "\n    ! it cleans up, and may do all of that whether it is planned or not"
            );
        }
    }
}

/// `machines: get, list, …` for each interface that does something.
fn imports(all: &[String]) -> String {
    let mut interfaces: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for import in all {
        let Some((interface, function)) = import.split_once('#') else {
            continue;
        };
        let name = interface.rsplit('/').next().unwrap_or(interface);
        let name = name.split('@').next().unwrap_or(name);
        if !matches!(name, "operations" | "log" | "run-info") && !function.starts_with("take-") {
            interfaces.entry(name).or_default().insert(function);
        }
    }
    if interfaces.is_empty() {
        return "nothing that reaches the world".to_owned();
    }
    let each = interfaces.iter().map(|(name, functions)| {
        let functions: Vec<&str> = functions.iter().copied().collect();
        format!("{name}: {}", functions.join(", "))
    });
    each.collect::<Vec<_>>().join("; ")
}

/// What will be done.
fn will(text: &mut Shown, plan: &Plan) {
    if plan.writes.is_empty() {
        put!(text, "\n\nit WILL write nothing");
    } else {
        put!(text, "\n\nit WILL do this:");
    }
    // Of each app which Machines that are there, and how many new ones.
    let mut touched: BTreeMap<&str, (BTreeSet<&str>, usize)> = BTreeMap::new();
    for write in &plan.writes {
        let (operation, app) = (&write.request.operation, &write.request.app);
        let Some(app) = app
            .as_deref()
            .filter(|_| operation.starts_with("machines."))
        else {
            continue;
        };
        let (there, new) = touched.entry(app).or_default();
        *new += usize::from(write.makes.is_some());
        let subject = write.request.subject.as_deref();
        // What is made has a name with `#` in the plan.
        there.extend(subject.filter(|subject| !subject.contains('#')));
    }
    for (app, (there, new)) in &touched {
        let population = plan.apps.get(*app).cloned().unwrap_or_default();
        let new = match new {
            0 => String::new(),
            new => format!(" and {new} new ones"),
        };
        put!(
            text,
            "\n  blast radius: {} of {} Machines of `{}`{}; at most {} at once, {} afterwards",
            there.len(),
            population.before,
            app,
            new,
            population.peak,
            population.after
        );
        for (group, service) in &population.service {
            in_service(text, group, *service);
        }
    }
    put!(
        text,
        "\n  expected duration: {}", // To the second: it is an estimate.
        format_duration(Duration::from_secs(plan.expected_ms.div_ceil(1000)))
    );
    let mut step = "";
    for group in groups(&plan.writes) {
        if group.step != step {
            step = group.step;
            put!(text, "\n  step `{}`", step);
        }
        group.show(text);
    }
    for said in &plan.notes {
        put!(text, "\n  `{}` says: {}", said.step, said.text);
    }
    if plan.more_notes > 0 {
        put!(text, "\n  and {} more notes", plan.more_notes);
    }
    changes(text, &plan.changes);
}

/// How few serve on the way, if that is fewer than now.
fn in_service(text: &mut Shown, group: &str, service: InService) {
    if service.least >= service.before {
        return;
    }
    put!(
        text,
        "\n  in service: at least {} of {} Machines of `{}`",
        service.least,
        service.before,
        group
    );
    if service.least == 0 {
        let gap = format_duration(Duration::from_millis(service.gap_ms));
        put!(
            text,
            "; a gap of {}, and what requests and the proxy take, in which NONE serves",
            gap
        );
    }
}

/// Writes that an operator sees as one thing.
struct Group<'p> {
    step: &'p str,
    operation: &'p str,
    app: &'p str,
    of: &'p str,
    arguments: String,
    undo: Option<&'p str>,
    /// Names by region.
    regions: BTreeMap<&'p str, Vec<&'p str>>,
    writes: usize,
    assumed: usize,
}

/// In the order in which each is first done.
fn groups<'p>(writes: impl IntoIterator<Item = &'p PlannedWrite>) -> Vec<Group<'p>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for write in writes {
        let about = |field: &str| write.about.get(field).and_then(Value::as_str);
        let request = &write.request;
        let app = request.app.as_deref().unwrap_or_default();
        let (step, operation, of) = (
            write.step.as_str(),
            request.operation.as_str(),
            about("group").unwrap_or_default(),
        );
        let arguments = given(&request.arguments);
        let same = |g: &&mut Group<'_>| {
            (g.step, g.operation, g.app, g.of, &g.arguments)
                == (step, operation, app, of, &arguments)
        };
        let at = match groups.iter_mut().find(same) {
            Some(group) => group,
            None => {
                groups.push(Group {
                    step,
                    operation,
                    app,
                    of,
                    arguments: given(&request.arguments),
                    undo: write.undo.as_deref(),
                    regions: BTreeMap::new(),
                    writes: 0,
                    assumed: 0,
                });
                let last = groups.len() - 1;
                &mut groups[last]
            }
        };
        at.writes += 1;
        at.assumed += usize::from(write.assumed);
        let subject = request.subject.as_deref().unwrap_or_default();
        let asked = request.arguments.get("region").and_then(Value::as_str);
        let region = asked.or_else(|| about("region")).unwrap_or_default();
        at.regions.entry(region).or_default().push(subject);
    }
    // Steps in the order in which they begin, all of one together.
    let order: Vec<&str> = groups.iter().map(|g| g.step).collect();
    groups.sort_by_key(|group| order.iter().position(|step| *step == group.step));
    groups
}

/// Arguments that say something. What only tells one Machine from another is left out.
fn given(arguments: &Value) -> String {
    match arguments {
        Value::Bool(true) => "force".to_owned(),
        arguments => words("", arguments).join(", "),
    }
}

/// A value in words; `name` is the field that it is in.
fn words(name: &str, value: &Value) -> Vec<String> {
    let named = |text: &str| match name {
        "" => text.to_owned(),
        name => format!("{} {text}", name.replace('_', " ")),
    };
    match value {
        Value::Null | Value::Bool(false) => Vec::new(),
        Value::Bool(true) => vec![name.replace('_', " ")],
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .filter(|(name, _)| !matches!(name.as_str(), "expected" | "like" | "region"));
            fields
                .flat_map(|(name, value)| words(name, value))
                .collect()
        }
        Value::Array(items) => {
            let items = items.iter().map(|item| match item.as_array() {
                // A key and its value; without one the key is taken away.
                Some(pair) => match (pair.first(), pair.get(1)) {
                    (Some(Value::String(key)), Some(Value::String(value))) => {
                        format!("{key}={value}")
                    }
                    (Some(Value::String(key)), _) => format!("no {key}"),
                    _ => item.to_string(),
                },
                None => item
                    .as_str()
                    .map_or_else(|| item.to_string(), str::to_owned),
            });
            let items: Vec<String> = items.collect();
            match items.is_empty() {
                true => Vec::new(),
                false => vec![named(&items.join(" "))],
            }
        }
        Value::String(text) => vec![named(text)],
        Value::Number(number) => vec![named(&number.to_string())],
    }
}

impl Group<'_> {
    fn show(&self, text: &mut Shown) {
        let operation = self.operation.split_once('.');
        let verb = operation.map_or(self.operation, |(_, verb)| verb);
        let of = match self.of {
            "" => String::new(),
            group => format!(", group `{group}`"),
        };
        let assumed = match self.assumed {
            0 => String::new(),
            some => format!("  ({some} of them after something that is only assumed)"),
        };
        let with = match self.arguments.as_str() {
            "" => String::new(),
            arguments => format!(", with {arguments}"),
        };
        let undo = self.undo.and_then(|undo| undo.split_once('.'));
        let undo = undo.map_or_else(String::new, |(_, undo)| {
            format!("  (and may `{undo}` them to take that back)")
        });
        let things = match (operation.map(|(capability, _)| capability), self.writes) {
            (Some("apps"), 1) => "the app".to_owned(),
            (Some("releases"), 1) => "1 release of".to_owned(),
            (Some("releases"), many) => format!("{many} releases of"),
            (_, 1) => "1 Machine of".to_owned(),
            (_, many) => format!("{many} Machines of"),
        };
        put!(
            text,
            "\n    {} {} {} `{}`{}{}{}{}",
            sign(verb),
            verb,
            things,
            self.app,
            of,
            with,
            assumed,
            undo
        );
        for (region, subjects) in &self.regions {
            // What is new has no name yet.
            if subjects.iter().all(|subject| subject.is_empty()) {
                put!(text, "\n        {:<4} {} new", region, subjects.len());
                continue;
            }
            for (at, line) in subjects.chunks(LINE).enumerate() {
                let region = if at == 0 { region } else { "" };
                put!(text, "\n        {:<4} {}", region, line.join(" "));
            }
        }
    }
}

/// Machines on a line: their ids have 14 characters.
const LINE: usize = 6;

/// What a write does to its target, at a glance.
fn sign(verb: &str) -> char {
    match verb {
        "create" => '+',
        "destroy" | "delete" => '-',
        "cordon" | "uncordon" => '!',
        _ => '~',
    }
}

/// How the fleet will differ.
fn changes(text: &mut Shown, changes: &[Difference]) {
    if changes.is_empty() {
        put!(
            text,
            "\n  afterwards the fleet is as before: same Machines, states and configurations"
        );
        return;
    }
    put!(text, "\n  afterwards the fleet differs:");
    for change in changes {
        let name = |machine: &Value| machine["name"].as_str().unwrap_or_default().to_owned();
        match (change.field.as_str(), &change.before) {
            ("", Value::Null) => {
                put!(text, "\n    + {} {}", change.subject, name(&change.after))
            }
            ("", before) => put!(text, "\n    - {} {}", change.subject, name(before)),
            (field, before) => put!(
                text,
                "\n    ~ {}  {}: {} becomes {}",
                change.subject,
                field,
                before,
                change.after
            ),
        }
    }
}

/// What it rests on.
fn assumed(text: &mut Shown, plan: &Plan) {
    if plan.assumptions.is_empty() {
        return;
    }
    put!(text, "\n\nit ASSUMES:");
    for assumption in &plan.assumptions {
        put!(
            text,
            "\n  ? {} ({} times `{}`)",
            assumption.what,
            assumption.answers,
            assumption.operation
        );
    }
}

/// What happens when something goes wrong.
fn otherwise(text: &mut Shown, plan: &Plan, contingency: &Contingency) {
    let beyond = plan.beyond(&contingency.writes);
    put!(
        text,
        "\n\nif {}: it ends `{}`, having done {} of the above{}",
        contingency.faults.join(" and "),
        contingency.status.word(),
        contingency.writes.len() - beyond.len(),
        if beyond.is_empty() { "" } else { " and this:" }
    );
    for group in groups(beyond) {
        group.show(text);
    }
}
