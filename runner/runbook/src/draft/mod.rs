//! TOML to a runbook whose names are not checked yet.

mod grant;

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use regex::RegexBuilder;
use serde_json::Value;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Code, Diagnostic, did_you_mean, list_of};
use crate::input::{InputSpec, InputType};
use crate::limits::{MAX_ATTEMPTS, MAX_ID, MAX_INPUTS, MAX_PATTERN, MAX_PROGRAM};
use crate::model::{OnFailure, Retry, Runbook, Step};
use crate::parse_duration;
use crate::read::{Node, Place, Reader, entries};
use crate::template::TemplateValue;
use grant::grant;

pub(crate) const TOP: [&str; 6] = ["name", "summary", "lock", "inputs", "step", "finally"];
pub(crate) const INPUT: [&str; 9] = [
    "type",
    "default",
    "pattern",
    "min",
    "max",
    "values",
    "items",
    "description",
    "secret",
];
pub(crate) const STEP: [&str; 11] = [
    "id",
    "plugin",
    "with",
    "needs",
    "when",
    "grant",
    "timeout",
    "retry",
    "on_failure",
    "repeatable",
    "rescue",
];
pub(crate) const SEQUENTIAL: [&str; 9] = [
    "id",
    "plugin",
    "with",
    "when",
    "grant",
    "timeout",
    "retry",
    "on_failure",
    "repeatable",
];
pub(crate) const RETRY: [&str; 3] = ["max_attempts", "backoff", "max_backoff"];

/// Where the ids and needs of the steps stand in the file.
#[derive(Debug, Default)]
pub(crate) struct Spans {
    pub(crate) ids: Vec<(String, Range<usize>)>,
    /// (step, needed, where)
    pub(crate) needs: Vec<(String, String, Range<usize>)>,
    pub(crate) inputs: Vec<(String, Range<usize>)>,
}

pub(crate) fn runbook(reader: &mut Reader<'_>, table: &DeTable<'_>, spans: &mut Spans) -> Runbook {
    let start = 0..reader.source.find('\n').unwrap_or(reader.source.len());
    reader.known_keys(table, "a runbook", &TOP);
    let name = reader
        .required(table, start.clone(), "the runbook", "name")
        .and_then(|node| {
            let name = reader.text(node, "name")?;
            check_id(reader, &name, node.span(), "name");
            Some(name)
        });
    let summary = reader
        .required(table, start.clone(), "the runbook", "summary")
        .and_then(|node| reader.text(node, "summary"));
    let lock = table
        .get("lock")
        .map(|node| reader.templates(node, "lock", "", Place::Admission("lock")));
    let mut inputs = Vec::new();
    if let Some(node) = table.get("inputs") {
        for (key, node) in reader
            .table(node, "inputs")
            .map(entries)
            .unwrap_or_default()
        {
            check_id(reader, key.get_ref(), key.span(), "input");
            spans.inputs.push((key.get_ref().to_string(), key.span()));
            if let Some(table) = reader.table(node, key.get_ref()) {
                inputs.extend(input(reader, key.get_ref(), key.span(), table));
            }
        }
    }
    if inputs.len() > MAX_INPUTS {
        reader.report(Diagnostic::error(
            Code::TooLarge,
            start.clone(),
            format!(
                "the runbook has {} inputs; at most {MAX_INPUTS} are allowed",
                inputs.len()
            ),
        ));
    }
    let steps = table
        .get("step")
        .map(|node| steps(reader, node, "step", &STEP, spans))
        .unwrap_or_default();
    let finally = table
        .get("finally")
        .map(|node| self::steps(reader, node, "finally", &SEQUENTIAL, spans))
        .unwrap_or_default();
    let written = table.get("step").map(|node| node.get_ref().as_array());
    if written.is_none_or(|list| list.is_some_and(|list| list.is_empty())) {
        reader.report(
            Diagnostic::error(Code::MissingKey, start, "the runbook has no steps")
                .hint("add a `[[step]]` with an `id` and a `plugin`"),
        );
    }
    Runbook {
        name: name.unwrap_or_default(),
        summary: summary.unwrap_or_default(),
        inputs,
        lock,
        steps,
        finally,
        warnings: Vec::new(),
    }
}

