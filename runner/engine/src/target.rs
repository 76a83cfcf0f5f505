//! Targets: what runs act on. A target has places, by name, each with an address and perhaps a
//! credential; what they are is known to the capabilities that ask for them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use reqwest::Url;
use serde_json::{Value, json};
use thiserror::Error;

/// A secret text. It is never printed, and there is one way to read it.
#[derive(Clone)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Keeps a text secret; surrounding white space is dropped.
    pub fn new(text: &str) -> Self {
        Self(text.trim().into())
    }

    /// The text, for the header of a request.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Where a credential comes from. Resolved once, when a run is admitted.
pub trait CredentialSource: Send + Sync {
    /// What it is called: `env://FLY_API_TOKEN`. No secret.
    fn reference(&self) -> String;
    /// The credential.
    ///
    /// # Errors
    /// Why there is none, in words.
    fn resolve(&self) -> Result<Secret, String>;
}

/// Why a target cannot be used. Nothing has been sent.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TargetError {
    /// The address is none.
    #[error("target `{target}`: `{address}` is not an address: {why}")]
    Address {
        /// The target.
        target: String,
        /// What was given.
        address: String,
        /// Why not.
        why: String,
    },
    /// The credential may not go there.
    #[error(
        "target `{target}` points the credential `{credential}` at `{origin}`, to which it is not bound"
    )]
    Origin {
        /// The target.
        target: String,
        /// The credential's reference.
        credential: String,
        /// The origin.
        origin: String,
    },
    /// The place cannot be one of this target.
    #[error("target `{target}`: {why}")]
    Place {
        /// The target.
        target: String,
        /// Why not.
        why: String,
    },
    /// There is no credential.
    #[error("target `{target}`: {why}")]
    Credential {
        /// The target.
        target: String,
        /// Why.
        why: String,
    },
}

/// What is known of a vendor's credentials, whichever one it is.
#[derive(Clone, Copy)]
pub struct Scheme {
    /// The vendor's own addresses: a credential may go there of itself.
    pub own: fn(&Url) -> bool,
    /// What stands in the header `Authorization`.
    pub shown: fn(&str) -> String,
}

impl Scheme {
    /// A token that goes as it is to loopback and to trusted origins, and nowhere of itself.
    pub const BEARER: Self = Self {
        own: |_| false,
        shown: |token| format!("Bearer {token}"),
    };

    /// Whether a credential may go to an address, `trusted_origins` being what it is bound to beyond
    /// its vendor's own addresses and loopback.
    pub fn reaches(self, url: &Url, trusted_origins: &[String]) -> bool {
        let is_it = |listed: &String| Url::parse(listed).is_ok_and(|t| origin(&t) == origin(url));
        is_loopback(url) || (self.own)(url) || trusted_origins.iter().any(is_it)
    }
}

/// A credential, and where it may go: to its vendor's own addresses, to loopback, and to origins that
/// the operator's own configuration (not a project's) has bound it to.
#[derive(Clone)]
pub struct Credential {
    reference: String,
    secret: Secret,
    scheme: Scheme,
    trusted_origins: Arc<[String]>,
}

impl Credential {
    /// Has it from its source, to be shown to `address` of `target` first.
    ///
    /// # Errors
    /// If it may not go there: the source is not asked then. If there is none.
    pub fn resolve(
        target: &str,
        address: &Url,
        source: &dyn CredentialSource,
        scheme: Scheme,
        trusted_origins: &[String],
    ) -> Result<Self, TargetError> {
        if !scheme.reaches(address, trusted_origins) {
            return Err(TargetError::Origin {
                target: target.to_owned(),
                credential: source.reference(),
                origin: origin(address),
            });
        }
        let secret = source.resolve().map_err(|why| TargetError::Credential {
            target: target.to_owned(),
            why,
        })?;
        Ok(Self {
            reference: source.reference(),
            secret,
            scheme,
            trusted_origins: trusted_origins.into(),
        })
    }
}

/// One address of a target.
#[derive(Clone)]
pub struct Place {
    url: Url,
    /// It is known to speak HTTP/2; otherwise that is found out, which only TLS allows.
    pub http2: bool,
    credential: Option<Credential>,
}

impl Place {
    /// An address. The credential goes along only if it may go there; without it, whoever is there is
    /// asked all the same.
    pub fn new(url: Url, credential: Option<&Credential>) -> Self {
        let may_go = |c: &&Credential| c.scheme.reaches(&url, &c.trusted_origins);
        let credential = credential.filter(may_go).cloned();
        Self {
            url,
            http2: false,
            credential,
        }
    }

