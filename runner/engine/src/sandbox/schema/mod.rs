//! The JSON Schemas of a plugin's input and output: compiled only if they are small enough to be
//! followed, asked only about values that they can judge in time.
//!
//! Nothing ends a thread that computes. So what a judgement may take is known before it begins:
//! `cost.rs` counts it.

use serde_json::Value;

use super::cost::{Levels, Outline, Unfit};
use crate::json::{self, MAX_DEPTH};

/// What one judgement may cost, in steps of about a nanosecond: a quarter of a second. A report on
/// 5,000 Machines costs a seventh of it.
const MAX_WORK: u64 = 1 << 28;

/// From here on a judgement says yes or no, and no more: what is said of every fault is kept until
/// all are found.
const TOLD: u64 = MAX_WORK >> 6;

/// From here on a judgement has a thread of its own. About a millisecond.
const HEAVY: u64 = MAX_WORK >> 8;

/// Faults that are said.
const FAULTS: usize = 16;

/// Characters of one fault. It quotes the value, which may be megabytes.
const FAULT_CHARS: usize = 300;

/// Bytes of one compiled pattern. The engine is linear: a byte of a text takes at most a step for
/// each state, and there are no more of those than a thousand or two.
const PATTERN_BYTES: usize = 64 << 10;

/// A schema.
pub(crate) struct Schema {
    validator: jsonschema::Validator,
    outline: Outline,
}

impl Schema {
    /// Reads and compiles one. What `format` says is a description, in every dialect.
    pub(crate) fn compile(text: &str) -> Result<Self, Unfit> {
        let schema: Value = json::parse(text.as_bytes())
            .map_err(|e| Unfit::because(format!("is not JSON: {e}")))?;
        if let Some(outside) = outside_reference(&schema) {
            return Err(Unfit {
                reason: format!("refers to `{outside}`, outside itself"),
                hint: Some("put the definition into the schema's own `$defs`"),
            });
        }
        let outline = Outline::of(&schema)?;
        let patterns = jsonschema::PatternOptions::regex().size_limit(PATTERN_BYTES);
        jsonschema::options()
            .should_validate_formats(false)
            .with_pattern_options(patterns)
            .build(&schema)
            .map(|validator| Self { validator, outline })
            .map_err(|e| Unfit::because(format!("is none: {}", cut(e.to_string()))))
    }

    /// Whether judging a value takes long enough to be done on a thread of its own.
    pub(crate) fn is_heavy(&self, value: &Value) -> bool {
        Levels::of(value).is_some_and(|levels| self.outline.work(&levels) > HEAVY)
    }

    /// What is wrong with a value, each with the place in it.
    pub(crate) fn faults(&self, value: &Value) -> Vec<String> {
        let Some(levels) = Levels::of(value) else {
            return vec![format!("it is nested more than {MAX_DEPTH} levels deep")];
        };
        let work = self.outline.work(&levels);
        if work > MAX_WORK {
            return vec!["it is too large to be compared with its schema".to_owned()];
        }
        if self.validator.is_valid(value) {
            return Vec::new();
        }
        if work > TOLD {
            return vec!["something in it, which is too large to say what".to_owned()];
        }
        let errors = self.validator.iter_errors(value).take(FAULTS);
        errors.map(|e| said(&e)).collect()
    }
}

/// What a plugin with this schema would be told of a value: what is wrong with it.
///
/// # Errors
/// Why the plugin would be refused.
pub fn judge(schema: &str, value: &Value) -> Result<Vec<String>, String> {
    match Schema::compile(schema) {
        Ok(schema) => Ok(schema.faults(value)),
        Err(unfit) => Err(format!("it {}", unfit.reason)),
    }
}

fn said(e: &jsonschema::ValidationError<'_>) -> String {
    let at = e.instance_path().to_string();
    if at.is_empty() {
        cut(e.to_string())
    } else {
        let at = at.trim_start_matches('/').replace('/', ".");
        format!("`{}`: {}", cut(at), cut(e.to_string()))
    }
}

fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(FAULT_CHARS) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// The first `$ref` (or `$dynamicRef`, `$schema` aside) that leads outside the schema.
fn outside_reference(schema: &Value) -> Option<String> {
    match schema {
        Value::Object(fields) => {
            fields
                .iter()
                .find_map(|(key, value)| match (key.as_str(), value) {
                    ("$ref" | "$dynamicRef" | "$recursiveRef", Value::String(to))
                        if !to.starts_with('#') =>
                    {
                        Some(to.clone())
                    }
                    _ => outside_reference(value),
                })
        }
        Value::Array(items) => items.iter().find_map(outside_reference),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

#[cfg(test)]
mod tests;
