//! Reading all of a database as it was in one moment, while others go on writing to it.

use futures_util::stream::BoxStream;
use sqlx::sqlite::SqliteConnectOptions;

use super::{CopyError, Row, Sum, Table, database::Database};
use crate::storage::{DatabaseUrl, connect::VERSION};

/// What may be done to the database that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// It has to have this program's version: a server may be running on it.
    AsItIs,
    /// It is first brought to this program's version, as a start would do.
    BroughtUpToDate,
}

/// All of a database in one moment. What is written to it later is not seen; a server that writes is not held up.
pub struct Snapshot {
    database: Database,
    others: u64,
}

impl Snapshot {
    /// # Errors
    /// When there is no such database, or it has another version than this program.
    pub async fn open(url: &DatabaseUrl, source: Source) -> Result<Self, CopyError> {
        let (mut database, begin) = match url {
            DatabaseUrl::SqliteMemory => return Err(CopyError::Memory),
            DatabaseUrl::SqliteFile(path) => {
                if !path.exists() {
                    return Err(CopyError::Absent(url.to_string()));
                }
                // The server's journal stays as it is: in WAL mode readers and the writer do not wait for each other.
                let options = SqliteConnectOptions::new()
                    .filename(path)
                    .row_buffer_size(256);
                (Database::sqlite(options).await?, "BEGIN DEFERRED")
            }
            DatabaseUrl::Postgres(url) => (
                Database::postgres(url).await?,
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            ),
        };
        let found = database.version().await?;
        if found == 0 {
            return Err(CopyError::Absent(url.to_string()));
        }
        if found != VERSION {
            if source == Source::AsItIs || found > VERSION {
                let own = VERSION;
                return Err(CopyError::OtherVersion { found, own });
            }
            database.migrate(None).await?;
        }
        let others = match &database {
            Database::Sqlite(_) => 0,
            Database::Postgres(_) => {
                let count = "SELECT COUNT(*) FROM pg_stat_activity
                     WHERE datname = current_database() AND pid <> pg_backend_pid()
                       AND backend_type = 'client backend'";
                database.number(count).await?.unsigned_abs()
            }
        };
        database.execute(begin).await?;
        // The moment is that of the first read.
        database
            .number("SELECT COUNT(*) FROM registry_state")
            .await?;
        Ok(Self { database, others })
    }

    /// How many others are connected to it now. SQLite has a lock instead, and does not know.
    pub fn others(&self) -> u64 {
        self.others
    }

    /// The rows of a table, in the order of the key, as they are asked for.
    pub fn rows<'a>(&'a mut self, table: &'a Table) -> BoxStream<'a, Result<Row, CopyError>> {
        self.database.rows(table)
    }

    pub async fn sum(&mut self, table: &Table) -> Result<Sum, CopyError> {
        self.database.sum(table).await
    }

    /// The last number that was handed out for a numbered table; `None` for others.
    pub async fn last_number(&mut self, table: &Table) -> Result<Option<i64>, CopyError> {
        if !table.numbered {
            return Ok(None);
        }
        self.database.last_number(table).await.map(Some)
    }
}
