//! What comes out, and when the step counts as failed.

use groundcrew_plugin::{Checked, Error, Kind, Result};
use schemars::JsonSchema;
use serde::Serialize;

use crate::Watched;

/// What became of every URL.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Report {
    /// In the order of the input.
    pub urls: Vec<UrlReport>,
    /// How many of them answer as expected.
    pub passed: u32,
}

/// What became of one URL.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct UrlReport {
    /// The URL.
    pub url: String,
    /// It answers as expected.
    pub passed: bool,
    /// The status of the last look; none if that had no answer.
    pub status: Option<u16>,
    /// How many looks there were.
    pub looks: u32,
    /// How long the last answer took, in milliseconds; none if there was none.
    pub elapsed_ms: Option<u64>,
    /// Why it did not pass.
    pub reason: Option<String>,
}

impl UrlReport {
    pub(crate) fn of(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            passed: false,
            status: None,
            looks: 0,
            elapsed_ms: None,
            reason: None,
        }
    }

    pub(crate) fn saw(&mut self, looked: &Result<Checked>) {
        let answer = looked.as_ref().ok();
        self.looks = self.looks.saturating_add(1);
        self.status = answer.map(|it| it.status);
        self.elapsed_ms = answer.map(|it| it.elapsed_ms);
    }

    pub(crate) fn ends(mut self, error: Option<Error>) -> Watched {
        self.passed = error.is_none();
        self.reason = error.as_ref().map(Error::to_string);
        Watched {
            report: self,
            failed: error.as_ref().map(Error::kind),
        }
    }
}

/// Makes the report, and a failure of the step that carries it unless all have passed.
pub(crate) fn conclude(watched: Vec<Watched>) -> Result<Report> {
    let kinds: Vec<Kind> = watched.iter().filter_map(|it| it.failed).collect();
    let urls: Vec<UrlReport> = watched.into_iter().map(|it| it.report).collect();
    let passed = urls.iter().filter(|it| it.passed).count();
    let report = Report {
        passed: u32::try_from(passed).unwrap_or(u32::MAX),
        urls,
    };
    if kinds.is_empty() {
        return Ok(report);
    }
    // What does not answer within its time is the app's fault, whatever the last look came to.
    let others = [Kind::Cancelled, Kind::Denied, Kind::Invalid];
    let kind = others.into_iter().find(|kind| kinds.contains(kind));
    let kind = kind.unwrap_or(Kind::Application);
    Err(Error::new(kind, report.failure()).with_output(&report))
}

impl Report {
    /// One sentence about what went wrong.
    fn failure(&self) -> String {
        let first = self.urls.iter().find(|it| !it.passed);
        let why = first.and_then(|it| Some(format!("; {}: {}", it.url, it.reason.as_ref()?)));
        format!(
            "{} of {} answer as expected{}",
            self.passed,
            self.urls.len(),
            why.unwrap_or_default()
        )
    }
}
