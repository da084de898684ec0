//! The verifier: header, key, signature, claims, in this order; and a memory for tokens that come
//! again.

use std::{fmt, sync::Arc, time::Duration};

use aws_lc_rs::digest::{SHA256, digest};
use moka::sync::Cache;

use super::{
    Algorithm, TokenError, VerifiedToken,
    claims::Expected,
    issuer_keys::{Held, IssuerKeys},
    jws::Jws,
};
use crate::{
    Clock, ConfigError,
    issuer::{self, Issuer},
};

/// How many verified tokens are remembered. One takes about 2 KiB.
const REMEMBERED: u64 = 10_000;

const DEFAULT_LEEWAY: Duration = Duration::from_secs(10);
const MAX_LEEWAY: Duration = Duration::from_mins(1);

/// Verifies the access tokens of one issuer for one audience. Cheap to clone: clones share keys and
/// memory.
#[derive(Clone)]
pub struct Verifier(Arc<Inner>);

struct Inner {
    expected: Expected,
    algorithms: Vec<Algorithm>,
    keys: Arc<IssuerKeys>,
    clock: Clock,
    remembered: Cache<Fingerprint, Remembered>,
}

/// SHA-256 over the whole token: two spellings of one token are two entries.
type Fingerprint = [u8; 32];

#[derive(Clone)]
struct Remembered {
    token: Arc<VerifiedToken>,
    /// Of the key set that it was verified with.
    generation: u64,
}

impl Verifier {
    /// Begins a verifier for the tokens of `issuer`, an https URL, or an http URL on this machine.
    pub fn builder(issuer: impl Into<String>) -> VerifierBuilder {
        VerifierBuilder {
            issuer: issuer.into(),
            audience: String::new(),
            leeway: DEFAULT_LEEWAY,
            algorithms: Algorithm::ALL.to_vec(),
            key_set_url: None,
            clock: Clock::System,
        }
    }

    /// The audience that tokens must be for.
    pub fn audience(&self) -> &str {
        &self.0.expected.audience
    }

    /// Waits until the issuer's keys are loaded, however long that takes, and says in the log what
    /// it waits for.
    ///
    /// A server need not wait: [`Self::verify`] loads the keys when it first needs them.
    pub async fn ready(&self) {
        self.0.keys.load().await;
    }

    /// Whether keys are held, as a check for a server's readiness. Waits for nobody: when there are
    /// none, they are asked for behind the caller.
    ///
    /// # Errors
    /// Says why no token can be verified at the moment.
    pub async fn health(&self) -> Result<(), String> {
        self.0.keys.health()
    }

    /// Verifies a token as RFC 9068 section 4 demands.
    ///
    /// A token that was verified before costs a hash and a lookup; its dates and whether its key is
    /// still in the issuer's set are checked each time.
    ///
    /// # Errors
    /// [`TokenError::Invalid`] when the token is not good, with the reason;
    /// [`TokenError::KeysUnavailable`] when nothing can be said about it, because the issuer's keys
    /// cannot be had or were last seen a day ago.
    pub async fn verify(&self, token: &str) -> Result<Arc<VerifiedToken>, TokenError> {
        let fingerprint = fingerprint(token);
        match self.recall(&fingerprint) {
            Some(token) => Ok(token),
            None => self.verify_anew(token, fingerprint).await,
        }
    }

    /// A token that is remembered and still good. Never waits.
    #[cfg(feature = "actix")]
    pub(crate) fn verified_before(&self, token: &str) -> Option<Arc<VerifiedToken>> {
        self.recall(&fingerprint(token))
    }

    fn recall(&self, fingerprint: &Fingerprint) -> Option<Arc<VerifiedToken>> {
        let inner = &self.0;
        let remembered = inner.remembered.get(fingerprint)?;
        let keys = inner.keys.current()?;
        let same_keys = keys
            .as_ref()
            .is_some_and(|held| held.generation == remembered.generation);
        let in_time = inner
            .expected
            .check_dates(&remembered.token, inner.clock.now())
            .is_ok();
        (same_keys && in_time).then_some(remembered.token)
    }

