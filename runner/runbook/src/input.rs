//! Inputs: what a runbook asks for, and the values that are given.

use regex::Regex;
use serde_json::{Map, Value};

use crate::diagnostic::{did_you_mean, list_of, quoted};
use crate::{Runbook, format_duration, parse_duration};

/// The type of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum InputType {
    /// Text.
    String,
    /// A whole number that fits 64 bits.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// Text such as `90s`; bound values are in canonical form.
    Duration,
    /// A list; see [`InputSpec::items`].
    List,
    /// One of [`InputSpec::values`].
    Enum,
}

impl InputType {
    pub(crate) const NAMES: [&str; 6] =
        ["string", "integer", "boolean", "duration", "list", "enum"];

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "string" => Self::String,
            "integer" => Self::Integer,
            "boolean" => Self::Boolean,
            "duration" => Self::Duration,
            "list" => Self::List,
            "enum" => Self::Enum,
            _ => return None,
        })
    }
}

/// One declared input.
#[derive(Debug, Clone)]
pub struct InputSpec {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: InputType,
    /// The type of a list's items.
    pub items: InputType,
    /// What it means.
    pub description: Option<String>,
    /// Its value when none is given; without it the input is required.
    pub default: Option<Value>,
    /// What all of a string, or of each string of a list, must match.
    pub pattern: Option<Regex>,
    /// The least value; a length for strings and lists, milliseconds for durations.
    pub min: Option<i64>,
    /// The greatest value, as `min`.
    pub max: Option<i64>,
    /// What an enum, or the enum items of a list, may be.
    pub values: Vec<String>,
    /// Its value is kept nowhere; of the items of a list, what stands behind `=`.
    pub secret: bool,
}

/// How the mark begins that stands for a secret value.
pub const SEALED: &str = "sealed:";

/// Whether a text is such a mark: 32 hexadecimal digits follow.
pub fn is_sealed(text: &str) -> bool {
    let hex = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    let mark = text.strip_prefix(SEALED);
    mark.is_some_and(|mark| mark.len() == 32 && mark.bytes().all(hex))
}

/// What of a text of a secret input is shown, and what is secret: of an item of a list that has a `=`, what
/// stands behind it.
pub fn sealed_part<'a>(spec: &InputSpec, text: &'a str) -> (&'a str, &'a str) {
    let at = match spec.kind {
        InputType::List => text.find('=').map_or(0, |at| at + 1),
        _ => 0,
    };
    text.split_at(at)
}

