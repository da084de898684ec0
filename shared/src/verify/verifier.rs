//! The verifier: one way to ask whether a token is good, whatever stands behind it.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    TokenError, VerifiedToken, VerifierBuilder, VerifierStats,
    feed::{Revocations, Standing},
    fingerprint::fingerprint,
    introspection::Introspector,
    local::LocalVerifier,
};

/// Verifies the access tokens of one issuer for one audience. Cheap to clone: clones share keys and
/// memory.
#[derive(Clone)]
pub struct Verifier(Arc<Inner>);

struct Inner {
    issuer: String,
    audience: String,
    method: Method,
    from_memory: AtomicU64,
    anew: AtomicU64,
}

/// How tokens are judged.
pub(super) enum Method {
    /// By their signature.
    Local(LocalVerifier),
    /// By their signature and what the issuer has revoked.
    Feed {
        local: LocalVerifier,
        revocations: Revocations,
        /// For [`WhenStale::Introspect`](super::WhenStale::Introspect).
        introspector: Option<Arc<Introspector>>,
    },
    /// By the issuer.
    Introspection(Arc<Introspector>),
}

/// What is found about a token.
type Verdict = Result<Arc<VerifiedToken>, TokenError>;

/// What must be waited for before a token can be judged.
pub(crate) enum Awaited {
    /// A key that is not held.
    Keys,
    /// What is known of revocations is not fresh. All else about this token is good.
    Revocations(Arc<VerifiedToken>),
    /// The issuer's answer about it.
    Issuer,
}

const REVOKED: TokenError = TokenError::Invalid(
    "the token has been revoked: get a new one; when there is none, ask the issuer's administrator",
);

/// Something that a verifier depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    Keys,
    Feed,
    Introspection,
}

impl Part {
    /// Its name among a server's checks.
    #[cfg(feature = "actix")]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Keys => "issuer keys",
            Self::Feed => "revocation feed",
            Self::Introspection => "introspection",
        }
    }
}

impl Verifier {
    /// Begins a verifier for the tokens of `issuer`, an https URL, or an http URL on this machine.
    pub fn builder(issuer: impl Into<String>) -> VerifierBuilder {
        VerifierBuilder::new(issuer.into())
    }

    /// Begins a verifier that asks at `url` about each token (RFC 7662), whoever the issuer is: an
    /// https URL, or an http URL on this machine. It needs an [`audience`](VerifierBuilder::audience)
    /// and a [`client`](VerifierBuilder::client).
    ///
    /// Any server of RFC 7662 will do, since little is demanded of its answers: a boolean `active`.
    /// Only then, whatever else is said must fit:
    ///
    /// | in the answer | |
    /// |---|---|
    /// | `active` | `true`; a text or a number is no answer, and nothing is accepted |
    /// | `iss` | any; [`VerifiedToken::issuer`] is `url` where there is none |
    /// | `aud` | names this audience, alone or in a list; where there is none, the server has decided that the token may be used here, as RFC 7662 section 4 demands of it |
    /// | `exp` | in the future; where there is none, the answer counts as long as it is remembered, and then it is asked again |
    /// | `nbf`, `iat` | not in the future |
    /// | `sub`, `client_id` | any; where there are none, [`VerifiedToken::subject`] is empty |
    /// | `scope` (or `scp`) | a text, or a list of texts; where there is none, the token allows nothing that needs a scope |
    /// | `token_type` | `Bearer` |
    /// | `cnf` | absent: the token is bound to a key |
    ///
    /// `null`, an empty text and an empty list say nothing, as if the member were not there.
    ///
    /// A server that tells everybody about every token *and* leaves out `aud` makes each of its
    /// tokens good everywhere. With [`Self::builder`] and the issuer's URL, an answer must name the
    /// audience.
    ///
    /// ```
    /// let verifier = m2m::Verifier::introspecting("https://auth.example.com/oauth/introspect")
    ///     .audience("files")
    ///     .client("files", "the secret of this service")
    ///     .build()?;
    /// # Ok::<(), m2m::ConfigError>(())
    /// ```
    pub fn introspecting(url: impl Into<String>) -> VerifierBuilder {
        VerifierBuilder::introspecting(Some(url.into()))
    }

    pub(super) fn new(issuer: &str, audience: String, method: Method) -> Self {
        Self(Arc::new(Inner {
            issuer: issuer.to_owned(),
            audience,
            method,
            from_memory: AtomicU64::new(0),
            anew: AtomicU64::new(0),
        }))
    }

    /// The audience that tokens must be for.
    pub fn audience(&self) -> &str {
        &self.0.audience
    }

    /// Waits until tokens can be judged: until the issuer's keys are loaded, or it is known where
    /// to ask about tokens, however long that takes. Says in the log what it waits for. Where the
    /// configuration says where to ask, it waits until a question about a token that nobody has
    /// (`readiness-probe`) was answered, so that a wrong URL or secret is noticed at once. For a
    /// revocation feed it waits as long as [`Feed::wait_at_start`](super::Feed::wait_at_start) at
    /// most.
    ///
    /// A server need not wait: [`Self::verify`] loads what it needs when it first needs it.
    pub async fn ready(&self) {
        match &self.0.method {
            Method::Local(local) => local.keys.load().await,
            Method::Feed {
                local, revocations, ..
            } => {
                revocations.follow();
                local.keys.load().await;
                revocations.settle().await;
            }
            Method::Introspection(introspector) => introspector.ready().await,
        }
    }

    /// Whether tokens can be judged, as a check for a server's readiness. Waits for nobody: what is
    /// missing is asked for behind the caller.
    ///
    /// # Errors
    /// Says why no token can be verified at the moment.
    pub async fn health(&self) -> Result<(), String> {
        self.parts().iter().try_for_each(|part| self.check(*part))
    }

