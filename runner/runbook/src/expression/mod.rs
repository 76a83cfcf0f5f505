//! One CEL expression: bounded, parsed, its names collected, evaluated over a [`Scope`].
//!
//! The parser overflows its stack on deep nesting, so length and depth are counted over the
//! characters before it sees anything ([`too_complex`]); the count may be too high, never too low. Texts are
//! skipped, so a text that the parser might end elsewhere is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use cel::common::ast::{EntryExpr, Expr, LiteralValue};
use cel::{Context, Env, IdedExpr, Program};
use serde_json::Value;

use crate::limits::{
    MAX_COST, MAX_EXPRESSION, MAX_NESTING, MAX_OPERATORS, MAX_RESULT, MAX_RESULTS, MAX_TOGETHER,
};
use crate::{convert, cost};

/// The functions of the language: CEL's standard ones without bytes, timestamps and regular
/// expressions, which the crate leaves out without its default features.
pub(crate) const FUNCTIONS: [&str; 16] = [
    "all",
    "bool",
    "contains",
    "double",
    "dyn",
    "endsWith",
    "exists",
    "exists_one",
    "filter",
    "has",
    "int",
    "map",
    "size",
    "startsWith",
    "string",
    "uint",
];

static ENV: LazyLock<Arc<Env>> =
    LazyLock::new(|| Arc::new(Env::stdlib().with_optional_support(false)));

/// What expressions are evaluated over. `inputs`, `target` and `run` are objects; `steps` has an
/// object for each step that has ended (`output`, `status`, `failed`, `problem`). A step that is
/// absent reads as an empty object, so that `has(steps.x.output)` is false for it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scope {
    /// The bound inputs, see [`Runbook::bind_inputs`](crate::Runbook::bind_inputs).
    pub inputs: Value,
    /// `name` and `organisation` of the target.
    pub target: Value,
    /// `id`, `runbook` and `started_at` of the run; in `finally` also `status`: how its steps ended,
    /// `succeeded`, `failed`, `interrupted` or `in-doubt`.
    pub run: Value,
    /// What became of steps, by id.
    pub steps: BTreeMap<String, Value>,
}

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: cannot evaluate `{expression}`: {reason}")]
pub struct ExpressionError {
    /// Step and key, such as ``step `restart`, key `with.app` ``.
    pub place: String,
    /// The expression or text.
    pub expression: String,
    /// Why.
    pub reason: String,
}

/// A name that an expression reads: a root and, as far as they are constant, the fields below it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Reference {
    pub(crate) path: Vec<String>,
    /// Byte offset in the expression.
    pub(crate) at: usize,
}

/// A parsed expression.
#[derive(Debug, Clone)]
pub struct Expression {
    source: Arc<str>,
    program: Arc<Program>,
    references: Arc<[Reference]>,
    functions: Arc<[(String, usize)]>,
}

/// Why an expression cannot be used at all.
#[derive(Debug)]
pub(crate) struct CompileError {
    /// Byte offset in the expression.
    pub(crate) at: usize,
    pub(crate) message: String,
    pub(crate) too_complex: bool,
}

impl Expression {
    pub(crate) fn compile(source: &str) -> Result<Self, CompileError> {
        if let Some((at, message)) = too_complex(source) {
            return Err(CompileError {
                at,
                message,
                too_complex: true,
            });
        }
        let program = ENV.compile(source).map_err(|errors| {
            let first = errors.errors.first();
            let at = first.map_or(0, |error| {
                char_offset(source, usize::try_from(error.pos.1 - 1).unwrap_or(0))
            });
            CompileError {
                at,
                message: tidy(first.map_or("not an expression", |error| &error.msg)),
                too_complex: false,
            }
        })?;
        let mut names = Names {
            program: &program,
            references: Vec::new(),
            functions: Vec::new(),
            bound: Vec::new(),
        };
        names.walk(program.expression());
        let (references, functions) = (names.references.into(), names.functions.into());
        Ok(Self {
            source: source.into(),
            program: Arc::new(program),
            references,
            functions,
        })
    }

    /// The text between `${` and `}`.
    pub fn source(&self) -> &str {
        &self.source
    }

    pub(crate) fn references(&self) -> &[Reference] {
        &self.references
    }

    /// Names of called functions that the language does not have, with their offsets.
    pub(crate) fn unknown_functions(&self) -> impl Iterator<Item = (&str, usize)> {
        self.functions
            .iter()
            .map(|(name, at)| (name.as_str(), *at))
            .filter(|(name, _)| {
                !FUNCTIONS.contains(name) && name.starts_with(|c: char| c.is_ascii_alphabetic())
            })
    }

    /// The ids of the steps it reads.
    pub fn steps(&self) -> BTreeSet<&str> {
        self.references
            .iter()
            .filter(|reference| reference.path[0] == "steps")
            .filter_map(|reference| reference.path.get(1).map(String::as_str))
            .collect()
    }

