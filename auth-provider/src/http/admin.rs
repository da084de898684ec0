//! Who administers? A handler that takes a [`FromAdmin`] names the scope that it demands, and cannot forget to
//! ask. The tokens are this server's own, so they are read with its own keys (RFC 6750 for the refusals, RFC 9457
//! for their bodies).

use std::{marker::PhantomData, pin::Pin};

use actix_web::{FromRequest, HttpRequest, dev::Payload, web::Data};
use m2m::{
    Scope, TokenError,
    actix::{bearer_token, refused},
    service::Problem,
};
use tracing::{error, info};

use super::{address::caller_address, limited};
use crate::{
    audit::Origin,
    built_in::AUDIENCE,
    own_token::{self, OwnToken},
    server::AuthServer,
};

/// Why it is not, a guesser must not learn.
const NOT_OURS: &str = "this is no living access token of this server for auth-provider";

/// A caller whose token is for this server and has the scope `S`. It can only be had from a request.
#[non_exhaustive]
pub(super) struct FromAdmin<S: Scope> {
    pub(super) token: OwnToken,
    pub(super) origin: Origin,
    scope: PhantomData<fn() -> S>,
}

impl<S: Scope> FromRequest for FromAdmin<S> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { admit(&request).await })
    }
}

async fn admit<S: Scope>(request: &HttpRequest) -> Result<FromAdmin<S>, Problem> {
    let server = request
        .app_data::<Data<AuthServer>>()
        .expect("the routes are added together with the server");
    let token = authenticate(server, request).await.map_err(answer)?;
    limited::of_client(request, &server.limits.administrators, &token.client_id)
        .map_err(limited::problem)?;
    if !token.scopes.contains(S::NAME) {
        return Err(answer(TokenError::InsufficientScope { required: S::NAME }));
    }
    let address = caller_address(request, server);
    Ok(FromAdmin {
        origin: Origin::of(Some(token.client_id.clone()), Some(address.ip())),
        token,
        scope: PhantomData,
    })
}

async fn authenticate(server: &AuthServer, request: &HttpRequest) -> Result<OwnToken, TokenError> {
    own_token::read(server, bearer_token(request)?)
        .await
        .map_err(|error| {
            error!("could not read an administrator's token: {error}");
            TokenError::IssuerUnavailable
        })?
        .filter(|token| token.aud.as_str() == AUDIENCE && !server.revocations.revokes(token))
        .ok_or(TokenError::Invalid(NOT_OURS))
}

fn answer(refusal: TokenError) -> Problem {
    info!("refused an administrator: {refusal}");
    refused(refusal, AUDIENCE).header("Cache-Control", "no-store")
}
