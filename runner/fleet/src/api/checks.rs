//! Health checks as the API shows them. What one says, and when, is the model: `checks.rs` above.

use serde::{Deserialize, Serialize};

use super::lax;
use crate::Time;

/// The prefix of checks that Fly's API layer makes up for old clients; fly-go drops them too.
const FAKE_PREFIX: &str = "bg_deployments_compat";

/// Whether a check of this name is one that Fly makes up and that says nothing about the app.
pub fn is_fake_check(name: &str) -> bool {
    name.starts_with(FAKE_PREFIX)
}

/// What a check last reported.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum CheckResult {
    /// It passed.
    Passing,
    /// It has not run yet, or is close to failing.
    Warning,
    /// It failed.
    Critical,
    /// A word that this version does not know.
    Unknown,
}

impl CheckResult {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            CheckResult::Passing => "passing",
            CheckResult::Warning => "warning",
            CheckResult::Critical => "critical",
            CheckResult::Unknown => "unknown",
        }
    }
}

/// One check's last result. It outlives restarts: compare [`CheckStatus::updated`] with the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckStatus {
    /// The check's name; those of services are `servicecheck-NN-TYPE-PORT`.
    #[serde(deserialize_with = "lax")]
    pub name: String,
    /// `passing`, `warning` or `critical`.
    #[serde(deserialize_with = "lax")]
    pub status: String,
    /// What the check printed.
    #[serde(deserialize_with = "lax")]
    pub output: String,
    /// RFC 3339.
    #[serde(deserialize_with = "lax")]
    pub updated_at: String,
}

impl CheckStatus {
    /// The status as a type.
    pub fn result(&self) -> CheckResult {
        match self.status.as_str() {
            "passing" => CheckResult::Passing,
            "warning" => CheckResult::Warning,
            "critical" => CheckResult::Critical,
            _ => CheckResult::Unknown,
        }
    }

    /// When the result was written.
    pub fn updated(&self) -> Option<Time> {
        Time::parse(&self.updated_at)
    }
}
