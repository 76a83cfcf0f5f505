//! What Fly's refusals mean, of Fly and of the model alike.
//!
//! Facts: the statuses of Fly's OpenAPI document, and the texts that flyctl's and fly-go's sources
//! look for.

use groundcrew::Failure;
use groundcrew::json;
use groundcrew::service::trouble::{Trouble, retry_after};
use groundcrew_fleet::api::ErrorResponse;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;

/// Characters of what the API itself says. It is journalled and printed.
const MOST: usize = 1000;

/// An answer that says no, with what of its body was read.
pub(crate) fn refusal(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Trouble {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let said: ErrorResponse = json::parse(body).unwrap_or_else(|_| ErrorResponse {
        // Not the API's own words: a proxy's, say. A line of them is enough.
        error: String::from_utf8_lossy(body)
            .trim()
            .chars()
            .take(200)
            .collect(),
        ..ErrorResponse::default()
    });
    let mut trouble = answered(status.as_u16(), &said);
    trouble.retry_after = retry_after(headers);
    if let (Some(id), Failure::Unavailable(text)) = (header("fly-request-id"), &mut trouble.failure)
        && status.is_server_error()
    {
        text.push_str(&format!(" (fly-request-id {id})"));
    }
    trouble
}

/// States that a Machine passes through by itself.
const PASSING: [&str; 8] = [
    "creating",
    "created",
    "starting",
    "stopping",
    "restarting",
    "suspending",
    "updating",
    "replacing",
];

/// What a status and its text mean, of Fly and of the model alike.
pub(crate) fn answered(status: u16, said: &ErrorResponse) -> Trouble {
    let text = match said.wording() {
        "" => StatusCode::from_u16(status)
            .ok()
            .and_then(|status| status.canonical_reason())
            .unwrap_or("no reason given"),
        text => text,
    };
    let shown: String = text.chars().take(MOST).collect();
    let full = |what: &str| format!("{what} (status {status}): {shown}");
    let has = |needle: &str| text.contains(needle);
    let capacity = said.status.as_deref() == Some("insufficient_capacity")
        || has("insufficient resources")
        || has("insufficient memory")
        || has("over the allowed quota")
        || has("no capacity");
    let (failure, may_have_happened, transient) = match status {
        401 => (
            Failure::Denied(full("the token is missing or not valid")),
            false,
            false,
        ),
        _ if capacity => (Failure::Capacity(full("no room")), false, false),
        403 => (
            Failure::Denied(full("the token does not allow this")),
            false,
            false,
        ),
        404 => (Failure::NotFound(full("not found")), false, false),
        409 if has("concurrent update") => (
            Failure::Conflict(full("another change of this Machine is under way")),
            false,
            true,
        ),
        409 => (Failure::Conflict(full("conflict")), false, false),
        // On its way to somewhere: it takes this once it is there.
        412 if PASSING
            .iter()
            .any(|state| has(&format!("current state: '{state}'"))) =>
        {
            (
                Failure::Conflict(full("the Machine is on its way")),
                false,
                true,
            )
        }
        412 => (
            Failure::Conflict(full("the Machine has changed")),
            false,
            false,
        ),
        429 => (Failure::RateLimited(full("asked too often")), false, true),
        408 => (
            Failure::Unavailable(full("Fly did not hear from the host in time")),
            true,
            true,
        ),
        _ if has("temporarily disabled") => (
            Failure::Unavailable(full("the host takes no changes")),
            false,
            true,
        ),
        500.. => (Failure::Unavailable(full("the service failed")), true, true),
        _ => (Failure::Invalid(full("refused")), false, false),
    };
    Trouble {
        failure,
        may_have_happened,
        transient,
        retry_after: None,
    }
}
