//! How a verifier learns that a token was taken back before its end: the choice, as configured.

use std::time::Duration;

use crate::ConfigError;

/// How a verifier learns of tokens that were taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// Not at all: a token is good until it expires. The default of a verifier without a client.
    None,
    /// Tokens are verified here, and the issuer's revocations are followed. A revocation takes
    /// effect in a fraction of a second and costs a request nothing. The default of a verifier with
    /// a client.
    Feed(Feed),
    /// The issuer is asked about each token (RFC 7662), which also works for opaque tokens. A
    /// revocation takes effect when the last answer about the token is no longer remembered.
    Introspection(Introspection),
}

/// How the issuer's revocation feed is followed.
///
/// An issuer that offers none is an issuer whose feed was never heard of: under
/// [`WhenStale::FailOpen`] its tokens are verified as with [`Revocation::None`], and the log says
/// so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feed {
    /// How long what is known counts as fresh after the feed was last heard of: 30 s by default, at
    /// least 10 s, since the issuer gives a sign of life every 5.
    pub freshness: Duration,
    /// What to do with tokens when it is no longer fresh.
    pub when_stale: WhenStale,
    /// How long the first requests wait for the feed after a start: 2 s by default. Without it a
    /// service would accept what was revoked while it was not running.
    pub wait_at_start: Duration,
}

/// What to do with a good token when the revocation feed was not heard of for too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenStale {
    /// Accept it: availability first. What was revoked before the feed fell silent stays revoked.
    #[default]
    FailOpen,
    /// Accept nothing: [`TokenError::IssuerUnavailable`](super::TokenError::IssuerUnavailable),
    /// status 503.
    FailClosed,
    /// Ask the issuer about each token until the feed is back.
    Introspect,
}

/// How the issuer is asked about tokens (RFC 7662).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introspection {
    /// How long an answer counts, so how late a revocation may be noticed: 10 s by default, at most
    /// 30 s. Never past the token's end.
    pub cache_for: Duration,
    /// How long it counts that a token is not good: 1 s by default, at most `cache_for`.
    pub cache_refusals_for: Duration,
    /// How long one request may take: 2 s by default. It is tried three times at most, and only
    /// when nobody answers or a proxy says that nobody does (502, 503, 504).
    pub timeout: Duration,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            freshness: Duration::from_secs(30),
            when_stale: WhenStale::FailOpen,
            wait_at_start: Duration::from_secs(2),
        }
    }
}

impl Default for Introspection {
    fn default() -> Self {
        Self {
            cache_for: Duration::from_secs(10),
            cache_refusals_for: Duration::from_secs(1),
            timeout: Duration::from_secs(2),
        }
    }
}

impl Revocation {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let refuse = |rule| Err(ConfigError::Bound(rule));
        match self {
            Self::Feed(feed) if feed.freshness < Duration::from_secs(10) => refuse(
                "a freshness below 10 s makes a healthy feed look stale: the issuer gives a sign \
                 of life every 5 s",
            ),
            Self::Feed(feed) if feed.wait_at_start > Duration::from_secs(30) => {
                refuse("nobody waits longer than 30 s for a feed: shorten wait_at_start")
            }
            Self::Introspection(asked) if asked.cache_for > Duration::from_secs(30) => refuse(
                "answers about tokens may be remembered for 30 s at most: a revoked token lives \
                 on for as long",
            ),
            Self::Introspection(asked) if asked.cache_refusals_for > asked.cache_for => {
                refuse("remember refusals no longer than answers: lower cache_refusals_for")
            }
            Self::Introspection(asked) if asked.timeout.is_zero() => {
                refuse("no issuer answers in no time: leave the timeout out, or raise it")
            }
            _ => Ok(()),
        }
    }
}
