//! Key-encryption keys: what data keys are wrapped by. None of them is in the store.
//!
//! The ring holds the key that wraps now, and those of before, which only open: while the keys of the store are rewrapped,
//! both kinds are there.

mod local;
mod transit;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use zeroize::Zeroizing;

pub use local::{LocalKey, LocalKeyError};
pub use transit::{InvalidTransitName, TransitKey, TransitKeyError, TransitName};

use crate::envelope::{KEY_LEN, OpenError};

/// The name of a key-encryption key. It follows from the key, so that a wrong key has a wrong name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KekId(String);

impl KekId {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KekId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A key-encryption key cannot be used just now.
#[derive(Debug, thiserror::Error)]
pub enum KekError {
    /// No key of this name is configured. A start with such rows in the store is refused, so it was changed since.
    #[error("no key-encryption key `{0}` is configured")]
    Unknown(KekId),
    /// The service that holds the key does not do what it should.
    #[error("the key-encryption key cannot be used: {0}")]
    Unavailable(String),
}

/// A key that wraps other keys. A boundary: keys in memory stand behind it, and those that never leave another service.
#[async_trait]
pub trait KeyEncryptionKey: Send + Sync {
    /// Its name.
    fn id(&self) -> &KekId;

    /// Encrypts a data key for `place`.
    async fn wrap(&self, key: &[u8; KEY_LEN], place: &[u8]) -> Result<Vec<u8>, KekError>;

    /// Decrypts what [`wrap`](Self::wrap) made for the same place.
    async fn unwrap(
        &self,
        wrapped: &[u8],
        place: &[u8],
    ) -> Result<Zeroizing<[u8; KEY_LEN]>, OpenError>;

    /// Whether the key is in this process.
    fn is_at_hand(&self) -> bool {
        false
    }

    /// Another version of this key, by its name, where keys have versions and there is that one.
    async fn sibling(&self, _: &KekId) -> Result<Option<Arc<dyn KeyEncryptionKey>>, KekError> {
        Ok(None)
    }
}

/// The keys of a vault: one that wraps, and those that still open.
#[derive(Clone)]
pub struct KeyRing {
    current: Arc<dyn KeyEncryptionKey>,
    earlier: Vec<Arc<dyn KeyEncryptionKey>>,
}

impl KeyRing {
    pub fn new(
        current: Arc<dyn KeyEncryptionKey>,
        earlier: Vec<Arc<dyn KeyEncryptionKey>>,
    ) -> Self {
        Self { current, earlier }
    }

    /// The name of the key that wraps.
    pub fn current(&self) -> &KekId {
        self.current.id()
    }

    /// Whether opening needs nobody else: all keys are in this process.
    pub fn is_at_hand(&self) -> bool {
        let mut keys = std::iter::once(&self.current).chain(&self.earlier);
        keys.all(|key| key.is_at_hand())
    }

    /// Whether what this key wrapped can be opened.
    ///
    /// # Errors
    /// When a service that has keys cannot say just now.
    pub async fn has(&self, id: &KekId) -> Result<bool, KekError> {
        Ok(self.key(id).await?.is_some())
    }

    async fn key(&self, id: &KekId) -> Result<Option<Arc<dyn KeyEncryptionKey>>, KekError> {
        let keys = || std::iter::once(&self.current).chain(&self.earlier);
        if let Some(key) = keys().find(|key| key.id() == id) {
            return Ok(Some(Arc::clone(key)));
        }
        for key in keys() {
            if let Some(sibling) = key.sibling(id).await? {
                return Ok(Some(sibling));
            }
        }
        Ok(None)
    }

    /// Wraps a data key with the current key.
    ///
    /// # Errors
    /// When the key cannot be used just now.
    pub async fn wrap(&self, key: &[u8; KEY_LEN], place: &[u8]) -> Result<Vec<u8>, KekError> {
        self.current.wrap(key, place).await
    }

    /// Opens a data key with the key that wrapped it.
    ///
    /// # Errors
    /// When that key is not here, cannot be used just now, or wrapped it for another place.
    pub async fn unwrap(
        &self,
        id: &KekId,
        wrapped: &[u8],
        place: &[u8],
    ) -> Result<Zeroizing<[u8; KEY_LEN]>, OpenError> {
        let key = self.key(id).await?;
        let key = key.ok_or_else(|| KekError::Unknown(id.clone()))?;
        key.unwrap(wrapped, place).await
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "KeyRing({} and {} earlier)",
            self.current(),
            self.earlier.len()
        )
    }
}
