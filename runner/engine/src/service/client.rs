//! How HTTP clients are made, whatever they are for.

use std::time::Duration;

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
