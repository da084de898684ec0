//! The key of backups: 256 random bits that the operator keeps apart from the server. There is no passphrase: what people
//! can remember, others can guess, and whoever has a backup has time.

use std::{
    env, fmt,
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use anyhow::{Context, bail, ensure};
use aws_lc_rs::{
    aead::{AES_256_GCM, LessSafeKey, UnboundKey},
    hkdf::{HKDF_SHA256, Prk, Salt},
};
use zeroize::Zeroizing;

use crate::client::{is_well_formed, unguessable};

/// How the text of a key begins.
const PREFIX: &str = "apb_";

/// Not a flag: a process list would show it.
pub(super) const KEY_VARIABLE: &str = "AUTH_PROVIDER_BACKUP_KEY";

/// What the operator keeps. It has 256 random bits, so that no slow hash has to stand before it.
pub struct BackupKey(Zeroizing<String>);

/// By which a backup says which key opens it: the key cannot be told from it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyName(pub(super) [u8; 8]);

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Debug for BackupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BackupKey({})", self.name())
    }
}

impl BackupKey {
    pub fn generate() -> Self {
        Self(Zeroizing::new(unguessable(PREFIX)))
    }

    fn parse(text: &str, place: &str) -> anyhow::Result<Self> {
        let text = text.trim();
        ensure!(
            is_well_formed(text, PREFIX),
            "{place} is no key for backups, or is damaged: it is one line that begins with {PREFIX}, as \
             `auth-provider backup new-key` makes it"
        );
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// The key of this file, or of the environment.
    ///
    /// # Errors
    /// When there is none, or two, or others can read the file.
    pub fn find(file: Option<&Path>) -> anyhow::Result<Self> {
        let variable = env::var(KEY_VARIABLE).ok().filter(|text| !text.is_empty());
        match (file, variable.map(Zeroizing::new)) {
            (Some(_), Some(_)) => {
                bail!("there are two keys: say --key-file or set {KEY_VARIABLE}, not both")
            }
            (None, None) => bail!(
                "a backup holds every key of the server and is encrypted: name the file of its key with --key-file, or \
                 set {KEY_VARIABLE}. `auth-provider backup new-key FILE` makes one"
            ),
            (None, Some(text)) => Self::parse(&text, KEY_VARIABLE),
            (Some(path), None) => Self::read(path),
        }
    }

    fn read(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let cannot_read = || format!("cannot read the key file {shown}");
        let metadata = fs::metadata(path).with_context(cannot_read)?;
        let of_others = metadata.permissions().mode() & 0o077;
        ensure!(
            of_others == 0,
            "{shown} can be read by others: `chmod 600` it"
        );
        ensure!(
            metadata.len() < 4096,
            "{shown} is no key for backups: it is too long"
        );
        let text = Zeroizing::new(fs::read(path).with_context(cannot_read)?);
        let text = str::from_utf8(&text).unwrap_or_default();
        Self::parse(text, &shown.to_string())
    }

    /// Writes the key to a new file that only its owner can read.
    ///
    /// # Errors
    /// When it is there already, or cannot be written.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let shown = path.display();
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(path);
        let mut file = file.map_err(|error| {
            if error.kind() == io::ErrorKind::AlreadyExists {
                anyhow::anyhow!("{shown} is there already: a key is never overwritten")
            } else {
                anyhow::anyhow!("cannot write {shown}: {error}")
            }
        })?;
        writeln!(file, "{}", self.0.as_str())
            .and_then(|()| file.sync_all())
            .with_context(|| format!("cannot write {shown}"))
    }

    pub fn name(&self) -> KeyName {
        let mut name = [0; 8];
        let derived = self.derive(&[], &[b"auth-provider backup key name"], &mut name);
        derived.expect("HKDF gives eight bytes");
        KeyName(name)
    }

    /// The key of one file: of its random salt, and bound to its header.
    pub(super) fn of_file(&self, salt: &[u8], header: &[u8]) -> LessSafeKey {
        let prk = self.extract(salt);
        let info = [b"auth-provider backup file".as_slice(), header];
        let okm = prk.expand(&info, &AES_256_GCM);
        let key = UnboundKey::from(okm.expect("HKDF gives a key of 32 bytes"));
        LessSafeKey::new(key)
    }

    fn extract(&self, salt: &[u8]) -> Prk {
        Salt::new(HKDF_SHA256, salt).extract(self.0.as_bytes())
    }

    fn derive(
        &self,
        salt: &[u8],
        info: &[&[u8]],
        out: &mut [u8; 8],
    ) -> Result<(), aws_lc_rs::error::Unspecified> {
        struct Eight;
        impl aws_lc_rs::hkdf::KeyType for Eight {
            fn len(&self) -> usize {
                8
            }
        }
        self.extract(salt).expand(info, Eight)?.fill(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_written_and_tells_its_name_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let key = BackupKey::generate();
        key.write(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(BackupKey::read(&path).unwrap().name(), key.name());
        assert_ne!(BackupKey::generate().name(), key.name());
        assert!(!format!("{key:?}").contains(PREFIX));
        let again = BackupKey::generate().write(&path).unwrap_err();
        assert!(again.to_string().contains("is there already"));
        assert_eq!(BackupKey::read(&path).unwrap().name(), key.name());

        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let exposed = BackupKey::read(&path).unwrap_err().to_string();
        assert!(exposed.contains("can be read by others"), "{exposed}");
    }

    #[test]
    fn a_text_that_is_no_key_is_not_repeated() {
        let good = BackupKey::generate().0;
        for text in ["", "hunter2", &good[1..], &good.replace("apb_", "apb_x")] {
            let error = BackupKey::parse(text, "the place").unwrap_err().to_string();
            assert!(error.contains("the place is no key"), "{error}");
            assert!(text.is_empty() || !error.contains(text), "{error}");
        }
    }
}
