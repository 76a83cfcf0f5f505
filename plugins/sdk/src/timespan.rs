//! Durations as runbooks spell them: `90s`, `15m`, `1h30m`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Units from the largest, in milliseconds; a span uses each at most once, in this order.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// A duration in an input or output, written `90s`, `15m` or `1h30m`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timespan(Duration);

impl Timespan {
    /// So many seconds.
    #[must_use]
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// So many minutes.
    #[must_use]
    pub const fn minutes(minutes: u64) -> Self {
        Self(Duration::from_secs(minutes * 60))
    }

    /// As the standard library has it.
    #[must_use]
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl From<Timespan> for Duration {
    fn from(timespan: Timespan) -> Self {
        timespan.0
    }
}

/// Whole milliseconds, as the contract counts; far more than any limit saturates.
pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The text is not a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotATimespan;

impl fmt::Display for NotATimespan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a duration such as `90s`, `15m` or `1h30m`")
    }
}

impl std::error::Error for NotATimespan {}

impl FromStr for Timespan {
    type Err = NotATimespan;

    fn from_str(text: &str) -> Result<Self, NotATimespan> {
        let mut rest = text;
        let mut total: u64 = 0;
        let mut units = UNITS.iter();
        while !rest.is_empty() {
            let digits = rest
                .find(|c: char| !c.is_ascii_digit())
                .ok_or(NotATimespan)?;
            let (number, tail) = rest.split_at(digits);
            let letters = tail
                .find(|c: char| c.is_ascii_digit())
                .unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(letters);
            let number: u64 = number.parse().map_err(|_| NotATimespan)?;
            let (_, factor) = units.find(|(name, _)| *name == unit).ok_or(NotATimespan)?;
            let milliseconds = number.checked_mul(*factor).ok_or(NotATimespan)?;
            total = total.checked_add(milliseconds).ok_or(NotATimespan)?;
            rest = tail;
        }
        if text.is_empty() {
            Err(NotATimespan)
        } else {
            Ok(Self(Duration::from_millis(total)))
        }
    }
}

impl fmt::Display for Timespan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = milliseconds(self.0);
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, factor) in UNITS {
            if rest >= factor {
                write!(f, "{}{unit}", rest / factor)?;
                rest %= factor;
            }
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Timespan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse()
            .map_err(|error| de::Error::custom(format!("`{text}` is {error}")))
    }
}

impl Serialize for Timespan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Timespan {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timespan".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 2,
            "pattern": "^([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_spans() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("1h30m", 5400), ("0s", 0)] {
            assert_eq!(text.parse(), Ok(Timespan::seconds(seconds)), "{text}");
        }
        assert_eq!(Timespan::seconds(90).to_string(), "1m30s");
        assert_eq!(
            Timespan(Duration::from_millis(61_500)).to_string(),
            "1m1s500ms"
        );
    }

    #[test]
    fn refuses_everything_else() {
        for text in [
            "",
            "90",
            "s",
            "1d",
            "-1s",
            "1s1s",
            "1s1m",
            "1.5s",
            " 1s",
            "99999999999999999999s",
        ] {
            assert_eq!(text.parse::<Timespan>(), Err(NotATimespan), "{text}");
        }
    }
}
