//! For capabilities that speak HTTP: a service with the target's credential. One request in, one
//! answer out; when something is sent again is `retry.rs`, what a refusal means `trouble.rs`.
//!
//! Every request carries the id of the effect it serves in the header [`EFFECT_HEADER`].

pub mod client;
mod lanes;
pub mod retry;
pub mod trouble;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::{Method, RequestBuilder, Url, header};
use serde::de::DeserializeOwned;

use crate::contract::Failure;
use crate::deadline::{Deadline, WRITE};
use crate::effect::{EffectId, Name, Setting};
use crate::json;
use crate::service::lanes::Lanes;
use crate::service::trouble::{Reading, Trouble, unanswered};
use crate::target::Place;

pub use crate::service::lanes::Answered;

/// Says for which effect a request is made: `run/step/number`.
pub const EFFECT_HEADER: &str = "groundcrew-effect";

/// A read other than a long poll is given up after this long: longer than Fly takes to talk to a
/// slow host. A write has [`WRITE`].
const READ: Duration = Duration::from_secs(30);

/// The most of an error's text that is read: more is no use.
const REFUSAL_BYTES: usize = 64 << 10;

/// One service of a target. Cheap to make; its connections are opened as they are needed.
pub struct Service {
    lanes: Lanes,
    base: Url,
    authorization: Option<header::HeaderValue>,
    deadline: Deadline,
    reading: Reading,
}

impl Service {
    /// The service at a place, with its credential if it has one.
    ///
    /// # Errors
    /// If there is no client to be had, or no header can carry the credential.
    pub fn new(place: &Place, deadline: Deadline, reading: Reading) -> Result<Self, String> {
        let only = place.only;
        let builder = move || match only {
            Some(only) => client::builder().dns_resolver(Arc::new(client::Only(only))),
            None => client::builder(),
        };
        let lanes = Lanes::new(Box::new(builder), place.http2)
            .map_err(|e| format!("no HTTP client can be made: {e}"))?;
        let shown = place.authorization();
        Ok(Self {
            lanes,
            base: place.url().clone(),
            authorization: shown.map(|text| header_of(&text)).transpose()?,
            deadline,
            reading,
        })
    }

    /// A request for an effect, below the service's address. A write is given up after [`WRITE`].
    ///
    /// # Errors
    /// `invalid`, if what was built is not what was asked for, or the effect's id fits into no header.
    /// Nothing is sent.
    pub fn request(
        &self,
        method: Method,
        path: &[Name<'_>],
        effect: &EffectId,
    ) -> Result<RequestBuilder, Trouble> {
        let url = below(&self.base, path).map_err(|why| Trouble::refused(Failure::Invalid(why)))?;
        let header = header::HeaderValue::from_str(&effect.to_string()).map_err(|_| {
            let why = "no header can carry the effect's id".to_owned();
            Trouble::refused(Failure::Invalid(why))
        })?;
        let patience = if method == Method::GET { READ } else { WRITE };
        let mut request = self
            .lanes
            .client()
            .request(method, url)
            .timeout(patience)
            .header(EFFECT_HEADER, header);
        if let Some(value) = &self.authorization {
            request = request.header(header::AUTHORIZATION, value.clone());
        }
        Ok(request)
    }

    /// The one place from which requests leave. An answer that says no is an answer.
    ///
    /// # Errors
    /// If there is no answer; if this process may not send a write any more ([`Deadline`]).
    pub async fn execute(&self, request: RequestBuilder) -> Result<Answered, Trouble> {
        let request = request.build().map_err(|e| unanswered(&e))?;
        if request.method() != Method::GET {
            self.deadline.check().map_err(Trouble::refused)?;
        }
        let answered = self.lanes.send(request).await;
        answered.map_err(|e| unanswered(&e))
    }

    /// Sends a request.
    ///
    /// # Errors
    /// If there is no answer, or it says no.
    pub async fn send(&self, request: RequestBuilder) -> Result<Answered, Trouble> {
        let answered = self.execute(request).await?;
        if answered.response.status().is_success() {
            Ok(answered)
        } else {
            Err(self.refused(answered).await)
        }
    }

    /// What an answer that says no means.
    pub async fn refused(&self, answered: Answered) -> Trouble {
        let status = answered.response.status();
        let headers = answered.response.headers().clone();
        let body = body(answered, REFUSAL_BYTES).await.unwrap_or_default();
        (self.reading)(status, &headers, &body)
    }

    /// Sends a request and reads the answer: JSON of at most `most` bytes.
    ///
    /// # Errors
    /// If there is no answer, it says no, or is not what was expected.
    pub async fn read<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
        most: usize,
    ) -> Result<T, Trouble> {
        let body = body(self.send(request).await?, most).await?;
        json::parse(&body).map_err(|e| unreadable(&e))
    }
}

/// A service that is made when it is needed: few runs speak to it.
pub struct LazyService {
    place: Result<Place, String>,
    deadline: Deadline,
    reading: Reading,
    made: OnceLock<Result<Service, String>>,
}

impl LazyService {
    /// As [`Service::new`], later, at a place of the target by name.
    pub fn new(setting: &Setting, place: &str, reading: Reading) -> Self {
        Self {
            place: setting.target.place(place).cloned(),
            deadline: setting.deadline.clone(),
            reading,
            made: OnceLock::new(),
        }
    }

    /// The service, made now if it is not yet.
    ///
    /// # Errors
    /// Those of [`Service::new`], as an effect fails; that the target has no such place.
    pub fn get(&self) -> Result<&Service, Trouble> {
        let make = || {
            let place = self.place.as_ref().map_err(String::clone)?;
            Service::new(place, self.deadline.clone(), self.reading)
        };
        let made = self.made.get_or_init(make).as_ref();
        made.map_err(|why| Trouble::refused(Failure::other("client", why.clone())))
    }
}

/// An address with a path below it. Read back, it has to be just that.
fn below(base: &Url, path: &[Name<'_>]) -> Result<Url, String> {
    let mut url = base.clone();
    let mut segments = url
        .path_segments_mut()
        .map_err(|()| "the target has no path".to_owned())?;
    segments
        .pop_if_empty()
        .extend(path.iter().map(|name| name.text()));
    drop(segments);
    let base = base.path_segments().into_iter().flatten();
    let asked = base
        .filter(|segment| !segment.is_empty())
        .chain(path.iter().map(|name| name.text()));
    if url.path_segments().is_some_and(|built| built.eq(asked)) {
        return Ok(url);
    }
    Err(format!("`{url}` is not the address that was asked for"))
}

fn header_of(text: &str) -> Result<header::HeaderValue, String> {
    let mut value = header::HeaderValue::from_str(text)
        .map_err(|_| "the token holds characters that no header can carry".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

/// An answer that is not of the expected form: what became of the request is not known.
pub fn unreadable(e: &serde_json::Error) -> Trouble {
    Trouble {
        failure: Failure::Unavailable(format!("the answer is not what this service answers: {e}")),
        may_have_happened: true,
        transient: true,
        retry_after: None,
    }
}

/// The body of an answer.
///
/// # Errors
/// If it breaks off, or is larger than `most` bytes.
pub async fn body(mut answered: Answered, most: usize) -> Result<Vec<u8>, Trouble> {
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
