//! A service that is spoken to over HTTP with the target's credential. One request in, one answer
//! out; no retries here.
//!
//! Every request carries the id of the effect it serves in the header [`EFFECT_HEADER`].

pub(crate) mod client;
pub(crate) mod lanes;
pub(crate) mod retry;
pub(crate) mod trouble;

use std::sync::OnceLock;
use std::time::Duration;

use reqwest::{Method, RequestBuilder, Url, header};
use serde::de::DeserializeOwned;

use crate::capability::Setting;
use crate::contract::Failure;
use crate::deadline::{Deadline, WRITE};
use crate::effect::EffectId;
use crate::service::lanes::{Answered, Lanes};
use crate::service::trouble::{Trouble, refusal, unanswered};
use crate::target::Target;

/// Says for which effect a request is made: `run/step/number`.
pub const EFFECT_HEADER: &str = "groundcrew-effect";

/// A read other than a long poll is given up after this long: longer than Fly takes to talk to a
/// slow host. A write has [`WRITE`].
const READ: Duration = Duration::from_secs(30);

/// The most of an error's text that is read: more is no use.
const REFUSAL_BYTES: usize = 64 << 10;

pub(crate) struct Service {
    lanes: Lanes,
    base: Url,
    authorization: Option<header::HeaderValue>,
    deadline: Deadline,
}

impl Service {
    /// The service at an address, with the target's credential if that may go there.
    pub(crate) fn new(target: &Target, base: &Url, deadline: Deadline) -> Result<Self, String> {
        let http2 = target.http2 && base.origin() == target.machines_api.origin();
        let lanes = Lanes::new(client::builder, http2)
            .map_err(|e| format!("no HTTP client can be made: {e}"))?;
        let authorization = target
            .credential_for(base)
            .map(|secret| authorization(secret.expose()))
            .transpose()?;
        Ok(Self {
            lanes,
            base: base.clone(),
            authorization,
            deadline,
        })
    }

    pub(crate) fn request(
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
            .pop_if_empty()
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

    /// The one place from which requests leave.
    pub(crate) async fn execute(&self, request: RequestBuilder) -> Result<Answered, Trouble> {
        let request = request.build().map_err(|e| unanswered(&e))?;
        if request.method() != Method::GET {
            self.deadline.check().map_err(Trouble::refused)?;
        }
        let answered = self.lanes.send(request).await;
        answered.map_err(|e| unanswered(&e))
    }

    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Answered, Trouble> {
        let answered = self.execute(request).await?;
        if answered.response.status().is_success() {
            Ok(answered)
        } else {
            Err(refused(answered).await)
        }
    }

    /// Reads an answer of at most `most` bytes.
    pub(crate) async fn read<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
        most: usize,
    ) -> Result<T, Trouble> {
        let body = body(self.send(request).await?, most).await?;
        serde_json::from_slice(&body).map_err(|e| unreadable(&e))
    }
}

/// A service that is made when it is needed: few runs speak to it.
pub(crate) struct LazyService {
    target: Target,
    base: Url,
    deadline: Deadline,
    made: OnceLock<Result<Service, String>>,
}

impl LazyService {
    /// As [`Service::new`], later.
    pub(crate) fn new(setting: &Setting, base: &Url) -> Self {
        Self {
            target: setting.target.clone(),
            base: base.clone(),
            deadline: setting.deadline.clone(),
            made: OnceLock::new(),
        }
    }

    /// The service.
    pub(crate) fn get(&self) -> Result<&Service, Trouble> {
        let make = || Service::new(&self.target, &self.base, self.deadline.clone());
        let made = self.made.get_or_init(make).as_ref();
        made.map_err(|why| Trouble::refused(Failure::other("client", why.clone())))
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

pub(crate) async fn refused(answered: Answered) -> Trouble {
    let status = answered.response.status();
    let headers = answered.response.headers().clone();
    let body = body(answered, REFUSAL_BYTES).await.unwrap_or_default();
    refusal(status, &headers, &body)
}

pub(crate) fn unreadable(e: &serde_json::Error) -> Trouble {
    Trouble {
        failure: Failure::Unavailable(format!("the answer is not what this service answers: {e}")),
        may_have_happened: true,
        transient: true,
        retry_after: None,
    }
}

pub(crate) async fn body(mut answered: Answered, most: usize) -> Result<Vec<u8>, Trouble> {
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
