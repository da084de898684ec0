//! Signing keys: made here, kept sealed in the store, held parsed in memory, published as a key set.
//!
//! A key's life is decided by times that stand in the store, and by nothing else: [`life`] has the rules, as
//! functions of the keys, the [`Schedule`] and the time. [`SigningKeys`] carries out what they say.

mod keeper;
pub mod life;
mod pair;
#[cfg(test)]
mod promises;
mod ring;
mod schedule;
mod slow;

use m2m::verify::Algorithm;

pub use keeper::{DEFAULT_ALGORITHM, KeyCensus, SigningKeys};
pub use life::{KeyChange, KeyRecord, KeyState};
pub use pair::{SigningKey, TokenType};
pub use ring::{KeyRing, Signer};
pub use schedule::{Period, Schedule, Wished};

use crate::storage::StoreError;

/// A signing key as the store keeps it: the private part is sealed under the master key, for its kid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredKey {
    pub record: KeyRecord,
    /// Empty once the key is compromised.
    pub sealed_private: Vec<u8>,
}

/// Why there is no key to sign with.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error(
        "the master key does not open the signing key {kid}: start with the master key that this \
         database was made with"
    )]
    WrongMasterKey { kid: String },
    #[error("the signing key {kid} in the database is damaged: restore it from a backup")]
    Damaged { kid: String },
    #[error("there is no signing key for {0}")]
    Missing(&'static str),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The algorithm that is called `name` (RFC 7518 section 3.1).
pub fn algorithm(name: &str) -> Option<Algorithm> {
    Algorithm::ALL.into_iter().find(|alg| alg.name() == name)
}