fn check_id(reader: &mut Reader<'_>, id: &str, span: Range<usize>, what: &str) {
    let fits = id.len() <= MAX_ID
        && id.starts_with(|c: char| c.is_ascii_lowercase())
        && id
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_');
    if !fits {
        let hint = format!(
            "use lowercase letters, digits, `-` and `_`, a letter first, at most {MAX_ID} in all"
        );
        reader.report(
            Diagnostic::error(
                Code::InvalidId,
                span,
                format!("`{id}` cannot be the name of a {what}")
                    .replace("a input", "an input")
                    .replace("of a name", "of a runbook"),
            )
            .hint(hint),
        );
    }
}

fn input(
    reader: &mut Reader<'_>,
    name: &str,
    span: Range<usize>,
    table: &DeTable<'_>,
) -> Option<InputSpec> {
    let of = format!("input `{name}`");
    reader.known_keys(table, &of, &INPUT);
    let kind = reader
        .required(table, span.clone(), &of, "type")
        .and_then(|node| input_type(reader, node, "type"));
    let items = table
        .get("items")
        .and_then(|node| input_type(reader, node, "items"))
        .unwrap_or(InputType::String);
    if items == InputType::List {
        reader.report(Diagnostic::error(
            Code::InvalidValue,
            span.clone(),
            format!("{of} cannot be a list of lists"),
        ));
        return None;
    }
    let kind = kind?;
    let mut spec = InputSpec {
        name: name.to_owned(),
        kind,
        items,
        description: None,
        default: None,
        pattern: None,
        min: None,
        max: None,
        values: Vec::new(),
        secret: reader.boolean(table, "secret").unwrap_or(false),
    };
    spec.description = table
        .get("description")
        .and_then(|node| reader.text(node, "description"));
    let element = if kind == InputType::List { items } else { kind };
    let mut misplaced = |key: &str, fits: bool| {
        if let (Some((key, _)), false) = (table.get_key_value(key), fits) {
            reader.report(Diagnostic::error(
                Code::InvalidValue,
                key.span(),
                format!("`{}` means nothing for {of}", key.get_ref()),
            ));
        }
    };
    misplaced("items", kind == InputType::List);
    misplaced("pattern", element == InputType::String);
    misplaced("secret", element == InputType::String);
    misplaced("values", element == InputType::Enum);
    misplaced("min", !matches!(kind, InputType::Boolean | InputType::Enum));
    misplaced("max", !matches!(kind, InputType::Boolean | InputType::Enum));
    if let Some(node) = table.get("values") {
        spec.values = reader
            .array(node, "values")
            .iter()
            .filter_map(|item| reader.text(item, "values"))
            .collect();
    }
    if element == InputType::Enum && spec.values.is_empty() {
        reader.report(
            Diagnostic::error(
                Code::MissingKey,
                span.clone(),
                format!("{of} is an enum without `values`"),
            )
            .hint("add `values = [\"…\"]`"),
        );
    }
    if let Some(node) = table.get("pattern") {
        let text = reader.text(node, "pattern")?;
        // By itself first: `a)|(b` is a pattern only between our brackets.
        if text.len() > MAX_PATTERN {
            let long = format!(
                "`pattern` is {} bytes long; at most {MAX_PATTERN} are allowed",
                text.len()
            );
            reader.report(Diagnostic::error(Code::TooLarge, node.span(), long));
            return Some(spec);
        }
        let regex = |text: &str| RegexBuilder::new(text).size_limit(MAX_PROGRAM).build();
        match regex(&text).and_then(|_| regex(&format!("^(?:{text})$"))) {
            Ok(pattern) => spec.pattern = Some(pattern),
            Err(error) => {
                let told = error.to_string();
                let reason = told.lines().last().unwrap_or_default();
                let reason = reason.trim_start_matches("error: ");
                reader.report(Diagnostic::error(
                    Code::InvalidValue,
                    node.span(),
                    format!("`pattern` is not a regular expression: {reason}"),
                ));
            }
        }
    }
    spec.min = table
        .get("min")
        .and_then(|node| bound(reader, node, "min", kind));
    spec.max = table
        .get("max")
        .and_then(|node| bound(reader, node, "max", kind));
    if let (Some(min), Some(max), Some(node)) = (spec.min, spec.max, table.get("max"))
        && min > max
    {
        reader.report(Diagnostic::error(
            Code::InvalidValue,
            node.span(),
            "`max` is less than `min`",
        ));
    }
    if let Some(node) = table.get("default") {
        match plain(reader, node).map(|value| spec.accept_default(&value)) {
            Some(Ok(value)) => spec.default = Some(value),
            Some(Err(reason)) => reader.report(Diagnostic::error(
                Code::InvalidDefault,
                node.span(),
                format!("the default of {of} is invalid: {reason}"),
            )),
            None => {}
        }
    }
    Some(spec)
}

