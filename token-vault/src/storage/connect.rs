//! From a database URL to an open, migrated [`VaultStore`].

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
    ConnectOptions, Connection, SqlSafeStr, SqliteConnection, SqlitePool,
    migrate::{Migration, MigrationType, Migrator},
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use url::Url;

use super::{
    KvPlace, StoreError, VaultStore,
    sql::{PostgresStore, SqliteStore},
};

/// How long a request waits for a database connection before it is told to come back later.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a statement waits for SQLite's write lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the data lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseUrl {
    SqliteFile(PathBuf),
    SqliteMemory,
    Postgres(Url),
    /// A folder of a KV engine; the server is in `VAULT_ADDR`.
    Hashicorp(KvPlace),
}

/// A text that names no database. The text itself is not repeated: it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a database is `sqlite:PATH`, `postgres://USER:PASSWORD@HOST/NAME` or `vault:MOUNT/FOLDER`"
)]
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
        if let Some(place) = text.strip_prefix("vault:") {
            let place = place.parse().map_err(|_| InvalidDatabaseUrl)?;
            return Ok(Self::Hashicorp(place));
        }
        let url = Url::parse(text).map_err(|_| InvalidDatabaseUrl)?;
        match url.scheme() {
            "postgres" | "postgresql" => Ok(Self::Postgres(url)),
            _ => Err(InvalidDatabaseUrl),
        }
    }
}

/// Without the password: this is for logs and errors.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SqliteFile(path) => write!(f, "sqlite:{}", path.display()),
            Self::SqliteMemory => f.write_str("sqlite::memory:"),
            Self::Hashicorp(place) => write!(f, "vault:{place}"),
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

impl DatabaseUrl {
    /// Whether other servers may use the same one.
    pub fn is_shared(&self) -> bool {
        matches!(self, Self::Postgres(_) | Self::Hashicorp(_))
    }
}

/// Opens the database and brings its tables to this program's version. A KV engine is opened by
/// [`HashicorpStore::open`](super::HashicorpStore::open), with its server.
///
/// # Errors
/// When it cannot be reached, or was made by a newer program.
pub async fn open(url: &DatabaseUrl) -> Result<Arc<dyn VaultStore>, StoreError> {
    match url {
        DatabaseUrl::Hashicorp(_) => Err(StoreError::NoServer),
        DatabaseUrl::Postgres(url) => {
            let options = PgConnectOptions::from_str(url.as_str())?;
            // The pool would try for seconds, and then say only that it took too long.
            options.connect().await?.close().await?;
            let pool = PgPoolOptions::new()
                .max_connections(10)
                .acquire_timeout(ACQUIRE_TIMEOUT)
                .connect_with(options)
                .await?;
            let steps = [include_str!("../../migrations/postgres/0001_vault.sql")];
            migrations(steps).run(&pool).await?;
            Ok(Arc::new(PostgresStore {
                looks: pool.clone(),
                pool,
            }))
        }
        DatabaseUrl::SqliteFile(path) => {
            make_private(path).map_err(sqlx::Error::Io)?;
            let options = SqliteConnectOptions::new()
                .filename(path)
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                // In WAL mode only FULL has a commit on disk before it is acknowledged.
                .synchronous(SqliteSynchronous::Full)
                // Pages that are written again and again are carried over less often.
                .pragma("wal_autocheckpoint", "8000");
            open_sqlite(options, true).await
        }
        // Each connection to `:memory:` is a database of its own: there may be only one.
        DatabaseUrl::SqliteMemory => {
            open_sqlite(SqliteConnectOptions::new().in_memory(true), false).await
        }
    }
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
    is_file: bool,
) -> Result<Arc<dyn VaultStore>, StoreError> {
    let options = options.busy_timeout(BUSY_TIMEOUT);
    let pool = sqlite_pool(if is_file { 4 } else { 1 }, options.clone()).await?;
    let steps = [include_str!("../../migrations/sqlite/0001_vault.sql")];
    migrations(steps).run(&pool).await?;
    // A connection keeps pages of the file in memory until another one writes: who only looks has one of its own.
    let looks = if is_file {
        sqlite_pool(1, options.pragma("cache_size", "-16384")).await?
    } else {
        pool.clone()
    };
    Ok(Arc::new(SqliteStore { pool, looks }))
}

async fn sqlite_pool(
    connections: u32,
    options: SqliteConnectOptions,
) -> Result<SqlitePool, sqlx::Error> {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .min_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // A question to a thread of this process; it would cost as much as the read that follows it.
        .test_before_acquire(false)
        .after_release(|connection, _| Box::pin(is_between_transactions(connection)))
        .connect_with(options)
        .await
}

/// The names of the steps from an empty database to today's. A step that was released is never edited.
const STEPS: [&str; 1] = ["vault"];

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
    use sqlx::Executor;

    use super::*;

    #[test]
    fn a_database_url_is_read_and_shown_without_its_password() {
        for (text, shown) in [
            ("sqlite:data/token-vault.db", "sqlite:data/token-vault.db"),
            ("sqlite:///var/lib/a.db", "sqlite:/var/lib/a.db"),
            ("sqlite::memory:", "sqlite::memory:"),
            ("vault:", "vault:secret/token-vault"),
            ("vault:kv", "vault:kv/token-vault"),
            ("vault:team/kv/tokens", "vault:team/kv/tokens"),
            (
                "postgres://bob:hunter2@db/vault?sslmode=require",
                "postgres://bob:***@db/vault",
            ),
            (
                "postgresql://localhost/vault?password=hunter2",
                "postgresql://localhost/vault",
            ),
        ] {
            assert_eq!(text.parse::<DatabaseUrl>().unwrap().to_string(), shown);
        }
        for text in [
            "",
            "data/vault.db",
            "sqlite:",
            "mysql://a/b",
            "postgres",
            "vault:/secret",
            "vault:secret/../sys",
            "vault:kv?list=true",
        ] {
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
        let pool = sqlite_pool(1, options).await.unwrap();
        for _ in 0..3 {
            let mut tx = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
            // As a full disk makes it do.
            tx.execute("ROLLBACK").await.unwrap();
        }
    }
}
