//! Events by the pack: one row for all that were written together. They are found by their numbers, their times, their
//! actions and the keys of what they name; then the text is opened.

use std::fmt::Write;

use super::pack::MOST;
use crate::storage::{
    StoreError,
    audit::pack::{Key, Packed},
    rows::{Columns, time},
    sql::{PostgresStore, SqliteStore},
};

impl SqliteStore {
    /// One statement takes the numbers and adds the pack; a trigger brings the numbers forward.
    pub(in crate::storage) const ADD_PACK: &str = "
        INSERT INTO audit_pack (number, first_number, first_at, last_at, actions, keys, events)
        VALUES ((SELECT seq FROM sqlite_sequence WHERE name = 'audit_event') + $1,
                (SELECT seq FROM sqlite_sequence WHERE name = 'audit_event') + 1,
                $2, $3, $4, $5, $6)";

    /// What stands before and after a key in the condition that a pack has it.
    pub(in crate::storage) const HAS_KEY: [&str; 2] = ["AND instr(keys, ", ") > 0 "];
}

impl PostgresStore {
    /// The same. Whoever adds events holds the lock by which writers take turns, so that nobody else takes a number.
    pub(in crate::storage) const ADD_PACK: &str = "
        WITH taken AS (
            SELECT setval(log::regclass, nextval(log::regclass) + $1 - 1) AS number
            FROM pg_get_serial_sequence('audit_event', 'number') AS log
        )
        INSERT INTO audit_pack (number, first_number, first_at, last_at, actions, keys, events)
        SELECT number, number - $1 + 1, $2, $3, $4, $5, $6 FROM taken";

    pub(in crate::storage) const HAS_KEY: [&str; 2] = ["AND position(", " IN keys) > 0 "];
}

/// A pack is written as a whole, and its text has names that no other has.
pub(in crate::storage) const HAS_PACK: &str =
    "SELECT number FROM audit_pack WHERE last_at = $1 AND events = $2 LIMIT 1";

/// The beginning of a list of packs; each key adds a condition.
const PACKS: &str = "
    SELECT first_number, first_at, events FROM audit_pack
    WHERE number > $1 AND number < $2 AND first_number < $3 AND last_at >= $4 AND first_at <= $5
      AND actions & $6 <> 0 ";

/// How many packs are forgotten in one step.
pub(in crate::storage) const FORGOTTEN: u64 = 4;

/// The oldest come first, but for those from around the moment when a clock was moved: a few that are too young hide no more
/// than that.
pub(in crate::storage) const FORGET_PACKS: &str = "
    DELETE FROM audit_pack WHERE number IN
    (SELECT number FROM (SELECT number, last_at FROM audit_pack ORDER BY number LIMIT 64) AS oldest
     WHERE last_at < $1 AND number <= (SELECT used_up_to FROM registry_state WHERE one = 1)
     ORDER BY number LIMIT $2)";

/// Which packs are looked for: those that may have such an event.
pub(in crate::storage) struct Look {
    /// Its number is higher.
    pub(in crate::storage) after: u64,
    /// Its number is lower.
    pub(in crate::storage) before: u64,
    pub(in crate::storage) since: u64,
    pub(in crate::storage) until: u64,
    /// It has one of these bits.
    pub(in crate::storage) actions: i64,
    pub(in crate::storage) keys: Vec<Key>,
}

impl Look {
    /// At all packs between two numbers, themselves left out.
    pub(in crate::storage) fn between(after: u64, before: u64) -> Self {
        Self {
            after,
            before,
            since: 0,
            until: u64::MAX,
            actions: -1,
            keys: Vec::new(),
        }
    }

    /// No pack that has a lower number than `before` ends here or later.
    pub(in crate::storage) fn end(&self) -> u64 {
        self.before.saturating_add(MOST as u64 - 1)
    }

    /// The packs with the highest numbers.
    pub(in crate::storage) fn sql(&self, has_key: [&str; 2]) -> String {
        let mut sql = PACKS.to_owned();
        for parameter in 7..7 + self.keys.len() {
            let _ = write!(sql, "{}${parameter}{}", has_key[0], has_key[1]); // a text takes any
        }
        let _ = write!(sql, "ORDER BY number DESC LIMIT ${}", 7 + self.keys.len());
        sql
    }
}

pub(in crate::storage) fn packed(row: &impl Columns) -> Result<Packed, StoreError> {
    Ok(Packed {
        first_number: time(row, "first_number")?,
        first_at: time(row, "first_at")?,
        text: row.text("events")?,
    })
}

macro_rules! event_packs {
    ($store:ident, $database:ty) => {
        impl $store {
            async fn insert_pack<'c>(
                connection: impl sqlx::Executor<'c, Database = $database>,
                pack: Pack,
            ) -> Result<(), StoreError> {
                sqlx::query(Self::ADD_PACK)
                    .bind(number(pack.events as u64))
                    .bind(number(pack.first_at))
                    .bind(number(pack.last_at))
                    .bind(pack.actions)
                    .bind(pack.keys)
                    .bind(pack.text)
                    .execute(connection)
                    .await?;
                Ok(())
            }

            async fn has_pack(
                connection: &mut <$database as sqlx::Database>::Connection,
                pack: &Pack,
            ) -> Result<bool, StoreError> {
                let found = sqlx::query(audit::packs::HAS_PACK)
                    .bind(number(pack.last_at))
                    .bind(pack.text.as_str())
                    .fetch_optional(connection)
                    .await?;
                Ok(found.is_some())
            }

            /// At most `limit` packs, the last one first.
            async fn packs<'c>(
                connection: impl sqlx::Executor<'c, Database = $database>,
                look: &Look,
                limit: usize,
            ) -> Result<Vec<Packed>, StoreError> {
                let sql = look.sql(Self::HAS_KEY);
                let mut query = sqlx::query(sqlx::AssertSqlSafe(sql))
                    .bind(number(look.after))
                    .bind(number(look.end()))
                    .bind(number(look.before))
                    .bind(number(look.since))
                    .bind(number(look.until))
                    .bind(look.actions);
                for key in &look.keys {
                    query = query.bind(key.as_slice());
                }
                let rows = query
                    .bind(number(limit as u64))
                    .fetch_all(connection)
                    .await?;
                rows.iter().map(audit::packs::packed).collect()
            }

            /// At most `limit` events out of packs, the last one first.
            async fn packed_events(
                &self,
                filter: &Filter,
                mut look: Look,
                limit: usize,
            ) -> Result<Vec<Recorded>, StoreError> {
                let (mut events, mut opened) = (Vec::new(), 4);
                while events.len() < limit {
                    let mut connection = self.0.acquire().await?;
                    let found = Self::packs(&mut *connection, &look, opened).await?;
                    for pack in &found {
                        let of_pack = pack.events(filter)?.into_iter();
                        events.extend(of_pack.filter(|event| event.number < look.before));
                    }
                    match found.last() {
                        Some(first) if found.len() == opened => look.before = first.first_number,
                        _ => break,
                    }
                    opened = (opened * 2).min(32);
                }
                Ok(events)
            }
        }
    };
}
pub(in crate::storage) use event_packs;
