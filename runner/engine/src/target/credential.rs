//! Credentials, and where they may go.

use std::fmt;
use std::sync::Arc;

use reqwest::Url;
use thiserror::Error;

use super::whereabouts::{is_loopback, origin};

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
    /// Whether it goes to this machine, too: to a simulator, or a proxy. What a project names does not.
    pub local: bool,
}

impl Scheme {
    /// A token that goes as it is to loopback and to trusted origins, and nowhere of itself.
    pub const BEARER: Self = Self {
        own: |_| false,
        shown: |token| format!("Bearer {token}"),
        local: true,
    };

    /// Whether a credential may go to an address, `trusted_origins` being what it is bound to beyond
    /// its vendor's own addresses and loopback.
    pub fn reaches(self, url: &Url, trusted_origins: &[String]) -> bool {
        let is_it = |listed: &String| Url::parse(listed).is_ok_and(|t| origin(&t) == origin(url));
        (self.local && is_loopback(url)) || (self.own)(url) || trusted_origins.iter().any(is_it)
    }
}

/// A credential, and where it may go: to its vendor's own addresses, to loopback, and to origins that
/// the operator's own configuration (not a project's) has bound it to.
#[derive(Clone)]
pub struct Credential {
    pub(super) reference: String,
    pub(super) secret: Secret,
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

    /// The same, if it may go to an address.
    pub(super) fn to(&self, url: &Url) -> Option<Self> {
        let reaches = self.scheme.reaches(url, &self.trusted_origins);
        reaches.then(|| self.clone())
    }

    /// What a request shows. The one place where the text of a target's credential is read.
    pub(super) fn shown(&self) -> String {
        (self.scheme.shown)(self.secret.expose())
    }
}
