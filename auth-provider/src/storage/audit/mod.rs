//! The part of the store that keeps the audit log, and what follows from it about the uses of credentials.
//!
//! Events that come one by one are rows (`rows.rs`), many that are written together are one row (`packs.rs`, `pack.rs`,
//! `text.rs`). Both take their numbers from one sequence, so that the log has one order, and nobody who reads it notices how
//! it is kept.

pub(super) mod backlog;
pub(super) mod pack;
pub(super) mod packs;
pub(super) mod rows;
mod text;
pub(super) mod uses;

use async_trait::async_trait;

use super::StoreError;
use crate::{
    audit::{Event, Filter, Recorded},
    uses::{Promise, Used},
};

use pack::{FEWEST, Pack, packed};

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

/// What is written as one row or with one statement.
pub(super) enum Batch<'e> {
    Rows(&'e [Event]),
    Pack(Pack),
}

/// Events in their order, as they are written.
pub(super) fn batches(events: &[Event]) -> Vec<Batch<'_>> {
    match events.len() {
        0 => vec![],
        few if few < FEWEST => vec![Batch::Rows(events)],
        _ => packed(events).into_iter().map(Batch::Pack).collect(),
    }
}

macro_rules! audit_store {
    ($store:ident, $database:ty, $begin:literal, $order:literal, $numbered:literal) => {
        event_rows!($store, $database, $numbered);
        event_packs!($store, $database);
        event_uses!($store, $database, $begin, $numbered);

        impl $store {
            async fn insert<'c>(
                connection: impl sqlx::Executor<'c, Database = $database>,
                batch: Batch<'_>,
            ) -> Result<(), StoreError> {
                match batch {
                    Batch::Rows(events) => Self::insert_rows(connection, events).await,
                    Batch::Pack(pack) => Self::insert_pack(connection, pack).await,
                }
            }

            /// Adds events within a transaction.
            async fn insert_events(
                connection: &mut <$database as sqlx::Database>::Connection,
                events: &[Event],
            ) -> Result<(), StoreError> {
                for batch in audit::batches(events) {
                    Self::insert(&mut *connection, batch).await?;
                }
                Ok(())
            }
        }

        #[async_trait]
        impl AuditStore for $store {
            async fn add_events(&self, events: &[Event]) -> Result<(), StoreError> {
                let mut batches = audit::batches(events);
                // Where writers must take a lock first, one statement is not enough.
                if !$numbered && batches.len() == 1 {
                    let batch = batches.remove(0);
                    return Self::insert(&mut *self.0.acquire().await?, batch).await;
                }
                let mut connection = self.0.acquire().await?;
                let mut tx = connection.begin_with($begin).await?;
                sqlx::query($order).execute(&mut *tx).await?;
                for batch in batches {
                    Self::insert(&mut *tx, batch).await?;
                }
                tx.commit().await?;
                Ok(())
            }

            async fn add_missing_events(&self, events: &[Event]) -> Result<(), StoreError> {
                let mut connection = self.0.acquire().await?;
                let mut tx = connection.begin_with($begin).await?;
                // Whoever tried before has ended, one way or the other, once this is had.
                sqlx::query($order).execute(&mut *tx).await?;
                let batches = audit::batches(events);
                // They were written as a whole: where the last of it is, all of it is.
                let is_there = match batches.last() {
                    Some(Batch::Rows([.., last])) => Self::has_row(&mut tx, last).await?,
                    Some(Batch::Pack(pack)) => Self::has_pack(&mut tx, pack).await?,
                    Some(Batch::Rows([])) | None => true,
                };
                if !is_there {
                    for batch in batches {
                        Self::insert(&mut *tx, batch).await?;
                    }
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
                let span = sqlx::query(audit::rows::SPAN)
                    .fetch_one(&mut *self.0.acquire().await?)
                    .await?;
                let rows = (time(&span, "first_row")?, time(&span, "last_row")?);
                // What comes while this looks at one table and then at the other is left to those who look later.
                let last = rows.1.max(time(&span, "last_pack")?);
                let before = before.min(last + 1);
                let mut events = self.rows(filter, before, limit, rows).await?;
                let enough = events.get(limit.saturating_sub(1));
                let look = Look {
                    since: filter.since.unwrap_or(0),
                    until: filter.until.unwrap_or(u64::MAX),
                    actions: filter.action.map_or(-1, Action::bit),
                    keys: audit::pack::keys_of(filter),
                    ..Look::between(enough.map_or(0, |last| last.number), before)
                };
                events.extend(self.packed_events(filter, look, limit).await?);
                events.sort_unstable_by_key(|recorded| std::cmp::Reverse(recorded.number));
                events.truncate(limit);
                Ok(events)
            }

            async fn sum_up_uses(&self) -> Result<bool, StoreError> {
                self.sum_up_a_step().await
            }

            async fn add_uses(
                &self,
                uses: &[Used],
                promise: Option<&Promise>,
            ) -> Result<(), StoreError> {
                self.add_sums_and(uses, promise).await
            }

            async fn end_promise(&self, server: &str) -> Result<(), StoreError> {
                sqlx::query(audit::uses::END_PROMISE)
                    .bind(server)
                    .execute(&mut *self.0.acquire().await?)
                    .await?;
                Ok(())
            }

            async fn forget_events(&self, time: u64) -> Result<bool, StoreError> {
                let mut is_more = false;
                for (sql, most) in [
                    (audit::packs::FORGET_PACKS, audit::packs::FORGOTTEN),
                    (audit::rows::FORGET_EVENTS, audit::rows::FORGOTTEN),
                ] {
                    let forgotten = sqlx::query(sql)
                        .bind(number(time))
                        .bind(number(most))
                        .execute(&mut *self.0.acquire().await?)
                        .await?;
                    is_more |= forgotten.rows_affected() == most;
                }
                Ok(is_more)
            }
        }
    };
}
pub(super) use audit_store;