/// A value without expressions.
fn plain(reader: &mut Reader<'_>, node: &Node<'_>) -> Option<Value> {
    match node.get_ref() {
        DeValue::String(text) => Some(Value::from(text.as_ref())),
        DeValue::Boolean(value) => Some(Value::from(*value)),
        DeValue::Integer(_) => reader.integer(node, "default").map(Value::from),
        DeValue::Array(items) => items.iter().map(|item| plain(reader, item)).collect(),
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => {
            reader.wrong_type(node, "default", "a string, an integer, a boolean or a list");
            None
        }
    }
}

fn bound(reader: &mut Reader<'_>, node: &Node<'_>, key: &str, kind: InputType) -> Option<i64> {
    if kind == InputType::Duration {
        return duration(reader, node, key).and_then(|bound| i64::try_from(bound.as_millis()).ok());
    }
    reader.integer(node, key)
}

fn input_type(reader: &mut Reader<'_>, node: &Node<'_>, key: &str) -> Option<InputType> {
    let text = reader.text(node, key)?;
    let kind = InputType::parse(&text);
    if kind.is_none() {
        let all = || format!("types are {}", list_of(InputType::NAMES, "and"));
        let hint = did_you_mean(&text, InputType::NAMES).unwrap_or_else(all);
        reader.report(
            Diagnostic::error(
                Code::InvalidValue,
                node.span(),
                format!("`{text}` is not a type of input"),
            )
            .hint(hint),
        );
    }
    kind
}

fn duration(reader: &mut Reader<'_>, node: &Node<'_>, key: &str) -> Option<Duration> {
    let text = reader.text(node, key)?;
    match parse_duration(&text) {
        Ok(duration) => Some(duration),
        Err(error) => {
            reader.report(
                Diagnostic::error(
                    Code::InvalidDuration,
                    node.span(),
                    format!("`{key}` is not a duration: {error}"),
                )
                .hint(error.hint()),
            );
            None
        }
    }
}

fn steps(
    reader: &mut Reader<'_>,
    node: &Node<'_>,
    key: &str,
    keys: &[&str],
    spans: &mut Spans,
) -> Vec<Step> {
    let items = reader.array(node, key);
    items
        .iter()
        .filter_map(|item| {
            let table = reader.table(item, key)?;
            step(reader, table, item.span(), keys, spans)
        })
        .collect()
}