/// A given input that cannot be used, or a missing one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, serde::Serialize)]
#[error("{message}")]
pub struct InputError {
    /// The input's name.
    pub input: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl InputSpec {
    /// Checks a value and brings it into its canonical form.
    pub fn accept(&self, value: &Value) -> Result<Value, String> {
        let value = self.accept_as(self.kind, value)?;
        if self.kind == InputType::List {
            self.in_bounds(
                value.as_array().map_or(0, |items| items.len() as i64),
                " items",
            )?;
        }
        Ok(value)
    }

    /// The same for its default, which everybody can read.
    pub(crate) fn accept_default(&self, value: &Value) -> Result<Value, String> {
        let value = self.accept(value)?;
        let empty = value == "" || value == Value::Array(Vec::new());
        match self.secret && !empty {
            true => Err("it is secret, and can only be empty".to_owned()),
            false => Ok(value),
        }
    }

    fn accept_as(&self, kind: InputType, value: &Value) -> Result<Value, String> {
        let scalar = self.kind == kind;
        let wrong = |wanted: &str| match self.secret {
            true => Err(format!("expected {wanted}")),
            false => Err(format!("expected {wanted}, found {value}")),
        };
        match kind {
            InputType::String => {
                let Some(text) = value.as_str() else {
                    return wrong("a string");
                };
                // It was checked before it was sealed.
                if self.secret && is_sealed(sealed_part(self, text).1) {
                    return Ok(value.clone());
                }
                if scalar {
                    self.in_bounds(text.chars().count() as i64, " characters")?;
                }
                match &self.pattern {
                    Some(pattern) if self.secret && !pattern.is_match(text) => Err(format!(
                        "a value does not match `{}`",
                        self.pattern_source()
                    )),
                    Some(pattern) if !pattern.is_match(text) => Err(format!(
                        "`{text}` does not match `{}`",
                        self.pattern_source()
                    )),
                    Some(_) | None => Ok(value.clone()),
                }
            }
            InputType::Integer => {
                let Some(number) = value.as_i64() else {
                    return wrong("an integer");
                };
                if scalar {
                    self.in_bounds(number, "")?;
                }
                Ok(Value::from(number))
            }
            InputType::Boolean if value.is_boolean() => Ok(value.clone()),
            InputType::Boolean => wrong("`true` or `false`"),
            InputType::Duration => {
                let Some(text) = value.as_str() else {
                    return wrong("a duration such as `90s`");
                };
                let duration = parse_duration(text).map_err(|error| {
                    format!("`{text}` is not a duration: {error}; {}", error.hint())
                })?;
                if scalar {
                    self.in_bounds(
                        i64::try_from(duration.as_millis()).unwrap_or(i64::MAX),
                        "ms",
                    )?;
                }
                Ok(Value::from(format_duration(duration)))
            }
            InputType::Enum => match value.as_str() {
                Some(text) if self.values.iter().any(|known| known == text) => Ok(value.clone()),
                Some(_) | None => wrong(&format!(
                    "one of {}",
                    list_of(self.values.iter().map(String::as_str), "or")
                )),
            },
            InputType::List => {
                let Some(items) = value.as_array() else {
                    return wrong("a list");
                };
                let accept = |item| self.accept_as(self.items, item);
                items
                    .iter()
                    .map(accept)
                    .collect::<Result<_, _>>()
                    .map(Value::Array)
            }
        }
    }

    fn in_bounds(&self, actual: i64, unit: &str) -> Result<(), String> {
        match (self.min, self.max) {
            (Some(min), _) if actual < min => Err(format!(
                "{actual}{unit} is less than the least, {min}{unit}"
            )),
            (_, Some(max)) if actual > max => {
                Err(format!("{actual}{unit} is more than the most, {max}{unit}"))
            }
            _ => Ok(()),
        }
    }

    /// The pattern without the anchors that were put around it.
    pub fn pattern_source(&self) -> &str {
        let anchored = self.pattern.as_ref().map_or("", Regex::as_str);
        anchored
            .strip_prefix("^(?:")
            .and_then(|rest| rest.strip_suffix(")$"))
            .unwrap_or(anchored)
    }

    /// Reads the text of a command line: a list is a JSON array or separated by commas.
    fn read(&self, text: &str) -> Result<Value, String> {
        let scalar = |kind: InputType, text: &str| match kind {
            InputType::Integer => text
                .parse::<i64>()
                .map_or_else(|_| Value::from(text), Value::from),
            InputType::Boolean => text
                .parse::<bool>()
                .map_or_else(|_| Value::from(text), Value::from),
            InputType::String | InputType::Duration | InputType::Enum | InputType::List => {
                Value::from(text)
            }
        };
        let value = match self.kind {
            InputType::List if text.trim_start().starts_with('[') => serde_json::from_str(text)
                .map_err(|error| match self.secret {
                    true => "a value is not a JSON array".to_owned(),
                    false => format!("`{text}` is not a JSON array: {error}"),
                })?,
            InputType::List if text.is_empty() => Value::Array(Vec::new()),
            InputType::List => text
                .split(',')
                .map(|item| scalar(self.items, item.trim()))
                .collect(),
            kind => scalar(kind, text),
        };
        self.accept(&value)
    }
}

/// An input on its way.
enum Given<'a> {
    Text(&'a str),
    Value(&'a Value),
}

impl Runbook {
    /// Binds inputs given as texts, such as `app=web` on a command line. All errors are reported
    /// together. The result is an object with every declared input.
    pub fn bind_inputs(&self, given: &[(String, String)]) -> Result<Value, Vec<InputError>> {
        self.bind_inputs_over(given, &Map::new())
    }

    /// The same with values for inputs that are not given.
    pub fn bind_inputs_over(
        &self,
        given: &[(String, String)],
        inherited: &Map<String, Value>,
    ) -> Result<Value, Vec<InputError>> {
        let texts = given
            .iter()
            .map(|(name, text)| (name.as_str(), Given::Text(text)));
        let values = inherited
            .iter()
            .filter(|(name, _)| !given.iter().any(|(given, _)| given == *name))
            .map(|(name, value)| (name.as_str(), Given::Value(value)));
        self.bind(texts.chain(values).collect(), |spec, given| match given {
            Given::Text(text) => spec.read(text),
            Given::Value(value) => spec.accept(value),
        })
    }

    /// Reads secret inputs alone, for a run whose other inputs are known.
    ///
    /// # Errors
    /// For each that cannot be used, or is no secret input.
    pub fn bind_secrets(&self, given: &[(String, String)]) -> Result<Value, Vec<InputError>> {
        let secrets = self.inputs.iter().filter(|spec| spec.secret);
        let secrets: Vec<&InputSpec> = secrets.collect();
        let one = |(name, text): &(String, String)| {
            let error = |message: String, hint| InputError {
                input: name.clone(),
                message,
                hint,
            };
            let Some(spec) = secrets.iter().find(|spec| spec.name == *name) else {
                let names = secrets.iter().map(|spec| spec.name.as_str());
                let hint = match secrets.is_empty() {
                    true => format!("`{}` has no secret inputs", self.name),
                    false => format!("the secret inputs are {}", list_of(names, "and")),
                };
                let message =
                    format!("input `{name}` is known already: only secret ones are given again");
                return Err(error(message, Some(hint)));
            };
            match spec.read(text) {
                Ok(value) => Ok((name.clone(), value)),
                Err(reason) => Err(error(format!("input `{name}`: {reason}"), None)),
            }
        };
        let (mut bound, mut errors) = (Map::new(), Vec::new());
        for result in given.iter().map(one) {
            match result {
                Ok((name, value)) => drop(bound.insert(name, value)),
                Err(error) => errors.push(error),
            }
        }
        match errors.is_empty() {
            true => Ok(Value::Object(bound)),
            false => Err(errors),
        }
    }

    /// Binds inputs given as an object.
    pub fn bind_values(&self, given: &Value) -> Result<Value, Vec<InputError>> {
        let Some(fields) = given.as_object() else {
            let message = "inputs must be an object".to_owned();
            return Err(vec![InputError {
                input: String::new(),
                message,
                hint: None,
            }]);
        };
        self.bind(
            fields
                .iter()
                .map(|(name, value)| (name.as_str(), value))
                .collect(),
            |spec, value| spec.accept(value),
        )
    }

    fn bind<T>(
        &self,
        given: Vec<(&str, T)>,
        read: impl Fn(&InputSpec, T) -> Result<Value, String>,
    ) -> Result<Value, Vec<InputError>> {
        let (mut bound, mut errors) = (Map::new(), Vec::new());
        let mut seen = std::collections::BTreeSet::new();
        let error = |input: &str, message: String, hint| InputError {
            input: input.to_owned(),
            message,
            hint,
        };
        for (name, value) in given {
            let Some(spec) = self.inputs.iter().find(|spec| spec.name == name) else {
                let names = || self.inputs.iter().map(|spec| spec.name.as_str());
                let hint = did_you_mean(name, names())
                    .or_else(|| Some(format!("`{}` takes {}", self.name, list_of(names(), "and"))));
                errors.push(error(name, format!("unknown input `{name}`"), hint));
                continue;
            };
            if !seen.insert(name) {
                errors.push(error(name, format!("input `{name}` is given twice"), None));
                continue;
            }
            match read(spec, value) {
                Ok(value) => drop(bound.insert(name.to_owned(), value)),
                Err(reason) => errors.push(error(
                    name,
                    format!("input `{name}`: {}", quoted(&reason)),
                    spec.description.clone(),
                )),
            }
        }
        for spec in self
            .inputs
            .iter()
            .filter(|spec| !seen.contains(spec.name.as_str()))
        {
            match &spec.default {
                Some(value) => drop(bound.insert(spec.name.clone(), value.clone())),
                None => {
                    let hint = Some(format!("give it with `-i {}=…`", spec.name));
                    errors.push(error(
                        &spec.name,
                        format!("missing input `{}`", spec.name),
                        hint,
                    ));
                }
            }
        }
        if errors.is_empty() {
            Ok(Value::Object(bound))
        } else {
            Err(errors)
        }
    }
}
