//! Targets: named places that runs act on, and the credentials bound to their origins.

use std::fmt;
use std::sync::Arc;

use reqwest::Url;
use serde_json::json;
use thiserror::Error;

/// Fly's own addresses. A Fly credential goes to these and to loopback, and nowhere else unless
/// the operator's own configuration says so. The second is the address inside Fly's network.
const FLY_HOSTS: [&str; 3] = ["api.machines.dev", "_api.internal", "api.fly.io"];

/// Fly's public address of the Machines API.
pub const FLY_MACHINES_API: &str = "https://api.machines.dev";

/// Where flyctl records releases.
const FLY_RELEASES_API: &str = "https://api.fly.io";

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
    /// There is no credential.
    #[error("target `{target}`: {why}")]
    Credential {
        /// The target.
        target: String,
        /// Why.
        why: String,
    },
}

/// A named place.
#[derive(Clone)]
pub struct Target {
    /// Its name: `production`, `sim`.
    pub name: String,
    /// The organisation's slug, for listings of everything.
    pub organisation: Option<String>,
    /// The Machines API, without a path.
    pub machines_api: Url,
    /// Where releases are recorded, without a path: Fly's own, or with the simulator.
    pub releases_api: Url,
    /// Where metrics are asked for: what stands before `/api/v1/query`.
    pub metrics_api: Url,
    /// Seconds of this target's time in one second of the wall: 1 but for simulators.
    pub time_scale: f64,
    /// The service is known to speak HTTP/2; otherwise it is found out, which only TLS allows.
    pub http2: bool,
    /// Goes with every request.
    pub(crate) credential: Option<Secret>,
    credential_reference: Option<String>,
    trusted_origins: Vec<String>,
}

