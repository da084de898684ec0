//! From a database URL to an open, migrated [`Store`].

use std::{
    fmt,
    fs::OpenOptions,
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Executor, SqlSafeStr, SqliteConnection,
    migrate::{Migration, MigrationType, Migrator},
    postgres::{PgConnectOptions, PgPoolOptions, PgSslMode},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tracing::{info, warn};
use url::Url;

use super::{
    Store, StoreError,
    audit::backlog::Backlog,
    guarded::Guarded,
    pool::Sparing,
    sql::{PostgresStore, SqliteStore},
    watcher::Watcher,
};
use crate::contact::Contact;

/// How long a request waits for a database connection before it is told to come back later.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a statement waits for SQLite's write lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a SQLite connection takes at the most to come back when its statement is done, on a machine that is not overrun.
const MOMENT: Duration = Duration::from_millis(1);

/// Where the data lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseUrl {
    SqliteFile(PathBuf),
    SqliteMemory,
    Postgres(Url),
}

/// A text that names no database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a database is `sqlite:PATH` or `postgres://USER:PASSWORD@HOST/NAME`")]
pub struct InvalidDatabaseUrl;

impl FromStr for DatabaseUrl {
    type Err = InvalidDatabaseUrl;

    fn from_str(text: &str) -> Result<Self, InvalidDatabaseUrl> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            return match path.strip_prefix("//").unwrap_or(path) {
                "" => Err(InvalidDatabaseUrl),
                ":memory:" => Ok(Self::SqliteMemory),
                path => Ok(Self::SqliteFile(path.into())),
            };
        }
        let url = Url::parse(text).map_err(|_| InvalidDatabaseUrl)?;
        match url.scheme() {
            "postgres" | "postgresql" => Ok(Self::Postgres(url)),
            _ => Err(InvalidDatabaseUrl),
        }
    }
}

/// With the password masked: this is for logs and `auth-provider config`.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SqliteFile(path) => write!(f, "sqlite:{}", path.display()),
            Self::SqliteMemory => f.write_str("sqlite::memory:"),
            Self::Postgres(url) => {
                let mut url = url.clone();
                if url.password().is_some() {
                    // It fails for URLs that cannot have a password, and this one has.
                    let _ = url.set_password(Some("***"));
                }
                // A password can stand in the query as well; nothing of it is worth the risk.
                url.set_query(None);
                url.fmt(f)
            }
        }
    }
}

/// How a database server is used. SQLite needs none of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// Connections for requests; one more watches over the database.
    pub max_connections: u32,
    /// How long one statement may take; it waits for locks for half as long.
    pub statement_timeout: Duration,
    /// How long the server goes on with what it has in memory when the database is away.
    pub grace: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            max_connections: 10,
            statement_timeout: Duration::from_secs(5),
            grace: Duration::from_mins(1),
        }
    }
}

/// A database that was opened.
pub struct Opened {
    pub store: Arc<dyn Store>,
    /// Whether it answers.
    pub contact: Arc<Contact>,
    /// Who notices that it does not, and what other servers changed; `None` where nobody else has it. Nothing is noticed
    /// unless it runs.
    pub watcher: Option<Watcher>,
}

/// Opens the database and brings its tables to this program's version.
///
/// # Errors
/// When it cannot be reached, or was made by a newer program.
pub async fn open(url: &DatabaseUrl) -> Result<Arc<dyn Store>, StoreError> {
    Ok(open_with(url, Tuning::default()).await?.store)
}

/// The same for a server that runs for long and is not alone.
///
/// # Errors
/// As [`open`].
pub async fn open_with(url: &DatabaseUrl, tuning: Tuning) -> Result<Opened, StoreError> {
    let store = match url {
        DatabaseUrl::Postgres(url) => return open_postgres(url, tuning).await,
        DatabaseUrl::SqliteFile(path) => {
            make_private(path).map_err(sqlx::Error::Io)?;
            let options = SqliteConnectOptions::new()
                .filename(path)
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                // In WAL mode only FULL has a commit on disk before it is acknowledged.
                .synchronous(SqliteSynchronous::Full)
                // What a statement may have to take back is put aside; on a disk it would be as much again as it writes.
                .pragma("temp_store", "MEMORY")
                // The sums of very many clients' uses touch pages all over the file: in a longer log, more of them meet.
                .pragma("wal_autocheckpoint", "8000")
                // All rows of a read of many clients: SQLite's thread need not wait for the reader in between.
                .row_buffer_size(256);
            open_sqlite(options, 4).await?
        }
        // Each connection to `:memory:` is a database of its own: there may be only one.
        DatabaseUrl::SqliteMemory => {
            open_sqlite(SqliteConnectOptions::new().in_memory(true), 1).await?
        }
    };
    Ok(Opened {
        store,
        contact: Arc::new(Contact::embedded()),
        watcher: None,
    })
}

