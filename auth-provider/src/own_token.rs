//! Tokens of this server's own: what stands in them, and reading them back. Of a JWT the signature comes first, then
//! its claims, in whichever of the [`TokenProfile`](crate::resource::TokenProfile)s; an opaque token is a reference into
//! the store.

use std::{borrow::Cow, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use m2m::ScopeSet;
use serde::Deserialize;

use crate::{
    built_in::AUDIENCE,
    client::{ClientId, CredentialId, SecretHash, is_well_formed, unguessable},
    keys::TokenType,
    known_tokens::KnownToken,
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
    /// The credential that the client obtained it with; `None` when the token does not say.
    pub credential: Option<CredentialId>,
    pub aud: ResourceId,
    pub scopes: ScopeSet,
    pub iat: u64,
    pub nbf: u64,
    pub exp: u64,
    /// A token that has none is called by what it says: [`name_of`].
    pub jti: String,
}

impl OwnToken {
    /// The issuer that it names: one that does not say how it was obtained comes from a project.
    pub fn issuer<'s>(&self, server: &'s AuthServer) -> Cow<'s, str> {
        match self.credential {
            Some(_) => Cow::Borrowed(&server.issuer),
            None => server.stytch.issuer_for(self.aud.as_str()),
        }
    }
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
    sub: String,
    aud: Audience,
    scope: ScopeSet,
    iat: u64,
    nbf: u64,
    exp: u64,
    jti: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Only([String; 1]),
}

/// A fresh opaque token: 256 random bits that mean nothing by themselves.
pub fn new_reference() -> String {
    unguessable(REFERENCE_PREFIX)
}

/// Reads a token. `None` for what is forged, of another issuer, of another kind, or has ended.
///
/// # Errors
/// When the store cannot say what an opaque token stands for.
pub async fn read(server: &AuthServer, token: &str) -> Result<Option<Arc<KnownToken>>, StoreError> {
    if token.len() > MAX_LENGTH {
        return Ok(None);
    }
    let presented = SecretHash::of(token);
    let known = server.known_tokens.get(&presented);
    // A key that was compromised is in no ring any more.
    let is_believed = |kid: &str| server.keys.ring().find(kid).is_some();
    let read = match known.filter(|known| known.kid().is_none_or(is_believed)) {
        Some(known) => Some(known),
        // In a box, so that those who know the token do not carry about what it takes to read one.
        None => Box::pin(read_anew(server, token, &presented)).await?,
    };
    let now = server.clock.now();
    Ok(read.filter(|token| token.nbf <= now + CLOCK_DIFFERENCE && now < token.exp))
}

async fn read_anew(
    server: &AuthServer,
    token: &str,
    presented: &SecretHash,
) -> Result<Option<Arc<KnownToken>>, StoreError> {
    let read = if is_well_formed(token, REFERENCE_PREFIX) {
        let token = server.store.opaque_token(presented).await?;
        token.map(|token| (token, None))
    } else {
        read_jwt(server, token).map(|(token, kid)| (token, Some(kid)))
    };
    Ok(read.map(|(token, kid)| {
        let known = Arc::new(KnownToken::new(token, kid));
        server.known_tokens.insert(presented, Arc::clone(&known));
        known
    }))
}

/// The token and the id of the key that signed it.
fn read_jwt(server: &AuthServer, token: &str) -> Option<(OwnToken, String)> {
    let (message, signature) = token.rsplit_once('.')?;
    let (header, payload) = message.split_once('.')?;
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();

    let header: Header = serde_json::from_slice(&decode(header)?).ok()?;
    let ring = server.keys.ring();
    let key = ring.find(&header.kid)?;
    // The algorithm is the key's (RFC 8725 section 3.1); the header can only agree.
    if header.alg != key.algorithm().name() {
        return None;
    }
    let typ = TokenType::parse(&header.typ)?;
    if !key.verifies(message.as_bytes(), &decode(signature)?) {
        return None;
    }
    let claims: Claims = serde_json::from_slice(&decode(payload)?).ok()?;
    let (Audience::One(aud) | Audience::Only([aud])) = claims.aud;
    // What administers this server is of the one kind that nothing else can be taken for.
    if typ == TokenType::Jwt && aud == AUDIENCE {
        return None;
    }
    let (iss, credential, jti) = match claims.jti {
        Some(jti) => (
            Cow::Borrowed(server.issuer.as_str()),
            Some(CredentialId::of_token(&jti)?),
            jti,
        ),
        // Only projects have such tokens.
        None if typ == TokenType::Jwt => (server.stytch.issuer_for(&aud), None, name_of(message)),
        None => return None,
    };
    if claims.iss != iss {
        return None;
    }
    let token = OwnToken {
        client_id: ClientId::parse(&claims.sub).ok()?,
        credential,
        aud: ResourceId::parse(&aud).ok()?,
        scopes: claims.scope,
        iat: claims.iat,
        nbf: claims.nbf,
        exp: claims.exp,
        jti,
    };
    Some((token, header.kid))
}

/// What a token without `jti` is called in the audit log and when it is taken back: the SHA-256 of what was signed, header
/// and payload. The signature is not part of it, since another one may fit as well. Two tokens with the same claims, which
/// were issued in the same second, have one name: what becomes of one becomes of the other.
pub fn name_of(signed: &str) -> String {
    URL_SAFE_NO_PAD.encode(SecretHash::of(signed).as_bytes())
}

/// By which names this server goes in tokens of the profile `stytch`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StytchIssuer(Option<String>);

impl StytchIssuer {
    /// An origin, or `None` for `stytch.com/` with the project's id.
    pub fn new(origin: Option<String>) -> Self {
        Self(origin)
    }

    /// The origin, if there is one.
    pub fn origin(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// The issuer of tokens for this project.
    pub fn issuer_for(&self, project: &str) -> Cow<'_, str> {
        match &self.0 {
            Some(origin) => Cow::Borrowed(origin),
            None => Cow::Owned(format!("stytch.com/{project}")),
        }
    }
}
