//! The programs of a journey.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::PathBuf,
    process,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use assistant_cli::{
    api::{Api, Servers},
    credentials::{self, Credentials, Places},
};
use auth_provider::{config::Settings, startup};
use clap::Parser;
use m2m::{
    Clock, TokenSource, http_client,
    service::{Listen, Running},
};
use reqwest::{Client, RequestBuilder, Response};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{task::JoinHandle, time};

pub(crate) const CALENDAR: &str = "calendar-service";
pub(crate) const NOTES: &str = "note-service";

/// A second client, for the journeys that need one.
pub(crate) const READER: &str = r#"
    [clients.reader]
    [[grants]]
    client = "reader"
    resource = "calendar-service"
    scopes = ["calendar.read"]
    "#;

/// An auth-provider that can go down and come back, at the same address and with the same files.
pub(crate) struct Provider {
    pub(crate) issuer: String,
    pub(crate) http: Client,
    folder: TempDir,
    port: u16,
    clock: Clock,
    server: Option<JoinHandle<()>>,
}

impl Provider {
    pub(crate) async fn start() -> Self {
        Self::start_with("", Clock::System).await
    }

    /// A provider whose policy is the demo's and `more`.
    pub(crate) async fn start_with(more: &str, clock: Clock) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../demo/policy.toml");
        fs::copy(demo, folder.path().join("policy.toml")).unwrap();
        let port = own_port();
        let mut provider = Self {
            issuer: format!("http://localhost:{port}/auth"),
            http: http_client(Duration::from_secs(10)),
            folder,
            port,
            clock,
            server: None,
        };
        provider.add_to_policy(more);
        provider.up().await;
        provider
    }

    pub(crate) async fn up(&mut self) {
        let path = |name| self.folder.path().join(name).display().to_string();
        let settings = format!(
            "listen = 'localhost:{}'\nworkers = 1\n\
             data_dir = '{}'\nclients_file = '{}'\npolicy = '{}'",
            self.port,
            path("data"),
            path("clients.json"),
            path("policy.toml"),
        );
        let settings: Settings = toml::from_str(&settings).unwrap();
        let config = settings.load(None).unwrap();
        let running = startup::start(&config, self.clock.clone()).await.unwrap();
        assert_eq!(running.issuer, self.issuer);
        self.server = Some(tokio::spawn(async { running.run().await.unwrap() }));
    }

    /// Takes the server away, connections included.
    pub(crate) async fn down(&mut self) {
        let server = self.server.take().unwrap();
        let health = || self.http.get(self.url("/health")).send();
        health().await.unwrap(); // and now there is a connection to lose
        server.abort();
        assert!(server.await.unwrap_err().is_cancelled());
        // Dropping a server closes its listeners; its worker ends a moment later.
        until("the provider is down", async || health().await.is_err()).await;
    }

    /// Loses keys, clients and secrets.
    pub(crate) fn lose_all_data(&self) {
        fs::remove_dir_all(self.folder.path().join("data")).unwrap();
        fs::remove_file(self.clients_file()).unwrap();
    }

    /// It counts from the next start on.
    pub(crate) fn add_to_policy(&self, more: &str) {
        let path = self.folder.path().join("policy.toml");
        let mut file = OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(more.as_bytes()).unwrap();
    }

    pub(crate) fn clients_file(&self) -> PathBuf {
        self.folder.path().join("clients.json")
    }

    pub(crate) fn secret(&self, client: &str) -> String {
        let clients: Value =
            serde_json::from_slice(&fs::read(self.clients_file()).unwrap()).unwrap();
        clients[client]["clientSecret"].as_str().unwrap().to_owned()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.port)
    }

    /// A token request, without any library's help.
    pub(crate) fn ask(&self, client: &str, secret: &str, resource: &str) -> RequestBuilder {
        let form = [("grant_type", "client_credentials"), ("resource", resource)];
        let request = self.http.post(self.url("/auth/oauth/token"));
        request.basic_auth(client, Some(secret)).form(&form)
    }

    /// The tokens of a client, with the secret that it has now.
    pub(crate) fn tokens(&self, client: &str) -> TokenSource {
        TokenSource::client_secret(&self.issuer, client, self.secret(client)).unwrap()
    }

    /// The assistant's own way to its secret and to the services.
    pub(crate) fn assistant(&self, calendar: &str, notes: &str) -> Api {
        let servers = Servers {
            issuer: self.issuer.clone(),
            calendar: calendar.parse().unwrap(),
            note: notes.parse().unwrap(),
            files: notes.parse().unwrap(),
        };
        Api::new(servers, &self.assistants_credentials()).unwrap()
    }

    fn assistants_credentials(&self) -> Credentials {
        let places = Places {
            client_id: None,
            client_secret: None,
            file: Some(self.clients_file()),
            folder: self.folder.path().to_owned(),
        };
        credentials::find(&places).unwrap()
    }
}

