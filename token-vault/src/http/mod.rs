//! The HTTP surface: which path asks for which scope, and what it answers.
//!
//! | path | scope | |
//! |---|---|---|
//! | `POST /{service}` | `tokens.write` | keeps tokens |
//! | `GET /{service}?user=…&connection=…` | `tokens.read` | a good access token |
//! | `GET /{service}/all?user=…` | `tokens.read` | one for each connection of the user, in pages |
//! | `GET /{service}/status` | `tokens.read` | connections and how they are, without secrets, in pages |
//! | `DELETE /{service}?user=…&connection=…` | `tokens.delete` | forgets one |
//! | `DELETE /{service}/all?user=…` | `tokens.delete` | forgets all of a user at the service |
//! | `DELETE /all?user=…` | `tokens.delete`, of all services | forgets the user |
//! | `GET /audit` | `audit.read` | who saw what |
//!
//! A scope that begins with a service and a colon, `github:tokens.read`, allows it for that service only. What is wrong with a
//! request is said in an RFC 9457 body, what is wrong with its token in the way of RFC 6750.

mod answers;
mod audit;
mod bodies;
mod caller;
mod older;
mod page;
mod query;
mod removal;
mod status;
mod tokens;

use std::sync::Arc;

use actix_web::{
    HttpResponse,
    http::{Method, header},
    web::{self, Data, ServiceConfig},
};
use m2m::service::{Problem, method_not_allowed, on};
use prometheus_client::registry::Registry;
use tracing::{error, warn};

use crate::{
    limits::Limits,
    metrics,
    own_keys::{KEY_SET_MAX_AGE, OwnKeys},
    provider::Providers,
    signed::Signers,
    storage::StoreError,
    vault::{Vault, VaultError},
};

/// What requests reach.
pub struct Server {
    pub vault: Arc<Vault>,
    pub providers: Providers,
    /// Applications that sign their requests.
    pub signers: Signers,
    /// The vault's own name at the issuer of its callers' tokens.
    pub audience: String,
    pub own_keys: Arc<OwnKeys>,
    pub limits: Limits,
    /// The issuer of the JWTs that the vault signs.
    pub issuer: String,
}

/// The name of a service. What [`Service`](crate::connection::Service) does not take names none.
const SERVICE: &str = "{service}";

/// All routes. `older_shape`: those of before as well.
pub fn routes(cfg: &mut ServiceConfig, server: Data<Server>, older_shape: bool) {
    if older_shape {
        cfg.service(
            web::resource(format!("/service/{SERVICE}"))
                .route(on(Method::POST).to(older::store))
                .default_service(method_not_allowed("POST")),
        )
        .service(
            web::resource(format!("/service/{SERVICE}/one"))
                .route(on(Method::GET).to(older::one))
                .default_service(method_not_allowed("GET")),
        )
        .service(
            web::resource(format!("/service/{SERVICE}/all"))
                .route(on(Method::GET).to(older::all))
                .default_service(method_not_allowed("GET")),
        );
    }
    cfg.app_data(server)
        .route("/.well-known/jwks.json", web::get().to(key_set))
        .route("/metrics", web::get().to(serve_metrics))
        .service(
            web::resource("/audit")
                .route(on(Method::GET).to(audit::list))
                .default_service(method_not_allowed("GET")),
        )
        .service(
            web::resource("/all")
                .route(on(Method::DELETE).to(removal::forget_user))
                .default_service(method_not_allowed("DELETE")),
        )
        .service(
            web::resource(format!("/{SERVICE}"))
                .route(on(Method::GET).to(tokens::fetch))
                .route(on(Method::POST).to(tokens::store))
                .route(on(Method::DELETE).to(removal::forget))
                .default_service(method_not_allowed("DELETE, GET, POST")),
        )
        .service(
            web::resource(format!("/{SERVICE}/all"))
                .route(on(Method::GET).to(tokens::fetch_all))
                .route(on(Method::DELETE).to(removal::forget_all))
                .default_service(method_not_allowed("DELETE, GET")),
        )
        .service(
            web::resource(format!("/{SERVICE}/status"))
                .route(on(Method::GET).to(status::list))
                .default_service(method_not_allowed("GET")),
        );
}

async fn key_set(server: Data<Server>) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((
            header::CACHE_CONTROL,
            format!("public, max-age={KEY_SET_MAX_AGE}"),
        ))
        .json(server.own_keys.key_set())
}

/// There are no names of users in it; who must not see it, a proxy in front keeps out.
async fn serve_metrics(
    server: Data<Server>,
    common: Data<Registry>,
) -> Result<HttpResponse, Problem> {
    let desk = &server.vault.desk;
    let attention = desk.store.attention().await.map_err(VaultError::from)?;
    let metrics = &server.vault.metrics;
    metrics.set_in_memory(server.vault.in_memory());
    let text = metrics.text(&attention, desk.clock.now_ms(), &common);
    let mut answer = HttpResponse::Ok();
    answer.insert_header((header::CACHE_CONTROL, "no-store"));
    Ok(answer.content_type(metrics::CONTENT_TYPE).body(text))
}

impl From<VaultError> for Problem {
    fn from(error: VaultError) -> Self {
        use actix_web::http::StatusCode;
        let unavailable = |detail: &str, retry_after: u64| {
            Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
                .oauth_error("temporarily_unavailable")
                .header("Retry-After", retry_after.to_string())
        };
        match &error {
            VaultError::NotFound => Self::not_found(error.to_string()),
            VaultError::NeedsReconnect(broken) => {
                Self::new(StatusCode::CONFLICT, error.to_string())
                    .oauth_error("needs_reconnect")
                    .header("Vault-Reason", broken.as_str())
            }
            VaultError::NotNow { retry_after, .. } => {
                unavailable(&error.to_string(), (*retry_after).max(1))
            }
            VaultError::Behind(_) => {
                warn!("refused a request: {error}");
                unavailable("the vault is held up: try again in a second", 1)
            }
            VaultError::Store(StoreError::TooMuch) => {
                Self::new(StatusCode::BAD_REQUEST, StoreError::TooMuch.to_string())
            }
            VaultError::Store(_) | VaultError::Look(_) | VaultError::Kek(_) => {
                error!("cannot answer a request: {:#}", anyhow::Error::from(error));
                unavailable(
                    "the vault cannot reach what it needs: try again in a few seconds",
                    5,
                )
            }
        }
    }
}
