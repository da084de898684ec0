//! From a configuration to a server that listens. What is made at the first start: folder, tables, key-encryption key, the key
//! that signs answers. What does not fit to what is there is refused, and nothing is changed.

use std::{
    fs::{self, DirBuilder, File, TryLockError},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use actix_web::web::{Data, ServiceConfig};
use anyhow::{Context, bail, ensure};
use m2m::{
    Clock, is_loopback_host,
    service::{self, Readiness, ResourceServer},
    verify::Verifier,
};
use tokio::time::{interval, timeout};
use tracing::{info, warn};

use crate::{
    Config,
    hashicorp::Server,
    http,
    journal::Journal,
    kek::{KekId, KeyEncryptionKey, KeyRing, LocalKey, TransitKey, TransitName},
    limits::Limits,
    memory::Memory,
    metrics::Metrics,
    own_keys::{self, OwnKeys},
    provider::{ProviderFile, Providers},
    refresh::{Desk, Refresher},
    rewrap::rewrap_all,
    signed::Signers,
    storage::{self, DatabaseUrl, HashicorpStore, StoreError, VaultStore},
    vault::Vault,
};

/// The vault's entry in the clients file.
const CLIENT: &str = "token-vault";

/// How often it is looked for tokens that are to be refreshed.
const LOOK: Duration = Duration::from_secs(5);

/// How many times in a row it is looked: what cannot be refreshed must not keep the vault busy.
const MOST_BATCHES: usize = 20;

/// How often it is looked for what may be forgotten.
const SWEEP: Duration = Duration::from_mins(1);

/// How soon the store must answer for the vault to be ready.
const READY_WITHIN: Duration = Duration::from_secs(2);

/// How far this machine's clock and the database's may be apart: leases are reckoned by the first.
const CLOCKS_APART: u64 = 5_000;

/// A server that listens.
pub struct Running {
    server: service::Running,
    /// What its requests reach.
    pub vault: Arc<Vault>,
    /// What it signs with.
    pub own_keys: Arc<OwnKeys>,
    /// Held as long as the server runs: a second one on the same database file is refused.
    _lock: Option<File>,
}

/// Starts the vault. The issuer need not be up yet. Must run inside a tokio runtime.
///
/// # Errors
/// When something stands in the way; the error's chain says what, in one line.
pub async fn start(config: Config, clock: Clock) -> anyhow::Result<Running> {
    check_public_url(&config)?;
    let (providers, signers) = providers_file(&config)?;
    make_folder(&config)?;
    let database = config.database();
    let lock = lock(&database)?;
    let hashicorp = match &config.hashicorp {
        Some(settings) => Some(Server::open(settings).await.context("VAULT_ADDR")?),
        None => None,
    };
    let store = open(&database, hashicorp.as_ref())
        .await
        .with_context(|| format!("cannot open the database {database}"))?;
    if let (Clock::System, Some(theirs)) = (&clock, store.clock().await?) {
        let apart = theirs.abs_diff(clock.now_ms());
        ensure!(
            apart <= CLOCKS_APART,
            "this machine's clock and the database's are {apart} ms apart: set them, replicas agree by them"
        );
    }
    let ring = Arc::new(key_ring(&config, store.as_ref(), hashicorp.as_ref()).await?);
    let desk = Desk {
        store,
        ring,
        clock,
        ask_timeout: config.ask_timeout(),
    };
    let own_keys = Arc::new(OwnKeys::open(desk.clone()).await?);
    let metrics = Arc::new(Metrics::default());
    let journal = Journal::open(Arc::clone(&desk.store), config.audit_durability);
    let memory = Arc::new(Memory::new(config.memory()));
    let refresher = Refresher::new(
        desk.clone(),
        providers.clone(),
        Arc::clone(&metrics),
        memory,
    );
    let vault = Vault::new(
        desk.clone(),
        Arc::clone(&refresher),
        journal,
        metrics,
        database.is_shared(),
    );
    let vault = Arc::new(vault);

    let older_shape = config.older_shape;
    let verifier = Verifier::builder(config.issuer)
        .audience(config.audience.clone())
        .revocation(config.revocation.with(config.when_feed_is_stale))
        .clock(desk.clock.clone());
    let verifier = match config.client {
        Some(client) => verifier.client(client.id, client.secret),
        None => verifier.client_from_file(config.clients_file, CLIENT),
    };
    let issuer = config
        .public_url
        .map(|url| url.as_str().trim_end_matches('/').to_owned());
    let port = match config.listen {
        service::Listen::Loopback { port } => port,
        service::Listen::At(address) => address.port(),
    };
    let state = Data::new(http::Server {
        vault: Arc::clone(&vault),
        providers,
        signers,
        own_keys: Arc::clone(&own_keys),
        limits: Limits::new(config.rate_limit),
        audience: config.audience.clone(),
        issuer: issuer.unwrap_or_else(|| format!("http://localhost:{port}")),
    });
    let server = ResourceServer {
        listen: config.listen,
        behind_tls_proxy: config.behind_tls_proxy,
        workers: config.workers,
        verifier: verifier.build()?,
    };
    let store = Arc::clone(&desk.store);
    let readiness = Readiness::default().check("database", move || is_there(Arc::clone(&store)));
    let routes = move |cfg: &mut ServiceConfig| http::routes(cfg, Data::clone(&state), older_shape);
    let server = server.start_with(readiness, routes)?;

    tokio::spawn(rewrap(desk.clone()));
    if let Clock::System = desk.clock {
        // A clock that is moved by hand wakes nobody: who moves it looks ahead.
        tokio::spawn(look_ahead(refresher));
        tokio::spawn(read_ahead(Arc::clone(&vault)));
        tokio::spawn(keep(Arc::clone(&own_keys)));
        tokio::spawn(sweep(
            desk,
            Duration::from_hours(24 * config.audit_retention),
        ));
    }
    Ok(Running {
        server,
        vault,
        own_keys,
        _lock: lock,
    })
}

fn providers_file(config: &Config) -> anyhow::Result<(Providers, Signers)> {
    let file = match &config.providers {
        None => {
            info!(
                "no providers file: tokens of GitHub, Slack and Discord are kept and given, but not refreshed"
            );
            ProviderFile::built_in()
        }
        Some(path) => {
            let text = fs::read_to_string(path)
                .with_context(|| format!("cannot read the providers file {}", path.display()))?;
            ProviderFile::parse(&text).with_context(|| path.display().to_string())?
        }
    };
    let shown = config
        .providers
        .as_deref()
        .unwrap_or(Path::new("providers"))
        .display();
    let providers = file.load(|name| std::env::var(name).ok(), config.ask_timeout());
    let providers = providers.with_context(|| shown.to_string())?;
    let signers = Signers::new(file.applications).with_context(|| shown.to_string())?;
    Ok((providers, signers))
}

/// Callers believe what the vault signs by this URL, and reach it there with their tokens.
fn check_public_url(config: &Config) -> anyhow::Result<()> {
    match &config.public_url {
        Some(url) if url.scheme() == "https" => Ok(()),
        Some(url) if url.scheme() == "http" && is_loopback_host(url) => Ok(()),
        Some(_) => {
            bail!("public_url: tokens would travel in the clear: it must begin with https://")
        }
        None if config.listen.is_loopback() => Ok(()),
        None => bail!(
            "public_url: say by which URL callers reach {}, as in https://vault.example.com",
            config.listen
        ),
    }
}

fn make_folder(config: &Config) -> anyhow::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&config.data_dir)
        .with_context(|| format!("cannot make the data folder {}", config.data_dir.display()))
}

