//! Values that a fly.toml spells in more than one way.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// The units of Go's durations. (`time.ParseDuration`.)
const UNITS: [&str; 8] = ["ns", "us", "µs", "μs", "ms", "s", "m", "h"];

/// A duration as Go spells it, which is also how the Machines API wants it.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct GoDuration(String);

/// A text that may be written as a number or a boolean.
#[derive(Debug)]
pub(super) struct Text(pub(super) String);

/// Memory in megabytes: `512`, `"512"`, `"512mb"`, `"1gb"`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Megabytes(pub(super) u32);

/// `off`, `stop` or `suspend`; `true` is `stop`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Autostop(pub(super) &'static str);

fn is_go_duration(text: &str) -> bool {
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let number = &rest[..rest.len() - digits.len()];
        let next = digits.find(|c: char| c.is_ascii_digit() || c == '.');
        let (unit, after) = digits.split_at(next.unwrap_or(digits.len()));
        if number.parse::<f64>().is_err() || !UNITS.contains(&unit) {
            return false;
        }
        rest = after;
    }
    !text.is_empty()
}

fn megabytes(text: &str) -> Option<u32> {
    let lower = text.trim().to_ascii_lowercase();
    let unit_at = lower.find(|c: char| !c.is_ascii_digit());
    let (number, unit) = lower.split_at(unit_at.unwrap_or(lower.len()));
    let factor = match unit.trim() {
        "" | "m" | "mb" | "mib" => 1,
        "g" | "gb" | "gib" => 1024,
        _ => return None,
    };
    let number: u32 = number.parse().ok()?;
    number.checked_mul(factor).filter(|memory| *memory > 0)
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(text) = Text::deserialize(deserializer)?;
        if is_go_duration(&text) {
            return Ok(Self(text));
        }
        Err(D::Error::custom(format!(
            "`{text}` is not a duration with its unit, such as \"10s\" or \"1m30s\""
        )))
    }
}

impl<'de> Deserialize<'de> for Megabytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(text) = Text::deserialize(deserializer)?;
        let memory = megabytes(&text).map(Self);
        memory.ok_or_else(|| {
            D::Error::custom(format!(
                "`{text}` is not an amount of memory, such as \"512mb\" or \"1gb\""
            ))
        })
    }
}

impl<'de> Deserialize<'de> for Autostop {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(text) = Text::deserialize(deserializer)?;
        match text.as_str() {
            "false" | "off" => Ok(Self("off")),
            "true" | "stop" => Ok(Self("stop")),
            "suspend" => Ok(Self("suspend")),
            other => Err(D::Error::custom(format!(
                "`{other}` is not `off`, `stop` or `suspend`"
            ))),
        }
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a number or a boolean")
            }

            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(Text(text.to_owned()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Text, E> {
                Ok(Text(number.to_string()))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Text, E> {
                Ok(Text(number.to_string()))
            }

            fn visit_bool<E>(self, truth: bool) -> Result<Text, E> {
                Ok(Text(truth.to_string()))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_go() {
        for good in ["10s", "1m30s", "1.5h", "250ms", "3µs"] {
            assert!(is_go_duration(good), "{good}");
        }
        for bad in ["", "10", "s", "10 s", "1d", "-5s", "1.2.3s", "10sec"] {
            assert!(!is_go_duration(bad), "{bad}");
        }
    }

    #[test]
    fn memory_has_units() {
        let cases = [("512", 512), ("256mb", 256), ("2GB", 2048), ("1 gb", 1024)];
        for (text, expected) in cases {
            assert_eq!(megabytes(text), Some(expected), "{text}");
        }
        for bad in ["", "gb", "1tb", "0", "-1", "1.5gb", "9999999gb"] {
            assert_eq!(megabytes(bad), None, "{bad}");
        }
    }
}
