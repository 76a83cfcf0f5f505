//! Texts with `${…}` in them, conditions, and the tables made of them.
//!
//! A text that is exactly one `${…}` takes the value's type; otherwise values are put into the
//! text. `$${` stands for `${`. A list or a map has no text, nor has `null`: leaving one out
//! silently is how an app's name becomes empty.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::diagnostic::quoted;
use crate::expression::{Budget, CompileError, Expression, ExpressionError, Scope};
use crate::limits::SOON;

#[derive(Debug, Clone)]
enum Part {
    Text(String),
    Expression(Expression),
}

/// A text of a runbook, with the expressions in it.
#[derive(Debug, Clone)]
pub struct Template {
    text: String,
    place: String,
    parts: Vec<Part>,
}

/// An error in a template, at a byte of its text.
pub(crate) type TemplateError = CompileError;

impl Template {
    /// Reads a text; every expression comes with the byte at which it starts.
    pub(crate) fn parse(
        text: &str,
        place: &str,
    ) -> (Self, Vec<(Expression, usize)>, Vec<TemplateError>) {
        let (mut parts, mut found, mut errors) = (Vec::new(), Vec::new(), Vec::new());
        let mut literal = String::new();
        let mut at = 0;
        while let Some(dollar) = text[at..].find("${").map(|found| at + found) {
            if dollar > at && text.as_bytes()[dollar - 1] == b'$' {
                literal.push_str(&text[at..dollar - 1]);
                literal.push_str("${");
                at = dollar + 2;
                continue;
            }
            literal.push_str(&text[at..dollar]);
            let start = dollar + 2;
            let Some(end) = closing(text, start) else {
                errors.push(CompileError {
                    at: dollar,
                    message: "`${` is never closed with `}`".into(),
                    too_complex: false,
                });
                at = text.len();
                break;
            };
            match Expression::compile(&text[start..end]) {
                Ok(expression) => {
                    if !literal.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut literal)));
                    }
                    found.push((expression.clone(), start));
                    parts.push(Part::Expression(expression));
                }
                Err(error) => errors.push(CompileError {
                    at: start + error.at,
                    ..error
                }),
            }
            at = end + 1;
        }
        literal.push_str(&text[at..]);
        if !literal.is_empty() || parts.is_empty() {
            parts.push(Part::Text(literal));
        }
        (
            Self {
                text: text.to_owned(),
                place: place.to_owned(),
                parts,
            },
            found,
            errors,
        )
    }

    /// The text as written.
    pub fn source(&self) -> &str {
        &self.text
    }

    /// The text, if there is no expression in it.
    pub fn literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Whether it reads what became of other steps, and so has to wait for them.
    pub fn uses_steps(&self) -> bool {
        !self.steps().is_empty()
    }

    /// The ids of the steps it reads.
    pub fn steps(&self) -> BTreeSet<&str> {
        self.parts
            .iter()
            .flat_map(|part| match part {
                Part::Text(_) => BTreeSet::new(),
                Part::Expression(expression) => expression.steps(),
            })
            .collect()
    }

    /// Its value.
    pub fn evaluate(&self, scope: &Scope) -> Result<Value, ExpressionError> {
        self.evaluate_within(scope, &mut Budget::default())
    }

    /// The same, out of what is left for several.
    pub(crate) fn evaluate_within(
        &self,
        scope: &Scope,
        budget: &mut Budget,
    ) -> Result<Value, ExpressionError> {
        if let [Part::Expression(expression)] = self.parts.as_slice() {
            return expression
                .evaluate(scope, budget)
                .map_err(|reason| self.error(expression.source(), reason));
        }
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Expression(expression) => {
                    let failed = |reason| self.error(expression.source(), reason);
                    match expression.evaluate(scope, budget).map_err(failed)? {
                        Value::String(value) => text.push_str(&value),
                        Value::Bool(value) => text.push_str(&value.to_string()),
                        Value::Number(value) => text.push_str(&value.to_string()),
                        Value::Null => {
                            return Err(failed("`null` cannot be put into a text".into()));
                        }
                        Value::Array(_) => {
                            return Err(failed("a list cannot be put into a text".into()));
                        }
                        Value::Object(_) => {
                            return Err(failed("a map cannot be put into a text".into()));
                        }
                    }
                }
            }
        }
        Ok(Value::String(text))
    }

    pub(crate) fn error(&self, expression: &str, reason: String) -> ExpressionError {
        ExpressionError {
            place: self.place.clone(),
            expression: quoted(expression),
            reason: quoted(&reason),
        }
    }
}