    /// Its address.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// What a request there shows, if it shows anything. The one place where the text of a target's
    /// credential is read.
    pub(crate) fn authorization(&self) -> Option<String> {
        let credential = self.credential.as_ref()?;
        Some((credential.scheme.shown)(credential.secret.expose()))
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let credential = self.credential.as_ref().map(|c| &c.reference);
        f.debug_struct("Place")
            .field("url", &self.url.as_str())
            .field("credential", &credential)
            .finish_non_exhaustive()
    }
}

/// What runs act on: `production`, `sim`.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// The organisation's slug, for listings of everything.
    pub organisation: Option<String>,
    /// Seconds of this target's time in one second of the wall: 1 but for simulators.
    pub time_scale: f64,
    places: BTreeMap<String, Place>,
}

/// What the journal keeps of a target beside its places.
const FIELDS: [&str; 4] = ["name", "organisation", "time_scale", "credential"];

impl Target {
    /// A target without places.
    pub fn new(name: &str, organisation: Option<&str>, time_scale: f64) -> Self {
        Self {
            name: name.to_owned(),
            organisation: organisation.map(str::to_owned),
            time_scale,
            places: BTreeMap::new(),
        }
    }

    /// The same with one more place.
    ///
    /// # Errors
    /// If it has one of that name already, or the name says something else of a target.
    pub fn with_place(mut self, name: &str, place: Place) -> Result<Self, TargetError> {
        let wrong = |why: String| TargetError::Place {
            target: self.name.clone(),
            why,
        };
        let letters = name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        if name.is_empty() || !letters || FIELDS.contains(&name) {
            return Err(wrong(format!("`{name}` cannot be the name of a place")));
        }
        if self.places.contains_key(name) {
            return Err(wrong(format!("it has `{name}` already")));
        }
        self.places.insert(name.to_owned(), place);
        Ok(self)
    }

    /// A place by name.
    ///
    /// # Errors
    /// That it has none of that name, in words.
    pub fn place(&self, name: &str) -> Result<&Place, String> {
        let place = self.places.get(name);
        place.ok_or_else(|| format!("target `{}` has no place `{name}`", self.name))
    }

    /// Its places, by name.
    pub fn places(&self) -> impl Iterator<Item = (&str, &Place)> {
        self.places
            .iter()
            .map(|(name, place)| (name.as_str(), place))
    }

    /// What the journal keeps of it: the origin of each place, and the credentials' references.
    pub fn to_json(&self) -> Value {
        let mut references: Vec<&str> = self
            .places
            .values()
            .filter_map(|place| Some(place.credential.as_ref()?.reference.as_str()))
            .collect();
        references.sort_unstable();
        references.dedup();
        let mut shown = json!({
            "name": self.name,
            "organisation": self.organisation,
            "time_scale": self.time_scale,
            "credential": (!references.is_empty()).then(|| references.join(", ")),
        });
        for (name, place) in &self.places {
            shown[name] = origin(&place.url).into();
        }
        shown
    }

    /// Whether all of it is on this machine: a simulator.
    pub(crate) fn is_loopback(&self) -> bool {
        !self.places.is_empty() && self.places.values().all(|place| is_loopback(&place.url))
    }

    /// Whether it is the target that was written down as `was`, whatever credentials and pace it has
    /// now. What was not written down then (a place that came later) may be anything.
    ///
    /// # Errors
    /// What is another, in words.
    pub(crate) fn is_still(&self, was: &Value) -> Result<(), String> {
        let is = self.to_json();
        let places = was.as_object().into_iter().flat_map(|was| was.keys());
        let places = places
            .map(String::as_str)
            .filter(|key| !FIELDS.contains(key));
        for field in ["name", "organisation"].into_iter().chain(places) {
            if was.get(field) != is.get(field) {
                let text = |of: &Value| of[field].as_str().unwrap_or("none").to_owned();
                return Err(format!(
                    "its {} was `{}`, and is now `{}`",
                    field.replace('_', " "),
                    text(was),
                    text(&is)
                ));
            }
        }
        Ok(())
    }
}

/// The address of a place of `target`: of one of these schemes, and without user or password in it.
///
/// # Errors
/// If it is none.
pub fn address(target: &str, text: &str, schemes: &[&str]) -> Result<Url, TargetError> {
    let wrong = |why: String| TargetError::Address {
        target: target.to_owned(),
        address: text.to_owned(),
        why,
    };
    let url = Url::parse(text).map_err(|e| wrong(e.to_string()))?;
    if !schemes.contains(&url.scheme()) {
        let schemes: Vec<String> = schemes.iter().map(|s| format!("`{s}://`")).collect();
        return Err(wrong(format!(
            "it has to start with {}",
            schemes.join(" or ")
        )));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("it must not hold a user or password".to_owned()));
    }
    Ok(url)
}

