//! Taking back more than one token.

use actix_web::{HttpResponse, http::StatusCode, web::Data};
use m2m::service::Problem;
use tracing::{error, warn};

use super::from_admin::{FromAdmin, Json};
use crate::{
    administration::{self, Failure, Wish},
    built_in::TokensRevoke,
    client::ClientId,
    server::AuthServer,
};

/// `POST /admin/v1/revocations`
pub(super) async fn revoke(
    request: FromAdmin<TokensRevoke, Json<Wish>>,
    server: Data<AuthServer>,
) -> Result<HttpResponse, Problem> {
    let (Json(wish), origin) = (request.body, request.admin.origin);
    let revoked = administration::revoke_all(&server, &origin, wish)
        .await
        .map_err(problem)?;
    warn!(
        client = origin.actor.as_ref().map(ClientId::as_str),
        ?revoked,
        "took tokens back"
    );
    Ok(HttpResponse::NoContent().finish())
}

pub(super) fn problem(failure: Failure) -> Problem {
    match failure {
        Failure::Unclear => Problem::bad_request(failure.to_string()),
        Failure::NoSuchClient => Problem::not_found(failure.to_string()).field("client_id"),
        Failure::NoSuchResource => Problem::not_found(failure.to_string()).field("resource"),
        Failure::Key(_) | Failure::Store(_) => {
            error!("could not take back: {:#}", anyhow::Error::from(failure));
            let detail =
                "the server cannot keep this just now, and nothing was taken back: try again";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).header("Retry-After", "1")
        }
    }
}
