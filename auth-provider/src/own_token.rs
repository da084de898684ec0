//! Reading a token that this server issued: its signature first, then its claims.

use jsonwebtoken::{Algorithm, Validation};
use m2m::ScopeSet;
use serde::Deserialize;

use crate::{
    client::{ClientId, CredentialId},
    resource::ResourceId,
    server::AuthServer,
};

/// Longer texts are nobody's access token, in bytes.
const MAX_LENGTH: usize = 16 * 1024;

/// The claims of a token that this server signed and that has not ended. It may have been revoked.
#[derive(Clone, Debug)]
#[non_exhaustive]
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

/// Reads a token. `None` for what is forged, of another issuer, of another kind, or has ended.
pub fn read(server: &AuthServer, token: &str) -> Option<OwnToken> {
    if token.len() > MAX_LENGTH {
        return None;
    }
    let header = jsonwebtoken::decode_header(token).ok()?;
    let key = server.keys.verifying(header.kid.as_deref()?)?;
    let mut rules = Validation::new(Algorithm::ES256);
    // The dates are checked below, by the clock that was handed in; the audience is any resource of this server.
    rules.validate_exp = false;
    rules.validate_aud = false;
    let claims = jsonwebtoken::decode::<Claims>(token, key, &rules)
        .ok()?
        .claims;
    let now = server.clock.now();
    let is_access_token = header.typ.as_deref() == Some("at+jwt");
    let lives = claims.nbf <= now && now < claims.exp;
    if !is_access_token || !lives || claims.iss != server.issuer {
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
