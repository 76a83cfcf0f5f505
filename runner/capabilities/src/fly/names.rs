//! Fly's names, as types that hold nothing else, and what other words may be. They are made where a name
//! enters: `machines/sound.rs` and its like read requests, whoever made them; `world/live.rs` reads answers.

use std::fmt;

use groundcrew::{Failure, Name, Request};

/// The longest word that goes into a body: a process group, an image, a key of metadata. Our own bound.
const WORD_BYTES: usize = 512;

/// How many names one argument may list. Our own bound.
const LISTED: usize = 1000;

/// An app: a label of a host name (RFC 1123, section 2.1), in small letters as Fly has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct App<'a>(Name<'a>);

impl<'a> App<'a> {
    pub(crate) fn read(text: &'a str) -> Result<Self, String> {
        let what = "an app's name";
        let name = Name::of(what, text)?;
        let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        if text.len() > 63 || !text.bytes().all(plain) || text.starts_with('-') {
            return Err(format!(
                "`{text}` is not {what}: that is at most 63 small letters, digits and `-`"
            ));
        }
        Ok(Self(name))
    }

    /// The app that a request names.
    pub(crate) fn of(request: &'a Request) -> Result<Self, Failure> {
        let app = request.app.as_deref().unwrap_or_default();
        Self::read(app).map_err(Failure::Invalid)
    }

    pub(crate) fn name(self) -> Name<'a> {
        self.0
    }

    pub(crate) fn text(self) -> &'a str {
        self.0.text()
    }
}

impl fmt::Display for App<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A Machine's id: small letters and digits (Fly's own have 14 of `0-9a-f`). Its name, or another
/// spelling, is none: one Machine has one id here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MachineId<'a>(Name<'a>);

impl<'a> MachineId<'a> {
    pub(crate) fn read(text: &'a str) -> Result<Self, String> {
        let what = "a Machine's id";
        let name = Name::of(what, text)?;
        let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        if text.len() > 64 || !text.bytes().all(plain) {
            return Err(format!("`{text}` is not {what}, such as `148e21e5b47d89`"));
        }
        Ok(Self(name))
    }

    pub(crate) fn name(self) -> Name<'a> {
        self.0
    }

    pub(crate) fn text(self) -> &'a str {
        self.0.text()
    }
}

impl fmt::Display for MachineId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

pub(crate) type Sound = Result<(), String>;

pub(crate) fn named<'a>(what: &str, all: impl IntoIterator<Item = &'a String>) -> Sound {
    let mut all = all.into_iter();
    all.try_for_each(|text| Name::of(what, text).map(drop))
}

/// What goes into a body, where nothing reads it as anything else: of one line, and not too long.
pub(crate) fn words<'a>(what: &str, all: impl IntoIterator<Item = &'a String>) -> Sound {
    for text in all {
        if text.is_empty() || text.len() > WORD_BYTES || text.chars().any(char::is_control) {
            let shown: String = text.chars().take(80).collect();
            return Err(format!("`{}` is not {what}", shown.escape_debug()));
        }
    }
    Ok(())
}

pub(crate) fn few<T>(what: &str, all: &[T]) -> Sound {
    match all.len() {
        0..=LISTED => Ok(()),
        many => Err(format!(
            "{many} {what} are listed, and {LISTED} are the most"
        )),
    }
}

/// Regions that an operation lists.
pub(crate) fn regions(all: &[String]) -> Sound {
    few("regions", all)?;
    named("a region", all)
}

/// What a request that names an app and nothing else names.
pub(crate) fn app(request: &Request) -> Sound {
    App::read(request.app.as_deref().unwrap_or_default()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apps_and_machines_have_one_spelling() {
        for good in ["web", "web-2", "0", &"a".repeat(63)] {
            assert!(App::read(good).is_ok(), "{good}");
        }
        for bad in ["", "-web", "Web", "web.", "web_1", "web\t", &"a".repeat(64)] {
            assert!(App::read(bad).is_err(), "{bad}");
        }
        for good in ["148e21e5b47d89", "d1"] {
            assert!(MachineId::read(good).is_ok(), "{good}");
        }
        for bad in ["", "148E21", "148e21\t", ".\t.", "web-0001-af", "../x"] {
            assert!(MachineId::read(bad).is_err(), "{bad}");
        }
    }
}
