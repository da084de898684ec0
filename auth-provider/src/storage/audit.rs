//! The part of the store that keeps the audit log, and what follows from it about the uses of credentials.

use async_trait::async_trait;

use super::StoreError;
use crate::{
    audit::{Event, Filter, Recorded},
    uses::{Promise, Used},
};

/// The audit log. Each method is one atomic step.
#[async_trait]
pub trait AuditStore: Send + Sync {
    /// Adds events, in their order.
    async fn add_events(&self, events: &[Event]) -> Result<(), StoreError>;

    /// The same after an attempt of which nobody knows how it ended: adds them unless they are there already.
    async fn add_missing_events(&self, events: &[Event]) -> Result<(), StoreError>;

    /// At most `limit` events with numbers below `before`, the last one first.
    async fn events(
        &self,
        filter: &Filter,
        before: u64,
        limit: usize,
    ) -> Result<Vec<Recorded>, StoreError>;

    /// Brings what is known of the uses of clients and credentials up to the last event, in small steps. True when there
    /// may be more.
    async fn sum_up_uses(&self) -> Result<bool, StoreError>;

    /// Adds uses of credentials of which no event tells, and notes the promise of the server that adds them, if there is
    /// one.
    async fn add_uses(&self, uses: &[Used], promise: Option<&Promise>) -> Result<(), StoreError>;

    /// Takes back what this server promised: all uses that it knew of are added.
    async fn end_promise(&self, server: &str) -> Result<(), StoreError>;

    /// Removes some of the events from before the second `time`. True when there may be more.
    async fn forget_events(&self, time: u64) -> Result<bool, StoreError>;
}

/// What is shown of an event.
macro_rules! shown {
    () => {
        "number, at, action, outcome, actor, client_id, resource_id, credential_id, jti, ends_at,
         reason, explanation, request_id, address "
    };
}
/// The stretches that are not wholly summed up.
macro_rules! latest_stretches {
    () => {
        "WITH RECURSIVE stretch (nr) AS (
            SELECT used_up_to / 4096 FROM registry_state WHERE one = 1
            UNION ALL
            SELECT nr + 1 FROM stretch WHERE nr < (SELECT MAX(number) / 4096 FROM audit_event)
        ) "
    };
}

/// The longest of the gaps before [`uses`].
macro_rules! longest_gap {
    () => {
        "MAX(e.at - COALESCE(e.own_before, k.last_used_at, e.any_before, u.last_used_at, e.at))"
    };
}

// The gap before a use is the time since the use of the same credential before it, be it in this step or an earlier one:
// where many share a client, the one who comes seldom shows only there. It is read before the credentials are
// summed up.
// What a removed client of the same id did before is not this one's doing.
macro_rules! uses {
    ($events:literal, $which:literal) => {
        concat!(
            " FROM (
                SELECT a.client_id, a.credential_id, a.at,
                       LAG(a.at) OVER (PARTITION BY a.client_id, a.credential_id
                                       ORDER BY a.at, a.number) AS own_before,
                       LAG(a.at) OVER (PARTITION BY a.client_id
                                       ORDER BY a.at, a.number) AS any_before
                FROM ",
            $events,
            " JOIN client c ON c.id = a.client_id AND c.created_at <= a.at
                WHERE a.ends_at IS NOT NULL AND ",
            $which,
            ") AS e
            LEFT JOIN client_use u ON u.client_id = e.client_id
            LEFT JOIN credential_use k ON k.credential_id = e.credential_id "
        )
    };
}

/// What one row of an insert has, in the order of [`INTO_EVENTS`].
pub(super) const EVENT_COLUMNS: usize = 13;

pub(super) const INTO_EVENTS: &str = "
    INSERT INTO audit_event (at, action, outcome, actor, client_id, resource_id, credential_id, jti,
                             ends_at, reason, explanation, request_id, address)";

/// The beginning of a list of events; each part of the filter that is given adds a condition.
pub(super) const EVENTS: &str = concat!(
    "SELECT ",
    shown!(),
    "FROM audit_event WHERE number < $1 AND at >= $2 AND at <= $3 "
);

