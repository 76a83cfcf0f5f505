//! Text that may be shown. What a plugin, a Machine, a service, a file or a person's name says comes from
//! outside, and a terminal or a log of GitHub obeys some of it. So nothing is printed but a [`Shown`], and
//! one is only made here: the literal of [`shown!`] is ours, with its line ends; whatever is put into its
//! braces is escaped, unless it is a [`Shown`] itself.
//!
//! A literal cannot name a variable (`"{run}"` does not compile): what is put in is always seen by the
//! macro. `terminal.rs` prints it; `tests/tests/arrows.rs` keeps it that nothing else does.

use std::fmt::{self, Debug, Display, Write};

use groundcrew::runbook::{self, Diagnostic};
use serde::Serialize;

/// Text that may be shown, of any number of lines, without a line end behind it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Shown(String);

/// A [`Shown`] of a literal and what is put into it.
macro_rules! shown {
    ($literal:literal $(, $piece:expr)* $(,)?) => {{
        let mut text = $crate::shown::Shown::default();
        $crate::shown::put!(text, $literal $(, $piece)*);
        text
    }};
}

/// Puts more behind a [`Shown`].
macro_rules! put {
    ($text:expr, $literal:literal $(, $piece:expr)* $(,)?) => {
        // `concat!` takes the literal's sight of the variables around it.
        $text.more(format_args!(concat!($literal) $(, $crate::shown::Piece(&$piece))*))
    };
}

pub(crate) use {put, shown};

/// Bytes of one piece; of a longer one it is said how much is left out.
const PIECE: usize = 16 << 10;

impl Shown {
    /// For [`put!`], which has made pieces of what is put in.
    pub(crate) fn more(&mut self, pieces: fmt::Arguments<'_>) {
        // Cannot fail: a string grows.
        let _ = self.0.write_fmt(pieces);
    }

    /// As it is printed: no line of it is a command of GitHub's. Those begin with `::`, after spaces as
    /// well; older ones have `##[` anywhere. (actions/runner, `ActionCommand.cs`)
    pub(crate) fn finished(&self) -> String {
        let mut lines = self.0.split('\n').map(|line| {
            let line = line.replace("##[", "#\\u{23}[");
            match line.trim_start().starts_with("::") {
                true => line.replacen("::", "\\u{3a}:", 1),
                false => line,
            }
        });
        let first = lines.next().unwrap_or_default();
        lines.fold(first, |text, line| text + "\n" + &line)
    }

    /// As the message of one of GitHub's commands, which has no line ends. (GitHub: workflow commands)
    pub(crate) fn message(&self) -> String {
        self.0
            .replace('%', "%25")
            .replace('\r', "%0D")
            .replace('\n', "%0A")
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How wide it is, of one line.
    pub(crate) fn width(&self) -> usize {
        self.0.chars().count()
    }
}

/// What can be put into a literal.
pub(crate) trait Put {
    fn put(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

impl<T: Display + ?Sized> Put for T {
    fn put(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&clean(&self.to_string()))
    }
}

impl Put for Shown {
    fn put(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Put for &Shown {
    fn put(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What is put into a literal, escaped unless that has been done.
pub(crate) struct Piece<'a, T: ?Sized>(pub(crate) &'a T);

impl<T: Put + ?Sized> Display for Piece<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.put(f)
    }
}

impl<T: Debug + ?Sized> Debug for Piece<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&clean(&format!("{:?}", self.0)))
    }
}

/// What is printed and not seen, or seen as something else, beside what the standard library knows as
/// such (control, format, separators, private use, unassigned): letters without a shape, and what
/// chooses between shapes. (Unicode: Default_Ignorable_Code_Point; U+2800 is a blank)
fn ignored(c: char) -> bool {
    matches!(c, '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{e0100}'..='\u{e01ef}')
}

/// Whether a character can be seen, and leaves its neighbours as they are.
fn visible(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    let mut buffer = [b'a', 0, 0, 0, 0];
    let length = 1 + c.encode_utf8(&mut buffer[1..]).len();
    // Behind a letter: an accent alone would be escaped too.
    let pair = std::str::from_utf8(&buffer[..length]).unwrap_or_default();
    !ignored(c) && pair.escape_debug().count() == 2
}

/// A text from outside as one line: what cannot be seen is spelt out.
fn clean(text: &str) -> String {
    let end = text.floor_char_boundary(PIECE);
    let mut clean = String::with_capacity(end);
    for c in text[..end].chars() {
        match visible(c) {
            true => clean.push(c),
            false => clean.extend(c.escape_default()),
        }
    }
    if end < text.len() {
        let _ = write!(clean, " … and {} more bytes", text.len() - end);
    }
    clean
}

/// A name, as it is kept: without what cannot be seen, and not too long.
pub(crate) fn name(text: &str) -> String {
    const NAME: usize = 200;
    let seen = text.trim().chars().filter(|c| visible(*c));
    seen.take(NAME).collect()
}

/// A text from outside that has lines: each is one, behind `indent`.
pub(crate) fn lines(indent: &str, text: &str) -> Shown {
    let mut all = Shown::default();
    for (number, line) in text.trim_end().lines().enumerate() {
        let end = if number == 0 { "" } else { "\n" };
        all.0.push_str(end);
        put!(all, "{}{}", indent, line);
    }
    all
}

