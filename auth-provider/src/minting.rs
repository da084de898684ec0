//! Tokens whose contents a caller writes: decided by the same policy as any other, and then signed.
//!
//! What a caller may write is what nobody else relies on. Who the token is about, for whom it is and for how long, the
//! server says, and so it does of all that tells a resource server what the token's holder may do.
//!
//! To be known is enough for a token in one's own name. In the name of another it takes the scope [`TokensMint`]: who has
//! it can act as anybody, though only where that client may call anyway, and never at this server itself.

use std::{collections::BTreeMap, sync::Arc};

use m2m::{Scope, ScopeSet};
use serde_json::{Map, Value};

use crate::{
    audit::{Action, Event, Origin},
    built_in::{AUDIENCE, TokensMint},
    claim_names::{ABOUT_THE_HOLDER, SERVERS_OWN},
    client::{ClientId, ClientRecord, ClientStatus},
    clients::Authenticated,
    error::{ErrorCode, OAuthError},
    explain,
    metadata::Metadata,
    policy::Wish,
    resource::{TokenFormat, TokenProfile},
    server::AuthServer,
    tokens::{self, Terms},
};

/// No claim, but what some libraries write among them: it belongs into the header, where the server writes it.
const KEY_ID: &str = "kid";

/// Claims that say what a token's holder may do beyond his scopes (RFC 9068 section 2.2.3, RFC 9396 section 9.1).
const RIGHTS: [&str; 4] = ["roles", "groups", "entitlements", "authorization_details"];

/// How long the caller's own claims may be as JSON, in bytes: a token that verifiers refuse for its length is of no use.
const MOST_BYTES: usize = 8 * 1024;

/// What a caller wants signed.
pub struct MintWish {
    /// Who it is about (`sub`), for whom (`aud`), with which `scope` or `scp`, and what else it says.
    pub payload: Map<String, Value>,
    /// In seconds. It may be cut short.
    pub validity: u64,
    /// As JOSE names it, in whichever case.
    pub algorithm: String,
}

/// What comes of it.
pub enum Minted {
    Token(String),
    /// The resource's tokens are signed with another algorithm.
    UnsupportedAlgorithm,
}

/// The payload, taken apart.
struct Payload {
    /// `None` is the caller itself.
    sub: Option<String>,
    wish: Wish,
    claims: Metadata,
}

/// Signs what the caller wrote, if the policy allows such a token. It lives as long as is wished, as the resource's tokens
/// do, and as [`AuthServer::max_jwt_validity`] says, whichever is the shortest.
///
/// # Errors
/// `invalid_request` for what no token can say; the policy's refusal; that this caller may not have it in that name; or
/// that the server cannot sign or note it just now.
pub async fn mint(
    server: &AuthServer,
    caller: &Authenticated,
    origin: &Origin,
    wish: MintWish,
) -> Result<Minted, OAuthError> {
    let minted = try_to_mint(server, caller, origin, wish).await;
    minted.map_err(|error| error.of_client(&caller.client.id)) // who tried, whoever it was about
}

async fn try_to_mint(
    server: &AuthServer,
    caller: &Authenticated,
    origin: &Origin,
    MintWish {
        payload,
        validity,
        algorithm,
    }: MintWish,
) -> Result<Minted, OAuthError> {
    if validity == 0 {
        let why = "validity is how many seconds the token is to live: write 1 or more";
        return Err(OAuthError::invalid_request(why));
    }
    let Payload { sub, wish, claims } = Payload::read(payload)?;
    let subject = subject(server, caller, sub.as_deref()).await?;
    let allowed = tokens::allowed(server, &subject, &wish).await;
    let allowed = allowed.map_err(OAuthError::forbidden)?;
    let grant = allowed.grant;
    if grant.resource.as_str() == AUDIENCE {
        let why = "a token for this server itself is had from the token endpoint only";
        return Err(OAuthError::new(ErrorCode::InvalidTarget, why).forbidden());
    }
    if grant.token_format == TokenFormat::Opaque || grant.token_profile == TokenProfile::Stytch {
        let why = "this resource's tokens have no claims of a caller's own: ask the token endpoint";
        return Err(OAuthError::new(ErrorCode::InvalidTarget, why).forbidden());
    }
    if !grant.signing_alg.name().eq_ignore_ascii_case(&algorithm) {
        let (id, resource, name) = (&caller.client.id, &grant.resource, grant.signing_alg.name());
        let why =
            format!("{id} wants another algorithm: tokens for {resource} are signed with {name}");
        let (action, now) = (Action::TokenRefused, server.clock.now());
        let event = Event::refused(action, now, origin, "unsupported_algorithm", why);
        let event = event.client(id).resource(resource);
        server.journal.note(event).await?;
        return Ok(Minted::UnsupportedAlgorithm);
    }
    let terms = Terms {
        credential: caller.credential,
        longest: validity.min(server.max_jwt_validity),
        claims,
    };
    let issued = tokens::issue_with(server, &subject, &allowed, terms, origin).await?;
    Ok(Minted::Token(issued.access_token))
}

