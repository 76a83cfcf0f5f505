//! The language as a JSON Schema, for editors: completion, descriptions, red lines while typing.
//!
//! Written by hand, because the reader is: there is no type to derive it from. It knows keys and
//! shapes; names, expressions and what a default has to satisfy stay with [`check`](crate::check).
//! What it refuses, `check` or admission refuses too. A test holds its keys against the reader's.

use serde_json::{Map, Value, json};

use crate::grant::{GrantForm, GrantKeys, VERBS};
use crate::input::InputType;
use crate::limits::{MAX_ATTEMPTS, MAX_ID, MAX_INPUTS, MAX_STEPS};

/// The JSON Schema (draft 2020-12) of a runbook's TOML, for a host whose grants have these keys.
///
/// ```
/// use groundcrew_runbook::{GrantKeys, schema};
/// let schema = schema(&GrantKeys::default());
/// assert_eq!(schema["required"], serde_json::json!(["name", "summary", "step"]));
/// ```
pub fn schema(keys: &GrantKeys) -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Groundcrew runbook",
        "description": "Steps that use plugins, and what each of them may do.",
        "type": "object",
        "additionalProperties": false,
        "required": ["name", "summary", "step"],
        "properties": {
            "name": described(id(), "What the runbook is called; by convention the name of its file."),
            "summary": described(text(), "What it does, in one sentence."),
            "lock": {
                "description": "What no other run may hold at the same time, such as `app/${inputs.app}`. Absent: what its steps may write. Empty: nothing.",
                "type": "array",
                "items": text(),
            },
            "inputs": {
                "description": "What the runbook asks for, by name; expressions read it as `${inputs.NAME}`.",
                "type": "object",
                "maxProperties": MAX_INPUTS,
                "propertyNames": id(),
                "additionalProperties": { "$ref": "#/$defs/input" },
            },
            "step": {
                "description": "The steps. They run at the same time unless `needs` says otherwise.",
                "type": "array",
                "minItems": 1,
                "maxItems": MAX_STEPS,
                "items": { "$ref": "#/$defs/step" },
            },
            "finally": sequence("Steps that run at the end, one after another, however the others ended."),
        },
        "$defs": {
            "input": input(),
            "step": step(),
            "sequential": closed(sequential(), &["id", "plugin"]),
            "grant": grants(keys),
            "retry": retry(),
        },
    })
}

fn input() -> Value {
    let types = json!({ "enum": InputType::NAMES });
    let bound =
        |description: &str| json!({ "description": description, "type": ["integer", "string"] });
    let properties = json!({
        "type": described(types.clone(), "The type of its value."),
        "items": {
            "description": "The type of a list's items; `string` if absent.",
            "enum": InputType::NAMES.iter().filter(|name| **name != "list").collect::<Vec<_>>(),
        },
        "description": described(text(), "What it means, for the person who gives it."),
        "default": {
            "description": "Its value when none is given. Without a default it must be given.",
            "type": ["string", "integer", "boolean", "array"],
        },
        "pattern": described(text(), "A regular expression that the whole of a string must match."),
        "min": bound("The least value; the least length of a string or list; a duration for durations."),
        "max": bound("The greatest value; the greatest length of a string or list; a duration for durations."),
        "secret": {
            "description": "Its value is kept nowhere: in expressions, plugins, journals and plans a mark stands in its place. Of the items of a list, what stands behind `=`.",
            "type": "boolean",
        },
        "values": {
            "description": "What an enum may be.",
            "type": "array",
            "items": text(),
        },
    });
    let mut input = closed(properties, &["type"]);
    input["if"] = json!({ "properties": { "type": { "const": "enum" } } });
    input["then"] = json!({ "required": ["values"] });
    input
}

fn step() -> Value {
    let mut properties = sequential();
    properties["needs"] = json!({
        "description": "Ids of the steps that must have ended before; their outputs can be read.",
        "type": "array",
        "items": text(),
    });
    properties["rescue"] =
        sequence("Steps that run, one after another, if this one failed. They read its `problem`.");
    closed(properties, &["id", "plugin"])
}

/// The keys of every step; `rescue` and `finally` have no others.
fn sequential() -> Value {
    json!({
        "id": described(id(), "Unique in the runbook; expressions read the step as `${steps.ID.output}`."),
        "plugin": described(text(), "The plugin that does it."),
        "with": {
            "description": "The plugin's input. Strings may hold `${…}`; one that is nothing else takes the value's type.",
            "type": "object",
        },
        "when": described(text(), "An expression, without `${…}` around it. The step is skipped unless it gives `true`."),
        "grant": {
            "description": "What the step may do, by capability. Whatever is not listed is denied.",
            "$ref": "#/$defs/grant",
        },
        "timeout": described(some_time(), "How long an attempt may take, such as `20m`; an hour if absent."),
        "retry": {
            "description": "Retries of failures that may pass by themselves.",
            "$ref": "#/$defs/retry",
        },
        "on_failure": {
            "description": "`stop` (if absent): no further step begins. `continue`: steps that need it run as if it had succeeded.",
            "enum": ["stop", "continue"],
        },
        "repeatable": {
            "description": "Whether an operation may be done again when it cannot be found out whether it was done.",
            "type": "boolean",
        },
    })
}

