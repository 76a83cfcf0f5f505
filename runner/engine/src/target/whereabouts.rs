//! Where a target is, as a policy, a plan and a journal know it.

use reqwest::Url;
use serde_json::Value;

/// What the journal keeps of a target beside its places.
pub(super) const FIELDS: [&str; 4] = ["name", "organisation", "time_scale", "credential"];

/// Where a target is, which is what a policy binds to: a name is easily another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whereabouts {
    pub(crate) name: String,
    pub(crate) organisation: Option<String>,
    pub(crate) origins: Vec<String>,
    pub(crate) from_project: bool,
}

impl Whereabouts {
    /// Of a target as a plan or a journal has it. Who said what it is is not known then.
    pub fn recorded(target: &Value) -> Self {
        let text = |field: &str| target[field].as_str().map(str::to_owned);
        let fields = target.as_object().into_iter().flatten();
        let origins = fields.filter(|(field, _)| !FIELDS.contains(&field.as_str()));
        Self {
            name: text("name").unwrap_or_default(),
            organisation: text("organisation"),
            origins: origins
                .filter_map(|(_, at)| origin_of(at.as_str()?))
                .collect(),
            from_project: true,
        }
    }

    /// Whether something of it is at an address.
    pub(crate) fn is_at(&self, address: &str) -> bool {
        let Some(there) = origin_of(address).map(|origin| one_spelling(&origin)) else {
            return false;
        };
        let mut here = self.origins.iter();
        here.any(|origin| one_spelling(origin) == there)
    }
}

pub(super) fn origin_of(address: &str) -> Option<String> {
    Url::parse(address).ok().map(|url| origin(&url))
}

/// Where a place is, with what its path says.
pub(super) fn shown_at(url: &Url) -> String {
    match url.path() {
        "" | "/" => origin(url),
        path => format!("{}{path}", origin(url)),
    }
}

/// Scheme, host and port, also of what the web has no origin for (`redis://`).
pub(super) fn origin(url: &Url) -> String {
    let origin = url.origin();
    if origin.is_tuple() {
        return origin.ascii_serialization();
    }
    let port = url
        .port()
        .map_or_else(String::new, |port| format!(":{port}"));
    format!(
        "{}://{}{port}",
        url.scheme(),
        url.host_str().unwrap_or_default()
    )
}

/// An origin with one name for this machine, which has many.
fn one_spelling(origin: &str) -> String {
    match Url::parse(origin) {
        Ok(url) if is_loopback(&url) => {
            let port = url.port_or_known_default().unwrap_or_default();
            format!("{}://localhost:{port}", url.scheme())
        }
        Ok(_) | Err(_) => origin.to_owned(),
    }
}

/// Whether an address is on this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let address = host.parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|ip| ip.is_loopback())
}
