//! What evaluating an expression may cost, estimated from its tree and the sizes of what it reads.
//!
//! The interpreter has no fuel. `list.map(x, list.map(y, …))` is short and long to run, so loops
//! are multiplied out before anything runs. Loops over maps are refused: their order is random,
//! and a run must give the same values when it is replayed.

use cel::IdedExpr;
use cel::common::ast::{EntryExpr, Expr, LiteralValue};
use serde_json::Value;

#[derive(Debug, Clone, Copy, Default)]
struct Measure {
    /// Bytes of the value at most.
    size: u64,
    /// Elements that a loop over it visits at most.
    count: u64,
    /// Bytes of one element at most.
    element: u64,
    map: bool,
}

/// The cost in nodes visited plus bytes made; an error is the reason why it must not run.
pub(crate) fn estimate(expr: &IdedExpr, roots: &[(&str, &Value)]) -> Result<u64, String> {
    let mut walk = Walk {
        roots,
        bound: Vec::new(),
        cost: 0,
        times: 1,
    };
    walk.visit(expr)?;
    Ok(walk.cost)
}

struct Walk<'a> {
    roots: &'a [(&'a str, &'a Value)],
    bound: Vec<(&'a str, Measure)>,
    cost: u64,
    /// How often the current node runs.
    times: u64,
}

impl<'a> Walk<'a> {
    fn visit(&mut self, expr: &'a IdedExpr) -> Result<Measure, String> {
        let measure = self.inner(expr)?;
        self.cost = self
            .cost
            .saturating_add(self.times.saturating_mul(measure.size.saturating_add(1)));
        Ok(measure)
    }

    fn inner(&mut self, expr: &'a IdedExpr) -> Result<Measure, String> {
        if let Some(value) = self.lookup(expr) {
            return Ok(measure(value));
        }
        match &expr.expr {
            Expr::Unspecified => Ok(Measure::default()),
            Expr::Literal(LiteralValue::String(text)) => Ok(Measure {
                size: text.inner().len() as u64,
                ..Measure::default()
            }),
            Expr::Literal(_) => Ok(Measure {
                size: 8,
                ..Measure::default()
            }),
            Expr::Ident(name) => {
                let found = self.bound.iter().rev().find(|(bound, _)| bound == name);
                Ok(found.map(|(_, measure)| *measure).unwrap_or_default())
            }
            Expr::Select(select) => self.visit(&select.operand).map(part),
            Expr::Call(call) if call.func_name == "_[_]" => {
                let mut parts = call.target.as_deref().into_iter().chain(&call.args);
                let whole = parts.next().map(|whole| self.visit(whole)).transpose()?;
                parts.try_for_each(|index| self.visit(index).map(drop))?;
                Ok(part(whole.unwrap_or_default()))
            }
            Expr::Call(call) => {
                let parts: Vec<&'a IdedExpr> = call
                    .target
                    .as_deref()
                    .into_iter()
                    .chain(&call.args)
                    .collect();
                self.sum(&parts)
            }
            Expr::List(list) => {
                let sum = self.sum(&list.elements.iter().collect::<Vec<_>>())?;
                Ok(Measure {
                    count: list.elements.len() as u64,
                    element: sum.size,
                    map: false,
                    ..sum
                })
            }
            Expr::Map(map) => self.entries(map.entries.iter().map(|entry| &entry.expr)),
            Expr::Struct(structure) => {
                self.entries(structure.entries.iter().map(|entry| &entry.expr))
            }
            Expr::Comprehension(loops) => {
                let range = self.visit(&loops.iter_range)?;
                if range.map {
                    return Err("a loop over a map has no fixed order; loop over a list".to_owned());
                }
                let accu = self.visit(&loops.accu_init)?;
                let (before, times) = (self.bound.len(), self.times);
                let element = Measure {
                    size: range.element,
                    count: range.element,
                    element: range.element,
                    map: false,
                };
                self.bound.push((&loops.iter_var, element));
                self.bound.push((&loops.accu_var, accu));
                self.times = times.saturating_mul(range.count.max(1));
                self.visit(&loops.loop_cond)?;
                let step = self.visit(&loops.loop_step)?;
                self.times = times;
                self.bound.truncate(before);
                let size = accu
                    .size
                    .saturating_add(range.count.saturating_mul(step.size));
                Ok(Measure {
                    size,
                    count: range.count.max(1),
                    element: step.size,
                    map: false,
                })
            }
        }
    }

    fn sum(&mut self, parts: &[&'a IdedExpr]) -> Result<Measure, String> {
        let mut total = Measure {
            size: 8,
            ..Measure::default()
        };
        for part in parts {
            let part = self.visit(part)?;
            total.size = total.size.saturating_add(part.size);
            total.count = total.count.saturating_add(part.count);
            total.element = total.element.max(part.element);
            total.map |= part.map;
        }
        Ok(total)
    }

    fn entries(&mut self, entries: impl Iterator<Item = &'a EntryExpr>) -> Result<Measure, String> {
        let mut parts = Vec::new();
        for entry in entries {
            match entry {
                EntryExpr::StructField(field) => parts.push(&field.value),
                EntryExpr::MapEntry(entry) => parts.extend([&entry.key, &entry.value]),
            }
        }
        let sum = self.sum(&parts)?;
        Ok(Measure {
            element: sum.size,
            map: true,
            ..sum
        })
    }

    /// The JSON that a constant path such as `inputs.apps` or `inputs["apps"]` names.
    fn lookup(&self, expr: &IdedExpr) -> Option<&'a Value> {
        match &expr.expr {
            Expr::Ident(name) if !self.bound.iter().any(|(bound, _)| bound == name) => self
                .roots
                .iter()
                .find(|(root, _)| root == name)
                .map(|(_, value)| *value),
            Expr::Select(select) if !select.test => {
                self.lookup(&select.operand)?.get(&select.field)
            }
            Expr::Call(call) if call.func_name == "_[_]" => {
                let Expr::Literal(LiteralValue::String(key)) = &call.args.get(1)?.expr else {
                    return None;
                };
                self.lookup(call.args.first()?)?.get(key.inner())
            }
            Expr::Unspecified
            | Expr::Ident(_)
            | Expr::Select(_)
            | Expr::Call(_)
            | Expr::Literal(_)
            | Expr::List(_)
            | Expr::Map(_)
            | Expr::Struct(_)
            | Expr::Comprehension(_) => None,
        }
    }
}

/// Of something inside a value. It is as large as the largest, and may be a list of as many bytes.
fn part(of: Measure) -> Measure {
    Measure {
        size: of.element,
        count: of.element / 8,
        element: of.element,
        map: false,
    }
}

/// What it costs to copy a value.
pub(crate) fn of(value: &Value) -> u64 {
    measure(value).size + 1
}

fn measure(value: &Value) -> Measure {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => Measure {
            size: 8,
            ..Measure::default()
        },
        Value::String(text) => Measure {
            size: text.len() as u64,
            ..Measure::default()
        },
        Value::Array(items) => {
            let sizes = || items.iter().map(|item| measure(item).size);
            Measure {
                size: sizes().sum::<u64>() + 8 * items.len() as u64,
                count: items.len() as u64,
                element: sizes().max().unwrap_or(0),
                map: false,
            }
        }
        Value::Object(fields) => Measure {
            size: fields
                .iter()
                .map(|(key, value)| key.len() as u64 + 8 + measure(value).size)
                .sum(),
            count: fields.len() as u64,
            element: fields
                .iter()
                .map(|(_, value)| measure(value).size)
                .max()
                .unwrap_or(0),
            map: true,
        },
    }
}
