//! Durations as runbooks write them: `"90s"`, `"15m"`, `"1h30m"`.
//!
//! They stay text in inputs and in `with`: plugins declare them as strings in their JSON Schemas.
//! [`format_duration`] writes the one canonical form, a single number with the largest unit that
//! fits exactly, so that equal durations are equal texts.

use std::time::Duration;

/// The units, largest first, in milliseconds. Days are 24 hours; there is nothing longer, because
/// months are not a length.
const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// The longest duration: a year. Nothing in a run waits longer, and sums of such stay far from
/// overflow.
pub const MAX_DURATION: Duration = Duration::from_secs(366 * 86_400);

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// The text is empty.
    #[error("a duration cannot be empty")]
    Empty,
    /// A number without a unit.
    #[error("`{0}` has no unit")]
    NoUnit(String),
    /// A unit that does not exist.
    #[error("`{0}` is not a unit of time")]
    UnknownUnit(String),
    /// Something that is not a number where one was expected.
    #[error("`{0}` does not start with a whole number")]
    NotANumber(String),
    /// A unit that is not smaller than the one before it.
    #[error("units go from large to small, each once")]
    Order,
    /// Longer than [`MAX_DURATION`].
    #[error("longer than a year")]
    TooLong,
}

impl DurationError {
    /// What to write instead.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::TooLong => "the longest duration is `366d`",
            Self::Empty
            | Self::NoUnit(_)
            | Self::UnknownUnit(_)
            | Self::NotANumber(_)
            | Self::Order => {
                "write a whole number and a unit of `ms`, `s`, `m`, `h` or `d`, as in `90s` or `1h30m`"
            }
        }
    }
}

/// Reads a duration such as `90s` or `1h30m`.
///
/// ```
/// use std::time::Duration;
/// assert_eq!(groundcrew_runbook::parse_duration("1m30s"), Ok(Duration::from_secs(90)));
/// ```
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    if text.is_empty() {
        return Err(DurationError::Empty);
    }
    let mut rest = text;
    let mut next_unit = 0;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        if number.is_empty() {
            return Err(DurationError::NotANumber(rest.to_owned()));
        }
        let unit_end = tail
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        if unit.is_empty() {
            return Err(DurationError::NoUnit(number.to_owned()));
        }
        let Some(index) = UNITS.iter().position(|(name, _)| *name == unit) else {
            return Err(DurationError::UnknownUnit(unit.to_owned()));
        };
        if index < next_unit {
            return Err(DurationError::Order);
        }
        next_unit = index + 1;
        total = number
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(UNITS[index].1))
            .and_then(|n| n.checked_add(total))
            .ok_or(DurationError::TooLong)?;
        rest = tail;
    }
    let duration = Duration::from_millis(total);
    if duration > MAX_DURATION {
        Err(DurationError::TooLong)
    } else {
        Ok(duration)
    }
}

/// Writes a duration in its canonical form; anything below a millisecond is cut off.
///
/// ```
/// use std::time::Duration;
/// assert_eq!(groundcrew_runbook::format_duration(Duration::from_secs(90)), "90s");
/// assert_eq!(groundcrew_runbook::format_duration(Duration::from_secs(3600)), "1h");
/// ```
pub fn format_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis == 0 {
        return "0s".to_owned();
    }
    UNITS
        .iter()
        .find(|(_, length)| millis.is_multiple_of(u128::from(*length)))
        .map(|(unit, length)| format!("{}{unit}", millis / u128::from(*length)))
        .unwrap_or_else(|| format!("{millis}ms"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_forms_read_back() {
        for (text, canonical) in [
            ("90s", "90s"),
            ("60s", "1m"),
            ("1h30m", "90m"),
            ("1500ms", "1500ms"),
            ("0s", "0s"),
            ("366d", "366d"),
        ] {
            let duration = parse_duration(text).unwrap();
            assert_eq!(format_duration(duration), canonical);
            assert_eq!(parse_duration(canonical), Ok(duration));
        }
    }

    #[test]
    fn what_is_not_a_duration() {
        assert_eq!(parse_duration(""), Err(DurationError::Empty));
        assert_eq!(
            parse_duration("10"),
            Err(DurationError::NoUnit("10".into()))
        );
        assert_eq!(
            parse_duration("10min"),
            Err(DurationError::UnknownUnit("min".into()))
        );
        assert_eq!(
            parse_duration("-1s"),
            Err(DurationError::NotANumber("-1s".into()))
        );
        assert_eq!(parse_duration("1s1m"), Err(DurationError::Order));
        assert_eq!(parse_duration("367d"), Err(DurationError::TooLong));
        assert_eq!(
            parse_duration("99999999999999999999s"),
            Err(DurationError::TooLong)
        );
    }
}
