//! Verifying a signed token here, with the issuer's keys: header, key, signature, claims, in this
//! order; and a memory for tokens that come again.

use std::sync::Arc;

use super::{
    Algorithm, TokenError, VerifiedToken,
    claims::Expected,
    fingerprint::Fingerprint,
    issuer_keys::{Held, IssuerKeys},
    jws::{ALGORITHM, Jws},
    memory::Memory,
};
use crate::Clock;

/// Verifies with the issuer's keys.
pub(super) struct LocalVerifier {
    expected: Expected,
    algorithms: Vec<Algorithm>,
    pub(super) keys: Arc<IssuerKeys>,
    clock: Clock,
    /// One takes about 2 KiB.
    remembered: Memory<Remembered>,
}

#[derive(Clone)]
struct Remembered {
    token: Arc<VerifiedToken>,
    /// Of the key set that it was verified with.
    generation: u64,
}

impl LocalVerifier {
    pub(super) fn new(
        expected: Expected,
        algorithms: Vec<Algorithm>,
        keys: IssuerKeys,
        clock: Clock,
    ) -> Self {
        Self {
            expected,
            algorithms,
            keys: Arc::new(keys),
            clock,
            remembered: Memory::default(),
        }
    }

    /// A token that is remembered and still good. Never waits.
    pub(super) fn recall(&self, fingerprint: &Fingerprint) -> Option<Arc<VerifiedToken>> {
        let remembered = self.remembered.recall(fingerprint)?;
        let keys = self.keys.current()?;
        let same_keys = keys
            .as_ref()
            .is_some_and(|held| held.generation == remembered.generation);
        let in_time = self
            .expected
            .check_dates(&remembered.token, self.clock.now())
            .is_ok();
        (same_keys && in_time).then_some(remembered.token)
    }

    pub(super) async fn verify_anew(
        &self,
        token: &str,
        fingerprint: Fingerprint,
    ) -> Result<Arc<VerifiedToken>, TokenError> {
        let jws = Jws::read(token)?;
        if !self.algorithms.contains(&jws.algorithm) {
            return Err(TokenError::Invalid(ALGORITHM));
        }
        let held = self.keys_with(&jws.key_id).await?;
        let Some(key) = held.set.get(&jws.key_id) else {
            return Err(TokenError::Invalid(
                "the token is signed with a key that is not the issuer's: get a new one from the \
                 issuer that this service trusts",
            ));
        };
        if jws.algorithm != key.algorithm {
            return Err(TokenError::Invalid(
                "the algorithm of the token is not that of its key",
            ));
        }
        if !jws
            .signature()
            .is_some_and(|signature| key.verifies(jws.signed, &signature))
        {
            return Err(TokenError::Invalid(
                "the signature of the token is wrong: it was changed or cut short; send all of the \
                 access_token as the issuer gave it",
            ));
        }
        let Some(payload) = jws.payload() else {
            return Err(TokenError::Invalid(
                "the claims of the token cannot be read",
            ));
        };
        let mut token = self.expected.read(&payload)?;
        token.key_id = Some(jws.key_id);
        self.expected.check_dates(&token, self.clock.now())?;

        let token = Arc::new(token);
        let remembered = Remembered {
            token: Arc::clone(&token),
            generation: held.generation,
        };
        self.remembered.remember(fingerprint, remembered);
        Ok(token)
    }

    /// The key set; the newest there is, when `key_id` is not in the one that is held.
    async fn keys_with(&self, key_id: &str) -> Result<Arc<Held>, TokenError> {
        let keys = &self.keys;
        let fetches = keys.fetches();
        let held = keys.get().await.ok_or(TokenError::IssuerUnavailable)?;
        if held.set.get(key_id).is_some() {
            return Ok(held);
        }
        keys.look_for_new_key(fetches).await;
        keys.get().await.ok_or(TokenError::IssuerUnavailable)
    }
}