impl Payload {
    fn read(mut payload: Map<String, Value>) -> Result<Self, OAuthError> {
        let sub = match payload.remove("sub") {
            None => None,
            Some(Value::String(sub)) => Some(sub),
            Some(_) => {
                return Err(OAuthError::invalid_request(
                    "payload.sub must be one string",
                ));
            }
        };
        let resource = match payload.remove("aud") {
            None => None,
            Some(Value::String(aud)) => Some(aud),
            Some(Value::Array(mut all)) if all.len() == 1 && all[0].is_string() => {
                all.pop().and_then(|aud| aud.as_str().map(str::to_owned))
            }
            Some(_) => {
                let why = "payload.aud must name one resource: ask once for each";
                return Err(OAuthError::new(ErrorCode::InvalidTarget, why));
            }
        };
        let scopes = match (
            scopes(payload.remove("scope"))?,
            scopes(payload.remove("scp"))?,
        ) {
            (Some(scope), Some(scp)) if scope != scp => {
                let why = "payload.scope and payload.scp do not say the same";
                return Err(OAuthError::new(ErrorCode::InvalidScope, why));
            }
            // What the caller does not write is not in the token.
            (first, second) => first.or(second).unwrap_or_default(),
        };
        for name in SERVERS_OWN.into_iter().chain([KEY_ID]) {
            payload.remove(name);
        }
        let mut nobodys = ABOUT_THE_HOLDER.iter().chain(&RIGHTS);
        if let Some(name) = nobodys.find(|name| payload.contains_key(**name)) {
            let why = format!("payload.{name} says what a token's holder may do: leave it out");
            return Err(OAuthError::invalid_request(why));
        }
        let claims: BTreeMap<String, Value> = payload.into_iter().collect();
        let bytes = serde_json::to_vec(&claims).expect("what was read can be written");
        if bytes.len() > MOST_BYTES {
            let why = format!("the payload is too long: {MOST_BYTES} bytes of own claims fit");
            return Err(OAuthError::invalid_request(why));
        }
        Ok(Self {
            sub,
            wish: Wish {
                resource,
                scopes: Some(scopes),
            },
            claims,
        })
    }
}

/// Scopes separated by spaces, or as a list.
fn scopes(claim: Option<Value>) -> Result<Option<ScopeSet>, OAuthError> {
    let read = match claim {
        None => return Ok(None),
        Some(Value::String(text)) => text.parse(),
        Some(Value::Array(tokens)) => {
            let tokens = tokens
                .iter()
                .map(|token| token.as_str().unwrap_or_default());
            ScopeSet::from_tokens(tokens)
        }
        Some(_) => {
            let why = "payload.scope and payload.scp are a string or a list of strings";
            return Err(OAuthError::new(ErrorCode::InvalidScope, why));
        }
    };
    let scopes: Result<ScopeSet, _> = read;
    let scopes =
        scopes.map_err(|error| OAuthError::new(ErrorCode::InvalidScope, error.to_string()));
    scopes.map(Some)
}

/// Whom the token is about: the caller, or another whom it may speak for.
async fn subject(
    server: &AuthServer,
    caller: &Authenticated,
    sub: Option<&str>,
) -> Result<Arc<ClientRecord>, OAuthError> {
    let own = &caller.client;
    let Some(sub) = sub.filter(|sub| *sub != own.id.as_str()) else {
        return Ok(Arc::clone(own));
    };
    if !own.may(AUDIENCE, TokensMint::NAME, server.clock.now()) {
        let why = format!(
            "payload.sub is not the client whose secret this is, which needs a grant for {AUDIENCE} with {} then",
            TokensMint::NAME
        );
        return Err(OAuthError::new(ErrorCode::UnauthorizedClient, why).forbidden());
    }
    let nobody = || {
        let why = "payload.sub is not the id of an active client";
        let told = explain::no_such_client();
        let error = OAuthError::new(ErrorCode::UnauthorizedClient, why).forbidden();
        error.because(told.code, told.sentence)
    };
    let id = ClientId::parse(sub).map_err(|_| nobody())?;
    let record = if let Some(record) = server.directory.known(&id) {
        server.metrics.found_in_memory();
        record
    } else {
        let reading = server.directory.read(&id);
        let fresh = server.metrics.read_client(reading).await?;
        let fresh = fresh.ok_or_else(nobody)?;
        server.directory.remember(&fresh);
        fresh.record
    };
    if record.status == ClientStatus::Inactive {
        let told = explain::inactive(&id);
        return Err(nobody().because(told.code, told.sentence));
    }
    Ok(record)
}
