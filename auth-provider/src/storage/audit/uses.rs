//! What the events tell of the uses of clients and credentials: read in the order of the log, a stretch at a time, and added
//! to sums.

use std::fmt::Write;

use super::{backlog::Progress, rows::STRETCH};
use crate::{
    client::ClientId,
    storage::{
        StoreError,
        rows::{Columns, client_id, maybe_time, some_credential_id, time},
    },
    uses::Used,
};

/// Up to where all is summed up, and the last number of the log.
pub(in crate::storage) const UNSUMMED: &str = "
    SELECT used_up_to, summing_up_to, summed_client,
           COALESCE((SELECT MAX(number) FROM audit_event), 0) AS last_row,
           COALESCE((SELECT MAX(number) FROM audit_pack), 0) AS last_pack
    FROM registry_state WHERE one = 1";

/// The uses of which single rows tell, and those of one client.
pub(in crate::storage) const USES: &str = "
    SELECT number, at, client_id, credential_id, ends_at FROM audit_event
    WHERE number > $1 AND number <= $2
      AND ends_at IS NOT NULL AND client_id IS NOT NULL AND credential_id IS NOT NULL";

pub(in crate::storage) const USES_OF_CLIENT: &str = "
    SELECT number, at, client_id, credential_id, ends_at FROM audit_event
    WHERE number > $1 AND number <= $2 AND number / 4096 = $3 AND client_id = $4
      AND ends_at IS NOT NULL AND credential_id IS NOT NULL";

/// Who sums up goes first; the others wait and find it done.
pub(in crate::storage) const TURN: &str =
    "UPDATE registry_state SET used_up_to = used_up_to WHERE one = 1";

pub(in crate::storage) const SET_PROGRESS: &str = "
    UPDATE registry_state SET used_up_to = $4, summing_up_to = $5, summed_client = $6
    WHERE one = 1 AND used_up_to = $1 AND summing_up_to = $2 AND summed_client = $3";

/// The uses of so many clients are summed up together, by one statement for each table. What one of them read is at hand for
/// the next: with a million clients, each has its pages to itself.
pub(in crate::storage) const TOGETHER: usize = 32;

/// Of which clients some uses may not be their own, since there is no such client, or it was made after the first of these
/// uses. That is rare, so that the answer is mostly empty.
pub(in crate::storage) fn made_later_sql(clients: usize, numbered: bool) -> String {
    let first_uses = list(clients, &["TEXT", "BIGINT"], numbered);
    format!(
        "SELECT s.column1 AS client_id, c.created_at
        FROM ({first_uses}) AS s LEFT JOIN client c ON c.id = s.column1
        WHERE c.created_at IS NULL OR c.created_at > s.column2"
    )
}

/// The sums of credentials' uses are added, after the gaps before the first of them: see `Known::add`, which says the same of
/// what is not summed up yet.
pub(in crate::storage) fn add_client_uses_sql(sums: usize, numbered: bool) -> String {
    let types = ["TEXT", "TEXT", "BIGINT", "BIGINT", "BIGINT", "BIGINT"];
    let sums = list(sums, &types, numbered);
    format!(
        "INSERT INTO client_use (client_id, last_used_at, longest_gap)
        SELECT e.client_id, e.last_at,
               CASE WHEN e.longest_gap > e.gap THEN e.longest_gap ELSE e.gap END
        FROM (
            SELECT c.id AS client_id, s.column3 AS last_at, s.column4 AS longest_gap,
                   s.column5 - COALESCE(k.last_used_at, s.column6, u.last_used_at, s.column5) AS gap
            FROM ({sums}) AS s CROSS JOIN client c
            LEFT JOIN client_use u ON u.client_id = c.id
            LEFT JOIN credential_use k ON k.credential_id = s.column2
            WHERE c.id = s.column1 AND c.created_at <= s.column3
        ) AS e WHERE TRUE
        ON CONFLICT (client_id) DO UPDATE
        SET last_used_at = CASE WHEN client_use.last_used_at > excluded.last_used_at
                                THEN client_use.last_used_at ELSE excluded.last_used_at END,
            longest_gap = CASE WHEN client_use.longest_gap > excluded.longest_gap
                               THEN client_use.longest_gap ELSE excluded.longest_gap END"
    )
}

