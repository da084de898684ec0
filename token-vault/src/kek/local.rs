//! A key-encryption key in this process: from a file that only its owner can read, or from the environment.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use aws_lc_rs::{aead::RandomizedNonceKey, hmac};
use base64::{Engine, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::{KekError, KekId, KeyEncryptionKey};
use crate::{
    envelope::{KEY_LEN, OpenError, cipher, open_with, seal_with},
    random::random_bytes,
};

/// AES-256-GCM with a key in memory.
pub struct LocalKey {
    id: KekId,
    cipher: RandomizedNonceKey,
}

/// Why there is no key-encryption key.
#[derive(Debug, thiserror::Error)]
pub enum LocalKeyError {
    #[error("{0} can be read by others: `chmod 600` it")]
    Exposed(PathBuf),
    #[error("{0} is no key-encryption key: it must hold 32 random bytes in base64")]
    Malformed(String),
    #[error("cannot read or write {0}")]
    Io(PathBuf, #[source] io::Error),
}

impl LocalKey {
    /// Takes a key from the environment, as base64 of 32 bytes. `name` is the variable's.
    ///
    /// # Errors
    /// When it is something else.
    pub fn from_text(text: &SecretString, name: &str) -> Result<Self, LocalKeyError> {
        Self::decode(text.expose_secret(), || name.to_owned())
    }

    /// Reads a key file; `None` when there is none.
    ///
    /// # Errors
    /// When others can read the file, or it holds something else.
    pub fn read(path: &Path) -> Result<Option<Self>, LocalKeyError> {
        let io_error = |error| LocalKeyError::Io(path.to_owned(), error);
        let mode = match fs::metadata(path) {
            Ok(metadata) => metadata.permissions().mode(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error(error)),
        };
        if mode & 0o077 != 0 {
            return Err(LocalKeyError::Exposed(path.to_owned()));
        }
        let text = Zeroizing::new(fs::read(path).map_err(io_error)?);
        let text = str::from_utf8(&text).unwrap_or_default();
        Self::decode(text, || path.display().to_string()).map(Some)
    }

    /// Makes a new key and writes it to a file that only its owner can read: beside its place first, so that a full disk
    /// or a crash leaves no half of a key. A file that is there is not overwritten.
    ///
    /// # Errors
    /// When the file is there already or cannot be written.
    pub fn create(path: &Path) -> Result<Self, LocalKeyError> {
        let bytes = Zeroizing::new(random_bytes::<KEY_LEN>());
        let text = Zeroizing::new(STANDARD.encode(bytes.as_slice()));
        let write = || {
            let folder = path.parent().unwrap_or(Path::new("."));
            let mut file = tempfile::Builder::new()
                .prefix(".key")
                .tempfile_in(folder)?; // mode 0600
            writeln!(file, "{}", text.as_str())?;
            file.as_file().sync_all()?;
            file.persist_noclobber(path)?;
            File::open(folder)?.sync_all()
        };
        write().map_err(|error| LocalKeyError::Io(path.to_owned(), error))?;
        Ok(Self::from_bytes(&bytes))
    }

    fn decode(text: &str, name: impl Fn() -> String) -> Result<Self, LocalKeyError> {
        let bytes = STANDARD.decode(text.trim()).map(Zeroizing::new).ok();
        let bytes = bytes.and_then(|bytes| bytes.as_slice().try_into().map(Zeroizing::new).ok());
        let bytes = bytes.ok_or_else(|| LocalKeyError::Malformed(name()))?;
        Ok(Self::from_bytes(&bytes))
    }

    fn from_bytes(bytes: &[u8; KEY_LEN]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, bytes);
        let name = hmac::sign(&key, b"token-vault key-encryption key");
        let name = name.as_ref()[..8].try_into().expect("the tag has 32 bytes");
        Self {
            id: KekId::new(format!("local-{:016x}", u64::from_be_bytes(name))),
            cipher: cipher(bytes),
        }
    }
}

#[async_trait]
impl KeyEncryptionKey for LocalKey {
    fn id(&self) -> &KekId {
        &self.id
    }

    fn is_at_hand(&self) -> bool {
        true
    }

    async fn wrap(&self, key: &[u8; KEY_LEN], place: &[u8]) -> Result<Vec<u8>, KekError> {
        Ok(seal_with(&self.cipher, key, place))
    }

    async fn unwrap(
        &self,
        wrapped: &[u8],
        place: &[u8],
    ) -> Result<Zeroizing<[u8; KEY_LEN]>, OpenError> {
        let key = open_with(&self.cipher, wrapped, place).ok_or(OpenError::Mismatch)?;
        let key = key.as_slice().try_into().map_err(|_| OpenError::Mismatch)?;
        Ok(Zeroizing::new(key))
    }
}

impl fmt::Debug for LocalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocalKey({})", self.id)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{envelope, kek::KeyRing};

    fn ring(key: LocalKey, earlier: Option<LocalKey>) -> KeyRing {
        let earlier = earlier
            .into_iter()
            .map(|key| Arc::new(key) as Arc<dyn KeyEncryptionKey>);
        KeyRing::new(Arc::new(key), earlier.collect())
    }

    #[actix_web::test]
    async fn only_the_same_place_and_key_open_an_envelope() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        assert!(LocalKey::read(&path).unwrap().is_none());
        let first = ring(LocalKey::create(&path).unwrap(), None);
        let envelope = envelope::seal(&first, b"secret", b"row 1").await.unwrap();
        assert!(!envelope.sealed.windows(6).any(|part| part == b"secret"));

        let again = ring(LocalKey::read(&path).unwrap().unwrap(), None);
        assert_eq!(again.current(), first.current());
        let opened = envelope::open(&again, &envelope, b"row 1").await.unwrap();
        assert_eq!(opened.as_slice(), b"secret");
        let other_place = envelope::open(&again, &envelope, b"row 2").await;
        assert!(matches!(other_place, Err(OpenError::Mismatch)));

        let other = ring(
            LocalKey::create(&folder.path().join("other")).unwrap(),
            None,
        );
        let wrong_key = envelope::open(&other, &envelope, b"row 1").await;
        assert!(matches!(
            wrong_key,
            Err(OpenError::Kek(KekError::Unknown(_)))
        ));
        let both = ring(
            LocalKey::read(&folder.path().join("other"))
                .unwrap()
                .unwrap(),
            LocalKey::read(&path).unwrap(),
        );
        for ring in [&first, &other] {
            assert!(both.has(ring.current()).await.unwrap());
        }
        assert!(envelope::open(&both, &envelope, b"row 1").await.is_ok());

        for part in [&[][..], b"short", &envelope.sealed[1..]] {
            let torn = envelope::Envelope {
                sealed: part.to_vec(),
                ..envelope.clone()
            };
            let torn = envelope::open(&again, &torn, b"row 1").await;
            assert!(matches!(torn, Err(OpenError::Mismatch)));
        }
    }

    #[test]
    fn a_key_file_that_others_can_read_or_that_is_damaged_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        LocalKey::create(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert!(
            LocalKey::create(&path).is_err(),
            "an existing key is never overwritten"
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            LocalKey::read(&path),
            Err(LocalKeyError::Exposed(_))
        ));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        for text in ["", "AAAA", "not base64!", "\u{fffd}"] {
            fs::write(&path, text).unwrap();
            assert!(
                matches!(LocalKey::read(&path), Err(LocalKeyError::Malformed(_))),
                "{text}"
            );
        }
    }
}
