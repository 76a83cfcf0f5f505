//! The Machines API over HTTP. One request in, one answer out; no retries here.
//!
//! Facts: Fly's OpenAPI document and documentation, and flyctl's and fly-go's sources for status
//! codes that the document leaves out. Every request carries the id of the effect it serves in
//! the header [`EFFECT_HEADER`].

use std::error::Error as _;
use std::time::Duration;

use groundcrew_fleet::api::{
    ErrorResponse, Event, Lease, LeaseEnvelope, LeaseRequest, Machine, OrgMachines, StartResponse,
    WaitQuery, WaitResponse,
};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url, header};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::api::{Answer, Api, At, Command, Everything, Trouble};
use crate::bindings::Failure;
use crate::effect::EffectId;
use crate::target::Target;

/// Says for which effect a request is made: `run/step/number`.
pub const EFFECT_HEADER: &str = "groundcrew-effect";

/// Carries a lease's nonce. (OpenAPI document.)
const NONCE_HEADER: &str = "fly-machine-lease-nonce";

/// A request other than a long poll is given up after this long: longer than Fly takes to talk to
/// a slow host. What it did is then found out.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// A long poll may be answered this much later than it asked.
const LONG_POLL_SLACK: Duration = Duration::from_secs(10);

/// The longest wait that Fly accepts: above it answers 400.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// No answer may be larger. A listing of 10,000 Machines has about 40 MB.
const ANSWER_BYTES: usize = 128 << 20;

/// How many Machines of the organisation to ask for at once. (Documented maximum.)
const ORGANISATION_PAGE: usize = 1000;

/// How many pages of an organisation are read before we call it endless.
const ORGANISATION_PAGES: usize = 1000;

pub(super) struct Http {
    client: Client,
    base: Url,
    organisation: Option<String>,
    authorization: Option<header::HeaderValue>,
    scale: f64,
}

impl Http {
    pub(super) fn new(target: &Target) -> Result<Self, String> {
        // Another part of the program may have installed the same provider before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .user_agent(concat!("groundcrew/", env!("CARGO_PKG_VERSION")))
            // A credential follows nobody anywhere.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .tcp_nodelay(true)
            .connect_timeout(Duration::from_secs(10))
            .pool_idle_timeout(Duration::from_secs(30))
            .build()
            .map_err(|e| format!("no HTTP client can be made: {e}"))?;
        let authorization = target
            .credential
            .as_ref()
            .map(|secret| authorization(secret.expose()))
            .transpose()?;
        Ok(Self {
            client,
            base: target.machines_api.clone(),
            organisation: target.organisation.clone(),
            authorization,
            scale: target.time_scale.max(f64::MIN_POSITIVE),
        })
    }

    fn request(
        &self,
        method: Method,
        path: &[&str],
        effect: &EffectId,
    ) -> Result<RequestBuilder, Trouble> {
        let mut url = self.base.clone();
        // Segments are escaped one by one: a name cannot lead to another route.
        if path
            .iter()
            .any(|segment| matches!(*segment, "" | "." | ".."))
        {
            return Err(Trouble::refused(Failure::Invalid(format!(
                "`{}` is not a name",
                path.join("/")
            ))));
        }
        url.path_segments_mut()
            .map_err(|()| Trouble::refused(Failure::Invalid("the target has no path".to_owned())))?
            .push("v1")
            .extend(path);
        let mut request = self
            .client
            .request(method, url)
            .timeout(REQUEST_TIMEOUT)
            .header(EFFECT_HEADER, effect.to_string());
        if let Some(value) = &self.authorization {
            request = request.header(header::AUTHORIZATION, value.clone());
        }
        Ok(request)
    }

    fn machine(
        &self,
        method: Method,
        at: At<'_>,
        rest: &[&str],
    ) -> Result<RequestBuilder, Trouble> {
        let path: Vec<&str> = ["apps", at.app, "machines", at.id]
            .iter()
            .chain(rest)
            .copied()
            .collect();
        self.request(method, &path, at.effect)
    }
}

