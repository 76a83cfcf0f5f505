//! Fly's places: where its services are, where its tokens may go, and how they are shown.

use std::net::IpAddr;

use groundcrew::{
    Credential, CredentialSource, Name, Place, Scale, Scheme, Target, TargetError, Url, address,
};

use crate::metrics;

/// Fly's public address of the Machines API.
pub const FLY_MACHINES_API: &str = "https://api.machines.dev";

/// Where flyctl records releases.
const FLY_RELEASES_API: &str = "https://api.fly.io";

/// Fly's own public addresses.
const FLY_HOSTS: [&str; 2] = [FLY_MACHINES_HOST, "api.fly.io"];

/// Where Fly's Machines API is, from outside its network.
const FLY_MACHINES_HOST: &str = "api.machines.dev";

/// Whatever else is under these names is Fly's, and no Machines API. (Apps of Fly's customers are under
/// `fly.dev`.)
const FLY_DOMAINS: [&str; 2] = ["fly.io", "machines.dev"];

/// Fly's address inside its own network, which has no certificate. It is trusted where whoever runs this
/// says so, and only where it leads to `fdaa::/16`: outside Fly's network the name is anybody's.
pub const FLY_INSIDE: &str = "_api.internal";

/// The place of the Machines API.
pub(crate) const MACHINES_API: &str = "machines_api";
/// The place where releases are recorded.
pub(crate) const RELEASES_API: &str = "releases_api";

/// What the web is spoken over.
const WEB: [&str; 2] = ["https", "http"];

/// Fly's tokens go to Fly, and are shown as fly-go shows them.
pub const TOKENS: Scheme = Scheme {
    own,
    shown,
    local: true,
};

/// Where a target is that speaks as Fly does: Fly itself, a simulator, a proxy.
#[derive(Debug, Clone, Copy, Default)]
pub struct Addresses<'a> {
    /// The Machines API, of which scheme, host and port count; [`FLY_MACHINES_API`] if none.
    pub machines_api: Option<&'a str>,
    /// Where releases are recorded; Fly's own, or where the Machines API is.
    pub releases_api: Option<&'a str>,
    /// Where metrics are asked for, without `/api/v1`; Fly's own, or where the Machines API is.
    pub metrics_api: Option<&'a str>,
    /// The Machines API is known to speak HTTP/2, also without TLS.
    pub http2: bool,
}

/// A target with the places of Fly's services. The credential, if any, has to be bound to the Machines
/// API; to the others it goes if it is bound to them, and without it they are asked all the same.
/// `trusted_origins` are what the operator's own configuration (not a project's) has bound it to,
/// beyond Fly's own and loopback.
///
/// # Errors
/// If an address is none, the credential may not go to the Machines API, or cannot be had.
pub fn target(
    name: &str,
    organisation: Option<&str>,
    time_scale: Scale,
    addresses: Addresses<'_>,
    source: Option<&dyn CredentialSource>,
    trusted_origins: &[String],
) -> Result<Target, TargetError> {
    target_showing(
        TOKENS,
        name,
        organisation,
        time_scale,
        addresses,
        source,
        trusted_origins,
    )
}

/// The same with credentials that go elsewhere than [`TOKENS`] do.
///
/// # Errors
/// As [`target`].
pub fn target_showing(
    scheme: Scheme,
    name: &str,
    organisation: Option<&str>,
    time_scale: Scale,
    addresses: Addresses<'_>,
    source: Option<&dyn CredentialSource>,
    trusted_origins: &[String],
) -> Result<Target, TargetError> {
    if let Some(organisation) = organisation {
        Name::of("an organisation's name", organisation).map_err(|why| TargetError::Place {
            target: name.to_owned(),
            why,
        })?;
    }
    let read = |text: &str| address(name, text, &WEB);
    let mut machines = read(addresses.machines_api.unwrap_or(FLY_MACHINES_API))?;
    // As flyctl does: an address is scheme, host and port; its path does not count.
    machines.set_path("");
    machines.set_query(None);
    let misplaced = || TargetError::Place {
        target: name.to_owned(),
        why: format!(
            "`{machines}` is no Machines API: Fly's is at `{FLY_MACHINES_API}`, and inside its network at `http://{FLY_INSIDE}:4280`"
        ),
    };
    let host = machines.host_str().unwrap_or_default();
    if is_another_of_flys(host) {
        return Err(misplaced());
    }
    let beside = match FLY_HOSTS.contains(&host) || host == FLY_INSIDE {
        true => read(FLY_RELEASES_API)?,
        false => machines.clone(),
    };
    let mut releases = addresses.releases_api.map_or(Ok(beside.clone()), read)?;
    releases.set_path("");
    let mut metrics = beside;
    metrics.set_path(&format!(
        "prometheus/{}",
        organisation.unwrap_or("personal")
    ));
    let metrics_api = addresses.metrics_api.map_or(Ok(metrics), read)?;
    let credential = source
        .map(|source| Credential::resolve(name, &machines, source, scheme, trusted_origins))
        .transpose()?;
    let inside = machines.scheme() == "http" && machines.port() == Some(4280);
    if (host == FLY_MACHINES_HOST && !own(&machines)) || (host == FLY_INSIDE && !inside) {
        return Err(misplaced());
    }
    let place = |url: Url| {
        let http2 = addresses.http2 && url.origin() == machines.origin();
        let inside = url.host_str() == Some(FLY_INSIDE);
        let mut place = Place::new(url, credential.as_ref());
        place.only = inside.then_some(is_inside);
        place.http2 = http2;
        place
    };
    Target::new(name, organisation, time_scale)
        .with_place(MACHINES_API, place(machines.clone()))?
        .with_place(RELEASES_API, place(releases))?
        .with_place(metrics::PLACE, place(metrics_api))
}