/// A credential is looked for as one of its client, since there is an index where those of clients who are neighbours stand
/// together.
pub(in crate::storage) fn add_credential_uses_sql(sums: usize, numbered: bool) -> String {
    let types = ["TEXT", "TEXT", "BIGINT", "BIGINT", "BIGINT"];
    let sums = list(sums, &types, numbered);
    format!(
        "INSERT INTO credential_use (credential_id, last_used_at, use_count, alive_until)
        SELECT c.id, s.column3, s.column4, s.column5
        FROM ({sums}) AS s CROSS JOIN credential c
        WHERE c.client_id = s.column1 AND c.id = s.column2
        ON CONFLICT (credential_id) DO UPDATE
        SET use_count = credential_use.use_count + excluded.use_count,
            last_used_at = CASE WHEN credential_use.last_used_at > excluded.last_used_at
                                THEN credential_use.last_used_at ELSE excluded.last_used_at END,
            alive_until = CASE WHEN credential_use.alive_until > excluded.alive_until
                               THEN credential_use.alive_until ELSE excluded.alive_until END"
    )
}

/// A list of parameters, row by row; its columns are named `column1` and so on. For `numbered` see `add_events_sql`.
fn list(rows: usize, types: &[&str], numbered: bool) -> String {
    let mut list = "VALUES ".to_owned();
    let mut number = 0;
    for row in 0..rows {
        list.push_str(if row == 0 { "(" } else { ", (" });
        for (place, kind) in types.iter().enumerate() {
            number += 1;
            let comma = if place == 0 { "" } else { ", " };
            let parameter = if numbered { "$" } else { "?" };
            let _ = write!(list, "{comma}CAST({parameter}"); // a text takes any
            if numbered {
                let _ = write!(list, "{number}");
            }
            let _ = write!(list, " AS {kind})");
        }
        list.push(')');
    }
    list
}

pub(in crate::storage) const PROMISE: &str = "
    INSERT INTO unwritten_use (server, known_until, taken_until) VALUES ($1, $2, $3)
    ON CONFLICT (server) DO UPDATE
    SET known_until = excluded.known_until, taken_until = excluded.taken_until";

// Of the promises that nobody kept, the last one says all.
pub(in crate::storage) const FORGET_PROMISES: &str = "
    DELETE FROM unwritten_use WHERE taken_until <
        (SELECT MAX(taken_until) FROM unwritten_use WHERE taken_until < $1)";

pub(in crate::storage) const END_PROMISE: &str = "DELETE FROM unwritten_use WHERE server = $1";

/// What each server has promised, with the longest life of a token that this client may have.
pub(in crate::storage) const PROMISES: &str = "
    SELECT known_until, taken_until,
           (SELECT MAX(COALESCE(g.token_lifetime, r.token_lifetime))
            FROM client_grant g JOIN resource r ON r.id = g.resource_id
            WHERE g.client_id = $1) AS longest_token
    FROM unwritten_use";

/// What the sums say of one client.
pub(in crate::storage) const CLIENT_USES: &str = "
    SELECT c.created_at, u.last_used_at, u.longest_gap
    FROM client c LEFT JOIN client_use u ON u.client_id = c.id
    WHERE c.id = $1";

/// Up to where all is summed up, and the last number.
pub(in crate::storage) fn unsummed(row: &impl Columns) -> Result<(Progress, u64), StoreError> {
    let last = time(row, "last_row")?.max(time(row, "last_pack")?);
    Ok((Progress::read(row)?, last))
}

/// How far the step goes that begins behind `from`: to the end of a stretch at the most.
pub(in crate::storage) fn step(from: u64, last: u64) -> u64 {
    let stretch = (from + 1) / STRETCH;
    last.min((stretch + 1) * STRETCH - 1)
}

pub(in crate::storage) fn numbered(row: &impl Columns) -> Result<(u64, Used), StoreError> {
    let used = Used::once(
        client_id(row)?,
        some_credential_id(row, "credential_id")?,
        time(row, "at")?,
        time(row, "ends_at")?,
    );
    Ok((time(row, "number")?, used))
}

/// A client, and when it was made; `None`: there is no such client.
pub(in crate::storage) fn made_at(
    row: &impl Columns,
) -> Result<(ClientId, Option<u64>), StoreError> {
    Ok((client_id(row)?, maybe_time(row, "created_at")?))
}

/// The uses of some clients at a time, in the order of the clients' ids. Those of one client stay in their order.
pub(in crate::storage) fn by_clients(mut uses: Vec<Used>) -> Vec<Vec<Used>> {
    uses.sort_by(|a, b| a.client.cmp(&b.client));
    let clients: Vec<_> = uses.chunk_by(|a, b| a.client == b.client).collect();
    clients.chunks(TOGETHER).map(<[_]>::concat).collect()
}

