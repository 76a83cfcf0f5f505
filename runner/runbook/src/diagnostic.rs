//! What is wrong with a runbook's text, and how it is shown.
//!
//! A [`Diagnostic`] has a stable code for machines, one lowercase sentence for people, the bytes of
//! the text that it is about, and hints that say what to do. [`render`] draws it as rustc does.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Element, Level, Renderer, Snippet};
use serde::Serialize;

use crate::limits::MAX_QUOTED;

/// Whether a runbook with this diagnostic can still be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The runbook is refused.
    Error,
    /// The runbook is accepted; its author probably meant something else.
    Warning,
}

/// The kind of a diagnostic. The names are stable: scripts match on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// The text is not TOML.
    Syntax,
    /// A bound of the language is exceeded.
    TooLarge,
    /// A key that the language does not have.
    UnknownKey,
    /// A required key is absent.
    MissingKey,
    /// A value of another type was expected.
    WrongType,
    /// A value of the right type that is not allowed there.
    InvalidValue,
    /// An id or name is not spelled as ids are.
    InvalidId,
    /// Two steps have one id.
    DuplicateId,
    /// A text is not a duration.
    InvalidDuration,
    /// An input's default breaks the input's own rules.
    InvalidDefault,
    /// `needs` names a step that does not exist.
    UnknownStep,
    /// Steps need each other in a circle.
    CyclicNeeds,
    /// An expression reads a step that its own step does not need.
    MissingNeed,
    /// An expression does not parse.
    InvalidExpression,
    /// An expression is longer or deeper than allowed.
    ExpressionTooComplex,
    /// An expression names something that does not exist.
    UnknownName,
    /// An expression uses a name where it is not allowed.
    ForbiddenName,
    /// Something is declared and never used.
    Unused,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// Bytes of the runbook's text that a diagnostic also wants to show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Related {
    /// The bytes.
    pub span: Range<usize>,
    /// What they have to do with it.
    pub label: String,
}

/// One thing that is wrong with a runbook's text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Its kind.
    pub code: Code,
    /// Whether the runbook is refused for it.
    pub severity: Severity,
    /// One lowercase sentence without a full stop.
    pub message: String,
    /// The bytes of the text that it is about.
    pub span: Range<usize>,
    /// A few words drawn beside the span; may be empty.
    pub label: String,
    /// Other places to show.
    pub related: Vec<Related>,
    /// What to do about it.
    pub hints: Vec<String>,
}

impl Diagnostic {
    /// A diagnostic that refuses the runbook.
    pub(crate) fn error(code: Code, span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            message: message.into(),
            span,
            label: String::new(),
            related: Vec::new(),
            hints: Vec::new(),
        }
    }

    pub(crate) fn warning(code: Code, span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(code, span, message)
        }
    }

    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    pub(crate) fn related(mut self, span: Range<usize>, label: impl Into<String>) -> Self {
        self.related.push(Related {
            span,
            label: label.into(),
        });
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    pub(crate) fn hints(mut self, hints: impl IntoIterator<Item = String>) -> Self {
        self.hints.extend(hints);
        self
    }
}

/// The line and column of a byte of a text, both from 1; columns count characters.
pub fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..floor(text, offset)];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (
        before.matches('\n').count() + 1,
        before[line_start..].chars().count() + 1,
    )
}

/// Draws a diagnostic over the text it is about, ending in a newline.
pub fn render(diagnostic: &Diagnostic, source: &str, filename: &str, colour: bool) -> String {
    let clip = |span: &Range<usize>| {
        let start = floor(source, span.start);
        start..floor(source, span.end).max(start)
    };
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut primary = AnnotationKind::Primary.span(clip(&diagnostic.span));
    if !diagnostic.label.is_empty() {
        primary = primary.label(diagnostic.label.as_str());
    }
    let snippet = Snippet::source(source)
        .path(filename)
        .annotation(primary)
        .annotations(diagnostic.related.iter().map(|related| {
            AnnotationKind::Context
                .span(clip(&related.span))
                .label(related.label.as_str())
        }));
    let code = diagnostic.code.to_string();
    let hints = diagnostic
        .hints
        .iter()
        .map(|hint| Element::from(Level::HELP.with_name("hint").message(hint.as_str())));
    let group = level
        .primary_title(diagnostic.message.as_str())
        .id(code.as_str())
        .element(snippet)
        .elements(hints);
    let renderer = if colour {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let mut text = renderer.render(&[group]);
    text.push('\n');
    text
}

/// The nearest character boundary at or before `offset`.
fn floor(text: &str, offset: usize) -> usize {
    text.floor_char_boundary(offset.min(text.len()))
}

/// The candidate that was probably meant, as a hint.
pub(crate) fn did_you_mean<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    nearest(word, candidates).map(|near| format!("did you mean `{near}`?"))
}

/// The candidate most like `word`, if any is like it at all: above 0.8 is a letter or two of
/// difference in words of this length, found by trying the language's own keys. For every "did you
/// mean" of the project, so that all of them guess alike.
///
/// ```
/// use groundcrew_runbook::nearest;
/// assert_eq!(nearest("restrat", ["list", "restart"]), Some("restart"));
/// assert_eq!(nearest("deploy", ["list", "restart"]), None);
/// ```
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// A text or value in a message: what is longer than anybody reads is cut.
pub(crate) fn quoted(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTED) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// `a`, `b` or `c`, in backticks.
pub(crate) fn list_of<'a>(names: impl IntoIterator<Item = &'a str>, and: &str) -> String {
    let names: Vec<_> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match names.split_last() {
        None => "nothing".to_owned(),
        Some((only, [])) => only.clone(),
        Some((last, rest)) => format!("{} {and} {last}", rest.join(", ")),
    }
}
