//! From a configuration to a running server: what the first start makes, every later start finds.

use std::{
    fs::{self, File, TryLockError},
    net::{SocketAddr, TcpListener},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use actix_web::{
    dev::{Server, ServerHandle},
    web::Data,
};
use anyhow::{Context, bail, ensure};
use m2m::{Clock, service};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{Mutex, Semaphore, watch},
    task::JoinSet,
};
use tracing::{info, warn};
use url::Url;

use crate::{
    background, built_in,
    clients::Noted,
    clients_file,
    config::Config,
    directory::Directory,
    expiry, http,
    journal::{Ground, Journal},
    keys::{Schedule, SigningKeys},
    known_clients::Freshness,
    known_tokens::KnownTokens,
    leases::Leases,
    limits::Limits,
    master_key::MasterKey,
    metrics::Metrics,
    policy_file::Policy,
    registry::policy::apply_at_start,
    resource::TokenFormat,
    revocation::Revocations,
    server::AuthServer,
    storage::{self, DatabaseUrl, Opened, Store},
};

/// How many may follow the revocations at once; each costs a connection and a little memory.
pub const MAX_FOLLOWERS: usize = 1000;

/// How long a client's record is believed of which nobody says that it changed: somebody may have changed it by hand.
const LONGEST_BELIEF: Duration = Duration::from_hours(1);

/// A server that listens.
pub struct Running {
    web: Server,
    /// What its requests reach.
    pub server: Data<AuthServer>,
    /// The issuer identifier that its tokens carry.
    pub issuer: String,
    /// Where it listens.
    pub addresses: Vec<SocketAddr>,
    /// What goes on beside the requests, up to the last of them.
    _background: JoinSet<()>,
    /// Held as long as the server runs: a second one on the same database file is refused.
    _lock: Option<File>,
}

/// Starts the server, and makes on the first start what it needs: folder, master key, signing key, tables.
///
/// # Errors
/// When something stands in the way; the error's chain says what, in one line.
pub async fn start(config: &Config, clock: Clock) -> anyhow::Result<Running> {
    let schedule = config.key_schedule;
    if schedule.fast {
        warn!("fast_key_rotation is on: this is for tests, caches may miss a key");
    }
    let policy = read_policy(config.policy.as_deref(), &schedule)?;
    make_folder(&config.data_dir)?;
    let lock = lock(&config.database_url)?;
    let listeners = config.listen.bind()?;
    let public_url = public_url(config, &listeners)?;

    let Opened {
        store,
        contact,
        mut watcher,
    } = storage::open_with(&config.database_url, config.database)
        .await
        .with_context(|| not_opened(&config.database_url))?;
    let master = Arc::new(master_key(config, store.as_ref()).await?);
    let metrics = Arc::new(Metrics::default());
    let keys = SigningKeys::open(
        Arc::clone(&store),
        Arc::clone(&master),
        schedule,
        clock.clone(),
        Arc::clone(&metrics),
    )
    .await?;
    apply(&policy, store.as_ref(), config, clock.now()).await?;

    for need in store.signing_needs().await? {
        schedule.allows_tokens_of(need.longest_token)?;
    }
    // Asked for before what memory holds is read: what changes from now on is noticed.
    let seen = match &mut watcher {
        Some(watcher) => Some(watcher.marks().await),
        None => None,
    };
    keys.tend().await?;
    let revocations = Arc::new(Revocations::default());
    revocations.catch_up(store.as_ref()).await?;

    let (freshness, leases) = terms(watcher.is_some());
    leases.keep(store.as_ref()).await?;
    let leases = Arc::new(leases);
    let ground = Ground {
        store: Arc::<dyn Store>::clone(&store),
        contact: Arc::clone(&contact),
        leases: Arc::clone(&leases),
        metrics: Arc::clone(&metrics),
        clock: clock.clone(),
    };
    let journal = Journal::open(ground, config.audit);

    let directory = Directory::new(Arc::clone(&store), freshness, Arc::clone(&contact));
    let issuer = http::below_issuer(&public_url, "");
    let server = Data::new(AuthServer {
        metadata: http::metadata(&public_url, config.dynamic_registration),
        issuer: issuer.clone(),
        stytch: config.stytch_issuer.clone(),
        clock,
        directory: Arc::new(directory),
        store,
        noted: Noted::default(),
        known_tokens: KnownTokens::default(),
        limits: Limits::new(config.rate_limits, &metrics),
        behind_tls_proxy: config.behind_tls_proxy,
        dynamic_registration: config.dynamic_registration,
        max_jwt_validity: config.max_jwt_validity,
        keys,
        revocations,
        journal,
        metrics,
        endings: expiry::Watch::new(config.credential_warning),
        master,
        second_tries: Mutex::default(),
        followers: Arc::new(Semaphore::new(MAX_FOLLOWERS)),
        stopping: watch::Sender::new(false),
        audit_retention: config.audit_retention,
        contact,
        leases,
    });
    let background = background::begin(&Data::clone(&server).into_inner(), watcher.zip(seen));
    tokio::spawn(heed_sigterm(
        Data::clone(&server),
        signal(SignalKind::terminate())?,
    ));
    let addresses = listeners.iter().map(TcpListener::local_addr);
    let addresses = addresses.collect::<Result<Vec<_>, _>>()?;
    let state = Data::clone(&server);
    let http = &server.metrics.http;
    let web = service::serve(listeners, config.workers, http, move |cfg| {
        cfg.configure(http::routes(Data::clone(&state)));
    })?;
    let shown: Vec<_> = addresses.iter().map(SocketAddr::to_string).collect();
    info!("listening on {}, issuer {issuer}", shown.join(" and "));
    Ok(Running {
        web,
        server,
        issuer,
        addresses,
        _background: background,
        _lock: lock,
    })
}

