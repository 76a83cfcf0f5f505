//! The capability `http`: looking at a web service from outside.
//!
//! A request carries nothing but its URL: no credential, no header, no body. It stays within one
//! origin, which the grant names, and goes to public addresses only, unless the verb is
//! `check-private`; where a platform tells its secrets no grant goes (`addresses.rs`).
//!
//! A rehearsal looks at the target as it is: what was done to the fork does not show there.

mod addresses;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use groundcrew::service::client;
use groundcrew::{
    BoxFuture, Capability, Clock, Covers, Effect, Executor, Failure, Linking, Outcome, RealClock,
    Request, Row, Scale, Scope, Setting, Unsaid, arguments,
};
use jiff::Timestamp;
use reqwest::{Client, Response, Url, header};
use serde::{Deserialize, Serialize};
use wasmtime::component::{ComponentType, Lift, Lower};

use crate::rates::Rate;
use addresses::{Reach, Refused, Within};

/// The longest that a check may take. (The contract.)
const LONGEST: Duration = Duration::from_secs(60);

/// The most of a body that is read. (The contract.)
const BODY_BYTES: usize = 64 << 10;

/// How many redirects are followed. (The contract.)
const REDIRECTS: usize = 5;

/// Checks of one origin a second, and at once. Ours: a look must not be a load.
const A_SECOND: u32 = 10;
const AT_ONCE: u32 = 20;

static ROWS: [Row; 2] = [
    Row {
        name: "http.check",
        verb: "check",
        waits: true,
        assumes: "the service answers as it does now",
        ..Row::READ
    },
    Row {
        name: "http.check-private",
        verb: "check-private",
        waits: true,
        assumes: "the service answers as it does now",
        ..Row::READ
    },
];

/// `http.method`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Method {
    #[component(name = "get")]
    Get,
    #[component(name = "head")]
    Head,
    #[component(name = "options")]
    Options,
}

/// `http.check-request`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct CheckRequest {
    pub(crate) url: String,
    pub(crate) method: Method,
    #[component(name = "timeout-ms")]
    pub(crate) timeout_ms: u64,
    #[component(name = "max-bytes")]
    pub(crate) max_bytes: u32,
}

/// `http.checked`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct Checked {
    pub(crate) status: u16,
    #[component(name = "content-type")]
    pub(crate) content_type: Option<String>,
    pub(crate) body: String,
    pub(crate) truncated: bool,
    #[component(name = "elapsed-ms")]
    pub(crate) elapsed_ms: u64,
}

/// The web origins that may be asked: scheme, host and port, however they are spelt.
const ORIGINS: Scope = Scope {
    key: "origins",
    one: "origin",
    covers: Covers::Same(same_origin),
    unsaid: Unsaid::Nothing,
    looked_up: false,
    about: "Web origins, such as `https://example.com`.",
};

fn same_origin(listed: &str, origin: &str) -> bool {
    let listed = Url::parse(listed).map(|url| url.origin());
    listed.is_ok_and(|listed| listed.is_tuple() && listed.ascii_serialization() == origin)
}

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub struct Http;

impl Capability for Http {
    fn name(&self) -> &'static str {
        "http"
    }

    fn interface(&self) -> &'static str {
        "groundcrew:host/http@0.1.0"
    }

    fn operations(&self) -> &'static [Row] {
        &ROWS
    }

    fn scopes(&self) -> &'static [Scope] {
        &[ORIGINS]
    }

    fn link(&self, linking: &mut Linking<'_>) -> wasmtime::Result<()> {
        let check = |row: &'static Row| {
            move |(asked,): (CheckRequest,)| {
                let origin = Url::parse(&asked.url).map(|url| url.origin().ascii_serialization());
                let request = Request::new(row).with(arguments(&asked));
                // What is no URL has no origin, and no grant covers it.
                request.at_origin(origin.unwrap_or_default())
            }
        };
        linking.operation::<(CheckRequest,), Checked>("check", check(&ROWS[0]))?;
        linking.operation::<(CheckRequest,), Checked>("check-private", check(&ROWS[1]))
    }

    fn leaves(&self) -> bool {
        true
    }

    fn executor(&self, setting: &Setting) -> Result<Arc<dyn Executor>, String> {
        let places = setting.target.places();
        let places = places.map(|(_, place)| place.url().origin().ascii_serialization());
        Ok(Arc::new(Looking::new(places.collect())))
    }
}

