//! Values between JSON and CEL.
//!
//! Integers go in as `i64`, whatever their sign: `1 == 1` must hold between an input and a literal.
//! On the way out doubles without a fraction become integers, so that `inputs.n / 2.0` satisfies
//! `"type": "integer"` whenever it can.

use std::collections::HashMap;
use std::sync::Arc;

use cel::Value as Cel;
use cel::objects::{Key, Map};
use serde_json::Value;

pub(crate) fn to_cel(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(b) => Cel::Bool(*b),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(int), _) => Cel::Int(int),
            (None, Some(uint)) => Cel::UInt(uint),
            (None, None) => Cel::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => Cel::String(Arc::new(text.clone())),
        Value::Array(items) => Cel::List(Arc::new(items.iter().map(to_cel).collect())),
        Value::Object(fields) => {
            let map: HashMap<Key, Cel> = fields
                .iter()
                .map(|(key, value)| (Key::String(Arc::new(key.clone())), to_cel(value)))
                .collect();
            Cel::Map(Map { map: Arc::new(map) })
        }
    }
}

/// Fails for what JSON has no form for, and when `budget` bytes are used up.
pub(crate) fn to_json(value: &Cel, budget: &mut usize) -> Result<Value, String> {
    let size = if let Cel::String(text) = value {
        text.len()
    } else {
        0
    } + 8;
    *budget = budget.checked_sub(size).ok_or("its result is too large")?;
    match value {
        Cel::Null => Ok(Value::Null),
        Cel::Bool(b) => Ok(Value::Bool(*b)),
        Cel::Int(int) => Ok(Value::from(*int)),
        Cel::UInt(uint) => Ok(Value::from(*uint)),
        Cel::Float(float) => number(*float),
        Cel::String(text) => Ok(Value::String(text.as_str().to_owned())),
        Cel::List(items) => items
            .iter()
            .map(|item| to_json(item, budget))
            .collect::<Result<_, _>>()
            .map(Value::Array),
        Cel::Map(map) => {
            let mut entries: Vec<_> = map.map.iter().collect();
            entries.sort_by(|a, b| a.0.cmp(b.0));
            let mut fields = serde_json::Map::new();
            for (key, value) in entries {
                let Key::String(key) = key else {
                    return Err("a map whose keys are not strings has no form in JSON".to_owned());
                };
                *budget = budget
                    .checked_sub(key.len())
                    .ok_or("its result is too large")?;
                fields.insert(key.as_str().to_owned(), to_json(value, budget)?);
            }
            Ok(Value::Object(fields))
        }
        Cel::Function(..) | Cel::Bytes(_) | Cel::Opaque(_) | Cel::Struct(_) => Err(format!(
            "a value of type `{}` has no form in JSON",
            value.type_of()
        )),
    }
}

/// 2^53: up to there every integer has its own double.
const EXACT: f64 = 9_007_199_254_740_992.0;

fn number(float: f64) -> Result<Value, String> {
    if float.fract() == 0.0 && float.abs() <= EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "integral and within 2^53")]
        return Ok(Value::from(float as i64));
    }
    serde_json::Number::from_f64(float)
        .map(Value::Number)
        .ok_or_else(|| "its result is not a finite number".to_owned())
}
