//! Errors of the API: the body on the wire, and the body with its status.

use serde::{Deserialize, Serialize};

use super::lax;

/// The body of a refusal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorResponse {
    /// What went wrong, in words.
    #[serde(deserialize_with = "lax")]
    pub error: String,
    /// `unknown` or `insufficient_capacity`, where Fly gives one: its document knows no others, and
    /// other codes stand at the beginning of the wording.
    #[serde(deserialize_with = "lax", skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// A better wording, where Fly gives one.
    #[serde(deserialize_with = "lax", skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl ErrorResponse {
    /// The wording to show: fly-go prefers `message` over `error`.
    pub fn wording(&self) -> &str {
        self.message
            .as_deref()
            .filter(|text| !text.is_empty())
            .unwrap_or(&self.error)
    }
}

/// A refusal with its HTTP status.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{status}: {}", body.wording())]
pub struct ApiError {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: ErrorResponse,
    /// Seconds of a `Retry-After` header, if there was one.
    pub retry_after: Option<u64>,
}

impl ApiError {
    /// A refusal with this status and wording.
    pub fn new(status: u16, error: impl Into<String>) -> ApiError {
        let body = ErrorResponse {
            error: error.into(),
            ..ErrorResponse::default()
        };
        ApiError {
            status,
            body,
            retry_after: None,
        }
    }

    /// Too many requests. That the code stands before the wording, as it does elsewhere, is assumed.
    pub fn rate_limited() -> ApiError {
        ApiError::new(429, "resource_exhausted: rate limit exceeded")
    }

    /// There is no room for one more Machine. The wording is that of a production client's table
    /// (Kilo-Org/cloud 787), the code that of a fixture of fly-go.
    pub(crate) fn insufficient_capacity() -> ApiError {
        ApiError::new(412, "insufficient resources available to fulfill request")
            .with_code("insufficient_capacity")
    }

    /// The same with the body's `status` code.
    #[must_use]
    pub fn with_code(mut self, code: &str) -> ApiError {
        self.body.status = Some(code.to_owned());
        self
    }

    /// The same with a `Retry-After` of so many seconds.
    #[must_use]
    pub fn with_retry_after(mut self, seconds: u64) -> ApiError {
        self.retry_after = Some(seconds);
        self
    }
}