struct Looking {
    rate: Rate,
    /// The places of the target, which are anywhere that the operator says.
    places: Vec<String>,
    /// One for each reach, made when it is needed.
    clients: Mutex<Vec<(Reach, Client)>>,
}

impl Looking {
    fn new(places: Vec<String>) -> Self {
        // By the wall: in a rehearsal, too, whoever is asked is there.
        let wall: Arc<dyn Clock> = Arc::new(RealClock::new(Timestamp::UNIX_EPOCH, Scale::REAL));
        Self {
            rate: Rate::new(&wall, A_SECOND, AT_ONCE),
            places,
            clients: Mutex::default(),
        }
    }

    fn client(&self, reach: Reach) -> Result<Client, Failure> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = clients.iter().find(|(known, _)| *known == reach) {
            return Ok(known.clone());
        }
        let make = || {
            let builder = client::builder().tls_backend_preconfigured(client::tls()?);
            let builder = builder.dns_resolver(Arc::new(Within(reach)));
            builder.build().map_err(|e| e.to_string())
        };
        let made = make().map_err(|why| Failure::other("client", why))?;
        clients.push((reach, made.clone()));
        Ok(made)
    }

    /// How far a look may go.
    fn reach(&self, url: &Url, private: bool) -> Reach {
        let origin = url.origin().ascii_serialization();
        match (private, self.places.contains(&origin)) {
            (false, _) => Reach::Public,
            (true, false) => Reach::Private,
            (true, true) => Reach::Anywhere,
        }
    }

    async fn check(&self, asked: &CheckRequest, private: bool) -> Result<Checked, Failure> {
        let mut url = url(&asked.url)?;
        let origin = url.origin();
        let reach = self.reach(&url, private);
        let client = self.client(reach)?;
        let began = Instant::now();
        for _ in 0..=REDIRECTS {
            reach.literal(&url)?;
            let method = match asked.method {
                Method::Get => reqwest::Method::GET,
                Method::Head => reqwest::Method::HEAD,
                Method::Options => reqwest::Method::OPTIONS,
            };
            let sent = client.request(method, url.clone()).send().await;
            let response = sent.map_err(|e| unanswered(&e))?;
            let Some(next) = redirect(&response) else {
                return read(response, asked, began).await;
            };
            let next = url.join(&next).map_err(|e| {
                Failure::Application(format!("it redirects to what is no URL, `{next}`: {e}"))
            })?;
            if next.origin() != origin {
                return Err(Failure::Denied(format!(
                    "it redirects to another origin: `{}`",
                    next.origin().ascii_serialization()
                )));
            }
            url = next;
        }
        Err(Failure::Application(format!(
            "it redirects more than {REDIRECTS} times"
        )))
    }
}

