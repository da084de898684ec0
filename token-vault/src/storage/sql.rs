//! The SQL, each statement once, and the macro that makes a [`VaultStore`] of it for either database.
//!
//! Races are decided by the statements themselves: each change of a row says in its `WHERE` what the row must be like, and the
//! row count says whether it was.

use std::slice::from_ref;

use async_trait::async_trait;
use sqlx::AssertSqlSafe;

use super::{
    Attention, Claim, Due, Listing, Seen, Settlement, StoreError, Stored, Times, USED_EVERY,
    VaultStore,
    rows::{Columns, attention, envelope, kek, key, maybe_number, number, recorded, stored},
};
use crate::{
    audit::{Action, Event, Filter, Recorded},
    connection::{Account, Application, ConnectionKey, Service, User},
    envelope::Envelope,
    kek::KekId,
};

const PUT: &str = "
    INSERT INTO connection (application, user_id, service, account, version, kek, data_key, sealed,
                            expires_at, refresh_from, fence, failures, contested, stored_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, 0, 0, $11)
    ON CONFLICT (application, user_id, service, account) DO UPDATE
    SET version = excluded.version, kek = excluded.kek, data_key = excluded.data_key,
        sealed = excluded.sealed, expires_at = excluded.expires_at,
        refresh_from = excluded.refresh_from, broken = NULL, broken_since = NULL,
        leased_until = NULL, spending = NULL, doubt = NULL, failures = 0, retry_from = NULL,
        last_failure = NULL, contested = 0, stored_at = excluded.stored_at, refreshed_at = NULL";

/// Every column; what is asked for follows.
const CONNECTIONS: &str = "
    SELECT application, user_id, service, account, version, kek, data_key, sealed, expires_at,
           refresh_from, broken, broken_since, fence, leased_until, spending, doubt, failures,
           retry_from, last_failure, stored_at, refreshed_at, last_used_at, last_used_by
    FROM connection WHERE ";

const CONNECTION: &str = "
    SELECT application, user_id, service, account, version, kek, data_key, sealed, expires_at,
           refresh_from, broken, broken_since, fence, leased_until, spending, doubt, failures,
           retry_from, last_failure, stored_at, refreshed_at, last_used_at, last_used_by
    FROM connection
    WHERE application = $1 AND user_id = $2 AND service = $3 AND account = $4";

const CLAIM: &str = "
    UPDATE connection
    SET fence = fence + 1, leased_until = $7, spending = $8, doubt = $9
    WHERE application = $1 AND user_id = $2 AND service = $3 AND account = $4
      AND version = $5 AND fence = $6 AND broken IS NULL
      AND (leased_until IS NULL OR leased_until <= $10)";

const SETTLE_REFRESHED: &str = "
    UPDATE connection
    SET version = $7, kek = $8, data_key = $9, sealed = $10, expires_at = $11,
        refresh_from = CASE WHEN contested = 1 AND $12 IS NOT NULL THEN $13 ELSE $12 END,
        refreshed_at = $13, leased_until = NULL, spending = NULL, failures = 0, retry_from = NULL,
        last_failure = NULL, contested = 0, doubt = CASE WHEN contested = 1 THEN 'crash' ELSE NULL END
    WHERE application = $1 AND user_id = $2 AND service = $3 AND account = $4
      AND version = $5 AND fence = $6";

const SETTLE_FAILED: &str = "
    UPDATE connection
    SET leased_until = NULL, spending = NULL, doubt = $7, failures = $8, retry_from = $9,
        last_failure = $10
    WHERE application = $1 AND user_id = $2 AND service = $3 AND account = $4
      AND version = $5 AND fence = $6";

const SETTLE_BROKEN: &str = "
    UPDATE connection
    SET version = $7, broken = $8, broken_since = $9, leased_until = NULL, spending = NULL
    WHERE application = $1 AND user_id = $2 AND service = $3 AND account = $4
      AND version = $5 AND fence = $6";

const REMOVE: &str = "
    DELETE FROM connection
    WHERE application = $1 AND user_id = $2 AND service = $3 AND account = $4 AND version = $5";

