//! The HTTP surface: which path is open, and which asks for a token. `/health`, `/ready` and
//! `/metrics` are laid out beside it.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{self, Data, Json, ServiceConfig},
};
use m2m::{VerifiedToken, service::metrics_resource};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{guard::Guard, refusal::Refusal};

/// All routes.
pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(
        web::scope("")
            .service(
                web::resource("/public")
                    .get(public)
                    .route(web::head().to(public))
                    .default_service(web::to(another_method)),
            )
            .service(
                web::resource("/protected")
                    .get(protected)
                    .route(web::head().to(protected))
                    .default_service(web::to(another_method)),
            )
            .service(metrics_resource())
            .default_service(web::to(nothing)),
    );
}

async fn public() -> Json<Value> {
    Json(json!({"message": "anybody may read this"}))
}

async fn protected(request: HttpRequest, guard: Data<Guard>) -> Result<Json<Admitted>, Refusal> {
    let token = guard.admit(&request).await?;
    Ok(Json(Admitted::from(&*token)))
}

/// What an admitted caller reads: how this service sees it.
#[derive(Debug, Serialize)]
struct Admitted {
    /// The client that the token was issued to; `null` if the provider does not say.
    client: Option<String>,
    /// Everything that the token allows, also what is not needed here.
    scopes: Vec<String>,
    /// When the token ends, in seconds since the Unix epoch; `null` if the provider does not say.
    expires_at: Option<u64>,
}

impl From<&VerifiedToken> for Admitted {
    fn from(token: &VerifiedToken) -> Self {
        let subject = Some(token.subject()).filter(|subject| !subject.is_empty());
        let says_its_end = token.claim::<Value>("exp").is_some();
        Self {
            client: token.client_id().or(subject).map(str::to_owned),
            scopes: token.scopes().iter().map(str::to_owned).collect(),
            expires_at: says_its_end.then(|| token.expires_at()),
        }
    }
}

async fn nothing() -> HttpResponse {
    HttpResponse::NotFound().json(json!({
        "error": "not_found",
        "error_description": "there is nothing at this path",
    }))
}

async fn another_method() -> HttpResponse {
    HttpResponse::MethodNotAllowed()
        .insert_header((header::ALLOW, "GET, HEAD"))
        .json(json!({
            "error": "method_not_allowed",
            "error_description": "this path answers GET and HEAD",
        }))
}