fn url(text: &str) -> Result<Url, Failure> {
    let wrong = |why: &str| Failure::Invalid(format!("`{text}` cannot be checked: {why}"));
    let url = Url::parse(text).map_err(|e| wrong(&e.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("it has to start with `https://` or `http://`"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("it must not hold a user or password"));
    }
    Ok(url)
}

fn redirect(response: &Response) -> Option<String> {
    let moved = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let to = response.headers().get(header::LOCATION).filter(|_| moved)?;
    to.to_str().ok().map(str::to_owned)
}

async fn read(
    mut response: Response,
    asked: &CheckRequest,
    began: Instant,
) -> Result<Checked, Failure> {
    let most = (asked.max_bytes as usize).min(BODY_BYTES);
    let mut body = Vec::new();
    let mut truncated = false;
    while !truncated {
        match response.chunk().await.map_err(|e| unanswered(&e))? {
            Some(chunk) => {
                let room = most - body.len();
                truncated = chunk.len() > room;
                body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            }
            None => break,
        }
    }
    let kind = response.headers().get(header::CONTENT_TYPE);
    Ok(Checked {
        status: response.status().as_u16(),
        content_type: kind.and_then(|kind| kind.to_str().ok()).map(str::to_owned),
        body: String::from_utf8_lossy(&body).into_owned(),
        truncated,
        elapsed_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
    })
}

/// No answer, or half of one. One that was refused before it was sent says so.
fn unanswered(e: &reqwest::Error) -> Failure {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(e);
    while let Some(cause) = source {
        if cause.downcast_ref::<Refused>().is_some() {
            return Failure::Denied(cause.to_string());
        }
        source = cause.source();
    }
    groundcrew::service::trouble::unanswered(e).failure
}

impl Executor for Looking {
    fn perform(&self, effect: Effect) -> BoxFuture<'_, Outcome> {
        Box::pin(async move {
            let private = match effect.request.row.operation() {
                "check" => false,
                "check-private" => true,
                _ => return effect.request.row.unperformed().into(),
            };
            let asked: CheckRequest = match effect.request.arguments() {
                Ok(asked) => asked,
                Err(failure) => return failure.into(),
            };
            let origin = effect.request.origin.as_deref().unwrap_or_default();
            if let Err(cancelled) = self.rate.pass(&effect.cancel, "check", origin).await {
                return cancelled.into();
            }
            self.rate.tidy();
            let limit = Duration::from_millis(asked.timeout_ms).min(LONGEST);
            tokio::select! {
                biased;
                () = effect.cancel.cancelled() => Failure::Cancelled("the check was ended early".to_owned()).into(),
                checked = tokio::time::timeout(limit, self.check(&asked, private)) => match checked {
                    Ok(checked) => checked.into(),
                    Err(_) => Failure::Timeout(format!(
                        "no whole answer within {} s",
                        limit.as_secs_f64()
                    ))
                    .into(),
                },
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Serves `answer` of a request's path to everybody.
    async fn server(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 1024];
                let read = stream.read(&mut request).await.unwrap_or(0);
                let text = String::from_utf8_lossy(&request[..read]).into_owned();
                let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
                let _ = stream.write_all(answer(&path).as_bytes()).await;
            }
        });
        address
    }

    fn body(bytes: usize) -> String {
        let body = "x".repeat(bytes);
        format!("HTTP/1.1 200 OK\r\ncontent-length: {bytes}\r\nconnection: close\r\n\r\n{body}")
    }

    async fn look(url: String, max_bytes: u32) -> Result<Checked, Failure> {
        let asked = CheckRequest {
            url,
            method: Method::Get,
            timeout_ms: 5000,
            max_bytes,
        };
        let looking = Looking::new(Vec::new());
        looking.check(&asked, true).await
    }

    #[tokio::test]
    async fn no_more_of_a_body_is_read_than_wanted_and_allowed() {
        let address = server(|path| body(path[1..].parse().unwrap())).await;
        for (there, wanted, read) in [
            (10, 10, 10),
            (11, 10, 10),
            (BODY_BYTES, u32::MAX, BODY_BYTES),
            (BODY_BYTES + 1, u32::MAX, BODY_BYTES),
            (3, 0, 0),
        ] {
            let checked = look(format!("{address}/{there}"), wanted).await.unwrap();
            assert_eq!(checked.body.len(), read, "{there}");
            assert_eq!(checked.truncated, there > read, "{there}");
        }
    }

    #[tokio::test]
    async fn five_redirects_are_followed_and_no_sixth() {
        let address = server(|path| match path[1..].parse::<u32>() {
            Ok(0) | Err(_) => body(1),
            Ok(more) => format!(
                "HTTP/1.1 307 Temporary Redirect\r\nlocation: /{}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
                more - 1
            ),
        })
        .await;
        assert_eq!(look(format!("{address}/5"), 10).await.unwrap().status, 200);
        let refused = look(format!("{address}/6"), 10).await.unwrap_err();
        assert!(matches!(refused, Failure::Application(_)), "{refused}");
    }

    #[test]
    fn what_is_no_web_address_is_refused() {
        for bad in [
            "",
            "web",
            "ftp://a",
            "file:///etc/passwd",
            "https://u:p@a",
            "https://u@a",
        ] {
            assert!(matches!(url(bad), Err(Failure::Invalid(_))), "{bad}");
        }
        let public = |text: &str| Reach::Public.literal(&url(text).unwrap());
        assert!(public("http://[::1]:80/").is_err());
        assert!(public("http://2130706433/").is_err());
        assert!(public("https://example.com/").is_ok());
        let private = |text: &str| Reach::Private.literal(&url(text).unwrap());
        assert!(private("http://2852039166/latest/meta-data/").is_err());
        assert!(private("http://127.0.0.1/").is_ok());
    }

    #[test]
    fn an_origin_is_the_same_however_it_is_spelt() {
        assert!(same_origin(
            "https://Web.example.com/",
            "https://web.example.com"
        ));
        assert!(same_origin("http://a:8080", "http://a:8080"));
        for other in [
            "http://web.example.com",
            "https://web.example.com:444",
            "",
            "null",
        ] {
            assert!(!same_origin("https://web.example.com", other), "{other}");
        }
        assert!(!same_origin("data:x", "null"));
        assert!(!same_origin("*", "https://web.example.com"));
    }
}