fn authorization(token: &str) -> Result<header::HeaderValue, String> {
    let fly = |part: &str| {
        ["fm1r_", "fm1a_", "fm2_"]
            .iter()
            .any(|prefix| part.trim().starts_with(prefix))
    };
    let text = if token.starts_with("FlyV1 ") || token.starts_with("Bearer ") {
        token.to_owned()
    } else if token.split(',').any(fly) {
        // As fly-go: the macaroons among several tokens, and nothing else.
        format!(
            "FlyV1 {}",
            token
                .split(',')
                .map(str::trim)
                .filter(|part| fly(part))
                .collect::<Vec<_>>()
                .join(",")
        )
    } else {
        format!("Bearer {token}")
    };
    let mut value = header::HeaderValue::from_str(&text)
        .map_err(|_| "the token holds characters that no header can carry".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

async fn send(request: RequestBuilder) -> Result<Response, Trouble> {
    let response = request.send().await.map_err(|e| unanswered(&e))?;
    if response.status().is_success() {
        Ok(response)
    } else {
        Err(refusal(response).await)
    }
}

async fn json_of<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, Trouble> {
    let body = body(send(request).await?, ANSWER_BYTES).await?;
    serde_json::from_slice(&body).map_err(|e| Trouble {
        failure: Failure::Unavailable(format!(
            "the answer is not what the Machines API answers: {e}"
        )),
        may_have_happened: true,
        transient: true,
        retry_after: None,
    })
}

async fn body(mut response: Response, most: usize) -> Result<Vec<u8>, Trouble> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| unanswered(&e))? {
        if body.len() + chunk.len() > most {
            return Err(Trouble {
                failure: Failure::Unavailable(format!("the answer is larger than {most} bytes")),
                may_have_happened: true,
                transient: false,
                retry_after: None,
            });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// No answer, or half of one.
fn unanswered(e: &reqwest::Error) -> Trouble {
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

/// An answer that says no.
async fn refusal(response: Response) -> Trouble {
    let status = response.status();
    let retry_after = response
        .headers()
        .get(header::RETRY_AFTER)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.trim().parse().ok())
        .map(Duration::from_secs);
    let request_id = response
        .headers()
        .get("fly-request-id")
        .and_then(|v| v.to_str().ok())
        .map(str::to_owned);
    // An error's text is short; more of it is no use.
    let bytes = body(response, 64 << 10).await.unwrap_or_default();
    let said = serde_json::from_slice::<ErrorResponse>(&bytes).ok();
    let code = said
        .as_ref()
        .and_then(|e| e.status.clone())
        .unwrap_or_default();
    let text = said.map_or_else(
        || {
            String::from_utf8_lossy(&bytes)
                .trim()
                .chars()
                .take(200)
                .collect()
        },
        |e| e.wording().to_owned(),
    );
    let text = if text.is_empty() {
        status
            .canonical_reason()
            .unwrap_or("no reason given")
            .to_owned()
    } else {
        text
    };
    let mut trouble = classify(status, &code, &text);
    trouble.retry_after = retry_after;
    if let (Some(id), true) = (request_id, status.is_server_error()) {
        trouble.failure = match trouble.failure {
            Failure::Unavailable(text) => {
                Failure::Unavailable(format!("{text} (fly-request-id {id})"))
            }
            other => other,
        };
    }
    trouble
}

/// What a status and its text mean. The texts are those that flyctl and other clients look for.
fn classify(status: StatusCode, code: &str, text: &str) -> Trouble {
    let full = |what: &str| format!("{what} (status {}): {text}", status.as_u16());
    let has = |needle: &str| text.contains(needle);
    let capacity = code == "insufficient_capacity"
        || has("insufficient resources")
        || has("insufficient memory")
        || has("over the allowed quota")
        || has("no capacity");
    let (failure, may_have_happened, transient) = match status.as_u16() {
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
        500.. => (
            Failure::Unavailable(full("the Machines API failed")),
            true,
            true,
        ),
        _ => (Failure::Invalid(full("refused")), false, false),
    };
    Trouble {
        failure,
        may_have_happened,
        transient,
        retry_after: None,
    }
}

fn seconds(duration: Duration) -> String {
    format!("{}s", duration.as_secs_f64().ceil().max(1.0))
}

impl Api for Http {
    fn list<'a>(&'a self, effect: &'a EffectId, app: &'a str) -> Answer<'a, Vec<Machine>> {
        Box::pin(async move {
            json_of(self.request(Method::GET, &["apps", app, "machines"], effect)?).await
        })
    }

    fn list_organisation<'a>(&'a self, effect: &'a EffectId) -> Answer<'a, Everything> {
        Box::pin(async move {
            let Some(organisation) = &self.organisation else {
                return Err(Trouble::refused(Failure::Invalid(
                    "the target names no organisation".to_owned(),
                )));
            };
            let mut all = Everything::default();
            let mut cursor = String::new();
            for _ in 0..ORGANISATION_PAGES {
                let mut request =
                    self.request(Method::GET, &["orgs", organisation, "machines"], effect)?;
                request = request.query(&[("limit", ORGANISATION_PAGE.to_string())]);
                if !cursor.is_empty() {
                    request = request.query(&[("cursor", &cursor)]);
                }
                let page: OrgMachines = json_of(request).await?;
                all.machines.extend(page.machines);
                all.missing_regions.extend(page.error_regions);
                // A page may be short or empty while more remain: only the cursor tells the end.
                if page.next_cursor.is_empty() || page.next_cursor == cursor {
                    all.missing_regions.sort();
                    all.missing_regions.dedup();
                    return Ok(all);
                }
                cursor = page.next_cursor;
            }
            Err(Trouble::refused(Failure::other(
                "endless",
                format!("the organisation's listing has no end after {ORGANISATION_PAGES} pages"),
            )))
        })
    }

    fn get<'a>(&'a self, at: At<'a>) -> Answer<'a, Machine> {
        Box::pin(async move { json_of(self.machine(Method::GET, at, &[])?).await })
    }

    fn events<'a>(&'a self, at: At<'a>, limit: u32) -> Answer<'a, Vec<Event>> {
        Box::pin(async move {
            let request = self.machine(Method::GET, at, &["events"])?;
            json_of(request.query(&[("limit", limit)])).await
        })
    }

    fn command<'a>(
        &'a self,
        at: At<'a>,
        command: &'a Command,
        nonce: Option<&'a str>,
    ) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut request = match command {
                Command::Start => self.machine(Method::POST, at, &["start"])?,
                Command::Suspend => self.machine(Method::POST, at, &["suspend"])?,
                Command::Cordon => self.machine(Method::POST, at, &["cordon"])?,
                Command::Uncordon => self.machine(Method::POST, at, &["uncordon"])?,
                Command::Signal(signal) => self
                    .machine(Method::POST, at, &["signal"])?
                    .json(&json!({ "signal": signal })),
                Command::Stop(options) => {
                    let mut body = serde_json::Map::new();
                    if let Some(signal) = &options.signal {
                        body.insert("signal".to_owned(), signal.clone().into());
                    }
                    if let Some(timeout) = options.timeout_ms {
                        body.insert(
                            "timeout".to_owned(),
                            seconds(Duration::from_millis(timeout)).into(),
                        );
                    }
                    self.machine(Method::POST, at, &["stop"])?
                        .json(&Value::Object(body))
                }
                Command::Restart(options) => {
                    let mut pairs = vec![("force_stop", options.force_stop.to_string())];
                    pairs.extend(
                        options
                            .timeout_ms
                            .map(|ms| ("timeout", seconds(Duration::from_millis(ms)))),
                    );
                    pairs.extend(options.signal.clone().map(|signal| ("signal", signal)));
                    self.machine(Method::POST, at, &["restart"])?.query(&pairs)
                }
            };
            if let Some(nonce) = nonce {
                request = request.header(NONCE_HEADER, nonce);
            }
            let response = send(request).await?;
            if matches!(command, Command::Start) {
                // A start can fail with a status of 200. (fly-go reads this too.)
                let bytes = body(response, ANSWER_BYTES).await?;
                if let Ok(started) = serde_json::from_slice::<StartResponse>(&bytes)
                    && started.status.as_deref() == Some("error")
                {
                    let why = started
                        .message
                        .unwrap_or_else(|| "no reason given".to_owned());
                    return Err(Trouble::refused(Failure::other(
                        "start-failed",
                        format!("the Machine was not started: {why}"),
                    )));
                }
            }
            Ok(())
        })
    }

    fn wait<'a>(
        &'a self,
        at: At<'a>,
        wait: &'a WaitQuery,
        timeout: Duration,
    ) -> Answer<'a, Option<WaitResponse>> {
        Box::pin(async move {
            let timeout = timeout.clamp(Duration::from_secs(1), LONGEST_WAIT);
            let mut pairs = vec![
                ("timeout", timeout.as_secs().to_string()),
                ("state", wait.states.join(",")),
            ];
            pairs.extend(wait.version.clone().map(|version| ("version", version)));
            pairs.extend(wait.from_event_id.clone().map(|id| ("from_event_id", id)));
            let request = self
                .machine(Method::GET, at, &["wait"])?
                .query(&pairs)
                .timeout(timeout.div_f64(self.scale) + LONG_POLL_SLACK);
            let response = request.send().await.map_err(|e| unanswered(&e))?;
            if response.status() == StatusCode::REQUEST_TIMEOUT {
                return Ok(None);
            }
            if !response.status().is_success() {
                return Err(refusal(response).await);
            }
            let body = body(response, ANSWER_BYTES).await?;
            serde_json::from_slice(&body)
                .map(Some)
                .map_err(|e| Trouble {
                    failure: Failure::Unavailable(format!(
                        "the answer to a wait does not read: {e}"
                    )),
                    may_have_happened: false,
                    transient: true,
                    retry_after: None,
                })
        })
    }

    fn lease<'a>(
        &'a self,
        at: At<'a>,
        ttl: Duration,
        description: &'a str,
        nonce: Option<&'a str>,
    ) -> Answer<'a, Lease> {
        Box::pin(async move {
            let body = LeaseRequest {
                ttl: Some(ttl.as_secs().max(1)),
                description: Some(description.to_owned()),
            };
            let mut request = self.machine(Method::POST, at, &["lease"])?.json(&body);
            if let Some(nonce) = nonce {
                request = request.header(NONCE_HEADER, nonce);
            }
            let envelope: LeaseEnvelope = json_of(request).await?;
            envelope.data.ok_or_else(|| Trouble {
                failure: Failure::Unavailable("a lease was answered without its data".to_owned()),
                may_have_happened: true,
                transient: true,
                retry_after: None,
            })
        })
    }

    fn held_lease<'a>(&'a self, at: At<'a>) -> Answer<'a, Option<Lease>> {
        Box::pin(async move {
            match json_of::<LeaseEnvelope>(self.machine(Method::GET, at, &["lease"])?).await {
                Ok(envelope) => Ok(envelope.data),
                Err(Trouble {
                    failure: Failure::NotFound(_),
                    ..
                }) => Ok(None),
                Err(trouble) => Err(trouble),
            }
        })
    }

    fn release<'a>(&'a self, at: At<'a>, nonce: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            match send(
                self.machine(Method::DELETE, at, &["lease"])?
                    .header(NONCE_HEADER, nonce),
            )
            .await
            {
                // Gone already: expired, or an earlier try got through.
                Ok(_)
                | Err(Trouble {
                    failure: Failure::NotFound(_),
                    ..
                }) => Ok(()),
                Err(trouble) => Err(trouble),
            }
        })
    }
}
