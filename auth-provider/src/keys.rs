//! Signing keys: made here, kept sealed in the store, held parsed in memory, published as a key set.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey,
    jwk::{Jwk, KeyAlgorithm, PublicKeyUse, ThumbprintHash},
};
use serde::Serialize;
use serde_json::json;
use zeroize::Zeroizing;

use crate::{
    document::Document,
    master_key::{MasterKey, WrongKey},
};

/// How long others may keep the key set, in seconds. A new key is announced for longer than this before it
/// signs.
const KEY_SET_MAX_AGE: u32 = 300;

/// A signing key as the store keeps it: the private part is sealed under the master key, for its kid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredKey {
    pub kid: String,
    pub sealed_private: Vec<u8>,
    pub created_at: u64,
}

/// A key pair that signs access tokens with ES256 (RFC 7518 section 3.4).
pub struct SigningKey {
    pair: EcdsaKeyPair,
    public: Jwk,
    kid: String,
    /// The header of every token that this key signs, encoded once.
    encoded_header: String,
}

/// Why a stored key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error(
        "the master key does not open the signing key {kid}: start with the master key that this \
         database was made with"
    )]
    WrongMasterKey { kid: String },
    #[error("the signing key {kid} in the database is damaged: restore it from a backup")]
    Damaged { kid: String },
}

impl SigningKey {
    /// Makes a new key pair, and what the store is to keep of it.
    pub fn generate(master: &MasterKey, now: u64) -> (Self, StoredKey) {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .expect("the system's random generator works");
        let private = Zeroizing::new(
            pair.to_pkcs8v1()
                .expect("a fresh key can be written")
                .as_ref()
                .to_vec(),
        );
        let key = Self::from_pkcs8(&private).expect("what was just written can be read");
        let stored = StoredKey {
            sealed_private: master.seal(&private, &key.kid),
            kid: key.kid.clone(),
            created_at: now,
        };
        (key, stored)
    }

    /// Opens a key from the store.
    pub fn open(stored: &StoredKey, master: &MasterKey) -> Result<Self, KeyError> {
        let kid = || stored.kid.clone();
        let private = master
            .open(&stored.sealed_private, &stored.kid)
            .map_err(|WrongKey| KeyError::WrongMasterKey { kid: kid() })?;
        Self::from_pkcs8(&private)
            .filter(|key| key.kid == stored.kid)
            .ok_or_else(|| KeyError::Damaged { kid: kid() })
    }

    fn from_pkcs8(private: &[u8]) -> Option<Self> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, private).ok()?;
        let mut public =
            Jwk::from_encoding_key(&EncodingKey::from_ec_der(private), Algorithm::ES256).ok()?;
        let kid = public.thumbprint(ThumbprintHash::SHA256).ok()?; // RFC 7638
        public.common.key_id = Some(kid.clone());
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        public.common.key_algorithm = Some(KeyAlgorithm::ES256);
        // `at+jwt` keeps an access token from passing as any other kind of JWT (RFC 9068 section 2.1).
        let header = json!({"alg": "ES256", "kid": kid, "typ": "at+jwt"});
        let encoded_header = URL_SAFE_NO_PAD.encode(header.to_string());
        Some(Self {
            pair,
            public,
            kid,
            encoded_header,
        })
    }

    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Signs claims into a JWT in compact form (RFC 7515 section 3.1).
    pub fn sign(&self, claims: &impl Serialize) -> String {
        let claims = serde_json::to_vec(claims).expect("claims are strings and numbers");
        let mut token = String::with_capacity(self.encoded_header.len() + claims.len() * 2 + 90);
        token.push_str(&self.encoded_header);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = self
            .pair
            .sign(&SystemRandom::new(), token.as_bytes())
            .expect("signing with a valid key fails only when the random generator does");
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        token
    }
}

/// The keys in use: the one that signs, and the set that others verify with.
pub struct KeyRing {
    signing: SigningKey,
    verifying: DecodingKey,
    published: Document,
}

impl KeyRing {
    pub fn new(signing: SigningKey) -> Self {
        let set = json!({"keys": [&signing.public]}); // RFC 7517 section 5
        let published = Document::new(set.to_string(), KEY_SET_MAX_AGE);
        let verifying = DecodingKey::from_jwk(&signing.public).expect("the key is one of ours");
        Self {
            signing,
            verifying,
            published,
        }
    }

    /// The key that signs new tokens.
    pub fn signing(&self) -> &SigningKey {
        &self.signing
    }

    /// The public key with this name.
    pub fn verifying(&self, kid: &str) -> Option<&DecodingKey> {
        (kid == self.signing.kid).then_some(&self.verifying)
    }

    /// The public key set, as it is served.
    pub fn published(&self) -> &Document {
        &self.published
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn master() -> MasterKey {
        MasterKey::from_config(&format!("{}=", "A".repeat(43)).into()).unwrap()
    }

    #[test]
    fn a_key_comes_back_from_the_store_the_same() {
        let (key, stored) = SigningKey::generate(&master(), 5);
        let opened = SigningKey::open(&stored, &master()).unwrap();
        assert_eq!(opened.kid(), key.kid());
        assert_eq!(opened.public, key.public);
    }

    #[test]
    fn a_swapped_or_foreign_row_is_not_used() {
        let (_, mut stored) = SigningKey::generate(&master(), 5);
        stored.kid = SigningKey::generate(&master(), 5).1.kid;
        assert!(matches!(
            SigningKey::open(&stored, &master()),
            Err(KeyError::WrongMasterKey { .. })
        ));
        stored.sealed_private = master().seal(b"no key", &stored.kid);
        assert!(matches!(
            SigningKey::open(&stored, &master()),
            Err(KeyError::Damaged { .. })
        ));
    }

    #[test]
    fn the_published_set_has_public_members_only() {
        let (key, _) = SigningKey::generate(&master(), 5);
        let kid = key.kid().to_owned();
        let ring = KeyRing::new(key);
        let set: serde_json::Value = serde_json::from_str(&ring.published().body).unwrap();
        let members: Vec<_> = set["keys"][0]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect();
        assert_eq!(members, ["alg", "crv", "kid", "kty", "use", "x", "y"]);
        assert_eq!(set["keys"][0]["kid"], kid);
    }
}
