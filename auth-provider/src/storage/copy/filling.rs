//! Filling an empty database: all of it appears at once, or nothing.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use futures_util::TryStreamExt;
use sqlx::{
    Executor, PgConnection, Row as _,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use tempfile::NamedTempFile;
use tracing::warn;

use super::{
    CopyError, Row, Sum, Table, Value,
    database::Database,
    tables::{FIRST_ROW, REMOVE_FIRST_ROW},
};
use crate::storage::{DatabaseUrl, connect::VERSION};

/// How many rows one statement adds.
const BATCH: usize = 100;

/// A follower of the revocations may know numbers that were handed out after the backup was made. They are not handed out
/// a second time: the follower would believe that it knows them.
const LOST_REVOCATIONS: i64 = 1_000_000;

/// A database that is being filled. Nobody sees anything of it before [`commit`](Self::commit): a SQLite file has another
/// name until then, PostgreSQL has a transaction. Dropped before, it leaves nothing but empty tables.
pub struct Filling {
    database: Database,
    tables: Vec<Table>,
    /// SQLite's file before it has its name, and its name.
    file: Option<(NamedTempFile, PathBuf)>,
}

/// What is put down about a restoration, together with what is restored.
pub struct Restored<'a> {
    /// Seconds since the epoch.
    pub at: u64,
    pub action: &'a str,
    /// For the audit log.
    pub explanation: &'a str,
    /// Take back all tokens that were issued until now; the revocations are kept until then, in seconds since the epoch.
    pub revoke_until: Option<u64>,
}

impl Filling {
    /// Makes the tables of this version in an empty database.
    ///
    /// # Errors
    /// When it is not empty, or cannot be written to.
    pub async fn begin(
        url: &DatabaseUrl,
        version: i64,
        tables: Vec<Table>,
    ) -> Result<Self, CopyError> {
        match url {
            DatabaseUrl::SqliteMemory => Err(CopyError::Memory),
            DatabaseUrl::SqliteFile(path) => Self::new_file(path, version, tables).await,
            DatabaseUrl::Postgres(server) => {
                let mut database = Database::postgres(server).await?;
                if database.version().await? > version {
                    // Its tables are not those that the rows come from.
                    return Err(CopyError::NotEmpty(url.to_string()));
                }
                let mut filling = Self {
                    database,
                    tables,
                    file: None,
                };
                // Looked at before its tables are changed: somebody may use it.
                filling.refuse_rows(&url.to_string()).await?;
                filling.database.migrate(Some(version)).await?;
                filling.lock_empty(&url.to_string()).await?;
                Ok(filling)
            }
        }
    }

    async fn new_file(path: &Path, version: i64, tables: Vec<Table>) -> Result<Self, CopyError> {
        let shown = path.display().to_string();
        // What a database that is gone left beside it, SQLite would take for a part of the new one.
        for ending in ["", "-wal", "-journal"] {
            let place = format!("{shown}{ending}");
            if Path::new(&place).symlink_metadata().is_ok() {
                return Err(CopyError::NotEmpty(place));
            }
        }
        let file = tempfile::Builder::new()
            .prefix(".filling")
            .suffix(".db")
            .tempfile_in(folder_of(path)) // mode 0600
            .map_err(|error| CopyError::File(shown, error))?;
        let options = SqliteConnectOptions::new()
            .filename(file.path())
            .foreign_keys(true)
            // Nobody needs half of this file: it is on disk when it gets its name.
            .journal_mode(SqliteJournalMode::Memory)
            .synchronous(SqliteSynchronous::Off);
        let mut database = Database::sqlite(options).await?;
        database.migrate(Some(version)).await?;
        database.execute("BEGIN IMMEDIATE").await?;
        // Clients and resources refer to each other: only at the end does everything have to be there.
        database.execute("PRAGMA defer_foreign_keys = ON").await?;
        database.execute(REMOVE_FIRST_ROW).await?;
        Ok(Self {
            database,
            tables,
            file: Some((file, path.to_owned())),
        })
    }

    async fn lock_empty(&mut self, shown: &str) -> Result<(), CopyError> {
        let Database::Postgres(connection) = &mut self.database else {
            return Ok(());
        };
        connection.execute("BEGIN").await?;
        set_deferrable(connection, "DEFERRABLE INITIALLY DEFERRED").await?;
        let database = &mut self.database;
        for table in &self.tables {
            let lock = format!("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", table.name);
            database.execute(lock).await?;
        }
        self.refuse_rows(shown).await?;
        self.database.execute(REMOVE_FIRST_ROW).await?;
        Ok(())
    }

    /// Every table that is there has to be empty, but for the row that a new database has.
    async fn refuse_rows(&mut self, shown: &str) -> Result<(), CopyError> {
        for Table { name, .. } in &self.tables {
            let there = format!(
                "SELECT COUNT(*) FROM information_schema.tables
                 WHERE table_schema = current_schema() AND table_name = '{name}'"
            );
            if self.database.number(there).await? == 0 {
                continue;
            }
            let allowed = if name == "registry_state" {
                FIRST_ROW
            } else {
                ""
            };
            let any =
                format!("SELECT COUNT(*) FROM (SELECT 1 FROM {name} {allowed} LIMIT 1) AS any_row");
            if self.database.number(any).await? != 0 {
                return Err(CopyError::NotEmpty(shown.to_owned()));
            }
        }
        Ok(())
    }

