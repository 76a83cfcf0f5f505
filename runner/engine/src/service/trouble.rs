//! Requests that did not work out: what it was, whether it may have happened all the same, and
//! whether it is worth another try.
//!
//! What a refusal means is each service's own to say ([`Reading`]).

use std::error::Error as _;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{self, HeaderMap};

use crate::contract::Failure;

/// A request that did not work out.
#[derive(Debug, Clone)]
pub struct Trouble {
    /// What the plugin is told.
    pub failure: Failure,
    /// Whether the request may have had its effect all the same.
    pub may_have_happened: bool,
    /// Whether the same request may work a moment later.
    pub transient: bool,
    /// How long the service asked us to wait.
    pub retry_after: Option<Duration>,
}

impl Trouble {
    /// The request surely had no effect, and will not have one.
    pub fn refused(failure: Failure) -> Self {
        Self {
            failure,
            may_have_happened: false,
            transient: false,
            retry_after: None,
        }
    }
}

/// No answer, or half of one.
pub fn unanswered(e: &reqwest::Error) -> Trouble {
    let never_sent = e.is_connect() || e.is_builder();
    let what = if e.is_timeout() {
        "no answer in time"
    } else if e.is_connect() {
        "no connection"
    } else {
        "the connection broke"
    };
    let mut cause = String::new();
    let mut source = e.source();
    while let Some(inner) = source {
        cause = inner.to_string();
        source = inner.source();
    }
    let to = e.url().map_or_else(String::new, |url| {
        format!(" to {}", url.origin().ascii_serialization())
    });
    let failure = Failure::Unavailable(format!(
        "{what}{to}{}",
        if cause.is_empty() {
            cause
        } else {
            format!(" ({cause})")
        }
    ));
    Trouble {
        failure,
        may_have_happened: !never_sent,
        transient: true,
        retry_after: None,
    }
}

/// Reads an answer that says no, with what of its body was read.
pub type Reading = fn(StatusCode, &HeaderMap, &[u8]) -> Trouble;

/// By its status alone, for a service that has no words of its own.
pub fn by_status(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Trouble {
    // A line of what it says is enough.
    let text: String = String::from_utf8_lossy(body)
        .trim()
        .chars()
        .take(200)
        .collect();
    let text = format!("status {}: {text}", status.as_u16());
    let (failure, may_have_happened, transient) = match status.as_u16() {
        401 | 403 => (Failure::Denied(text), false, false),
        404 => (Failure::NotFound(text), false, false),
        409 | 412 => (Failure::Conflict(text), false, false),
        408 => (Failure::Unavailable(text), true, true),
        429 => (Failure::RateLimited(text), false, true),
        500.. => (Failure::Unavailable(text), true, true),
        _ => (Failure::Invalid(text), false, false),
    };
    Trouble {
        failure,
        may_have_happened,
        transient,
        retry_after: retry_after(headers),
    }
}

/// How long a service asks to be left alone.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let said = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    said.trim().parse().ok().map(Duration::from_secs)
}
