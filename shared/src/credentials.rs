//! How a client proves to the issuer who it is, and where it knows that from: the program, or an
//! entry of a `clients.json`, which may appear later and may change.

use std::{collections::HashMap, fmt, io, path::PathBuf, sync::Arc};

use arc_swap::ArcSwapOption;
use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use serde::Deserialize;
use serde_json::Value;
use url::form_urlencoded;

use crate::ConfigError;

/// The largest `clients.json` that is read, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// A client's id and secret, ready for `client_secret_basic`.
pub(crate) struct Credentials {
    client_id: String,
    /// The whole value of the `Authorization` header.
    basic: SecretString,
}

impl Credentials {
    /// Id and secret are form-encoded before they are joined (RFC 6749 section 2.3.1).
    pub(crate) fn new(client_id: String, secret: &SecretString) -> Result<Self, ConfigError> {
        let printable =
            |text: &str| !text.is_empty() && text.bytes().all(|b| matches!(b, b' '..=b'~'));
        if !printable(&client_id) {
            return Err(ConfigError::Credential("client id"));
        }
        if !printable(secret.expose_secret()) {
            return Err(ConfigError::Credential("client secret"));
        }
        let encode =
            |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let secret = Zeroizing::new(encode(secret.expose_secret()));
        let pair = Zeroizing::new(format!("{}:{}", encode(&client_id), secret.as_str()));
        let basic = format!("Basic {}", STANDARD.encode(pair.as_bytes())).into();
        Ok(Self { client_id, basic })
    }

    /// The value of the `Authorization` header, marked as not to be shown.
    pub(crate) fn header(&self) -> HeaderValue {
        let mut value = HeaderValue::from_str(self.basic.expose_secret())
            .expect("base64 may stand in a header");
        value.set_sensitive(true);
        value
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

/// Where a service has its credentials from, as configured.
#[derive(Clone, Debug)]
pub(crate) enum CredentialSource {
    Given {
        client_id: String,
        secret: SecretString,
    },
    File(ClientsFile),
}

/// An entry of a `clients.json`: `{"<entry>": {"clientId": "…", "clientSecret": "…"}}`.
#[derive(Clone, Debug)]
pub(crate) struct ClientsFile {
    pub(crate) path: PathBuf,
    pub(crate) entry: String,
}

/// A service's credentials as they are at the moment.
pub(crate) struct OwnCredentials {
    file: Option<ClientsFile>,
    held: ArcSwapOption<Credentials>,
}

impl OwnCredentials {
    pub(crate) fn new(source: CredentialSource) -> Result<Self, ConfigError> {
        let (file, held) = match source {
            CredentialSource::File(file) => (Some(file), None),
            CredentialSource::Given { client_id, secret } => {
                (None, Some(Arc::new(Credentials::new(client_id, &secret)?)))
            }
        };
        Ok(Self {
            file,
            held: ArcSwapOption::new(held),
        })
    }

    /// The credentials; those of a file are read once, and again after [`Self::refused`].
    ///
    /// # Errors
    /// Says what is missing. Never shows what the file holds.
    pub(crate) async fn get(&self) -> Result<Arc<Credentials>, String> {
        if let Some(held) = self.held.load_full() {
            return Ok(held);
        }
        let file = self.file.as_ref().expect("what was given is held");
        let read = Arc::new(file.read().await?);
        self.held.store(Some(Arc::clone(&read)));
        Ok(read)
    }

    /// The issuer does not know these credentials (any more). The file may have newer ones.
    pub(crate) fn refused(&self) {
        if self.file.is_some() {
            self.held.store(None);
        }
    }
}

impl fmt::Debug for OwnCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = self.held.load();
        match (&*held, &self.file) {
            (Some(held), _) => held.fmt(f),
            (None, file) => file.fmt(f),
        }
    }
}

impl ClientsFile {
    async fn read(&self) -> Result<Credentials, String> {
        let name = self.path.display();
        let size = tokio::fs::metadata(&self.path).await.map(|meta| meta.len());
        let text = match size {
            Ok(size) if size > MAX_FILE => return Err(format!("{name} is larger than 1 MiB")),
            Ok(_) => tokio::fs::read(&self.path).await.map(Zeroizing::new),
            Err(error) => Err(error),
        };
        let text = text.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                format!("there is no file {name}: start the provider, which writes it, or name the one that it wrote")
            },
            _ => format!("cannot read {name}: {error}"),
        })?;
        self.entry_of(&text)
    }

    /// serde's messages would quote what does not fit, and that may be a secret.
    fn entry_of(&self, text: &[u8]) -> Result<Credentials, String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Entry {
            client_id: String,
            client_secret: SecretString,
        }
        let (name, entry) = (self.path.display(), &self.entry);
        let mut entries: HashMap<String, Value> =
            serde_json::from_slice(text).map_err(|_| format!("{name} is no JSON object"))?;
        let Some(found) = entries.remove(entry) else {
            return Err(format!("{name} has no entry {entry:?}"));
        };
        let Entry {
            client_id,
            client_secret,
        } = serde_json::from_value(found).map_err(|_| {
            format!("{name}: the entry {entry:?} lacks the texts clientId and clientSecret")
        })?;
        Credentials::new(client_id, &client_secret).map_err(|error| format!("{name}: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_and_secret_are_form_encoded_before_they_are_joined() {
        let credentials = Credentials::new("my:id".to_owned(), &"s+e c%".into()).unwrap();
        let expected = format!("Basic {}", STANDARD.encode("my%3Aid:s%2Be+c%25"));
        assert_eq!(credentials.basic.expose_secret(), expected);
        assert!(!format!("{credentials:?}").contains(&expected));

        assert!(Credentials::new(String::new(), &"s".into()).is_err());
        assert!(Credentials::new("id".to_owned(), &"".into()).is_err());
        assert!(Credentials::new("id".to_owned(), &"a\nb".into()).is_err());
        assert!(Credentials::new("ïd".to_owned(), &"s".into()).is_err());
    }

    #[test]
    fn what_is_wrong_with_a_clients_file_is_said_without_showing_it() {
        let file = ClientsFile {
            path: "clients.json".into(),
            entry: "notes".to_owned(),
        };
        let good = r#"{"x": 7, "notes": {"clientId": "me", "clientSecret": "hunter2", "n": 1}}"#;
        assert_eq!(file.entry_of(good.as_bytes()).unwrap().client_id, "me");
        for (text, says) in [
            ("", "no JSON object"),
            (r#"["hunter2"]"#, "no JSON object"),
            (r#"{"notes": "hunter2""#, "no JSON object"),
            (r#"{"calendar": {"clientSecret": "hunter2"}}"#, "no entry"),
            (r#"{"notes": "hunter2"}"#, "lacks"),
            (r#"{"notes": {"clientSecret": "hunter2"}}"#, "lacks"),
            (
                r#"{"notes": {"clientId": 1, "clientSecret": "hunter2"}}"#,
                "lacks",
            ),
            (
                r#"{"notes": {"clientId": "", "clientSecret": "hunter2"}}"#,
                "client id",
            ),
            (
                r#"{"notes": {"clientId": "a", "clientSecret": "hunter2\n"}}"#,
                "client secret",
            ),
        ] {
            let error = file.entry_of(text.as_bytes()).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