/// The same for one client, within some stretches.
pub(super) const EVENTS_OF_CLIENT: &str = concat!(
    "WITH RECURSIVE stretch (nr) AS (
        SELECT CAST($4 AS BIGINT) UNION ALL SELECT nr + 1 FROM stretch WHERE nr < $5
    )
    SELECT ",
    shown!(),
    "FROM stretch CROSS JOIN audit_event
    WHERE number / 4096 = nr AND client_id = $6 AND number < $1 AND at >= $2 AND at <= $3 "
);

// A batch is written as a whole: where its last event is, all of them are. Each has a name of its own, the token's or the
// request's.
pub(super) const HAS_EVENT: &str = "
    SELECT number FROM audit_event
    WHERE at = $1 AND action = $2 AND jti IS NOT DISTINCT FROM $3
      AND request_id IS NOT DISTINCT FROM $4
    LIMIT 1";

/// How many numbers are one stretch of the log. The events of one client are looked up stretch by stretch: the index of the
/// latest one is small, and writing an event touches nothing else, however many clients there are. The SQL and the
/// migration have this number as well.
pub(super) const STRETCH: u64 = 4096;

pub(super) const FIRST_AND_LAST_EVENT: &str = "
    SELECT COALESCE((SELECT MIN(number) FROM audit_event), 0) AS first,
           COALESCE((SELECT MAX(number) FROM audit_event), 0) AS last";

/// Who sums up goes first; the others wait and find it done.
pub(super) const USED_UP_TO: &str = "
    UPDATE registry_state SET used_up_to = used_up_to WHERE one = 1 RETURNING used_up_to";

pub(super) const LAST_EVENT: &str = "SELECT COALESCE(MAX(number), 0) AS number FROM audit_event";

pub(super) const SET_USED_UP_TO: &str = "UPDATE registry_state SET used_up_to = $1 WHERE one = 1";

/// How many events are summed up in one step. With very many clients each row lies on a page of its own, and a step takes
/// some ten microseconds for each; nobody else can write meanwhile.
pub(super) const SUMMED_UP: u64 = 400;

// Sums come first, in the order of their keys, so that each page is looked for once. A credential that was removed in the
// meantime has no uses any more.
pub(super) const SUM_UP_CREDENTIALS: &str = "
    INSERT INTO credential_use (credential_id, last_used_at, use_count, alive_until)
    SELECT e.credential_id, e.last_at, e.uses, e.ends_at FROM (
        SELECT credential_id, MAX(at) AS last_at, COUNT(*) AS uses, MAX(ends_at) AS ends_at
        FROM audit_event
        WHERE number > $1 AND number <= $2 AND ends_at IS NOT NULL AND credential_id IS NOT NULL
        GROUP BY credential_id ORDER BY credential_id
    ) AS e
    WHERE EXISTS (SELECT 1 FROM credential c WHERE c.id = e.credential_id)
    ON CONFLICT (credential_id) DO UPDATE
    SET use_count = credential_use.use_count + excluded.use_count,
        last_used_at = CASE WHEN credential_use.last_used_at > excluded.last_used_at
                            THEN credential_use.last_used_at ELSE excluded.last_used_at END,
        alive_until = CASE WHEN credential_use.alive_until > excluded.alive_until
                           THEN credential_use.alive_until ELSE excluded.alive_until END";

// As below, of one credential whose uses were summed up before they came here.
pub(super) const ADD_CLIENT_USES: &str = "
    INSERT INTO client_use (client_id, last_used_at, longest_gap)
    SELECT e.client_id, e.last_at, CASE WHEN e.longest_gap > e.gap THEN e.longest_gap ELSE e.gap END
    FROM (
        SELECT c.id AS client_id, CAST($3 AS BIGINT) AS last_at, CAST($4 AS BIGINT) AS longest_gap,
               CAST($5 AS BIGINT)
               - COALESCE(k.last_used_at, u.last_used_at, CAST($5 AS BIGINT)) AS gap
        FROM client c
        LEFT JOIN client_use u ON u.client_id = c.id
        LEFT JOIN credential_use k ON k.credential_id = $2
        WHERE c.id = $1 AND c.created_at <= $3
    ) AS e WHERE TRUE
    ON CONFLICT (client_id) DO UPDATE
    SET last_used_at = CASE WHEN client_use.last_used_at > excluded.last_used_at
                            THEN client_use.last_used_at ELSE excluded.last_used_at END,
        longest_gap = CASE WHEN client_use.longest_gap > excluded.longest_gap
                           THEN client_use.longest_gap ELSE excluded.longest_gap END";

