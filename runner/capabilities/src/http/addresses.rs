//! Which addresses a look may go to: public ones, or inside ones too, but never where a platform tells its
//! secrets. Names are resolved here, and what they lead to is looked at before anything connects.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use groundcrew::Failure;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// How far a look may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// The public Internet.
    Public,
    /// Addresses inside, too.
    Private,
    /// Anywhere: the operator's own configuration names the place.
    Anywhere,
}

impl Reach {
    fn has(self, address: IpAddr) -> bool {
        match self {
            Self::Public => is_public(address) && !tells_secrets(address),
            Self::Private => !tells_secrets(address),
            Self::Anywhere => true,
        }
    }

    fn refuses(self, what: &str) -> Refused {
        let what = what.to_owned();
        match self {
            Self::Public => Refused::NotPublic(what),
            Self::Private | Self::Anywhere => Refused::TellsSecrets(what),
        }
    }

    /// Of a URL whose host is an address: nobody resolves it.
    pub(super) fn literal(self, url: &Url) -> Result<(), Failure> {
        let host = url.host_str().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        match bare.parse::<IpAddr>() {
            Ok(address) if !self.has(address) => {
                Err(Failure::Denied(self.refuses(host).to_string()))
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

/// A name or address that may not be asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("`{0}` is not public, and the grant does not have the verb `check-private`")]
    NotPublic(String),
    #[error(
        "`{0}` is link-local, or where a platform tells its secrets: no grant goes there; a place of the target in your own configuration does"
    )]
    TellsSecrets(String),
}

/// Resolves to what is within reach, and to nothing if a name has no such address.
pub(super) struct Within(pub(super) Reach);

impl Resolve for Within {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let kept: Vec<SocketAddr> = found.filter(|found| reach.has(found.ip())).collect();
            if kept.is_empty() {
                return Err(reach.refuses(name.as_str()).into());
            }
            let addresses: Addrs = Box::new(kept.into_iter());
            Ok(addresses)
        })
    }
}

/// Whether an address is link-local (RFC 3927, RFC 4291), or one at which a platform tells its Machines
/// who they are. (Documentation of AWS for `fd00:ec2::254`, of Azure for `168.63.129.16`, of Alibaba Cloud
/// for `100.100.100.200`; the others are link-local.)
fn tells_secrets(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.is_link_local()
                || v4 == Ipv4Addr::new(168, 63, 129, 16)
                || v4 == Ipv4Addr::new(100, 100, 100, 200)
        }
        IpAddr::V6(v6) => {
            let inner = v6.to_ipv4_mapped().or_else(|| translated(v6));
            v6.is_unicast_link_local()
                || v6 == Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254)
                || inner.is_some_and(|v4| tells_secrets(IpAddr::V4(v4)))
        }
    }
}

/// The address behind one that is translated (NAT64, RFC 6052) or tunnelled (6to4, RFC 3056).
fn translated(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let octets = address.octets();
    let v4 = |at: usize| Ipv4Addr::new(octets[at], octets[at + 1], octets[at + 2], octets[at + 3]);
    let segments = address.segments();
    if segments[..6] == [0x64, 0xff9b, 0, 0, 0, 0] {
        return Some(v4(12));
    }
    (segments[0] == 0x2002).then(|| v4(2))
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

    #[test]
    fn where_a_platform_tells_its_secrets_no_grant_goes() {
        for secret in [
            "169.254.169.254",
            "169.254.0.1",
            "168.63.129.16",
            "100.100.100.200",
            "fe80::1",
            "fd00:ec2::254",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::",
        ] {
            let address = secret.parse().unwrap();
            assert!(!Reach::Private.has(address), "{secret}");
            assert!(!Reach::Public.has(address), "{secret}");
            assert!(Reach::Anywhere.has(address), "{secret}");
        }
        for inside in ["127.0.0.1", "10.1.2.3", "fdaa:0:1::3", "::1", "1.1.1.1"] {
            assert!(Reach::Private.has(inside.parse().unwrap()), "{inside}");
        }
    }
}
