//! A key-encryption key in the Transit engine of a Vault server, HashiCorp's or OpenBao's: it never leaves the server, which wraps
//! and unwraps data keys for us, with the row's identity as associated data.
//!
//! The key's name here follows from its path, its version and an HMAC that the server computes with it, so that a key that was
//! deleted and made anew under the same path is another one. When the key is rotated there, each server of the vault wraps
//! with the new version from its next start on, and rewraps what earlier ones wrapped; until then it opens what the others
//! wrap already.

use std::{fmt, str::FromStr, sync::Arc, sync::Mutex, sync::PoisonError};

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{KekError, KekId, KeyEncryptionKey};
use crate::{
    envelope::{KEY_LEN, OpenError},
    hashicorp::{Answer, Server, ServerError, data, parse_path},
};

/// Keys that authenticate associated data.
const TYPES: [&str; 4] = [
    "aes128-gcm96",
    "aes256-gcm96",
    "chacha20-poly1305",
    "xchacha20-poly1305",
];

/// Where a key is: the engine's mount and the key's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransitName {
    mount: String,
    name: String,
}

/// A text that names no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key of the Transit engine is `MOUNT/NAME`, of letters, digits, `-` and `_`")]
pub struct InvalidTransitName;

impl FromStr for TransitName {
    type Err = InvalidTransitName;

    fn from_str(text: &str) -> Result<Self, InvalidTransitName> {
        let path = parse_path(text).ok_or(InvalidTransitName)?;
        let (mount, name) = path.rsplit_once('/').unwrap_or(("transit", &path));
        Ok(Self {
            mount: mount.to_owned(),
            name: name.to_owned(),
        })
    }
}

