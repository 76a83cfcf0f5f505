//! Targets: what runs act on. A target has places, by name, each with an address and perhaps a
//! credential; what they are is known to the capabilities that ask for them.

mod credential;
mod whereabouts;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use reqwest::Url;
use serde_json::{Value, json};

use whereabouts::{FIELDS, origin, origin_of, shown_at};

use crate::scale::Scale;

pub use credential::{Credential, CredentialSource, Scheme, Secret, TargetError};
pub use whereabouts::Whereabouts;
pub(crate) use whereabouts::is_loopback;

/// One address of a target.
#[derive(Clone)]
pub struct Place {
    url: Url,
    /// It is known to speak HTTP/2; otherwise that is found out, which only TLS allows.
    pub http2: bool,
    /// Its name may only lead to such addresses; to any if none.
    pub only: Option<fn(IpAddr) -> bool>,
    credential: Option<Credential>,
}

impl Place {
    /// An address. The credential goes along only if it may go there; without it, whoever is there is
    /// asked all the same.
    pub fn new(url: Url, credential: Option<&Credential>) -> Self {
        let credential = credential.and_then(|credential| credential.to(&url));
        Self {
            url,
            http2: false,
            only: None,
            credential,
        }
    }

    /// Its address.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// What a request there shows, if it shows anything.
    pub(crate) fn authorization(&self) -> Option<String> {
        self.credential.as_ref().map(Credential::shown)
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
    /// How fast its time runs: as the wall's, but for what is on this machine.
    pub time_scale: Scale,
    /// A project says what it is, and not the operator: whatever a policy says of a place binds it there,
    /// whichever organisation it names.
    pub from_project: bool,
    places: BTreeMap<String, Place>,
}

impl Target {
    /// A target without places.
    pub fn new(name: &str, organisation: Option<&str>, time_scale: Scale) -> Self {
        Self {
            name: name.to_owned(),
            organisation: organisation.map(str::to_owned),
            time_scale,
            from_project: false,
            places: BTreeMap::new(),
        }
    }

    /// Where it is.
    pub fn whereabouts(&self) -> Whereabouts {
        Whereabouts {
            name: self.name.clone(),
            organisation: self.organisation.clone(),
            origins: self
                .places
                .values()
                .map(|place| origin(&place.url))
                .collect(),
            from_project: self.from_project,
        }
    }

    /// What stands before the names of its locks: host and port of each of its places, for whoever calls
    /// it something else means the same.
    pub(crate) fn locked_as(&self) -> Vec<String> {
        let host = |place: &Place| {
            let origin = origin(&place.url);
            let (_, host) = origin.split_once("://").unwrap_or(("", &origin));
            host.to_owned()
        };
        let mut all: Vec<String> = self.places.values().map(host).collect();
        all.sort();
        all.dedup();
        if all.is_empty() {
            all.push(self.name.clone());
        }
        all
    }

    /// The same with one more place.
    ///
    /// # Errors
    /// If it cannot have one of that name; if the place is away and the target's time not the wall's.
    pub fn with_place(mut self, name: &str, place: Place) -> Result<Self, TargetError> {
        let wrong = |why: String| TargetError::Place {
            target: self.name.clone(),
            why,
        };
        let letters = name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        if name.is_empty() || !letters || FIELDS.contains(&name) {
            return Err(wrong(format!("`{name}` cannot be the name of a place")));
        }
        if self.time_scale != Scale::REAL && !is_loopback(&place.url) {
            let away = origin(&place.url);
            let why =
                format!("a `time_scale` is for what is on this host; `{name}` is at `{away}`");
            return Err(wrong(why));
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

    /// What the journal keeps of it: where each place is, and the credentials' references.
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
            "time_scale": self.time_scale.get(),
            "credential": (!references.is_empty()).then(|| references.join(", ")),
        });
        for (name, place) in &self.places {
            shown[name] = shown_at(&place.url).into();
        }
        shown
    }

    /// A place that was not written down as `was`, if there is one: whoever answers there is none that a
    /// plan speaks of.
    pub(crate) fn beyond(&self, was: &Value) -> Option<&str> {
        let mut names = self.places.keys().map(String::as_str);
        names.find(|name| was.get(name).is_none())
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
            // Before 0.2 only the origin was written down.
            let as_before = || {
                let at = is.get(field).and_then(Value::as_str).and_then(origin_of);
                !FIELDS.contains(&field) && was[field].as_str() == at.as_deref()
            };
            if was.get(field) != is.get(field) && !as_before() {
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
        let target = Target::new("production", None, Scale::REAL);
        let target = target.with_place("api", place).unwrap();
        assert_eq!(target.to_json()["credential"], "env://TOKEN");
        let printed = format!("{target:?} {} {:?}", target.to_json(), credential.secret);
        assert!(!printed.contains("canary"), "{printed}");
    }

    #[test]
    fn it_is_still_the_same_if_what_was_written_down_is_so() {
        let at = |api: &str| {
            let target = Target::new("production", Some("acme"), Scale::REAL);
            target
                .with_place("api", Place::new(url(api), None))
                .unwrap()
        };
        let was = at("https://api.example.com").to_json();
        let later = at("https://api.example.com/v2");
        let later = later.with_place("cache", Place::new(url("redis://localhost"), None));
        assert_eq!(later.unwrap().is_still(&was), Ok(()));
        let beside = later_beside(&at);
        assert_eq!(beside.beyond(&was), Some("cache"));
        assert_eq!(at("https://api.example.com").beyond(&was), None);
        let below = at("https://api.example.com/v2");
        assert_eq!(below.to_json()["api"], "https://api.example.com/v2");
        assert!(
            at("https://api.example.com/v3")
                .is_still(&below.to_json())
                .is_err()
        );
        let moved = at("https://api.example.org").is_still(&was).unwrap_err();
        assert_eq!(
            moved,
            "its api was `https://api.example.com`, and is now `https://api.example.org`"
        );
        let gone = Target::new("production", Some("acme"), Scale::REAL).is_still(&was);
        assert!(gone.unwrap_err().ends_with("is now `none`"));
        assert!(
            Target::new("staging", Some("acme"), Scale::REAL)
                .is_still(&was)
                .is_err()
        );
    }

    fn later_beside(at: &dyn Fn(&str) -> Target) -> Target {
        let later = at("https://api.example.com");
        later
            .with_place("cache", Place::new(url("redis://localhost"), None))
            .unwrap()
    }

    #[test]
    fn time_runs_differently_on_this_host_only() {
        let fast = Target::new("t", None, Scale::new(20.0).unwrap());
        let at = |at: &str| fast.clone().with_place("api", Place::new(url(at), None));
        assert!(at("http://localhost:1").is_ok());
        let refused = at("https://api.example.com").unwrap_err().to_string();
        assert!(refused.ends_with("`https://api.example.com`"), "{refused}");
    }

    #[test]
    fn a_place_has_a_name_of_its_own() {
        let place = || Place::new(url("http://localhost"), None);
        let target = Target::new("t", None, Scale::REAL)
            .with_place("api", place())
            .unwrap();
        for name in ["api", "", "credential", "name", "A", "a-b"] {
            assert!(target.clone().with_place(name, place()).is_err(), "{name}");
        }
        assert!(target.place("redis").is_err());
    }
}
