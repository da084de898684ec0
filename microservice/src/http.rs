//! The HTTP surface: a greeting for who has a token, and a way to make this service ask for one.

use actix_web::{
    HttpResponse,
    http::header,
    web::{self, Data, ServiceConfig},
};
use m2m::{
    Scope,
    actix::Caller,
    service::{Problem, method_not_allowed},
};

use crate::{local::FromHere, mesh::Mesh, query::Query};

/// Being greeted.
pub struct Hello;

impl Scope for Hello {
    const NAME: &'static str = "hello";
}

/// All routes.
pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(
        web::resource("/hello")
            .get(hello)
            .route(web::head().to(hello))
            .default_service(method_not_allowed("GET, HEAD")),
    )
    .service(
        web::resource("/query")
            .post(query)
            .default_service(method_not_allowed("POST")),
    );
}

async fn hello(caller: Caller<Hello>, mesh: Data<Mesh>) -> HttpResponse {
    text(format!("Hello to {} from {}!", caller.subject(), mesh.me))
}

async fn query(request: FromHere<Query>, mesh: Data<Mesh>) -> Result<HttpResponse, Problem> {
    let FromHere(Query { target }) = request;
    Ok(text(mesh.greeting_of(&target).await?))
}

/// No browser is to take it for anything else than text, whatever it says.
fn text(body: String) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain; charset=utf-8")
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(body)
}
