//! The macro that makes a [`VaultStore`] of the statements, each of which is written once, for either database.

use std::{slice::from_ref, sync::Arc};

use async_trait::async_trait;
use sqlx::AssertSqlSafe;

use super::{
    Ahead, Attention, Claim, Due, Glance, Listing, Seen, Settlement, StoreError, Stored, Times,
    VaultStore,
    audit::{
        BATCH, FORGET_EVENTS, FORGET_REQUESTS, REMEMBER, add_events_sql, add_uses_sql, are_alike,
        events_of,
    },
    connections::{AHEAD, Conditions, ONE, PUT, REMOVE, REMOVE_USE, glances_at, listing, wrapped},
    keys::{ADD_OWN_KEY, KEK_IDS, OWN_KEY, REPLACE_OWN_KEY, REWRAP},
    lists::{LONGEST, Placeholder, rows_of},
    refreshes::{ATTENTION, CLAIM, DUE, SETTLE_BROKEN, SETTLE_FAILED, SETTLE_REFRESHED, SUSPECT},
    rows::{
        Columns, ahead, attention, envelope, glance, kek, key, maybe_number, number, recorded,
        stored, time,
    },
};
use crate::{
    audit::{Event, Filter, Recorded},
    connection::ConnectionKey,
    envelope::Envelope,
    kek::KekId,
};

/// `$sql`, with the four names of a connection bound.
macro_rules! about {
    ($sql:expr, $key:expr) => {{
        let key: &ConnectionKey = $key;
        sqlx::query($sql)
            .bind(key.application.as_str())
            .bind(key.user.as_str())
            .bind(key.service.as_str())
            .bind(key.account.as_str())
    }};
}

macro_rules! add_events {
    ($tx:expr, $events:expr, $placeholder:expr) => {{
        for mut alike in $events.chunk_by(are_alike) {
            while let Some(first) = alike.first() {
                let (events, later) = alike.split_at(rows_of(alike.len()));
                let mut query = sqlx::query(add_events_sql(events.len(), $placeholder))
                    .bind(first.action.as_str())
                    .bind(first.key.application.as_str())
                    .bind(first.key.service.as_str())
                    .bind(first.actor.as_deref())
                    .bind(first.reason.as_deref());
                // SQLite's driver keeps what it binds: it would copy a borrowed text, and allocate twice.
                for Event { at, key, .. } in events {
                    query = query
                        .bind(number(*at))
                        .bind(Arc::<str>::from(key.user.as_str()))
                        .bind(Arc::<str>::from(key.account.as_str()));
                }
                query.execute(&mut *$tx).await?;
                alike = later;
            }
        }
    }};
}

macro_rules! add_uses {
    ($tx:expr, $uses:expr, $placeholder:expr) => {{
        let mut rest: &[&Event] = $uses;
        while !rest.is_empty() {
            let (uses, later) = rest.split_at(rows_of(rest.len()));
            let mut query = sqlx::query(add_uses_sql(uses.len(), $placeholder));
            for Event { at, key, actor, .. } in uses {
                query = query
                    .bind(key.application.shared())
                    .bind(Arc::<str>::from(key.user.as_str()))
                    .bind(key.service.shared())
                    .bind(Arc::<str>::from(key.account.as_str()))
                    .bind(number(*at))
                    .bind(actor.clone());
            }
            query.execute(&mut *$tx).await?;
            rest = later;
        }
    }};
}

