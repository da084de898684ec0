//! `POST /v1/public/{project}/oauth2/token`: HTTP in, HTTP out. The client's secret comes in the body. Some libraries send
//! the project's own in a header with every request; here it means nothing and is not looked at.

use std::{future::Future, pin::Pin};

use actix_web::{
    FromRequest, HttpRequest, HttpResponse,
    dev::Payload,
    http::header,
    web::{Data, Path},
};
use m2m::ScopeSet;
use serde_json::json;

use super::{
    super::super::{
        client_auth::{Form, FromClient, audited},
        oauth::client_credentials,
        params::Params,
    },
    answer,
    error::TokenRefused,
};
use crate::{audit::Action, error::OAuthError, projects, server::AuthServer};

/// A client of some project, and what it asks for. It can only be had from a request.
pub(super) struct FromM2mClient(FromClient<TokenRequest>);

/// What is not understood is ignored (RFC 6749 section 3.2): libraries let their callers add to the body.
pub(super) struct TokenRequest {
    scopes: Option<ScopeSet>,
}

/// `POST /v1/public/{project}/oauth2/token`
pub(super) async fn issue(
    server: Data<AuthServer>,
    project: Path<String>,
    FromM2mClient(request): FromM2mClient,
) -> Result<HttpResponse, TokenRefused> {
    let FromClient {
        caller,
        origin,
        form,
        ..
    } = request;
    let issued = projects::issue(&server, &caller, &origin, &project, form.scopes).await;
    let issued = match issued {
        Ok(issued) => issued,
        Err(error) => {
            return Err(TokenRefused(
                audited(&server, origin.address, TokenRequest::REFUSAL, error).await,
            ));
        }
    };
    let members = json!({
        "access_token": issued.access_token,
        "token_type": "bearer",
        "expires_in": issued.expires_in,
        "scope": issued.scopes,
    });
    let mut answer = answer(origin.request_id(), members);
    let no_cache = header::HeaderValue::from_static("no-cache");
    answer.headers_mut().insert(header::PRAGMA, no_cache);
    Ok(answer)
}

impl FromRequest for FromM2mClient {
    type Error = TokenRefused;
    type Future = Pin<Box<dyn Future<Output = Result<Self, TokenRefused>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let request = FromClient::from_request(request, payload);
        Box::pin(async move { request.await.map(Self).map_err(TokenRefused) })
    }
}

impl Form for TokenRequest {
    const REFUSAL: Option<Action> = Some(Action::TokenRefused);
    const IS_NOTED: bool = true;
    const SECRET_IN_BODY: bool = true;

    fn read(params: &mut Params) -> Result<Self, OAuthError> {
        client_credentials(params)?;
        let scopes = params.scope("scope")?;
        // The library for Rust has a list of this name; who asks for little there must not get everything.
        let listed = params.scope("scopes")?;
        Ok(Self {
            scopes: scopes.or(listed),
        })
    }
}
