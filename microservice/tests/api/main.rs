//! A service of the mesh as its callers see it: over HTTP, on a port of its own, with tokens from an
//! issuer for tests.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod hello;
mod program;
mod query;
mod tokens;

use std::time::Duration;

use m2m::{
    ManualClock, http_client,
    service::{OwnClient, RevocationMode},
    testing::TestIssuer,
    verify::WhenStale,
};
use microservice::Config;
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::Value;

/// When every test takes place, in seconds since the epoch.
const NOW: u64 = 1_800_000_000;

/// A URL where nobody listens: port 9 (discard).
const NOBODY: &str = "http://127.0.0.1:9";

/// The service `m1`, which runs, and the issuer it trusts.
struct Service {
    url: String,
    issuer: TestIssuer,
    clock: ManualClock,
    http: Client,
}

impl Service {
    /// A service that knows no other one that is up.
    async fn start() -> Self {
        Self::knowing(&[("m2", NOBODY)]).await
    }

    /// A service that knows these.
    async fn knowing(services: &[(&str, &str)]) -> Self {
        Self::with(services, |_| {}).await
    }

    async fn with(services: &[(&str, &str)], change: impl FnOnce(&mut Config)) -> Self {
        let clock = ManualClock::at(NOW);
        let issuer = TestIssuer::start_at(clock.clock()).await;
        let url = start("m1", issuer.url(), &clock, services, change);
        Self {
            url,
            issuer,
            clock,
            http: http_client(Duration::from_secs(10)),
        }
    }

    /// A request without a token.
    fn anonymous(&self, method: &str, path: &str) -> RequestBuilder {
        let method: Method = method.parse().unwrap();
        self.http.request(method, format!("{}{path}", self.url))
    }

    fn query(&self, target: &str) -> RequestBuilder {
        let body = serde_json::json!({"target": target});
        self.anonymous("POST", "/query").json(&body)
    }

    /// A good token for this service, about `m3`.
    fn token(&self) -> String {
        let token = self.issuer.token().subject("m3").audience("m1");
        token.scope("hello").mint()
    }
}

/// Starts a service, and says where.
fn start(
    name: &str,
    issuer: &str,
    clock: &ManualClock,
    services: &[(&str, &str)],
    change: impl FnOnce(&mut Config),
) -> String {
    let services = services
        .iter()
        .map(|(name, url)| format!("{name}={url}"))
        .collect::<Vec<_>>();
    let mut config = Config {
        name: name.parse().unwrap(),
        services: services.join(",").parse().unwrap(),
        listen: Some("127.0.0.1:0".parse().unwrap()),
        issuer: issuer.to_owned(),
        revocation: RevocationMode::None,
        when_feed_is_stale: WhenStale::FailOpen,
        clients_file: "no-such-file.json".into(),
        client: Some(OwnClient {
            id: name.to_owned(),
            secret: "secret".into(),
        }),
        behind_tls_proxy: false,
        workers: Some(1),
    };
    change(&mut config);
    let server = microservice::start(config, &clock.clock()).unwrap();
    let url = server.url();
    tokio::spawn(server.until_stopped());
    url
}

/// Sends a request that must be answered with a text.
async fn text(request: RequestBuilder) -> String {
    let response = request.send().await.unwrap();
    let status = response.status();
    assert_eq!(header(&response, "cache-control"), "no-store");
    let media_type = header(&response, "content-type").to_owned();
    let body = response.text().await.unwrap();
    assert_eq!(status, 200, "{body}");
    assert_eq!(media_type, "text/plain; charset=utf-8");
    body
}

/// Sends a request that must be refused, and hands back the status and the RFC 9457 body.
async fn refused(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    assert_eq!(
        header(&response, "content-type"),
        "application/problem+json"
    );
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["status"], status);
    (status, problem)
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}
