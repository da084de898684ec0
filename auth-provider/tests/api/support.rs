//! A server of its own for each test.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use actix_web::{rt::task::JoinHandle, web::Data};
use auth_provider::{
    config::{Config, Settings},
    server::AuthServer,
    startup::{self, Handle, Running},
};
use m2m::{Clock, ManualClock};
use reqwest::{Client, RequestBuilder, Response};
use serde_json::Value;
use tempfile::TempDir;

/// When the tests take place: 2026-01-01T00:00:00Z.
pub(crate) const NOW: u64 = 1_767_225_600;

/// `bot` may call two resources, `single` one, `nobody` none; `ending` holds a grant that ends in ten minutes.
pub(crate) const POLICY: &str = r#"
    [resources.notes]
    owner = "notes-server"
    scopes = { "note.read" = "Read notes", "note.write" = "Write notes" }
    [resources.calendar]
    owner = "calendar-server"
    token_lifetime = "30m"
    scopes = { "calendar.read" = "Read events" }
    [resources.lab]
    owner = "lab-server"
    token_format = "opaque"
    scopes = { "lab.use" = "Use the lab" }
    [resources.plain]
    [resources.secret-lab]

    [clients.notes-server]
    [clients.calendar-server]
    [clients.root]
    [clients.lab-server]
    [clients.courier]
    [clients.bot]
    [clients.single]
    [clients.nobody]
    [clients.ending]

    [[grants]]
    client = "courier"
    resource = "lab"
    scopes = ["lab.use"]
    [[grants]]
    client = "root"
    resource = "auth-provider"
    scopes = ["tokens:introspect", "tokens:revoke"]
    [[grants]]
    client = "bot"
    resource = "notes"
    scopes = ["note.read", "note.write"]
    [[grants]]
    client = "bot"
    resource = "calendar"
    scopes = ["calendar.read"]
    token_lifetime = "5m"
    [[grants]]
    client = "single"
    resource = "plain"
    [[grants]]
    client = "ending"
    resource = "notes"
    scopes = ["note.read"]
    expires_at = "2026-01-01T00:10:00Z"
    "#;

/// A folder for one server's files, with a policy in it.
pub(crate) fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("policy.toml"), POLICY).unwrap();
    folder
}

/// A configuration that keeps everything in `folder`; `more` lines of TOML can add to it.
pub(crate) fn config(folder: &Path, more: &str) -> Config {
    let at = |name: &str| folder.join(name).display().to_string();
    let table = |toml: &str| toml.parse::<toml::Table>().unwrap();
    let mut settings = table(&format!(
        "data_dir = '{}'\nclients_file = '{}'\npolicy = '{}'\nworkers = 1\nlisten = '127.0.0.1:0'",
        at("data"),
        at("clients.json"),
        at("policy.toml"),
    ));
    settings.extend(table(more));
    settings.try_into::<Settings>().unwrap().load(None).unwrap()
}

