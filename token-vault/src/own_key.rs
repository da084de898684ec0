//! The key that the vault signs its own answers with, and its public part as it is published.
//!
//! The first server to start makes it; all replicas share it, sealed in the store.

use anyhow::{Context, bail};
use aws_lc_rs::{
    digest,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::{
    connection::identity_of,
    envelope::{self, OpenError},
    refresh::Desk,
    rewrap::rewrapped,
};

/// The place that the key is sealed for.
fn place() -> Vec<u8> {
    identity_of(&["own key"])
}

/// A P-256 key pair that signs JWTs with ES256.
pub(crate) struct OwnKey {
    pair: EcdsaKeyPair,
    kid: String,
    public: Value,
}

impl OwnKey {
    /// Opens the key in the store, or makes the first one.
    ///
    /// # Errors
    /// When the key-encryption key does not open it, or store or key cannot be used.
    pub(crate) async fn open(desk: &Desk) -> anyhow::Result<Self> {
        loop {
            if let Some(envelope) = desk.store.own_key().await? {
                let private = match envelope::open(&desk.ring, &envelope, &place()).await {
                    Ok(private) => private,
                    Err(OpenError::Mismatch) => {
                        bail!("the vault's own key in the database is damaged")
                    }
                    Err(OpenError::Kek(error)) => return Err(error.into()),
                };
                if envelope.kek != *desk.ring.current() {
                    let new = rewrapped(&desk.ring, &envelope, &place()).await?;
                    desk.store.set_own_key(Some(&envelope), &new).await?; // a replica may have been faster
                }
                return Self::from_pkcs8(&private)
                    .context("the vault's own key in the database is damaged");
            }
            let private = new_private_key()?;
            let envelope = envelope::seal(&desk.ring, &private, &place()).await?;
            desk.store.set_own_key(None, &envelope).await?; // read again: a replica may have been faster
        }
    }

    fn from_pkcs8(private: &[u8]) -> Option<Self> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, private).ok()?;
        // An uncompressed point (SEC 1 section 2.3.3): 4, x, y.
        let (x, y) = pair.public_key().as_ref().get(1..)?.split_at_checked(32)?;
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        // RFC 7638: the required members in the order of their names, without blanks.
        let thumbprint = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let kid = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, thumbprint.as_bytes()));
        let public = json!({
            "kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": kid, "use": "sig", "alg": "ES256",
        });
        Some(Self { pair, kid, public })
    }

    /// The key set as it is published (RFC 7517).
    pub(crate) fn key_set(&self) -> Value {
        json!({"keys": [self.public]})
    }

    /// Signs claims as a JWT. Its `typ` keeps it from passing as an access token.
    pub(crate) fn sign(&self, claims: &impl Serialize) -> String {
        let header = json!({"alg": "ES256", "kid": self.kid, "typ": "token-vault+jwt"});
        let claims =
            Zeroizing::new(serde_json::to_vec(claims).expect("claims are texts and numbers"));
        let mut token = URL_SAFE_NO_PAD.encode(header.to_string());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(&*claims, &mut token);
        let signature = self.pair.sign(&SystemRandom::new(), token.as_bytes());
        let signature =
            signature.expect("signing with a valid key fails only when the random generator does");
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.as_ref(), &mut token);
        token
    }
}

/// In PKCS#8, version 1.
fn new_private_key() -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let made = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
        .and_then(|pair| Ok(pair.to_pkcs8v1()?.as_ref().to_vec()));
    made.map(Zeroizing::new).context("cannot make a key")
}
