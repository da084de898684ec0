//! The calendar as its callers see it: over HTTP, on a port of its own, with tokens from an issuer
//! for tests.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod events;
mod program;
mod requests;
mod tokens;

use std::time::Duration;

use calendar_service::Config;
use m2m::{
    ManualClock, http_client,
    service::{OwnClient, RevocationMode},
    testing::TestIssuer,
    verify::WhenStale,
};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;

/// When every test takes place, in seconds since the epoch.
const NOW: u64 = 1_800_000_000;

/// A calendar that runs, and the issuer it trusts.
struct Calendar {
    url: String,
    issuer: TestIssuer,
    clock: ManualClock,
    http: Client,
}

impl Calendar {
    async fn start() -> Self {
        let clock = ManualClock::at(NOW);
        Self::trusting(TestIssuer::start_at(clock.clock()).await, clock)
    }

    fn trusting(issuer: TestIssuer, clock: ManualClock) -> Self {
        Self::noticing(RevocationMode::Feed, issuer, clock)
    }

    fn noticing(revocation: RevocationMode, issuer: TestIssuer, clock: ManualClock) -> Self {
        let config = Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            issuer: issuer.url().to_owned(),
            audience: "calendar-service".to_owned(),
            revocation,
            when_feed_is_stale: WhenStale::FailOpen,
            clients_file: "no-such-file.json".into(),
            client: Some(OwnClient {
                id: "calendar-service".to_owned(),
                secret: "secret".into(),
            }),
            behind_tls_proxy: false,
            workers: Some(1),
        };
        let server = calendar_service::start(config, &clock.clock()).unwrap();
        let url = server.url();
        tokio::spawn(server.until_stopped());
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

    /// A request with a token that may do everything here.
    fn request(&self, method: &str, path: &str) -> RequestBuilder {
        self.with_scope("calendar.read calendar.write", method, path)
    }

    fn with_scope(&self, scope: &str, method: &str, path: &str) -> RequestBuilder {
        let token = self
            .issuer
            .token()
            .audience("calendar-service")
            .scope(scope);
        self.anonymous(method, path).bearer_auth(token.mint())
    }
}

/// Sends a request that must succeed.
async fn ok(request: RequestBuilder) -> Value {
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(header(&response, "content-type"), "application/json");
    assert_eq!(header(&response, "cache-control"), "no-store");
    response.json().await.unwrap()
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
