//! How this library speaks HTTP to others: with timeouts, without redirects, in the clear only to this machine.

use std::{net::IpAddr, sync::Once, time::Duration};

use url::{Host, Url};

/// Whether a URL's host can only be this machine, so that plain HTTP to it stays on the machine.
pub fn is_loopback_host(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => IpAddr::from(ip).is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::from(ip).is_loopback(),
        None => false,
    }
}

/// An HTTP client for requests that carry secrets or fetch keys: it follows no redirect, gives up after
/// `timeout`, and speaks TLS with the one crypto library that this workspace links.
pub fn http_client(timeout: Duration) -> reqwest::Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // An error means that the program installed a provider of its own: that one is used.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    });
    reqwest::Client::builder()
        .timeout(timeout)
        .connect_timeout(timeout)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("m2m/", env!("CARGO_PKG_VERSION")))
        .build()
        .expect("the TLS provider was installed above")
}