/// A server that ends with its test's runtime, or when it is stopped.
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) issuer: String,
    pub(crate) http: Client,
    pub(crate) folder: TempDir,
    pub(crate) clock: ManualClock,
    /// The server's inside, to tend its keys when the clock was moved.
    pub(crate) auth: Data<AuthServer>,
    handle: Handle,
    ended: Option<JoinHandle<std::io::Result<()>>>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_in(folder(), ManualClock::at(NOW)).await
    }

    pub(crate) async fn start_in(folder: TempDir, clock: ManualClock) -> Self {
        Self::start_as(folder, clock, "").await
    }

    /// With another policy, and with more lines of configuration.
    pub(crate) async fn start_with(policy: &str, more: &str) -> Self {
        let folder = folder();
        fs::write(folder.path().join("policy.toml"), policy).unwrap();
        Self::start_as(folder, ManualClock::at(NOW), more).await
    }

    /// One of several servers on a PostgreSQL, which all go by one name.
    pub(crate) async fn start_replica(database: &str, more: &str) -> Self {
        let more = format!(
            "public_url = 'http://localhost:9'\ndatabase_url = '{database}'\nmaster_key = '{}='\n{more}",
            "A".repeat(43)
        );
        Self::start_as(folder(), ManualClock::at(NOW), &more).await
    }

    async fn start_as(folder: TempDir, clock: ManualClock, more: &str) -> Self {
        let config = config(folder.path(), more);
        let running = startup::start(&config, clock.clock()).await.unwrap();
        let Running {
            issuer,
            server,
            addresses,
            ..
        } = &running;
        let url = format!("http://localhost:{}", addresses[0].port());
        let (issuer, auth) = (issuer.clone(), Data::clone(server));
        let handle = running.handle();
        let ended = Some(actix_web::rt::spawn(running.run()));
        Self {
            url,
            issuer,
            http: m2m::http_client(Duration::from_secs(10)),
            folder,
            clock,
            auth,
            handle,
            ended,
        }
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.http.get(format!("{}{path}", self.url))
    }

    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.http.post(format!("{}{path}", self.url))
    }

    /// Moves the clock and does what is due by then.
    pub(crate) async fn advance(&self, by: Duration) {
        self.clock.advance(by);
        self.auth.keys.tend().await.unwrap();
    }

    /// The address for a connection by hand.
    pub(crate) fn address(&self) -> String {
        self.url.replace("http://localhost", "127.0.0.1")
    }

    pub(crate) fn secret(&self, client: &str) -> String {
        secret_in(&self.folder.path().join("clients.json"), client)
    }

    /// Asks for a token as `client`, with Basic and a form.
    pub(crate) async fn ask(&self, client: &str, form: &[(&str, &str)]) -> Response {
        let request = self
            .post("/oauth/token")
            .basic_auth(client, Some(self.secret(client)));
        let form = [&[("grant_type", "client_credentials")], form].concat();
        request.form(&form).send().await.unwrap()
    }
}

impl Server {
    /// Stops as SIGTERM does, and hands over what is on disk.
    pub(crate) async fn stop(mut self) -> TempDir {
        self.handle.stop().await;
        self.ended
            .take()
            .expect("a server is stopped once")
            .await
            .unwrap()
            .unwrap();
        std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap())
    }

    /// A token of `client` for `resource`.
    pub(crate) async fn token(&self, client: &str, resource: &str) -> String {
        let answer = json(self.ask(client, &[("resource", resource)]).await).await;
        answer["access_token"]
            .as_str()
            .expect("the policy allows it")
            .to_owned()
    }

    /// Posts `token=…` as `client`.
    pub(crate) async fn about(&self, path: &str, client: &str, token: &str) -> Response {
        let request = self
            .post(path)
            .basic_auth(client, Some(self.secret(client)));
        request.form(&[("token", token)]).send().await.unwrap()
    }

    /// What `client` learns about `token`.
    pub(crate) async fn introspect(&self, client: &str, token: &str) -> Value {
        let answer = self.about("/oauth/introspect", client, token).await;
        assert_eq!(answer.status(), 200);
        json(answer).await
    }

    /// Revokes `token` as `client`, which looks the same whether it does anything or not.
    pub(crate) async fn revoke(&self, client: &str, token: &str) {
        let answer = self.about("/oauth/revoke", client, token).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.text().await.unwrap(), "");
    }
}

pub(crate) async fn start(folder: &Path, clock: Clock) -> anyhow::Result<Running> {
    startup::start(&config(folder, ""), clock).await
}

/// Every file of the data folder. SQLite may still be tidying up after a server that has ended: what it removes in the
/// meantime is not there.
pub(crate) fn stored(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder.join("data")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter_map(|path| fs::read(&path).ok().map(|bytes| (path, bytes)))
        .collect()
}

pub(crate) fn secret_in(clients_file: &Path, client: &str) -> String {
    let entries: Value = serde_json::from_slice(&fs::read(clients_file).unwrap()).unwrap();
    assert_eq!(entries[client]["clientId"], client);
    entries[client]["clientSecret"].as_str().unwrap().to_owned()
}

pub(crate) async fn json(answer: Response) -> Value {
    answer.json().await.unwrap()
}