/// A port for a server that goes down and comes back. It lies below those that systems hand out on
/// their own, so nobody takes it in the meantime.
pub(crate) fn own_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let nth = NEXT.fetch_add(1, Ordering::Relaxed);
        let offset = process::id().wrapping_mul(16).wrapping_add(nth) % 20_000;
        let port = u16::try_from(10_000 + offset).unwrap();
        let listen = Listen::Loopback { port };
        if listen.bind().is_ok() {
            return port;
        }
    }
}

/// Starts a calendar-service that verifies by itself alone, and says where.
pub(crate) fn calendar(issuer: &str, clock: &Clock) -> String {
    calendar_with(issuer, clock, &["--revocation", "none"])
}

/// Starts a calendar-service with more arguments on its command line, and says where.
pub(crate) fn calendar_with(issuer: &str, clock: &Clock, more: &[&str]) -> String {
    let common = [
        "calendar-service",
        "--listen=127.0.0.1:0",
        "--workers=1",
        "--issuer",
        issuer,
    ];
    let config = calendar_service::Config::parse_from(common.iter().chain(more));
    run(calendar_service::start(config, clock).unwrap())
}

/// Starts a note-service that verifies by itself alone, and says where.
pub(crate) fn notes(issuer: &str) -> String {
    notes_with(issuer, &["--revocation", "none"])
}

/// Starts a note-service with more arguments on its command line, and says where.
pub(crate) fn notes_with(issuer: &str, more: &[&str]) -> String {
    let common = [
        "note-service",
        "--listen=127.0.0.1:0",
        "--workers=1",
        "--issuer",
        issuer,
    ];
    let config = note_service::Config::parse_from(common.iter().chain(more));
    run(note_service::start(config, &Clock::System).unwrap())
}

pub(crate) fn run(server: Running) -> String {
    let url = server.url();
    tokio::spawn(server.until_stopped());
    url
}

/// Asks again and again until it holds, and gives up after ten seconds.
pub(crate) async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let asking = async {
        while !holds().await {
            time::sleep(Duration::from_millis(10)).await;
        }
    };
    let outcome = time::timeout(Duration::from_secs(10), asking).await;
    outcome.unwrap_or_else(|_| panic!("not within ten seconds: {what}"));
}

/// Waits until a service holds its issuer's keys.
pub(crate) async fn until_ready(http: &Client, service: &str) {
    let ready = || http.get(format!("{service}/ready"));
    until("the service is ready", async || {
        status(ready()).await == 200
    })
    .await;
}

/// An answer that says no: its status, its challenge and its body.
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) challenge: String,
    pub(crate) body: Value,
}

pub(crate) async fn refusal(request: RequestBuilder) -> Refusal {
    let response = request.send().await.unwrap();
    Refusal {
        status: response.status().as_u16(),
        challenge: header(&response, "www-authenticate").to_owned(),
        body: response.json().await.unwrap(),
    }
}

pub(crate) async fn status(request: RequestBuilder) -> u16 {
    request.send().await.unwrap().status().as_u16()
}

pub(crate) fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}
