//! The keys at one moment, as requests see them: never changed, only replaced as a whole.

use std::sync::Arc;

use jsonwebtoken::jwk::Jwk;
use m2m::verify::Algorithm;
use serde_json::json;

use super::{KeyRecord, Schedule, SigningKey, life, slow};
use crate::document::Document;

/// All keys of the store, opened.
pub struct KeyRing {
    records: Vec<KeyRecord>,
    /// Those that are in the key set: all but the compromised ones.
    keys: Vec<Arc<SigningKey>>,
    published: Document,
    published_rsa: Document,
}

/// The key to sign a token with.
#[derive(Clone, Debug)]
pub struct Signer {
    pub key: Arc<SigningKey>,
    /// The longest life of a token that does not outlive this key, in seconds.
    pub longest_token: u64,
}

impl Signer {
    /// Makes a JWT in compact form of what the key's [`signing_input`](SigningKey::signing_input) made: at once, or, where
    /// that takes long, between the worker's other work.
    pub async fn sign(&self, input: String) -> String {
        if self.key.is_slow() {
            slow::sign(Arc::clone(&self.key), input).await
        } else {
            self.key.sign(input)
        }
    }
}

impl KeyRing {
    /// `keys` has an opened key for each record that is not compromised.
    pub(super) fn new(
        records: Vec<KeyRecord>,
        keys: Vec<Arc<SigningKey>>,
        schedule: &Schedule,
    ) -> Self {
        let document = |all: Vec<&Jwk>| {
            let set = json!({"keys": all}); // RFC 7517 section 5
            Document::new(set.to_string(), schedule.max_age)
        };
        let rsa = keys.iter().filter(|key| key.is_slow()); // of the algorithms here, RSA's

        let published_rsa = document(rsa.map(|key| key.public()).collect());
        // As long as `max_age`: a key that is announced after a cache took this set signs only when the cache has
        // asked again. What is in the set may become active at any time without anybody asking.
        let published = document(keys.iter().map(|key| key.public()).collect());
        Self {
            records,
            keys,
            published,
            published_rsa,
        }
    }

    /// All keys of the store, also those that are compromised, in the order in which they sign.
    pub fn records(&self) -> &[KeyRecord] {
        &self.records
    }

    /// The key with this id, if it is published.
    pub fn find(&self, kid: &str) -> Option<&Arc<SigningKey>> {
        self.keys.iter().find(|key| key.kid() == kid)
    }

    /// The key that signs with `algorithm` at `now`.
    pub(super) fn signer(
        &self,
        algorithm: Algorithm,
        schedule: &Schedule,
        now: u64,
    ) -> Option<Signer> {
        let record = life::active(&self.records, algorithm, now)?;
        Some(Signer {
            key: Arc::clone(self.find(&record.kid)?),
            longest_token: schedule.longest_token(record.retire_time),
        })
    }

    /// The public key set, as it is served.
    pub fn published(&self) -> &Document {
        &self.published
    }

    /// The same with the RSA keys only.
    pub fn published_rsa(&self) -> &Document {
        &self.published_rsa
    }
}
