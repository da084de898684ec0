//! Which folder of which KV engine.

use std::{fmt, str::FromStr};

use crate::hashicorp::parse_path;

/// A KV engine's mount, and the folder in it that belongs to one vault: `secret/token-vault`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvPlace {
    mount: String,
    folder: String,
}

/// A text that names no folder of a KV engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a KV engine is `MOUNT/FOLDER`, of letters, digits, `-` and `_`")]
pub struct InvalidPlace;

/// `MOUNT/FOLDER`, where the mount may have slashes of its own; `MOUNT` alone is its folder `token-vault`, and nothing at all
/// the mount `secret`.
impl FromStr for KvPlace {
    type Err = InvalidPlace;

    fn from_str(text: &str) -> Result<Self, InvalidPlace> {
        let text = if text.is_empty() { "secret" } else { text };
        let path = parse_path(text).ok_or(InvalidPlace)?;
        let (mount, folder) = path.rsplit_once('/').unwrap_or((&path, "token-vault"));
        Ok(Self {
            mount: mount.to_owned(),
            folder: folder.to_owned(),
        })
    }
}

impl fmt::Display for KvPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.mount, self.folder)
    }
}

impl KvPlace {
    pub fn mount(&self) -> &str {
        &self.mount
    }

    pub fn folder(&self) -> &str {
        &self.folder
    }
}