    /// Evaluates it, out of a budget; the reason is for a person.
    pub(crate) fn evaluate(&self, scope: &Scope, budget: &mut Budget) -> Result<Value, String> {
        let reads = |root: &str| self.references.iter().any(|read| read.path[0] == root);
        let mut steps: serde_json::Map<String, Value> = serde_json::Map::new();
        for id in self.steps() {
            let state = scope
                .steps
                .get(id)
                .cloned()
                .unwrap_or_else(|| Value::Object(Default::default()));
            steps.insert(id.to_owned(), state);
        }
        let steps = Value::Object(steps);
        let roots = [
            ("inputs", &scope.inputs),
            ("target", &scope.target),
            ("run", &scope.run),
            ("steps", &steps),
        ];
        budget.spend(cost::estimate(self.program.expression(), &roots)?)?;
        let mut context = Context::with_env(Arc::clone(&ENV));
        for (name, value) in roots {
            // What it reads a part of is copied whole.
            let copied = if reads(name) { value } else { &Value::Null };
            budget.spend(cost::of(copied))?;
            context.add_variable_from_value(name, convert::to_cel(copied));
        }
        let value = self
            .program
            .execute(&context)
            .map_err(|error| short(&error.to_string()))?;
        let mut left = MAX_RESULT.min(budget.bytes);
        let (before, value) = (left, convert::to_json(&value, &mut left));
        budget.bytes -= before - left;
        value
    }
}

/// What may still be spent on what is evaluated together.
#[derive(Debug)]
pub(crate) struct Budget {
    cost: u64,
    bytes: usize,
    /// Something cost more than was left.
    pub(crate) exceeded: bool,
}

impl Budget {
    pub(crate) fn new(cost: u64) -> Self {
        Self {
            cost,
            bytes: MAX_RESULTS,
            exceeded: false,
        }
    }

    fn spend(&mut self, cost: u64) -> Result<(), String> {
        if cost <= MAX_COST && cost <= self.cost {
            self.cost -= cost;
            return Ok(());
        }
        self.exceeded = true;
        Err("evaluating it could take too long".to_owned())
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(MAX_TOGETHER)
    }
}

/// Counts what makes the parser recurse, without understanding more than quotes.
fn too_complex(source: &str) -> Option<(usize, String)> {
    if source.len() > MAX_EXPRESSION {
        return Some((
            0,
            format!(
                "the expression is {} bytes long; at most {MAX_EXPRESSION} are allowed",
                source.len()
            ),
        ));
    }
    let (mut depth, mut prefixes, mut operators) = (0_usize, 0_usize, 0_usize);
    let mut conditionals = vec![0_usize];
    let mut operand_before = false;
    let mut chars = source.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' | '\'' => {
                if let Some(reason) = skip_text(source, at, c, &mut chars) {
                    return Some((at, reason.to_owned()));
                }
                operand_before = true;
            }
            '/' if source[at..].starts_with("//") => {
                return Some((at, "comments are not allowed in an expression".to_owned()));
            }
            '(' | '[' | '{' => {
                depth += 1;
                operators += 1;
                conditionals.push(0);
                operand_before = false;
            }
            ')' | ']' | '}' => {
                depth = depth.saturating_sub(1);
                if conditionals.len() > 1 {
                    conditionals.pop();
                }
                operand_before = true;
            }
            '?' => {
                if let Some(last) = conditionals.last_mut() {
                    *last += 1;
                }
                operand_before = false;
            }
            '!' | '-' if !operand_before => prefixes += 1,
            '+' | '-' | '*' | '/' | '%' | '<' | '>' | '=' | '!' | '&' | '|' | '.' => {
                operators += 1;
                operand_before = false;
            }
            c if c.is_whitespace() => {}
            c => operand_before = c.is_alphanumeric() || c == '_' || c == '`',
        }
        if depth + prefixes + conditionals.iter().sum::<usize>() > MAX_NESTING {
            return Some((
                at,
                format!("the expression is nested more than {MAX_NESTING} levels deep"),
            ));
        }
        if operators > MAX_OPERATORS {
            return Some((
                at,
                format!("the expression has more than {MAX_OPERATORS} operators"),
            ));
        }
    }
    None
}

/// Skips a quoted text. Whatever the parser could read differently is refused: it would take
/// for code, and recurse into, what was skipped here.
fn skip_text(
    source: &str,
    at: usize,
    quote: char,
    chars: &mut std::iter::Peekable<std::str::CharIndices<'_>>,
) -> Option<&'static str> {
    let same = |c: &char| *c == quote;
    if source[at..].chars().take(3).filter(same).count() == 3 {
        return Some("triple quotes are not allowed in an expression");
    }
    let raw = source[..at].ends_with(['r', 'R']);
    while let Some((_, inner)) = chars.next() {
        match inner {
            '\\' if raw => {
                return Some("a raw text with a backslash is not allowed in an expression");
            }
            '\\' => match chars.next() {
                Some((
                    _,
                    'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '"' | '\'' | '`' | '\\' | '?',
                )) => {}
                Some(_) | None => return Some("this text has an escape that is not allowed"),
            },
            '\n' | '\r' => break,
            inner if inner == quote => return None,
            _ => {}
        }
    }
    Some("this text is never closed")
}