fn grants(keys: &GrantKeys) -> Value {
    let known: Map<String, Value> = keys
        .0
        .iter()
        .map(|(capability, keys)| {
            let keys = keys.iter().map(|key| {
                let value = described(limit(Some(key.form)), &key.about);
                (key.name.clone(), value)
            });
            let keys: Map<String, Value> = [(VERBS.to_owned(), verbs())]
                .into_iter()
                .chain(keys)
                .collect();
            (capability.clone(), closed(Value::Object(keys), &[]))
        })
        .collect();
    json!({
        "type": "object",
        "properties": known,
        // Capabilities of other hosts have keys of their own.
        "additionalProperties": {
            "type": "object",
            "properties": { VERBS: verbs() },
            "additionalProperties": limit(None),
        },
    })
}

fn verbs() -> Value {
    described(names(), "What may be done, such as `list`.")
}

/// How far a grant goes in one respect; in any form if that is not known.
fn limit(form: Option<GrantForm>) -> Value {
    let number = || json!({ "type": "integer", "minimum": 0 });
    match form {
        Some(GrantForm::Names) => names(),
        Some(GrantForm::Number) => json!({ "anyOf": [number(), expression()] }),
        Some(GrantForm::Share) => json!({
            "anyOf": [
                { "type": "string", "pattern": r"^0*(100|[1-9][0-9]?)%$" },
                expression(),
            ],
        }),
        None => json!({ "anyOf": [names(), number()] }),
    }
}

fn retry() -> Value {
    let properties = json!({
        "max_attempts": {
            "description": "Attempts in all, the first included; 1 is no retry.",
            "type": "integer",
            "minimum": 1,
            "maximum": MAX_ATTEMPTS,
        },
        "backoff": described(duration(false), "The pause before the second attempt; it doubles with each. `1s` if absent."),
        "max_backoff": described(duration(false), "The longest pause; `1m` if absent."),
    });
    closed(properties, &[])
}

fn sequence(description: &str) -> Value {
    json!({
        "description": description,
        "type": "array",
        "maxItems": MAX_STEPS,
        "items": { "$ref": "#/$defs/sequential" },
    })
}

/// A table with these keys and no others.
fn closed(properties: Value, required: &[&str]) -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": required,
        "properties": properties,
    })
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn id() -> Value {
    json!({ "type": "string", "pattern": "^[a-z][a-z0-9_-]*$", "maxLength": MAX_ID })
}

fn expression() -> Value {
    json!({ "type": "string", "pattern": r"\$\{" })
}

fn duration(expressions: bool) -> Value {
    let literal = json!({ "type": "string", "pattern": "^([0-9]+(d|h|ms|m|s))+$" });
    if expressions {
        json!({ "anyOf": [literal, expression()] })
    } else {
        literal
    }
}

/// A duration that is not zero.
fn some_time() -> Value {
    let (unit, any) = ("(d|h|ms|m|s)", "([0-9]+(d|h|ms|m|s))*");
    let pattern = format!("^{any}[0-9]*[1-9][0-9]*{unit}{any}$");
    json!({ "anyOf": [{ "type": "string", "pattern": pattern }, expression()] })
}

/// A list of texts, or one `${…}` that gives a list.
fn names() -> Value {
    json!({ "type": ["array", "string"], "items": text() })
}

fn described(mut schema: Value, description: &str) -> Value {
    let mut described = Map::new();
    described.insert("description".to_owned(), Value::from(description));
    if let Some(keywords) = schema.as_object_mut() {
        described.append(keywords);
    }
    Value::Object(described)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::draft;

    #[test]
    fn its_keys_are_those_of_the_reader() {
        let schema = schema(&GrantKeys::default());
        for (place, known) in [
            ("", draft::TOP.as_slice()),
            ("/$defs/input", draft::INPUT.as_slice()),
            ("/$defs/step", draft::STEP.as_slice()),
            ("/$defs/sequential", draft::SEQUENTIAL.as_slice()),
            ("/$defs/retry", draft::RETRY.as_slice()),
        ] {
            let table = schema.pointer(place).unwrap();
            let properties = table["properties"].as_object().unwrap();
            let keys: BTreeSet<&str> = properties.keys().map(String::as_str).collect();
            assert_eq!(keys, known.iter().copied().collect(), "{place}");
            assert_eq!(table["additionalProperties"], false, "{place}");
            for (key, property) in properties {
                assert!(property["description"].is_string(), "{place} {key}");
            }
        }
    }
}
