//! `/admin/v1/audit`

use actix_web::{HttpRequest, HttpResponse, web::Data};
use m2m::service::Problem;
use serde_json::json;

use super::{
    from_admin::{FromAdmin, OnlyQuery},
    listing::{Query, number},
};
use crate::{
    audit::{Action, Filter, Outcome, Recorded},
    built_in::AuditRead,
    client::ClientId,
    registry::{
        commit::Refusal,
        values::{Time, Whole},
        views::EventView,
    },
    resource::ResourceId,
    server::AuthServer,
};

const FILTERS: [&str; 7] = [
    "client_id",
    "resource",
    "action",
    "outcome",
    "request_id",
    "since",
    "until",
];

/// The newest events first.
pub(super) async fn list(
    _: FromAdmin<AuditRead, OnlyQuery>,
    server: Data<AuthServer>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let mut query = Query::read(&request, &FILTERS)?;
    let filter = filter(&mut query)?;
    let before = match query.after.as_str() {
        "" => u64::MAX,
        position => number(position).unwrap_or(0), // what is no position has nothing behind it
    };
    server.journal.settle().await.map_err(Refusal::from)?;
    let rows = server.store.events(&filter, before, query.rows()).await;
    let rows = rows.map_err(Refusal::from)?;
    let view = |event: &Recorded| json!(EventView::from(event));
    let position = |event: &Recorded| event.number.to_string();
    Ok(HttpResponse::Ok().json(query.page("events", &rows, view, position)))
}

fn request_id(text: String) -> Result<String, &'static str> {
    let known = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    if (1..=128).contains(&text.len()) && text.bytes().all(known) {
        Ok(text)
    } else {
        Err("write the request_id that a refusal named")
    }
}

fn filter(query: &mut Query) -> Result<Filter, Problem> {
    let time = |text: String| {
        let seconds = number(&text).ok_or("write seconds since 1970".to_owned())?;
        Time::try_from(Whole(seconds)).map(|time| time.0)
    };
    Ok(Filter {
        client: query.filter("client_id", |text| ClientId::parse(&text))?,
        resource: query.filter("resource", |text| ResourceId::parse(&text))?,
        action: query.filter("action", |text| {
            Action::parse(&text).ok_or("there is no such action: see /admin/v1/openapi.json")
        })?,
        outcome: query.filter("outcome", |text| {
            Outcome::parse(&text).ok_or("write success or refused")
        })?,
        request_id: query.filter("request_id", request_id)?,
        since: query.filter("since", time)?,
        until: query.filter("until", time)?,
    })
}
