//! Small helpers to walk spanned TOML by hand, reporting every error and going on.
//!
//! No serde: `flatten` and `untagged` ruin messages, and a derived reader stops at the first error.

use std::ops::Range;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Code, Diagnostic, did_you_mean, list_of};
use crate::expression::Expression;
use crate::grant::GrantKeys;
use crate::limits::MAX_DIAGNOSTICS;
use crate::template::{Condition, Template, TemplateValue};

pub(crate) type Node<'i> = Spanned<DeValue<'i>>;

/// Where an expression stands, which decides what it may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// `with` and `when`: may wait for steps.
    Waiting,
    /// `grant`, `plugin`, `lock`, `timeout`: evaluated before anything runs.
    Admission(&'static str),
}

/// An expression that was found, for the check of its names.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) expression: Expression,
    pub(crate) place: Place,
    /// The id of the step around it; empty for `lock`.
    pub(crate) step: String,
    /// The text around it.
    pub(crate) text: Range<usize>,
    /// The byte of the file at which the expression starts, if its text has no escapes.
    pub(crate) start: Option<usize>,
}

pub(crate) struct Reader<'a> {
    pub(crate) source: &'a str,
    /// What grants may say.
    pub(crate) keys: &'a GrantKeys,
    pub(crate) diagnostics: Vec<Diagnostic>,
    pub(crate) sites: Vec<Site>,
}

