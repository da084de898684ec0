//! The verifier in actix-web: a handler says in its signature which scope it demands.
//!
//! The [`Verifier`] is looked for in `app_data(web::Data::new(verifier))`. Who may not come in gets
//! an answer of RFC 6750 section 3, with an `application/problem+json` body:
//!
//! | | status | `WWW-Authenticate: Bearer realm="…"` and |
//! |---|---|---|
//! | no token | 401 | nothing more |
//! | a token that is not good | 401 | `error="invalid_token"` and why |
//! | a good token without the scope | 403 | `error="insufficient_scope"`, `scope="…"` |
//! | several tokens | 400 | `error="invalid_request"` |
//! | the issuer is needed and cannot be asked | 503 | (`Retry-After` instead) |
//!
//! ```
//! use actix_web::{App, web};
//! use m2m::{Scope, Verifier, actix::Caller};
//!
//! struct NoteRead;
//! impl Scope for NoteRead {
//!     const NAME: &'static str = "note.read";
//! }
//!
//! async fn list_notes(caller: Caller<NoteRead>) -> String {
//!     format!("the notes of {}", caller.subject())
//! }
//!
//! let verifier = Verifier::builder("https://auth.example.com").audience("notes").build()?;
//! let app = App::new()
//!     .app_data(web::Data::new(verifier))
//!     .route("/note", web::get().to(list_notes));
//! # Ok::<(), m2m::ConfigError>(())
//! ```

use std::{
    future::{Ready, ready},
    marker::PhantomData,
    ops::Deref,
    pin::Pin,
    sync::Arc,
};

use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    http::{StatusCode, header},
    web,
};
use futures_util::future::Either;
use tracing::{debug, error};
use url::form_urlencoded;

use crate::{AnyScope, Scope, TokenError, VerifiedToken, Verifier, service::Problem};

const NO_TOKEN: TokenError = TokenError::Invalid(
    "there is no token behind Bearer in the Authorization header: send `Authorization: Bearer \
     <token>`, and see that the variable with the token is not empty",
);

/// A caller whose token was verified and has the scope `S`.
#[derive(Debug)]
pub struct Caller<S: Scope = AnyScope> {
    token: Arc<VerifiedToken>,
    scope: PhantomData<fn() -> S>,
}

impl<S: Scope> Deref for Caller<S> {
    type Target = VerifiedToken;

    fn deref(&self) -> &VerifiedToken {
        &self.token
    }
}

impl<S: Scope> FromRequest for Caller<S> {
    type Error = Problem;
    /// Most tokens are judged without waiting, and so without an allocation.
    type Future =
        Either<Ready<Result<Self, Problem>>, Pin<Box<dyn Future<Output = Result<Self, Problem>>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let Some(verifier) = request.app_data::<web::Data<Verifier>>() else {
            error!("no Verifier in this server: add .app_data(web::Data::new(verifier))");
            let problem = Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the server is not set up to check tokens",
            );
            return Either::Left(ready(Err(problem)));
        };
        let refuse = |refusal| Either::Left(ready(Err(refused(refusal, verifier.audience()))));
        let token = match bearer_token(request) {
            Ok(token) => token,
            Err(refusal) => return refuse(refusal),
        };
        let awaited = match verifier.judge_at_once(token) {
            Ok(verdict) => return Either::Left(ready(answer(verdict, verifier))),
            Err(awaited) => awaited,
        };
        let (token, verifier) = (token.to_owned(), verifier.clone());
        Either::Right(Box::pin(async move {
            answer(verifier.judge_with(awaited, &token).await, &verifier)
        }))
    }
}

/// Lets in who has a good token with the scope `S`.
fn answer<S: Scope>(
    verdict: Result<Arc<VerifiedToken>, TokenError>,
    verifier: &Verifier,
) -> Result<Caller<S>, Problem> {
    verdict
        .and_then(admit)
        .map_err(|no| refused(no, verifier.audience()))
}

fn admit<S: Scope>(token: Arc<VerifiedToken>) -> Result<Caller<S>, TokenError> {
    if S::NAME.is_empty() || token.scopes().contains(S::NAME) {
        Ok(Caller {
            token,
            scope: PhantomData,
        })
    } else {
        Err(TokenError::InsufficientScope { required: S::NAME })
    }
}

/// The token of `Authorization: Bearer …`, the only place where one is taken from. One in the query
/// is no credential (RFC 9700 section 4.3.2), and beside the header it is a second transport (RFC
/// 6750 section 2).
///
/// # Errors
/// [`TokenError::Missing`], [`TokenError::Invalid`] or [`TokenError::InvalidRequest`].
pub fn bearer_token(request: &HttpRequest) -> Result<&str, TokenError> {
    let mut values = request.headers().get_all(header::AUTHORIZATION);
    let Some(value) = values.next() else {
        return Err(TokenError::Missing);
    };
    if values.next().is_some() {
        return Err(TokenError::InvalidRequest(
            "send one Authorization header, not several",
        ));
    }
    // The scheme is case-insensitive (RFC 9110 section 11.1); another scheme is not for us to
    // judge.
    let (scheme, token) = value
        .as_bytes()
        .split_at_checked(6)
        .ok_or(TokenError::Missing)?;
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Err(TokenError::Missing);
    }
    if has_token(request.query_string()) {
        return Err(TokenError::InvalidRequest(
            "send the token in the Authorization header only",
        ));
    }
    match token.strip_prefix(b" ").map(<[u8]>::trim_ascii) {
        Some(token) if !token.is_empty() => str::from_utf8(token).map_err(|_| NO_TOKEN),
        _ => Err(NO_TOKEN),
    }
}

fn has_token(query: &str) -> bool {
    const NAME: &str = "access_token";
    // Few queries have as much as the letters of the name, or one that is encoded.
    (query.contains(NAME) || query.contains('%'))
        && form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == NAME)
}

/// The answer to a refused token, as RFC 6750 section 3 has it. `realm` is the audience that the
/// token should have had.
pub fn refused(refusal: TokenError, realm: &str) -> Problem {
    debug!(audience = realm, "refused a request: {refusal}");
    let (status, error) = match refusal {
        TokenError::Missing => (StatusCode::UNAUTHORIZED, None),
        TokenError::Invalid(_) => (StatusCode::UNAUTHORIZED, Some("invalid_token")),
        TokenError::InsufficientScope { .. } => (StatusCode::FORBIDDEN, Some("insufficient_scope")),
        TokenError::InvalidRequest(_) => (StatusCode::BAD_REQUEST, Some("invalid_request")),
        TokenError::IssuerUnavailable => {
            return Problem::new(StatusCode::SERVICE_UNAVAILABLE, refusal.to_string())
                .oauth_error("temporarily_unavailable")
                .header("Retry-After", "5");
        }
    };
    let mut problem = Problem::new(status, refusal.to_string());
    let mut challenge = format!("Bearer realm=\"{realm}\"");
    if let Some(error) = error {
        problem = problem.oauth_error(error);
        let description = refusal.to_string();
        challenge.extend([
            ", error=\"",
            error,
            "\", error_description=\"",
            &description,
            "\"",
        ]);
    }
    if let TokenError::InsufficientScope { required } = refusal {
        challenge.extend([", scope=\"", required, "\""]);
    }
    problem.header("WWW-Authenticate", challenge)
}
