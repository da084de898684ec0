//! The OAuth endpoints: HTTP in, HTTP out.

use actix_web::{HttpResponse, http::header, web::Data};
use m2m::ScopeSet;
use serde::Serialize;

use super::{
    client_auth::{Form, FromClient},
    params::Params,
};
use crate::{
    error::{ErrorCode, OAuthError},
    policy::Wish,
    server::AuthServer,
    tokens,
};

/// A token request, by its `grant_type`: what this server does not grant cannot reach a handler.
pub(super) enum TokenRequest {
    /// RFC 6749 section 4.4.
    ClientCredentials(Wish),
}

/// RFC 6749 section 5.1.
#[derive(Serialize)]
struct TokenResponse {
    access_token: String,
    token_type: &'static str,
    expires_in: u64,
    scope: ScopeSet,
}

/// `POST /oauth/token`
pub(super) async fn issue_token(
    server: Data<AuthServer>,
    request: FromClient<TokenRequest>,
) -> Result<HttpResponse, OAuthError> {
    let TokenRequest::ClientCredentials(wish) = request.form;
    let issued = tokens::issue(&server, &request.client, &wish).await?;
    Ok(HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::PRAGMA, "no-cache"))
        .json(TokenResponse {
            access_token: issued.access_token,
            token_type: "Bearer",
            expires_in: issued.expires_in,
            scope: issued.scopes,
        }))
}

/// `GET /oauth/authorize`: machines do not need it, but some of their libraries refuse metadata without it.
pub(super) async fn authorize() -> Result<HttpResponse, OAuthError> {
    Err(OAuthError::new(
        ErrorCode::UnsupportedResponseType,
        "there is no login here: ask the token endpoint with grant_type=client_credentials",
    ))
}

impl Form for TokenRequest {
    fn read(params: &mut Params) -> Result<Self, OAuthError> {
        match params.text("grant_type")?.as_deref() {
            Some("client_credentials") => Ok(Self::ClientCredentials(wish(params)?)),
            Some(_) => Err(OAuthError::new(
                ErrorCode::UnsupportedGrantType,
                "this server grants client_credentials only",
            )),
            None => Err(OAuthError::invalid_request(
                "grant_type=client_credentials is missing",
            )),
        }
    }
}

/// The resource goes by RFC 8707's name or by `audience`, as many hosted products call it.
fn wish(params: &mut Params) -> Result<Wish, OAuthError> {
    let mut named = params.texts("resource")?;
    named.append(&mut params.texts("audience")?);
    named.dedup();
    if named.len() > 1 {
        return Err(OAuthError::new(
            ErrorCode::InvalidTarget,
            "a token has one audience: ask once for each resource",
        ));
    }
    Ok(Wish {
        resource: named.pop(),
        scopes: params.scope()?,
    })
}