/// A value as JSON on one line. It means the same: what is escaped can only stand in its strings.
pub(crate) fn as_json(value: &impl Serialize) -> Shown {
    as_json_text(&serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned()))
}

/// The same for JSON that is written already, lines and all.
pub(crate) fn as_json_text(text: &str) -> Shown {
    let mut out = String::with_capacity(text.len());
    for c in text.replace("##[", "#\\u0023[").chars() {
        if visible(c) || c == '\n' {
            out.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = write!(out, "\\u{unit:04x}");
        }
    }
    Shown(out)
}

/// What is wrong with a runbook, over its text.
pub(crate) fn diagnostic(diagnostic: &Diagnostic, text: &str, file: &str, colour: bool) -> Shown {
    let mut clear = diagnostic.clone();
    clear.message = clean(&clear.message);
    clear.label = clean(&clear.label);
    for hint in &mut clear.hints {
        *hint = clean(hint);
    }
    for related in &mut clear.related {
        related.label = clean(&related.label);
    }
    let text: String = text.chars().map(same_length).collect();
    let drawn = runbook::render(&clear, &text, &clean(file), colour);
    Shown(drawn.trim_end().to_owned())
}

/// A character of a text that spans point into: one that cannot be seen is another of as many bytes.
fn same_length(c: char) -> char {
    match c.len_utf8() {
        _ if visible(c) || matches!(c, '\n' | '\t') => c,
        1 => '?',
        2 => '¿',
        3 => char::REPLACEMENT_CHARACTER,
        _ => '🚫',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a terminal, a reader of lines or a log obeys.
    pub(crate) const HOSTILE: [&str; 16] = [
        "\u{1b}[2J\u{1b}]0;title\u{7}",
        "\u{9b}31m",
        "a\rb",
        "a\nsigned by somebody",
        "a\u{85}b",
        "a\u{2028}b\u{2029}c",
        "\u{202e}txt.exe\u{202c}",
        "\u{2066}a\u{2069}",
        "zero\u{200b}\u{200d}\u{feff}width",
        "\u{e0041}\u{e0042}",
        "\u{3164}\u{2800}\u{fe0f}",
        "::error::x",
        "  ::add-mask::x",
        "x ##[error]y",
        "\u{7f}\u{8}\u{0}",
        "\ttab\u{a0}space",
    ];

    fn harmless(text: &str) {
        for line in text.split('\n') {
            assert!(line.chars().all(visible), "{line:?}");
            assert!(!line.trim_start().starts_with("::"), "{line:?}");
            assert!(!line.contains("##["), "{line:?}");
        }
    }

    #[test]
    fn whatever_is_put_in_stays_in_its_line_and_is_seen() {
        for hostile in HOSTILE {
            let text = shown!("{}\n  {:>30} {:?}\n{}", hostile, hostile, hostile, hostile);
            harmless(&text.finished());
            assert_eq!(text.finished().lines().count(), 3, "{hostile:?}");
            // Put in once more it is as it was.
            assert_eq!(shown!("{}", text).finished(), text.finished());
            assert_eq!(shown!("{}", &text).finished(), text.finished());
            harmless(&lines("", &format!("{hostile}\n{hostile}")).finished());
            harmless(&lines("  ", hostile).finished());
            assert!(name(hostile).chars().all(visible));
            // As a message of a command it is on one line.
            assert_eq!(shown!("{}", hostile).message().lines().count(), 1);
        }
        // Over the border of two pieces.
        harmless(&shown!("{}{}", "#", "#[error]").finished());
        harmless(&shown!("{}{}", ":", ":error::").finished());
        harmless(&shown!("{}:error::", ":").finished());
        for plain in ["äöü ßø 漢字 क्ष ไทย é", "e\u{301}", "🚀", "a::b", "`x`\\n"]
        {
            assert_eq!(shown!("{}", plain).finished(), plain);
        }
    }

    #[test]
    fn json_means_the_same_and_is_seen() {
        for hostile in HOSTILE {
            let value = serde_json::json!({ hostile: [hostile, 1] });
            let text = as_json(&value).finished();
            harmless(&text);
            assert_eq!(text.lines().count(), 1);
            assert_eq!(
                serde_json::from_str::<serde_json::Value>(&text).unwrap(),
                value
            );
            let pretty = as_json_text(&serde_json::to_string_pretty(&value).unwrap()).finished();
            assert_eq!(
                serde_json::from_str::<serde_json::Value>(&pretty).unwrap(),
                value
            );
        }
    }

    #[test]
    fn a_long_piece_is_cut_and_that_is_said() {
        assert_eq!(shown!("{}", "x".repeat(PIECE)).width(), PIECE);
        let cut = shown!("{}", "ä".repeat(PIECE)).finished();
        assert!(cut.ends_with(" … and 16384 more bytes"), "{cut}");
        assert_eq!(cut.matches('ä').count(), PIECE / 2);
    }

    #[test]
    fn a_diagnostic_is_drawn_over_what_can_be_seen() {
        for hostile in HOSTILE {
            let text = format!("name = \"{hostile}\"\n# {hostile}\n\"{hostile}\" = 1\n");
            for found in runbook::check(&text).unwrap_err() {
                let drawn = diagnostic(&found, &text, hostile, false).finished();
                for line in drawn.lines() {
                    assert!(line.chars().all(|c| visible(c) || c == '\t'), "{line:?}");
                }
            }
        }
    }
}
