//! The M2M API of Stytch, at the root: the routes of its client libraries.
//!
//! A project is a resource with the token profile `stytch`; its administrator comes with Basic authentication, as project
//! id and a secret of the project's owner. Every answer is JSON with `status_code` and `request_id`, the refusals too.

mod bodies;
mod clients;
mod error;
mod from_project;
mod key_set;
mod search;
mod token;

use actix_web::{
    Error, HttpResponse, Resource, ResponseError, Route,
    body::{EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::StatusCode,
    middleware::{Next, from_fn},
    web::{self, ServiceConfig, delete, get, head, post, put},
};
use serde_json::{Value, json};

use self::error::{Refused, TokenRefused};
use super::super::limited;
use crate::error::OAuthError;

/// Adds the routes.
pub(in crate::http) fn routes(cfg: &mut ServiceConfig) {
    client_routes(cfg);
    rotation_routes(cfg);
    for path in [
        "/v1/sessions/jwks/{project}",
        "/v1/b2b/sessions/jwks/{project}",
    ] {
        let answers = [get().to(key_set::show), head().to(key_set::show)];
        managed(cfg, path, "GET, HEAD", answers);
    }
    let path = "/v1/public/{project}/oauth2/token";
    let tokens = at(path, "POST", [post().to(token::issue)]);
    cfg.service(tokens.wrap(from_fn(tokens_limited)))
        .service(web::scope("/v1").default_service(web::to(nothing_here)));
}

fn client_routes(cfg: &mut ServiceConfig) {
    for path in ["/v1/m2m/clients", "/v1/m2m/clients/"] {
        managed(cfg, path, "POST", [post().to(clients::create)]);
    }
    let path = "/v1/m2m/clients/search";
    managed(cfg, path, "POST", [post().to(search::search)]);
    let path = "/v1/m2m/clients/{client_id}";
    let one = [
        get().to(clients::show),
        put().to(clients::update),
        delete().to(clients::remove),
    ];
    managed(cfg, path, "GET, PUT, DELETE", one);
}

fn rotation_routes(cfg: &mut ServiceConfig) {
    let path = "/v1/m2m/clients/{client_id}/secrets/rotate/start";
    managed(cfg, path, "POST", [post().to(clients::start_rotation)]);
    let path = "/v1/m2m/clients/{client_id}/secrets/rotate";
    managed(cfg, path, "POST", [post().to(clients::finish_rotation)]);
    let path = "/v1/m2m/clients/{client_id}/secrets/rotate/cancel";
    managed(cfg, path, "POST", [post().to(clients::cancel_rotation)]);
}

fn managed<const N: usize>(
    cfg: &mut ServiceConfig,
    path: &str,
    allow: &'static str,
    routes: [Route; N],
) {
    let resource = at(path, allow, routes);
    cfg.service(resource.wrap(from_fn(management_limited)));
}

/// The path with its methods; any other method is refused in the words that these callers read.
fn at<const N: usize>(path: &str, allow: &'static str, routes: [Route; N]) -> Resource {
    let resource = web::resource(path).default_service(web::to(move || async move {
        Refused::wrong_method(allow).error_response()
    }));
    routes.into_iter().fold(resource, Resource::route)
}

async fn nothing_here() -> Result<HttpResponse, Refused> {
    Err(Refused::nothing_here())
}

/// `200` with these members, and with the two that every answer has.
fn answer(request_id: &str, members: Value) -> HttpResponse {
    HttpResponse::Ok().json(with_the_two(members, StatusCode::OK, request_id))
}

fn with_the_two(mut members: Value, status: StatusCode, request_id: &str) -> Value {
    members["status_code"] = json!(status.as_u16());
    members["request_id"] = json!(request_id);
    members
}

async fn management_limited<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    limited::by_address(request, next, |exhausted| {
        Refused::from(OAuthError::from(exhausted)).error_response()
    })
    .await
}

async fn tokens_limited<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    limited::by_address(request, next, |exhausted| {
        TokenRefused(OAuthError::from(exhausted)).error_response()
    })
    .await
}
