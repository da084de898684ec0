//! One connection to either database, and the few things that are said to it differently.

use std::str::FromStr;

use futures_util::{StreamExt, TryStreamExt, stream::BoxStream};
use sqlx::{
    AssertSqlSafe, ColumnIndex, ConnectOptions, Connection, Decode, Executor, PgConnection,
    Row as _, SqliteConnection, Type, postgres::PgConnectOptions, sqlite::SqliteConnectOptions,
};
use url::Url;

use super::{CopyError, Kind, Row, Sum, Summing, Table, Value, to_bytes};
use crate::storage::connect::{postgres_migrations, sqlite_migrations};

/// Texts are ordered by their bytes, as SQLite orders them by itself.
const BY_BYTES: &str = " COLLATE \"C\"";

/// Some clusters end a session that is quiet in a transaction, or takes long: a copy of much does both.
const TAKE_YOUR_TIME: &str =
    "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0";

pub(super) enum Database {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// Does the same with whichever connection it is.
macro_rules! on {
    ($database:expr, $connection:ident => $do:expr) => {
        match $database {
            Database::Sqlite($connection) => $do,
            Database::Postgres($connection) => $do,
        }
    };
}

impl Database {
    pub(super) async fn sqlite(options: SqliteConnectOptions) -> Result<Self, CopyError> {
        let options = options.disable_statement_logging(); // whole tables are read: that takes long
        Ok(Self::Sqlite(options.connect().await?))
    }

    pub(super) async fn postgres(url: &Url) -> Result<Self, CopyError> {
        let options = PgConnectOptions::from_str(url.as_str())?.disable_statement_logging();
        let mut connection = options.connect().await?;
        connection.execute(TAKE_YOUR_TIME).await?;
        Ok(Self::Postgres(connection))
    }

    pub(super) async fn execute(&mut self, sql: impl Into<String>) -> Result<u64, CopyError> {
        let sql = AssertSqlSafe(sql.into());
        Ok(on!(self, c => c.execute(sql).await?.rows_affected()))
    }

    /// The first column of the first row, which is a number that is there.
    pub(super) async fn number(&mut self, sql: impl Into<String>) -> Result<i64, CopyError> {
        let sql = AssertSqlSafe(sql.into());
        Ok(on!(self, c => sqlx::query(sql).fetch_one(c).await?.try_get(0)?))
    }

    /// The version of its tables; 0 when it has none.
    pub(super) async fn version(&mut self) -> Result<i64, CopyError> {
        let known = match self {
            Self::Sqlite(_) => "SELECT COUNT(*) FROM sqlite_master WHERE name = '_sqlx_migrations'",
            Self::Postgres(_) => {
                "SELECT COUNT(*) FROM information_schema.tables
                 WHERE table_schema = current_schema() AND table_name = '_sqlx_migrations'"
            }
        };
        if self.number(known).await? == 0 {
            return Ok(0);
        }
        self.number("SELECT COALESCE(MAX(version), 0) FROM _sqlx_migrations WHERE success")
            .await
    }

    /// Brings the tables to a version; `None` is that of this program.
    pub(super) async fn migrate(&mut self, version: Option<i64>) -> Result<(), CopyError> {
        match self {
            Self::Sqlite(connection) => {
                let steps = sqlite_migrations();
                steps.run_direct(version, connection, false).await?;
            }
            Self::Postgres(connection) => {
                let steps = postgres_migrations();
                steps.run_direct(version, connection, false).await?;
            }
        }
        Ok(())
    }

