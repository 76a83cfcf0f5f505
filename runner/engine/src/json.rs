//! JSON that comes from outside: how deep it may be nested.
//!
//! What is read is written down inside other JSON, and read again by parsers that stop at 128 levels:
//! an entry of the journal that is deeper than what was read could never be read again.

use serde::de::{DeserializeOwned, Error as _};

/// Lists and objects inside each other. What Fly answers has about ten levels.
pub const MAX_DEPTH: usize = 64;

/// Reads JSON that came from outside.
///
/// # Errors
/// If it is not of this type, or nested deeper than [`MAX_DEPTH`].
pub fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, serde_json::Error> {
    shallow(text)?;
    serde_json::from_slice(text)
}

/// For who reads JSON piece by piece: whether it may be read at all.
///
/// # Errors
/// If it is nested deeper than [`MAX_DEPTH`].
pub fn shallow(text: &[u8]) -> Result<(), serde_json::Error> {
    match too_deep(text) {
        true => Err(serde_json::Error::custom(format!(
            "nested more than {MAX_DEPTH} levels deep"
        ))),
        false => Ok(()),
    }
}

/// Whether a text is nested too deeply, if it is JSON.
fn too_deep(text: &[u8]) -> bool {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for byte in text {
        match (quoted, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => quoted = !quoted,
            (false, b'[' | b'{') => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return true;
                }
            }
            (false, b']' | b'}') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn nested(levels: usize) -> String {
        "[{\"a]\\\"\":".repeat(levels / 2) + "1" + &"}]".repeat(levels / 2)
    }

    #[test]
    fn it_is_read_as_deep_as_is_allowed_and_no_deeper() {
        assert!(parse::<Value>(nested(MAX_DEPTH).as_bytes()).is_ok());
        let error = parse::<Value>(format!("[{}]", nested(MAX_DEPTH)).as_bytes());
        assert_eq!(
            error.unwrap_err().to_string(),
            "nested more than 64 levels deep"
        );
        // Side by side is not inside each other; brackets in a text are none.
        for fine in [
            format!("[{}]", ["[]"; 200].join(",")),
            format!("\"{}\"", "[".repeat(200)),
        ] {
            assert!(parse::<Value>(fine.as_bytes()).is_ok());
        }
    }
}
