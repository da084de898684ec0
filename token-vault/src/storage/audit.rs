//! The SQL of what is only ever added: the audit log, the last uses that follow from it, and the ids of signed requests.

use std::{fmt::Write, sync::LazyLock};

use super::{connections::Conditions, rows::number};
use crate::{
    audit::{Action, Filter},
    connection::{Account, Application, Service, User},
};

/// The beginning of an insert of events; one group of placeholders for each follows.
const ADD_EVENTS: &str = "
    INSERT INTO audit_event (at, action, application, user_id, service, account, actor, reason)
    VALUES ";

/// What one event has, in the order of [`ADD_EVENTS`].
const EVENT_COLUMNS: usize = 8;

/// The beginning and the end of an insert that notes when connections were last used; one group of placeholders for each
/// stands between them.
///
/// A connection that was removed meanwhile is left out: of a user who was forgotten nothing is written again. Once a minute
/// is enough: who wants it exactly reads the audit log.
const USES: [&str; 2] = [
    "INSERT INTO last_use (application, user_id, service, account, at, actor)
     SELECT w.application, w.user_id, w.service, w.account, w.at, w.actor
     FROM (SELECT CAST(NULL AS TEXT) AS application, CAST(NULL AS TEXT) AS user_id,
                  CAST(NULL AS TEXT) AS service, CAST(NULL AS TEXT) AS account,
                  CAST(NULL AS BIGINT) AS at, CAST(NULL AS TEXT) AS actor
           UNION ALL VALUES ",
    ") w
     JOIN connection c ON c.application = w.application AND c.user_id = w.user_id
                      AND c.service = w.service AND c.account = w.account
     WHERE true
     ON CONFLICT (application, user_id, service, account) DO UPDATE
     SET at = excluded.at, actor = excluded.actor WHERE last_use.at + 60000 <= excluded.at",
];

const USE_COLUMNS: usize = 6;

/// `VALUES` lists are this long at the most, and powers of two, so that there are few statements to prepare.
pub(super) const LONGEST_LIST: usize = 64;

/// The statements for lists of 1, 2, 4 … [`LONGEST_LIST`] rows.
struct Lists(Vec<String>);

impl Lists {
    fn of(statement: impl Fn(usize) -> String) -> Self {
        let powers = 0..=LONGEST_LIST.ilog2();
        Self(powers.map(|power| statement(1 << power)).collect())
    }

    /// For a power of two.
    fn with(&self, rows: usize) -> &str {
        &self.0[usize::try_from(rows.ilog2()).expect("a logarithm is small")]
    }
}

static EVENT_LISTS: LazyLock<Lists> =
    LazyLock::new(|| Lists::of(|rows| format!("{ADD_EVENTS}{}", groups(rows, EVENT_COLUMNS))));

static USE_LISTS: LazyLock<Lists> = LazyLock::new(|| {
    Lists::of(|rows| format!("{}{}{}", USES[0], groups(rows, USE_COLUMNS), USES[1]))
});

/// The statement that adds so many events, which are a power of two.
pub(super) fn add_events_sql(rows: usize) -> &'static str {
    EVENT_LISTS.with(rows)
}

/// The statement that notes so many uses, which are a power of two.
pub(super) fn add_uses_sql(rows: usize) -> &'static str {
    USE_LISTS.with(rows)
}

/// `($1, $2), ($3, $4)` and so on.
fn groups(rows: usize, columns: usize) -> String {
    let mut text = String::new();
    for number in 1..=rows * columns {
        let before = match (number - 1) % columns {
            0 if number == 1 => "(",
            0 => "), (",
            _ => ", ",
        };
        write!(text, "{before}${number}").expect("a string takes any text");
    }
    text + ")"
}

/// The beginning of a list of events; each part of the filter that is given adds a line.
const EVENTS: &str = "
    SELECT number, at, action, application, user_id, service, account, actor, reason
    FROM audit_event WHERE number < $1";

pub(super) const FORGET_EVENTS: &str = "
    DELETE FROM audit_event WHERE number IN
    (SELECT number FROM audit_event WHERE at < $1 ORDER BY at LIMIT $2)";

/// How many events are removed in one step.
pub(super) const BATCH: u64 = 500;

pub(super) const FORGET_REQUESTS: &str = "DELETE FROM seen_request WHERE expires_at <= $1";

pub(super) const REMEMBER: &str = "
    INSERT INTO seen_request (id_hash, expires_at) VALUES ($1, $2)
    ON CONFLICT (id_hash) DO UPDATE SET expires_at = excluded.expires_at
    WHERE seen_request.expires_at <= $3";

/// Numbers stand in the text itself: they are no text of a caller.
pub(super) fn events_of(filter: &Filter, before: u64, limit: u32) -> Conditions {
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