    /// All rows of a table, in the order of the key, as they are asked for.
    pub(super) fn rows<'a>(
        &'a mut self,
        table: &'a Table,
    ) -> BoxStream<'a, Result<Row, CopyError>> {
        match self {
            Self::Sqlite(connection) => sqlx::query(AssertSqlSafe(table.select("")))
                .fetch(connection)
                .map(|row| Ok(values(&row?, table)?))
                .boxed(),
            Self::Postgres(connection) => sqlx::query(AssertSqlSafe(table.select(BY_BYTES)))
                .fetch(connection)
                .map(|row| Ok(values(&row?, table)?))
                .boxed(),
        }
    }

    pub(super) async fn sum(&mut self, table: &Table) -> Result<Sum, CopyError> {
        let mut summing = Summing::of(table);
        let mut rows = self.rows(table);
        while let Some(row) = rows.try_next().await? {
            summing.add(&to_bytes(&row));
        }
        Ok(summing.finish())
    }

    pub(super) async fn add(&mut self, table: &Table, rows: &[Row]) -> Result<(), CopyError> {
        macro_rules! bound {
            ($connection:ident, $overriding:literal, $mark:literal) => {{
                let mut query =
                    sqlx::query(AssertSqlSafe(table.insert(rows.len(), $overriding, $mark)));
                for row in rows {
                    for (value, (_, kind)) in row.iter().zip(&table.columns) {
                        query = match kind {
                            Kind::Integer => query.bind(value.integer()),
                            Kind::Text => query.bind(value.text()),
                            Kind::Bytes => query.bind(value.bytes()),
                        };
                    }
                }
                query.execute($connection).await?;
            }};
        }
        match self {
            Self::Sqlite(connection) => bound!(connection, "", '?'),
            Self::Postgres(connection) => bound!(connection, "OVERRIDING SYSTEM VALUE ", '$'),
        }
        Ok(())
    }

    /// The last number that was handed out for a numbered table, be its row still there or not.
    pub(super) async fn last_number(&mut self, table: &Table) -> Result<i64, CopyError> {
        let name = &table.name;
        match self {
            Self::Sqlite(_) => {
                let last = format!("SELECT MAX(seq) FROM sqlite_sequence WHERE name = '{name}'");
                self.number(format!("SELECT COALESCE(({last}), 0)")).await
            }
            Self::Postgres(connection) => {
                let sequence = sequence_of(connection, table).await?;
                let last = format!(
                    "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {sequence}"
                );
                self.number(last).await
            }
        }
    }

    /// The next number is one higher.
    pub(super) async fn set_last_number(
        &mut self,
        table: &Table,
        last: i64,
    ) -> Result<(), CopyError> {
        let name = &table.name;
        match self {
            Self::Sqlite(_) => {
                self.execute(format!("DELETE FROM sqlite_sequence WHERE name = '{name}'"))
                    .await?;
                let set =
                    format!("INSERT INTO sqlite_sequence (name, seq) VALUES ('{name}', {last})");
                self.execute(set).await?;
            }
            Self::Postgres(connection) => {
                let sequence = sequence_of(connection, table).await?;
                let set = format!("SELECT setval('{sequence}', {}, {})", last.max(1), last > 0);
                self.execute(set).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn close(self) -> Result<(), CopyError> {
        on!(self, c => c.close().await?);
        Ok(())
    }
}

/// With its schema, as SQL writes it.
async fn sequence_of(connection: &mut PgConnection, table: &Table) -> Result<String, CopyError> {
    let (table, column) = (&table.name, &table.columns[0].0);
    let sql = format!("SELECT pg_get_serial_sequence('{table}', '{column}')");
    let row = sqlx::query(AssertSqlSafe(sql))
        .fetch_one(connection)
        .await?;
    Ok(row.try_get(0)?)
}

fn values<R: sqlx::Row>(row: &R, table: &Table) -> Result<Row, sqlx::Error>
where
    usize: ColumnIndex<R>,
    i64: for<'r> Decode<'r, R::Database> + Type<R::Database>,
    String: for<'r> Decode<'r, R::Database> + Type<R::Database>,
    Vec<u8>: for<'r> Decode<'r, R::Database> + Type<R::Database>,
{
    let kinds = table.columns.iter().map(|(_, kind)| *kind).enumerate();
    let values = kinds.map(|(at, kind)| {
        let value = match kind {
            Kind::Integer => row.try_get::<Option<i64>, _>(at)?.map(Value::Integer),
            Kind::Text => row.try_get::<Option<String>, _>(at)?.map(Value::Text),
            Kind::Bytes => row.try_get::<Option<Vec<u8>>, _>(at)?.map(Value::Bytes),
        };
        Ok(value.unwrap_or(Value::Null))
    });
    values.collect()
}
