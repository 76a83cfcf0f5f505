//! The Machines API over HTTP. One request in, one answer out; no retries here.
//!
//! Facts: Fly's OpenAPI document and documentation, and flyctl's and fly-go's sources for what the
//! document leaves out. `lanes.rs` has the connections, `trouble.rs` what goes wrong. Every request carries the id of the effect it serves in
//! the header [`EFFECT_HEADER`].

use std::fmt;
use std::time::Duration;

use groundcrew_fleet::api::{
    CreateRequest, Event, ExecResponse, Lease, LeaseEnvelope, LeaseRequest, Machine,
    MachineVersion, OrgMachines, StartResponse, UpdateRequest, WaitQuery, WaitResponse,
};
use reqwest::{Method, RequestBuilder, StatusCode, Url, header};
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde_json::{Value, json};

use super::api::{Answer, Api, At, Command, Each, Everything};
use super::lanes::{Answered, Lanes};
use super::trouble::{Trouble, refusal, unanswered};
use crate::bindings::Failure;
use crate::bindings::machines::ExecOptions;
use crate::client;
use crate::deadline::{Deadline, WRITE};
use crate::effect::EffectId;
use crate::target::Target;

/// Says for which effect a request is made: `run/step/number`.
pub const EFFECT_HEADER: &str = "groundcrew-effect";

/// Carries a lease's nonce. (OpenAPI document.)
const NONCE_HEADER: &str = "fly-machine-lease-nonce";

/// A read other than a long poll is given up after this long: longer than Fly takes to talk to a
/// slow host. A write has [`WRITE`].
const READ: Duration = Duration::from_secs(30);

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
    lanes: Lanes,
    base: Url,
    organisation: Option<String>,
    authorization: Option<header::HeaderValue>,
    scale: f64,
    deadline: Deadline,
}

