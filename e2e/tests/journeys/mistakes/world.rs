//! A folder in which people make mistakes, and a provider that runs there.

use std::{fs, path::Path, process::Stdio, time::Duration};

use m2m::http_client;
use reqwest::{Client, RequestBuilder, header::AUTHORIZATION};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{process::Command, time::timeout};

use crate::{
    programs::{Program, command},
    support::{READER, own_port, until},
};

/// Who is in clients.json and may do nothing.
const NOBODY: &str = "[clients.nobody]\n";

/// A folder with the demo's policy and some more clients.
pub(crate) struct World {
    pub(crate) http: Client,
    pub(crate) folder: TempDir,
    provider: Option<Program>,
    /// The ports of this test, and what readers have in their place.
    ports: Vec<(u16, u16)>,
}

impl World {
    /// Nothing runs yet. The provider is going to be on the first of the ports.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../demo/policy.toml");
        let demo = fs::read_to_string(demo).unwrap();
        let policy = format!("{demo}\n{READER}\n{NOBODY}");
        fs::write(folder.path().join("policy.toml"), policy).unwrap();
        Self {
            http: http_client(Duration::from_secs(10)),
            folder,
            provider: None,
            ports: vec![(own_port(), 3001)],
        }
    }

    /// With a provider that answers.
    pub(crate) async fn with_provider() -> Self {
        let mut world = Self::new();
        world.start_provider().await;
        world
    }

    pub(crate) async fn start_provider(&mut self) {
        let listen = format!("localhost:{}", self.port());
        let arguments = [
            "--listen",
            &listen,
            "--policy",
            "policy.toml",
            "--workers",
            "1",
        ];
        self.provider = Some(Program::start("auth-provider", &arguments, self.path()));
        self.until_alive(self.port()).await;
    }

    pub(crate) fn stop_provider(&mut self) {
        self.provider = None;
    }

    /// The provider goes, and all that it knew. Its `clients.json` stays as `old.json`.
    pub(crate) fn lose_all_data(&mut self) {
        self.stop_provider();
        let path = |name| self.path().join(name);
        fs::remove_dir_all(path("data")).unwrap();
        fs::rename(path("clients.json"), path("old.json")).unwrap();
    }

    /// Starts a service at a port of its own, which readers have as `usual`, and waits until it answers.
    pub(crate) async fn start_service(
        &mut self,
        name: &str,
        usual: u16,
        more: &[&str],
    ) -> (Program, u16) {
        let port = self.port_for(usual);
        let (listen, issuer) = (format!("localhost:{port}"), self.issuer());
        let mut arguments = vec!["--listen", listen.as_str(), "--workers", "1"];
        arguments.extend(more);
        // One that is only asked knows no issuer.
        if !more.contains(&"--issuer") && !more.contains(&"--introspect-url") {
            arguments.extend(["--issuer", issuer.as_str()]);
        }
        let program = Program::start(name, &arguments, self.path());
        self.until_alive(port).await;
        (program, port)
    }

    /// A free port, in whose place readers have another.
    pub(crate) fn port_for(&mut self, usual: u16) -> u16 {
        let port = own_port();
        self.ports.push((port, usual));
        port
    }

    async fn until_alive(&self, port: u16) {
        let health = || {
            self.http
                .get(format!("http://localhost:{port}/health"))
                .send()
        };
        until("the server answers", async || health().await.is_ok()).await;
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn port(&self) -> u16 {
        self.ports[0].0
    }

    pub(crate) fn issuer(&self) -> String {
        format!("http://localhost:{}/auth", self.port())
    }

    pub(crate) fn secret(&self, client: &str) -> String {
        let clients = fs::read(self.path().join("clients.json")).unwrap();
        let clients: Value = serde_json::from_slice(&clients).unwrap();
        clients[client]["clientSecret"].as_str().unwrap().to_owned()
    }

    /// A token of the assistant, or of the client that is named.
    pub(crate) async fn token(&self, client: &str, resource: &str, scope: &str) -> String {
        let form = [
            ("grant_type", "client_credentials"),
            ("resource", resource),
            ("scope", scope),
        ];
        let request = self.http.post(self.issuer() + "/oauth/token");
        let request = request.basic_auth(client, Some(self.secret(client)));
        let answer: Value = request
            .form(&form)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        answer["access_token"].as_str().expect("a token").to_owned()
    }

    /// Runs a program to its end, which is no success, and gives what it wrote to stderr.
    pub(crate) async fn fails(&self, name: &str, arguments: &[&str]) -> String {
        self.fails_with(name, arguments, &[]).await
    }

    /// The same with variables in its environment.
    pub(crate) async fn fails_with(
        &self,
        name: &str,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> String {
        let mut command = command(name, self.path());
        command.args(arguments).envs(variables.iter().copied());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let ended = Command::from(command).kill_on_drop(true).output();
        let ended = timeout(Duration::from_secs(20), ended).await;
        let ended = ended
            .unwrap_or_else(|_| panic!("it goes on: {name} {arguments:?}"))
            .unwrap();
        assert!(!ended.status.success(), "{name} {arguments:?}");
        self.as_read(&String::from_utf8(ended.stderr).unwrap())
    }

    /// What a program's log has, once it has `part` in it.
    pub(crate) async fn log_with(&self, name: &str, part: &str) -> String {
        let log = || fs::read_to_string(self.path().join(format!("{name}.log"))).unwrap();
        until(part, async || log().contains(part)).await;
        self.as_read(&log())
    }

    /// What is answered to a request that is refused: status, code and description.
    pub(crate) async fn answered(&self, request: RequestBuilder) -> String {
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        assert!(status >= 400, "{status}");
        let body: Value = answer.json().await.unwrap();
        let text = |name: &str| body[name].as_str().map(str::to_owned);
        let error = text("error")
            .map(|error| format!(" {error}"))
            .unwrap_or_default();
        let why = text("error_description")
            .or_else(|| text("detail"))
            .unwrap();
        self.as_read(&format!("{status}{error}: {why}"))
    }

    /// The same for a GET with this `Authorization`.
    pub(crate) async fn refused(&self, url: &str, authorization: &str) -> String {
        self.answered(self.http.get(url).header(AUTHORIZATION, authorization))
            .await
    }

    /// With the ports that readers have.
    pub(crate) fn as_read(&self, said: &str) -> String {
        self.ports
            .iter()
            .fold(said.to_owned(), |said, (port, usual)| {
                said.replace(&format!(":{port}"), &format!(":{usual}"))
            })
    }
}
