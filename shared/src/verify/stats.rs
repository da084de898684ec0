//! What a verifier has done since its start, for those who watch it.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// What a [`Verifier`](super::Verifier) has done since its start, and how it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifierStats {
    /// Tokens whose verdict was in memory.
    pub from_memory: u64,
    /// Tokens that were judged anew, whatever came of it.
    pub anew: u64,
    /// Fetches of the issuer's keys that have ended, the failed ones among them.
    pub key_fetches: u64,
    /// Those that brought no keys.
    pub failed_key_fetches: u64,
    /// Questions to the issuer about a token, the failed ones among them; each attempt is one.
    pub introspections: u64,
    /// Those that brought no verdict.
    pub failed_introspections: u64,
    /// How the revocation feed stands, where it is followed.
    pub feed: Option<FeedStats>,
}

/// How a revocation feed stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FeedStats {
    /// Whether it was heard of within [`Feed::freshness`](super::Feed::freshness).
    pub is_current: bool,
    /// How long ago all revocations were known; `None` when they never were.
    pub age: Option<Duration>,
    /// Revocations in memory.
    pub revocations: usize,
}

/// Things that are tried, and how many of them failed.
#[derive(Default)]
pub(super) struct Tries {
    all: AtomicU64,
    failed: AtomicU64,
}

impl Tries {
    pub(super) fn count<T, E>(&self, outcome: &Result<T, E>) {
        self.all.fetch_add(1, Ordering::Relaxed);
        if outcome.is_err() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All, and the failed ones among them.
    pub(super) fn so_far(&self) -> (u64, u64) {
        let failed = self.failed.load(Ordering::Relaxed);
        (self.all.load(Ordering::Relaxed).max(failed), failed)
    }
}
