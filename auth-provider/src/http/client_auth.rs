//! Who sends this form? A handler that takes a [`FromClient`] cannot forget to ask.

use std::{
    future::Future,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, LazyLock},
};

use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    http::header::{self, HeaderMap, HeaderValue},
    web::Data,
};
use base64::{
    Engine,
    engine::{Simd, general_purpose::PAD_INDIFFERENT},
};
use m2m::{
    TokenError,
    actix::bearer_token,
    service::{media_type, read_body},
};

use super::{
    address::caller_address,
    limited,
    params::{Params, form_decode},
};
use crate::{
    address::CallerAddress,
    audit::{Action, Origin},
    client::{ClientRecord, CredentialKind, is_secret},
    clients::{self, Authenticated},
    error::{ErrorCode, OAuthError},
    server::AuthServer,
};

/// A form together with the client that was authenticated as its sender. It can only be had from a request.
#[non_exhaustive]
pub(super) struct FromClient<F> {
    pub(super) caller: Authenticated,
    pub(super) origin: Origin,
    pub(super) form: F,
}

/// A form that can be read from parameters.
pub(super) trait Form: Sized {
    /// What the audit log calls it when the form is refused; `None` where that is nothing to keep.
    const REFUSAL: Option<Action> = None;

    /// Whether what is asked leaves an event of its own, which tells of the use of the credential.
    const IS_NOTED: bool = false;

    /// Whether the client's secret comes in the body only. A header that authenticates is somebody else's then.
    const SECRET_IN_BODY: bool = false;

    fn read(params: &mut Params) -> Result<Self, OAuthError>;
}

impl<F: Form + 'static> FromRequest for FromClient<F> {
    type Error = OAuthError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, OAuthError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, mut payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let server = request
                .app_data::<Data<AuthServer>>()
                .expect("the routes are added together with the server");
            let outcome = match read_params(&request, &mut payload).await {
                Ok(params) => authenticated(server, &request, request.headers(), params).await,
                Err(error) => Err(error),
            };
            Self::of(server, &request, outcome).await
        })
    }
}

impl<F: Form> FromClient<F> {
    /// What has to be noted of a client that was authenticated, or of one that was refused.
    async fn of(
        server: &AuthServer,
        request: &HttpRequest,
        outcome: Result<(Authenticated, F), OAuthError>,
    ) -> Result<Self, OAuthError> {
        let address = caller_address(request, server);
        match outcome {
            Ok((caller, form)) => {
                let origin = Origin::of(Some(caller.client.id.clone()), Some(address.ip()));
                if !F::IS_NOTED {
                    clients::note_use(server, &caller, &origin).await?;
                }
                Ok(Self {
                    caller,
                    origin,
                    form,
                })
            }
            // In a box, since it takes more room than all the rest.
            Err(error) => Err(Box::pin(refused(server, address, F::REFUSAL, error)).await),
        }
    }
}

/// The same of a form that somebody sends on for a client, with the `Authorization` that the client sent.
pub(super) async fn sent_on<F: Form>(
    server: &AuthServer,
    request: &HttpRequest,
    authorization: Option<&str>,
    params: Params,
) -> Result<FromClient<F>, OAuthError> {
    let mut headers = HeaderMap::new();
    if let Some(value) = authorization {
        // What is no header is none that authenticates anybody.
        let value = HeaderValue::from_str(value);
        let value = value.unwrap_or_else(|_| HeaderValue::from_static(""));
        headers.insert(header::AUTHORIZATION, value);
    }
    let outcome = authenticated(server, request, &headers, params).await;
    FromClient::of(server, request, outcome).await
}

async fn authenticated<F: Form>(
    server: &AuthServer,
    request: &HttpRequest,
    headers: &HeaderMap,
    mut params: Params,
) -> Result<(Authenticated, F), OAuthError> {
    let nothing = HeaderMap::new();
    let headers = if F::SECRET_IN_BODY { &nothing } else { headers };
    let credentials = credentials(headers, &mut params)?;
    let caller = authenticate(server, request, &credentials).await?;
    let form = F::read(&mut params).map_err(|error| error.of_client(&caller.client.id))?;
    Ok((caller, form))
}

/// Puts a refusal into the audit log. Strangers cannot fill it: they have no more refusals than a guesser has.
pub(super) async fn refused(
    server: &AuthServer,
    address: CallerAddress,
    action: Option<Action>,
    error: OAuthError,
) -> OAuthError {
    if error.is_of_a_stranger()
        && let Err(exhausted) = server.limits.failures.count_stranger(address.network())
    {
        return exhausted.into();
    }
    audited(server, Some(address.ip()), action, error).await
}