    /// What a verifier of this kind depends on.
    pub(crate) fn parts(&self) -> &'static [Part] {
        match &self.0.method {
            Method::Local(_) => &[Part::Keys],
            Method::Feed {
                introspector: None, ..
            } => &[Part::Keys, Part::Feed],
            Method::Feed { .. } => &[Part::Keys, Part::Feed, Part::Introspection],
            Method::Introspection(_) => &[Part::Introspection],
        }
    }

    /// Whether one of the [`Self::parts`] works; the error says why not.
    pub(crate) fn check(&self, part: Part) -> Result<(), String> {
        match (part, &self.0.method) {
            (Part::Keys, Method::Local(local) | Method::Feed { local, .. }) => local.keys.health(),
            (
                Part::Feed,
                Method::Feed {
                    local, revocations, ..
                },
            ) => revocations.health(local.keys.current().is_some()),
            (
                Part::Introspection,
                Method::Introspection(introspector)
                | Method::Feed {
                    introspector: Some(introspector),
                    ..
                },
            ) => introspector.health(),
            _ => Ok(()), // it does not depend on that
        }
    }

    /// Whether a token is good: by its signature, as RFC 9068 section 4 demands, or by what the
    /// issuer says about it (RFC 7662), and not revoked, as far as is known.
    ///
    /// A token that was verified before costs a hash and a lookup; its dates, whether its key is
    /// still in the issuer's set, and whether it was revoked are checked each time.
    ///
    /// # Errors
    /// [`TokenError::Invalid`] when the token is not good, with the reason;
    /// [`TokenError::IssuerUnavailable`] when nothing can be said about it: the issuer's keys
    /// cannot be had or were last seen a day ago, or the issuer was to be asked and does not
    /// answer.
    pub async fn verify(&self, token: &str) -> Result<Arc<VerifiedToken>, TokenError> {
        match self.judge_at_once(token) {
            Ok(verdict) => verdict,
            Err(awaited) => self.judge_with(awaited, token).await,
        }
    }

    /// The verdict about a token, or what must be waited for before there is one: most tokens are
    /// judged without a wait.
    pub(crate) fn judge_at_once(&self, token: &str) -> Result<Verdict, Awaited> {
        let (local, revocations) = match &self.0.method {
            Method::Local(local) => (local, None),
            Method::Feed {
                local, revocations, ..
            } => (local, Some(revocations)),
            Method::Introspection(introspector) => {
                let remembered = introspector.recall(&fingerprint(token));
                self.count(remembered.is_some());
                return remembered.ok_or(Awaited::Issuer);
            }
        };
        let now = local.now_ms();
        let remembered = local.recall(token, now);
        self.count(remembered.is_some());
        let verdict = match remembered {
            Some(token) => Ok(token),
            None => local.verify_at_once(token, now).ok_or(Awaited::Keys)?,
        };
        let (Ok(token), Some(revocations)) = (&verdict, revocations) else {
            return Ok(verdict);
        };
        match revocations.standing_at(token, now) {
            Standing::Good => Ok(verdict),
            Standing::Revoked => Ok(Err(REVOKED)),
            Standing::Unknown => Err(Awaited::Revocations(Arc::clone(token))),
        }
    }

    /// The verdict about a token for which something is waited for.
    pub(crate) async fn judge_with(&self, awaited: Awaited, token: &str) -> Verdict {
        match &self.0.method {
            Method::Local(local) => local.verify(token).await,
            Method::Introspection(introspector) => introspector.ask(token).await,
            Method::Feed {
                local,
                revocations,
                introspector,
            } => {
                let verified = match awaited {
                    Awaited::Revocations(verified) => verified,
                    Awaited::Keys | Awaited::Issuer => local.verify(token).await?,
                };
                let mut standing = revocations.standing(&verified);
                if standing == Standing::Unknown {
                    standing = match introspector {
                        Some(introspector) => {
                            introspector.ask(token).await?;
                            // The feed may have told more than the answer, which is remembered.
                            match revocations.standing(&verified) {
                                Standing::Unknown => Standing::Good,
                                known => known,
                            }
                        }
                        None => revocations.standing_when_settled(&verified).await,
                    };
                }
                match standing {
                    Standing::Good => Ok(verified),
                    Standing::Revoked => Err(REVOKED),
                    Standing::Unknown => Err(TokenError::IssuerUnavailable),
                }
            }
        }
    }

    fn count(&self, in_memory: bool) {
        let counter = if in_memory {
            &self.0.from_memory
        } else {
            &self.0.anew
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// What this verifier and its clones have done since the start, and how they stand.
    pub fn stats(&self) -> VerifierStats {
        let mut stats = VerifierStats {
            from_memory: self.0.from_memory.load(Ordering::Relaxed),
            anew: self.0.anew.load(Ordering::Relaxed),
            ..VerifierStats::default()
        };
        let (local, introspector) = match &self.0.method {
            Method::Local(local) => (Some(local), None),
            Method::Feed {
                local,
                revocations,
                introspector,
            } => {
                stats.feed = Some(revocations.stats());
                (Some(local), introspector.as_ref())
            }
            Method::Introspection(introspector) => (None, Some(introspector)),
        };
        if let Some(local) = local {
            (stats.key_fetches, stats.failed_key_fetches) = local.keys.tries.so_far();
        }
        if let Some(introspector) = introspector {
            (stats.introspections, stats.failed_introspections) = introspector.tries.so_far();
        }
        stats
    }
}

/// Does not show the tokens that are remembered.
impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("issuer", &self.0.issuer)
            .field("audience", &self.0.audience)
            .finish_non_exhaustive()
    }
}
