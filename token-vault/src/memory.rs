//! Connections that were asked for lately, opened.
//!
//! Where no other server has the store, memory is right: whatever changes a connection has it forgotten here. Where others
//! have it too, memory only saves the opening: a row is looked at for each request, and what is here counts while it has
//! the row's version.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use moka::sync::Cache;

use crate::{connection::ConnectionKey, secret::Tokens, storage::USED_EVERY};

/// How much memory tokens may take that were asked for lately, in bytes.
const BUDGET: u64 = 256 * 1024 * 1024;

/// What a connection in memory takes beside its tokens, in bytes: keys, the cache's own books.
const ENTRY: usize = 600;

/// A connection, opened.
#[derive(Debug)]
pub struct Opened {
    pub key: ConnectionKey,
    pub tokens: Tokens,
    /// Of the row that it was opened from.
    pub(crate) version: u64,
    /// Until when it may be given from memory, in milliseconds since 1970. Before that nobody refreshes it.
    pub(crate) good_until: u64,
    /// When its use was noted last.
    noted_at: AtomicU64,
}

impl Opened {
    pub(crate) fn new(key: ConnectionKey, tokens: Tokens, version: u64, good_until: u64) -> Self {
        Self {
            key,
            tokens,
            version,
            good_until,
            noted_at: AtomicU64::new(0),
        }
    }

    /// Whether the use at this moment is to be noted: once in a while one is.
    pub(crate) fn is_use(&self, now: u64) -> bool {
        let noted = self.noted_at.load(Ordering::Relaxed);
        let (new, order) = (now, Ordering::Relaxed);
        noted + USED_EVERY <= now
            && self
                .noted_at
                .compare_exchange(noted, new, order, order)
                .is_ok()
    }
}

/// The connections in memory of one server.
pub struct Memory {
    opened: Cache<ConnectionKey, Arc<Opened>>,
    /// Counts changes of connections by this server: what was read before one is not kept after it.
    changes: AtomicU64,
}

impl Default for Memory {
    fn default() -> Self {
        let weight = |key: &ConnectionKey, opened: &Arc<Opened>| {
            let names = key.user.as_str().len() + key.account.as_str().len();
            u32::try_from(ENTRY + 2 * names + opened.tokens.size()).unwrap_or(u32::MAX)
        };
        let opened = Cache::builder().max_capacity(BUDGET).weigher(weight);
        Self {
            opened: opened.build(),
            changes: AtomicU64::new(0),
        }
    }
}

impl Memory {
    /// What is in memory of a connection, if it may still be given at this moment.
    pub(crate) fn get(&self, key: &ConnectionKey, now: u64) -> Option<Arc<Opened>> {
        self.opened
            .get(key)
            .filter(|opened| now < opened.good_until)
    }

    /// How many changes there have been. To be asked before a connection is read.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    /// Keeps what was read when there had been so many changes, unless there was one since.
    pub(crate) fn keep(&self, opened: &Arc<Opened>, changes: u64) {
        if self.changes() != changes {
            return;
        }
        self.opened.insert(opened.key.clone(), Arc::clone(opened));
        // A change that came between: its own removal may have been too early.
        if self.changes() != changes {
            self.opened.invalidate(&opened.key);
        }
    }

    /// To be called after each change of a connection, whether it succeeded or not.
    pub(crate) fn forget(&self, key: &ConnectionKey) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.opened.invalidate(key);
    }
}
