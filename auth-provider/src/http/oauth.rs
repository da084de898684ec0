//! The OAuth endpoints: HTTP in, HTTP out.

use actix_web::{HttpResponse, http::header, web::Data};
use m2m::ScopeSet;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    client_auth::{Form, FromClient, audited},
    params::Params,
};
use crate::{
    audit::Action,
    error::{ErrorCode, OAuthError},
    introspection,
    own_token::OwnToken,
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
    let FromClient {
        caller,
        origin,
        form: TokenRequest::ClientCredentials(wish),
    } = request;
    let issued = match tokens::issue(&server, &caller, &origin, &wish).await {
        Ok(issued) => issued,
        Err(error) => {
            return Err(audited(&server, origin.address, TokenRequest::REFUSAL, error).await);
        }
    };
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

/// What is asked about a token. A hint at its kind is allowed and not needed: there is only one kind.
pub(super) struct AboutToken {
    token: String,
}

/// `POST /oauth/introspect`
pub(super) async fn introspect(
    server: Data<AuthServer>,
    request: FromClient<AboutToken>,
) -> Result<HttpResponse, OAuthError> {
    let known = introspection::introspect(
        &server,
        &request.caller.client,
        &request.origin,
        &request.form.token,
    )
    .await?;
    let answer = known.map_or_else(|| json!({"active": false}), |token| active(&server, &token));
    Ok(HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(answer))
}

/// `POST /oauth/revoke`
pub(super) async fn revoke(
    server: Data<AuthServer>,
    request: FromClient<AboutToken>,
) -> Result<HttpResponse, OAuthError> {
    introspection::revoke(
        &server,
        &request.caller.client,
        &request.origin,
        &request.form.token,
    )
    .await?;
    Ok(HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .finish())
}

/// RFC 7662 section 2.2.
fn active(server: &AuthServer, token: &OwnToken) -> Value {
    json!({
        "active": true,
        "iss": token.issuer(server),
        "sub": token.client_id.as_str(),
        "client_id": token.client_id.as_str(),
        "aud": token.aud.as_str(),
        "scope": token.scopes,
        "scp": token.scopes.iter().collect::<Vec<_>>(),
        "iat": token.iat,
        "nbf": token.nbf,
        "exp": token.exp,
        "jti": token.jti,
        "token_type": "Bearer",
    })
}

impl Form for AboutToken {
    fn read(params: &mut Params) -> Result<Self, OAuthError> {
        params.text("token_type_hint")?;
        let token = params.text("token")?;
        let token =
            token.ok_or_else(|| OAuthError::invalid_request("the parameter token is missing"))?;
        Ok(Self { token })
    }
}

/// `GET /oauth/authorize`: machines do not need it, but some of their libraries refuse metadata without it.
pub(super) async fn authorize() -> Result<HttpResponse, OAuthError> {
    Err(OAuthError::new(
        ErrorCode::UnsupportedResponseType,
        "there is no login here: ask the token endpoint with grant_type=client_credentials",
    ))
}

impl Form for TokenRequest {
    const REFUSAL: Option<Action> = Some(Action::TokenRefused);
    const IS_NOTED: bool = true;

    fn read(params: &mut Params) -> Result<Self, OAuthError> {
        client_credentials(params)?;
        Ok(Self::ClientCredentials(wish(params)?))
    }
}

/// Takes `grant_type`, of which there is one.
pub(super) fn client_credentials(params: &mut Params) -> Result<(), OAuthError> {
    match params.text("grant_type")?.as_deref() {
        Some("client_credentials") => Ok(()),
        Some(_) => Err(OAuthError::new(
            ErrorCode::UnsupportedGrantType,
            "this server grants client_credentials only",
        )),
        None => Err(OAuthError::invalid_request(
            "grant_type=client_credentials is missing",
        )),
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
        scopes: params.scope("scope")?,
    })
}
