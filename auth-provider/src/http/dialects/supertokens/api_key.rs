//! Who holds this key? A handler that takes a [`FromApiKey`] names the rights that it demands, and cannot forget to ask.
//! Nothing of a stranger's request is read.

use std::{marker::PhantomData, pin::Pin};

use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    http::{StatusCode, header::HeaderMap},
    web::Data,
};
use m2m::{
    Scope,
    service::{media_type, read_body},
};

use super::answer::Refused;
use crate::{
    built_in::{ClientsRead, ClientsWrite, GrantsRead, GrantsWrite, TokensRevoke},
    client::CredentialKind,
    clients::{self, Authenticated},
    error::{ErrorCode, OAuthError},
    http::{address::caller_address, client_auth, limited, params::Params},
    registry::commit::Admin,
    server::AuthServer,
};

const API_KEY: &str = "api-key";

/// What a caller must be allowed to do, beyond being known.
pub(super) trait Rights {
    const NAMES: &'static [&'static str];
}

/// Nothing: the core decides by what is asked.
pub(super) struct Nothing;

pub(super) struct SeeClients;

pub(super) struct ChangeClients;

pub(super) struct RevokeTokens;

impl Rights for Nothing {
    const NAMES: &'static [&'static str] = &[];
}

impl Rights for SeeClients {
    const NAMES: &'static [&'static str] = &[ClientsRead::NAME, GrantsRead::NAME];
}

impl Rights for ChangeClients {
    const NAMES: &'static [&'static str] = &[ClientsWrite::NAME, GrantsWrite::NAME];
}

impl Rights for RevokeTokens {
    const NAMES: &'static [&'static str] = &[TokensRevoke::NAME];
}

/// A caller whose key is the secret of a client with these rights, and what is asked. It can only be had from a request.
#[non_exhaustive]
pub(super) struct FromApiKey<R: Rights, B = Params> {
    pub(super) caller: Authenticated,
    pub(super) admin: Admin,
    pub(super) body: B,
    rights: PhantomData<fn() -> R>,
}

/// What a handler reads of a request.
pub(super) trait Body: Sized {
    /// Whether what is asked leaves an event of its own, which tells of the use of the key.
    const IS_NOTED: bool = false;

    fn read(
        request: &HttpRequest,
        payload: &mut Payload,
    ) -> impl Future<Output = Result<Self, OAuthError>>;
}

/// What is sent is not looked at.
pub(super) struct NoBody;

/// The parameters of the URL.
pub(super) struct Query(pub(super) Params);

/// A JSON object for a token, whose event tells of the use of the key.
pub(super) struct ForToken(pub(super) Params);

impl<R: Rights, B: Body + 'static> FromRequest for FromApiKey<R, B> {
    type Error = Refused;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Refused>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, mut payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let server = request
                .app_data::<Data<AuthServer>>()
                .expect("the routes are added together with the server");
            let address = caller_address(&request, server);
            let caller = match authenticate(server, &request).await {
                Ok(caller) => caller,
                Err(error) => {
                    let error = client_auth::refused(server, address, None, error).await;
                    return Err(error.into());
                }
            };
            let admin = Admin::by_secret(&caller, address.ip(), server.clock.now());
            admin.must_have(server, R::NAMES).await?;
            if !B::IS_NOTED {
                let noted = clients::note_use(server, &caller, &admin.origin).await;
                noted.map_err(OAuthError::from)?;
            }
            Ok(Self {
                body: B::read(&request, &mut payload).await?,
                caller,
                admin,
                rights: PhantomData,
            })
        })
    }
}

/// First who it is, then whether it asks too much: a stranger has no bucket.
async fn authenticate(
    server: &AuthServer,
    request: &HttpRequest,
) -> Result<Authenticated, OAuthError> {
    let (address, kind) = (caller_address(request, server), CredentialKind::Secret);
    let key = key(request.headers())?;
    let caller = clients::authenticate_bearer(server, address, key, kind).await?;
    let client = &caller.client.id;
    limited::of_client(request, &server.limits.administrators, client)
        .map_err(|exhausted| OAuthError::from(exhausted).of_client(client))?;
    Ok(caller)
}

fn key(headers: &HeaderMap) -> Result<&str, OAuthError> {
    let mut values = headers.get_all(API_KEY);
    let key = match (values.next(), values.next()) {
        (Some(key), None) => key.to_str().ok().map(str::trim),
        _ => None,
    };
    key.filter(|key| !key.is_empty()).ok_or_else(|| {
        let why = "send the secret of a client once, in the header api-key";
        OAuthError::new(ErrorCode::InvalidClient, why)
    })
}

impl Body for NoBody {
    async fn read(_: &HttpRequest, _: &mut Payload) -> Result<Self, OAuthError> {
        Ok(Self)
    }
}

impl Body for Query {
    async fn read(request: &HttpRequest, _: &mut Payload) -> Result<Self, OAuthError> {
        Params::from_form(request.query_string().as_bytes()).map(Self)
    }
}

impl Body for Params {
    async fn read(request: &HttpRequest, payload: &mut Payload) -> Result<Self, OAuthError> {
        json(request, payload).await
    }
}

impl Body for ForToken {
    const IS_NOTED: bool = true;

    async fn read(request: &HttpRequest, payload: &mut Payload) -> Result<Self, OAuthError> {
        json(request, payload).await.map(Self)
    }
}

async fn json(request: &HttpRequest, payload: &mut Payload) -> Result<Params, OAuthError> {
    if media_type(request).as_deref() != Some("application/json") {
        let why = "send the body as JSON, with the header Content-Type: application/json";
        let error = OAuthError::invalid_request(why);
        return Err(error.status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    Params::from_json(&read_body(request, payload).await?)
}
