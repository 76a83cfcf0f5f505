//! `[target.NAME.place.PLACE]`: where something is that a capability asks a target for by name.

use groundcrew::{Credential, Place, Scheme};
use serde::Deserialize;

use crate::credentials::{Source, Trust};
use crate::exit::Exit;

/// A place of a target.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlaceConfig {
    /// Where it is.
    pub(crate) address: String,
    /// Where what is shown there comes from; nothing is shown if none.
    pub(crate) credential: Option<String>,
    /// The address speaks HTTP/2 without TLS.
    #[serde(default)]
    pub(crate) http2: bool,
}

/// What a place may be spoken to over.
const SCHEMES: [&str; 4] = ["https", "http", "rediss", "redis"];

impl PlaceConfig {
    /// The place, with its credential. `trusted`: it stands in the user's own configuration. A project
    /// may only name what is on this machine, or where its user has bound credentials to.
    pub(crate) fn place(
        &self,
        target: &str,
        name: &str,
        trusted: Trust<'_>,
    ) -> Result<Place, Exit> {
        let Trust { own, origins, .. } = trusted;
        let url = groundcrew::address(target, &self.address, &SCHEMES)?;
        if !own && !Scheme::BEARER.reaches(&url, origins) {
            return Err(Exit::refused(
                format!(
                    "the project's configuration puts the place `{name}` of target `{target}` at `{url}`, which only your own configuration may"
                ),
                Some(
                    "a project may name what is on this machine, or what is in your `trusted_origins`",
                ),
            ));
        }
        let credential = match &self.credential {
            None => None,
            Some(reference) => {
                let source = Source::parse(reference, trusted, None)?;
                let scheme = source.goes(Scheme::BEARER, trusted);
                let resolved = Credential::resolve(target, &url, &source, scheme, origins)?;
                Some(resolved)
            }
        };
        let mut place = Place::new(url, credential.as_ref());
        place.http2 = self.http2;
        Ok(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(address: &str, trusted: bool, origins: &[&str]) -> Result<Place, String> {
        let at = PlaceConfig {
            address: address.to_owned(),
            ..PlaceConfig::default()
        };
        let origins: Vec<String> = origins.iter().map(|o| (*o).to_owned()).collect();
        let trust = Trust {
            own: trusted,
            origins: &origins,
            credentials: &[],
        };
        let place = at.place("staging", "redis", trust);
        place.map_err(|exit| format!("{exit:?}"))
    }

    #[test]
    fn a_project_names_only_places_that_its_user_trusts() {
        let far = "rediss://db.example:6379";
        assert!(place("redis://127.0.0.1:6379", false, &[]).is_ok());
        assert!(place(far, true, &[]).is_ok());
        assert!(place(far, false, &[far]).is_ok());
        let refused = place(far, false, &["rediss://other.example:6379"]).unwrap_err();
        assert!(
            refused.contains("the project's configuration puts the place `redis` of target `staging` at `rediss://db.example:6379`, which only your own configuration may"),
            "{refused}"
        );
    }

    #[test]
    fn an_address_is_one_that_can_be_spoken_to() {
        assert!(
            place("ftp://127.0.0.1", true, &[])
                .unwrap_err()
                .contains("`redis://`")
        );
        assert!(place("127.0.0.1:6379", true, &[]).is_err());
    }
}
