//! The capability `http`: looking at a web service from outside.
//!
//! A request carries nothing but its URL: no credential, no header, no body. It stays within one
//! origin, which the grant names, and goes to public addresses only, unless the verb is
//! `check-private`. Names are resolved here and the addresses looked at before anything connects, so
//! a name that points inside leads nowhere, however often it changes its mind.
//!
//! A rehearsal looks at the target as it is: what was done to the fork does not show there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use groundcrew::service::client;
use groundcrew::{
    BoxFuture, Capability, Covers, Effect, Executor, Failure, Linking, Outcome, Request, Row,
    Scope, Setting, Unsaid, arguments,
};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, Response, Url, header};
use serde::{Deserialize, Serialize};
use wasmtime::component::{ComponentType, Lift, Lower};

/// The longest that a check may take. (The contract.)
const LONGEST: Duration = Duration::from_secs(60);

/// The most of a body that is read. (The contract.)
const BODY_BYTES: usize = 64 << 10;

/// How many redirects are followed. (The contract.)
const REDIRECTS: usize = 5;

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

    fn executor(&self, _: &Setting) -> Result<Arc<dyn Executor>, String> {
        Ok(Arc::new(Looking::default()))
    }
}

#[derive(Default)]
struct Looking {
    /// Connect to public addresses only, and to any. Made when they are needed.
    public: OnceLock<Result<Client, String>>,
    any: OnceLock<Result<Client, String>>,
}

impl Looking {
    fn client(&self, private: bool) -> Result<&Client, Failure> {
        let make = || {
            let builder = client::builder().tls_backend_preconfigured(client::tls()?);
            let builder = match private {
                true => builder,
                false => builder.dns_resolver(Arc::new(PublicOnly)),
            };
            builder.build().map_err(|e| e.to_string())
        };
        let cell = if private { &self.any } else { &self.public };
        let client = cell.get_or_init(make).as_ref();
        client.map_err(|why| Failure::other("client", why.clone()))
    }

    async fn check(&self, asked: &CheckRequest, private: bool) -> Result<Checked, Failure> {
        let client = self.client(private)?;
        let mut url = url(&asked.url)?;
        let origin = url.origin();
        let began = Instant::now();
        for _ in 0..=REDIRECTS {
            if !private {
                literal_is_public(&url)?;
            }
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
        if cause.downcast_ref::<NotPublic>().is_some() {
            return Failure::Denied(cause.to_string());
        }
        source = cause.source();
    }
    groundcrew::service::trouble::unanswered(e).failure
}

/// A name or address that is not public.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not public, and the grant does not have the verb `check-private`")]
struct NotPublic(String);

/// Of a URL whose host is an address: nobody resolves it.
fn literal_is_public(url: &Url) -> Result<(), Failure> {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(address) if !is_public(address) => {
            Err(Failure::Denied(NotPublic(host.to_owned()).to_string()))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Resolves to public addresses, and to nothing if a name has none.
struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|found| is_public(found.ip())).collect();
            if public.is_empty() {
                return Err(NotPublic(name.as_str().to_owned()).into());
            }
            let addresses: Addrs = Box::new(public.into_iter());
            Ok(addresses)
        })
    }
}

/// Whether an address is one of the public Internet. (IANA's registries of special-purpose
/// addresses, RFC 6890.)
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        // "This network", shared addresses of carriers, protocol assignments, benchmarks, reserved.
        || a == 0
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b))
        || a >= 240;
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(v4) = address.to_ipv4_mapped() {
        return is_public_v4(v4);
    }
    let segments = address.segments();
    // Only 2000::/3 is global unicast; in it are documentation, Teredo and 6to4, which tunnel to
    // other addresses.
    let global = segments[0] & 0xe000 == 0x2000;
    let documentation = (segments[0] == 0x2001 && segments[1] == 0x0db8) || segments[0] == 0x3fff;
    let protocols = segments[0] == 0x2001 && segments[1] < 0x0200;
    let tunnels = segments[0] == 0x2002;
    global && !documentation && !protocols && !tunnels
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

    #[test]
    fn addresses_inside_are_not_public() {
        for inside in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "198.18.0.1",
            "192.0.0.8",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fdaa:0:1::3",
            "fe80::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:a00:1::",
            "2001::1",
            "2001:db8::1",
            "ff02::1",
        ] {
            assert!(!is_public(inside.parse().unwrap()), "{inside}");
        }
        for outside in [
            "1.1.1.1",
            "66.241.124.1",
            "2a09:8280:1::1",
            "::ffff:8.8.8.8",
        ] {
            assert!(is_public(outside.parse().unwrap()), "{outside}");
        }
    }

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
        Looking::default().check(&asked, true).await
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
        assert!(literal_is_public(&url("http://[::1]:80/").unwrap()).is_err());
        assert!(literal_is_public(&url("http://2130706433/").unwrap()).is_err());
        assert!(literal_is_public(&url("https://example.com/").unwrap()).is_ok());
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
