//! Who sends a request, and whether it may.

use groundcrew_fleet::api::ApiError;

use crate::fly::route::{Route, Verb};

/// A token that the simulator knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What stands in the `Authorization` header, without the scheme.
    pub secret: String,
    /// Whose it is; the owner of leases taken with it.
    pub name: String,
    /// Whether it may write.
    pub write: bool,
    /// The organisation it belongs to.
    pub organisation: String,
    /// The apps it is limited to; empty means all of the organisation.
    pub apps: Vec<String>,
}

impl Token {
    /// A token that may do everything in the simulated organisation.
    pub fn read_write(secret: &str, organisation: &str) -> Token {
        Token {
            secret: secret.into(),
            name: "operator@example.com".into(),
            write: true,
            organisation: organisation.into(),
            apps: Vec::new(),
        }
    }

    /// One that may read everything there.
    pub fn read_only(secret: &str, organisation: &str) -> Token {
        Token {
            name: "reader@example.com".into(),
            write: false,
            ..Token::read_write(secret, organisation)
        }
    }
}

/// The token of an `Authorization` header: `Bearer X`, or `FlyV1 X,Y`.
pub(crate) fn authenticate<'a>(
    tokens: &'a [Token],
    header: Option<&str>,
) -> Result<&'a Token, ApiError> {
    let refused = || ApiError::new(401, "Authenticate: token validation error");
    let (scheme, rest) = header
        .and_then(|header| header.split_once(' '))
        .ok_or_else(refused)?;
    let known_scheme =
        scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("flyv1");
    let mut parts = rest.split(',').map(str::trim).filter(|_| known_scheme);
    let found = parts.find_map(|part| tokens.iter().find(|token| token.secret == part));
    found.ok_or_else(refused)
}

/// Whether the token may do this in this organisation.
pub(crate) fn authorise(token: &Token, route: &Route, organisation: &str) -> Result<(), ApiError> {
    let asked_org = if matches!(route.verb, Verb::OrgMachines | Verb::Query) {
        route.key.as_str()
    } else {
        organisation
    };
    let own = token.organisation == asked_org
        || route.verb == Verb::CurrentTokens
        || route.verb == Verb::Regions;
    let app = token.apps.is_empty() || route.app.is_empty() || token.apps.contains(&route.app);
    if own && app && (token.write || !route.verb.writes()) {
        Ok(())
    } else {
        Err(ApiError::new(
            403,
            "Authorize: token is not authorized to perform this action",
        ))
    }
}
