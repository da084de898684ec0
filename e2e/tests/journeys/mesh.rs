//! The service mesh: three services that call each other, as programs of their own.

use std::time::Duration;

use m2m::http_client;
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    programs::{Program, command},
    support::{own_port, status, until},
};

const NAMES: [&str; 3] = ["m1", "m2", "m3"];

/// The provider and the three services, with the demo's policy, each a process.
struct Mesh {
    http: Client,
    folder: TempDir,
    provider_port: u16,
    ports: [u16; 3],
    provider: Option<Program>,
    services: [Option<Program>; 3],
}

impl Mesh {
    async fn start() -> Self {
        let mut mesh = Self {
            http: http_client(Duration::from_secs(10)),
            folder: tempfile::tempdir().unwrap(),
            provider_port: own_port(),
            ports: [own_port(), own_port(), own_port()],
            provider: None,
            services: [None, None, None],
        };
        // The provider comes last: the services wait for it.
        for name in NAMES {
            mesh.start_service(name);
        }
        mesh.start_provider();
        for name in NAMES {
            mesh.until_ready(name).await;
        }
        mesh
    }

    fn start_provider(&mut self) {
        let policy = concat!(env!("CARGO_MANIFEST_DIR"), "/../demo/policy.toml");
        let listen = format!("localhost:{}", self.provider_port);
        let arguments = ["--listen", &listen, "--policy", policy, "--workers", "1"];
        self.provider = Some(Program::start(
            "auth-provider",
            &arguments,
            self.folder.path(),
        ));
    }

    fn start_service(&mut self, name: &str) {
        let services = NAMES.map(|name| format!("{name}={}", self.url(name)));
        let issuer = format!("http://localhost:{}/auth", self.provider_port);
        let services = services.join(",");
        let arguments = [
            name,
            "--services",
            &services,
            "--issuer",
            &issuer,
            "--workers",
            "1",
        ];
        let program = Program::start("microservice", &arguments, self.folder.path());
        self.services[index(name)] = Some(program);
    }

    async fn until_ready(&self, name: &str) {
        let ready = || self.http.get(self.url(name) + "/ready").send();
        until("the service is ready", async || {
            ready().await.is_ok_and(|answer| answer.status() == 200)
        })
        .await;
    }

    fn url(&self, name: &str) -> String {
        format!("http://localhost:{}", self.ports[index(name)])
    }

    /// Asks `from` to call `to`.
    fn query(&self, from: &str, to: &str) -> RequestBuilder {
        let query = self.http.post(self.url(from) + "/query");
        query.json(&json!({"target": to}))
    }

    async fn calls(&self, from: &str, to: &str) -> (u16, String) {
        let answer = self.query(from, to).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// Gives a token that is good for `resource`, straight from the provider.
    async fn token(&self, client: &str, resource: &str) -> String {
        let clients = std::fs::read(self.folder.path().join("clients.json")).unwrap();
        let clients: Value = serde_json::from_slice(&clients).unwrap();
        let url = format!("http://localhost:{}/auth/oauth/token", self.provider_port);
        let form = [("grant_type", "client_credentials"), ("resource", resource)];
        let secret = clients[client]["clientSecret"].as_str();
        let request = self.http.post(url).basic_auth(client, secret).form(&form);
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        answer["access_token"].as_str().unwrap().to_owned()
    }
}

fn index(name: &str) -> usize {
    NAMES.iter().position(|known| *known == name).unwrap()
}

#[tokio::test]
async fn the_nine_arrows_are_those_of_the_policy_and_no_others() {
    let mesh = Mesh::start().await;
    for (from, allowed) in [("m1", "m1 m2"), ("m2", "m1 m2"), ("m3", "m1")] {
        for to in NAMES {
            let answer = mesh.query(from, to).send().await.unwrap();
            let challenge = answer.headers().get("www-authenticate").cloned();
            let (status, body) = (answer.status().as_u16(), answer.text().await.unwrap());
            if allowed.contains(to) {
                assert_eq!((status, body), (200, format!("Hello to {from} from {to}!")));
                continue;
            }
            assert_eq!(status, 401, "{from} -> {to}: {body}");
            let says = format!("{from} may not call {to}: policy forbids it");
            assert!(body.contains(&says), "{body}");
            let challenge = challenge.unwrap();
            assert!(challenge.to_str().unwrap().contains(&says), "{challenge:?}");
        }
        // What the service may not get, it cannot borrow: a token is for one of them.
        let token = mesh.token(from, "m1").await;
        for (to, greeted) in [("m1", 200), ("m2", 401), ("m3", 401)] {
            let hello = mesh.http.get(mesh.url(to) + "/hello");
            assert_eq!(
                status(hello.bearer_auth(&token)).await,
                greeted,
                "{from} -> {to}"
            );
        }
    }
    assert_eq!(mesh.calls("m1", "m4").await.0, 404);
    let broken = mesh.http.post(mesh.url("m1") + "/query").body("{");
    assert_eq!(status(broken).await, 400);
    assert_eq!(status(mesh.http.get(mesh.url("m1") + "/hello")).await, 401);
}

#[tokio::test]
async fn a_service_that_starts_with_a_bootstrap_token_calls_whom_it_may() {
    let mesh = Mesh::start().await;
    let provider = format!("http://localhost:{}", mesh.provider_port);
    let made = command("auth-provider", mesh.folder.path())
        .args(["client", "bootstrap", "m1", "--secret-file", "m1.bootstrap"])
        .args(["--url", &provider])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let bearer = std::fs::read_to_string(mesh.folder.path().join("m1.bootstrap")).unwrap();
    let access = async |target: &str| {
        let request = mesh.http.post(format!("{provider}/accesstoken"));
        let request = request.bearer_auth(bearer.trim_end());
        let answer = request
            .json(&json!({"target": target}))
            .send()
            .await
            .unwrap();
        let status = answer.status().as_u16();
        let answer: Value = answer.json().await.unwrap();
        (status, answer["accessToken"].as_str().map(str::to_owned))
    };
    let (status, token) = access("m2").await;
    assert_eq!(status, 200);
    let hello = mesh.http.get(mesh.url("m2") + "/hello");
    let hello = hello.bearer_auth(token.unwrap()).send().await.unwrap();
    assert_eq!(hello.text().await.unwrap(), "Hello to m1 from m2!");
    assert_eq!(access("m3").await, (401, None));
}

#[tokio::test]
async fn each_outage_has_its_own_status_and_ends_by_itself() {
    let mut mesh = Mesh::start().await;
    assert_eq!(mesh.calls("m1", "m2").await.0, 200);

    mesh.services[index("m2")] = None;
    let (status, body) = mesh.calls("m1", "m2").await;
    assert_eq!(status, 502, "{body}");
    assert!(body.contains("m2 does not answer"), "{body}");

    mesh.provider = None;
    // A token for m2 is in hand, for m1 none.
    assert_eq!(mesh.calls("m1", "m2").await.0, 502);
    let (status, body) = mesh.calls("m1", "m1").await;
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("the auth provider cannot be asked"), "{body}");
    // Nor is it known whether m3 may be called.
    assert_eq!(mesh.calls("m1", "m3").await.0, 503);

    mesh.start_service("m2");
    mesh.start_provider();
    mesh.until_ready("m2").await;
    until("the mesh is whole again", async || {
        mesh.calls("m1", "m2").await.0 == 200 && mesh.calls("m1", "m1").await.0 == 200
    })
    .await;
    assert_eq!(mesh.calls("m1", "m3").await.0, 401);
}