/// The `}` that closes an expression: brackets inside are counted, texts inside are skipped.
fn closing(text: &str, start: usize) -> Option<usize> {
    let (mut depth, mut quote, mut escaped) = (0_usize, None, false);
    for (at, c) in text[start..].char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '{') => depth += 1,
            (None, '}') if depth == 0 => return Some(start + at),
            (None, '}') => depth -= 1,
            (None, _) => {}
        }
    }
    None
}

/// The condition of a step.
#[derive(Debug, Clone)]
pub struct Condition {
    pub(crate) expression: Expression,
    pub(crate) place: String,
}

impl Condition {
    /// The expression as written.
    pub fn source(&self) -> &str {
        self.expression.source()
    }

    /// The ids of the steps it reads.
    pub fn steps(&self) -> BTreeSet<&str> {
        self.expression.steps()
    }

    /// Whether it holds. A value that is not a boolean is an error, not a guess.
    pub fn holds(&self, scope: &Scope) -> Result<bool, ExpressionError> {
        let error = |reason: String| ExpressionError {
            place: self.place.clone(),
            expression: self.source().to_owned(),
            reason: quoted(&reason),
        };
        let budget = &mut Budget::default();
        match self.expression.evaluate(scope, budget).map_err(error)? {
            Value::Bool(holds) => Ok(holds),
            other => Err(error(format!(
                "it gives `{other}`, which is neither `true` nor `false`"
            ))),
        }
    }
}

/// A value of `with`: JSON whose texts are templates.
#[derive(Debug, Clone)]
pub enum TemplateValue {
    /// A number or a boolean.
    Literal(Value),
    /// A text.
    Text(Template),
    /// A list.
    List(Vec<TemplateValue>),
    /// A table, in the order of the file.
    Table(Vec<(String, TemplateValue)>),
}

impl TemplateValue {
    /// Its value.
    pub fn evaluate(&self, scope: &Scope) -> Result<Value, ExpressionError> {
        self.evaluate_within(scope, &mut Budget::default())
    }

    /// The same if that takes no more than some milliseconds; for who must not wait longer.
    pub fn evaluate_soon(&self, scope: &Scope) -> Option<Result<Value, ExpressionError>> {
        let mut budget = Budget::new(SOON);
        let value = self.evaluate_within(scope, &mut budget);
        (!budget.exceeded).then_some(value)
    }

    fn evaluate_within(
        &self,
        scope: &Scope,
        budget: &mut Budget,
    ) -> Result<Value, ExpressionError> {
        match self {
            Self::Literal(value) => Ok(value.clone()),
            Self::Text(template) => template.evaluate_within(scope, budget),
            Self::List(items) => items
                .iter()
                .map(|item| item.evaluate_within(scope, budget))
                .collect::<Result<_, _>>()
                .map(Value::Array),
            Self::Table(fields) => fields
                .iter()
                .map(|(key, value)| Ok((key.clone(), value.evaluate_within(scope, budget)?)))
                .collect::<Result<_, _>>()
                .map(Value::Object),
        }
    }

    /// Whether any text in it reads what became of other steps.
    pub fn uses_steps(&self) -> bool {
        match self {
            Self::Literal(_) => false,
            Self::Text(template) => template.uses_steps(),
            Self::List(items) => items.iter().any(Self::uses_steps),
            Self::Table(fields) => fields.iter().any(|(_, value)| value.uses_steps()),
        }
    }
}
