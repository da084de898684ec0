//! A token that was verified, as a type: holding one is the proof.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{
    json::{self, Object},
    jws::base64,
};
use crate::ScopeSet;

/// What a verified access token says. Only [`Verifier::verify`](super::Verifier::verify) makes one.
#[derive(Debug)]
pub struct VerifiedToken {
    pub(super) issuer: Arc<str>,
    pub(super) subject: String,
    pub(super) client_id: Option<String>,
    pub(super) audience: Arc<str>,
    pub(super) scopes: ScopeSet,
    pub(super) expires_at: u64,
    pub(super) not_before: Option<u64>,
    pub(super) issued_at: Option<u64>,
    pub(super) token_id: Option<String>,
    pub(super) key_id: Option<Arc<str>>,
    pub(super) claims: Claims,
}

impl VerifiedToken {
    /// `iss`: who issued the token, exactly as the verifier was configured. A verifier that knows
    /// only where to ask ([`Verifier::introspecting`](super::Verifier::introspecting)) has it from
    /// the answer; when that does not say it, this is where it asked.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// `sub`: whom the token is about. In the client credentials grant that is the client. Empty
    /// only where [`Verifier::introspecting`](super::Verifier::introspecting) was told neither
    /// `sub` nor `client_id`: then nobody knows, and two such tokens may be two callers.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// `client_id`: which client asked for the token (RFC 8693 section 4.3).
    pub fn client_id(&self) -> Option<&str> {
        self.client_id.as_deref()
    }

    /// The audience that this verifier checks for; the token may name others beside it.
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// What the token allows its bearer to do.
    pub fn scopes(&self) -> &ScopeSet {
        &self.scopes
    }

    /// `exp`, in seconds since the Unix epoch; a fraction is cut off. When an introspection answer
    /// does not say it, this is when the issuer is asked again.
    pub fn expires_at(&self) -> u64 {
        self.expires_at
    }

    /// `iat`, in seconds since the Unix epoch.
    pub fn issued_at(&self) -> Option<u64> {
        self.issued_at
    }

    /// `kid`: the issuer's key that the signature was verified with; `None` when the issuer was
    /// asked instead.
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// `jti`: the token's own id. The key for anything remembered about a token, since one token
    /// can be spelled in several ways.
    pub fn token_id(&self) -> Option<&str> {
        self.token_id.as_deref()
    }

    /// Any claim by its name; `None` when it is absent or does not fit `T`.
    pub fn claim<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        T::deserialize(self.claims.all().get(name)?).ok()
    }
}

/// All that a token says. Most services ask for nothing but what every token has, so the rest is read
/// when somebody does.
pub(super) struct Claims {
    /// What was signed: header, dot and payload, as they stand in the token. Empty when the issuer was asked instead.
    pub(super) signed: Box<str>,
    read: OnceLock<Map<String, Value>>,
}

impl Claims {
    /// The claims in what was `signed`, which were read before.
    pub(super) fn unread(signed: &str) -> Self {
        Self {
            signed: signed.into(),
            read: OnceLock::new(),
        }
    }

    fn all(&self) -> &Map<String, Value> {
        self.read.get_or_init(|| {
            let payload = self.signed.split('.').nth(1);
            let payload = payload.and_then(base64).unwrap_or_default();
            json::object(&payload).map(Map::from).unwrap_or_default()
        })
    }
}

impl From<Object<'_>> for Claims {
    fn from(claims: Object<'_>) -> Self {
        Self {
            signed: Box::default(),
            read: OnceLock::from(Map::from(claims)),
        }
    }
}

impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.all().fmt(f)
    }
}
