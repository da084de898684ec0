//! SuperTokens: what its core answers to the backend libraries and scripts that hold its API key. Here that key is the
//! secret of a client, who may do what the policy says.

mod answer;
mod api_key;
mod clients;
mod fields;
mod jwt;
mod tokens;

use actix_web::{
    HttpResponse, ResponseError, Route,
    middleware::from_fn,
    web::{self, ServiceConfig},
};
use serde_json::json;

use self::{
    answer::Refused,
    api_key::{FromApiKey, NoBody, Nothing},
};
use crate::http::limited;

/// The versions of the core's interface in which these paths mean what they mean here. A library takes the newest that it
/// knows, and asks before anything else.
const VERSIONS: [&str; 9] = [
    "2.21", "3.0", "3.1", "4.0", "5.0", "5.1", "5.2", "5.3", "5.4",
];

pub(super) fn routes(cfg: &mut ServiceConfig) {
    let recipe = web::scope("/recipe")
        .service(only("/jwt", web::post().to(jwt::create), "POST"))
        .service(
            web::resource("/oauth/clients")
                .route(web::get().to(clients::show))
                .route(web::post().to(clients::create))
                .route(web::put().to(clients::update))
                .default_service(wrong_method("GET, POST, PUT")),
        )
        .service(only(
            "/oauth/clients/list",
            web::get().to(clients::list),
            "GET",
        ))
        .service(only(
            "/oauth/clients/remove",
            web::post().to(clients::remove),
            "POST",
        ))
        .service(only("/oauth/token", web::post().to(tokens::issue), "POST"))
        .service(only(
            "/oauth/token/revoke",
            web::post().to(tokens::revoke),
            "POST",
        ))
        .service(only(
            "/oauth/tokens/revoke",
            web::post().to(tokens::revoke_all),
            "POST",
        ))
        .service(only(
            "/oauth/introspect",
            web::post().to(tokens::introspect),
            "POST",
        ));
    cfg.service(recipe.wrap(from_fn(|request, next| {
        limited::by_address(request, next, |exhausted| {
            Refused::from(exhausted).error_response()
        })
    })));
    cfg.service(only("/apiversion", web::get().to(versions), "GET"));
    cfg.service(only("/hello", web::get().to(hello), "GET"));
}

/// `GET /apiversion`
async fn versions(_: FromApiKey<Nothing, NoBody>) -> HttpResponse {
    HttpResponse::Ok().json(json!({"versions": VERSIONS}))
}

/// `GET /hello`: whether anybody is there. Whether all is well, `/ready` says.
async fn hello() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain")
        .body("Hello\n")
}

fn only(path: &str, route: Route, method: &'static str) -> actix_web::Resource {
    web::resource(path)
        .route(route)
        .default_service(wrong_method(method))
}

fn wrong_method(allow: &'static str) -> Route {
    web::to(move || async move { Refused::method(allow).error_response() })
}
