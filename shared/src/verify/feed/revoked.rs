//! What was revoked, in memory: asked on each use of a token, told by the feed.

use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::{DashMap, mapref::entry::Entry as Slot};
use serde::Deserialize;

use crate::VerifiedToken;

/// An entry is kept so much longer than its issuer asks, in seconds. That is the largest leeway
/// with which a token may outlive its end.
const KEPT_LONGER: u64 = 60;

/// More entries than this are not kept; a feed with more is not followed. They take some 200 MB.
const CAPACITY: usize = 1_000_000;

/// One revocation, as the feed has it. Times are seconds since the Unix epoch.
#[derive(Debug, Deserialize)]
pub(super) struct Entry {
    #[serde(flatten)]
    what: What,
    revoked_at: u64,
    /// From then on all that it is about has expired.
    expires_at: u64,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum What {
    /// One token.
    Token { jti: String },
    /// What a client obtained until then.
    Client { client_id: String },
    /// What one credential obtained until then: the first part of a token's `jti` names it.
    Credential { credential: String },
    /// What a client obtained for one audience until then.
    Grant { client_id: String, aud: String },
    /// What was signed with a key that fell into wrong hands.
    Key { kid: String },
    /// A kind that a newer issuer has.
    #[serde(other)]
    Unknown,
}

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    Yes,
    /// It is about nothing that could come here.
    NoNeed,
    UnknownKind,
    Full,
}

/// All that is revoked and has not expired. The maps are split into parts with a lock each; while
/// nothing is revoked, none is touched.
#[derive(Default)]
pub(super) struct Revoked {
    tokens: DashMap<String, Until>,
    clients: DashMap<String, Until>,
    credentials: DashMap<String, Until>,
    /// Of grants for this service's audience, by client.
    grants: DashMap<String, Until>,
    /// Keys that no token may be signed with.
    keys: DashMap<String, Until>,
    pub(super) count: AtomicUsize,
}

#[derive(Clone, Copy)]
struct Until {
    revoked_at: u64,
    expires_at: u64,
}

impl Revoked {
    /// Whether a token was revoked.
    pub(super) fn covers(&self, token: &VerifiedToken) -> bool {
        if self.count.load(Ordering::Acquire) == 0 {
            return false;
        }
        // Without `iat` nobody knows whether it was issued later, so it counts as revoked.
        let issued_before = |until: Until| {
            token
                .issued_at()
                .is_none_or(|issued_at| issued_at <= until.revoked_at)
        };
        let holds = |map: &DashMap<String, Until>, key: &str| {
            map.get(key).is_some_and(|until| issued_before(*until))
        };
        // In the client credentials grant the subject is the client.
        let client = token.client_id().unwrap_or(token.subject());
        let by_id = token.token_id().is_some_and(|jti| {
            let credential = jti.split_once('.').map(|(credential, _)| credential);
            self.tokens.contains_key(jti)
                || credential.is_some_and(|credential| holds(&self.credentials, credential))
        });
        let by_key = |kid| self.keys.contains_key(kid);
        by_id
            || token.key_id().is_some_and(by_key)
            || holds(&self.clients, client)
            || holds(&self.grants, client)
    }

    /// Keeps an entry of the feed. `audience` is this service's.
    pub(super) fn add(&self, entry: Entry, audience: &str, now: u64) -> Kept {
        let until = Until {
            revoked_at: entry.revoked_at,
            expires_at: entry.expires_at,
        };
        if until.has_ended(now) {
            return Kept::NoNeed;
        }
        let (map, key) = match entry.what {
            What::Token { jti } => (&self.tokens, jti),
            What::Client { client_id } => (&self.clients, client_id),
            What::Credential { credential } => (&self.credentials, credential),
            What::Grant { client_id, aud } if aud == audience => (&self.grants, client_id),
            What::Grant { .. } => return Kept::NoNeed,
            What::Key { kid } => (&self.keys, kid),
            What::Unknown => return Kept::UnknownKind,
        };
        match map.entry(key) {
            // The later moment covers what the earlier one does.
            Slot::Occupied(mut known) => {
                let known = known.get_mut();
                known.revoked_at = known.revoked_at.max(until.revoked_at);
                known.expires_at = known.expires_at.max(until.expires_at);
            }
            Slot::Vacant(_) if self.count.load(Ordering::Relaxed) >= CAPACITY => return Kept::Full,
            Slot::Vacant(place) => {
                // Counted first: from the moment that it is there it must be found.
                self.count.fetch_add(1, Ordering::Release);
                place.insert(until);
            }
        }
        Kept::Yes
    }

    /// Forgets what has ended at `now`.
    pub(super) fn sweep(&self, now: u64) {
        for map in [
            &self.tokens,
            &self.clients,
            &self.credentials,
            &self.grants,
            &self.keys,
        ] {
            map.retain(|_, until| {
                let ended = until.has_ended(now);
                if ended {
                    self.count.fetch_sub(1, Ordering::Relaxed);
                }
                !ended
            });
        }
    }
}

impl Until {
    fn has_ended(self, now: u64) -> bool {
        now > self.expires_at.saturating_add(KEPT_LONGER)
    }
}