impl fmt::Display for TransitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.mount, self.name)
    }
}

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TransitKeyError {
    #[error("there is none: make it with `vault write -f {mount}/keys/{name} type=aes256-gcm96`", mount = .0.mount, name = .0.name)]
    Missing(TransitName),
    #[error(
        "it is of type {0}: it must be aes256-gcm96, or another that authenticates associated data"
    )]
    Type(String),
    #[error("it is derived or convergent: make one that is not")]
    Derived,
    #[error("the server takes no associated data: it is too old")]
    NoAssociatedData,
    #[error(transparent)]
    Unusable(#[from] KekError),
    #[error(transparent)]
    Server(#[from] ServerError),
}

/// One version of a key.
pub struct TransitKey {
    id: KekId,
    server: Arc<Server>,
    place: TransitName,
    version: u64,
    /// Other versions that were asked for.
    siblings: Arc<Mutex<Vec<Arc<TransitKey>>>>,
}

/// What the engine says of a key.
#[derive(Deserialize)]
struct Described {
    r#type: String,
    latest_version: u64,
    #[serde(default)]
    derived: bool,
    #[serde(default)]
    convergent_encryption: bool,
}

impl TransitKey {
    /// The newest version of a key. That it can be used and knows the place of what it wraps is tried out.
    ///
    /// # Errors
    /// When there is none, it does not do, or the server cannot be asked.
    pub async fn open(server: Arc<Server>, name: &TransitName) -> Result<Self, TransitKeyError> {
        let path = format!("{}/keys/{}", name.mount, name.name);
        let described: Described = match server.get(&path).await? {
            Answer::Done(body) => data(&body)?,
            Answer::Absent(_) => return Err(TransitKeyError::Missing(name.clone())),
            Answer::Refused(_) => return Err(ServerError::Status(400).into()),
        };
        if !TYPES.contains(&described.r#type.as_str()) {
            return Err(TransitKeyError::Type(described.r#type));
        }
        if described.derived || described.convergent_encryption {
            return Err(TransitKeyError::Derived);
        }
        let version = described.latest_version;
        let id = identify(&server, name, version).await?;
        let key = Self {
            id: id.ok_or(ServerError::Unexpected(
                "the newest version of a key is not there",
            ))?,
            server,
            place: name.clone(),
            version,
            siblings: Arc::default(),
        };
        let wrapped = key.wrap(&[0; KEY_LEN], b"here").await?;
        match key.unwrap(&wrapped, b"elsewhere").await {
            Err(OpenError::Mismatch) => Ok(key),
            Err(OpenError::Kek(error)) => Err(error.into()),
            Ok(_) => Err(TransitKeyError::NoAssociatedData),
        }
    }

    async fn ask<T: for<'a> Deserialize<'a>>(
        &self,
        operation: &str,
        body: &Value,
    ) -> Result<Result<T, Zeroizing<Vec<u8>>>, KekError> {
        let TransitName { mount, name } = &self.place;
        let unavailable = |error: ServerError| KekError::Unavailable(error.to_string());
        let path = format!("{mount}/{operation}/{name}");
        match self.server.post(&path, body).await.map_err(unavailable)? {
            Answer::Done(body) => data(&body).map(Ok).map_err(unavailable),
            Answer::Refused(body) => Ok(Err(body)),
            Answer::Absent(_) => Err(unavailable(ServerError::Status(404))),
        }
    }
}

/// The name of a version; `None` when there is no such version (any more).
async fn identify(
    server: &Server,
    TransitName { mount, name }: &TransitName,
    version: u64,
) -> Result<Option<KekId>, ServerError> {
    #[derive(Deserialize)]
    struct Computed {
        hmac: String,
    }
    let path = format!("{mount}/hmac/{name}/sha2-256");
    let text = STANDARD.encode("token-vault key-encryption key");
    let body = json!({"input": text, "key_version": version});
    let Computed { hmac } = match server.post(&path, &body).await? {
        Answer::Done(body) => data(&body)?,
        Answer::Refused(_) | Answer::Absent(_) => return Ok(None),
    };
    let bytes = hmac
        .rsplit(':')
        .next()
        .and_then(|text| STANDARD.decode(text).ok());
    let bytes = bytes.and_then(|bytes| bytes.first_chunk::<8>().copied());
    let bytes = bytes.ok_or(ServerError::Unexpected("an HMAC that is none"))?;
    let hash = u64::from_be_bytes(bytes);
    Ok(Some(KekId::new(format!(
        "transit:{mount}/{name}:v{version}:{hash:016x}"
    ))))
}

#[async_trait]
impl KeyEncryptionKey for TransitKey {
    fn id(&self) -> &KekId {
        &self.id
    }

    async fn wrap(&self, key: &[u8; KEY_LEN], place: &[u8]) -> Result<Vec<u8>, KekError> {
        #[derive(Deserialize)]
        struct Wrapped {
            ciphertext: String,
        }
        let body = json!({
            "plaintext": STANDARD.encode(key),
            "associated_data": STANDARD.encode(place),
            "key_version": self.version,
        });
        let Ok(Wrapped { ciphertext }) = self.ask("encrypt", &body).await? else {
            let error = "the Transit engine does not encrypt with the version that was the newest at the start";
            return Err(KekError::Unavailable(error.to_owned()));
        };
        Ok(ciphertext.into_bytes())
    }

    async fn unwrap(
        &self,
        wrapped: &[u8],
        place: &[u8],
    ) -> Result<Zeroizing<[u8; KEY_LEN]>, OpenError> {
        #[derive(Deserialize)]
        struct Unwrapped {
            plaintext: SecretString,
        }
        // What another key or version wrapped cannot be this row's.
        let prefix = format!("vault:v{}:", self.version);
        let ciphertext = str::from_utf8(wrapped).map_err(|_| OpenError::Mismatch)?;
        let text = ciphertext
            .strip_prefix(&prefix)
            .ok_or(OpenError::Mismatch)?;
        STANDARD.decode(text).map_err(|_| OpenError::Mismatch)?;
        let body = json!({"ciphertext": ciphertext, "associated_data": STANDARD.encode(place)});
        let Unwrapped { plaintext } = match self.ask("decrypt", &body).await? {
            Ok(unwrapped) => unwrapped,
            Err(refusal) => return Err(refused(&refusal)),
        };
        let key = Zeroizing::new(
            STANDARD
                .decode(plaintext.expose_secret())
                .map_err(|_| OpenError::Mismatch)?,
        );
        let key = key.as_slice().try_into().map_err(|_| OpenError::Mismatch)?;
        Ok(Zeroizing::new(key))
    }

    async fn sibling(&self, id: &KekId) -> Result<Option<Arc<dyn KeyEncryptionKey>>, KekError> {
        let siblings = || self.siblings.lock().unwrap_or_else(PoisonError::into_inner);
        let known = siblings().iter().find(|key| key.id == *id).cloned();
        if let Some(key) = known {
            return Ok(Some(key));
        }
        let prefix = format!("transit:{}:v", self.place);
        let version = id
            .as_str()
            .strip_prefix(&prefix)
            .and_then(|rest| rest.split_once(':'));
        let Some(Ok(version)) = version.map(|(version, _)| version.parse()) else {
            return Ok(None);
        };
        let there = identify(&self.server, &self.place, version).await;
        let there = there.map_err(|error| KekError::Unavailable(error.to_string()))?;
        if there.as_ref() != Some(id) {
            return Ok(None);
        }
        let key = Arc::new(Self {
            id: id.clone(),
            server: Arc::clone(&self.server),
            place: self.place.clone(),
            version,
            siblings: Arc::clone(&self.siblings),
        });
        siblings().push(Arc::clone(&key));
        Ok(Some(key))
    }
}

/// What a refusal to decrypt means. A row is called damaged only where the engine says so itself: other refusals, of a version
/// that was archived for one, are the key's.
fn refused(body: &[u8]) -> OpenError {
    let text = String::from_utf8_lossy(body);
    if text.contains("message authentication failed") || text.contains("unable to decrypt") {
        OpenError::Mismatch
    } else {
        let error = "the Transit engine does not decrypt with this version of the key";
        KekError::Unavailable(error.to_owned()).into()
    }
}

impl fmt::Debug for TransitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TransitKey({})", self.id)
    }
}
