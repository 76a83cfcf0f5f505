//! Names: what a request may put into the path of a URL.

use std::fmt;

/// The longest name. Our own bound: no service that we know has longer ones.
const LONGEST: usize = 128;

/// A text that can stand alone as one segment of a path: letters, digits, `-`, `_`, `.` and `~` (the
/// unreserved characters of RFC 3986, section 2.3), and neither `.` nor `..`. No library that reads URLs
/// drops, escapes or resolves any of it, so what was checked is what is sent.
///
/// A capability narrows it to what its service calls a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name<'a>(&'a str);

impl<'a> Name<'a> {
    /// Reads a name from outside.
    ///
    /// # Errors
    /// Why it is none, in words.
    pub fn read(text: &'a str) -> Result<Self, String> {
        Self::of("a name", text)
    }

    /// The same, of what a user knows by another word: `a Machine's id`.
    ///
    /// # Errors
    /// Why it is none, in words.
    pub fn of(what: &str, text: &'a str) -> Result<Self, String> {
        let plain = |c: u8| c.is_ascii_alphanumeric() || b"-_.~".contains(&c);
        if text.is_empty() {
            return Err(format!("{what} is empty"));
        }
        if text.len() > LONGEST {
            return Err(format!(
                "{what} has {} bytes, and {LONGEST} are the most",
                text.len()
            ));
        }
        if !text.bytes().all(plain) || matches!(text, "." | "..") {
            return Err(format!("`{}` is not {what}", text.escape_debug()));
        }
        Ok(Self(text))
    }

    /// The text.
    pub fn text(self) -> &'a str {
        self.0
    }
}

impl Name<'static> {
    /// A name that stands in the source, such as `apps`.
    pub const fn fixed(text: &'static str) -> Self {
        Self(text)
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_segment_however_it_is_read() {
        for good in ["web", "a", "A-b_c.d~e", "...", "148e21e5b47d89"] {
            assert_eq!(Name::read(good).unwrap().text(), good);
        }
        for bad in [
            "", ".", "..", "a/b", "a b", "\t", ".\t.", "a\n", "a%2f", "é", "a?b", "a#b", "a\\b",
            "a;b", "a:b", "a@b", "\u{202e}",
        ] {
            assert!(Name::read(bad).is_err(), "{bad:?}");
        }
        let long = |bytes| "x".repeat(bytes);
        assert!(Name::read(&long(LONGEST)).is_ok());
        assert!(Name::read(&long(LONGEST + 1)).is_err());
    }
}
