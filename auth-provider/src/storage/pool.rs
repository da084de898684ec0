//! How many connections to the database there are.

use super::{
    guarded::Guarded,
    sql::{PostgresStore, SqliteStore},
};

/// The connections to the database as they are now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connections {
    /// Those that somebody uses.
    pub busy: u32,
    pub idle: u32,
}

/// A store that has connections. It says so at once, also when the database is away.
pub trait Pooled {
    fn connections(&self) -> Connections;
}

impl<D: sqlx::Database> Pooled for sqlx::Pool<D> {
    fn connections(&self) -> Connections {
        let idle = u32::try_from(self.num_idle()).unwrap_or(u32::MAX);
        let busy = self.size().saturating_sub(idle);
        Connections { busy, idle }
    }
}

impl Pooled for PostgresStore {
    fn connections(&self) -> Connections {
        self.0.connections()
    }
}

impl Pooled for SqliteStore {
    fn connections(&self) -> Connections {
        self.0.connections()
    }
}

impl Pooled for Guarded {
    fn connections(&self) -> Connections {
        self.within().connections()
    }
}
