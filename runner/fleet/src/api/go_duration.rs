//! Durations as Go writes them, which is how Fly writes them: `1m30s`, `300ms`.

use serde_json::Value;

/// Reads a Go duration such as `10s`, `1m30s` or `1.5h` as milliseconds. Negative ones, empty
/// text and unknown units are `None`.
pub fn parse_go_duration(text: &str) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.is_empty() {
        return None;
    }
    let mut millis = 0.0_f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest.get(..digits)?.parse().ok()?;
        rest = rest.get(digits..)?;
        let letters = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        millis += number * unit_millis(rest.get(..letters)?)?;
        rest = rest.get(letters..)?;
    }
    // A float to integer cast saturates, so absurd inputs become the largest duration.
    Some(millis.round() as u64)
}

fn unit_millis(unit: &str) -> Option<f64> {
    match unit {
        "ns" => Some(1e-6),
        "us" | "µs" => Some(1e-3),
        "ms" => Some(1.0),
        "s" => Some(1e3),
        "m" => Some(60e3),
        "h" => Some(3600e3),
        _ => None,
    }
}

/// Reads a duration in a configuration: Go text, or an integer of nanoseconds.
pub fn go_duration_millis(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => parse_go_duration(text),
        Value::Number(number) => number.as_u64().map(|nanos| nanos / 1_000_000),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Writes milliseconds as Go text: `1500ms`, or `15s` when they are whole seconds.
pub fn format_go_duration(millis: u64) -> String {
    if millis.is_multiple_of(1000) {
        format!("{}s", millis / 1000)
    } else {
        format!("{millis}ms")
    }
}

/// Reads a duration as Go's JSON has it: a text, or a number of nanoseconds.
pub(crate) fn go_duration_text<'de, D>(from: D) -> Result<Option<String>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Given {
        Text(String),
        Nanoseconds(u64),
    }
    let given = <Option<Given> as serde::Deserialize>::deserialize(from)?;
    Ok(given.map(|given| match given {
        Given::Text(text) => text,
        Given::Nanoseconds(number) => format!("{}ms", number / 1_000_000),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations_are_read() {
        let cases = [
            ("10s", Some(10_000)),
            ("1m30s", Some(90_000)),
            ("1.5h", Some(5_400_000)),
            ("300ms", Some(300)),
            ("0", Some(0)),
            ("", None),
            ("10", None),
            ("s", None),
            ("-1s", None),
            ("5 minutes", None),
        ];
        for (text, millis) in cases {
            assert_eq!(parse_go_duration(text), millis, "{text}");
        }
    }
}
