//! Sending a checkpoint to a webhook.

use std::time::Duration;

use reqwest::Url;

use super::{AuditError, Signed};
use crate::service::client;
use crate::target::is_loopback;

/// How long a webhook has to take it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends a signed checkpoint, as text, with POST. A checkpoint holds nothing secret; where it is kept
/// matters, so the address has `https`, or is on loopback.
///
/// # Errors
/// If the address is none, or it is not taken (any answer but a 2xx) within ten seconds.
pub async fn publish(to: &str, signed: &Signed) -> Result<(), AuditError> {
    let trouble = |e: String| AuditError::Files(format!("the webhook does not take it: {e}"));
    let url: Url = to
        .parse()
        .map_err(|e| AuditError::Malformed(format!("`{to}` is no address: {e}")))?;
    if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback(&url)) {
        return Err(AuditError::Malformed(
            "a webhook has `https`, or is on loopback".to_owned(),
        ));
    }
    let tls = client::tls().map_err(trouble)?;
    let client = client::builder().tls_backend_preconfigured(tls).build();
    let sent = client
        .map_err(|e| trouble(e.to_string()))?
        .post(url)
        .header("content-type", "text/plain; charset=utf-8")
        .timeout(PATIENCE)
        .body(signed.note.clone())
        .send();
    let answer = sent
        .await
        .map_err(|e| trouble(e.without_url().to_string()))?;
    match answer.status() {
        status if status.is_success() => Ok(()),
        status => Err(trouble(format!("it answers {status}"))),
    }
}