macro_rules! event_uses {
    ($store:ident, $database:ty, $begin:literal, $numbered:literal) => {
        impl $store {
            /// The uses behind one number up to another, which are in one stretch, in the order of the log: all, or those of
            /// one client.
            async fn uses_between(
                connection: &mut <$database as sqlx::Database>::Connection,
                from: u64,
                up_to: u64,
                of: Option<&ClientId>,
            ) -> Result<Vec<(u64, Used)>, StoreError> {
                let sql = of.map_or(audit::uses::USES, |_| audit::uses::USES_OF_CLIENT);
                let mut query = sqlx::query(sql).bind(number(from)).bind(number(up_to));
                if let Some(client) = of {
                    let stretch = up_to / audit::rows::STRETCH;
                    query = query.bind(number(stretch)).bind(client.as_str());
                }
                let rows = query.fetch_all(&mut *connection).await?;
                let uses = rows.iter().map(audit::uses::numbered);
                let mut uses = uses.collect::<Result<Vec<_>, StoreError>>()?;
                let mut look = Look::between(from, up_to + 1);
                look.keys.extend(of.map(audit::pack::key_of_client));
                let all = usize::try_from(up_to - from).unwrap_or(usize::MAX);
                for pack in Self::packs(&mut *connection, &look, all).await? {
                    uses.extend(pack.uses()?.into_iter().filter(|(number, used)| {
                        (from + 1..=up_to).contains(number)
                            && of.is_none_or(|id| *id == used.client)
                    }));
                }
                uses.sort_unstable_by_key(|(number, _)| *number);
                Ok(uses)
            }

            /// Adds to what is known of a client what is not summed up yet. All of it shows one moment.
            async fn add_unsummed(
                connection: &mut <$database as sqlx::Database>::Connection,
                client: &ClientId,
                known: &mut Known,
            ) -> Result<(), StoreError> {
                let row = sqlx::query(audit::uses::UNSUMMED).fetch_one(&mut *connection);
                let (progress, last) = audit::uses::unsummed(&row.await?)?;
                let mut from = progress.of(client);
                while from < last {
                    let up_to = audit::uses::step(from, last);
                    let uses = Self::uses_between(&mut *connection, from, up_to, Some(client));
                    known.add(uses.await?.into_iter().map(|(_, used)| used).collect());
                    from = up_to;
                }
                Ok(())
            }

            /// What is summed up is read before others have to wait, and counts if nobody else was faster. A long log is read
            /// in several steps before the first sum.
            async fn sum_up_a_step(&self) -> Result<bool, StoreError> {
                let mut backlog = self.1.lock().await;
                let mut connection = self.0.acquire().await?;
                let row = sqlx::query(audit::uses::UNSUMMED).fetch_one(&mut *connection);
                let (before, last) = audit::uses::unsummed(&row.await?)?;
                if last <= before.used_up_to {
                    return Ok(false);
                }
                // What fails half way is read again.
                let mut gathered = std::mem::take(&mut *backlog).behind(before.clone());
                let end = before.end(last);
                if gathered.up_to < end {
                    let from = gathered.up_to;
                    let up_to = audit::uses::step(from, end);
                    let uses = Self::uses_between(&mut connection, from, up_to, None).await?;
                    gathered.add(uses, up_to);
                }
                if gathered.up_to < end {
                    *backlog = gathered;
                    return Ok(true);
                }
                let uses = gathered.step();
                let after = &gathered.progress;
                let mut tx = connection.begin_with($begin).await?;
                let mut set = sqlx::query(audit::uses::SET_PROGRESS);
                for progress in [&before, after] {
                    set = set
                        .bind(number(progress.used_up_to))
                        .bind(number(progress.summing_up_to))
                        .bind(progress.summed_client.as_str());
                }
                if set.execute(&mut *tx).await?.rows_affected() == 0 {
                    return Ok(true);
                }
                for uses in audit::uses::by_clients(uses) {
                    let made_later = Self::made_later(&mut tx, &uses).await?;
                    // What a removed client of the same id did before is not this one's doing.
                    let is_own = |used: &Used| {
                        let made_at = made_later.get(&used.client);
                        made_at.is_none_or(|at| at.is_some_and(|at| at <= used.first_at))
                    };
                    let (own, others): (Vec<_>, Vec<_>) = uses.into_iter().partition(is_own);
                    let own = summed(own);
                    Self::add_client_uses(&mut tx, &own).await?;
                    Self::add_credential_uses(&mut tx, &[own, summed(others)].concat()).await?;
                }
                tx.commit().await?;
                let is_more = after.used_up_to < last;
                *backlog = gathered;
                Ok(is_more)
            }

            /// The clients that are not there, or were made after some of their uses: `None`, or when that was. The uses
            /// come client by client.
            async fn made_later(
                connection: &mut <$database as sqlx::Database>::Connection,
                uses: &[Used],
            ) -> Result<HashMap<ClientId, Option<u64>>, StoreError> {
                let clients: Vec<_> = uses.chunk_by(|a, b| a.client == b.client).collect();
                let sql = audit::uses::made_later_sql(clients.len(), $numbered);
                let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
                for uses in clients {
                    let first_at = uses.iter().map(|used| used.first_at).min().unwrap_or(0);
                    query = query.bind(uses[0].client.as_str()).bind(number(first_at));
                }
                let rows = query.fetch_all(&mut *connection).await?;
                rows.iter().map(audit::uses::made_at).collect()
            }

            /// Adds sums that come in the order of their first uses. The gaps follow from what is known of the credentials
            /// before their sums are added.
            async fn add_client_uses(
                connection: &mut <$database as sqlx::Database>::Connection,
                uses: &[Used],
            ) -> Result<(), StoreError> {
                let mut uses: Vec<&Used> = uses.iter().collect();
                // Each page is looked for once.
                uses.sort_by(|a, b| a.client.cmp(&b.client));
                // One statement changes a row once: the next sum of a client is added to the one before it.
                let runs = uses.chunk_by(|a, b| a.client != b.client);
                for sums in runs.flat_map(|run| run.chunks(audit::uses::TOGETHER)) {
                    let sql = audit::uses::add_client_uses_sql(sums.len(), $numbered);
                    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
                    for used in sums {
                        query = query
                            .bind(used.client.as_str())
                            .bind(used.credential.as_str())
                            .bind(number(used.last_at))
                            .bind(number(used.longest_gap))
                            .bind(number(used.first_at))
                            .bind(used.after_another.map(number));
                    }
                    query.execute(&mut *connection).await?;
                }
                Ok(())
            }

            async fn add_credential_uses(
                connection: &mut <$database as sqlx::Database>::Connection,
                uses: &[Used],
            ) -> Result<(), StoreError> {
                let mut uses: Vec<&Used> = uses.iter().collect();
                uses.sort_unstable_by_key(|used| used.credential.as_str());
                let runs = uses.chunk_by(|a, b| a.credential != b.credential);
                for sums in runs.flat_map(|run| run.chunks(audit::uses::TOGETHER)) {
                    let sql = audit::uses::add_credential_uses_sql(sums.len(), $numbered);
                    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
                    for used in sums {
                        query = query
                            .bind(used.client.as_str())
                            .bind(used.credential.as_str())
                            .bind(number(used.last_at))
                            .bind(number(used.count))
                            .bind(number(used.alive_until));
                    }
                    query.execute(&mut *connection).await?;
                }
                Ok(())
            }

            async fn add_sums_and(
                &self,
                uses: &[Used],
                promise: Option<&Promise>,
            ) -> Result<(), StoreError> {
                let mut connection = self.0.acquire().await?;
                let mut tx = connection.begin_with($begin).await?;
                // As who sums up events: two do not write the same sums at once, each in another order.
                sqlx::query(audit::uses::TURN).execute(&mut *tx).await?;
                for uses in audit::uses::by_clients(uses.to_vec()) {
                    Self::add_client_uses(&mut tx, &uses).await?;
                    Self::add_credential_uses(&mut tx, &uses).await?;
                }
                if let Some(promise) = promise {
                    sqlx::query(audit::uses::PROMISE)
                        .bind(&promise.server)
                        .bind(number(promise.known_until))
                        .bind(number(promise.taken_until))
                        .execute(&mut *tx)
                        .await?;
                    sqlx::query(audit::uses::FORGET_PROMISES)
                        .bind(number(promise.known_until))
                        .execute(&mut *tx)
                        .await?;
                }
                tx.commit().await?;
                Ok(())
            }
        }
    };
}
pub(in crate::storage) use event_uses;
