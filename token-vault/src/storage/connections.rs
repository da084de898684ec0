//! The SQL of connections: kept, found, listed, removed.

use std::sync::LazyLock;

use super::{
    Listing,
    lists::{Lists, Placeholder},
};
use crate::{connection::ConnectionKey, kek::KekId};

pub(super) const PUT: &str = "
    INSERT INTO connection (application, user_id, service, account, version, kek, data_key, sealed,
                            expires_at, refresh_from, fence, failures, contested, stored_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, 0, 0, $11)
    ON CONFLICT (application, user_id, service, account) DO UPDATE
    SET version = excluded.version, kek = excluded.kek, data_key = excluded.data_key,
        sealed = excluded.sealed, expires_at = excluded.expires_at,
        refresh_from = excluded.refresh_from, broken = NULL, broken_since = NULL,
        leased_until = NULL, spending = NULL, doubt = NULL, failures = 0, retry_from = NULL,
        last_failure = NULL, contested = 0, stored_at = excluded.stored_at, refreshed_at = NULL";

pub(super) const REMOVE: &str = "
    DELETE FROM connection
    WHERE application = $1 AND user_id = $2 AND service = $3 AND account = $4 AND version = $5";

/// What goes with it.
pub(super) const REMOVE_USE: &str = "
    DELETE FROM last_use
    WHERE application = $1 AND user_id = $2 AND service = $3 AND account = $4";

/// Every column; what is asked for follows.
const CONNECTIONS: &str = "
    SELECT c.application, c.user_id, c.service, c.account, version, kek, data_key, sealed,
           expires_at, refresh_from, broken, broken_since, fence, leased_until, spending, doubt,
           failures, retry_from, last_failure, stored_at, refreshed_at, u.at AS last_used_at,
           u.actor AS last_used_by
    FROM connection c
    LEFT JOIN last_use u ON u.application = c.application AND u.user_id = c.user_id
                        AND u.service = c.service AND u.account = c.account
    WHERE ";

const CONNECTION: &str =
    "c.application = $1 AND c.user_id = $2 AND c.service = $3 AND c.account = $4";

/// The statement that reads one connection.
pub(super) static ONE: LazyLock<String> = LazyLock::new(|| format!("{CONNECTIONS}{CONNECTION}"));

/// The statement that looks at so many connections. Groups of placeholders that are too many are filled with nulls, which
/// no connection has.
pub(super) fn glances_at(connections: usize, placeholder: Placeholder) -> &'static str {
    static LISTS: Lists = Lists::new(glances);
    LISTS.statement(connections, placeholder)
}

/// Each connection is found by its key, and told from the others by its place in the question.
fn glances(connections: usize, placeholder: Placeholder) -> String {
    let group = |n: usize| {
        let [a, u, s, c] = [1, 2, 3, 4].map(|column| placeholder.at(4 * n + column));
        format!("(CAST({n} AS BIGINT), {a}, {u}, {s}, {c})")
    };
    let wanted = (0..connections).map(group).collect::<Vec<_>>().join(", ");
    format!(
        "WITH wanted (n, application, user_id, service, account) AS (VALUES {wanted})
         SELECT w.n, c.version, c.kek, c.data_key, c.sealed, c.expires_at, c.refresh_from, c.broken,
                c.fence, c.leased_until, c.retry_from
         FROM wanted w JOIN connection c
           ON c.application = w.application AND c.user_id = w.user_id
          AND c.service = w.service AND c.account = w.account"
    )
}

/// SQLite has rows in the order of their numbers.
pub(super) const AHEAD: &str = "
    SELECT rowid AS place, application, user_id, service, account, version, kek, data_key, sealed,
           expires_at, refresh_from, broken, fence, leased_until, retry_from
    FROM connection WHERE rowid > $1 ORDER BY rowid LIMIT $2";

/// A list of conditions, and what is bound for each of them, in the order of their placeholders.
pub(super) struct Conditions {
    pub(super) sql: String,
    pub(super) texts: Vec<String>,
}

impl Conditions {
    pub(super) fn and(&mut self, condition: &str, texts: &[&str]) {
        let mut parts = condition.split('?');
        self.sql.push_str(parts.next().unwrap_or_default());
        for (part, text) in parts.zip(texts) {
            self.texts.push((*text).to_owned());
            self.sql.extend(["$", &self.texts.len().to_string(), part]);
        }
    }
}

pub(super) fn listing(wish: &Listing<'_>) -> Conditions {
    let mut conditions = Conditions {
        sql: CONNECTIONS.to_owned(),
        texts: Vec::new(),
    };
    conditions.and("c.application = ?", &[wish.application.as_str()]);
    if let Some(service) = wish.service {
        conditions.and(" AND c.service = ?", &[service.as_str()]);
    }
    if let Some(user) = wish.user {
        conditions.and(" AND c.user_id = ?", &[user.as_str()]);
    }
    if let Some((user, service, account)) = &wish.after {
        let after = [user.as_str(), service.as_str(), account.as_str()];
        conditions.and(" AND (c.user_id, c.service, c.account) > (?, ?, ?)", &after);
    }
    let limit = format!(
        " ORDER BY c.user_id, c.service, c.account LIMIT {}",
        wish.limit
    );
    conditions.sql.push_str(&limit);
    conditions
}

pub(super) fn wrapped(kek: &KekId, after: Option<&ConnectionKey>, limit: u32) -> Conditions {
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
            " AND (c.application, c.user_id, c.service, c.account) > (?, ?, ?, ?)",
            &after,
        );
    }
    let order = format!(" ORDER BY c.application, c.user_id, c.service, c.account LIMIT {limit}");
    conditions.sql.push_str(&order);
    conditions
}
