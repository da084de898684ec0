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
    ConnectOptions, Connection, SqlSafeStr,
    migrate::{Migration, MigrationType, Migrator},
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use url::Url;

use super::{
    Store, StoreError,
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

/// Opens the database and brings its tables to this program's version.
///
/// # Errors
/// When it cannot be reached, or was made by a newer program.
pub async fn open(url: &DatabaseUrl) -> Result<Arc<dyn Store>, StoreError> {
    match url {
        DatabaseUrl::Postgres(url) => {
            let options = PgConnectOptions::from_str(url.as_str())?;
            // The pool would try for seconds, and then say only that it took too long.
            options.connect().await?.close().await?;
            let pool = PgPoolOptions::new()
                .max_connections(10)
                .acquire_timeout(ACQUIRE_TIMEOUT)
                .connect_with(options)
                .await?;
            let steps = [
                include_str!("../../migrations/postgres/0001_registry.sql"),
                include_str!("../../migrations/postgres/0002_key_rotation.sql"),
                include_str!("../../migrations/postgres/0003_revocation.sql"),
                include_str!("../../migrations/postgres/0004_opaque_token.sql"),
                include_str!("../../migrations/postgres/0005_administration.sql"),
                include_str!("../../migrations/postgres/0006_dialects.sql"),
                include_str!("../../migrations/postgres/0007_stretches.sql"),
            ];
            migrations(steps).run(&pool).await?;
            Ok(Arc::new(PostgresStore(pool)))
        }
        DatabaseUrl::SqliteFile(path) => {
            make_private(path).map_err(sqlx::Error::Io)?;
            let options = SqliteConnectOptions::new()
                .filename(path)
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                // In WAL mode only FULL has a commit on disk before it is acknowledged.
                .synchronous(SqliteSynchronous::Full)
                // The sums of very many clients' uses touch pages all over the file: in a longer log, more of them meet.
                .pragma("wal_autocheckpoint", "8000")
                // All rows of a read of many clients: SQLite's thread need not wait for the reader in between.
                .row_buffer_size(256);
            open_sqlite(options, 4).await
        }
        // Each connection to `:memory:` is a database of its own: there may be only one.
        DatabaseUrl::SqliteMemory => {
            open_sqlite(SqliteConnectOptions::new().in_memory(true), 1).await
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

async fn open_sqlite(
    options: SqliteConnectOptions,
    connections: u32,
) -> Result<Arc<dyn Store>, StoreError> {
    let pool = SqlitePoolOptions::new()
        .max_connections(connections)
        .min_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // A question to a thread of this process; it would cost as much as the read that follows it.
        .test_before_acquire(false)
        .connect_with(options.foreign_keys(true).busy_timeout(BUSY_TIMEOUT))
        .await?;
    let steps = [
        include_str!("../../migrations/sqlite/0001_registry.sql"),
        include_str!("../../migrations/sqlite/0002_key_rotation.sql"),
        include_str!("../../migrations/sqlite/0003_revocation.sql"),
        include_str!("../../migrations/sqlite/0004_opaque_token.sql"),
        include_str!("../../migrations/sqlite/0005_administration.sql"),
        include_str!("../../migrations/sqlite/0006_dialects.sql"),
        include_str!("../../migrations/sqlite/0007_stretches.sql"),
    ];
    migrations(steps).run(&pool).await?;
    Ok(Arc::new(SqliteStore(pool)))
}

/// The names of the steps from an empty database to today's. A step that was released is never edited.
const STEPS: [&str; 7] = [
    "registry",
    "key rotation",
    "revocation",
    "opaque token",
    "administration",
    "dialects",
    "stretches",
];

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
}