    /// How many rows [`add`](Self::add) takes at once, at the most.
    pub const fn batch() -> usize {
        BATCH
    }

    /// Adds rows of one table.
    ///
    /// # Errors
    /// When the database does not take them.
    pub async fn add(&mut self, table: &Table, rows: &[Row]) -> Result<(), CopyError> {
        for rows in rows.chunks(BATCH) {
            self.database.add(table, rows).await?;
        }
        Ok(())
    }

    /// Compares what is written with what was read, by reading it back, and sets the last number that was handed out.
    ///
    /// # Errors
    /// [`CopyError::NotTheSame`] when they differ.
    pub async fn finish(
        &mut self,
        table: &Table,
        read: &Sum,
        last_number: Option<i64>,
    ) -> Result<(), CopyError> {
        if self.database.sum(table).await? != *read {
            return Err(CopyError::NotTheSame(table.name.clone()));
        }
        if let Some(last) = last_number {
            self.database.set_last_number(table, last).await?;
            if self.database.last_number(table).await? != last {
                return Err(CopyError::NotTheSame(table.name.clone()));
            }
        }
        Ok(())
    }

    /// Puts down that this is a database that was restored: what came after the backup is lost, and no number of it is
    /// handed out again that somebody may rely on.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn note(&mut self, restored: &Restored<'_>) -> Result<(), CopyError> {
        let tables = self.tables.clone();
        let table = |name| tables.iter().find(|table| table.name == name);
        if let Some(revocation) = table("revocation") {
            let last = self.database.last_number(revocation).await? + LOST_REVOCATIONS;
            self.database.set_last_number(revocation, last).await?;
        }
        let at = restored.at;
        if let Some(until) = restored.revoke_until {
            let revoke = format!(
                "INSERT INTO revocation (kind, client_id, revoked_at, expires_at)
                 SELECT 'client', id, {at}, {until} FROM client ORDER BY id"
            );
            self.database.execute(revoke).await?;
        }
        let Some(log) = table("audit_event") else {
            return Ok(());
        };
        let number = self.database.last_number(log).await? + 1;
        let values = [
            ("number", Value::Integer(number)),
            ("at", Value::Integer(at.cast_signed())),
            ("action", Value::Text(restored.action.to_owned())),
            ("outcome", Value::Text("success".to_owned())),
            ("explanation", Value::Text(restored.explanation.to_owned())),
        ];
        let mut row = vec![Value::Null; log.columns.len()];
        for (name, value) in values {
            if let Some(at) = log.column(name) {
                row[at] = value;
            }
        }
        self.database.add(log, &[row]).await?;
        self.database.set_last_number(log, number).await
    }

    /// Brings what was filled to this program's version.
    async fn tidy(&mut self) -> Result<(), CopyError> {
        if self.database.version().await? != VERSION {
            self.database.migrate(None).await?;
        }
        if let Database::Postgres(_) = self.database {
            // Else it would plan for a while as if the tables were empty.
            let names: Vec<&str> = self
                .tables
                .iter()
                .map(|table| table.name.as_str())
                .collect();
            let analyze = format!("ANALYZE {}", names.join(", "));
            self.database.execute(analyze).await?;
        }
        Ok(())
    }

    /// Makes all of it visible, and brings it to this program's version.
    ///
    /// # Errors
    /// When the database does not take it, or somebody else made the file in the meantime. Then nothing is there; only
    /// when PostgreSQL goes away in this very moment nobody knows.
    pub async fn commit(mut self) -> Result<(), CopyError> {
        if let Database::Postgres(connection) = &mut self.database {
            connection.execute("SET CONSTRAINTS ALL IMMEDIATE").await?;
            set_deferrable(connection, "NOT DEFERRABLE").await?;
        }
        self.database.execute("COMMIT").await?;
        let tidied = self.tidy().await;
        let Some((file, path)) = self.file else {
            // It is all there, for everybody to see: a start does what could not be done now.
            if let Err(error) = tidied {
                warn!("the new database is complete, and is not yet brought up to date: {error}");
            }
            return Ok(());
        };
        tidied?;
        self.database.close().await?;
        let shown = path.display().to_string();
        let persist = || {
            // SQLite wrote by a handle of its own; what is to be on disk is the file.
            file.as_file().sync_all()?;
            file.persist_noclobber(&path)?;
            File::open(folder_of(&path))?.sync_all()
        };
        persist().map_err(|error| CopyError::File(shown, error))
    }
}

/// Clients and resources refer to each other: only at the end does everything have to be there.
async fn set_deferrable(connection: &mut PgConnection, how: &str) -> Result<(), CopyError> {
    let keys = "SELECT format('ALTER TABLE %s ALTER CONSTRAINT %I ', conrelid::regclass, conname)
         FROM pg_constraint
         WHERE contype = 'f' AND connamespace = current_schema()::regnamespace";
    let keys: Vec<_> = sqlx::query(keys)
        .fetch(&mut *connection)
        .try_collect()
        .await?;
    for key in keys {
        let alter = key.try_get::<String, _>(0)? + how;
        connection.execute(sqlx::AssertSqlSafe(alter)).await?;
    }
    Ok(())
}

/// Where a file is.
fn folder_of(path: &Path) -> &Path {
    let folder = path.parent();
    let folder = folder.filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}
