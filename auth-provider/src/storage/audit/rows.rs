//! Events one by one: each is a row that indices find.

/// How many columns an event has but for its number.
pub(in crate::storage) const COLUMNS: usize = 13;

const INTO_EVENTS: &str = "
    INSERT INTO audit_event (at, action, outcome, actor, client_id, resource_id, credential_id, jti,
                             ends_at, reason, explanation, request_id, address)
    VALUES ";

/// What is shown of an event.
macro_rules! shown {
    () => {
        "number, at, action, outcome, actor, client_id, resource_id, credential_id, jti, ends_at,
         reason, explanation, request_id, address "
    };
}

/// The beginning of a list of events; each part of the filter that is given adds a condition.
pub(in crate::storage) const EVENTS: &str = concat!(
    "SELECT ",
    shown!(),
    "FROM audit_event WHERE number < $1 AND at >= $2 AND at <= $3 "
);

/// The same for one client, within some stretches.
pub(in crate::storage) const EVENTS_OF_CLIENT: &str = concat!(
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
pub(in crate::storage) const HAS_EVENT: &str = "
    SELECT number FROM audit_event
    WHERE at = $1 AND action = $2 AND jti IS NOT DISTINCT FROM $3
      AND request_id IS NOT DISTINCT FROM $4
    LIMIT 1";

/// How many numbers are one stretch of the log. The events of one client are looked up stretch by stretch: the index of the
/// latest one is small, and writing an event touches nothing else, however many clients there are. The SQL and the
/// migration have this number as well.
pub(in crate::storage) const STRETCH: u64 = 4096;

/// Between which numbers there are rows, and the last number of the whole log.
pub(in crate::storage) const SPAN: &str = "
    SELECT COALESCE((SELECT MIN(number) FROM audit_event), 0) AS first_row,
           COALESCE((SELECT MAX(number) FROM audit_event), 0) AS last_row,
           COALESCE((SELECT MAX(number) FROM audit_pack), 0) AS last_pack";

/// How many rows are forgotten in one step.
pub(in crate::storage) const FORGOTTEN: u64 = 500;

pub(in crate::storage) const FORGET_EVENTS: &str = "
    DELETE FROM audit_event WHERE number IN
    (SELECT number FROM audit_event
     WHERE at < $1 AND number <= (SELECT used_up_to FROM registry_state WHERE one = 1)
     ORDER BY at LIMIT $2)";

/// The statement that adds so many events. A database that numbers its parameters has their numbers in it; SQLite would look
/// for each number in the list of all.
pub(in crate::storage) fn add_events_sql(events: usize, numbered: bool) -> String {
    let mut sql = INTO_EVENTS.to_owned();
    for row in 0..events {
        sql.push_str(if row == 0 { "(" } else { ", (" });
        for column in 1..=COLUMNS {
            if column > 1 {
                sql.push_str(", ");
            }
            if numbered {
                sql.push('$');
                sql.push_str(&(row * COLUMNS + column).to_string());
            } else {
                sql.push('?');
            }
        }
        sql.push(')');
    }
    sql
}

macro_rules! event_rows {
    ($store:ident, $database:ty, $numbered:literal) => {
        impl $store {
            /// Adds a few events, each as a row, with one statement.
            async fn insert_rows<'c>(
                connection: impl sqlx::Executor<'c, Database = $database>,
                events: &[Event],
            ) -> Result<(), StoreError> {
                let sql = audit::rows::add_events_sql(events.len(), $numbered);
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

            async fn has_row(
                connection: &mut <$database as sqlx::Database>::Connection,
                event: &Event,
            ) -> Result<bool, StoreError> {
                let found = sqlx::query(audit::rows::HAS_EVENT)
                    .bind(number(event.at))
                    .bind(event.action.as_str())
                    .bind(event.jti.as_deref())
                    .bind(event.request_id.as_deref())
                    .fetch_optional(connection)
                    .await?;
                Ok(found.is_some())
            }

            /// Lists rows: all, or those of one client from one stretch to another.
            async fn rows_within(
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
                    None => (audit::rows::EVENTS, 3),
                    Some(_) => (audit::rows::EVENTS_OF_CLIENT, 6),
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

            /// Lists rows, of which there are some from `first` to `last`.
            async fn rows(
                &self,
                filter: &Filter,
                before: u64,
                limit: usize,
                (first, last): (u64, u64),
            ) -> Result<Vec<Recorded>, StoreError> {
                let Some(client) = &filter.client else {
                    return self.rows_within(filter, before, limit, None).await;
                };
                let first = first / audit::rows::STRETCH;
                let mut end = last.min(before) / audit::rows::STRETCH + 1;
                let (mut events, mut stretches) = (Vec::new(), 1);
                // The next look is at twice as many: who is seldom here is found in a few.
                while events.len() < limit && end > first {
                    let begin = end.saturating_sub(stretches).max(first);
                    let within = Some((client, begin, end - 1));
                    let wanted = limit - events.len();
                    events.extend(self.rows_within(filter, before, wanted, within).await?);
                    (end, stretches) = (begin, stretches * 2);
                }
                Ok(events)
            }
        }
    };
}
pub(in crate::storage) use event_rows;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_its_own_parameters() {
        let sql = add_events_sql(2, true);
        assert!(sql.ends_with("($14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26)"));
        let sql = add_events_sql(2, false);
        assert_eq!(sql.matches('?').count(), 2 * COLUMNS);
    }
}
