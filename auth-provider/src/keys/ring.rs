//! The keys at one moment, as requests see them: never changed, only replaced as a whole.

use std::sync::Arc;

use jsonwebtoken::jwk::Jwk;
use m2m::verify::Algorithm;
use serde_json::json;
use tokio::{sync::Mutex, task::yield_now};

use super::{KeyRecord, Schedule, SigningKey, life};
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

thread_local! {
    /// Lets one slow signature of this worker through at a time.
    static TURN: Arc<Mutex<()>> = Arc::default();
}

impl Signer {
    /// Makes a JWT in compact form of what the key's [`signing_input`](SigningKey::signing_input) made.
    ///
    /// RSA is slow, so that of these signatures a worker makes one between two looks at its connections: whoever asks for
    /// anything else waits for one of them, and not for all that are wished for. No thread of its own makes them: there is
    /// a worker for each core already, and handing over would cost more than it spares.
    pub async fn sign(&self, input: String) -> String {
        if !self.key.is_slow() {
            return self.key.sign(input);
        }
        let turn = TURN.with(Arc::clone);
        let _turn = turn.lock().await;
        yield_now().await; // to the other tasks, and to those whose requests have arrived
        self.key.sign(input)
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

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use actix_web::rt;

    use super::*;

    #[actix_web::test]
    async fn between_two_rsa_signatures_everybody_else_has_a_turn() {
        let signer = Signer {
            key: Arc::new(SigningKey::generate(Algorithm::RS256).0),
            longest_token: 60,
        };
        let (signed, turns) = (Rc::<Cell<u32>>::default(), Rc::<Cell<u32>>::default());
        let mut signing = vec![];
        for _ in 0..5 {
            let (signer, signed, turns) = (signer.clone(), Rc::clone(&signed), Rc::clone(&turns));
            signing.push(rt::spawn(async move {
                signer.sign("header.payload".to_owned()).await;
                signed.set(signed.get() + 1);
                assert!(signed.get() <= turns.get(), "{signed:?}, {turns:?}");
            }));
        }
        let other = rt::spawn(async move {
            loop {
                turns.set(turns.get() + 1);
                yield_now().await;
            }
        });
        for signing in signing {
            signing.await.expect("everybody else had as many turns");
        }
        other.abort();
        assert_eq!(signed.get(), 5);
    }
}