/// `$begin` is how a transaction starts that will write: SQLite must take its write lock at once, since a reader that
/// turns writer fails when another was faster. `$clock` is the database's own clock, in milliseconds, and `$ahead` how
/// connections are looked at that nobody has asked for.
macro_rules! sql_store {
    ($store:ident, $database:ty, $begin:literal, $placeholder:expr, $clock:literal, $ahead:expr) => {
        pub(super) struct $store {
            pub(super) pool: sqlx::Pool<$database>,
            /// For looks at connections, which come with nearly each request.
            pub(super) looks: sqlx::Pool<$database>,
        }

        #[async_trait]
        impl VaultStore for $store {
            async fn put(
                &self,
                key: &ConnectionKey,
                envelope: &Envelope,
                times: Times,
                version: u64,
                event: &Event,
            ) -> Result<(), StoreError> {
                let mut tx = self.pool.begin_with($begin).await?;
                about!(PUT, key)
                    .bind(number(version))
                    .bind(envelope.kek.as_str())
                    .bind(envelope.data_key.as_slice())
                    .bind(envelope.sealed.as_slice())
                    .bind(maybe_number(times.expires_at))
                    .bind(maybe_number(times.refresh_from))
                    .bind(number(event.at))
                    .execute(&mut *tx)
                    .await?;
                add_events!(tx, from_ref(event), $placeholder);
                Ok(tx.commit().await?)
            }

            async fn connection(&self, key: &ConnectionKey) -> Result<Option<Stored>, StoreError> {
                let row = about!(ONE.as_str(), key).fetch_optional(&self.pool).await?;
                row.as_ref().map(stored).transpose()
            }

            async fn glances(
                &self,
                keys: &[ConnectionKey],
            ) -> Result<Vec<Option<Glance>>, StoreError> {
                let mut found = Vec::with_capacity(keys.len());
                for keys in keys.chunks(LONGEST) {
                    let mut query = sqlx::query(glances_at(keys.len(), $placeholder));
                    for key in keys {
                        query = query
                            .bind(key.application.as_str())
                            .bind(key.user.as_str())
                            .bind(key.service.as_str())
                            .bind(key.account.as_str());
                    }
                    for _ in 0..4 * (keys.len().next_power_of_two() - keys.len()) {
                        query = query.bind(None::<&str>);
                    }
                    let first = found.len();
                    found.resize_with(first + keys.len(), || None);
                    for row in query.fetch_all(&self.looks).await? {
                        let place = usize::try_from(time(&row, "n")?).ok();
                        let place = place.and_then(|place| found.get_mut(first + place));
                        *place.ok_or(StoreError::Corrupt { what: "order" })? = Some(glance(&row)?);
                    }
                }
                Ok(found)
            }

            async fn ahead(&self, after: u64, limit: u32) -> Result<Vec<Ahead>, StoreError> {
                let Some(sql) = $ahead else {
                    return Ok(Vec::new());
                };
                let query = sqlx::query(sql).bind(number(after)).bind(i64::from(limit));
                let rows = query.fetch_all(&self.pool).await?;
                rows.iter().map(ahead).collect()
            }

            async fn connections(&self, wish: &Listing<'_>) -> Result<Vec<Stored>, StoreError> {
                let Conditions { sql, texts } = listing(wish);
                let query = texts
                    .into_iter()
                    .fold(sqlx::query(AssertSqlSafe(sql)), sqlx::query::Query::bind);
                query
                    .fetch_all(&self.pool)
                    .await?
                    .iter()
                    .map(stored)
                    .collect()
            }

            async fn claim(
                &self,
                claim: &Claim<'_>,
                events: &[Event],
            ) -> Result<Option<u64>, StoreError> {
                let mut tx = self.pool.begin_with($begin).await?;
                let claimed = about!(CLAIM, claim.key)
                    .bind(number(claim.version))
                    .bind(number(claim.fence))
                    .bind(number(claim.until))
                    .bind(claim.spending)
                    .bind(claim.doubt.map(|doubt| doubt.as_str()))
                    .bind(number(claim.now))
                    .execute(&mut *tx)
                    .await?;
                if claimed.rows_affected() == 0 {
                    return Ok(None); // the transaction ends undone
                }
                add_events!(tx, events, $placeholder);
                tx.commit().await?;
                Ok(Some(claim.fence + 1))
            }

            async fn settle(
                &self,
                key: &ConnectionKey,
                seen: Seen,
                settlement: &Settlement,
                new_version: u64,
                event: &Event,
            ) -> Result<bool, StoreError> {
                let mut tx = self.pool.begin_with($begin).await?;
                let sql = match settlement {
                    Settlement::Refreshed { .. } => SETTLE_REFRESHED,
                    Settlement::Failed { .. } => SETTLE_FAILED,
                    Settlement::Broken(_) => SETTLE_BROKEN,
                };
                let query = about!(sql, key)
                    .bind(number(seen.version))
                    .bind(number(seen.fence));
                let query = match settlement {
                    Settlement::Refreshed { envelope, times } => query
                        .bind(number(new_version))
                        .bind(envelope.kek.as_str())
                        .bind(envelope.data_key.as_slice())
                        .bind(envelope.sealed.as_slice())
                        .bind(maybe_number(times.expires_at))
                        .bind(maybe_number(times.refresh_from))
                        .bind(number(event.at)),
                    Settlement::Failed {
                        doubt,
                        failures,
                        retry_from,
                        kind,
                    } => query
                        .bind(doubt.map(|doubt| doubt.as_str()))
                        .bind(i64::from(*failures))
                        .bind(number(*retry_from))
                        .bind(*kind),
                    Settlement::Broken(broken) => query
                        .bind(number(new_version))
                        .bind(broken.as_str())
                        .bind(number(event.at)),
                };
                if query.execute(&mut *tx).await?.rows_affected() == 0 {
                    return Ok(false);
                }
                add_events!(tx, from_ref(event), $placeholder);
                tx.commit().await?;
                Ok(true)
            }

            async fn remove(
                &self,
                key: &ConnectionKey,
                version: u64,
                event: &Event,
            ) -> Result<bool, StoreError> {
                let mut tx = self.pool.begin_with($begin).await?;
                let removed = about!(REMOVE, key)
                    .bind(number(version))
                    .execute(&mut *tx)
                    .await?;
                if removed.rows_affected() == 0 {
                    return Ok(false);
                }
                about!(REMOVE_USE, key).execute(&mut *tx).await?;
                add_events!(tx, from_ref(event), $placeholder);
                tx.commit().await?;
                Ok(true)
            }

            async fn due(&self, wish: Due<'_>) -> Result<Vec<ConnectionKey>, StoreError> {
                let rows = sqlx::query(DUE)
                    .bind(number(wish.refresh_from))
                    .bind(number(wish.used_since))
                    .bind(number(wish.now))
                    .bind(i64::from(wish.limit))
                    .bind(wish.service.as_str())
                    .fetch_all(&self.pool)
                    .await?;
                rows.iter().map(key).collect()
            }

            async fn suspect(
                &self,
                key: &ConnectionKey,
                stored_at: u64,
                now: u64,
            ) -> Result<(), StoreError> {
                let query = about!(SUSPECT, key)
                    .bind(number(stored_at))
                    .bind(number(now));
                query.execute(&self.pool).await?;
                Ok(())
            }

            async fn wrapped_by(
                &self,
                kek: &KekId,
                after: Option<&ConnectionKey>,
                limit: u32,
            ) -> Result<Vec<Stored>, StoreError> {
                let Conditions { sql, texts } = wrapped(kek, after, limit);
                let query = sqlx::query(AssertSqlSafe(sql));
                let query = texts.into_iter().fold(query, sqlx::query::Query::bind);
                query
                    .fetch_all(&self.pool)
                    .await?
                    .iter()
                    .map(stored)
                    .collect()
            }

            async fn rewrap(
                &self,
                key: &ConnectionKey,
                old: &Envelope,
                new: &Envelope,
            ) -> Result<bool, StoreError> {
                let rewrapped = about!(REWRAP, key)
                    .bind(old.data_key.as_slice())
                    .bind(old.sealed.as_slice())
                    .bind(new.kek.as_str())
                    .bind(new.data_key.as_slice())
                    .execute(&self.pool)
                    .await?;
                Ok(rewrapped.rows_affected() == 1)
            }

            async fn kek_ids(&self) -> Result<Vec<KekId>, StoreError> {
                sqlx::query(KEK_IDS)
                    .fetch_all(&self.pool)
                    .await?
                    .iter()
                    .map(kek)
                    .collect()
            }

            async fn own_key(&self) -> Result<Option<Envelope>, StoreError> {
                let row = sqlx::query(OWN_KEY).fetch_optional(&self.pool).await?;
                row.as_ref().map(envelope).transpose()
            }

            async fn set_own_key(
                &self,
                old: Option<&Envelope>,
                new: &Envelope,
            ) -> Result<bool, StoreError> {
                let query = sqlx::query(if old.is_some() {
                    REPLACE_OWN_KEY
                } else {
                    ADD_OWN_KEY
                })
                .bind(new.kek.as_str())
                .bind(new.data_key.as_slice())
                .bind(new.sealed.as_slice());
                let query = match old {
                    Some(old) => query.bind(old.data_key.as_slice()),
                    None => query,
                };
                Ok(query.execute(&self.pool).await?.rows_affected() == 1)
            }

            async fn remember(
                &self,
                id_hash: &[u8],
                now: u64,
                until: u64,
            ) -> Result<bool, StoreError> {
                let added = sqlx::query(REMEMBER)
                    .bind(id_hash)
                    .bind(number(until))
                    .bind(number(now))
                    .execute(&self.pool)
                    .await?;
                Ok(added.rows_affected() == 1)
            }

            async fn add_events(
                &self,
                events: &[Event],
                uses: &[&Event],
            ) -> Result<(), StoreError> {
                let mut tx = self.pool.begin_with($begin).await?;
                add_events!(tx, events, $placeholder);
                add_uses!(tx, uses, $placeholder);
                Ok(tx.commit().await?)
            }

            async fn events(
                &self,
                filter: &Filter,
                before: u64,
                limit: u32,
            ) -> Result<Vec<Recorded>, StoreError> {
                let Conditions { sql, texts } = events_of(filter, before, limit);
                let query = texts
                    .into_iter()
                    .fold(sqlx::query(AssertSqlSafe(sql)), sqlx::query::Query::bind);
                query
                    .fetch_all(&self.pool)
                    .await?
                    .iter()
                    .map(recorded)
                    .collect()
            }

            async fn forget(&self, events_before: u64, now: u64) -> Result<bool, StoreError> {
                sqlx::query(FORGET_REQUESTS)
                    .bind(number(now))
                    .execute(&self.pool)
                    .await?;
                let forgotten = sqlx::query(FORGET_EVENTS)
                    .bind(number(events_before))
                    .bind(number(BATCH))
                    .execute(&self.pool)
                    .await?;
                Ok(forgotten.rows_affected() == BATCH)
            }

            async fn attention(&self) -> Result<Vec<Attention>, StoreError> {
                sqlx::query(ATTENTION)
                    .fetch_all(&self.pool)
                    .await?
                    .iter()
                    .map(attention)
                    .collect()
            }

            async fn clock(&self) -> Result<Option<u64>, StoreError> {
                let row = sqlx::query($clock).fetch_one(&self.pool).await?;
                Ok(row
                    .maybe_number("now")?
                    .and_then(|now| u64::try_from(now).ok()))
            }
        }
    };
}

// SQLite has this machine's clock.
sql_store!(
    SqliteStore,
    sqlx::Sqlite,
    "BEGIN IMMEDIATE",
    Placeholder::Plain,
    "SELECT CAST(NULL AS INTEGER) AS now",
    Some(AHEAD)
);
sql_store!(
    PostgresStore,
    sqlx::Postgres,
    "BEGIN",
    Placeholder::Numbered,
    "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) AS now",
    None::<&str> // others change what this server would believe in
);
