//! What stands in a row, read into the domain's types. A row that does not fit is damaged, and says so.

use std::sync::Arc;

use sqlx::{ColumnIndex, Decode, Row, Type};

use super::{Ahead, Attention, Glance, Recorded, Seen, State, StoreError, Stored, Times};
use crate::{
    audit::{Action, Event},
    connection::{Account, Application, Broken, ConnectionKey, Doubt, Service, User},
    envelope::Envelope,
    kek::KekId,
};

/// The columns of a row by name and kind, the same for both databases.
pub(super) trait Columns {
    fn text(&self, name: &str) -> Result<String, sqlx::Error>;
    fn maybe_text(&self, name: &str) -> Result<Option<String>, sqlx::Error>;
    fn bytes(&self, name: &str) -> Result<Vec<u8>, sqlx::Error>;
    fn maybe_number(&self, name: &str) -> Result<Option<i64>, sqlx::Error>;
}

impl<R: Row> Columns for R
where
    for<'name> &'name str: ColumnIndex<R>,
    String: for<'r> Decode<'r, R::Database> + Type<R::Database>,
    Vec<u8>: for<'r> Decode<'r, R::Database> + Type<R::Database>,
    i64: for<'r> Decode<'r, R::Database> + Type<R::Database>,
{
    fn text(&self, name: &str) -> Result<String, sqlx::Error> {
        self.try_get(name)
    }

    fn maybe_text(&self, name: &str) -> Result<Option<String>, sqlx::Error> {
        self.try_get(name)
    }

    fn bytes(&self, name: &str) -> Result<Vec<u8>, sqlx::Error> {
        self.try_get(name)
    }

    fn maybe_number(&self, name: &str) -> Result<Option<i64>, sqlx::Error> {
        self.try_get(name)
    }
}

/// As the databases keep numbers. All of them stay far below 2^63.
pub(super) fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn maybe_number(value: Option<u64>) -> Option<i64> {
    value.map(number)
}

fn maybe_time(row: &impl Columns, name: &'static str) -> Result<Option<u64>, StoreError> {
    let number = row.maybe_number(name)?;
    number
        .map(|number| u64::try_from(number).map_err(|_| StoreError::Corrupt { what: name }))
        .transpose()
}

pub(super) fn time(row: &impl Columns, name: &'static str) -> Result<u64, StoreError> {
    maybe_time(row, name)?.ok_or(StoreError::Corrupt { what: name })
}

pub(super) fn key(row: &impl Columns) -> Result<ConnectionKey, StoreError> {
    let what = |what| move |_| StoreError::Corrupt { what };
    Ok(ConnectionKey {
        application: Application::parse(&row.text("application")?).map_err(what("application"))?,
        user: User::parse(&row.text("user_id")?).map_err(what("user"))?,
        service: service(row)?,
        account: Account::parse(&row.text("account")?).map_err(what("account"))?,
    })
}

fn service(row: &impl Columns) -> Result<Service, StoreError> {
    Service::parse(&row.text("service")?).map_err(|_| StoreError::Corrupt { what: "service" })
}

pub(super) fn kek(row: &impl Columns) -> Result<KekId, StoreError> {
    Ok(KekId::new(row.text("kek")?))
}

pub(super) fn envelope(row: &impl Columns) -> Result<Envelope, StoreError> {
    Ok(Envelope {
        kek: kek(row)?,
        data_key: row.bytes("data_key")?,
        sealed: row.bytes("sealed")?,
    })
}

/// A text of a column that may be empty, which must be one of the texts of this program.
fn maybe<T>(
    row: &impl Columns,
    name: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, StoreError> {
    let text = row.maybe_text(name)?;
    text.map(|text| parse(&text).ok_or(StoreError::Corrupt { what: name }))
        .transpose()
}

pub(super) fn stored(row: &impl Columns) -> Result<Stored, StoreError> {
    let broken = maybe(row, "broken", Broken::parse)?;
    let used_by = row.maybe_text("last_used_by")?.unwrap_or_default();
    Ok(Stored {
        key: key(row)?,
        envelope: envelope(row)?,
        version: time(row, "version")?,
        times: Times {
            expires_at: maybe_time(row, "expires_at")?,
            refresh_from: maybe_time(row, "refresh_from")?,
        },
        broken: broken
            .map(|broken| Ok::<_, StoreError>((broken, time(row, "broken_since")?)))
            .transpose()?,
        fence: time(row, "fence")?,
        leased_until: maybe_time(row, "leased_until")?,
        spending: row.maybe_text("spending")?,
        doubt: maybe(row, "doubt", Doubt::parse)?,
        failures: u32::try_from(time(row, "failures")?).unwrap_or(u32::MAX),
        retry_from: maybe_time(row, "retry_from")?,
        last_failure: row.maybe_text("last_failure")?,
        stored_at: time(row, "stored_at")?,
        refreshed_at: maybe_time(row, "refreshed_at")?,
        last_used: maybe_time(row, "last_used_at")?.map(|at| (at, used_by)),
    })
}

pub(super) fn glance(row: &impl Columns) -> Result<Glance, StoreError> {
    Ok(Glance {
        envelope: envelope(row)?,
        seen: Seen {
            version: time(row, "version")?,
            fence: time(row, "fence")?,
        },
        state: State {
            times: Times {
                expires_at: maybe_time(row, "expires_at")?,
                refresh_from: maybe_time(row, "refresh_from")?,
            },
            broken: maybe(row, "broken", Broken::parse)?,
            leased_until: maybe_time(row, "leased_until")?,
            retry_from: maybe_time(row, "retry_from")?,
        },
    })
}

pub(super) fn ahead(row: &impl Columns) -> Result<Ahead, StoreError> {
    Ok(Ahead {
        place: time(row, "place")?,
        key: key(row)?,
        glance: glance(row)?,
    })
}

pub(super) fn recorded(row: &impl Columns) -> Result<Recorded, StoreError> {
    let action = maybe(row, "action", Action::parse)?;
    Ok(Recorded {
        number: time(row, "number")?,
        event: Event {
            at: time(row, "at")?,
            action: action.ok_or(StoreError::Corrupt { what: "action" })?,
            key: key(row)?,
            actor: row.maybe_text("actor")?.map(Arc::from),
            reason: row.maybe_text("reason")?,
        },
    })
}

pub(super) fn attention(row: &impl Columns) -> Result<Attention, StoreError> {
    Ok(Attention {
        service: service(row)?,
        connections: time(row, "connections")?,
        since: time(row, "since")?,
    })
}
