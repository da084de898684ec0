//! The master key: what private keys are sealed under before they touch the store.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::{Engine, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::client::random_bytes;

const KEY_LEN: usize = 32;

/// AES-256-GCM with a random nonce for each sealing. It seals a handful of keys in its life, far from the
/// 2^32 sealings that random nonces allow.
pub struct MasterKey(RandomizedNonceKey);

/// Why there is no master key.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    #[error("{0} can be read by others: `chmod 600` it")]
    Exposed(PathBuf),
    #[error(
        "{0} is not a master key: it must hold 32 bytes in base64, as `openssl rand -base64 32` prints"
    )]
    Malformed(String),
    #[error("cannot read or write {0}")]
    Io(PathBuf, #[source] io::Error),
}

/// A sealed value that this key did not seal, or that was sealed for another place.
#[derive(Debug, thiserror::Error)]
#[error("the master key does not open what is stored")]
pub struct WrongKey;

impl MasterKey {
    /// Takes the key from the configuration, as base64 of 32 bytes.
    pub fn from_config(text: &SecretString) -> Result<Self, MasterKeyError> {
        Self::decode(text.expose_secret(), || {
            "AUTH_PROVIDER_MASTER_KEY".to_owned()
        })
    }

    /// Reads the key file. `None` when there is none.
    pub fn read(path: &Path) -> Result<Option<Self>, MasterKeyError> {
        let Some(text) = Self::read_text(path)? else {
            return Ok(None);
        };
        Self::decode(&text, || path.display().to_string()).map(Some)
    }

    /// What stands in the key file: for backups, which hold the key. `None` when there is no file.
    pub fn read_text(path: &Path) -> Result<Option<Zeroizing<String>>, MasterKeyError> {
        let io_error = |error| MasterKeyError::Io(path.to_owned(), error);
        let mode = match fs::metadata(path) {
            Ok(metadata) => metadata.permissions().mode(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error(error)),
        };
        if mode & 0o077 != 0 {
            return Err(MasterKeyError::Exposed(path.to_owned()));
        }
        let text = fs::read(path).map_err(io_error)?;
        // What is no text is no key either.
        Ok(Some(Zeroizing::new(
            String::from_utf8(text).unwrap_or_default(),
        )))
    }

    /// Makes a new key and writes it to a file.
    pub fn create(path: &Path) -> Result<Self, MasterKeyError> {
        let bytes = Zeroizing::new(random_bytes::<KEY_LEN>());
        let text = Zeroizing::new(STANDARD.encode(bytes.as_slice()));
        Self::write(path, &text)?;
        Ok(Self::from_bytes(bytes.as_slice()))
    }

    /// Writes the text of a key to a new file that only its owner can read: beside its place first, so that a full
    /// disk or a crash leaves no half of a key.
    pub fn write(path: &Path, text: &str) -> Result<(), MasterKeyError> {
        let write = || {
            let folder = path.parent().unwrap_or(Path::new("."));
            let mut file = tempfile::Builder::new()
                .prefix(".master")
                .tempfile_in(folder)?; // mode 0600
            writeln!(file, "{text}")?;
            file.as_file().sync_all()?;
            file.persist_noclobber(path)?;
            File::open(folder)?.sync_all()
        };
        write().map_err(|error| MasterKeyError::Io(path.to_owned(), error))
    }

    fn decode(text: &str, name: impl Fn() -> String) -> Result<Self, MasterKeyError> {
        let bytes = STANDARD
            .decode(text.trim())
            .map(Zeroizing::new)
            .ok()
            .filter(|bytes| bytes.len() == KEY_LEN)
            .ok_or_else(|| MasterKeyError::Malformed(name()))?;
        Ok(Self::from_bytes(&bytes))
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        Self(RandomizedNonceKey::new(&AES_256_GCM, bytes).expect("the key is 32 bytes long"))
    }

    /// Encrypts `secret`. `place` names where it will be stored: a value moved elsewhere does not open.
    pub fn seal(&self, secret: &[u8], place: &str) -> Vec<u8> {
        let mut sealed = secret.to_vec();
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::from(place.as_bytes()), &mut sealed)
            .expect("a private key is far shorter than what AES-GCM can seal");
        [nonce.as_ref().as_slice(), &sealed].concat()
    }

    /// Decrypts what [`seal`](Self::seal) made for the same place.
    pub fn open(&self, sealed: &[u8], place: &str) -> Result<Zeroizing<Vec<u8>>, WrongKey> {
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN).ok_or(WrongKey)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| WrongKey)?;
        let mut text = Zeroizing::new(text.to_vec());
        let opened = self
            .0
            .open_in_place(nonce, Aad::from(place.as_bytes()), &mut text)
            .map_err(|_| WrongKey)?
            .len();
        text.truncate(opened);
        Ok(text)
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_and_place_open_a_sealed_value() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        assert!(MasterKey::read(&path).unwrap().is_none());
        let key = MasterKey::create(&path).unwrap();
        let sealed = key.seal(b"private", "kid-1");
        assert!(!sealed.windows(7).any(|part| part == b"private"));

        let same = MasterKey::read(&path).unwrap().unwrap();
        assert_eq!(same.open(&sealed, "kid-1").unwrap().as_slice(), b"private");
        assert!(same.open(&sealed, "kid-2").is_err());
        assert!(same.open(&sealed[1..], "kid-1").is_err());
        assert!(same.open(b"short", "kid-1").is_err());
        let other = MasterKey::create(&folder.path().join("other.key")).unwrap();
        assert!(other.open(&sealed, "kid-1").is_err());
    }

    #[test]
    fn a_key_file_that_others_can_read_or_that_is_damaged_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        MasterKey::create(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert!(
            MasterKey::create(&path).is_err(),
            "an existing key is never overwritten"
        );

        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            MasterKey::read(&path),
            Err(MasterKeyError::Exposed(_))
        ));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        for text in ["", "AAAA", "not base64!", "\u{fffd}"] {
            fs::write(&path, text).unwrap();
            assert!(
                matches!(MasterKey::read(&path), Err(MasterKeyError::Malformed(_))),
                "{text}"
            );
        }
    }
}
