//! The place of one token: what is held for a (resource, scopes), and who fetches the next one.

use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;

use super::{AccessToken, FetchError, request::Wish};

/// A token is renewed behind its users from here on, in tenths of its life. Fractions and not
/// seconds, so that short-lived tokens are treated alike.
const DUE: u64 = 8;
/// From here on users wait for a new one: what is left may be too short for a request and the
/// clocks' difference.
const SPENT: u64 = 9;

/// The pause after a renewal was begun before another one may be, in milliseconds.
const RENEWAL_PAUSE: u64 = 10_000;

pub(super) struct Slot {
    pub(super) wish: Wish,
    pub(super) held: ArcSwapOption<AccessToken>,
    /// When the next renewal behind the users may begin, in milliseconds since the Unix epoch.
    /// Whoever moves it forward is the one who renews.
    renew_at: AtomicU64,
    /// Fetches that have ended, well or not. Who waited for one sees here that it is over.
    pub(super) fetches: AtomicU64,
    /// Lets one fetch through at a time; the others wait for it. Holds how the last one failed, if
    /// it did.
    pub(super) gate: tokio::sync::Mutex<Option<FetchError>>,
}

/// Where in its life a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    Fresh,
    /// Still good, but a new one should be fetched.
    Due,
    /// Too near its end to be used, or past it.
    Spent,
}

impl Slot {
    pub(super) fn new(wish: Wish) -> Self {
        Self {
            wish,
            held: ArcSwapOption::empty(),
            renew_at: AtomicU64::new(0),
            fetches: AtomicU64::new(0),
            gate: tokio::sync::Mutex::default(),
        }
    }

    /// Whether this is the place for `scopes`, in whatever order they are named.
    pub(super) fn is_for(&self, scopes: &[&str]) -> bool {
        scopes.iter().all(|scope| self.wish.scopes.contains(scope))
            && self.wish.scopes.iter().all(|scope| scopes.contains(&scope))
    }

    /// True for the one caller that is to renew the token now.
    pub(super) fn claim_renewal(&self, now: u64) -> bool {
        let due = self.renew_at.load(Ordering::Relaxed);
        let next = now + RENEWAL_PAUSE;
        now >= due
            && self
                .renew_at
                .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

impl AccessToken {
    pub(super) fn age(&self, now: u64) -> Age {
        let tenth = (self.expires_at - self.fetched_at) / 10;
        if now < self.fetched_at + DUE * tenth {
            Age::Fresh
        } else if now < self.fetched_at + SPENT * tenth {
            Age::Due
        } else {
            Age::Spent
        }
    }
}