/// An address of a target.
fn address(target: &str, text: &str) -> Result<Url, TargetError> {
    let wrong = |why: String| TargetError::Address {
        target: target.to_owned(),
        address: text.to_owned(),
        why,
    };
    let url = Url::parse(text).map_err(|e| wrong(e.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong(
            "it has to start with `https://` or `http://`".to_owned(),
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("it must not hold a user or password".to_owned()));
    }
    Ok(url)
}

impl Target {
    /// A target whose credential, if any, may go to its address.
    ///
    /// `trusted_origins` are origins that the operator's own configuration (not a project's)
    /// has bound this credential to, beyond Fly's own and loopback.
    ///
    /// # Errors
    /// If the address is none, the credential may not go there, or cannot be had.
    pub fn new(
        name: &str,
        organisation: Option<&str>,
        machines_api: &str,
        time_scale: f64,
        credential: Option<&dyn CredentialSource>,
        trusted_origins: &[String],
    ) -> Result<Self, TargetError> {
        let mut url = address(name, machines_api)?;
        // As flyctl does: an address is scheme, host and port; its path does not count.
        url.set_path("");
        url.set_query(None);
        let reference = credential.map(CredentialSource::reference);
        if let Some(source) = credential {
            let origin = url.origin().ascii_serialization();
            if !bound(&url, &origin, trusted_origins) {
                return Err(TargetError::Origin {
                    target: name.to_owned(),
                    credential: source.reference(),
                    origin,
                });
            }
        }
        let secret = credential.map(CredentialSource::resolve).transpose();
        let secret = secret.map_err(|why| TargetError::Credential {
            target: name.to_owned(),
            why,
        })?;
        let fly = FLY_HOSTS.contains(&url.host_str().unwrap_or_default());
        let releases_api = match fly {
            true => address(name, FLY_RELEASES_API)?,
            false => url.clone(),
        };
        let mut metrics_api = releases_api.clone();
        metrics_api.set_path(&format!(
            "prometheus/{}",
            organisation.unwrap_or("personal")
        ));
        Ok(Self {
            name: name.to_owned(),
            organisation: organisation.map(str::to_owned),
            machines_api: url,
            releases_api,
            metrics_api,
            time_scale,
            http2: false,
            credential: secret,
            credential_reference: reference,
            trusted_origins: trusted_origins.to_vec(),
        })
    }

    /// The same with other places for releases and metrics than go with its Machines API. The
    /// credential goes there only if it is bound to them; without it they are asked all the same.
    ///
    /// # Errors
    /// If one of the addresses is none.
    pub fn with_services(
        mut self,
        releases_api: Option<&str>,
        metrics_api: Option<&str>,
    ) -> Result<Self, TargetError> {
        if let Some(text) = releases_api {
            self.releases_api = address(&self.name, text)?;
            self.releases_api.set_path("");
        }
        if let Some(text) = metrics_api {
            self.metrics_api = address(&self.name, text)?;
        }
        Ok(self)
    }

    /// The credential, if there is one and it may go to this address.
    pub(crate) fn credential_for(&self, url: &Url) -> Option<&Secret> {
        let origin = url.origin().ascii_serialization();
        let bound = bound(url, &origin, &self.trusted_origins);
        self.credential.as_ref().filter(|_| bound)
    }

    /// What the journal keeps of it.
    pub fn to_json(&self) -> serde_json::Value {
        json!({
            "name": self.name,
            "organisation": self.organisation,
            "machines_api": self.machines_api.origin().ascii_serialization(),
            "releases_api": self.releases_api.origin().ascii_serialization(),
            "time_scale": self.time_scale,
            "credential": self.credential_reference,
        })
    }

    /// Whether it is on this machine: a simulator.
    pub(crate) fn is_loopback(&self) -> bool {
        is_loopback(&self.machines_api)
    }

    /// Whether it is the place that was written down as `was`, whatever credential and pace it has
    /// now.
    ///
    /// # Errors
    /// What is another, in words.
    pub(crate) fn is_still(&self, was: &serde_json::Value) -> Result<(), String> {
        let is = self.to_json();
        for field in ["name", "machines_api", "organisation", "releases_api"] {
            // Runs from before releases do not say where they were.
            let unsaid = field == "releases_api" && was.get(field).is_none();
            if was.get(field) != is.get(field) && !unsaid {
                return Err(format!(
                    "its {} was `{}`, and is now `{}`",
                    field.replace('_', " "),
                    was[field].as_str().unwrap_or("none"),
                    is[field].as_str().unwrap_or("none")
                ));
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("name", &self.name)
            .field("machines_api", &self.machines_api.as_str())
            .finish_non_exhaustive()
    }
}

/// Whether an address is on this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let address = host.parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|ip| ip.is_loopback())
}

fn bound(url: &Url, origin: &str, trusted: &[String]) -> bool {
    let host = url.host_str().unwrap_or_default();
    let fly = FLY_HOSTS.contains(&host) && (url.scheme() == "https" || host == "_api.internal");
    is_loopback(url)
        || fly
        || trusted
            .iter()
            .any(|t| Url::parse(t).is_ok_and(|t| t.origin().ascii_serialization() == origin))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Given;

    impl CredentialSource for Given {
        fn reference(&self) -> String {
            "env://FLY_API_TOKEN".to_owned()
        }
        fn resolve(&self) -> Result<Secret, String> {
            Ok(Secret::new("canary"))
        }
    }

    fn target(address: &str, trusted: &[&str]) -> Result<Target, TargetError> {
        let trusted: Vec<String> = trusted.iter().map(|s| (*s).to_owned()).collect();
        Target::new("production", None, address, 1.0, Some(&Given), &trusted)
    }

    #[test]
    fn a_credential_goes_to_fly_and_loopback_only() {
        for good in [
            "https://api.machines.dev",
            "http://_api.internal:4280",
            "http://127.0.0.1:4280",
            "http://[::1]:1",
            "http://localhost:9",
        ] {
            assert!(target(good, &[]).is_ok(), "{good}");
        }
        for bad in [
            "http://api.machines.dev",
            "https://api.machines.dev.evil.example",
            "https://evil.example",
            "http://10.0.0.1:4280",
        ] {
            assert!(
                matches!(target(bad, &[]), Err(TargetError::Origin { .. })),
                "{bad}"
            );
        }
        assert!(
            target(
                "https://proxy.example:8443/x",
                &["https://proxy.example:8443"]
            )
            .is_ok()
        );
        assert!(target("https://user:pw@api.machines.dev", &[]).is_err());
    }

    #[test]
    fn nothing_prints_the_secret() {
        let target = target("http://127.0.0.1:1", &[]).unwrap();
        assert!(
            !format!("{target:?} {} {:?}", target.to_json(), target.credential).contains("canary")
        );
    }
}
