//! Tokens to order: good ones, and every kind of bad one.

use aws_lc_rs::{
    hmac, rand,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};

use super::server::Inner;

/// A token that is about to be minted. Without further words it is good for an hour and for the
/// audience `test-service`, is about `test-client`, and has no scope.
#[must_use = "end with .mint()"]
pub struct TestToken<'a> {
    issuer: &'a Inner,
    header: Map<String, Value>,
    claims: Map<String, Value>,
    signature: Signature,
}

enum Signature {
    Genuine,
    None,
    PublicKeyAsSecret,
    UnknownKey,
}

impl<'a> TestToken<'a> {
    pub(super) fn new(issuer: &'a Inner) -> Self {
        let now = issuer.now();
        let token = Self {
            issuer,
            header: Map::new(),
            claims: Map::new(),
            signature: Signature::Genuine,
        };
        token
            .header("alg", "ES256")
            .header("typ", "at+jwt")
            .header("kid", issuer.key_id())
            .claim("iss", issuer.url.as_str())
            .claim("iat", now)
            .claim("nbf", now)
            .claim("jti", random_id())
            .subject("test-client")
            .audience("test-service")
            .expires_in(3600)
    }

    /// Sets `sub` and `client_id`.
    pub fn subject(self, subject: &str) -> Self {
        self.claim("sub", subject).claim("client_id", subject)
    }

    /// Sets `aud`.
    pub fn audience(self, audience: &str) -> Self {
        self.claim("aud", audience)
    }

    /// Sets `scope`, a text with spaces between the scopes.
    pub fn scope(self, scope: &str) -> Self {
        self.claim("scope", scope)
    }

    /// Sets `exp`, in seconds from now; below zero the token has expired.
    pub fn expires_in(self, seconds: i64) -> Self {
        let exp = self.issuer.now().saturating_add_signed(seconds);
        self.claim("exp", exp)
    }

    /// Sets any claim to anything.
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// Leaves a claim out.
    pub fn without_claim(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// Sets any member of the header to anything; `null` leaves it out.
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        match value.into() {
            Value::Null => self.header.remove(name),
            value => self.header.insert(name.to_owned(), value),
        };
        self
    }

    /// A forgery: `alg` is `none`, and there is no signature.
    pub fn alg_none(mut self) -> Self {
        self.signature = Signature::None;
        self.header("alg", "none")
    }

    /// A forgery: signed with the issuer's public key, as if that were a shared secret.
    pub fn hs256_with_public_key(mut self) -> Self {
        self.signature = Signature::PublicKeyAsSecret;
        self.header("alg", "HS256")
    }

    /// A forgery: signed with a key that the issuer does not have, under a `kid` of its own.
    pub fn unknown_key(mut self) -> Self {
        self.signature = Signature::UnknownKey;
        let id = random_id();
        self.header("kid", id)
    }

    /// Writes and signs the token.
    pub fn mint(self) -> String {
        let header = Value::Object(self.header).to_string();
        let claims = Value::Object(self.claims).to_string();
        match self.signature {
            Signature::Genuine => self.issuer.sign(&header, &claims),
            Signature::None => join(&header, &claims, |_| Vec::new()),
            Signature::PublicKeyAsSecret => join(&header, &claims, |message| {
                let secret = hmac::Key::new(hmac::HMAC_SHA256, &self.issuer.public_key());
                hmac::sign(&secret, message).as_ref().to_vec()
            }),
            Signature::UnknownKey => SigningKey::new().sign(&header, &claims),
        }
    }
}

/// A P-256 key of the issuer.
pub(super) struct SigningKey {
    pub(super) id: String,
    pair: EcdsaKeyPair,
}

impl SigningKey {
    pub(super) fn new() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
        Self {
            id: random_id(),
            pair: pair.expect("a key can be made"),
        }
    }

    /// The uncompressed point.
    pub(super) fn public(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    pub(super) fn jwk(&self) -> Value {
        let (x, y) = self.public()[1..].split_at(32);
        json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.id,
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        })
    }

    pub(super) fn sign(&self, header: &str, claims: &str) -> String {
        join(header, claims, |message| {
            let signature = self.pair.sign(&rand::SystemRandom::new(), message);
            signature
                .expect("a P-256 key signs anything")
                .as_ref()
                .to_vec()
        })
    }
}

fn join(header: &str, claims: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let message = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(claims)
    );
    let signature = URL_SAFE_NO_PAD.encode(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

fn random_id() -> String {
    let mut bytes = [0; 12];
    rand::fill(&mut bytes).expect("the system has randomness");
    URL_SAFE_NO_PAD.encode(bytes)
}
