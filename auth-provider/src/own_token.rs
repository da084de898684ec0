//! Tokens of this server's own: what stands in them, and reading them back. Of a JWT the signature comes first, then
//! its claims; an opaque token is a reference into the store.

use jsonwebtoken::{Algorithm, Validation};
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
    Ok(read.filter(|token| token.nbf <= now && now < token.exp))
}

fn read_jwt(server: &AuthServer, token: &str) -> Option<OwnToken> {
    if token.len() > MAX_LENGTH {
        return None;
    }
    let header = jsonwebtoken::decode_header(token).ok()?;
    let key = server.keys.verifying(header.kid.as_deref()?)?;
    let mut rules = Validation::new(Algorithm::ES256);
    // The dates are checked by the clock that was handed in; the audience is any resource of this server.
    rules.validate_exp = false;
    rules.validate_aud = false;
    let claims = jsonwebtoken::decode::<Claims>(token, key, &rules)
        .ok()?
        .claims;
    if header.typ.as_deref() != Some("at+jwt") || claims.iss != server.issuer {
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
