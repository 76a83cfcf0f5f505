//! From text to a checked runbook: what only the whole file can tell. Ids are unique, `needs` has
//! no circle, and every name in every expression exists and may be read where it stands.

use std::collections::{BTreeMap, BTreeSet};

use toml::de::DeTable;

use crate::diagnostic::{Code, Diagnostic, Severity, did_you_mean, list_of};
use crate::draft::{self, Spans};
use crate::expression::{FUNCTIONS, Reference};
use crate::grant::GrantKeys;
use crate::limits::{MAX_STEPS, MAX_TEXT};
use crate::model::{Runbook, Step};
use crate::read::{Place, Reader, Site};

const ROOTS: [&str; 4] = ["inputs", "target", "run", "steps"];
const TARGET: [&str; 2] = ["name", "organisation"];
const RUN: [&str; 4] = ["id", "runbook", "started_at", "status"];
const STEP: [&str; 4] = ["output", "status", "failed", "problem"];

const MAY_READ: &str = "it may read what has ended before it: the steps it needs, \
    the step it rescues and what that needs, and those before it in the same list; \
    `finally` may read every `[[step]]`";

/// Reads and checks a runbook for whichever host: the keys of its grants are read by their form. On
/// failure every diagnostic is returned, warnings included; on success the warnings are in
/// [`Runbook::warnings`].
pub fn check(text: &str) -> Result<Runbook, Vec<Diagnostic>> {
    check_for(text, &GrantKeys::default())
}

/// The same for a host whose grants have these keys: others are errors.
pub fn check_for(text: &str, keys: &GrantKeys) -> Result<Runbook, Vec<Diagnostic>> {
    if text.len() > MAX_TEXT {
        let message = format!(
            "the runbook is {} bytes long; at most {MAX_TEXT} are allowed",
            text.len()
        );
        return Err(vec![Diagnostic::error(Code::TooLarge, 0..0, message)]);
    }
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let diagnostic = |error: &toml::de::Error| {
            Diagnostic::error(
                Code::Syntax,
                error.span().unwrap_or(0..0),
                error.message().lines().collect::<Vec<_>>().join("; "),
            )
        };
        return Err(errors.iter().map(diagnostic).collect());
    }
    let mut reader = Reader {
        source: text,
        keys,
        diagnostics: Vec::new(),
        sites: Vec::new(),
    };
    let mut spans = Spans::default();
    let mut runbook = draft::runbook(&mut reader, document.get_ref(), &mut spans);
    check_ids(&mut reader, &spans);
    let reach = check_needs(&mut reader, &runbook, &spans);
    let visible = visible(&runbook, &reach);
    let sites = std::mem::take(&mut reader.sites);
    for site in &sites {
        check_site(&mut reader, site, &runbook, &spans, &visible);
    }
    let reads = |name: &str| {
        sites
            .iter()
            .flat_map(|site| site.expression.references())
            .any(|reference| {
                reference.path[0] == "inputs"
                    && reference.path.get(1).is_none_or(|input| input == name)
            })
    };
    for (name, span) in spans.inputs.iter().filter(|(name, _)| !reads(name)) {
        reader.report(Diagnostic::warning(
            Code::Unused,
            span.clone(),
            format!("input `{name}` is never used"),
        ));
    }
    let mut diagnostics = reader.diagnostics;
    diagnostics.sort_by_key(|diagnostic| diagnostic.span.start);
    if diagnostics
        .iter()
        .any(|diagnostic| diagnostic.severity == Severity::Error)
    {
        return Err(diagnostics);
    }
    runbook.warnings = diagnostics;
    Ok(runbook)
}

fn check_ids(reader: &mut Reader<'_>, spans: &Spans) {
    let mut first = BTreeMap::new();
    for (id, span) in &spans.ids {
        if let Some(earlier) = first.insert(id.as_str(), span.clone()) {
            reader.report(
                Diagnostic::error(
                    Code::DuplicateId,
                    span.clone(),
                    format!("two steps have the id `{id}`"),
                )
                .related(earlier, "the first one"),
            );
        }
    }
    if spans.ids.len() > MAX_STEPS {
        let message = format!(
            "the runbook has {} steps; at most {MAX_STEPS} are allowed",
            spans.ids.len()
        );
        reader.report(Diagnostic::error(
            Code::TooLarge,
            spans.ids[MAX_STEPS].1.clone(),
            message,
        ));
    }
}

type Reach = BTreeMap<String, BTreeSet<String>>;