/// SQLite lets several processes write to one file, but each would believe in its own memory.
fn lock(database: &DatabaseUrl) -> anyhow::Result<Option<File>> {
    let DatabaseUrl::SqliteFile(database) = database else {
        return Ok(None);
    };
    let path = PathBuf::from(format!("{}.lock", database.display()));
    let shown = path.display();
    let file = File::create(&path).with_context(|| format!("cannot write {shown}"))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => bail!(
            "another token-vault runs on {}: stop it first, or choose another --data-dir",
            database.display()
        ),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {shown}"))
        }
    }
}

async fn open(
    database: &DatabaseUrl,
    hashicorp: Option<&Arc<Server>>,
) -> Result<Arc<dyn VaultStore>, StoreError> {
    match (database, hashicorp) {
        (DatabaseUrl::Hashicorp(place), Some(server)) => Ok(Arc::new(
            HashicorpStore::open(Arc::clone(server), place).await?,
        )),
        _ => storage::open(database).await,
    }
}

/// Reads the keys, or makes the first one when nothing is sealed yet. A key that rows need and that is not there is an error:
/// to go on with another would look like a vault whose tokens are all damaged.
async fn key_ring(
    config: &Config,
    store: &dyn VaultStore,
    hashicorp: Option<&Arc<Server>>,
) -> anyhow::Result<KeyRing> {
    let needed = store.kek_ids().await?;
    let transit = async |name: &TransitName| {
        let server = hashicorp.context("say where the Vault server is, with VAULT_ADDR")?;
        let key = TransitKey::open(Arc::clone(server), name).await;
        key.with_context(|| format!("cannot use the key {name} of the Transit engine"))
    };
    let current: Arc<dyn KeyEncryptionKey> = match &config.transit_key {
        Some(name) => {
            ensure!(
                config.key.is_none(),
                "there are two key-encryption keys, TOKEN_VAULT_KEY and one of the Transit engine: make one of them a previous \
                 key"
            );
            Arc::new(transit(name).await?)
        }
        None => Arc::new(local_key(config, &needed)?),
    };
    let mut earlier: Vec<Arc<dyn KeyEncryptionKey>> = Vec::new();
    for name in &config.previous_transit_keys {
        earlier.push(Arc::new(transit(name).await?));
    }
    for key in &config.previous_keys {
        earlier.push(Arc::new(LocalKey::from_text(
            key,
            "TOKEN_VAULT_PREVIOUS_KEYS",
        )?));
    }
    for path in &config.previous_key_files {
        let key = LocalKey::read(path)?;
        earlier.push(Arc::new(key.with_context(|| {
            format!("there is no key file {}", path.display())
        })?));
    }
    let ring = KeyRing::new(current, earlier);
    for id in needed {
        ensure!(
            ring.has(&id).await?,
            "the database has tokens that are sealed with the key `{id}`, and this is `{}`: start with that key, or give it as \
             a previous key to have them rewrapped",
            ring.current()
        );
    }
    Ok(ring)
}

