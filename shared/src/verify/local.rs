//! Verifying a signed token here, with the issuer's keys: header, key, signature, claims, in this
//! order; and a memory for tokens that come again.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::{
    Algorithm, TokenError, VerifiedToken,
    claims::Expected,
    fingerprint::fingerprint,
    issuer_keys::{Held, IssuerKeys},
    jws::{ALGORITHM, Header, Jws},
    key::Key,
};
use crate::{Clock, memory::Memory};

/// Some 16,000 tokens are remembered: so many sets of so many. One takes about 1 KiB.
const SETS: usize = 2048;
const PLACES: usize = 8;

/// Verifies with the issuer's keys.
pub(super) struct LocalVerifier {
    expected: Expected,
    algorithms: Vec<Algorithm>,
    pub(super) keys: Arc<IssuerKeys>,
    clock: Clock,
    /// By the fingerprints of their signatures, which are what makes them credentials. The rest of a token is kept with its
    /// claims, to be compared: that is as sure, and costs less than to hash it.
    remembered: Memory<32, Remembered>,
    /// Of the last token that was verified. All tokens that are signed with one key have the same, so it is seldom read.
    last_header: ArcSwapOption<Header>,
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
            remembered: Memory::new(SETS, PLACES),
            last_header: ArcSwapOption::empty(),
        }
    }

    /// The moment at which a token is judged, in milliseconds since the Unix epoch.
    pub(super) fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// A token that is remembered and still good at `now`. Never waits.
    pub(super) fn recall(&self, token: &str, now: u64) -> Option<Arc<VerifiedToken>> {
        let (signed, signature) = token.rsplit_once('.')?;
        let remembered = self.remembered.get(&fingerprint(signature))?;
        if *remembered.token.claims.signed != *signed {
            return None; // somebody put a signature behind something else
        }
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

    /// Verifies at `now` with the keys that are held. Never waits: `None` when the token's key is not among them.
    pub(super) fn verify_at_once(
        &self,
        token: &str,
        now: u64,
    ) -> Option<Result<Arc<VerifiedToken>, TokenError>> {
        let (jws, header) = match self.read(token) {
            Ok(read) => read,
            Err(refusal) => return Some(Err(refusal)),
        };
        let held = self.keys.current_at(now)?;
        let held = held.as_ref()?;
        let key = held.set.get(&header.key_id)?;
        let verified = self.verify_with(key, &jws, &header, now);
        Some(verified.map(|token| self.remember(&jws, token, &header, held)))
    }

    /// Verifies with the newest keys there are, if that helps.
    pub(super) async fn verify(&self, token: &str) -> Result<Arc<VerifiedToken>, TokenError> {
        let (jws, header) = self.read(token)?;
        let held = self.keys_with(&header.key_id).await?;
        let Some(key) = held.set.get(&header.key_id) else {
            return Err(TokenError::Invalid(
                "the token is signed with a key that is not the issuer's: get a new one from the \
                 issuer that this service trusts",
            ));
        };
        let token = self.verify_with(key, &jws, &header, self.now_ms())?;
        Ok(self.remember(&jws, token, &header, &held))
    }

    fn read<'a>(&self, token: &'a str) -> Result<(Jws<'a>, Arc<Header>), TokenError> {
        let jws = Jws::read(token)?;
        let header = match &*self.last_header.load() {
            Some(last) if *last.text == *jws.header => Arc::clone(last),
            _ => Arc::new(Header::read(jws.header)?),
        };
        if self.algorithms.contains(&header.algorithm) {
            Ok((jws, header))
        } else {
            Err(TokenError::Invalid(ALGORITHM))
        }
    }

    /// Verifies with the key that the token names.
    fn verify_with(
        &self,
        key: &Key,
        jws: &Jws<'_>,
        header: &Header,
        now: u64,
    ) -> Result<VerifiedToken, TokenError> {
        if header.algorithm != key.algorithm {
            return Err(TokenError::Invalid(
                "the algorithm of the token is not that of its key",
            ));
        }
        if !jws
            .signature()
            .is_some_and(|signature| key.verifies(jws.signed.as_bytes(), &signature))
        {
            return Err(TokenError::Invalid(
                "the signature of the token is wrong: it was changed or cut short; send all of the \
                 access_token as the issuer gave it",
            ));
        }
        let mut token = self.expected.read(jws)?;
        token.key_id = Some(Arc::clone(&header.key_id));
        self.expected.check_dates(&token, now / 1000)?;
        Ok(token)
    }

    /// Keeps what was verified with these keys.
    fn remember(
        &self,
        jws: &Jws<'_>,
        token: VerifiedToken,
        header: &Arc<Header>,
        keys: &Held,
    ) -> Arc<VerifiedToken> {
        let token = Arc::new(token);
        let remembered = Remembered {
            token: Arc::clone(&token),
            generation: keys.generation,
        };
        self.remembered
            .insert(fingerprint(jws.signature), remembered);
        let last = self.last_header.load();
        if !last.as_ref().is_some_and(|last| Arc::ptr_eq(last, header)) {
            self.last_header.store(Some(Arc::clone(header)));
        }
        token
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
