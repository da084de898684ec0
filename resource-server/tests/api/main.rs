//! The resource server as its callers see it: over HTTP, on a port of its own, with a provider that
//! answers what the test wants it to.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod answers;
mod callers;
mod program;

use std::time::Duration;

use clap::Parser;
use m2m::{ManualClock, http_client, service::OwnClient};
use reqwest::{Client, RequestBuilder, Response};
use resource_server::Config;
use serde_json::{Value, json};
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{basic_auth, method, path},
};

/// When every test takes place, in seconds since the epoch.
const NOW: u64 = 1_800_000_000;

const TOKEN: &str = "2YotnFZFEjr1zCsicMWpAA";

/// A resource server that runs, and the provider that it asks.
struct Service {
    url: String,
    provider: MockServer,
    clock: ManualClock,
    http: Client,
}

impl Service {
    /// With a provider that has no answer yet.
    async fn start() -> Self {
        Self::configured(&[]).await
    }

    /// With a provider that gives this answer about every token.
    async fn told(answer: ResponseTemplate) -> Self {
        let service = Self::start().await;
        service.answer(answer).await;
        service
    }

    async fn configured(arguments: &[&str]) -> Self {
        Self::waiting(Duration::from_secs(10), arguments).await
    }

    /// Whose questions may take so long.
    async fn waiting(timeout: Duration, arguments: &[&str]) -> Self {
        let provider = MockServer::start().await;
        let clock = ManualClock::at(NOW);
        let mut config = Config::parse_from(["resource-server"].iter().chain(arguments));
        config.listen = Some("127.0.0.1:0".parse().unwrap());
        config.introspect_url = format!("{}/introspect", provider.uri());
        config.workers = Some(1);
        config.timeout = timeout;
        config.client = Some(OwnClient {
            id: "rs".to_owned(),
            secret: "hunter2".into(),
        });
        let server = resource_server::start(config, &clock.clock()).unwrap();
        let url = server.url();
        tokio::spawn(server.until_stopped());
        Self {
            url,
            provider,
            clock,
            http: http_client(Duration::from_secs(10)),
        }
    }

    /// What the provider answers from now on.
    async fn answer(&self, answer: ResponseTemplate) {
        self.provider.reset().await;
        Mock::given(method("POST"))
            .and(path("/introspect"))
            .and(basic_auth("rs", "hunter2"))
            .respond_with(answer)
            .mount(&self.provider)
            .await;
    }

    /// How often the provider was asked about `token` since its answer was set.
    async fn asked(&self, token: &str) -> usize {
        let requests = self.provider.received_requests().await.unwrap();
        let wanted = format!("token={token}&token_type_hint=access_token");
        requests
            .iter()
            .filter(|request| request.body == wanted.as_bytes())
            .count()
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.http.get(format!("{}{path}", self.url))
    }

    fn protected(&self) -> RequestBuilder {
        self.get("/protected").bearer_auth(TOKEN)
    }
}

/// The answer that makes a token good, with these members added or replaced; `null` leaves one out.
fn active(more: &Value) -> Value {
    let mut answer = json!({
        "active": true, "client_id": "job", "scope": "read", "aud": "resource-server",
        "exp": NOW + 60,
    });
    for (name, value) in more.as_object().unwrap() {
        answer[name] = value.clone();
    }
    answer
        .as_object_mut()
        .unwrap()
        .retain(|_, value| !value.is_null());
    answer
}

fn says(answer: &Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(answer)
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

/// Sends a request that must be refused: hands back the status, the error code, and the challenge.
async fn refused(request: RequestBuilder) -> (u16, String, String) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    assert_eq!(header(&response, "content-type"), "application/json");
    assert_eq!(header(&response, "cache-control"), "no-store");
    let challenge = header(&response, "www-authenticate").to_owned();
    let body: Value = response.json().await.unwrap();
    let members: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(members, ["error", "error_description"], "{body}");
    (
        status,
        body["error"].as_str().unwrap().to_owned(),
        challenge,
    )
}
