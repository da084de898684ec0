//! A vault of its own for each test, with an issuer and a provider beside it.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use actix_web::rt::task::JoinHandle;
use clap::Parser;
use m2m::{Clock, ManualClock, http_client, testing::TestIssuer};
use reqwest::{Client, Response};
use serde_json::{Value, json};
use tempfile::TempDir;
use token_vault::{Config, own_keys::OwnKeys, provider::Dialect, startup, vault::Vault};

use crate::{emulator::Emulator, openbao::Openbao, support::NOW};

/// All that a caller may be allowed.
pub(crate) const ALL: &str = "tokens.read tokens.write tokens.delete audit.read";

/// One server of a vault.
pub(crate) struct Replica {
    pub(crate) url: String,
    pub(crate) vault: std::sync::Arc<Vault>,
    pub(crate) own_keys: std::sync::Arc<OwnKeys>,
    serving: JoinHandle<()>,
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

pub(crate) struct World {
    pub(crate) issuer: TestIssuer,
    pub(crate) provider: Emulator,
    pub(crate) hand: ManualClock,
    pub(crate) folder: TempDir,
    pub(crate) http: Client,
    pub(crate) replicas: Vec<Replica>,
    /// Where the first replica, or the program, is reached.
    pub(crate) base: String,
    /// In milliseconds.
    pub(crate) provider_timeout: u32,
    /// Whether the key is in a file although there is a Vault server.
    pub(crate) local_key: bool,
    clock: Clock,
    database: Option<String>,
    /// The Vault server, where it is the database.
    pub(crate) openbao: Option<Openbao>,
}

/// Writes a file that only its owner can read.
pub(crate) fn private_file(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_as(Dialect::Generic, None, 1).await
    }

    /// So many replicas on one database.
    pub(crate) async fn start_as(
        dialect: Dialect,
        database: Option<String>,
        replicas: usize,
    ) -> Self {
        let hand = ManualClock::at(NOW);
        let world = Self::without_vault(dialect, database, hand.clock()).await;
        Self { hand, ..world }.with_replicas(replicas).await
    }

    /// So many replicas on one Vault server, which has their key as well.
    pub(crate) async fn start_on(dialect: Dialect, openbao: Openbao, replicas: usize) -> Self {
        let hand = ManualClock::at(NOW);
        let world = Self::without_vault_on(dialect, openbao, hand.clock()).await;
        Self { hand, ..world }.with_replicas(replicas).await
    }

    async fn with_replicas(mut self, replicas: usize) -> Self {
        for _ in 0..replicas {
            let replica = self.replica(&[]).await.unwrap();
            self.add(replica);
        }
        self
    }

    /// Only the issuer, the provider and a Vault server.
    pub(crate) async fn without_vault_on(dialect: Dialect, openbao: Openbao, clock: Clock) -> Self {
        let world = Self::without_vault(dialect, Some(openbao.database()), clock).await;
        Self {
            openbao: Some(openbao),
            ..world
        }
    }