async fn open_postgres(url: &Url, tuning: Tuning) -> Result<Opened, StoreError> {
    let mut options = PgConnectOptions::from_str(url.as_str())?;
    if options.get_application_name().is_none() {
        options = options.application_name("auth-provider");
    }
    warn_of_plain_text(&options);
    bring_up_to_date(&options).await?;

    let contact = Arc::new(Contact::with_server(tuning.grace));
    let millis = tuning.statement_timeout.as_millis();
    // Not as parameters of the connection, which some poolers refuse. A server that stops within a transaction must not
    // hold up the others with its locks.
    let settings = format!(
        "SET statement_timeout = {millis}; SET lock_timeout = {}; \
         SET idle_in_transaction_session_timeout = {millis}",
        (millis / 2).max(1)
    );
    let settings = AssertSqlSafe(settings).into_sql_str();
    let away = Arc::clone(&contact);
    let pool = PgPoolOptions::new()
        .max_connections(tuning.max_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .after_connect(move |connection, _| {
            let settings = settings.clone();
            Box::pin(async move { connection.execute(settings).await.map(drop) })
        })
        // What comes back from a database that is away may hang for as long as the network keeps quiet: it must not
        // keep its place until then.
        .after_release(move |_, _| {
            let lost = away.is_away().then_some(sqlx::Error::PoolTimedOut);
            Box::pin(std::future::ready(lost.map_or(Ok(true), Err)))
        })
        .connect_with(options.clone())
        .await?;
    let store = Guarded::new(
        PostgresStore(pool, Backlog::default()),
        Arc::clone(&contact),
        tuning.statement_timeout + ACQUIRE_TIMEOUT,
    );
    Ok(Opened {
        store: Arc::new(store),
        watcher: Some(Watcher::new(options, Arc::clone(&contact))),
        contact,
    })
}

/// `prefer`, which is PostgreSQL's own default, believes whoever says that there is no TLS.
fn warn_of_plain_text(options: &PgConnectOptions) {
    let host = options.get_host();
    let is_local = options.get_socket().is_some()
        || host == "localhost"
        || host
            .parse()
            .is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
    let is_open = matches!(
        options.get_ssl_mode(),
        PgSslMode::Disable | PgSslMode::Allow | PgSslMode::Prefer
    );
    if is_open && !is_local {
        warn!(
            "the connection to the database at {host} may be in the clear: add sslmode=verify-full to database_url, and \
             sslrootcert=FILE where the certificate is not signed by a public authority"
        );
    }
}

/// Servers that start at the same time take turns: the first does the work, the others find it done.
async fn bring_up_to_date(options: &PgConnectOptions) -> Result<(), StoreError> {
    /// Of advisory locks, the one that belongs to this. They are numbers, each database has its own.
    const LOCK: &str = "7310575223184024173";
    // The pool would try for seconds, and then say only that it took too long.
    let mut gate = options.connect().await.map_err(StoreError::of_connecting)?;
    // A lock that belongs to a transaction goes with it, whatever becomes of this server or of a pooler in between.
    let mut turn = gate.begin().await?;
    let patient = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; \
                   SET LOCAL idle_in_transaction_session_timeout = 0";
    turn.execute(patient).await?;
    let first = AssertSqlSafe(format!("SELECT pg_try_advisory_xact_lock({LOCK})"));
    let first: bool = sqlx::query_scalar(first).fetch_one(&mut *turn).await?;
    if !first {
        info!("waits for another server that looks after the tables");
        let wait = AssertSqlSafe(format!("SELECT pg_advisory_xact_lock({LOCK})"));
        turn.execute(wait).await?;
    }
    let mut connection = options.connect().await?;
    let mut migrations = postgres_migrations();
    migrations.set_locking(false); // sqlx's lock belongs to a session, which a pooler may hand to others
    migrations.run_direct(None, &mut connection, false).await?;
    connection.close().await?;
    turn.commit().await?;
    gate.close().await?;
    Ok(())
}

/// Makes the file before SQLite does, so that nobody else can read it, whatever folder it lies in. SQLite gives its
/// other files the same mode.
fn make_private(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map(drop)
}

/// Whether another transaction can begin. On a full disk SQLite ends one by itself, and then has none that could be rolled
/// back; sqlx would go on counting it, and never begin another on this connection.
async fn is_between_transactions(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    if connection.is_in_transaction() {
        connection.ping().await?; // answered after a rollback that is under way
    }
    Ok(!connection.is_in_transaction())
}

async fn open_sqlite(
    options: SqliteConnectOptions,
    connections: u32,
) -> Result<Arc<dyn Store>, StoreError> {
    let options = options.foreign_keys(true).busy_timeout(BUSY_TIMEOUT);
    let pool = sqlite_pool(1).connect_with(options.clone()).await?;
    let mut connection = pool.acquire().await?;
    // A new index of a long log is sorted, which takes more room than there may be in memory.
    connection.execute("PRAGMA temp_store = FILE").await?;
    sqlite_migrations().run(&mut connection).await?;
    connection.execute("PRAGMA temp_store = MEMORY").await?;
    drop(connection);
    let more = (connections > 1).then(|| sqlite_pool(connections - 1).connect_lazy_with(options));
    Ok(Arc::new(SqliteStore(
        Sparing::new(pool, more, MOMENT),
        Backlog::default(),
    )))
}

fn sqlite_pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .idle_timeout(None)
        .max_lifetime(None)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // A question to a thread of this process; it would cost as much as the read that follows it.
        .test_before_acquire(false)
        .after_release(|connection, _| Box::pin(is_between_transactions(connection)))
}

