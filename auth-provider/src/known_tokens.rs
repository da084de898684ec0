//! Tokens that this server read lately: to ask about a token again costs a look into memory, where the first time it costs
//! a signature or a read of the store.
//!
//! What a token says never changes, so that nothing here grows old. Whether it has ended, was taken back, or was signed with
//! a key that is not believed any more is asked each time.

use std::sync::Arc;

use moka::sync::Cache;

use crate::{client::SecretHash, own_token::OwnToken};

/// How many tokens are remembered. One takes half a kilobyte.
const MOST: u64 = 10_000;

/// A token as it was read.
#[derive(Clone)]
pub struct KnownToken {
    pub token: Arc<OwnToken>,
    /// The key that signed it; `None` for a reference into the store.
    pub kid: Option<Arc<str>>,
}

/// The tokens of one server, found by a hash of all that was presented: one token has several spellings, and only the one
/// that was verified is known.
pub struct KnownTokens(Cache<Box<[u8]>, KnownToken>);

impl Default for KnownTokens {
    fn default() -> Self {
        Self(Cache::new(MOST))
    }
}

impl KnownTokens {
    pub fn get(&self, presented: &SecretHash) -> Option<KnownToken> {
        self.0.get(presented.as_bytes())
    }

    pub fn insert(&self, presented: &SecretHash, known: KnownToken) {
        self.0.insert(presented.as_bytes().into(), known);
    }
}