/// On which terms a server works that shares its database, or does not.
fn terms(shared: bool) -> (Freshness, Leases) {
    if shared {
        (Freshness::For(LONGEST_BELIEF), Leases::shared())
    } else {
        (Freshness::UntilForgotten, Leases::alone())
    }
}

fn public_url(config: &Config, listeners: &[TcpListener]) -> anyhow::Result<Url> {
    if let Some(url) = &config.public_url {
        return Ok(url.clone());
    }
    let port = listeners[0].local_addr()?.port();
    Ok(Url::parse(&format!("http://localhost:{port}"))?)
}

/// The web server hears SIGTERM by itself; this ends what would go on for ever.
async fn heed_sigterm(server: Data<AuthServer>, mut sigterm: Signal) {
    let mut stopping = server.stopping.subscribe();
    tokio::select! {
        _ = sigterm.recv() => drop(server.stopping.send_replace(true)),
        _ = stopping.changed() => {}
    }
}

/// The policy file; without one, what is built in.
fn read_policy(path: Option<&Path>, schedule: &Schedule) -> anyhow::Result<Policy> {
    let shown = path.unwrap_or(Path::new("")).display();
    let text = match path {
        None => String::new(),
        Some(path) => fs::read_to_string(path)
            .with_context(|| format!("cannot read the policy file {shown}: see --policy"))?,
    };
    let mut policy = Policy::parse(&text).with_context(|| format!("policy file {shown}"))?;
    for (id, resource) in &mut policy.resources {
        if resource.token_format == TokenFormat::Opaque {
            continue; // no key signs its tokens
        }
        if id.as_str() == built_in::AUDIENCE {
            let longest = schedule.longest_token(schedule.retire_time);
            resource.token_lifetime = resource.token_lifetime.min(longest);
        }
        let checked = schedule.allows_tokens_of(resource.token_lifetime);
        checked.with_context(|| format!("resource `{id}`"))?;
    }
    Ok(policy)
}

pub(crate) fn make_folder(folder: &Path) -> anyhow::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| {
            let shown = folder.display();
            format!("cannot make the data folder {shown}: choose one that this user may write, with --data-dir")
        })
}

/// SQLite lets several processes write to one file, but each would believe in its own memory.
pub(crate) fn lock(database: &DatabaseUrl) -> anyhow::Result<Option<File>> {
    let DatabaseUrl::SqliteFile(database) = database else {
        return Ok(None);
    };
    let path = PathBuf::from(format!("{}.lock", database.display()));
    let shown = path.display();
    let file = File::create(&path).with_context(|| {
        format!("cannot write {shown}: choose a folder that this user may write, with --data-dir")
    })?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => bail!(
            "another auth-provider runs on {}: stop it first, or choose another --data-dir",
            database.display()
        ),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {shown}"))
        }
    }
}

/// Opens the master key, or makes it when nothing is sealed under one yet.
async fn master_key(config: &Config, store: &dyn Store) -> anyhow::Result<MasterKey> {
    let path = config.data_dir.join("master.key");
    if let Some(key) = &config.master_key {
        return Ok(MasterKey::from_config(key)?);
    }
    if let Some(key) = MasterKey::read(&path)? {
        return Ok(key);
    }
    ensure!(
        store.signing_keys().await?.is_empty(),
        "the database has a signing key, but its master key {} is gone: put it back, or set \
         AUTH_PROVIDER_MASTER_KEY",
        path.display()
    );
    info!("made the master key {}", path.display());
    Ok(MasterKey::create(&path)?)
}

fn not_opened(database: &DatabaseUrl) -> String {
    let mend = match database {
        DatabaseUrl::Postgres(_) => " (see that it runs, and that --database-url is right)",
        DatabaseUrl::SqliteFile(_) | DatabaseUrl::SqliteMemory => "",
    };
    format!("cannot open the database {database}{mend}")
}

async fn apply(
    policy: &Policy,
    store: &dyn Store,
    config: &Config,
    now: u64,
) -> anyhow::Result<()> {
    let changed = apply_at_start(store, policy, now).await?;
    match (&config.policy, changed) {
        (Some(path), 0) => info!("the policy is as {} has it", path.display()),
        (Some(path), changed) => info!("applied {}: {changed} changes", path.display()),
        (None, _) => warn!("no policy file: clients and grants are those of the database"),
    }
    clients_file::mend(&config.clients_file, store, policy.clients.keys(), now).await
}

impl Running {
    /// Waits for the end: SIGTERM, or [`Handle::stop`]. The requests in flight are answered first.
    ///
    /// # Errors
    /// When the web server fails.
    pub async fn run(self) -> std::io::Result<()> {
        let outcome = self.web.await;
        if let Err(error) = self.server.journal.settle_at_the_end().await {
            warn!("the last audit events may be lost: {error}");
        }
        let store = self.server.store.as_ref();
        if let Err(error) = self.server.leases.give_back(store).await {
            warn!("another server does its background jobs a moment later: {error}");
        }
        outcome
    }

    /// A way to stop the server from elsewhere.
    pub fn handle(&self) -> Handle {
        Handle {
            web: self.web.handle(),
            server: Data::clone(&self.server),
        }
    }
}

/// Stops a server that [runs](Running::run).
pub struct Handle {
    web: ServerHandle,
    server: Data<AuthServer>,
}

impl Handle {
    /// Stops as SIGTERM does, and returns when it is done.
    pub async fn stop(&self) {
        self.server.stopping.send_replace(true);
        self.web.stop(true).await;
    }
}
