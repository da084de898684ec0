//! How this library speaks HTTP to others: with timeouts and size limits, without redirects, in the
//! clear only to this machine.

use std::{error::Error, net::IpAddr, sync::Arc, sync::Once, time::Duration};

use reqwest::{NoProxy, Proxy, Response, StatusCode, header::CACHE_CONTROL};
use url::{Host, Url};

use crate::{trace, watch};

/// How long anything fetched from an issuer may take, unless configured otherwise.
pub(crate) const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// The largest answer that is read, in bytes. A key set of a hundred RSA keys has 60 KiB.
const MAX_ANSWER: usize = 256 * 1024;

const USER_AGENT: &str = concat!("m2m/", env!("CARGO_PKG_VERSION"));

/// Whether a URL's host can only be this machine, so that plain HTTP to it stays on the machine.
pub fn is_loopback_host(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => IpAddr::from(ip).is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::from(ip).is_loopback(),
        None => false,
    }
}

/// An HTTP client for requests that carry secrets or fetch keys: it follows no redirect, gives up
/// after `timeout`, and speaks TLS with the one crypto library that this workspace links.
///
/// `HTTPS_PROXY` and `NO_PROXY` count for https only: plain HTTP is for this machine, and a proxy
/// would read the secrets in it.
pub fn http_client(timeout: Duration) -> reqwest::Client {
    client_builder(timeout)
        .timeout(timeout)
        .build()
        .expect("the TLS provider is installed")
}

/// As [`http_client`], for a server whose certificate is signed by one of these authorities and no others: PEM, any number of
/// certificates. `None` when the text holds no certificate.
pub fn http_client_trusting(timeout: Duration, authorities: &[u8]) -> Option<reqwest::Client> {
    let authorities = reqwest::Certificate::from_pem_bundle(authorities).ok()?;
    if authorities.is_empty() {
        return None;
    }
    let client = client_builder(timeout).timeout(timeout);
    client.tls_certs_only(authorities).build().ok()
}

/// As [`http_client`], for an answer without an end: only the pauses in it are bounded.
pub(crate) fn stream_client(longest_pause: Duration) -> reqwest::Client {
    client_builder(FETCH_TIMEOUT)
        .read_timeout(longest_pause)
        .build()
        .expect("the TLS provider is installed")
}

/// A client of the same kind that blocks its thread, for one that has no runtime.
#[cfg(feature = "otlp")]
pub(crate) fn blocking_client_builder() -> reqwest::blocking::ClientBuilder {
    install_tls();
    let client = reqwest::blocking::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(USER_AGENT)
        .no_proxy();
    match https_proxy() {
        Some(proxy) => client.proxy(proxy),
        None => client,
    }
}

fn install_tls() {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // An error means that the program installed a provider of its own: that one is used.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    });
}

fn client_builder(connect_timeout: Duration) -> reqwest::ClientBuilder {
    install_tls();
    let mut client = reqwest::Client::builder()
        .connect_timeout(connect_timeout)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(USER_AGENT)
        .no_proxy();
    if let Some(proxy) = https_proxy() {
        client = client.proxy(proxy);
    }
    client
}

/// Milliseconds, for arithmetic with [`crate::Clock::now_ms`].
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Between three quarters of `pause` and all of it, so that services that lost their issuer
/// together do not all come back together.
pub(crate) fn with_jitter(pause: Duration) -> Duration {
    let mut random = [0_u8];
    aws_lc_rs::rand::fill(&mut random).expect("the system has randomness");
    pause.mul_f64(0.75 + f64::from(random[0]) / 1024.0)
}

fn https_proxy() -> Option<Proxy> {
    let set = |name| std::env::var(name).ok().filter(|url| !url.is_empty());
    let url = set("https_proxy").or_else(|| set("HTTPS_PROXY"))?;
    Some(Proxy::https(url).ok()?.no_proxy(NoProxy::from_env()))
}

/// Why the issuer's answer is not to be had. Cloneable, because everybody who waited for it shares
/// it.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum NetError {
    #[error("no answer from {url}")]
    Unreachable {
        url: String,
        source: Arc<dyn Error + Send + Sync>,
    },
    #[error("{url} answered otherwise than expected: {reason}")]
    Unexpected { url: String, reason: String },
}

impl NetError {
    pub(crate) fn unreachable(url: &Url, source: impl Error + Send + Sync + 'static) -> Self {
        Self::Unreachable {
            url: url.to_string(),
            source: Arc::new(source),
        }
    }

    pub(crate) fn unexpected(url: &Url, reason: impl Into<String>) -> Self {
        Self::Unexpected {
            url: url.to_string(),
            reason: reason.into(),
        }
    }

    /// The error and what it came from, on one line for a log.
    pub(crate) fn chain(&self) -> String {
        let mut line = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            line.push_str(": ");
            line.push_str(&error.to_string());
            cause = error.source();
        }
        line
    }
}

/// An answer that was read to its end.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Vec<u8>,
    /// `max-age` of the answer's `Cache-Control`, where it names one and does not forbid to store.
    pub(crate) max_age: Option<Duration>,
}

/// Sends a request as a part of the current trace.
pub(crate) async fn send(request: reqwest::RequestBuilder) -> reqwest::Result<Response> {
    let (http, request) = request.build_split();
    let mut request = request?;
    trace::inject(request.headers_mut());
    let watched = watch::begin(&request);
    let answer = http.execute(request).await;
    if let Some(watched) = watched {
        watched.end(answer.as_ref().ok());
    }
    answer
}

/// Sends a request to `url` and reads the answer, however much it is meant to be, up to
/// [`MAX_ANSWER`].
pub(crate) async fn ask(request: reqwest::RequestBuilder, url: &Url) -> Result<Answer, NetError> {
    let unreachable = |error: reqwest::Error| NetError::unreachable(url, error.without_url());
    let mut response = send(request).await.map_err(unreachable)?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(NetError::unexpected(url, "the answer is too large"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer {
        status: response.status(),
        body,
        max_age: max_age(&response),
    })
}

/// A JSON document that is fetched with GET. Anything but status 200 is an error.
pub(crate) async fn get(http: &reqwest::Client, url: &Url) -> Result<Answer, NetError> {
    let answer = ask(http.get(url.clone()), url).await?;
    if answer.status != StatusCode::OK {
        return Err(NetError::unexpected(
            url,
            format!("status {}", answer.status.as_u16()),
        ));
    }
    Ok(answer)
}

fn max_age(response: &Response) -> Option<Duration> {
    let value = response
        .headers()
        .get(CACHE_CONTROL)?
        .to_str()
        .ok()?
        .to_ascii_lowercase();
    let mut directives = value.split(',').map(str::trim);
    if directives
        .clone()
        .any(|directive| matches!(directive, "no-store" | "no-cache"))
    {
        return Some(Duration::ZERO);
    }
    let seconds = directives.find_map(|directive| directive.strip_prefix("max-age="))?;
    seconds.parse().ok().map(Duration::from_secs)
}