struct Names<'a> {
    program: &'a Program,
    references: Vec<Reference>,
    functions: Vec<(String, usize)>,
    /// Variables of the comprehensions around.
    bound: Vec<String>,
}

impl Names<'_> {
    fn offset(&self, id: u64) -> usize {
        let info = self.program.source_info();
        info.offset_for(id)
            .map_or(0, |(start, _)| char_offset(&info.source, start as usize))
    }

    fn walk(&mut self, expr: &IdedExpr) {
        if let Some((path, at)) = self.path(expr) {
            if !self.bound.contains(&path[0]) {
                self.references.push(Reference { path, at });
            }
            return;
        }
        match &expr.expr {
            Expr::Unspecified | Expr::Literal(_) | Expr::Ident(_) => {}
            Expr::Call(call) => {
                self.functions
                    .push((call.func_name.clone(), self.offset(expr.id)));
                call.target.iter().for_each(|target| self.walk(target));
                call.args.iter().for_each(|arg| self.walk(arg));
            }
            Expr::Comprehension(comprehension) => {
                self.walk(&comprehension.iter_range);
                self.walk(&comprehension.accu_init);
                let before = self.bound.len();
                self.bound.push(comprehension.iter_var.clone());
                self.bound.extend(comprehension.iter_var2.clone());
                self.bound.push(comprehension.accu_var.clone());
                self.walk(&comprehension.loop_cond);
                self.walk(&comprehension.loop_step);
                self.walk(&comprehension.result);
                self.bound.truncate(before);
            }
            Expr::List(list) => list.elements.iter().for_each(|element| self.walk(element)),
            Expr::Map(map) => map.entries.iter().for_each(|entry| self.entry(&entry.expr)),
            Expr::Select(select) => self.walk(&select.operand),
            Expr::Struct(structure) => {
                self.functions
                    .push((structure.type_name.clone(), self.offset(expr.id)));
                structure
                    .entries
                    .iter()
                    .for_each(|entry| self.entry(&entry.expr));
            }
        }
    }

    fn entry(&mut self, entry: &EntryExpr) {
        match entry {
            EntryExpr::StructField(field) => self.walk(&field.value),
            EntryExpr::MapEntry(entry) => {
                self.walk(&entry.key);
                self.walk(&entry.value);
            }
        }
    }

    /// `a.b["c"]` as its names.
    fn path(&self, expr: &IdedExpr) -> Option<(Vec<String>, usize)> {
        match &expr.expr {
            Expr::Ident(name) => Some((
                vec![name.trim_start_matches('.').to_owned()],
                self.offset(expr.id),
            )),
            Expr::Select(select) => {
                let (mut path, at) = self.path(&select.operand)?;
                path.push(select.field.clone());
                Some((path, at))
            }
            Expr::Call(call) if call.func_name == "_[_]" => {
                let [operand, index] = call.args.as_slice() else {
                    return None;
                };
                let Expr::Literal(LiteralValue::String(key)) = &index.expr else {
                    return None;
                };
                let (mut path, at) = self.path(operand)?;
                path.push(key.inner().to_owned());
                Some((path, at))
            }
            Expr::Unspecified
            | Expr::Call(_)
            | Expr::Comprehension(_)
            | Expr::List(_)
            | Expr::Literal(_)
            | Expr::Map(_)
            | Expr::Struct(_) => None,
        }
    }
}

fn char_offset(text: &str, chars: usize) -> usize {
    text.char_indices()
        .nth(chars)
        .map_or(text.len(), |(at, _)| at)
}

/// The parser's message without its table of expected tokens.
fn tidy(message: &str) -> String {
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
    let message = message.split(" expecting {").next().unwrap_or(message);
    let message = message
        .replace("mismatched input '<EOF>'", "it ends too early")
        .replace("'<EOF>'", "the end")
        .replace("mismatched input", "unexpected")
        .replace("extraneous input", "unexpected")
        .replace("no viable alternative at input", "it makes no sense at")
        .replace("token recognition error at:", "unexpected");
    short(&message.replace('\'', "`"))
}

/// One line of at most 200 characters, starting in lower case.
fn short(message: &str) -> String {
    let mut text: String = message
        .lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(200)
        .collect();
    if let Some(first) = text.get_mut(0..1) {
        first.make_ascii_lowercase();
    }
    text
}

#[cfg(test)]
mod tests;
