//! The part of the store by which servers on one database work together. SQLite belongs to one server: there is nobody
//! to work with.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::PgConnection;

use super::{
    StoreError,
    rows::{Columns, client_id, number, resource_id, time},
    sql::{PostgresStore, SqliteStore},
};
use crate::{
    client::ClientId,
    registry::change::{Change, concerned},
    resource::ResourceId,
};

/// What servers on one database tell each other. Each method is one atomic step.
#[async_trait]
pub trait ReplicaStore: Send + Sync {
    /// Whose records changed after `seen`, in the order of the numbers, and the last number. An entry with a lower number
    /// than one that was ever returned never appears later.
    async fn changes_after(&self, seen: u64) -> Result<(Vec<Changed>, u64), StoreError>;

    /// Forgets changes that every server has long heard of.
    async fn forget_changes(&self) -> Result<(), StoreError>;

    /// Takes the lease of this name, or keeps it, for so long: then it says how often the lease has changed hands. `None`
    /// when another holds it.
    async fn take_lease(
        &self,
        name: &str,
        holder: &str,
        length: Duration,
    ) -> Result<Option<u64>, StoreError>;

    /// Gives every lease of this holder back, so that others need not wait for its end.
    async fn give_leases_back(&self, holder: &str) -> Result<(), StoreError>;
}

/// What of the registry is another than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    Client(ClientId),
    Resource(ResourceId),
    /// More than is told one by one.
    Everything,
}

/// The channel that PostgreSQL's `NOTIFY` is heard on. What is said there is which of the lists to look at, and nothing
/// that could be worth listening for.
pub(super) const CHANNEL: &str = "auth_provider";

/// A change that concerns more than this is told as a whole.
const TOLD_ONE_BY_ONE: usize = 1000;

// In one transaction with the change. The caller holds the lock that makes writers take turns, so that the numbers
// become visible in their order.
const TELL_CHANGES: &str = "
    INSERT INTO registry_change (client_id, resource_id, at)
    SELECT c, r, EXTRACT(EPOCH FROM now())::BIGINT
    FROM unnest($1::TEXT[], $2::TEXT[]) AS told (c, r)";

const NOTIFY: &str = "SELECT pg_notify($1, $2)";

const CHANGES_AFTER: &str = "
    SELECT number, client_id, resource_id FROM registry_change WHERE number > $1 ORDER BY number";

/// A server that was away for longer forgets all that it knew: see [`crate::background`].
const FORGET_CHANGES: &str = "
    DELETE FROM registry_change WHERE at < EXTRACT(EPOCH FROM now())::BIGINT - 3600";

// One clock decides, so that those of the servers need not agree.
const TAKE_LEASE: &str = "
    WITH clock AS (SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::BIGINT AS now)
    INSERT INTO lease (name, holder, until, fencing)
    SELECT $1, $2, clock.now + $3, 1 FROM clock
    ON CONFLICT (name) DO UPDATE
    SET holder = excluded.holder, until = excluded.until,
        fencing = lease.fencing + CASE WHEN lease.holder = excluded.holder THEN 0 ELSE 1 END
    WHERE lease.holder = excluded.holder OR lease.until <= excluded.until - $3
    RETURNING fencing";

const GIVE_LEASES_BACK: &str = "UPDATE lease SET until = 0 WHERE holder = $1";

impl PostgresStore {
    /// Tells the other servers of a change, when it is committed.
    pub(super) async fn tell(
        connection: &mut PgConnection,
        changes: &[Change],
    ) -> Result<(), StoreError> {
        let concerned = concerned(changes);
        let count = concerned.clients.len() + concerned.resources.len();
        if count > 0 {
            let (mut clients, mut resources) = (Vec::new(), Vec::new());
            if count > TOLD_ONE_BY_ONE {
                clients.push(None);
                resources.push(None);
            } else {
                clients.extend(concerned.clients.iter().map(|id| Some(id.as_str())));
                resources.resize(clients.len(), None);
                resources.extend(concerned.resources.iter().map(|id| Some(id.as_str())));
                clients.resize(resources.len(), None);
            }
            sqlx::query(TELL_CHANGES)
                .bind(clients)
                .bind(resources)
                .execute(&mut *connection)
                .await?;
            Self::notify(connection, "registry").await?;
        }
        if changes.iter().any(Change::revokes) {
            Self::notify(connection, "revocations").await?;
        }
        Ok(())
    }

    /// The same for a change of the signing keys.
    pub(super) async fn tell_of_keys(connection: &mut PgConnection) -> Result<(), StoreError> {
        Self::notify(connection, "keys").await
    }

    async fn notify(connection: &mut PgConnection, topic: &str) -> Result<(), StoreError> {
        let query = sqlx::query(NOTIFY).bind(CHANNEL).bind(topic);
        query.execute(connection).await?;
        Ok(())
    }
}

#[async_trait]
impl ReplicaStore for PostgresStore {
    async fn changes_after(&self, seen: u64) -> Result<(Vec<Changed>, u64), StoreError> {
        let rows = sqlx::query(CHANGES_AFTER)
            .bind(number(seen))
            .fetch_all(&self.0)
            .await?;
        let last = rows.last().map(|row| time(row, "number")).transpose()?;
        let changed = rows.iter().map(changed).collect::<Result<_, _>>()?;
        Ok((changed, last.unwrap_or(seen)))
    }

    async fn forget_changes(&self) -> Result<(), StoreError> {
        sqlx::query(FORGET_CHANGES).execute(&self.0).await?;
        Ok(())
    }

    async fn take_lease(
        &self,
        name: &str,
        holder: &str,
        length: Duration,
    ) -> Result<Option<u64>, StoreError> {
        let millis = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        let row = sqlx::query(TAKE_LEASE)
            .bind(name)
            .bind(holder)
            .bind(number(millis))
            .fetch_optional(&self.0)
            .await?;
        row.map(|row| time(&row, "fencing")).transpose()
    }

    async fn give_leases_back(&self, holder: &str) -> Result<(), StoreError> {
        sqlx::query(GIVE_LEASES_BACK)
            .bind(holder)
            .execute(&self.0)
            .await?;
        Ok(())
    }
}

fn changed(row: &sqlx::postgres::PgRow) -> Result<Changed, StoreError> {
    Ok(if row.maybe_text("client_id")?.is_some() {
        Changed::Client(client_id(row)?)
    } else if row.maybe_text("resource_id")?.is_some() {
        Changed::Resource(resource_id(row)?)
    } else {
        Changed::Everything
    })
}

impl SqliteStore {
    /// Nobody else has this database.
    #[expect(clippy::unused_async, reason = "as in the other store")]
    pub(super) async fn tell(
        _: &mut sqlx::SqliteConnection,
        _: &[Change],
    ) -> Result<(), StoreError> {
        Ok(())
    }

    /// As [`tell`](Self::tell).
    #[expect(clippy::unused_async, reason = "as in the other store")]
    pub(super) async fn tell_of_keys(_: &mut sqlx::SqliteConnection) -> Result<(), StoreError> {
        Ok(())
    }
}

#[async_trait]
impl ReplicaStore for SqliteStore {
    async fn changes_after(&self, seen: u64) -> Result<(Vec<Changed>, u64), StoreError> {
        Ok((vec![], seen))
    }

    async fn forget_changes(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn take_lease(&self, _: &str, _: &str, _: Duration) -> Result<Option<u64>, StoreError> {
        Ok(Some(1))
    }

    async fn give_leases_back(&self, _: &str) -> Result<(), StoreError> {
        Ok(())
    }
}