const DUE: &str = "
    SELECT application, user_id, service, account FROM connection
    WHERE broken IS NULL AND refresh_from IS NOT NULL AND refresh_from <= $1
      AND last_used_at >= $2
      AND (leased_until IS NULL OR leased_until <= $3)
      AND (retry_from IS NULL OR retry_from <= $3)
      AND service = $5
    ORDER BY refresh_from LIMIT $4";

// Who is at it writes its own time and clears its own doubt; `contested` is what it leaves to its commit.
const SUSPECT: &str = "
    UPDATE connection
    SET contested = CASE WHEN leased_until IS NULL THEN 0 ELSE 1 END,
        refresh_from = CASE WHEN leased_until IS NULL THEN $6 ELSE refresh_from END,
        doubt = CASE WHEN leased_until IS NULL THEN 'crash' ELSE doubt END
    WHERE application = $1 AND user_id = $2 AND service = $3 AND account = $4 AND stored_at = $5
      AND broken IS NULL AND refresh_from IS NOT NULL";

const REWRAP: &str = "
    UPDATE connection SET kek = $7, data_key = $8
    WHERE application = $1 AND user_id = $2 AND service = $3 AND account = $4
      AND data_key = $5 AND sealed = $6";

const KEK_IDS: &str = "SELECT DISTINCT kek FROM connection UNION SELECT kek FROM own_key";

const OWN_KEY: &str = "SELECT kek, data_key, sealed FROM own_key WHERE one = 1";

const ADD_OWN_KEY: &str = "
    INSERT INTO own_key (one, kek, data_key, sealed) VALUES (1, $1, $2, $3)
    ON CONFLICT DO NOTHING";

const REPLACE_OWN_KEY: &str = "
    UPDATE own_key SET kek = $1, data_key = $2, sealed = $3 WHERE one = 1 AND data_key = $4";

const FORGET_REQUESTS: &str = "DELETE FROM seen_request WHERE expires_at <= $1";

const REMEMBER: &str = "
    INSERT INTO seen_request (id_hash, expires_at) VALUES ($1, $2)
    ON CONFLICT (id_hash) DO UPDATE SET expires_at = excluded.expires_at
    WHERE seen_request.expires_at <= $3";

/// The beginning of an insert of events; one group of placeholders for each follows.
const ADD_EVENTS: &str = "
    INSERT INTO audit_event (at, action, application, user_id, service, account, actor, reason)
    VALUES ";

/// What one event has, in the order of [`ADD_EVENTS`].
const EVENT_COLUMNS: usize = 8;

/// `VALUES` lists are this long at the most, and powers of two, so that there are few statements to prepare.
const LONGEST_LIST: usize = 64;

// Once a minute is enough: who wants it exactly reads the audit log.
const USED: &str = "
    UPDATE connection SET last_used_at = $5, last_used_by = $6
    WHERE application = $1 AND user_id = $2 AND service = $3 AND account = $4
      AND (last_used_at IS NULL OR last_used_at <= $7)";

/// The beginning of a list of events; each part of the filter that is given adds a line.
const EVENTS: &str = "
    SELECT number, at, action, application, user_id, service, account, actor, reason
    FROM audit_event WHERE number < $1";

const FORGET_EVENTS: &str = "
    DELETE FROM audit_event WHERE number IN
    (SELECT number FROM audit_event WHERE at < $1 ORDER BY at LIMIT $2)";

/// How many events are removed in one step.
const BATCH: u64 = 500;

const ATTENTION: &str = "
    SELECT service, COUNT(*) AS connections, MIN(broken_since) AS since FROM connection
    WHERE broken IS NOT NULL GROUP BY service ORDER BY service";

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
    ($tx:expr, $events:expr) => {{
        let mut rest: &[Event] = $events;
        while !rest.is_empty() {
            // The largest power of two that is not more than what is left.
            let rows = 1 << rest.len().min(LONGEST_LIST).ilog2();
            let (events, later) = rest.split_at(rows);
            let mut query = sqlx::query(AssertSqlSafe(add_events_sql(rows)));
            for Event {
                at,
                action,
                key,
                actor,
                reason,
            } in events
            {
                query = query
                    .bind(number(*at))
                    .bind(action.as_str())
                    .bind(key.application.as_str())
                    .bind(key.user.as_str())
                    .bind(key.service.as_str())
                    .bind(key.account.as_str())
                    .bind(actor.as_deref())
                    .bind(reason.as_deref());
            }
            query.execute(&mut *$tx).await?;
            rest = later;
        }
    }};
}

