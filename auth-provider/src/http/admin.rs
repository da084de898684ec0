//! Who administers? A handler that takes a [`FromAdmin`] names the scope that it demands, and cannot forget to
//! ask. The tokens are this server's own, so they are read with its own keys (RFC 6750 for the refusals, RFC 9457
//! for their bodies).

use std::{marker::PhantomData, pin::Pin};

use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    http::{StatusCode, header},
    web::Data,
};
use m2m::{Scope, service::Problem};
use tracing::{error, info};
use url::form_urlencoded;

use crate::{
    built_in::AUDIENCE,
    own_token::{self, OwnToken},
    server::AuthServer,
};

/// A caller whose token is for this server and has the scope `S`. It can only be had from a request.
#[non_exhaustive]
pub(super) struct FromAdmin<S: Scope> {
    pub(super) token: OwnToken,
    scope: PhantomData<fn() -> S>,
}

impl<S: Scope> FromRequest for FromAdmin<S> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { admit(&request).await.map_err(|no| no.answer(S::NAME)) })
    }
}

/// RFC 6750 section 3.1.
#[derive(Clone, Copy)]
enum Refusal {
    Missing,
    InvalidRequest(&'static str),
    InvalidToken,
    InsufficientScope,
    /// The store cannot say what an opaque token stands for.
    Unavailable,
}

async fn admit<S: Scope>(request: &HttpRequest) -> Result<FromAdmin<S>, Refusal> {
    let server = request
        .app_data::<Data<AuthServer>>()
        .expect("the routes are added together with the server");
    let token = own_token::read(server, bearer_token(request)?)
        .await
        .map_err(|error| {
            error!("could not read an administrator's token: {error}");
            Refusal::Unavailable
        })?
        .filter(|token| token.aud.as_str() == AUDIENCE && !server.revocations.revokes(token))
        .ok_or(Refusal::InvalidToken)?;
    if !token.scopes.contains(S::NAME) {
        return Err(Refusal::InsufficientScope);
    }
    Ok(FromAdmin {
        token,
        scope: PhantomData,
    })
}

/// The token of `Authorization: Bearer …`, the only place where one is taken from.
fn bearer_token(request: &HttpRequest) -> Result<&str, Refusal> {
    let mut values = request.headers().get_all(header::AUTHORIZATION);
    let value = values.next().ok_or(Refusal::Missing)?;
    if values.next().is_some() {
        return Err(Refusal::InvalidRequest(
            "send one Authorization header, not several",
        ));
    }
    let mut query = form_urlencoded::parse(request.query_string().as_bytes());
    if query.any(|(name, _)| name == "access_token") {
        return Err(Refusal::InvalidRequest(
            "send the token in the Authorization header only",
        ));
    }
    let value = value.to_str().map_err(|_| Refusal::InvalidToken)?;
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        None if value.eq_ignore_ascii_case("bearer") => Err(Refusal::InvalidToken),
        _ => Err(Refusal::Missing), // another scheme is not for us to judge
    }
}

impl Refusal {
    fn answer(self, scope: &'static str) -> Problem {
        let (status, error, detail) = match self {
            Self::Missing => (
                StatusCode::UNAUTHORIZED,
                None,
                format!("send an access token for {AUDIENCE} with the scope {scope}"),
            ),
            Self::Unavailable => {
                let detail = "the server cannot reach its data just now: try again in a moment";
                return Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
                    .header("Retry-After", "1");
            }
            Self::InvalidRequest(what) => (
                StatusCode::BAD_REQUEST,
                Some("invalid_request"),
                what.to_owned(),
            ),
            // Why it is not good, a guesser must not learn.
            Self::InvalidToken => (
                StatusCode::UNAUTHORIZED,
                Some("invalid_token"),
                format!("this is no living access token of this server for {AUDIENCE}"),
            ),
            Self::InsufficientScope => (
                StatusCode::FORBIDDEN,
                Some("insufficient_scope"),
                format!("the token does not have the scope {scope}"),
            ),
        };
        info!(scope, error, "refused an administrator: {detail}");
        let mut challenge = format!("Bearer realm=\"{AUDIENCE}\"");
        if let Some(error) = error {
            challenge.extend([
                ", error=\"",
                error,
                "\", error_description=\"",
                &detail,
                "\"",
            ]);
        }
        if matches!(self, Self::InsufficientScope) {
            challenge.extend([", scope=\"", scope, "\""]);
        }
        let mut problem = Problem::new(status, detail)
            .header("WWW-Authenticate", challenge)
            .header("Cache-Control", "no-store");
        if let Some(error) = error {
            problem = problem.oauth_error(error);
        }
        problem
    }
}