pub(super) const ADD_CREDENTIAL_USES: &str = "
    INSERT INTO credential_use (credential_id, last_used_at, use_count, alive_until)
    SELECT id, CAST($2 AS BIGINT), CAST($3 AS BIGINT), CAST($4 AS BIGINT)
    FROM credential WHERE id = $1
    ON CONFLICT (credential_id) DO UPDATE
    SET use_count = credential_use.use_count + excluded.use_count,
        last_used_at = CASE WHEN credential_use.last_used_at > excluded.last_used_at
                            THEN credential_use.last_used_at ELSE excluded.last_used_at END,
        alive_until = CASE WHEN credential_use.alive_until > excluded.alive_until
                           THEN credential_use.alive_until ELSE excluded.alive_until END";

pub(super) const PROMISE: &str = "
    INSERT INTO unwritten_use (server, known_until, taken_until) VALUES ($1, $2, $3)
    ON CONFLICT (server) DO UPDATE
    SET known_until = excluded.known_until, taken_until = excluded.taken_until";

// Of the promises that nobody kept, the last one says all.
pub(super) const FORGET_PROMISES: &str = "
    DELETE FROM unwritten_use WHERE taken_until <
        (SELECT MAX(taken_until) FROM unwritten_use WHERE taken_until < $1)";

pub(super) const END_PROMISE: &str = "DELETE FROM unwritten_use WHERE server = $1";

/// What each server has promised, with the longest life of a token that this client may have.
pub(super) const PROMISES: &str = "
    SELECT known_until, taken_until,
           (SELECT MAX(COALESCE(g.token_lifetime, r.token_lifetime))
            FROM client_grant g JOIN resource r ON r.id = g.resource_id
            WHERE g.client_id = $1) AS longest_token
    FROM unwritten_use";

pub(super) const SUM_UP_CLIENTS: &str = concat!(
    "INSERT INTO client_use (client_id, last_used_at, longest_gap)
    SELECT e.client_id, MAX(e.at), ",
    longest_gap!(),
    uses!("audit_event a", "a.number > $1 AND a.number <= $2"),
    "WHERE e.client_id IS NOT NULL
    GROUP BY e.client_id ORDER BY e.client_id
    ON CONFLICT (client_id) DO UPDATE
    SET last_used_at = CASE WHEN client_use.last_used_at > excluded.last_used_at
                            THEN client_use.last_used_at ELSE excluded.last_used_at END,
        longest_gap = CASE WHEN client_use.longest_gap > excluded.longest_gap
                           THEN client_use.longest_gap ELSE excluded.longest_gap END"
);

// What is not summed up yet, for one client: with its sums it makes the whole truth, however far these lag behind.
pub(super) const LATEST_USES: &str = concat!(
    latest_stretches!(),
    "SELECT credential_id AS id, MAX(at) AS last_used_at, COUNT(*) AS use_count,
           MAX(ends_at) AS alive_until
    FROM stretch CROSS JOIN audit_event
    WHERE number / 4096 = nr AND client_id = $1 AND ends_at IS NOT NULL AND credential_id IS NOT NULL
      AND number > (SELECT used_up_to FROM registry_state WHERE one = 1)
    GROUP BY credential_id"
);

pub(super) const LATEST_GAP: &str = concat!(
    latest_stretches!(),
    "SELECT ",
    longest_gap!(),
    " AS longest_gap ",
    uses!(
        "stretch CROSS JOIN audit_event a",
        "a.number / 4096 = nr AND a.client_id = $1
         AND a.number > (SELECT used_up_to FROM registry_state WHERE one = 1)"
    )
);

