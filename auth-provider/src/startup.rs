//! From a configuration to a running server: what the first start makes, every later start finds.

use std::{
    fs::{self, File, TryLockError},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use actix_web::{dev::Server, web::Data};
use anyhow::{Context, bail, ensure};
use m2m::{Clock, service};
use tokio::task::JoinHandle;
use tracing::{info, warn};
use url::Url;

use crate::{
    built_in,
    clients::Directory,
    clients_file,
    config::Config,
    http,
    keys::{Schedule, SigningKeys},
    master_key::MasterKey,
    policy_file::Policy,
    server::AuthServer,
    storage::{self, DatabaseUrl, Store},
};

/// A server that listens.
pub struct Running {
    /// Ends after SIGTERM, when the requests in flight are answered.
    pub server: Server,
    /// The issuer identifier that its tokens carry.
    pub issuer: String,
    /// What its requests reach.
    pub auth: Arc<AuthServer>,
    _keys: Option<KeyTask>,
    /// Held as long as the server runs: a second one on the same database file is refused.
    _lock: Option<File>,
}

/// Starts the server, and makes on the first start what it needs: folder, master key, signing key, tables.
///
/// # Errors
/// When something stands in the way; the error's chain says what, in one line.
pub async fn start(config: &Config, clock: Clock) -> anyhow::Result<Running> {
    let schedule = config.key_schedule;
    let policy = config.policy.as_deref();
    let policy = policy
        .map(|path| read_policy(path, &schedule))
        .transpose()?;
    make_folder(&config.data_dir)?;
    let lock = lock(&config.database_url)?;
    let listeners = config.listen.bind()?;
    let public_url = match &config.public_url {
        Some(url) => url.clone(),
        None => Url::parse(&format!(
            "http://localhost:{}",
            listeners[0].local_addr()?.port()
        ))?,
    };

    let store = storage::open(&config.database_url)
        .await
        .with_context(|| format!("cannot open the database {}", config.database_url))?;
    let master = master_key(config, store.as_ref()).await?;
    let keys = SigningKeys::open(Arc::clone(&store), master, schedule, clock.clone()).await?;
    if let Some(policy) = &policy {
        apply(policy, store.as_ref(), config, clock.now()).await?;
    } else {
        warn!("no policy file: clients and grants are those of the database");
    }

    let needs = store.signing_needs().await?;
    schedule.allows_tokens_of(
        needs
            .iter()
            .map(|need| need.longest_token)
            .max()
            .unwrap_or(0),
    )?;
    keys.tend().await?;

    let issuer = http::below_issuer(&public_url, "");
    let server = Data::new(AuthServer {
        metadata: http::metadata(&public_url),
        issuer: issuer.clone(),
        clock,
        store,
        directory: Directory::default(),
        keys,
    });
    let shared = matches!(config.database_url, DatabaseUrl::Postgres(_));
    let keys = KeyTask::start(&server, shared);
    let auth = Data::clone(&server).into_inner();
    let addresses = listeners
        .iter()
        .map(|listener| listener.local_addr().map(|a| a.to_string()));
    let addresses = addresses.collect::<Result<Vec<_>, _>>()?.join(" and ");
    let server = service::serve(listeners, config.workers, move |cfg| {
        cfg.configure(http::routes(server.clone()));
    })?;
    info!("listening on {addresses}, issuer {issuer}");
    Ok(Running {
        server,
        issuer,
        auth,
        _keys: keys,
        _lock: lock,
    })
}

fn read_policy(path: &Path, schedule: &Schedule) -> anyhow::Result<Policy> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("cannot read the policy file {}", path.display()))?;
    let mut policy =
        Policy::parse(&text).with_context(|| format!("policy file {}", path.display()))?;
    for (id, resource) in &mut policy.resources {
        if id.as_str() == built_in::AUDIENCE {
            let longest = schedule.longest_token(schedule.retire_time);
            resource.token_lifetime = resource.token_lifetime.min(longest);
        }
        let checked = schedule.allows_tokens_of(resource.token_lifetime);
        checked.with_context(|| format!("resource `{id}`"))?;
    }
    Ok(policy)
}

fn make_folder(folder: &Path) -> anyhow::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("cannot make the data folder {}", folder.display()))
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

/// Tends the keys behind the requests until the server ends.
struct KeyTask(JoinHandle<()>);

impl KeyTask {
    /// A clock that is moved by hand wakes nobody: who moves it tends the keys.
    fn start(server: &Data<AuthServer>, shared: bool) -> Option<Self> {
        let Clock::System = server.clock else {
            return None;
        };
        let server = server.clone();
        let tend = async move { server.keys.run(shared).await };
        Some(Self(tokio::spawn(tend)))
    }
}

impl Drop for KeyTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn apply(
    policy: &Policy,
    store: &dyn Store,
    config: &Config,
    now: u64,
) -> anyhow::Result<()> {
    let changed = store.apply_policy(policy, now).await?;
    let path = config.policy.as_deref().unwrap_or(Path::new("")).display();
    match changed {
        0 => info!("the policy is as {path} has it"),
        changed => info!("applied {path}: {changed} changes"),
    }
    clients_file::mend(&config.clients_file, store, policy.clients.keys(), now).await
}

impl Running {
    /// The server's handle and the future that ends with it, with the lock held until then.
    pub async fn run(self) -> std::io::Result<()> {
        let Self {
            server,
            _keys,
            _lock,
            ..
        } = self;
        server.await
    }
}
