//! Who administers? A handler that takes a [`FromAdmin`] names the scope that it demands, and cannot forget to ask.
//! Nothing of a stranger's request is read. The tokens are this server's own, so they are read with its own keys (RFC
//! 6750 for the refusals, RFC 9457 for their bodies).

use std::{marker::PhantomData, pin::Pin, sync::Arc};

use actix_web::{
    FromRequest, HttpRequest, HttpResponse,
    dev::Payload,
    http::{
        StatusCode,
        header::{self, HeaderName},
    },
    web::{Bytes, Data},
};
use m2m::{
    Scope, TokenError,
    actix::{bearer_token, refused},
    service::{Problem, media_type, read_body, read_object},
};
use serde::de::DeserializeOwned;
use tracing::{error, info};

use super::{
    super::{address::caller_address, limited},
    etag,
    listing::parameters,
};
use crate::{
    audit::{Action, Event, Origin},
    built_in::AUDIENCE,
    known_tokens::KnownToken,
    own_token,
    registry::{
        Version,
        commit::{Admin, Created, Expected, Idempotency, Refusal},
    },
    server::AuthServer,
};

/// Why it is not, a guesser must not learn.
const NOT_OURS: &str = "this is no living access token of this server for auth-provider";

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A caller whose token is for this server and has the scope `S`, and what is asked. It can only be had from a request.
#[non_exhaustive]
pub(in crate::http) struct FromAdmin<S: Scope, B = NoBody> {
    pub(in crate::http) admin: Admin,
    /// From `If-Match`.
    pub(super) expected: Expected,
    /// From `Idempotency-Key`.
    pub(in crate::http) idempotency: Option<Idempotency>,
    pub(in crate::http) body: B,
    scope: PhantomData<fn() -> S>,
}

/// A body that a handler understands.
pub(in crate::http) trait Body: Sized {
    /// Whether the query is read, too. Where it is not, there must be none: it would be ignored without a word.
    const WITH_QUERY: bool = false;

    /// Reads it, and says what was read.
    fn read(
        request: &HttpRequest,
        payload: &mut Payload,
    ) -> impl Future<Output = Result<(Self, Bytes), Problem>>;
}

/// What is sent is not looked at.
pub(in crate::http) struct NoBody;

/// The same of a list, whose handler reads the query.
pub(super) struct OnlyQuery;

/// A JSON object.
pub(super) struct Json<T>(pub(super) T);

/// JSON that is read elsewhere.
pub(in crate::http) struct JsonText(pub(in crate::http) Bytes);

/// A JSON object, or nothing at all, which is the empty object.
pub(super) struct MaybeJson<T>(pub(super) T);

impl<S: Scope, B: Body + 'static> FromRequest for FromAdmin<S, B> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, mut payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let admin = admit::<S>(&request).await?;
            let expected = expected(&request);
            if !B::WITH_QUERY {
                no_query(&request)?;
            }
            let (body, bytes) = B::read(&request, &mut payload).await?;
            Ok(Self {
                expected,
                idempotency: idempotency(&request, &admin, &bytes)?,
                admin,
                body,
                scope: PhantomData,
            })
        })
    }
}

async fn admit<S: Scope>(request: &HttpRequest) -> Result<Admin, Problem> {
    let server = request
        .app_data::<Data<AuthServer>>()
        .expect("the routes are added together with the server");
    let address = Some(caller_address(request, server).ip());
    let outcome = authenticated(server, request).await;
    if let Ok(token) = &outcome {
        limited::of_client(request, &server.limits.administrators, &token.client_id)
            .map_err(limited::problem)?;
    }
    let (client, refusal) = match outcome {
        Ok(token) if token.scopes.contains(S::NAME) => {
            return Ok(Admin {
                origin: Origin::of(Some(token.client_id.clone()), address),
                scopes: token.scopes.clone(),
            });
        }
        Ok(token) => {
            let refusal = TokenError::InsufficientScope { required: S::NAME };
            (Some(token.client_id.clone()), refusal)
        }
        Err(refusal) => (None, refusal),
    };
    if let TokenError::Invalid(_) = &refusal {
        let network = caller_address(request, server).network();
        let counted = server.limits.failures.count_stranger(network);
        counted.map_err(limited::problem)?;
    }
    info!("refused an administrator: {refusal}");
    note(server, Origin::of(client, address), &refusal).await?;
    Err(refused(refusal, AUDIENCE))
}

async fn authenticated(
    server: &AuthServer,
    request: &HttpRequest,
) -> Result<Arc<KnownToken>, TokenError> {
    let token = own_token::read(server, bearer_token(request)?)
        .await
        .map_err(|error| {
            error!("could not read an administrator's token: {error}");
            TokenError::IssuerUnavailable
        })?
        .filter(|token| token.aud.as_str() == AUDIENCE && !server.revocations.revokes(token))
        .ok_or(TokenError::Invalid(NOT_OURS))?;
    if server.contact.is_away() {
        return Err(TokenError::IssuerUnavailable); // nothing can be read or changed
    }
    Ok(token)
}

/// Who came with a token that is not good enough leaves a trace, too.
async fn note(server: &AuthServer, origin: Origin, refusal: &TokenError) -> Result<(), Problem> {
    let reason = match refusal {
        TokenError::InsufficientScope { .. } => "insufficient_scope",
        // Nobody tried anything, or it is not the caller's doing.
        TokenError::Missing | TokenError::IssuerUnavailable => return Ok(()),
        _ => "invalid_token",
    };
    let now = server.clock.now();
    let event = Event::refused(
        Action::AdminRefused,
        now,
        &origin,
        reason,
        refusal.to_string(),
    );
    let noted = server.journal.note(event).await;
    noted.map_err(|behind| Refusal::from(behind).into())
}

