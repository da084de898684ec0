//! Verifying a signed token here, with the issuer's keys: header, key, signature, claims, in this
//! order; and a memory for tokens that come again.

use std::sync::Arc;

use super::{
    Algorithm, TokenError, VerifiedToken,
    claims::Expected,
    fingerprint::Fingerprint,
    issuer_keys::{Held, IssuerKeys},
    jws::{ALGORITHM, Jws},
    key::Key,
    memory::Memory,
};
use crate::Clock;

/// Verifies with the issuer's keys.
pub(super) struct LocalVerifier {
    expected: Expected,
    algorithms: Vec<Algorithm>,
    pub(super) keys: Arc<IssuerKeys>,
    clock: Clock,
    /// One takes about 1 KiB.
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

    /// The moment at which a token is judged, in milliseconds since the Unix epoch.
    pub(super) fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// A token that is remembered and still good at `now`. Never waits.
    pub(super) fn recall(&self, fingerprint: &Fingerprint, now: u64) -> Option<Arc<VerifiedToken>> {
        let remembered = self.remembered.recall(fingerprint)?;
        let keys = self.keys.current_at(now)?;
        let same_keys = keys
            .as_ref()
            .is_some_and(|held| held.generation == remembered.generation);
        let in_time = self
            .expected
            .check_dates(&remembered.token, now / 1000)
            .is_ok();
        (same_keys && in_time).then_some(remembered.token)
    }

    /// Verifies with the keys that are held. Never waits: `None` when the token's key is not among them.
    pub(super) fn verify_at_once(
        &self,
        token: &str,
        fingerprint: Fingerprint,
    ) -> Option<Result<Arc<VerifiedToken>, TokenError>> {
        let jws = match self.read(token) {
            Ok(jws) => jws,
            Err(refusal) => return Some(Err(refusal)),
        };
        let held = self.keys.current()?;
        let held = held.as_ref()?;
        let key = held.set.get(&jws.key_id)?;
        Some(self.verify_with(key, held.generation, jws, fingerprint))
    }

    /// Verifies with the newest keys there are, if that helps.
    pub(super) async fn verify(
        &self,
        token: &str,
        fingerprint: Fingerprint,
    ) -> Result<Arc<VerifiedToken>, TokenError> {
        let jws = self.read(token)?;
        let held = self.keys_with(&jws.key_id).await?;
        let Some(key) = held.set.get(&jws.key_id) else {
            return Err(TokenError::Invalid(
                "the token is signed with a key that is not the issuer's: get a new one from the \
                 issuer that this service trusts",
            ));
        };
        self.verify_with(key, held.generation, jws, fingerprint)
    }

    fn read<'a>(&self, token: &'a str) -> Result<Jws<'a>, TokenError> {
        let jws = Jws::read(token)?;
        if self.algorithms.contains(&jws.algorithm) {
            Ok(jws)
        } else {
            Err(TokenError::Invalid(ALGORITHM))
        }
    }

    /// Verifies with the key that the token names, from the key set of this generation.
    fn verify_with(
        &self,
        key: &Key,
        generation: u64,
        jws: Jws<'_>,
        fingerprint: Fingerprint,
    ) -> Result<Arc<VerifiedToken>, TokenError> {
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
        let mut token = self.expected.read(payload)?;
        token.key_id = Some(jws.key_id);
        self.expected.check_dates(&token, self.clock.now())?;

        let token = Arc::new(token);
        let remembered = Remembered {
            token: Arc::clone(&token),
            generation,
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