/// The statement that adds so many events.
fn add_events_sql(rows: usize) -> String {
    let group = |row: usize| {
        let columns =
            (1..=EVENT_COLUMNS).map(|column| format!("${}", row * EVENT_COLUMNS + column));
        format!("({})", columns.collect::<Vec<_>>().join(", "))
    };
    let groups: Vec<_> = (0..rows).map(group).collect();
    format!("{ADD_EVENTS}{}", groups.join(", "))
}

/// A list of conditions, and what is bound for each of them, in the order of their placeholders.
struct Conditions {
    sql: String,
    texts: Vec<String>,
}

impl Conditions {
    fn and(&mut self, condition: &str, texts: &[&str]) {
        let mut parts = condition.split('?');
        self.sql.push_str(parts.next().unwrap_or_default());
        for (part, text) in parts.zip(texts) {
            self.texts.push((*text).to_owned());
            self.sql.extend(["$", &self.texts.len().to_string(), part]);
        }
    }
}

fn listing(wish: &Listing<'_>) -> Conditions {
    let mut conditions = Conditions {
        sql: CONNECTIONS.to_owned(),
        texts: Vec::new(),
    };
    conditions.and("application = ?", &[wish.application.as_str()]);
    if let Some(service) = wish.service {
        conditions.and(" AND service = ?", &[service.as_str()]);
    }
    if let Some(user) = wish.user {
        conditions.and(" AND user_id = ?", &[user.as_str()]);
    }
    if let Some((user, service, account)) = &wish.after {
        let after = [user.as_str(), service.as_str(), account.as_str()];
        conditions.and(" AND (user_id, service, account) > (?, ?, ?)", &after);
    }
    let limit = format!(" ORDER BY user_id, service, account LIMIT {}", wish.limit);
    conditions.sql.push_str(&limit);
    conditions
}

fn wrapped(kek: &KekId, after: Option<&ConnectionKey>, limit: u32) -> Conditions {
    let mut conditions = Conditions {
        sql: CONNECTIONS.to_owned(),
        texts: Vec::new(),
    };
    conditions.and("kek = ?", &[kek.as_str()]);
    if let Some(ConnectionKey {
        application,
        user,
        service,
        account,
    }) = after
    {
        let after = [
            application.as_str(),
            user.as_str(),
            service.as_str(),
            account.as_str(),
        ];
        conditions.and(
            " AND (application, user_id, service, account) > (?, ?, ?, ?)",
            &after,
        );
    }
    let order = format!(" ORDER BY application, user_id, service, account LIMIT {limit}");
    conditions.sql.push_str(&order);
    conditions
}

/// Numbers stand in the text itself: they are no text of a caller.
fn events_of(filter: &Filter, before: u64, limit: u32) -> Conditions {
    let mut conditions = Conditions {
        sql: EVENTS.replace("$1", &number(before).to_string()),
        texts: Vec::new(),
    };
    let Filter {
        application,
        user,
        service,
        account,
        action,
        from,
        to,
    } = filter;
    for (condition, text) in [
        (
            " AND application = ?",
            application.as_ref().map(Application::as_str),
        ),
        (" AND user_id = ?", user.as_ref().map(User::as_str)),
        (" AND service = ?", service.as_ref().map(Service::as_str)),
        (" AND account = ?", account.as_ref().map(Account::as_str)),
        (" AND action = ?", action.map(Action::as_str)),
    ] {
        if let Some(text) = text {
            conditions.and(condition, &[text]);
        }
    }
    let from = number(from.unwrap_or(0));
    let to = number(to.unwrap_or(u64::MAX));
    let rest = format!(" AND at >= {from} AND at <= {to} ORDER BY number DESC LIMIT {limit}");
    conditions.sql.push_str(&rest);
    conditions
}