fn own(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    // At its own port: what listens at another one is somebody else, and no policy speaks of it.
    FLY_HOSTS.contains(&host) && url.scheme() == "https" && url.port().is_none()
}

/// Whether a host is Fly's, and none where the Machines API is. A dot at its end does not make it another.
fn is_another_of_flys(host: &str) -> bool {
    let name = host.trim_end_matches('.');
    let fly = FLY_DOMAINS.iter().any(|domain| {
        let before = name.strip_suffix(domain);
        before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
    });
    (fly || name == FLY_INSIDE) && ![FLY_MACHINES_HOST, FLY_INSIDE].contains(&host)
}

/// Whether an address is one of Fly's private network: `fdaa::/16`. (Fly's documentation of its private
/// networking.)
fn is_inside(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.segments()[0] == 0xfdaa)
}

/// As fly-go: the macaroons among several tokens, and nothing else.
fn shown(token: &str) -> String {
    let macaroon = |part: &str| {
        let prefixes = ["fm1r_", "fm1a_", "fm2_"];
        prefixes.iter().any(|prefix| part.starts_with(prefix))
    };
    let parts = || token.split(',').map(str::trim);
    if token.starts_with("FlyV1 ") || token.starts_with("Bearer ") {
        token.to_owned()
    } else if parts().any(macaroon) {
        let macaroons: Vec<&str> = parts().filter(|part| macaroon(part)).collect();
        format!("FlyV1 {}", macaroons.join(","))
    } else {
        format!("Bearer {token}")
    }
}

#[cfg(test)]
mod tests {
    use groundcrew::Secret;

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

    fn at(machines_api: &str, trusted: &[&str]) -> Result<Target, TargetError> {
        let trusted: Vec<String> = trusted.iter().map(|s| (*s).to_owned()).collect();
        let addresses = Addresses {
            machines_api: Some(machines_api),
            ..Addresses::default()
        };
        target(
            "production",
            None,
            Scale::REAL,
            addresses,
            Some(&Given),
            &trusted,
        )
    }

    #[test]
    fn a_credential_goes_to_fly_and_loopback_only() {
        for good in [
            "https://api.machines.dev",
            "http://127.0.0.1:4280",
            "http://[::1]:1",
            "http://localhost:9",
        ] {
            assert!(at(good, &[]).is_ok(), "{good}");
        }
        for bad in [
            "http://api.machines.dev",
            "https://api.machines.dev.evil.example",
            "https://evil.example",
            "http://10.0.0.1:4280",
            "http://_api.internal:4280",
        ] {
            let refused = at(bad, &[]);
            assert!(matches!(refused, Err(TargetError::Origin { .. })), "{bad}");
        }
        let proxy = at(
            "https://proxy.example:8443/x",
            &["https://proxy.example:8443"],
        );
        assert!(proxy.is_ok());
        let inside = "http://_api.internal:4280";
        let inside = at(inside, &[inside]).unwrap();
        let only = inside.place(MACHINES_API).unwrap().only.unwrap();
        assert!(only("fdaa:0:1::3".parse().unwrap()));
        for elsewhere in ["127.0.0.1", "fdab::3", "::ffff:10.0.0.1", "8.8.8.8"] {
            assert!(!only(elsewhere.parse().unwrap()), "{elsewhere}");
        }
        assert!(at("https://user:pw@api.machines.dev", &[]).is_err());
    }

    #[test]
    fn what_is_flys_and_no_machines_api_is_refused() {
        let trusted = [
            "https://api.machines.dev:8443",
            "http://api.machines.dev",
            "https://_api.internal:4280",
            "http://_api.internal",
            "http://_api.internal.:4280",
        ];
        let flys = [
            "https://api.fly.io",
            "https://API.FLY.IO./graphql",
            "https://fly.io",
            "https://machines.dev",
            "https://api.machines.dev.",
            "https://other.machines.dev",
            "https://registry.fly.io",
        ];
        for bad in trusted.into_iter().chain(flys) {
            let refused = at(bad, &trusted).unwrap_err().to_string();
            assert!(
                refused.contains("is no Machines API: Fly's is at `https://api.machines.dev`"),
                "{bad}: {refused}"
            );
        }
        // An app of a customer's, and what only looks alike, are as trusted as their user says.
        for other in ["https://proxy.fly.dev", "https://notfly.io"] {
            assert!(at(other, &[other]).is_ok(), "{other}");
        }
    }

    #[test]
    fn what_is_not_said_goes_with_the_machines_api() {
        let urls = |target: Target| -> Vec<String> {
            let places = target.places();
            places
                .map(|(name, place)| format!("{name} {}", place.url()))
                .collect()
        };
        assert_eq!(
            urls(at("https://api.machines.dev", &[]).unwrap()),
            [
                "machines_api https://api.machines.dev/",
                "metrics_api https://api.fly.io/prometheus/personal",
                "releases_api https://api.fly.io/"
            ]
        );
        assert_eq!(
            urls(at("http://localhost:9/x?y", &[]).unwrap()),
            [
                "machines_api http://localhost:9/",
                "metrics_api http://localhost:9/prometheus/personal",
                "releases_api http://localhost:9/"
            ]
        );
    }

    #[test]
    fn tokens_are_shown_as_fly_wants_them() {
        for (token, header) in [
            ("abc", "Bearer abc"),
            ("Bearer abc", "Bearer abc"),
            ("FlyV1 fm2_a", "FlyV1 fm2_a"),
            ("fm2_a, fo1_b,fm1r_c", "FlyV1 fm2_a,fm1r_c"),
        ] {
            assert_eq!(shown(token), header);
        }
    }
}