/// Every step that has ended before each step begins, by `needs` followed to their ends.
fn check_needs(reader: &mut Reader<'_>, runbook: &Runbook, spans: &Spans) -> Reach {
    let ids: BTreeSet<&str> = runbook.steps.iter().map(|step| step.id.as_str()).collect();
    for (step, need, span) in spans
        .needs
        .iter()
        .filter(|(_, need, _)| !ids.contains(need.as_str()))
    {
        let hint = did_you_mean(need, ids.iter().copied().filter(|id| id != step));
        let known = spans
            .ids
            .iter()
            .any(|(id, _)| id == need)
            .then(|| "`rescue` and `finally` steps cannot be needed".to_owned());
        reader.report(
            Diagnostic::error(
                Code::UnknownStep,
                span.clone(),
                format!("step `{step}` needs `{need}`, and no `[[step]]` has that id"),
            )
            .hints(known.or(hint)),
        );
    }
    let edges: BTreeMap<&str, Vec<&str>> = runbook
        .steps
        .iter()
        .map(|step| {
            (
                step.id.as_str(),
                step.needs
                    .iter()
                    .map(String::as_str)
                    .filter(|need| ids.contains(need))
                    .collect(),
            )
        })
        .collect();
    let mut reach = Reach::new();
    let mut reported = BTreeSet::new();
    for start in edges.keys() {
        // Breadth first, remembering who led where, so that a circle can be told step by step.
        let mut from: BTreeMap<&str, &str> = BTreeMap::new();
        let mut queue = std::collections::VecDeque::from([*start]);
        let mut circle = None;
        while let Some(step) = queue.pop_front() {
            for need in edges.get(step).into_iter().flatten() {
                if need == start && circle.is_none() {
                    circle = Some(step);
                }
                if !from.contains_key(need) {
                    from.insert(need, step);
                    queue.push_back(need);
                }
            }
        }
        if let Some(mut last) = circle {
            let mut path = vec![*start];
            while last != *start {
                path.insert(1, last);
                last = from.get(last).copied().unwrap_or(start);
            }
            if path.iter().all(|step| !reported.contains(step)) {
                path.push(start);
                let told = path
                    .iter()
                    .map(|step| format!("`{step}`"))
                    .collect::<Vec<_>>()
                    .join(" needs ");
                let span = spans
                    .needs
                    .iter()
                    .find(|(step, need, _)| step == start && need == path[1])
                    .map_or(0..0, |found| found.2.clone());
                reader.report(Diagnostic::error(
                    Code::CyclicNeeds,
                    span,
                    format!("steps need each other in a circle: {told}"),
                ));
                reported.extend(path);
            }
        }
        reach.insert(
            (*start).to_owned(),
            from.keys().map(|step| (*step).to_owned()).collect(),
        );
    }
    reach
}

/// For each step the steps it may read; `true` where it may read `problem` as well.
fn visible(runbook: &Runbook, reach: &Reach) -> BTreeMap<String, BTreeMap<String, bool>> {
    let mut visible = BTreeMap::new();
    let with = |steps: &BTreeMap<String, bool>, step: &Step| {
        let mut steps = steps.clone();
        steps.insert(step.id.clone(), true);
        steps
    };
    let mut after = BTreeMap::new();
    for step in &runbook.steps {
        let needs = reach.get(&step.id).into_iter().flatten();
        let mut steps: BTreeMap<_, _> = needs
            .filter(|id| **id != step.id)
            .map(|id| (id.clone(), false))
            .collect();
        visible.insert(step.id.clone(), steps.clone());
        steps = with(&steps, step);
        for rescue in &step.rescue {
            visible.insert(rescue.id.clone(), steps.clone());
            steps = with(&steps, rescue);
        }
        after.insert(step.id.clone(), true);
    }
    for step in &runbook.finally {
        visible.insert(step.id.clone(), after.clone());
        after = with(&after, step);
    }
    visible
}

fn check_site(
    reader: &mut Reader<'_>,
    site: &Site,
    runbook: &Runbook,
    spans: &Spans,
    visible: &BTreeMap<String, BTreeMap<String, bool>>,
) {
    let span = |at: usize, length: usize| {
        site.start.map_or(site.text.clone(), |start| {
            (start + at)..(start + at + length)
        })
    };
    for (name, at) in site.expression.unknown_functions() {
        let hint = did_you_mean(name, FUNCTIONS)
            .unwrap_or_else(|| format!("functions are {}", list_of(FUNCTIONS, "and")));
        let at = site.expression.source()[..at.min(site.expression.source().len())]
            .rfind(name)
            .unwrap_or(at);
        reader.report(
            Diagnostic::error(
                Code::UnknownName,
                span(at, 1),
                format!("unknown function `{name}`"),
            )
            .hint(hint),
        );
    }
    for reference in site.expression.references() {
        let span = span(reference.at, reference.path[0].len());
        if let Some(diagnostic) = check_reference(reference, site, runbook, spans, visible) {
            reader.report(Diagnostic { span, ..diagnostic });
        }
    }
}