/// Scheme, host and port, also of what the web has no origin for (`redis://`).
fn origin(url: &Url) -> String {
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

/// Whether an address is on this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let address = host.parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Given;

    impl CredentialSource for Given {
        fn reference(&self) -> String {
            "env://TOKEN".to_owned()
        }
        fn resolve(&self) -> Result<Secret, String> {
            Ok(Secret::new("canary"))
        }
    }

    const OURS: Scheme = Scheme {
        own: |url| url.host_str() == Some("api.example.com") && url.scheme() == "https",
        ..Scheme::BEARER
    };

    fn url(text: &str) -> Url {
        address("t", text, &["http", "https", "redis"]).unwrap()
    }

    fn resolve(text: &str, trusted: &[&str]) -> Result<Credential, TargetError> {
        let trusted: Vec<String> = trusted.iter().map(|s| (*s).to_owned()).collect();
        Credential::resolve("production", &url(text), &Given, OURS, &trusted)
    }

    #[test]
    fn a_credential_goes_to_its_vendor_to_loopback_and_to_trusted_origins_only() {
        let trusted = [
            "https://proxy.example:8443",
            "redis://db.example:6379",
            "data:x",
        ];
        let known = resolve("https://api.example.com", &trusted).unwrap();
        for good in [
            "https://api.example.com/v1",
            "http://127.0.0.1:4280",
            "http://[::1]:1",
            "http://localhost:9",
            "https://proxy.example:8443/x",
            "redis://db.example:6379/0",
        ] {
            assert!(resolve(good, &trusted).is_ok(), "{good}");
            assert!(
                Place::new(url(good), Some(&known))
                    .authorization()
                    .is_some(),
                "{good}"
            );
        }
        for bad in [
            "http://api.example.com",
            "https://api.example.com.evil.example",
            "https://evil.example",
            "http://10.0.0.1:4280",
            "https://proxy.example",
            "redis://db.example:6380",
            "redis://other.example:6379",
        ] {
            let refused = resolve(bad, &trusted).err();
            assert!(matches!(refused, Some(TargetError::Origin { .. })), "{bad}");
            assert_eq!(
                Place::new(url(bad), Some(&known)).authorization(),
                None,
                "{bad}"
            );
        }
        assert!(address("t", "https://user:pw@api.example.com", &["https"]).is_err());
        assert!(address("t", "ftp://api.example.com", &["https"]).is_err());
    }

    #[test]
    fn nothing_prints_the_secret() {
        let credential = resolve("http://127.0.0.1:1", &[]).unwrap();
        let place = Place::new(url("http://127.0.0.1:1"), Some(&credential));
        let target = Target::new("production", None, 1.0);
        let target = target.with_place("api", place).unwrap();
        assert_eq!(target.to_json()["credential"], "env://TOKEN");
        let printed = format!("{target:?} {} {:?}", target.to_json(), credential.secret);
        assert!(!printed.contains("canary"), "{printed}");
    }

    #[test]
    fn it_is_still_the_same_if_what_was_written_down_is_so() {
        let at = |api: &str| {
            let target = Target::new("production", Some("acme"), 1.0);
            target
                .with_place("api", Place::new(url(api), None))
                .unwrap()
        };
        let was = at("https://api.example.com").to_json();
        let later = at("https://api.example.com/v2");
        let later = later.with_place("cache", Place::new(url("redis://localhost"), None));
        assert_eq!(later.unwrap().is_still(&was), Ok(()));
        let moved = at("https://api.example.org").is_still(&was).unwrap_err();
        assert_eq!(
            moved,
            "its api was `https://api.example.com`, and is now `https://api.example.org`"
        );
        let gone = Target::new("production", Some("acme"), 1.0).is_still(&was);
        assert!(gone.unwrap_err().ends_with("is now `none`"));
        assert!(
            Target::new("staging", Some("acme"), 1.0)
                .is_still(&was)
                .is_err()
        );
    }

    #[test]
    fn a_place_has_a_name_of_its_own() {
        let place = || Place::new(url("http://localhost"), None);
        let target = Target::new("t", None, 1.0)
            .with_place("api", place())
            .unwrap();
        for name in ["api", "", "credential", "name", "A", "a-b"] {
            assert!(target.clone().with_place(name, place()).is_err(), "{name}");
        }
        assert!(target.place("redis").is_err());
    }
}