/// `If-Match` (RFC 9110 section 13.1.1): `*`, or a list of entity tags. A weak one, or what is none, matches nothing.
fn expected(request: &HttpRequest) -> Expected {
    let mut values = request.headers().get_all(header::IF_MATCH).peekable();
    if values.peek().is_none() {
        return Expected::Any;
    }
    let mut versions = Vec::new();
    for value in values {
        if value == "*" {
            return Expected::Any;
        }
        let tags = value.to_str().unwrap_or_default().split(',');
        versions.extend(tags.filter_map(|tag| {
            let tag = tag.trim_matches([' ', '\t']);
            let version = tag.strip_prefix('"')?.strip_suffix('"')?;
            Some(Version::from_text(version))
        }));
    }
    Expected::OneOf(versions)
}

fn no_query(request: &HttpRequest) -> Result<(), Problem> {
    match parameters(request.query_string())?.into_iter().next() {
        None => Ok(()),
        Some((name, _)) => Err(
            Problem::bad_request("there are no parameters in the query here").unknown_field(&name),
        ),
    }
}

fn idempotency(
    request: &HttpRequest,
    admin: &Admin,
    body: &[u8],
) -> Result<Option<Idempotency>, Problem> {
    let mut keys = request.headers().get_all(IDEMPOTENCY_KEY);
    let Some(key) = keys.next() else {
        return Ok(None);
    };
    let is_key = |key: &str| {
        (1..=255).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let key = key.to_str().ok().filter(|key| is_key(key));
    let (Some(key), None) = (key, keys.next()) else {
        let detail = "write Idempotency-Key once, as 1 to 255 visible ASCII characters";
        return Err(Problem::bad_request(detail).field("Idempotency-Key"));
    };
    let what = format!("{} {}", request.method(), request.path());
    Ok(Some(Idempotency::of(admin, key, &what, body)))
}

impl Body for NoBody {
    async fn read(_: &HttpRequest, _: &mut Payload) -> Result<(Self, Bytes), Problem> {
        Ok((Self, Bytes::new()))
    }
}

impl Body for OnlyQuery {
    const WITH_QUERY: bool = true;

    async fn read(_: &HttpRequest, _: &mut Payload) -> Result<(Self, Bytes), Problem> {
        Ok((Self, Bytes::new()))
    }
}

impl<T: DeserializeOwned> Body for Json<T> {
    async fn read(request: &HttpRequest, payload: &mut Payload) -> Result<(Self, Bytes), Problem> {
        let bytes = json(request, payload).await?;
        Ok((Self(read_object(&bytes)?), bytes))
    }
}

impl Body for JsonText {
    async fn read(request: &HttpRequest, payload: &mut Payload) -> Result<(Self, Bytes), Problem> {
        let bytes = json(request, payload).await?;
        Ok((Self(bytes.clone()), bytes))
    }
}

impl<T: DeserializeOwned + Default> Body for MaybeJson<T> {
    async fn read(request: &HttpRequest, payload: &mut Payload) -> Result<(Self, Bytes), Problem> {
        if !request.headers().contains_key(header::CONTENT_TYPE) {
            let bytes = bytes(request, payload).await?;
            if bytes.is_empty() {
                return Ok((Self(T::default()), bytes));
            }
            return Err(not_json());
        }
        let bytes = json(request, payload).await?;
        Ok((Self(read_object(&bytes)?), bytes))
    }
}

/// A body that calls itself JSON; a change may call itself a merge patch (RFC 7396), which it is.
async fn json(request: &HttpRequest, payload: &mut Payload) -> Result<Bytes, Problem> {
    let patch = request.method() == "PATCH";
    match media_type(request).as_deref() {
        Some("application/json") => bytes(request, payload).await,
        Some("application/merge-patch+json") if patch => bytes(request, payload).await,
        _ => Err(not_json()),
    }
}

fn not_json() -> Problem {
    let detail = "send the body as JSON, with the header `Content-Type: application/json`";
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
}

async fn bytes(request: &HttpRequest, payload: &mut Payload) -> Result<Bytes, Problem> {
    let body = read_body(request, payload).await;
    body.map_err(|error| Problem::new(error.status(), error.to_string()))
}

/// `201`, with the place where the thing is.
pub(in crate::http) fn created(created: &Created) -> HttpResponse {
    let mut answer = HttpResponse::Created();
    answer.insert_header((header::LOCATION, created.location.as_str()));
    if let Some(version) = &created.version {
        answer.insert_header(etag(version));
    }
    answer.json(&created.body)
}

/// The answer to who is refused.
impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.to_string();
        let (status, field) = match refusal {
            Refusal::NotFound { field, .. } => (StatusCode::NOT_FOUND, field),
            Refusal::Conflict { field, .. } => (StatusCode::CONFLICT, field),
            Refusal::TooMuch { field, .. } => (StatusCode::CONFLICT, Some(field)),
            Refusal::Changed => (StatusCode::PRECONDITION_FAILED, Some("If-Match")),
            Refusal::Forbidden(_) => (StatusCode::FORBIDDEN, None),
            Refusal::KeyReused => (StatusCode::UNPROCESSABLE_ENTITY, Some("Idempotency-Key")),
            Refusal::Busy | Refusal::Store(_) | Refusal::Journal(_) | Refusal::Sealed => {
                error!("could not administer: {:#}", anyhow::Error::from(refusal));
                let detail =
                    "the server cannot keep this just now, and nothing was changed: try again";
                return Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
                    .header("Retry-After", "1");
            }
        };
        let problem = Problem::new(status, detail);
        match field {
            Some(field) => problem.field(field),
            None => problem,
        }
    }
}
