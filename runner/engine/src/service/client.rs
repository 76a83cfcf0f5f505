//! How HTTP clients are made, whatever they are for.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, ClientBuilder};
use rustls::ClientConfig;
use rustls_platform_verifier::ConfigVerifierExt;

/// A client that follows nobody anywhere, uses no proxy of the environment, and gives up connecting.
pub fn builder() -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("groundcrew/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .tcp_nodelay(true)
        .connect_timeout(Duration::from_secs(10))
        .pool_idle_timeout(Duration::from_secs(30))
}

/// TLS with the system's certificates, which are read here.
pub fn tls() -> Result<ClientConfig, String> {
    // Another part of the program may have installed the same provider before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    ClientConfig::with_platform_verifier().map_err(|e| e.to_string())
}

/// Resolves names to such addresses only, and to nothing where a name has none.
pub struct Only(pub fn(IpAddr) -> bool);

/// A name that leads to no such address.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` leads to no address that it may lead to")]
struct Elsewhere(String);

impl Resolve for Only {
    fn resolve(&self, name: Name) -> Resolving {
        let may = self.0;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let kept: Vec<SocketAddr> = found.filter(|found| may(found.ip())).collect();
            if kept.is_empty() {
                return Err(Elsewhere(name.as_str().to_owned()).into());
            }
            let addresses: Addrs = Box::new(kept.into_iter());
            Ok(addresses)
        })
    }
}