fn step(
    reader: &mut Reader<'_>,
    table: &DeTable<'_>,
    span: Range<usize>,
    keys: &[&str],
    spans: &mut Spans,
) -> Option<Step> {
    let id = reader
        .required(table, span.clone(), "the step", "id")
        .and_then(|node| {
            let id = reader.text(node, "id")?;
            check_id(reader, &id, node.span(), "step");
            spans.ids.push((id.clone(), node.span()));
            Some(id)
        })
        .unwrap_or_default();
    let of = match id.as_str() {
        "" => "the step".to_owned(),
        id => format!("step `{id}`"),
    };
    reader.known_keys(table, &of, &STEP);
    for (key, _) in entries(table) {
        let name = key.get_ref().as_ref();
        if STEP.contains(&name) && !keys.contains(&name) {
            let message = format!("{of} cannot have `{name}`");
            reader.report(
                Diagnostic::error(Code::UnknownKey, key.span(), message)
                    .hint("steps of `rescue` and `finally` run one after another: they need nothing and are not rescued"),
            );
        }
    }
    let admission = Place::Admission;
    let plugin = reader
        .required(table, span, &of, "plugin")
        .and_then(|node| reader.template(node, "plugin", &id, admission("plugin")));
    let with = match table.get("with") {
        Some(node) if reader.table(node, "with").is_some() => {
            reader.value(node, "with", &id, Place::Waiting)
        }
        Some(_) | None => None,
    };
    let mut needs = Vec::new();
    if let Some(node) = table.get("needs") {
        for item in reader.array(node, "needs") {
            if let Some(need) = reader.text(item, "needs") {
                spans.needs.push((id.clone(), need.clone(), item.span()));
                needs.push(need);
            }
        }
    }
    let when = table
        .get("when")
        .and_then(|node| reader.condition(node, &id));
    let mut grants = BTreeMap::new();
    if let Some(node) = table.get("grant") {
        for (name, node) in reader.table(node, "grant").map(entries).unwrap_or_default() {
            if let Some(table) = reader.table(node, name.get_ref()) {
                let grant = grant(reader, name.get_ref(), table, &id);
                grants.insert(name.get_ref().to_string(), grant);
            }
        }
    }
    let timeout = table.get("timeout").and_then(|node| {
        let template = reader.template(node, "timeout", &id, admission("timeout"))?;
        if let Some(text) = template.literal()
            && duration(reader, node, "timeout")?.is_zero()
        {
            let message = format!("a `timeout` of `{text}` gives the step no time");
            let none = Diagnostic::error(Code::InvalidDuration, node.span(), message);
            reader.report(none.hint("write how long an attempt may take, such as `20m`"));
        }
        Some(template)
    });
    let retry = table
        .get("retry")
        .and_then(|node| reader.table(node, "retry"))
        .map(|table| retry(reader, table))
        .unwrap_or_default();
    let on_failure = table
        .get("on_failure")
        .and_then(|node| match reader.text(node, "on_failure")?.as_str() {
            "stop" => Some(OnFailure::Stop),
            "continue" => Some(OnFailure::Continue),
            other => {
                reader.report(
                    Diagnostic::error(
                        Code::InvalidValue,
                        node.span(),
                        format!("`on_failure` cannot be `{other}`"),
                    )
                    .hint("use `stop` or `continue`"),
                );
                None
            }
        })
        .unwrap_or_default();
    let repeatable = reader.boolean(table, "repeatable").unwrap_or(false);
    // A rescue has no rescue of its own: `SEQUENTIAL` does not list the key.
    let rescue = match table.get("rescue") {
        Some(node) if keys.contains(&"rescue") => steps(reader, node, "rescue", &SEQUENTIAL, spans),
        Some(_) | None => Vec::new(),
    };
    Some(Step {
        id,
        plugin: plugin?,
        with: with.unwrap_or(TemplateValue::Table(Vec::new())),
        needs,
        when,
        grant: grants,
        timeout,
        retry,
        on_failure,
        repeatable,
        rescue,
    })
}

fn retry(reader: &mut Reader<'_>, table: &DeTable<'_>) -> Retry {
    reader.known_keys(table, "`retry`", &RETRY);
    let mut retry = Retry::default();
    if let Some(node) = table.get("max_attempts") {
        match reader.integer(node, "max_attempts").map(u64::try_from) {
            Some(Ok(attempts @ 1..=MAX_ATTEMPTS)) => retry.max_attempts = attempts as u32,
            Some(_) => reader.report(Diagnostic::error(
                Code::InvalidValue,
                node.span(),
                format!("`max_attempts` must be from 1 to {MAX_ATTEMPTS}"),
            )),
            None => {}
        }
    }
    retry.backoff = table
        .get("backoff")
        .and_then(|node| duration(reader, node, "backoff"))
        .unwrap_or(retry.backoff);
    retry.max_backoff = table
        .get("max_backoff")
        .and_then(|node| duration(reader, node, "max_backoff"))
        .unwrap_or(retry.max_backoff.max(retry.backoff));
    retry
}