/// `$begin` is how a transaction starts that will write: SQLite must take its write lock at once, since a reader that
/// turns writer fails when another was faster. `$clock` is the database's own clock, in milliseconds.
macro_rules! sql_store {
    ($store:ident, $database:ty, $begin:literal, $clock:literal) => {
        pub(super) struct $store(pub(super) sqlx::Pool<$database>);

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
                let mut tx = self.0.begin_with($begin).await?;
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
                add_events!(tx, from_ref(event));
                Ok(tx.commit().await?)
            }

            async fn connection(&self, key: &ConnectionKey) -> Result<Option<Stored>, StoreError> {
                let row = about!(CONNECTION, key).fetch_optional(&self.0).await?;
                row.as_ref().map(stored).transpose()
            }

            async fn connections(&self, wish: &Listing<'_>) -> Result<Vec<Stored>, StoreError> {
                let Conditions { sql, texts } = listing(wish);
                let query = texts
                    .into_iter()
                    .fold(sqlx::query(AssertSqlSafe(sql)), sqlx::query::Query::bind);
                query.fetch_all(&self.0).await?.iter().map(stored).collect()
            }

            async fn claim(
                &self,
                claim: &Claim<'_>,
                events: &[Event],
            ) -> Result<Option<u64>, StoreError> {
                let mut tx = self.0.begin_with($begin).await?;
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
                add_events!(tx, events);
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
                let mut tx = self.0.begin_with($begin).await?;
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
                add_events!(tx, from_ref(event));
                tx.commit().await?;
                Ok(true)
            }

            async fn remove(
                &self,
                key: &ConnectionKey,
                version: u64,
                event: &Event,
            ) -> Result<bool, StoreError> {
                let mut tx = self.0.begin_with($begin).await?;
                let removed = about!(REMOVE, key)
                    .bind(number(version))
                    .execute(&mut *tx)
                    .await?;
                if removed.rows_affected() == 0 {
                    return Ok(false);
                }
                add_events!(tx, from_ref(event));
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
                    .fetch_all(&self.0)
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
                query.execute(&self.0).await?;
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
                query.fetch_all(&self.0).await?.iter().map(stored).collect()
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
                    .execute(&self.0)
                    .await?;
                Ok(rewrapped.rows_affected() == 1)
            }

            async fn kek_ids(&self) -> Result<Vec<KekId>, StoreError> {
                sqlx::query(KEK_IDS)
                    .fetch_all(&self.0)
                    .await?
                    .iter()
                    .map(kek)
                    .collect()
            }

            async fn own_key(&self) -> Result<Option<Envelope>, StoreError> {
                let row = sqlx::query(OWN_KEY).fetch_optional(&self.0).await?;
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
                Ok(query.execute(&self.0).await?.rows_affected() == 1)
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
                    .execute(&self.0)
                    .await?;
                Ok(added.rows_affected() == 1)
            }

            async fn add_events(
                &self,
                events: &[Event],
                uses: &[&Event],
            ) -> Result<(), StoreError> {
                let mut tx = self.0.begin_with($begin).await?;
                add_events!(tx, events);
                for event in uses {
                    about!(USED, &event.key)
                        .bind(number(event.at))
                        .bind(event.actor.as_deref())
                        .bind(number(event.at.saturating_sub(USED_EVERY)))
                        .execute(&mut *tx)
                        .await?;
                }
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
                    .fetch_all(&self.0)
                    .await?
                    .iter()
                    .map(recorded)
                    .collect()
            }

            async fn forget(&self, events_before: u64, now: u64) -> Result<bool, StoreError> {
                sqlx::query(FORGET_REQUESTS)
                    .bind(number(now))
                    .execute(&self.0)
                    .await?;
                let forgotten = sqlx::query(FORGET_EVENTS)
                    .bind(number(events_before))
                    .bind(number(BATCH))
                    .execute(&self.0)
                    .await?;
                Ok(forgotten.rows_affected() == BATCH)
            }

            async fn attention(&self) -> Result<Vec<Attention>, StoreError> {
                sqlx::query(ATTENTION)
                    .fetch_all(&self.0)
                    .await?
                    .iter()
                    .map(attention)
                    .collect()
            }

            async fn clock(&self) -> Result<Option<u64>, StoreError> {
                let row = sqlx::query($clock).fetch_one(&self.0).await?;
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
    "SELECT CAST(NULL AS INTEGER) AS now"
);
sql_store!(
    PostgresStore,
    sqlx::Postgres,
    "BEGIN",
    "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) AS now"
);
