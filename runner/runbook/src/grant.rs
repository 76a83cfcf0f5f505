//! Grants: what a step may do with one capability. This crate knows no capability: it reads a grant's
//! keys by their form (names, a number, a share), and is handed the keys that a host's capabilities
//! have ([`GrantKeys`]), to say what is wrong with others.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::expression::{Budget, ExpressionError, Scope};
use crate::template::Template;

/// What may be done, of any capability.
pub(crate) const VERBS: &str = "verbs";

/// The form of a grant's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantForm {
    /// A list of names.
    Names,
    /// A whole number.
    Number,
    /// A share of a hundred, such as `25%`.
    Share,
}

/// A key that a grant may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantKey {
    /// As it is written: `apps`.
    pub name: String,
    /// What stands behind it.
    pub form: GrantForm,
    /// What it means, for the person who writes it.
    pub about: String,
}

/// The keys that grants may have beside `verbs`, by capability. What is not here is read by its form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GrantKeys(pub BTreeMap<String, Vec<GrantKey>>);

/// What a step may do with one capability.
#[derive(Debug, Clone, Default)]
pub struct Grant {
    /// Verbs of the capability. A template that gives a list is spliced in.
    pub verbs: Vec<Template>,
    /// By key, how far that goes.
    pub limits: BTreeMap<String, Limit>,
}

/// How far a grant goes in one respect.
#[derive(Debug, Clone)]
pub enum Limit {
    /// Names. A template that gives a list is spliced in.
    Names(Vec<Template>),
    /// So many.
    Number(u64),
    /// What gives a number.
    NumberOf(Template),
    /// What gives a share.
    Share(Template),
    /// Of a key that is not known: what its one expression gives.
    Any(Template),
}

/// A limit with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LimitValue {
    /// Names, none of which is empty.
    Names(Vec<String>),
    /// So many.
    Number(u64),
    /// So many of a hundred, 1 to 100.
    Share(u8),
}

/// A grant with its values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EvaluatedGrant {
    /// Verbs of the capability.
    pub verbs: Vec<String>,
    /// By key.
    pub limits: BTreeMap<String, LimitValue>,
}

impl Grant {
    /// Its values. `steps` of the scope is never read.
    pub fn evaluate(&self, scope: &Scope) -> Result<EvaluatedGrant, ExpressionError> {
        let limits = self.limits.iter();
        let budget = &mut Budget::default();
        Ok(EvaluatedGrant {
            verbs: texts(&self.verbs, scope, budget)?,
            limits: limits
                .map(|(key, limit)| Ok((key.clone(), limit.evaluate(scope, budget)?)))
                .collect::<Result<_, _>>()?,
        })
    }
}

impl Limit {
    fn evaluate(&self, scope: &Scope, budget: &mut Budget) -> Result<LimitValue, ExpressionError> {
        let wrong = |template: &Template, value: &Value, wanted: &str| {
            template.error(template.source(), format!("{value} is not {wanted}"))
        };
        Ok(match self {
            Self::Number(number) => LimitValue::Number(*number),
            Self::NumberOf(template) => {
                let value = template.evaluate_within(scope, budget)?;
                let number = value.as_u64();
                LimitValue::Number(number.ok_or_else(|| wrong(template, &value, "a whole number"))?)
            }
            Self::Share(template) => {
                let value = template.evaluate_within(scope, budget)?;
                let share = value.as_str().and_then(parse_share);
                let share = share.ok_or_else(|| wrong(template, &value, "a share such as `25%`"));
                LimitValue::Share(share?)
            }
            Self::Names(templates) => LimitValue::Names(texts(templates, scope, budget)?),
            Self::Any(template) => {
                let value = template.evaluate_within(scope, budget)?;
                match (value.as_u64(), value.as_str().and_then(parse_share)) {
                    (Some(number), _) => LimitValue::Number(number),
                    (None, Some(share)) => LimitValue::Share(share),
                    (None, None) => {
                        LimitValue::Names(texts(std::slice::from_ref(template), scope, budget)?)
                    }
                }
            }
        })
    }
}

/// `25%` as 25. Nothing is no share: it would allow nothing, and look like a limit.
pub(crate) fn parse_share(text: &str) -> Option<u8> {
    let digits = text.strip_suffix('%')?;
    let whole = digits.bytes().all(|byte| byte.is_ascii_digit());
    let share = digits.parse().ok().filter(|_| whole);
    share.filter(|share| (1..=100).contains(share))
}

fn texts(
    templates: &[Template],
    scope: &Scope,
    budget: &mut Budget,
) -> Result<Vec<String>, ExpressionError> {
    let mut texts = Vec::new();
    for template in templates {
        let items = match template.evaluate_within(scope, budget)? {
            Value::Array(items) => items,
            single => vec![single],
        };
        for item in items {
            match item {
                Value::String(text) if !text.is_empty() => texts.push(text),
                // An empty name could be read as "any": never in a grant.
                other => {
                    return Err(template.error(
                        template.source(),
                        format!("a grant holds names, and {other} is none"),
                    ));
                }
            }
        }
    }
    Ok(texts)
}