/// Puts a refusal into the audit log: as `action`, or as a failed authentication if it is one. When the log takes nothing
/// just now, that is the answer.
pub(super) async fn audited(
    server: &AuthServer,
    address: Option<IpAddr>,
    action: Option<Action>,
    error: OAuthError,
) -> OAuthError {
    let action = if error.is_failed_authentication() {
        Some(Action::AuthenticationFailed)
    } else {
        action
    };
    let event = action.and_then(|action| error.event(action, server.clock.now(), address));
    match event {
        None => error,
        Some(event) => match server.journal.note(event).await {
            Ok(()) => error,
            Err(behind) => behind.into(),
        },
    }
}

/// Who sends a request that has no form: the client in its `Authorization` header.
pub(super) async fn client_of(
    server: &AuthServer,
    request: &HttpRequest,
) -> Result<Arc<ClientRecord>, OAuthError> {
    let address = caller_address(request, server);
    let outcome = async {
        let credentials = credentials(request.headers(), &mut Params::default())?;
        authenticate(server, request, &credentials).await
    };
    match outcome.await {
        Ok(caller) => {
            let origin = Origin::of(Some(caller.client.id.clone()), Some(address.ip()));
            clients::note_use(server, &caller, &origin).await?;
            Ok(caller.client)
        }
        Err(error) => Err(refused(server, address, None, error).await),
    }
}

/// First who it is, then whether it asks too much: a stranger has no bucket.
async fn authenticate(
    server: &AuthServer,
    request: &HttpRequest,
    Credentials { id, secret }: &Credentials,
) -> Result<Authenticated, OAuthError> {
    let address = caller_address(request, server);
    let caller = clients::authenticate(server, address, id, secret).await;
    let caller = caller.map_err(|refusal| refusal.looks_like(slip(id, secret)))?;
    within_limits(server, request, caller)
}

/// What people get wrong when they hand credentials on, as far as what they sent shows it by itself. A secret may have
/// these marks and be right, so this is asked only of what was refused.
fn slip(id: &str, secret: &str) -> Option<&'static str> {
    let quotes = ['"', '\''];
    if is_secret(id) {
        Some("the client id is a secret: are id and secret swapped?")
    } else if secret.trim() != secret {
        Some("the client secret begins or ends with a blank or a line break: send it without")
    } else if secret.starts_with(quotes) || secret.ends_with(quotes) {
        Some("the client secret stands in quotes: send it without them")
    } else {
        None
    }
}

fn within_limits(
    server: &AuthServer,
    request: &HttpRequest,
    caller: Authenticated,
) -> Result<Authenticated, OAuthError> {
    let client = &caller.client.id;
    limited::of_client(request, &server.limits.clients, client)
        .map_err(|exhausted| OAuthError::from(exhausted).of_client(client))?;
    Ok(caller)
}

/// Who sends a request that has nothing but a bearer of this kind to say so, in its `Authorization` header.
pub(super) async fn bearer_of(
    server: &AuthServer,
    request: &HttpRequest,
    kind: CredentialKind,
) -> Result<(Authenticated, Origin), OAuthError> {
    let bearer = bearer_token(request).map_err(|error| match error {
        TokenError::InvalidRequest(what) => OAuthError::invalid_request(what),
        _ => OAuthError::new(
            ErrorCode::InvalidClient,
            "send the token in the header Authorization: Bearer",
        ),
    })?;
    let address = caller_address(request, server);
    let caller = clients::authenticate_bearer(server, address, bearer, kind).await?;
    let caller = within_limits(server, request, caller)?;
    let origin = Origin::of(Some(caller.client.id.clone()), Some(address.ip()));
    Ok((caller, origin))
}

/// The parameters of a body, as a form or as JSON.
pub(super) async fn read_params(
    request: &HttpRequest,
    payload: &mut Payload,
) -> Result<Params, OAuthError> {
    // A URL ends up in logs and histories (RFC 6749 section 2.3.1): better to refuse than to read half.
    if !request.query_string().is_empty() {
        return Err(OAuthError::invalid_request(
            "send the parameters in the body: this endpoint reads none from the URL",
        ));
    }
    let media_type = media_type(request);
    let read = match media_type.as_deref() {
        Some("application/x-www-form-urlencoded") => Params::from_form,
        Some("application/json") => Params::from_json,
        _ => {
            return Err(OAuthError::invalid_request(
                "send the body as application/x-www-form-urlencoded or application/json, in UTF-8",
            ));
        }
    };
    read(&read_body(request, payload).await?)
}

struct Credentials {
    id: String,
    secret: String,
}

