//! The service mesh's way: `POST /accesstoken` with a bootstrap token as the bearer and `{"target": "m2"}` answers
//! `{"accessToken": "…"}`, a token for `m2` that is good for an hour.

use std::{future::Future, pin::Pin};

use actix_web::{
    FromRequest, HttpRequest, HttpResponse, ResponseError,
    dev::Payload,
    http::StatusCode,
    middleware::from_fn,
    web::{self, Data, ServiceConfig},
};
use serde_json::json;

use crate::{
    audit::{Action, Origin},
    client::CredentialKind,
    clients::Authenticated,
    error::OAuthError,
    http::{
        address::caller_address,
        client_auth::{audited, bearer_of, read_params, refused},
        limited, uncached, wrong_method,
    },
    server::AuthServer,
    tokens::{self, Wish},
};

/// The longest life of such a token, in seconds: who cannot ask for a life of its own gets none that surprises it. A
/// grant may say less.
const HOUR: u64 = 3600;

pub(super) fn routes(cfg: &mut ServiceConfig) {
    cfg.service(
        web::resource("/accesstoken")
            .post(issue)
            .default_service(wrong_method("POST"))
            .wrap(from_fn(limited::oauth)),
    );
}

/// `POST /accesstoken`
async fn issue(
    server: Data<AuthServer>,
    request: FromBootstrap,
) -> Result<HttpResponse, OAuthError> {
    let FromBootstrap {
        caller,
        origin,
        wish,
    } = request;
    match tokens::issue_for_at_most(HOUR, &server, &caller, &origin, &wish).await {
        Ok(issued) => Ok(uncached(&json!({"accessToken": issued.access_token}))),
        Err(error) => {
            let refusal = Some(Action::TokenRefused);
            let error = audited(&server, origin.address, refusal, error).await;
            Err(unauthorized(error).for_bearer())
        }
    }
}

/// Here a target that policy forbids is 401, like a token that is not good.
fn unauthorized(error: OAuthError) -> OAuthError {
    match error.status_code() {
        StatusCode::BAD_REQUEST => error.status(StatusCode::UNAUTHORIZED),
        _ => error,
    }
}

/// What a service wishes for that proved by its bootstrap token who it is. Nothing of the body is read before that.
struct FromBootstrap {
    caller: Authenticated,
    origin: Origin,
    wish: Wish,
}

impl FromRequest for FromBootstrap {
    type Error = OAuthError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, OAuthError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, mut payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let server = request
                .app_data::<Data<AuthServer>>()
                .expect("the routes are added together with the server");
            match read(server, &request, &mut payload).await {
                Ok(read) => Ok(read),
                Err(error) => {
                    let refusal = Some(Action::TokenRefused);
                    let address = caller_address(&request, server);
                    let error = refused(server, address, refusal, error).await;
                    Err(error.for_bearer())
                }
            }
        })
    }
}

async fn read(
    server: &AuthServer,
    request: &HttpRequest,
    payload: &mut Payload,
) -> Result<FromBootstrap, OAuthError> {
    let (caller, origin) = bearer_of(server, request, CredentialKind::Bootstrap).await?;
    let target = async {
        let target = read_params(request, payload).await?.text("target")?;
        target.ok_or_else(|| {
            OAuthError::invalid_request("target is missing: name the service to call as `target`")
        })
    };
    let target = target.await.map_err(|e| e.of_client(&caller.client.id))?;
    let wish = Wish {
        resource: Some(target),
        scopes: None,
    };
    Ok(FromBootstrap {
        caller,
        origin,
        wish,
    })
}
