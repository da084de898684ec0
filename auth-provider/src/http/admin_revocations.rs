//! Taking back more than one token.

use actix_web::{
    FromRequest, HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Payload},
};
use m2m::service::{JsonBody, Problem};
use tracing::{error, warn};

use super::admin::FromAdmin;
use crate::{
    administration::{self, Failure},
    built_in::TokensRevoke,
    server::AuthServer,
};

/// `POST /admin/v1/revocations`
pub(super) async fn revoke(
    admin: FromAdmin<TokensRevoke>,
    server: Data<AuthServer>,
    request: HttpRequest,
    body: Payload,
) -> Result<HttpResponse, Problem> {
    let JsonBody(wish) = JsonBody::from_request(&request, &mut body.into_inner()).await?;
    let revoked = administration::revoke_all(&server, &admin.origin, wish)
        .await
        .map_err(problem)?;
    warn!(client = %admin.token.client_id, ?revoked, "took tokens back");
    Ok(HttpResponse::NoContent().finish())
}

pub(super) fn problem(failure: Failure) -> Problem {
    match failure {
        Failure::Unclear => Problem::bad_request(failure.to_string()),
        Failure::NoSuchClient => Problem::not_found(failure.to_string()).field("client_id"),
        Failure::Key(_) | Failure::Store(_) => {
            error!("could not take back: {:#}", anyhow::Error::from(failure));
            let detail =
                "the server cannot keep this just now, and nothing was taken back: try again";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).header("Retry-After", "1")
        }
    }
}
