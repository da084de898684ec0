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
    note::{Content, Note, NotePatch},
    store::{Full, NoteStore},
};

/// Reading notes.
struct NoteRead;

impl Scope for NoteRead {
    const NAME: &'static str = "note.read";
}

/// Adding, changing and deleting notes.
struct NoteWrite;

impl Scope for NoteWrite {
    const NAME: &'static str = "note.write";
}

/// All routes. An id is 1 to 16 digits without a leading zero: what is spelled otherwise names no
/// note, so it is a path at which there is nothing (404).
pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(
        web::resource("/note")
            .route(on(Method::GET).to(list))
            .route(on(Method::HEAD).to(list))
            .route(on(Method::POST).to(add))
            .default_service(method_not_allowed("GET, HEAD, POST")),
    )
    .service(
        web::resource("/note/{id:[1-9][0-9]{0,15}}")
            .route(on(Method::PUT).to(change))
            .route(on(Method::DELETE).to(delete))
            .default_service(method_not_allowed("DELETE, PUT")),
    );
}

async fn list(request: Authorized<NoteRead, Page>, store: Data<NoteStore>) -> Listing {
    store.list(request.input)
}

async fn add(
    request: Authorized<NoteWrite, JsonBody<Content>>,
    store: Data<NoteStore>,
) -> Result<Json<Note>, Problem> {
    let JsonBody(content) = request.input;
    Ok(Json(store.add(content)?))
}

async fn change(
    request: Authorized<NoteWrite, (Path<u64>, JsonBody<NotePatch>)>,
    store: Data<NoteStore>,
) -> Result<Json<Note>, Problem> {
    let (id, JsonBody(patch)) = request.input;
    if !patch.is_for(*id) {
        return Err(
            Problem::bad_request("`id` is not the one in the path: leave it out").field("id"),
        );
    }
    store
        .change(*id, patch)
        .map(Json)
        .ok_or_else(|| Problem::not_found("there is no note with this id"))
}

async fn delete(
    request: Authorized<NoteWrite, Path<u64>>,
    store: Data<NoteStore>,
) -> Json<Deletion> {
    let deleted = store.delete(*request.input);
    Json(Deletion { deleted })
}

/// The answer to DELETE: 200 either way, for the note is gone either way.
#[derive(Serialize)]
struct Deletion {
    /// Whether it was this request that deleted it.
    deleted: bool,
}

impl From<Full> for Problem {
    fn from(error: Full) -> Self {
        Self::new(StatusCode::INSUFFICIENT_STORAGE, error.to_string())
    }
}