    async fn verify_anew(
        &self,
        token: &str,
        fingerprint: Fingerprint,
    ) -> Result<Arc<VerifiedToken>, TokenError> {
        let inner = &self.0;
        let jws = Jws::read(token)?;
        if !inner.algorithms.contains(&jws.algorithm) {
            return Err(TokenError::Invalid(
                "the algorithm of the token is not accepted",
            ));
        }
        let held = self.keys_with(&jws.key_id).await?;
        let Some(key) = held.set.get(&jws.key_id) else {
            return Err(TokenError::Invalid(
                "the token is signed with a key that is not the issuer's",
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
            return Err(TokenError::Invalid("the signature of the token is wrong"));
        }
        let Some(payload) = jws.payload() else {
            return Err(TokenError::Invalid(
                "the claims of the token cannot be read",
            ));
        };
        let token = inner.expected.read(&payload)?;
        inner.expected.check_dates(&token, inner.clock.now())?;

        let token = Arc::new(token);
        let remembered = Remembered {
            token: Arc::clone(&token),
            generation: held.generation,
        };
        inner.remembered.insert(fingerprint, remembered);
        Ok(token)
    }

    /// The key set; the newest there is, when `key_id` is not in the one that is held.
    async fn keys_with(&self, key_id: &str) -> Result<Arc<Held>, TokenError> {
        let keys = &self.0.keys;
        let fetches = keys.fetches();
        let held = keys.get().await.ok_or(TokenError::KeysUnavailable)?;
        if held.set.get(key_id).is_some() {
            return Ok(held);
        }
        keys.look_for_new_key(fetches).await;
        keys.get().await.ok_or(TokenError::KeysUnavailable)
    }
}

/// Does not show the tokens that are remembered.
impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("issuer", &self.0.expected.issuer)
            .field("audience", &self.0.expected.audience)
            .finish_non_exhaustive()
    }
}

fn fingerprint(token: &str) -> Fingerprint {
    let digest = digest(&SHA256, token.as_bytes());
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// What a [`Verifier`] needs to know, checked by [`Self::build`].
#[derive(Clone, Debug)]
#[must_use]
pub struct VerifierBuilder {
    issuer: String,
    audience: String,
    leeway: Duration,
    algorithms: Vec<Algorithm>,
    key_set_url: Option<String>,
    clock: Clock,
}

impl VerifierBuilder {
    /// The name that tokens for this service carry in `aud`. Required.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = audience.into();
        self
    }

    /// How far the issuer's clock and this one may differ: 10 s by default, a minute at most. Whole
    /// seconds count.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// Which algorithms are accepted: [`Algorithm::ALL`] by default. This only narrows; which
    /// algorithm a token must have is fixed by its key.
    pub fn algorithms(mut self, algorithms: &[Algorithm]) -> Self {
        self.algorithms = algorithms.to_vec();
        self
    }

    /// Where the issuer's key set is, for an issuer without metadata. By default the metadata says
    /// it (RFC 8414).
    pub fn key_set_url(mut self, url: impl Into<String>) -> Self {
        self.key_set_url = Some(url.into());
        self
    }

    /// The clock that tells whether a token has expired; the machine's by default.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Checks the configuration. Touches no network.
    ///
    /// # Errors
    /// Says what is wrong and how to mend it.
    pub fn build(self) -> Result<Verifier, ConfigError> {
        let issuer = Issuer::new(self.issuer)?;
        let key_set_url = self
            .key_set_url
            .map(|url| issuer::endpoint("key set", &url))
            .transpose()?;
        // It stands as the realm in `WWW-Authenticate`.
        let sound = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
        if self.audience.is_empty() || !self.audience.bytes().all(sound) {
            return Err(ConfigError::Audience);
        }
        if self.leeway > MAX_LEEWAY {
            return Err(ConfigError::Leeway(self.leeway.as_secs()));
        }
        if self.algorithms.is_empty() {
            return Err(ConfigError::NoAlgorithm);
        }
        Ok(Verifier(Arc::new(Inner {
            expected: Expected {
                issuer: issuer.as_str().to_owned(),
                audience: self.audience,
                leeway: self.leeway.as_secs(),
            },
            algorithms: self.algorithms,
            keys: Arc::new(IssuerKeys::new(issuer, key_set_url, self.clock.clone())),
            clock: self.clock,
            remembered: Cache::new(REMEMBERED),
        })))
    }
}
