//! Who sends a request, and whether it may: tokens as Fly takes them, and what its refusals say.

use groundcrew_fleet::api::ApiError;

use crate::service::Route;
use crate::token::Token;

/// The token of an `Authorization` header: `Bearer X`, `FlyV1 X,Y` or `Bearer FlyV1 X`.
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
    // The documentation's own commands send `Bearer FlyV1 X`.
    let rest = match rest.split_once(' ') {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("flyv1") => rest,
        _ => rest,
    };
    let mut parts = rest.split(',').map(str::trim).filter(|_| known_scheme);
    let found = parts.find_map(|part| tokens.iter().find(|token| token.secret == part));
    found.ok_or_else(refused)
}

/// Whether the token may do this, where `organisation` is what the paths without one are about.
pub(crate) fn authorise(token: &Token, route: &Route, organisation: &str) -> Result<(), ApiError> {
    let asked = route.org.as_deref().unwrap_or(organisation);
    let own = route.row.anyones || token.organisation == asked;
    let app = token.apps.is_empty() || route.app.is_empty() || token.apps.contains(&route.app);
    if own && app && (token.write || !route.row.writes) {
        Ok(())
    } else {
        Err(ApiError::new(
            403,
            "Authorize: token is not authorized to perform this action",
        ))
    }
}