/// The names of the steps from an empty database to today's. A step that was released is never edited.
const STEPS: [&str; 13] = [
    "registry",
    "key rotation",
    "revocation",
    "opaque token",
    "administration",
    "dialects",
    "stretches",
    "replicas",
    "unwritten uses",
    "audit packs",
    "revoked twice",
    "summed clients",
    "packs by number",
];

/// The version of the tables that this program works with.
pub const VERSION: i64 = STEPS.len().cast_signed() as i64;

pub(super) fn postgres_migrations() -> Migrator {
    migrations([
        include_str!("../../migrations/postgres/0001_registry.sql"),
        include_str!("../../migrations/postgres/0002_key_rotation.sql"),
        include_str!("../../migrations/postgres/0003_revocation.sql"),
        include_str!("../../migrations/postgres/0004_opaque_token.sql"),
        include_str!("../../migrations/postgres/0005_administration.sql"),
        include_str!("../../migrations/postgres/0006_dialects.sql"),
        include_str!("../../migrations/postgres/0007_stretches.sql"),
        include_str!("../../migrations/postgres/0008_replicas.sql"),
        include_str!("../../migrations/postgres/0009_unwritten_uses.sql"),
        include_str!("../../migrations/postgres/0010_audit_packs.sql"),
        include_str!("../../migrations/postgres/0011_revoked_twice.sql"),
        include_str!("../../migrations/postgres/0012_summed_clients.sql"),
        include_str!("../../migrations/postgres/0013_packs_by_number.sql"),
    ])
}

pub(super) fn sqlite_migrations() -> Migrator {
    migrations([
        include_str!("../../migrations/sqlite/0001_registry.sql"),
        include_str!("../../migrations/sqlite/0002_key_rotation.sql"),
        include_str!("../../migrations/sqlite/0003_revocation.sql"),
        include_str!("../../migrations/sqlite/0004_opaque_token.sql"),
        include_str!("../../migrations/sqlite/0005_administration.sql"),
        include_str!("../../migrations/sqlite/0006_dialects.sql"),
        include_str!("../../migrations/sqlite/0007_stretches.sql"),
        include_str!("../../migrations/sqlite/0008_replicas.sql"),
        include_str!("../../migrations/sqlite/0009_unwritten_uses.sql"),
        include_str!("../../migrations/sqlite/0010_audit_packs.sql"),
        include_str!("../../migrations/sqlite/0011_revoked_twice.sql"),
        include_str!("../../migrations/sqlite/0012_summed_clients.sql"),
        include_str!("../../migrations/sqlite/0013_packs_by_number.sql"),
    ])
}

fn migrations(steps: [&'static str; STEPS.len()]) -> Migrator {
    let steps = (1..).zip(STEPS).zip(steps).map(|((number, name), sql)| {
        Migration::new(
            number,
            name.into(),
            MigrationType::Simple,
            sql.into_sql_str(),
            false,
        )
    });
    Migrator::with_migrations(steps.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_url_is_read_and_shown_without_its_password() {
        for (text, shown) in [
            (
                "sqlite:data/auth-provider.db",
                "sqlite:data/auth-provider.db",
            ),
            ("sqlite:///var/lib/a.db", "sqlite:/var/lib/a.db"),
            ("sqlite::memory:", "sqlite::memory:"),
            (
                "postgres://bob:hunter2@db/auth?sslmode=require",
                "postgres://bob:***@db/auth",
            ),
            (
                "postgresql://localhost/auth?password=hunter2",
                "postgresql://localhost/auth",
            ),
        ] {
            assert_eq!(text.parse::<DatabaseUrl>().unwrap().to_string(), shown);
        }
        for text in ["", "data/auth.db", "sqlite:", "mysql://a/b", "postgres"] {
            assert_eq!(
                text.parse::<DatabaseUrl>(),
                Err(InvalidDatabaseUrl),
                "{text:?}"
            );
        }
    }

    #[actix_web::test]
    async fn a_transaction_that_sqlite_ended_by_itself_is_not_in_the_way_of_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new()
            .filename(folder.path().join("test.db"))
            .create_if_missing(true);
        let pool = sqlite_pool(1).connect_with(options).await.unwrap();
        for _ in 0..3 {
            let mut tx = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
            // As a full disk makes it do.
            tx.execute("ROLLBACK").await.unwrap();
        }
    }
}