fn check_reference(
    reference: &Reference,
    site: &Site,
    runbook: &Runbook,
    spans: &Spans,
    visible: &BTreeMap<String, BTreeMap<String, bool>>,
) -> Option<Diagnostic> {
    let error = |code, message: String| Some(Diagnostic::error(code, 0..0, message));
    let path: Vec<&str> = reference.path.iter().map(String::as_str).collect();
    match path.as_slice() {
        [root, ..] if !ROOTS.contains(root) => {
            let hint = did_you_mean(root, ROOTS)
                .unwrap_or_else(|| format!("expressions read {}", list_of(ROOTS, "and")));
            error(Code::UnknownName, format!("unknown name `{root}`"))
                .map(|diagnostic| diagnostic.hint(hint))
        }
        ["inputs", name, ..] => {
            let names = || runbook.inputs.iter().map(|input| input.name.as_str());
            let declared = spans.inputs.iter().any(|(input, _)| input == name);
            (!declared).then(|| {
                unknown(
                    "inputs",
                    name,
                    "unknown input",
                    &names().collect::<Vec<_>>(),
                    site,
                )
            })
        }
        ["target", name, ..] => (!TARGET.contains(name))
            .then(|| unknown("target", name, "`target` has no", &TARGET, site)),
        ["run", "status", ..] => {
            let last = runbook.finally.iter().any(|step| step.id == site.step);
            let may = last && !matches!(site.place, Place::Admission(_));
            if may {
                return None;
            }
            let message = "`run.status` can only be read in `finally`, when the steps have ended";
            error(Code::ForbiddenName, message.to_owned()).map(|diagnostic| {
                diagnostic.hint("to ask whether a step failed, read `steps.ID.failed`")
            })
        }
        ["run", name, ..] => {
            (!RUN.contains(name)).then(|| unknown("run", name, "`run` has no", &RUN, site))
        }
        ["steps", rest @ ..] => {
            if let Place::Admission(key) = site.place {
                return error(Code::ForbiddenName, format!("`{key}` cannot read `steps`"))
                    .map(|diagnostic| diagnostic.hint("it is decided before any step runs, so that one step cannot widen what another may do"));
            }
            let [id, rest @ ..] = rest else {
                return error(
                    Code::ForbiddenName,
                    "`steps` must be read with the id of a step".to_owned(),
                )
                .map(|diagnostic| diagnostic.hint("write `steps.ID.output`"));
            };
            let ids: Vec<&str> = spans.ids.iter().map(|(id, _)| id.as_str()).collect();
            if !ids.contains(id) {
                return Some(unknown("steps", id, "unknown step", &ids, site));
            }
            if site.step == *id {
                let message = format!("step `{id}` reads itself, and it has not ended yet");
                return error(Code::MissingNeed, message);
            }
            let Some(problem) = visible.get(&site.step).and_then(|steps| steps.get(*id)) else {
                let is_step = |id: &str| runbook.steps.iter().any(|step| step.id == id);
                let reader = &site.step;
                return if is_step(id) && is_step(reader) {
                    error(
                        Code::MissingNeed,
                        format!("step `{reader}` reads step `{id}` without needing it"),
                    )
                    .map(|diagnostic| diagnostic.hint(format!("add `{id}` to its `needs`")))
                } else {
                    error(
                        Code::MissingNeed,
                        format!(
                            "step `{reader}` reads step `{id}`, which may not have ended by then"
                        ),
                    )
                    .map(|diagnostic| diagnostic.hint(MAY_READ))
                };
            };
            match rest.first() {
                Some(field) if !STEP.contains(field) => Some(unknown(
                    &format!("steps.{id}"),
                    field,
                    "a step has no",
                    &STEP,
                    site,
                )),
                Some(&"problem") if !problem => error(
                    Code::ForbiddenName,
                    format!("`steps.{id}.problem` can only be read in `rescue` and `finally`"),
                )
                .map(|diagnostic| {
                    diagnostic.hint(format!(
                        "to ask whether it failed, read `steps.{id}.failed`"
                    ))
                }),
                Some(_) | None => None,
            }
        }
        _ => None,
    }
}

fn unknown(root: &str, name: &str, what: &str, known: &[&str], site: &Site) -> Diagnostic {
    // `steps.restart-web` is a subtraction to CEL.
    let dashed = known.iter().find(|id| {
        id.starts_with(&format!("{name}-"))
            && site.expression.source().contains(&format!("{root}.{id}"))
    });
    let hint = match dashed {
        Some(id) => format!("a `-` is a subtraction here; write `{root}[\"{id}\"]`"),
        None => did_you_mean(name, known.iter().copied()).unwrap_or_else(|| {
            if known.is_empty() {
                "none is declared".to_owned()
            } else {
                format!("there is {}", list_of(known.iter().copied(), "and"))
            }
        }),
    };
    Diagnostic::error(Code::UnknownName, 0..0, format!("{what} `{name}`")).hint(hint)
}
