//! How many connections to the database there are.

use std::time::Duration;

use sqlx::{Error, Sqlite, SqlitePool, pool::PoolConnection};
use tokio::{sync::Mutex, time::timeout};

use super::{
    guarded::Guarded,
    sql::{PostgresStore, SqliteStore},
};

/// The connections to a SQLite file: one, as long as that is enough.
///
/// A pool opens another whenever none is there, and one that was just used is not: it comes back some microseconds after its
/// statement. Two statements one after the other would then have two connections, each with a thread and a cache of its own.
pub(super) struct Sparing {
    /// It has one connection.
    first: SqlitePool,
    /// For when that is busy; `None` where there may be only one.
    more: Option<SqlitePool>,
    /// How long the first is waited for before there is another.
    patience: Duration,
    /// Held by who waits so. Whoever comes meanwhile need not.
    waits: Mutex<()>,
}

impl Sparing {
    pub(super) fn new(first: SqlitePool, more: Option<SqlitePool>, patience: Duration) -> Self {
        Self {
            first,
            more,
            patience,
            waits: Mutex::default(),
        }
    }

    /// A connection, as soon as there is one.
    pub(super) async fn acquire(&self) -> Result<PoolConnection<Sqlite>, Error> {
        let Some(more) = &self.more else {
            return self.first.acquire().await;
        };
        if let Some(idle) = self.first.try_acquire().or_else(|| more.try_acquire()) {
            return Ok(idle);
        }
        if let Ok(_alone) = self.waits.try_lock()
            && let Ok(back) = timeout(self.patience, self.first.acquire()).await
        {
            return back;
        }
        tokio::select! {
            biased;
            back = self.first.acquire() => back,
            another = more.acquire() => another,
        }
    }
}

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

impl Pooled for Sparing {
    fn connections(&self) -> Connections {
        let mut all = self.first.connections();
        if let Some(more) = &self.more {
            let more = more.connections();
            all.busy += more.busy;
            all.idle += more.idle;
        }
        all
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

#[cfg(test)]
mod tests {
    use sqlx::{Executor, sqlite::SqlitePoolOptions};

    use super::*;

    fn sparing(patience: Duration) -> Sparing {
        let pool = |most| {
            let options = SqlitePoolOptions::new().max_connections(most);
            options.connect_lazy("sqlite::memory:").unwrap()
        };
        Sparing::new(pool(1), Some(pool(2)), patience)
    }

    fn open(pool: &Sparing) -> u32 {
        let Connections { busy, idle } = pool.connections();
        busy + idle
    }

    #[actix_web::test]
    async fn statements_one_after_the_other_have_one_connection() {
        let pool = sparing(Duration::from_mins(1));
        for _ in 0..20 {
            let mut connection = pool.acquire().await.unwrap();
            connection.execute("SELECT 1").await.unwrap();
        }
        assert_eq!(open(&pool), 1);
    }

    #[actix_web::test]
    async fn who_comes_while_all_are_busy_gets_another_or_the_first_that_is_back() {
        let pool = sparing(Duration::ZERO);
        let first = pool.acquire().await.unwrap();
        let second = pool.acquire().await.unwrap();
        let _third = pool.acquire().await.unwrap();
        assert_eq!(open(&pool), 3);
        for back in [first, second] {
            drop(back);
            pool.acquire().await.unwrap();
        }
        assert_eq!(open(&pool), 3);
    }

    #[actix_web::test]
    async fn one_waits_for_the_first_and_no_two() {
        let pool = sparing(Duration::from_mins(1));
        let first = pool.acquire().await.unwrap();
        let waiting = pool.acquire();
        tokio::pin!(waiting);
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("there is another at once"),
            _ = pool.acquire() => {}
        }
        drop(first);
        waiting.await.unwrap();
        assert_eq!(open(&pool), 2);
    }
}
