//! The whole HTTP surface on one screen. A handler translates; it decides nothing.

mod admin;
mod admin_keys;
mod admin_revocations;
mod api_document;
mod api_page;
mod client_auth;
mod discovery;
mod feed;
mod oauth;
mod openapi;
mod params;

use actix_web::{
    FromRequest, Handler, Responder, ResponseError, Route,
    http::{
        StatusCode,
        header::{self, HeaderValue},
    },
    web::{self, Data, ServiceConfig},
};
use m2m::service::{Readiness, health_routes, method_not_allowed};
use url::Url;

pub use discovery::metadata;

use crate::{error::OAuthError, server::AuthServer};

/// The path that the issuer adds to the public URL. The endpoints answer below it and at the root alike.
pub const ISSUER_PATH: &str = "/auth";

/// RFC 8414 section 3 puts the well-known part between host and issuer path; many clients look for it after
/// the path, or at the root, or by OpenID Connect's name.
const METADATA: [&str; 6] = [
    "/.well-known/oauth-authorization-server/auth",
    "/.well-known/oauth-authorization-server",
    "/.well-known/openid-configuration/auth",
    "/.well-known/openid-configuration",
    "/auth/.well-known/oauth-authorization-server",
    "/auth/.well-known/openid-configuration",
];

const KEY_SET: [&str; 4] = [
    "/jwt/jwks.json",
    "/.well-known/jwks.json",
    "/auth/jwt/jwks.json",
    "/auth/.well-known/jwks.json",
];

/// Adds every route of the server.
pub fn routes(server: Data<AuthServer>) -> impl FnOnce(&mut ServiceConfig) {
    move |cfg| {
        for base in ["", ISSUER_PATH] {
            post(cfg, &format!("{base}/oauth/token"), oauth::issue_token);
            post(cfg, &format!("{base}/oauth/introspect"), oauth::introspect);
            post(cfg, &format!("{base}/oauth/revoke"), oauth::revoke);
            get(cfg, &format!("{base}/oauth/revocations"), feed::revocations);
            get(cfg, &format!("{base}/oauth/authorize"), oauth::authorize);
        }
        for path in METADATA {
            get(cfg, path, discovery::serve_metadata);
        }
        for path in KEY_SET {
            get(cfg, path, discovery::serve_key_set);
        }
        cfg.configure(admin_routes);
        let store = server.clone();
        let readiness = Readiness::default().check("database", move || {
            let server = store.clone();
            async move { server.store.ping().await.map_err(|error| error.to_string()) }
        });
        cfg.configure(health_routes(readiness)).app_data(server);
    }
}

/// What administrators use answers below this path only.
fn admin_routes(cfg: &mut ServiceConfig) {
    api_document::prepare();
    let at = |path: &str, allow, route| {
        web::resource(format!("/admin/v1{path}"))
            .route(route)
            .default_service(method_not_allowed(allow))
    };
    let (document, page) = (api_document::document, api_document::page);
    cfg.service(
        at("/openapi.json", "GET, HEAD", web::get().to(document)).route(web::head().to(document)),
    )
    .service(at("/docs", "GET, HEAD", web::get().to(page)).route(web::head().to(page)));
    let (rotate, compromised) = (admin_keys::rotate, admin_keys::compromised);
    cfg.service(at("/keys", "GET", web::get().to(admin_keys::list)))
        .service(at("/keys/rotate", "POST", web::post().to(rotate)))
        .service(at(
            "/keys/{kid}/compromised",
            "POST",
            web::post().to(compromised),
        ))
        .service(at(
            "/revocations",
            "POST",
            web::post().to(admin_revocations::revoke),
        ));
}

/// The URL of `path` below the issuer.
pub fn below_issuer(public_url: &Url, path: &str) -> String {
    format!(
        "{}{ISSUER_PATH}{path}",
        public_url.as_str().trim_end_matches('/')
    )
}

fn post<F, Args>(cfg: &mut ServiceConfig, path: &str, handler: F)
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    cfg.service(
        web::resource(path)
            .post(handler)
            .default_service(wrong_method("POST")),
    );
}

fn get<F, Args>(cfg: &mut ServiceConfig, path: &str, handler: F)
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    cfg.service(
        web::resource(path)
            .get(handler.clone())
            .route(web::head().to(handler))
            .default_service(wrong_method("GET, HEAD")),
    );
}

/// An OAuth client expects an OAuth error, also when it used the wrong method.
fn wrong_method(allow: &'static str) -> Route {
    web::to(move || async move {
        let error = OAuthError::invalid_request(format!("this endpoint answers {allow}"))
            .status(StatusCode::METHOD_NOT_ALLOWED);
        let mut answer = error.error_response();
        answer
            .headers_mut()
            .insert(header::ALLOW, HeaderValue::from_static(allow));
        answer
    })
}
