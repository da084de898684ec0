//! Tokens of this server's own: what stands in them, and reading them back. Of a JWT the signature comes first, then
//! its claims; an opaque token is a reference into the store.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use m2m::ScopeSet;
use serde::Deserialize;

use crate::{
    client::{ClientId, CredentialId, SecretHash, is_well_formed, unguessable},
    resource::ResourceId,
    server::AuthServer,
    storage::StoreError,
};

/// Longer texts are nobody's access token, in bytes.
const MAX_LENGTH: usize = 16 * 1024;

/// How far the clocks of servers on one database may differ, in seconds.
const CLOCK_DIFFERENCE: u64 = 10;

const REFERENCE_PREFIX: &str = "m2mt_";

/// What a token says, whichever way it is carried. It may have been revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnToken {
    pub client_id: ClientId,
    /// The credential that the client obtained it with.
    pub credential: CredentialId,
    pub aud: ResourceId,
    pub scopes: ScopeSet,
    pub iat: u64,
    pub nbf: u64,
    pub exp: u64,
    pub jti: String,
}

/// The header as this server writes it, and nothing besides: a token that demands more is not from here.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    kid: String,
    typ: String,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    client_id: String,
    aud: String,
    scope: ScopeSet,
    iat: u64,
    nbf: u64,
    exp: u64,
    jti: String,
}

/// A fresh opaque token: 256 random bits that mean nothing by themselves.
pub fn new_reference() -> String {
    unguessable(REFERENCE_PREFIX)
}

/// Reads a token. `None` for what is forged, of another issuer, of another kind, or has ended.
///
/// # Errors
/// When the store cannot say what an opaque token stands for.
pub async fn read(server: &AuthServer, token: &str) -> Result<Option<OwnToken>, StoreError> {
    let read = if is_well_formed(token, REFERENCE_PREFIX) {
        server.store.opaque_token(&SecretHash::of(token)).await?
    } else {
        read_jwt(server, token)
    };
    let now = server.clock.now();
    Ok(read.filter(|token| token.nbf <= now + CLOCK_DIFFERENCE && now < token.exp))
}

fn read_jwt(server: &AuthServer, token: &str) -> Option<OwnToken> {
    if token.len() > MAX_LENGTH {
        return None;
    }
    let (message, signature) = token.rsplit_once('.')?;
    let (header, payload) = message.split_once('.')?;
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();

    let header: Header = serde_json::from_slice(&decode(header)?).ok()?;
    let ring = server.keys.ring();
    let key = ring.find(&header.kid)?;
    // The algorithm is the key's (RFC 8725 section 3.1); the header can only agree.
    if header.alg != key.algorithm().name() || header.typ != "at+jwt" {
        return None;
    }
    if !key.verifies(message.as_bytes(), &decode(signature)?) {
        return None;
    }
    let claims: Claims = serde_json::from_slice(&decode(payload)?).ok()?;
    if claims.iss != server.issuer {
        return None;
    }
    Some(OwnToken {
        client_id: ClientId::parse(&claims.client_id).ok()?,
        credential: CredentialId::of_token(&claims.jti)?,
        aud: ResourceId::parse(&claims.aud).ok()?,
        scopes: claims.scope,
        iat: claims.iat,
        nbf: claims.nbf,
        exp: claims.exp,
        jti: claims.jti,
    })
}