pub(super) const FORGET_EVENTS: &str = "
    DELETE FROM audit_event WHERE number IN
    (SELECT number FROM audit_event
     WHERE at < $1 AND number <= (SELECT used_up_to FROM registry_state WHERE one = 1)
     ORDER BY at LIMIT $2)";

/// `VALUES` lists are this long at the most, and powers of two, so that there are few statements to prepare.
pub(super) const LONGEST_LIST: usize = 64;

/// As many events are added by one statement where that is a transaction by itself: it is one message to SQLite's thread
/// instead of one for each step of a transaction.
pub(super) const ONE_STATEMENT: usize = 128;

/// The statement that adds so many events. It may have place for a few more: a parameter without a value is NULL, and such a
/// row is none. A dozen lengths serve for all, and remain prepared.
pub(super) fn add_at_once_sql(events: usize) -> String {
    let rows = if events <= 16 {
        events.next_power_of_two()
    } else {
        events.next_multiple_of(16)
    };
    let row = format!("({})", ["?"; EVENT_COLUMNS].join(", "));
    let rows = vec![row; rows].join(", ");
    format!("{INTO_EVENTS} SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL")
}

/// The statement that adds `rows` events. A database that numbers its parameters has their numbers in it; SQLite would look
/// for each number in the list of all.
pub(super) fn add_events_sql(rows: usize, numbered: bool) -> String {
    let mut sql = format!("{INTO_EVENTS} VALUES ");
    for row in 0..rows {
        sql.push_str(if row == 0 { "(" } else { ", (" });
        for column in 1..=EVENT_COLUMNS {
            if column > 1 {
                sql.push_str(", ");
            }
            if numbered {
                sql.push('$');
                sql.push_str(&(row * EVENT_COLUMNS + column).to_string());
            } else {
                sql.push('?');
            }
        }
        sql.push(')');
    }
    sql
}

/// Cuts a list into pieces whose lengths are powers of two.
pub(super) fn pieces<T>(mut list: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        if list.is_empty() {
            return None;
        }
        let length = (1 << list.len().ilog2()).min(LONGEST_LIST);
        let (piece, rest) = list.split_at(length);
        list = rest;
        Some(piece)
    })
}