/// The key in the environment or in its file. It is made when nothing is sealed yet.
fn local_key(config: &Config, needed: &[KekId]) -> anyhow::Result<LocalKey> {
    let path = config.key_file();
    let configured = match &config.key {
        Some(key) => LocalKey::from_text(key, "TOKEN_VAULT_KEY").map(Some),
        None => LocalKey::read(&path),
    };
    if let Some(key) = configured? {
        return Ok(key);
    }
    ensure!(
        needed.is_empty(),
        "the database has sealed tokens, but their key {} is gone: put it back, or set TOKEN_VAULT_KEY",
        path.display()
    );
    info!("made the key-encryption key {}", path.display());
    Ok(LocalKey::create(&path)?)
}

async fn rewrap(desk: Desk) {
    if let Err(error) = rewrap_all(&desk).await {
        warn!("rewrapping stopped, and goes on with the next start: {error}");
    }
}

async fn read_ahead(vault: Arc<Vault>) {
    match vault.read_ahead().await {
        Ok(0) => {}
        Ok(connections) => info!("read {connections} connections ahead of who asks for them"),
        Err(error) => warn!("connections are read when they are asked for, not ahead: {error}"),
    }
}

/// Whether the store answers.
async fn is_there(store: Arc<dyn VaultStore>) -> Result<(), String> {
    match timeout(READY_WITHIN, store.clock()).await {
        Ok(answer) => answer.map(drop).map_err(|error| error.to_string()),
        Err(_) => Err("the database does not answer".to_owned()),
    }
}

async fn keep(keys: Arc<OwnKeys>) {
    let mut ticks = interval(Duration::from_secs(own_keys::LOOK));
    loop {
        ticks.tick().await;
        if let Err(error) = keys.keep().await {
            warn!("cannot look after the keys that sign answers: {error:#}");
        }
    }
}

async fn look_ahead(refresher: Arc<Refresher>) {
    let mut ticks = interval(LOOK);
    loop {
        ticks.tick().await;
        for _ in 0..MOST_BATCHES {
            match refresher.look_ahead().await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    warn!("cannot look for tokens to refresh: {error}");
                    break;
                }
            }
        }
    }
}

async fn sweep(desk: Desk, retention: Duration) {
    let retention = u64::try_from(retention.as_millis()).unwrap_or(u64::MAX);
    let mut ticks = interval(SWEEP);
    loop {
        ticks.tick().await;
        let now = desk.clock.now_ms();
        loop {
            match desk.store.forget(now.saturating_sub(retention), now).await {
                Ok(true) => tokio::task::yield_now().await,
                Ok(false) => break,
                Err(error) => {
                    warn!("cannot forget what has ended: {error}");
                    break;
                }
            }
        }
    }
}

impl Running {
    /// The URL at which this machine reaches the server.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Serves until SIGTERM, and lets requests in flight finish; SIGINT stops at once.
    ///
    /// # Errors
    /// When the server breaks down.
    pub async fn until_stopped(self) -> std::io::Result<()> {
        let outcome = self.server.until_stopped().await;
        if let Err(error) = self.vault.journal.settle().await {
            warn!("the last audit events may be lost: {error}");
        }
        outcome
    }
}
