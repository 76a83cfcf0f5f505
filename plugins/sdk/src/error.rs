//! Why something did not succeed.

use std::fmt;

use serde::Serialize;

use crate::bindings::groundcrew::host::operations::Failure;
use crate::bindings::groundcrew::host::types::{Problem, ProblemKind};

/// The result of most functions here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an effect did not succeed. The cases are those of the contract's `failure`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The grant, the policy or a limit does not allow it. Nothing happened.
    Denied,
    /// The app, Machine or lease does not exist.
    NotFound,
    /// Something else holds or changed the target.
    Conflict,
    /// Still refused for its rate after the host's retries.
    RateLimited,
    /// No room on the host or in the region.
    Capacity,
    /// What was awaited did not happen in time.
    Timeout,
    /// The service or the Machine's host did not answer.
    Unavailable,
    /// The app is at fault. Never retried by anyone.
    Application,
    /// The run is being interrupted.
    Cancelled,
    /// The request or the input makes no sense.
    Invalid,
    /// None of these.
    Other,
}

/// A failure, which is also what a plugin ends with: `?` passes it on, and
/// [`with_output`](Error::with_output) says what was done before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    kind: Kind,
    message: String,
    output: Option<String>,
}

impl Error {
    /// A failure with a sentence for a person.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            output: None,
        }
    }

    /// The input makes no sense.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, message)
    }

    /// The app that was worked on is at fault.
    pub fn application(message: impl Into<String>) -> Self {
        Self::new(Kind::Application, message)
    }

    pub(crate) fn other(code: &str, message: &str) -> Self {
        Self::new(Kind::Other, format!("{message} ({code})"))
    }

    /// Which kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The sentence for a person.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// JSON of what was done before the failure.
    #[must_use]
    pub fn output(&self) -> Option<&str> {
        self.output.as_deref()
    }

    /// Adds what was done before the failure, of the same type as the plugin's output.
    #[must_use]
    pub fn with_output(mut self, output: &impl Serialize) -> Self {
        self.output = serde_json::to_string(output).ok();
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Denied(message) => Self::new(Kind::Denied, message),
            Failure::NotFound(message) => Self::new(Kind::NotFound, message),
            Failure::Conflict(message) => Self::new(Kind::Conflict, message),
            Failure::RateLimited(message) => Self::new(Kind::RateLimited, message),
            Failure::Capacity(message) => Self::new(Kind::Capacity, message),
            Failure::Timeout(message) => Self::new(Kind::Timeout, message),
            Failure::Unavailable(message) => Self::new(Kind::Unavailable, message),
            Failure::Application(message) => Self::new(Kind::Application, message),
            Failure::Cancelled(message) => Self::new(Kind::Cancelled, message),
            Failure::Invalid(message) => Self::new(Kind::Invalid, message),
            Failure::Other(other) => Self::other(&other.code, &other.message),
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let kind = match error.kind {
            // A conflict passes as well: whoever holds the lease will let go of it.
            Kind::Conflict
            | Kind::RateLimited
            | Kind::Capacity
            | Kind::Timeout
            | Kind::Unavailable => ProblemKind::Transient,
            Kind::Application => ProblemKind::Application,
            Kind::Cancelled => ProblemKind::Cancelled,
            Kind::Invalid => ProblemKind::Invalid,
            Kind::Denied | Kind::NotFound | Kind::Other => ProblemKind::Other,
        };
        Self {
            kind,
            message: error.message,
            output: error.output,
        }
    }
}
