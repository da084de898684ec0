//! Where the server is and who we are there: the variables that its own command line reads.

use std::fs;

use m2m::{http_client, http_client_trusting, is_loopback_host};
use reqwest::{Client, header::HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::TIMEOUT;

/// Who we are.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// A token, which is renewed as long as it can be.
    Token(SecretString),
    /// A machine's login, which gives new tokens.
    AppRole {
        role_id: SecretString,
        secret_id: SecretString,
        /// Where the auth method is mounted.
        mount: String,
    },
}

/// Where the server is and who we are there.
#[derive(Clone, Debug)]
pub struct Settings {
    pub address: Url,
    pub credentials: Credentials,
    pub namespace: Option<HeaderValue>,
    pub(super) http: Client,
}

/// The variables do not say where the server is, or who we are.
#[derive(Debug, thiserror::Error)]
pub enum InvalidSettings {
    #[error("VAULT_ADDR: say where the Vault server is, as in https://vault.example.com:8200")]
    NoAddress,
    #[error("VAULT_ADDR: tokens would travel in the clear: it must begin with https://")]
    Insecure,
    #[error("set VAULT_TOKEN, or VAULT_ROLE_ID and VAULT_SECRET_ID, and not both")]
    NoCredentials,
    #[error("{0}: it has characters that cannot stand there")]
    Malformed(&'static str),
    #[error("VAULT_CACERT: cannot read it")]
    NoAuthority(#[source] std::io::Error),
    #[error("VAULT_CACERT: it holds no certificate")]
    NotAnAuthority,
}

impl Settings {
    /// Reads `VAULT_ADDR`, `VAULT_TOKEN` or `VAULT_ROLE_ID` with `VAULT_SECRET_ID` (and `VAULT_APPROLE_MOUNT`, `approle`
    /// unless told otherwise), `VAULT_NAMESPACE` and `VAULT_CACERT`.
    ///
    /// # Errors
    /// When one of them is missing or cannot be used, or the address is plain HTTP to another machine.
    pub fn from_environment(
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, InvalidSettings> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let secret = |name: &str| set(name).map(SecretString::from);
        let address = set("VAULT_ADDR").and_then(|text| Url::parse(&text).ok());
        let address = address.ok_or(InvalidSettings::NoAddress)?;
        let plain = !address.username().is_empty() || address.query().is_some();
        match address.scheme() {
            _ if plain || address.fragment().is_some() => return Err(InvalidSettings::NoAddress),
            "https" => {}
            "http" if is_loopback_host(&address) => {}
            "http" => return Err(InvalidSettings::Insecure),
            _ => return Err(InvalidSettings::NoAddress),
        }
        let ids = (secret("VAULT_ROLE_ID"), secret("VAULT_SECRET_ID"));
        let credentials = match (secret("VAULT_TOKEN"), ids) {
            (Some(token), (None, None)) => Credentials::Token(token),
            (None, (Some(role_id), Some(secret_id))) => Credentials::AppRole {
                role_id,
                secret_id,
                mount: mount(set("VAULT_APPROLE_MOUNT"))?,
            },
            _ => return Err(InvalidSettings::NoCredentials),
        };
        if let Credentials::Token(token) = &credentials {
            HeaderValue::from_str(token.expose_secret())
                .map_err(|_| InvalidSettings::Malformed("VAULT_TOKEN"))?;
        }
        let namespace = set("VAULT_NAMESPACE").map(|name| HeaderValue::from_str(&name));
        let namespace = namespace.transpose();
        let http = match set("VAULT_CACERT") {
            None => http_client(TIMEOUT),
            Some(path) => {
                let authority = fs::read(path).map_err(InvalidSettings::NoAuthority)?;
                http_client_trusting(TIMEOUT, &authority).ok_or(InvalidSettings::NotAnAuthority)?
            }
        };
        Ok(Self {
            address,
            credentials,
            namespace: namespace.map_err(|_| InvalidSettings::Malformed("VAULT_NAMESPACE"))?,
            http,
        })
    }
}

fn mount(text: Option<String>) -> Result<String, InvalidSettings> {
    let text = text.unwrap_or_else(|| "approle".to_owned());
    match parse_path(&text) {
        Some(path) => Ok(path),
        None => Err(InvalidSettings::Malformed("VAULT_APPROLE_MOUNT")),
    }
}

/// A path of an operator's own: words of letters, digits, `-` and `_`, with `/` between them.
pub(crate) fn parse_path(text: &str) -> Option<String> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let mut words = text.split('/');
    words
        .all(|word| !word.is_empty() && word.bytes().all(fits))
        .then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, InvalidSettings> {
        Settings::from_environment(|name| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn what_is_missing_ambiguous_or_insecure_is_refused() {
        let token = ("VAULT_TOKEN", "s.token");
        for (variables, part) in [
            (&[token][..], "VAULT_ADDR"),
            (&[("VAULT_ADDR", "vault"), token], "VAULT_ADDR"),
            (&[("VAULT_ADDR", "ftp://localhost"), token], "VAULT_ADDR"),
            (
                &[("VAULT_ADDR", "http://vault.example"), token],
                "in the clear",
            ),
            (&[("VAULT_ADDR", "https://vault.example")], "VAULT_TOKEN"),
            (
                &[
                    ("VAULT_ADDR", "https://vault.example"),
                    ("VAULT_ROLE_ID", "r"),
                ],
                "VAULT_TOKEN",
            ),
            (
                &[
                    ("VAULT_ADDR", "https://vault.example"),
                    token,
                    ("VAULT_ROLE_ID", "r"),
                    ("VAULT_SECRET_ID", "s"),
                ],
                "not both",
            ),
            (
                &[
                    ("VAULT_ADDR", "https://vault.example"),
                    ("VAULT_TOKEN", "a\nb"),
                ],
                "VAULT_TOKEN",
            ),
            (
                &[
                    ("VAULT_ADDR", "https://vault.example"),
                    token,
                    ("VAULT_CACERT", "nowhere.pem"),
                ],
                "VAULT_CACERT: cannot read",
            ),
            (
                &[
                    ("VAULT_ADDR", "https://vault.example"),
                    token,
                    (
                        "VAULT_CACERT",
                        concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
                    ),
                ],
                "no certificate",
            ),
        ] {
            let error = read(variables).err().unwrap().to_string();
            assert!(error.contains(part), "{variables:?}: {error}");
        }
        for address in [
            "http://127.0.0.1:8200",
            "http://[::1]:8200",
            "https://vault.example/v",
        ] {
            let settings = read(&[("VAULT_ADDR", address), token]).unwrap();
            assert!(!format!("{settings:?}").contains("s.token"));
        }
    }
}
