//! Tokens that this server read lately: to ask about a token again costs a look into memory, where the first time it costs
//! a signature or a read of the store.
//!
//! What a token says never changes, and neither does the answer about it, so that nothing here grows old. Whether it has
//! ended, was taken back, or was signed with a key that is not believed any more is asked each time.

use std::{
    ops::Deref,
    sync::{Arc, OnceLock},
};

use m2m::memory::Memory;

use crate::{client::SecretHash, own_token::OwnToken};

/// How many tokens are remembered: so many sets of so many. One takes a kilobyte.
const SETS: usize = 1024;
const PLACES: usize = 10;

/// A token as it was read.
pub struct KnownToken {
    token: OwnToken,
    kid: Option<String>,
    answer: OnceLock<Box<str>>,
}

impl KnownToken {
    /// `kid` is the key that signed it; `None` for a reference into the store.
    pub fn new(token: OwnToken, kid: Option<String>) -> Self {
        Self {
            token,
            kid,
            answer: OnceLock::new(),
        }
    }

    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// What is told about it while it is good, as `write` puts it for the first who asks.
    pub fn answer(&self, write: impl FnOnce() -> String) -> &str {
        self.answer.get_or_init(|| write().into_boxed_str())
    }
}

impl Deref for KnownToken {
    type Target = OwnToken;

    fn deref(&self) -> &OwnToken {
        &self.token
    }
}

/// The tokens of one server, found by a hash of all that was presented: one token has several spellings, and only the one
/// that was verified is known.
pub struct KnownTokens(Memory<32, Arc<KnownToken>>);

impl Default for KnownTokens {
    fn default() -> Self {
        Self(Memory::new(SETS, PLACES))
    }
}

impl KnownTokens {
    pub fn get(&self, presented: &SecretHash) -> Option<Arc<KnownToken>> {
        self.0.get(presented.as_bytes())
    }

    pub fn insert(&self, presented: &SecretHash, known: Arc<KnownToken>) {
        self.0.insert(*presented.as_bytes(), known);
    }
}
