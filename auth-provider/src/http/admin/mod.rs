//! What administrators use, below `/admin/v1`: the whole surface on one screen.

mod audit;
mod clients;
mod credentials;
pub(super) mod from_admin;
mod grants;
mod keys;
mod listing;
mod policy;
mod resources;
mod revocations;

use actix_web::{
    HttpRequest, Route,
    error::PathError,
    http::header::{self, HeaderName},
    middleware::from_fn,
    web::{self, PathConfig, ServiceConfig, delete, get, head, patch, post},
};
use m2m::service::{Problem, method_not_allowed};

use super::{api_document, limited};

/// Adds the routes.
pub(super) fn routes(cfg: &mut ServiceConfig) {
    let scope = web::scope("/admin/v1")
        .app_data(PathConfig::default().error_handler(no_such_path))
        .configure(document_routes)
        .configure(client_routes)
        .configure(credential_routes)
        .configure(graph_routes)
        .default_service(web::to(|| async {
            let detail = "there is nothing at this path: see /admin/v1/openapi.json";
            Err::<&str, _>(Problem::not_found(detail))
        }));
    cfg.service(scope.wrap(from_fn(limited::admin)));
}

/// What describes the rest, what was done, and the keys.
fn document_routes(cfg: &mut ServiceConfig) {
    cfg.service(at(
        "/openapi.json",
        "GET, HEAD",
        [
            get().to(api_document::document),
            head().to(api_document::document),
        ],
    ))
    .service(at(
        "/docs",
        "GET, HEAD",
        [get().to(api_document::page), head().to(api_document::page)],
    ))
    .service(at("/audit", "GET", [get().to(audit::list)]))
    .service(at("/keys", "GET", [get().to(keys::list)]))
    .service(at("/keys/rotate", "POST", [post().to(keys::rotate)]))
    .service(at(
        "/keys/{kid}/compromised",
        "POST",
        [post().to(keys::compromised)],
    ))
    .service(at("/revocations", "POST", [post().to(revocations::revoke)]));
}

/// Who there is.
fn client_routes(cfg: &mut ServiceConfig) {
    cfg.service(at(
        "/clients",
        "GET, POST",
        [get().to(clients::list), post().to(clients::add)],
    ))
    .service(at(
        "/clients/{client_id}",
        "GET, PATCH, DELETE",
        [
            get().to(clients::show),
            patch().to(clients::edit),
            delete().to(clients::remove),
        ],
    ));
}

/// How they prove it.
fn credential_routes(cfg: &mut ServiceConfig) {
    cfg.service(at(
        "/clients/{client_id}/credentials",
        "GET, POST",
        [get().to(credentials::list), post().to(credentials::add)],
    ))
    .service(at(
        "/clients/{client_id}/credentials/{credential_id}",
        "GET, PATCH, DELETE",
        [
            get().to(credentials::show),
            patch().to(credentials::edit),
            delete().to(credentials::remove),
        ],
    ))
    .service(at(
        "/clients/{client_id}/credentials/{credential_id}/rotate",
        "POST",
        [post().to(credentials::rotate)],
    ))
    .service(at(
        "/clients/{client_id}/credentials/{credential_id}/rotation",
        "POST, DELETE",
        [
            post().to(credentials::start_rotation),
            delete().to(credentials::cancel_rotation),
        ],
    ))
    .service(at(
        "/clients/{client_id}/credentials/{credential_id}/rotation/finish",
        "POST",
        [post().to(credentials::finish_rotation)],
    ))
    .service(at(
        "/clients/{client_id}/credentials/{credential_id}/compromised",
        "POST",
        [post().to(credentials::compromised)],
    ));
}

/// Who may call whom, and why.
fn graph_routes(cfg: &mut ServiceConfig) {
    cfg.service(at(
        "/resources",
        "GET, POST",
        [get().to(resources::list), post().to(resources::add)],
    ))
    .service(at(
        "/resources/{resource}",
        "GET, PATCH, DELETE",
        [
            get().to(resources::show),
            patch().to(resources::edit),
            delete().to(resources::remove),
        ],
    ))
    .service(at(
        "/grants",
        "GET, POST",
        [get().to(grants::list), post().to(grants::add)],
    ))
    .service(at(
        "/grants/{client_id}/{resource}",
        "GET, PATCH, DELETE",
        [
            get().to(grants::show),
            patch().to(grants::edit),
            delete().to(grants::remove),
        ],
    ))
    .service(at("/policy", "GET", [get().to(policy::export)]))
    .service(at("/policy/graph", "GET", [get().to(policy::graph)]))
    .service(at("/policy/plan", "POST", [post().to(policy::plan)]))
    .service(at("/policy/apply", "POST", [post().to(policy::apply)]))
    .service(at("/explain", "POST", [post().to(policy::explain)]));
}

/// A path with its methods; any other is told which there are.
fn at<const N: usize>(path: &str, allow: &'static str, routes: [Route; N]) -> actix_web::Resource {
    routes
        .into_iter()
        .fold(web::resource(path), actix_web::Resource::route)
        .default_service(method_not_allowed(allow))
}

/// A path that is no text names nothing.
fn no_such_path(_: PathError, _: &HttpRequest) -> actix_web::Error {
    Problem::not_found("the path is no UTF-8: nothing has this name").into()
}

/// The entity tag of a version (RFC 9110 section 8.8.3).
fn etag(version: &str) -> (HeaderName, String) {
    (header::ETAG, format!("\"{version}\""))
}
