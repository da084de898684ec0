//! Reading a token that this server issued itself, with its own keys: nothing is fetched.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use m2m::ScopeSet;
use serde::Deserialize;

use crate::server::AuthServer;

/// How far the clocks of servers on one database may differ, in seconds.
const CLOCK_DIFFERENCE: u64 = 10;

/// The claims of a token that this server, or another with the same keys, issued and that has not ended. It can
/// only be had from [`read`].
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct OwnToken {
    pub iss: String,
    pub sub: String,
    pub client_id: String,
    pub aud: String,
    pub scope: ScopeSet,
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

/// The token's claims, if it was issued here, is an access token, and is good now. Whether it was revoked, and
/// for which audience it has to be, is for the caller to ask.
pub fn read(server: &AuthServer, token: &str) -> Option<OwnToken> {
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
    let token: OwnToken = serde_json::from_slice(&decode(payload)?).ok()?;
    let now = server.clock.now();
    let good = token.iss == server.issuer && token.nbf <= now + CLOCK_DIFFERENCE && now < token.exp;
    good.then_some(token)
}
