//! The whole content of a database as rows: read from one moment, written into an empty database of either kind, summed
//! up so that both sides can be compared.
//!
//! [`Snapshot`] reads, [`Filling`] writes. What is copied stands in one list, [`tables()`].

mod database;
mod filling;
mod rows;
mod snapshot;
mod tables;

pub use filling::{Filling, Restored};
pub use rows::{Row, Sum, Summing, Value, from_bytes, to_bytes};
pub use snapshot::{Snapshot, Source};
pub use tables::{Kind, LEFT_OUT, Table, tables};

use super::StoreError;

/// Why a database was not copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    #[error("there is no database {0}")]
    Absent(String),
    #[error("a database in memory ends with its process: there is nothing to copy")]
    Memory,
    #[error(
        "the database {0} is not empty: this fills a new one and changes none that is in use. Name another, or move \
         {0} away"
    )]
    NotEmpty(String),
    #[error(
        "the database has version {found}, this program has version {own}: use the program that runs on it, or start \
         this one on it first"
    )]
    OtherVersion { found: i64, own: i64 },
    #[error("what was written to table `{0}` is not what was read: nothing was kept")]
    NotTheSame(String),
    #[error("cannot write {0}")]
    File(String, #[source] std::io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for CopyError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<sqlx::migrate::MigrateError> for CopyError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        Self::Store(error.into())
    }
}
