//! The HTTP surface: which path asks for which scope, and what it answers.
//!
//! Every answer is JSON. What is wrong with a request is said in an RFC 9457 body, what is wrong
//! with its token in the way of RFC 6750.

use actix_web::{
    http::{Method, StatusCode},
    web::{self, Data, Json, Path, ServiceConfig},
};
use m2m::{
    Scope,
    service::{Authorized, JsonBody, Listing, Page, Problem, method_not_allowed, on},
};
use serde::Serialize;

use crate::{
    event::{Details, EndsBeforeStart, Event, EventPatch, NewEvent},
    store::{EventStore, Full},
};

/// Reading events.
struct CalendarRead;

impl Scope for CalendarRead {
    const NAME: &'static str = "calendar.read";
}

/// Adding, changing and deleting events.
struct CalendarWrite;

impl Scope for CalendarWrite {
    const NAME: &'static str = "calendar.write";
}

/// All routes. An id is 1 to 16 digits without a leading zero: what is spelled otherwise names no
/// event, so it is a path at which there is nothing (404).
pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(
        web::resource("/event")
            .route(on(Method::GET).to(list))
            .route(on(Method::HEAD).to(list))
            .route(on(Method::POST).to(add))
            .default_service(method_not_allowed("GET, HEAD, POST")),
    )
    .service(
        web::resource("/event/{id:[1-9][0-9]{0,15}}")
            .route(on(Method::PUT).to(change))
            .route(on(Method::DELETE).to(delete))
            .default_service(method_not_allowed("DELETE, PUT")),
    );
}

async fn list(request: Authorized<CalendarRead, Page>, store: Data<EventStore>) -> Listing {
    store.list(request.input)
}

async fn add(
    request: Authorized<CalendarWrite, JsonBody<NewEvent>>,
    store: Data<EventStore>,
) -> Result<Json<Event>, Problem> {
    let JsonBody(new) = request.input;
    Ok(Json(store.add(Details::try_from(new)?)?))
}

async fn change(
    request: Authorized<CalendarWrite, (Path<u64>, JsonBody<EventPatch>)>,
    store: Data<EventStore>,
) -> Result<Json<Event>, Problem> {
    let (id, JsonBody(patch)) = request.input;
    if !patch.is_for(*id) {
        return Err(
            Problem::bad_request("`id` is not the one in the path: leave it out").field("id"),
        );
    }
    let event = store.change(*id, patch)?;
    event
        .map(Json)
        .ok_or_else(|| Problem::not_found("there is no event with this id"))
}

async fn delete(
    request: Authorized<CalendarWrite, Path<u64>>,
    store: Data<EventStore>,
) -> Json<Deletion> {
    let deleted = store.delete(*request.input);
    Json(Deletion { deleted })
}

/// The answer to DELETE: 200 either way, for the event is gone either way.
#[derive(Serialize)]
struct Deletion {
    /// Whether it was this request that deleted it.
    deleted: bool,
}

impl From<EndsBeforeStart> for Problem {
    fn from(error: EndsBeforeStart) -> Self {
        Self::bad_request(error.to_string()).field("end")
    }
}

impl From<Full> for Problem {
    fn from(error: Full) -> Self {
        Self::new(StatusCode::INSUFFICIENT_STORAGE, error.to_string())
    }
}