/// RFC 6749 section 2.3: a client uses one method per request.
fn credentials(headers: &HeaderMap, params: &mut Params) -> Result<Credentials, OAuthError> {
    let id_in_body = params.text_also("client_id", "clientId")?;
    let secret_in_body = params.text_also("client_secret", "clientSecret")?;
    if params.text("client_assertion")?.is_some() || params.text("client_assertion_type")?.is_some()
    {
        return Err(OAuthError::invalid_request(
            "client_assertion is not supported: authenticate with the client secret alone",
        ));
    }
    let mut authorizations = headers.get_all(header::AUTHORIZATION);
    match (authorizations.next(), authorizations.next()) {
        (Some(_), Some(_)) => Err(OAuthError::invalid_request(
            "there are two Authorization headers: send one",
        )),
        (Some(_), None) if secret_in_body.is_some() => Err(OAuthError::invalid_request(
            "the client authenticates twice: send either an Authorization header or client_secret",
        )),
        (Some(header), None) => {
            let basic = basic(header.as_bytes()).ok_or_else(|| {
                OAuthError::new(
                    ErrorCode::InvalidClient,
                    "the Authorization header is not of the form Basic base64(client_id:client_secret)",
                )
            })?;
            match id_in_body {
                Some(id) if id != basic.id => Err(OAuthError::invalid_request(
                    "client_id in the body is not the one in the Authorization header",
                )),
                _ => Ok(basic),
            }
        }
        (None, _) => match (id_in_body, secret_in_body) {
            (Some(id), Some(secret)) => Ok(Credentials { id, secret }),
            _ => Err(OAuthError::new(
                ErrorCode::InvalidClient,
                "authenticate the client: Basic authentication, or client_id and client_secret in \
                 the body",
            )),
        },
    }
}

/// Padding is left to the client: some cut it off.
static BASE64: LazyLock<Simd> = LazyLock::new(|| Simd::standard(PAD_INDIFFERENT));

/// Reads `Basic base64(id:secret)`, in which both halves are form-encoded (RFC 6749 section 2.3.1).
fn basic(header: &[u8]) -> Option<Credentials> {
    let (id, secret) = basic_halves(header)?;
    Some(Credentials {
        id: form_decode(id).ok()?,
        secret: form_decode(secret).ok()?,
    })
}

/// Reads `Basic base64(id:secret)` as RFC 7617 has it, without any encoding of the halves.
pub(super) fn basic_halves(header: &[u8]) -> Option<(String, String)> {
    let (scheme, encoded) = str::from_utf8(header).ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = BASE64.decode(encoded.trim_matches(' ')).ok()?;
    let mut id = String::from_utf8(decoded).ok()?;
    let colon = id.find(':')?;
    let secret = id.split_off(colon + 1);
    id.truncate(colon);
    Some((id, secret))
}

#[cfg(test)]
mod tests {
    use m2m::testing::{Change, meddled};

    use super::*;

    #[test]
    fn basic_credentials_are_form_decoded() {
        for (header, expected) in [
            ("Basic YTpi", Some(("a", "b"))),                     // a:b
            ("bAsIc  YTpi ", Some(("a", "b"))),                   // case and blanks
            ("Basic bXklMkRpZDphJTNBYg", Some(("my-id", "a:b"))), // my%2Did:a%3Ab, padding cut off
            ("Basic YTpiOmM=", Some(("a", "b:c"))),               // the first colon separates
            ("Basic Og==", Some(("", ""))),
            ("Basic YQ==", None), // no colon
            ("Basic ", None),
            ("Basic", None),
            ("Basic !!!", None),
            ("Basic /zo=", None), // 0xff is no UTF-8
            ("Bearer YTpi", None),
            ("", None),
        ] {
            let read = basic(header.as_bytes()).map(|c| (c.id, c.secret));
            let read = read
                .as_ref()
                .map(|(id, secret)| (id.as_str(), secret.as_str()));
            assert_eq!(read, expected, "{header:?}");
        }
    }

    #[test]
    fn fuzz_a_header_that_is_taken_says_the_same_when_it_is_written_again() {
        let good = b"Basic YmlsbGluZyUzQTE6YSUyQmIrYyUyNWQ=";
        assert!(basic(good).is_some());
        bolero::check!()
            .with_generator(bolero::produce::<Vec<Change>>().with().len(1_usize..6))
            .for_each(|changes| {
                let Some(read) = basic(&meddled(good, changes)) else {
                    return;
                };
                let encode = |text: &str| {
                    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>()
                };
                let halves = format!("{}:{}", encode(&read.id), encode(&read.secret));
                let again = basic(format!("Basic {}", BASE64.encode(halves)).as_bytes());
                let again = again.expect("what was read can be written");
                assert_eq!((again.id, again.secret), (read.id, read.secret));
            });
    }
}
