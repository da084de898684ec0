//! The whole HTTP surface on one screen. A handler translates; it decides nothing.

mod address;
mod admin;
mod api_document;
mod api_page;
mod client_auth;
mod dialects;
mod discovery;
mod feed;
mod limited;
mod metrics;
mod oauth;
mod openapi;
mod params;
mod registration;

use actix_web::{
    FromRequest, Handler, HttpResponse, Responder, ResponseError, Route,
    body::MessageBody,
    http::{
        Method, StatusCode,
        header::{self, HeaderValue},
    },
    middleware::from_fn,
    web::{self, Data, ServiceConfig},
};
use m2m::service::{Problem, Readiness, health_routes, on};
use serde::Serialize;
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
    "/auth/jwt/jwks.json",
    "/jwt/jwks.json",
    "/auth/.well-known/jwks.json",
    "/.well-known/jwks.json",
];

/// Adds every route of the server.
pub fn routes(server: Data<AuthServer>) -> impl FnOnce(&mut ServiceConfig) {
    move |cfg| {
        // What is asked for most stands first: paths are looked through in this order.
        for base in [ISSUER_PATH, ""] {
            let scope = web::scope(&format!("{base}/oauth")).configure(oauth_routes);
            cfg.service(scope.wrap(from_fn(limited::oauth)));
            if server.dynamic_registration {
                cfg.service(registration::routes(base));
            }
        }
        for path in KEY_SET {
            get(cfg, path, discovery::serve_key_set);
        }
        for path in METADATA {
            get(cfg, path, discovery::serve_metadata);
        }
        get(cfg, "/metrics", metrics::serve);
        cfg.configure(admin::routes);
        cfg.configure(dialects::routes);
        cfg.configure(health_routes(readiness(&server)))
            .default_service(web::to(no_such_endpoint))
            .app_data(server);
    }
}

/// Ready is who can do the work that is left when the database is away. Who stops asks to be left out at once.
fn readiness(server: &Data<AuthServer>) -> Readiness {
    let (database, serving) = (server.clone(), server.clone());
    Readiness::default()
        .report("database", move || {
            let server = database.clone();
            async move {
                match server.store.ping().await {
                    _ if server.contact.is_away() => server.contact.state(),
                    Err(error) => Err(error.to_string()),
                    Ok(()) if server.journal.is_refused() => {
                        Err("it takes no writes: is its disk full?".to_owned())
                    }
                    Ok(()) => server.contact.state(),
                }
            }
        })
        .check("serving", move || {
            let stopping = *serving.stopping.borrow();
            std::future::ready(if stopping {
                Err("the server is stopping".to_owned())
            } else {
                Ok(())
            })
        })
}

/// The endpoints of the protocol, below `/oauth`.
fn oauth_routes(cfg: &mut ServiceConfig) {
    post(cfg, "/token", oauth::issue_token);
    post(cfg, "/introspect", oauth::introspect);
    post(cfg, "/revoke", oauth::revoke);
    get(cfg, "/revocations", feed::revocations);
    get(cfg, "/authorize", oauth::authorize);
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
            .route(on(Method::POST).to(handler))
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
            .route(on(Method::GET).to(handler.clone()))
            .route(on(Method::HEAD).to(handler))
            .default_service(wrong_method("GET, HEAD")),
    );
}

/// An answer that has a secret in it, which nobody on its way is to keep.
fn uncached(answer: &impl Serialize) -> HttpResponse {
    uncached_json(serde_json::to_vec(answer).expect("an answer is JSON"))
}

/// The same of what is JSON already.
fn uncached_json(answer: impl MessageBody + 'static) -> HttpResponse {
    let json = HeaderValue::from_static("application/json");
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, json))
        .insert_header((header::CACHE_CONTROL, HeaderValue::from_static("no-store")))
        .body(answer)
}

/// Mostly it was a guess at where tokens are to be had.
async fn no_such_endpoint() -> HttpResponse {
    let detail = "there is nothing at this path: tokens are at POST /auth/oauth/token, and GET \
                  /auth/.well-known/openid-configuration names the other endpoints";
    Problem::not_found(detail).error_response()
}

/// An OAuth client expects an OAuth error, also when it used the wrong method.
fn wrong_method(allow: &'static str) -> Route {
    web::to(move || async move {
        let error =
            OAuthError::invalid_request(format!("this endpoint answers {allow}: use that method"))
                .status(StatusCode::METHOD_NOT_ALLOWED);
        let mut answer = error.error_response();
        answer
            .headers_mut()
            .insert(header::ALLOW, HeaderValue::from_static(allow));
        answer
    })
}