impl Reader<'_> {
    pub(crate) fn report(&mut self, diagnostic: Diagnostic) {
        if self.diagnostics.len() < MAX_DIAGNOSTICS {
            self.diagnostics.push(diagnostic);
        }
    }

    pub(crate) fn wrong_type(&mut self, node: &Node<'_>, key: &str, wanted: &str) {
        let found = node.get_ref().type_str();
        self.report(
            Diagnostic::error(
                Code::WrongType,
                node.span(),
                format!("`{key}` must be {wanted}"),
            )
            .label(format!(
                "this is {} {found}",
                if found.starts_with(['a', 'i']) {
                    "an"
                } else {
                    "a"
                }
            )),
        );
    }

    pub(crate) fn known_keys(&mut self, table: &DeTable<'_>, of: &str, keys: &[&str]) {
        for (key, _) in entries(table) {
            if !keys.contains(&key.get_ref().as_ref()) {
                let hint = did_you_mean(key.get_ref(), keys.iter().copied()).unwrap_or_else(|| {
                    format!("{of} has {}", list_of(keys.iter().copied(), "and"))
                });
                let message = format!("unknown key `{}` in {of}", key.get_ref());
                self.report(Diagnostic::error(Code::UnknownKey, key.span(), message).hint(hint));
            }
        }
    }

    pub(crate) fn required<'t, 'i>(
        &mut self,
        table: &'t DeTable<'i>,
        span: Range<usize>,
        of: &str,
        key: &str,
    ) -> Option<&'t Node<'i>> {
        let node = table.get(key);
        if node.is_none() {
            self.report(
                Diagnostic::error(Code::MissingKey, span, format!("{of} has no `{key}`"))
                    .hint(format!("add `{key} = \"…\"`")),
            );
        }
        node
    }

    pub(crate) fn text(&mut self, node: &Node<'_>, key: &str) -> Option<String> {
        let text = node.get_ref().as_str().map(str::to_owned);
        if text.is_none() {
            self.wrong_type(node, key, "a string");
        }
        text
    }

    pub(crate) fn boolean(&mut self, table: &DeTable<'_>, key: &str) -> Option<bool> {
        let node = table.get(key)?;
        let value = node.get_ref().as_bool();
        if value.is_none() {
            self.wrong_type(node, key, "`true` or `false`");
        }
        value
    }

    pub(crate) fn integer(&mut self, node: &Node<'_>, key: &str) -> Option<i64> {
        let Some(integer) = node.get_ref().as_integer() else {
            self.wrong_type(node, key, "an integer");
            return None;
        };
        let value = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
        if value.is_none() {
            self.report(Diagnostic::error(
                Code::InvalidValue,
                node.span(),
                format!("`{key}` does not fit 64 bits"),
            ));
        }
        value
    }

    pub(crate) fn table<'t, 'i>(
        &mut self,
        node: &'t Node<'i>,
        key: &str,
    ) -> Option<&'t DeTable<'i>> {
        let table = node.get_ref().as_table();
        if table.is_none() {
            self.wrong_type(node, key, "a table");
        }
        table
    }

    pub(crate) fn array<'t, 'i>(&mut self, node: &'t Node<'i>, key: &str) -> &'t [Node<'i>] {
        match node.get_ref().as_array() {
            Some(array) => array,
            None => {
                self.wrong_type(node, key, "a list");
                &[]
            }
        }
    }

    pub(crate) fn template(
        &mut self,
        node: &Node<'_>,
        key: &str,
        step: &str,
        place: Place,
    ) -> Option<Template> {
        let text = self.text(node, key)?;
        let (template, expressions, errors) = Template::parse(&text, &place_name(step, key));
        let base = self.verbatim(node.span(), &text);
        for error in errors {
            self.expression_error(error, node.span(), base);
        }
        for (expression, start) in expressions {
            self.sites.push(Site {
                expression,
                place,
                step: step.to_owned(),
                text: node.span(),
                start: base.map(|base| base + start),
            });
        }
        Some(template)
    }

    pub(crate) fn condition(&mut self, node: &Node<'_>, step: &str) -> Option<Condition> {
        let text = self.text(node, "when")?;
        let base = self.verbatim(node.span(), &text);
        match Expression::compile(&text) {
            Ok(expression) => {
                self.sites.push(Site {
                    expression: expression.clone(),
                    place: Place::Waiting,
                    step: step.to_owned(),
                    text: node.span(),
                    start: base,
                });
                Some(Condition {
                    expression,
                    place: place_name(step, "when"),
                })
            }
            Err(error) => {
                self.expression_error(error, node.span(), base);
                None
            }
        }
    }

    fn expression_error(
        &mut self,
        error: crate::template::TemplateError,
        text: Range<usize>,
        base: Option<usize>,
    ) {
        let span = base.map_or(text, |base| (base + error.at)..(base + error.at + 1));
        let diagnostic = if error.too_complex {
            Diagnostic::error(Code::ExpressionTooComplex, span, error.message)
                .hint("split it, or move the work into a plugin")
        } else {
            Diagnostic::error(
                Code::InvalidExpression,
                span,
                format!("invalid expression: {}", error.message),
            )
        };
        self.report(diagnostic);
    }

    /// Where a text starts in the file, if it stands there without escapes.
    fn verbatim(&self, span: Range<usize>, text: &str) -> Option<usize> {
        let raw = self.source.get(span.clone())?;
        let quote = if raw.starts_with("\"\"\"") || raw.starts_with("'''") {
            3
        } else {
            1
        };
        let newline = if quote == 3 {
            raw[3..].len() - raw[3..].trim_start_matches(['\r', '\n']).len()
        } else {
            0
        };
        [quote, quote + newline]
            .into_iter()
            .find(|skip| raw.get(*skip..).is_some_and(|rest| rest.starts_with(text)))
            .map(|skip| span.start + skip)
    }

    pub(crate) fn templates(
        &mut self,
        node: &Node<'_>,
        key: &str,
        step: &str,
        place: Place,
    ) -> Vec<Template> {
        if node.get_ref().is_str() && matches!(place, Place::Admission("grant")) {
            return self.template(node, key, step, place).into_iter().collect();
        }
        let item_key = |at: usize| format!("{key}[{at}]");
        let items = self.array(node, key).iter().enumerate();
        items
            .filter_map(|(at, item)| self.template(item, &item_key(at), step, place))
            .collect()
    }

    pub(crate) fn value(
        &mut self,
        node: &Node<'_>,
        key: &str,
        step: &str,
        place: Place,
    ) -> Option<TemplateValue> {
        Some(match node.get_ref() {
            DeValue::String(_) => TemplateValue::Text(self.template(node, key, step, place)?),
            DeValue::Integer(_) => TemplateValue::Literal(Value::from(self.integer(node, key)?)),
            DeValue::Boolean(value) => TemplateValue::Literal(Value::from(*value)),
            DeValue::Float(float) => match float
                .as_str()
                .parse::<f64>()
                .ok()
                .and_then(serde_json::Number::from_f64)
            {
                Some(number) => TemplateValue::Literal(Value::Number(number)),
                None => {
                    self.report(Diagnostic::error(
                        Code::InvalidValue,
                        node.span(),
                        format!("`{key}` must be a finite number"),
                    ));
                    return None;
                }
            },
            DeValue::Datetime(_) => {
                self.report(
                    Diagnostic::error(
                        Code::WrongType,
                        node.span(),
                        format!("`{key}` is a date, and plugins take JSON, which has none"),
                    )
                    .hint("put it in quotes"),
                );
                return None;
            }
            DeValue::Array(items) => TemplateValue::List(
                items
                    .iter()
                    .enumerate()
                    .filter_map(|(at, item)| self.value(item, &format!("{key}[{at}]"), step, place))
                    .collect(),
            ),
            DeValue::Table(table) => TemplateValue::Table(
                entries(table)
                    .into_iter()
                    .filter_map(|(name, item)| {
                        Some((
                            name.get_ref().to_string(),
                            self.value(item, &format!("{key}.{}", name.get_ref()), step, place)?,
                        ))
                    })
                    .collect(),
            ),
        })
    }
}

/// The entries of a table in the order of the file.
pub(crate) fn entries<'t, 'i>(
    table: &'t DeTable<'i>,
) -> Vec<(&'t Spanned<std::borrow::Cow<'i, str>>, &'t Node<'i>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

fn place_name(step: &str, key: &str) -> String {
    if step.is_empty() {
        format!("key `{key}`")
    } else {
        format!("step `{step}`, key `{key}`")
    }
}