impl Http {
    pub(super) fn new(target: &Target, deadline: Deadline) -> Result<Self, String> {
        let lanes = Lanes::new(client::builder, target.http2)
            .map_err(|e| format!("no HTTP client can be made: {e}"))?;
        let authorization = target
            .credential
            .as_ref()
            .map(|secret| authorization(secret.expose()))
            .transpose()?;
        Ok(Self {
            lanes,
            base: target.machines_api.clone(),
            organisation: target.organisation.clone(),
            authorization,
            scale: target.time_scale.max(f64::MIN_POSITIVE),
            deadline,
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
        let patience = if method == Method::GET { READ } else { WRITE };
        let mut request = self
            .lanes
            .client()
            .request(method, url)
            .timeout(patience)
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

/// The most of an error's text that is read: more is no use.
const REFUSAL_BYTES: usize = 64 << 10;

impl Http {
    /// The one place from which requests leave.
    async fn execute(&self, request: RequestBuilder) -> Result<Answered, Trouble> {
        let request = request.build().map_err(|e| unanswered(&e))?;
        if request.method() != Method::GET {
            self.deadline.check().map_err(Trouble::refused)?;
        }
        let answered = self.lanes.send(request).await;
        answered.map_err(|e| unanswered(&e))
    }

    async fn send(&self, request: RequestBuilder) -> Result<Answered, Trouble> {
        let answered = self.execute(request).await?;
        if answered.response.status().is_success() {
            Ok(answered)
        } else {
            Err(refused(answered).await)
        }
    }

    async fn read<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Trouble> {
        let body = body(self.send(request).await?, ANSWER_BYTES).await?;
        serde_json::from_slice(&body).map_err(|e| unreadable(&e))
    }
}

async fn refused(answered: Answered) -> Trouble {
    let status = answered.response.status();
    let headers = answered.response.headers().clone();
    let body = body(answered, REFUSAL_BYTES).await.unwrap_or_default();
    refusal(status, &headers, &body)
}

fn unreadable(e: &serde_json::Error) -> Trouble {
    Trouble {
        failure: Failure::Unavailable(format!(
            "the answer is not what the Machines API answers: {e}"
        )),
        may_have_happened: true,
        transient: true,
        retry_after: None,
    }
}

async fn body(mut answered: Answered, most: usize) -> Result<Vec<u8>, Trouble> {
    let response = &mut answered.response;
    let announced = response.content_length().unwrap_or(0);
    let mut body = Vec::with_capacity(usize::try_from(announced).unwrap_or(most).min(most));
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

/// Reads a list of Machines one by one: thousands of them with their configurations are large, and
/// nobody needs them all at once.
struct OneByOne<'a>(&'a Each<'a>);

impl<'de> DeserializeSeed<'de> for OneByOne<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for OneByOne<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of Machines")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(machine) = list.next_element::<Machine>()? {
            (self.0)(machine);
        }
        Ok(())
    }
}

fn leased(request: RequestBuilder, nonce: Option<&str>) -> RequestBuilder {
    match nonce {
        Some(nonce) => request.header(NONCE_HEADER, nonce),
        None => request,
    }
}

fn seconds(duration: Duration) -> String {
    format!("{}s", duration.as_secs_f64().ceil().max(1.0))
}

impl Api for Http {
    fn list<'a>(
        &'a self,
        effect: &'a EffectId,
        app: &'a str,
        each: &'a Each<'a>,
    ) -> Answer<'a, ()> {
        Box::pin(async move {
            let request = self.request(Method::GET, &["apps", app, "machines"], effect)?;
            let body = body(self.send(request).await?, ANSWER_BYTES).await?;
            let mut json = serde_json::Deserializer::from_slice(&body);
            OneByOne(each)
                .deserialize(&mut json)
                .and_then(|()| json.end())
                .map_err(|e| unreadable(&e))
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
                let page: OrgMachines = self.read(request).await?;
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
        Box::pin(async move { self.read(self.machine(Method::GET, at, &[])?).await })
    }

    fn events<'a>(&'a self, at: At<'a>, limit: u32) -> Answer<'a, Vec<Event>> {
        Box::pin(async move {
            let request = self.machine(Method::GET, at, &["events"])?;
            self.read(request.query(&[("limit", limit)])).await
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
                Command::Destroy { force } => self
                    .machine(Method::DELETE, at, &[])?
                    .query(&[("force", force)]),
                Command::SetMetadata(patch) => {
                    self.machine(Method::PATCH, at, &["metadata"])?.json(patch)
                }
            };
            request = leased(request, nonce);
            let response = self.send(request).await?;
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

    fn versions<'a>(&'a self, at: At<'a>) -> Answer<'a, Vec<MachineVersion>> {
        Box::pin(async move {
            let request = self.machine(Method::GET, at, &["versions"])?;
            self.read(request).await
        })
    }

    fn update<'a>(
        &'a self,
        at: At<'a>,
        request: &'a UpdateRequest,
        nonce: Option<&'a str>,
    ) -> Answer<'a, Machine> {
        Box::pin(async move {
            let sent = self.machine(Method::POST, at, &[])?.json(request);
            self.read(leased(sent, nonce)).await
        })
    }

    fn create<'a>(
        &'a self,
        effect: &'a EffectId,
        app: &'a str,
        request: &'a CreateRequest,
    ) -> Answer<'a, Machine> {
        Box::pin(async move {
            let path = ["apps", app, "machines"];
            let sent = self.request(Method::POST, &path, effect)?.json(request);
            self.read(sent).await
        })
    }

    fn exec<'a>(&'a self, at: At<'a>, options: &'a ExecOptions) -> Answer<'a, ExecResponse> {
        Box::pin(async move {
            let timeout = Duration::from_millis(options.timeout_ms);
            let seconds = timeout.as_secs().max(1);
            let body = json!({ "command": options.command, "timeout": seconds });
            let sent = self.machine(Method::POST, at, &["exec"])?.json(&body);
            let patience = timeout.div_f64(self.scale) + WRITE;
            self.read(sent.timeout(patience)).await
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
            let answered = self.execute(request).await?;
            if answered.response.status() == StatusCode::REQUEST_TIMEOUT {
                return Ok(None);
            }
            if !answered.response.status().is_success() {
                return Err(refused(answered).await);
            }
            let body = body(answered, ANSWER_BYTES).await?;
            serde_json::from_slice(&body)
                .map(Some)
                .map_err(|e| unreadable(&e))
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
            let request = self.machine(Method::POST, at, &["lease"])?.json(&body);
            let envelope: LeaseEnvelope = self.read(leased(request, nonce)).await?;
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
            match self
                .read::<LeaseEnvelope>(self.machine(Method::GET, at, &["lease"])?)
                .await
            {
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
            match self
                .send(
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