macro_rules! audit_store {
    ($store:ident, $database:ty, $begin:literal, $order:literal, $numbered:literal) => {
        impl $store {
            /// Adds events within a transaction.
            async fn insert_events(
                connection: &mut <$database as sqlx::Database>::Connection,
                events: &[Event],
            ) -> Result<(), StoreError> {
                for piece in audit::pieces(events) {
                    let sql = audit::add_events_sql(piece.len(), $numbered);
                    Self::insert(&mut *connection, sql, piece).await?;
                }
                Ok(())
            }

            /// Adds events with a statement that has a row for each.
            async fn insert<'c>(
                connection: impl sqlx::Executor<'c, Database = $database>,
                sql: String,
                events: &[Event],
            ) -> Result<(), StoreError> {
                let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
                for event in events {
                    query = query
                        .bind(number(event.at))
                        .bind(event.action.as_str())
                        .bind(event.outcome.as_str())
                        .bind(event.actor.as_ref().map(ClientId::as_str))
                        .bind(event.client.as_ref().map(ClientId::as_str))
                        .bind(event.resource.as_ref().map(ResourceId::as_str))
                        .bind(event.credential.as_ref().map(CredentialId::as_str))
                        .bind(event.jti.as_deref())
                        .bind(event.ends_at.map(number))
                        .bind(event.reason.as_deref())
                        .bind(event.explanation.as_deref())
                        .bind(event.request_id.as_deref())
                        .bind(event.address.map(|address| address.to_string()));
                }
                query.execute(connection).await?;
                Ok(())
            }

            /// Lists events: all, or those of one client from one stretch to another.
            async fn events_of(
                &self,
                filter: &Filter,
                before: u64,
                limit: usize,
                within: Option<(&ClientId, u64, u64)>,
            ) -> Result<Vec<Recorded>, StoreError> {
                let conditions = [
                    (
                        "AND resource_id = ",
                        filter.resource.as_ref().map(ResourceId::as_str),
                    ),
                    ("AND action = ", filter.action.map(Action::as_str)),
                    ("AND outcome = ", filter.outcome.map(Outcome::as_str)),
                    ("AND request_id = ", filter.request_id.as_deref()),
                ];
                let (base, parameters) = match within {
                    None => (audit::EVENTS, 3),
                    Some(_) => (audit::EVENTS_OF_CLIENT, 6),
                };
                let (mut sql, values) = filtered(base, parameters, &conditions);
                let last = parameters + values.len() + 1;
                sql.push_str(&format!("ORDER BY number DESC LIMIT ${last}"));
                let mut query = sqlx::query(sqlx::AssertSqlSafe(sql))
                    .bind(number(before))
                    .bind(number(filter.since.unwrap_or(0)))
                    .bind(number(filter.until.unwrap_or(u64::MAX)));
                if let Some((client, begin, end)) = within {
                    query = query
                        .bind(number(begin))
                        .bind(number(end))
                        .bind(client.as_str());
                }
                for value in values {
                    query = query.bind(value);
                }
                let rows = query
                    .bind(number(limit as u64))
                    .fetch_all(&mut *self.0.acquire().await?)
                    .await?;
                rows.iter().map(recorded).collect()
            }
        }

        #[async_trait]
        impl AuditStore for $store {
            async fn add_events(&self, events: &[Event]) -> Result<(), StoreError> {
                // Where writers must take a lock first, one statement is not enough.
                if !$numbered && events.len() <= audit::ONE_STATEMENT {
                    let sql = audit::add_at_once_sql(events.len());
                    return Self::insert(&mut *self.0.acquire().await?, sql, events).await;
                }
                let mut connection = self.0.acquire().await?;
                let mut tx = connection.begin_with($begin).await?;
                sqlx::query($order).execute(&mut *tx).await?;
                Self::insert_events(&mut tx, events).await?;
                tx.commit().await?;
                Ok(())
            }

            async fn add_missing_events(&self, events: &[Event]) -> Result<(), StoreError> {
                let Some(last) = events.last() else {
                    return Ok(());
                };
                let mut connection = self.0.acquire().await?;
                let mut tx = connection.begin_with($begin).await?;
                // Whoever tried before has ended, one way or the other, once this is had.
                sqlx::query($order).execute(&mut *tx).await?;
                let there = sqlx::query(audit::HAS_EVENT)
                    .bind(number(last.at))
                    .bind(last.action.as_str())
                    .bind(last.jti.as_deref())
                    .bind(last.request_id.as_deref())
                    .fetch_optional(&mut *tx)
                    .await?;
                if there.is_none() {
                    Self::insert_events(&mut tx, events).await?;
                }
                tx.commit().await?;
                Ok(())
            }

            async fn events(
                &self,
                filter: &Filter,
                before: u64,
                limit: usize,
            ) -> Result<Vec<Recorded>, StoreError> {
                let Some(client) = &filter.client else {
                    return self.events_of(filter, before, limit, None).await;
                };
                let row = sqlx::query(audit::FIRST_AND_LAST_EVENT)
                    .fetch_one(&mut *self.0.acquire().await?)
                    .await?;
                let first = time(&row, "first")? / audit::STRETCH;
                let mut end = time(&row, "last")?.min(before) / audit::STRETCH + 1;
                let (mut events, mut stretches) = (Vec::new(), 1);
                // The next look is at twice as many: who is seldom here is found in a few.
                while events.len() < limit && end > first {
                    let begin = end.saturating_sub(stretches).max(first);
                    let within = Some((client, begin, end - 1));
                    let wanted = limit - events.len();
                    events.extend(self.events_of(filter, before, wanted, within).await?);
                    (end, stretches) = (begin, stretches * 2);
                }
                Ok(events)
            }

            async fn sum_up_uses(&self) -> Result<bool, StoreError> {
                let mut connection = self.0.acquire().await?;
                let mut tx = connection.begin_with($begin).await?;
                let row = sqlx::query(audit::USED_UP_TO).fetch_one(&mut *tx).await?;
                let from = time(&row, "used_up_to")?;
                let row = sqlx::query(audit::LAST_EVENT).fetch_one(&mut *tx).await?;
                let last = time(&row, "number")?;
                let up_to = last.min(from + audit::SUMMED_UP);
                if up_to > from {
                    for sql in [audit::SUM_UP_CLIENTS, audit::SUM_UP_CREDENTIALS] {
                        sqlx::query(sql)
                            .bind(number(from))
                            .bind(number(up_to))
                            .execute(&mut *tx)
                            .await?;
                    }
                    sqlx::query(audit::SET_USED_UP_TO)
                        .bind(number(up_to))
                        .execute(&mut *tx)
                        .await?;
                }
                tx.commit().await?;
                Ok(up_to < last)
            }

            async fn add_uses(
                &self,
                uses: &[Used],
                promise: Option<&Promise>,
            ) -> Result<(), StoreError> {
                let mut connection = self.0.acquire().await?;
                let mut tx = connection.begin_with($begin).await?;
                // As who sums up events: two do not write the same sums at once, each in another order.
                sqlx::query(audit::USED_UP_TO).execute(&mut *tx).await?;
                for used in uses {
                    // First the gap before these uses, then the uses.
                    sqlx::query(audit::ADD_CLIENT_USES)
                        .bind(used.client.as_str())
                        .bind(used.credential.as_str())
                        .bind(number(used.last_at))
                        .bind(number(used.longest_gap))
                        .bind(number(used.first_at))
                        .execute(&mut *tx)
                        .await?;
                    sqlx::query(audit::ADD_CREDENTIAL_USES)
                        .bind(used.credential.as_str())
                        .bind(number(used.last_at))
                        .bind(number(used.count))
                        .bind(number(used.alive_until))
                        .execute(&mut *tx)
                        .await?;
                }
                if let Some(promise) = promise {
                    sqlx::query(audit::PROMISE)
                        .bind(&promise.server)
                        .bind(number(promise.known_until))
                        .bind(number(promise.taken_until))
                        .execute(&mut *tx)
                        .await?;
                    sqlx::query(audit::FORGET_PROMISES)
                        .bind(number(promise.known_until))
                        .execute(&mut *tx)
                        .await?;
                }
                tx.commit().await?;
                Ok(())
            }

            async fn end_promise(&self, server: &str) -> Result<(), StoreError> {
                sqlx::query(audit::END_PROMISE)
                    .bind(server)
                    .execute(&mut *self.0.acquire().await?)
                    .await?;
                Ok(())
            }

            async fn forget_events(&self, time: u64) -> Result<bool, StoreError> {
                let forgotten = sqlx::query(audit::FORGET_EVENTS)
                    .bind(number(time))
                    .bind(number(BATCH))
                    .execute(&mut *self.0.acquire().await?)
                    .await?;
                Ok(forgotten.rows_affected() == BATCH)
            }
        }
    };
}
pub(super) use audit_store;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_cut_into_powers_of_two() {
        let list: Vec<u8> = (0..200).collect();
        let lengths: Vec<usize> = pieces(&list).map(<[u8]>::len).collect();
        assert_eq!(lengths, [64, 64, 64, 8]);
        assert_eq!(pieces(&list).flatten().count(), 200);
        assert_eq!(pieces::<u8>(&[]).count(), 0);
    }

    #[test]
    fn every_row_has_its_own_parameters() {
        let sql = add_events_sql(2, true);
        assert!(sql.ends_with("($14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26)"));
        let sql = add_events_sql(2, false);
        assert_eq!(sql.matches('?').count(), 2 * EVENT_COLUMNS);
        for (events, rows) in [
            (0, 1),
            (1, 1),
            (5, 8),
            (16, 16),
            (17, 32),
            (33, 48),
            (128, 128),
        ] {
            let places = add_at_once_sql(events).matches('?').count();
            assert_eq!(places, rows * EVENT_COLUMNS, "{events}");
        }
    }
}