    /// What the program needs in its environment.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        let openbao = self.openbao.as_ref();
        openbao
            .map(|openbao| openbao.variables.clone())
            .unwrap_or_default()
    }

    /// Only the issuer and the provider.
    pub(crate) async fn without_vault(
        dialect: Dialect,
        database: Option<String>,
        clock: Clock,
    ) -> Self {
        let world = Self {
            issuer: TestIssuer::start_at(clock.clone()).await,
            provider: Emulator::start(dialect),
            hand: ManualClock::at(NOW),
            clock,
            folder: tempfile::tempdir().unwrap(),
            http: http_client(Duration::from_secs(30)),
            replicas: Vec::new(),
            base: String::new(),
            provider_timeout: 5000,
            local_key: false,
            database,
            openbao: None,
        };
        world.write_providers(dialect);
        world
    }

    pub(crate) fn add(&mut self, replica: Replica) {
        if self.replicas.is_empty() {
            self.base.clone_from(&replica.url);
        }
        self.replicas.push(replica);
    }

    fn write_providers(&self, dialect: Dialect) {
        let secret = self.folder.path().join("secret");
        private_file(&secret, "s3cret-of-the-vault");
        let kind = format!("{dialect:?}").to_lowercase();
        let secret = secret.display().to_string();
        let entries = [
            self.provider.entry("hub", &kind, &secret),
            self.provider.entry("slack", "slack", &secret),
            // Nobody listens there.
            "[providers.bare]\nkind = 'generic'\ntoken_endpoint = 'http://127.0.0.1:1/token'\n\
             revocation_endpoint = 'http://127.0.0.1:1/revoke'\n"
                .to_owned(),
        ];
        fs::write(self.folder.path().join("providers.toml"), entries.concat()).unwrap();
    }

    /// The arguments with which a server of this world starts.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let at = |name: &str| self.folder.path().join(name).display().to_string();
        let database = self
            .database
            .clone()
            .unwrap_or_else(|| format!("sqlite:{}", at("vault.db")));
        let mut arguments = vec!["token-vault".to_owned()];
        arguments.extend(
            [
                ("listen", "127.0.0.1:0".to_owned()),
                ("issuer", self.issuer.url().to_owned()),
                ("public-url", "https://vault.example".to_owned()),
                ("clients-file", at("clients.json")),
                ("revocation", "none".to_owned()),
                ("data-dir", at("data")),
                ("database-url", database),
                ("providers", at("providers.toml")),
                ("provider-timeout", self.provider_timeout.to_string()),
                ("workers", "1".to_owned()),
            ]
            .map(|(name, value)| format!("--{name}={value}")),
        );
        let key = self
            .openbao
            .as_ref()
            .filter(|_| !self.local_key)
            .map(Openbao::transit_key);
        arguments.extend(key.map(|key| format!("--transit-key={key}")));
        arguments
    }

    /// Another server on the same database.
    pub(crate) async fn replica(&self, more: &[&str]) -> anyhow::Result<Replica> {
        let more = more.iter().map(|text| (*text).to_owned());
        let mut config = Config::parse_from(self.arguments().into_iter().chain(more));
        config.hashicorp = self.openbao.as_ref().map(Openbao::settings);
        let running = startup::start(config, self.clock.clone()).await?;
        let (url, vault) = (running.url(), std::sync::Arc::clone(&running.vault));
        let own_keys = std::sync::Arc::clone(&running.own_keys);
        let serving = actix_web::rt::spawn(async move { drop(running.until_stopped().await) });
        Ok(Replica {
            url,
            vault,
            own_keys,
            serving,
        })
    }

    /// Stops the first replica, as for a restart on the same files.
    pub(crate) async fn stop(&mut self) {
        let mut replica = self.replicas.remove(0);
        replica.serving.abort();
        drop((&mut replica.serving).await);
    }

    /// Another server in the place of the first.
    pub(crate) async fn stop_and_start(&mut self, more: &[&str]) -> Replica {
        self.stop().await;
        self.replica(more).await.unwrap()
    }

    /// The first replica's address with a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub(crate) fn token(&self, client: &str, scope: &str) -> String {
        self.issuer
            .token()
            .subject(client)
            .audience("token-vault")
            .scope(scope)
            .mint()
    }

    pub(crate) async fn post(&self, client: &str, path: &str, body: &Value) -> Response {
        let request = self
            .http
            .post(self.url(path))
            .bearer_auth(self.token(client, ALL));
        request.json(body).send().await.unwrap()
    }

    pub(crate) async fn get(&self, client: &str, path: &str) -> Response {
        let request = self
            .http
            .get(self.url(path))
            .bearer_auth(self.token(client, ALL));
        request.send().await.unwrap()
    }

    pub(crate) async fn delete(&self, client: &str, path: &str) -> Response {
        let request = self
            .http
            .delete(self.url(path))
            .bearer_auth(self.token(client, ALL));
        request.send().await.unwrap()
    }

    /// `bot` stores the tokens of a new consent of this name, for the user of this name at `hub`; they end in so many seconds.
    pub(crate) async fn stored(&self, name: &str, expires_in: u64) -> String {
        let (access, refresh) = self.provider.consent(name);
        let body = json!({
            "user": name, "connection": "acme", "access_token": access, "refresh_token": refresh,
            "expires_in": expires_in,
        });
        let answer = self.post("bot", "/hub", &body).await;
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
        access
    }

    /// What `bot` gets for that user.
    pub(crate) async fn fetched(&self, name: &str) -> Response {
        self.get("bot", &format!("/hub?user={name}&connection=acme"))
            .await
    }

    /// The events of `bot`'s log with this action.
    pub(crate) async fn events(&self, action: &str) -> Vec<Value> {
        if let Some(replica) = self.replicas.first() {
            replica.vault.journal.settle().await.unwrap();
        }
        let answer = json(
            self.get("bot", &format!("/audit?limit=1000&action={action}"))
                .await,
        )
        .await;
        answer["events"].as_array().unwrap().clone()
    }
}

pub(crate) async fn json(answer: Response) -> Value {
    answer.json().await.unwrap()
}

/// The access token of an answer.
pub(crate) async fn access(answer: Response) -> String {
    let status = answer.status();
    let body = json(answer).await;
    assert_eq!(status, 200, "{body}");
    body["access_token"].as_str().unwrap().to_owned()
}
