//! The SQL of what is only ever added: the audit log, the last uses that follow from it, and the ids of signed requests.

use super::{
    connections::Conditions,
    lists::{Lists, Placeholder},
    rows::number,
};
use crate::{
    audit::{Action, Event, Filter},
    connection::{Account, Application, Service, User},
};

/// What stands before, between and behind the placeholders of an insert of events. Events that follow one another have mostly
/// all in common but the moment and the connection, as releases to one application: what they have in common is bound once.
const ADD_EVENTS: [&str; 3] = [
    "INSERT INTO audit_event (at, user_id, account, action, application, service, actor, reason)
     SELECT w.at, w.user_id, w.account, ",
    " FROM (SELECT CAST(NULL AS BIGINT) AS at, CAST(NULL AS TEXT) AS user_id,
                   CAST(NULL AS TEXT) AS account
            UNION ALL VALUES ",
    ") w WHERE w.at IS NOT NULL",
];

/// What events have in common, and what each of them has, in the order of [`ADD_EVENTS`].
const COMMON_COLUMNS: usize = 5;
const EVENT_COLUMNS: usize = 3;

/// Whether two events can be added by one statement.
pub(super) fn are_alike(one: &Event, other: &Event) -> bool {
    one.action == other.action
        && one.key.application == other.key.application
        && one.key.service == other.key.service
        && one.actor == other.actor
        && one.reason == other.reason
}

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

/// The statement that adds so many events, which are a power of two.
pub(super) fn add_events_sql(rows: usize, placeholder: Placeholder) -> &'static str {
    static LISTS: Lists = Lists::new(|rows, placeholder| {
        let common = (1..=COMMON_COLUMNS)
            .map(|number| placeholder.text_at(number))
            .collect::<Vec<_>>()
            .join(", ");
        let groups = placeholder.groups_after(COMMON_COLUMNS, rows, EVENT_COLUMNS);
        let [begin, middle, end] = ADD_EVENTS;
        format!("{begin}{common}{middle}{groups}{end}")
    });
    LISTS.statement(rows, placeholder)
}

/// The statement that notes so many uses, which are a power of two.
pub(super) fn add_uses_sql(rows: usize, placeholder: Placeholder) -> &'static str {
    static LISTS: Lists = Lists::new(|rows, placeholder| {
        let groups = placeholder.groups(rows, USE_COLUMNS);
        format!("{}{groups}{}", USES[0], USES[1])
    });
    LISTS.statement(rows, placeholder)
}

/// The beginning of a list of events; each part of the filter that is given adds a line.
const EVENTS: &str = "
    SELECT number, at, action, application, user_id, service, account, actor, reason
    FROM audit_event WHERE number < $1";

// They are added in the order of time, give or take a moment.
pub(super) const FORGET_EVENTS: &str = "
    DELETE FROM audit_event WHERE at < $1 AND number IN
    (SELECT number FROM audit_event ORDER BY number LIMIT $2)";

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
