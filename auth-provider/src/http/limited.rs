//! Limits on the surface: 429 for who asks too much, and on every answer how much is left.

use std::borrow::Cow;

use actix_web::{
    Error, HttpMessage, HttpRequest, HttpResponse, ResponseError,
    body::{EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        StatusCode,
        header::{HeaderName, HeaderValue},
    },
    middleware::Next,
    web::Data,
};
use m2m::service::Problem;

use super::address::caller_address;
use crate::{
    client::ClientId,
    error::OAuthError,
    limits::{Buckets, Exhausted, Standing},
    server::AuthServer,
};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");

/// Where the authenticated client stands: from the handler's extractor to the answer's headers.
struct OfClient(Standing);

/// Wraps the OAuth endpoints.
pub(super) async fn oauth<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    by_address(request, next, |exhausted| {
        OAuthError::from(exhausted).error_response()
    })
    .await
}

/// Wraps the administration.
pub(super) async fn admin<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    by_address(request, next, |exhausted| {
        problem(exhausted).error_response()
    })
    .await
}

/// Takes a request out of an authenticated client's bucket, and has the answer say what is left.
pub(super) fn of_client(
    request: &HttpRequest,
    limit: &Buckets<ClientId>,
    client: &ClientId,
) -> Result<(), Exhausted> {
    if let Some(standing) = limit.take(client)? {
        request.extensions_mut().insert(OfClient(standing));
    }
    Ok(())
}

/// The refusal of an administrator who asks too much.
pub(super) fn problem(exhausted: Exhausted) -> Problem {
    let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, exhausted.to_string());
    let problem = problem.header("Cache-Control", "no-store");
    let headers = exhausted.headers().into_iter();
    headers.fold(problem, |problem, (name, value)| {
        problem.header(name, value)
    })
}

/// Takes a request out of its address's bucket. What is left is said on every answer, a refusal as `refusal` puts it.
pub(super) async fn by_address<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
    refusal: fn(Exhausted) -> HttpResponse,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let server = request
        .app_data::<Data<AuthServer>>()
        .expect("the routes are added together with the server");
    let network = caller_address(request.request(), server).network();
    match server.limits.addresses.take(&network) {
        Ok(standing) => {
            let mut answer = next.call(request).await?;
            state(&mut answer, standing);
            Ok(answer.map_into_left_body())
        }
        Err(exhausted) => {
            let answer = request.into_response(refusal(exhausted));
            Ok(answer.map_into_right_body())
        }
    }
}

/// A refusal for a limit's sake has said so itself.
fn state<B>(answer: &mut ServiceResponse<B>, of_address: Option<Standing>) {
    let of_client = answer
        .request()
        .extensions()
        .get::<OfClient>()
        .map(|OfClient(standing)| *standing);
    let standings = [of_client, of_address];
    let headers = answer.headers_mut();
    if headers.contains_key(STATE) {
        return;
    }
    for standing in standings.iter().flatten() {
        // Several lines of a list are one list (RFC 9651 section 4.2).
        let state = match standing.state() {
            Cow::Borrowed(state) => HeaderValue::from_static(state),
            Cow::Owned(state) => {
                HeaderValue::try_from(state).expect("a limit has a name of letters, and numbers")
            }
        };
        headers.append(POLICY, HeaderValue::from_static(standing.policy()));
        headers.append(STATE, state);
    }
}
