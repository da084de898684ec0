//! The file that names the providers.
//!
//! ```toml
//! [providers.github]
//! kind = "github"
//! client_id = "Iv1.0123456789abcdef"
//! client_secret_file = "/run/secrets/github"   # or client_secret_env = "GITHUB_CLIENT_SECRET"
//!
//! [providers.okta-acme]
//! kind = "okta"
//! issuer = "https://acme.okta.com/oauth2/default"
//! client_id = "0oa1"
//! client_secret_env = "OKTA_ACME_SECRET"
//!
//! [applications.build-server]                   # may sign what it stores, and here it must
//! signed_requests = "required"
//! keys = [{ kty = "EC", crv = "P-256", kid = "2026", x = "…", y = "…" }]
//! ```

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use m2m::{is_loopback_host, service::redacted};
use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use super::{AuthMethod, ClientCredentials, Dialect, Provider, Providers, Revocation};
use crate::{connection::Service, signed::Signer};

/// What a providers file may hold.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderFile {
    #[serde(default)]
    providers: BTreeMap<String, Entry>,
    /// Applications that sign their requests.
    #[serde(default)]
    pub applications: BTreeMap<String, Signer>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    kind: Dialect,
    issuer: Option<Url>,
    token_endpoint: Option<Url>,
    revocation_endpoint: Option<Url>,
    client_id: Option<String>,
    client_secret_env: Option<String>,
    client_secret_file: Option<PathBuf>,
    auth: Option<AuthMethod>,
    /// Seconds.
    refresh_ahead: Option<u64>,
}

/// Why the providers are not to be had from the configuration.
#[derive(Debug, thiserror::Error)]
pub enum ProviderFileError {
    /// Without the line itself, which may hold a secret in the wrong place.
    #[error("line {line}: {what}")]
    Toml { line: usize, what: String },
    #[error("provider `{service}`: {what}")]
    Entry { service: String, what: String },
    #[error("provider `{service}`: cannot read {file}")]
    Secret {
        service: String,
        file: PathBuf,
        source: io::Error,
    },
}

/// Paths and parts of paths of the vault itself.
const RESERVED: [&str; 6] = ["all", "audit", "health", "metrics", "ready", "service"];

/// The longest time ahead of its end that a token is refreshed.
const LONGEST_AHEAD: u64 = 24 * 3600;

impl ProviderFile {
    /// # Errors
    /// When the text is no TOML or has a setting that is not known.
    pub fn parse(text: &str) -> Result<Self, ProviderFileError> {
        toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start));
            ProviderFileError::Toml {
                line: before.unwrap_or_default().matches('\n').count() + 1,
                what: redacted(error.message()),
            }
        })
    }

    /// What there is without a file: services whose addresses are known, without credentials, so that tokens can be kept
    /// and given, but not refreshed.
    pub fn built_in() -> Self {
        Self::parse("providers = { discord = { kind = 'discord' }, github = { kind = 'github' }, slack = { kind = 'slack' } }")
            .expect("this is TOML")
    }

    /// The providers, with their secrets read. `variable` reads the environment, `timeout` is how long each may take to answer.
    ///
    /// # Errors
    /// When an entry makes no sense, would send secrets in the clear, or its secret cannot be read.
    pub fn load(
        &self,
        variable: impl Fn(&str) -> Option<String>,
        timeout: Duration,
    ) -> Result<Providers, ProviderFileError> {
        let provider = |(name, entry): (&String, &Entry)| entry.load(name, &variable, timeout);
        self.providers.iter().map(provider).collect()
    }
}

impl Entry {
    fn load(
        &self,
        name: &str,
        variable: &impl Fn(&str) -> Option<String>,
        timeout: Duration,
    ) -> Result<Provider, ProviderFileError> {
        let wrong = |what: String| ProviderFileError::Entry {
            service: name.to_owned(),
            what,
        };
        let service = Service::parse(name).map_err(|error| wrong(error.to_string()))?;
        if RESERVED.contains(&name) {
            return Err(wrong(
                "this name stands for something else in the vault's paths".to_owned(),
            ));
        }
        let secret = self.secret(name, variable)?;
        let client = match (self.client_id.clone(), secret) {
            (Some(id), Some(secret)) => Some(ClientCredentials { id, secret }),
            (None, None) => None,
            _ => {
                let what = "client_id and the secret go together: set both, or none to do without refreshing";
                return Err(wrong(what.to_owned()));
            }
        };
        let token_endpoint = self.token_endpoint().ok_or_else(|| {
            let what = match self.kind {
                Dialect::Okta => "set issuer, as in https://acme.okta.com/oauth2/default",
                _ => "set token_endpoint",
            };
            wrong(what.to_owned())
        })?;
        let revocation = self.revocation();
        let mut urls = vec![&token_endpoint];
        urls.extend(revocation.iter().map(Revocation::url));
        for url in urls {
            let safe = match url.scheme() {
                "https" => true,
                "http" => is_loopback_host(url),
                _ => false,
            };
            if !safe {
                return Err(wrong(format!(
                    "{url} would get secrets in the clear: it must begin with https://"
                )));
            }
        }
        let ahead = self.refresh_ahead.unwrap_or(300);
        if !(1..=LONGEST_AHEAD).contains(&ahead) {
            return Err(wrong(format!(
                "refresh_ahead: 1 to {LONGEST_AHEAD} seconds"
            )));
        }
        let auth = self.auth.unwrap_or(match self.kind {
            Dialect::Github => AuthMethod::Post,
            // Slack asks for this, too.
            Dialect::Slack | Dialect::Okta | Dialect::Discord | Dialect::Generic => {
                AuthMethod::Basic
            }
        });
        let mut provider = Provider::new(service, self.kind, token_endpoint, client, timeout);
        provider.revocation = revocation;
        provider.auth = auth;
        provider.refresh_ahead = Duration::from_secs(ahead);
        Ok(provider)
    }

    fn token_endpoint(&self) -> Option<Url> {
        let known = match self.kind {
            Dialect::Github => url("https://github.com/login/oauth/access_token"),
            Dialect::Slack => url("https://slack.com/api/oauth.v2.access"),
            Dialect::Discord => url("https://discord.com/api/oauth2/token"),
            Dialect::Okta => below(self.issuer.as_ref(), "token"),
            Dialect::Generic => None,
        };
        self.token_endpoint.clone().or(known)
    }

    fn revocation(&self) -> Option<Revocation> {
        let known = match self.kind {
            Dialect::Github => {
                let mut url = url("https://api.github.com/applications")?;
                url.path_segments_mut()
                    .ok()?
                    .extend([self.client_id.as_deref()?, "token"]);
                Some(url)
            }
            Dialect::Slack => url("https://slack.com/api/auth.revoke"),
            Dialect::Discord => url("https://discord.com/api/oauth2/token/revoke"),
            Dialect::Okta => below(self.issuer.as_ref(), "revoke"),
            Dialect::Generic => None,
        };
        // Where the token endpoint is another than the known one, so is this.
        let known = known.filter(|_| self.token_endpoint.is_none());
        let url = self.revocation_endpoint.clone().or(known)?;
        Some(match self.kind {
            Dialect::Github => Revocation::Github(url),
            Dialect::Slack => Revocation::Slack(url),
            Dialect::Okta | Dialect::Discord | Dialect::Generic => Revocation::Standard(url),
        })
    }

    fn secret(
        &self,
        name: &str,
        variable: &impl Fn(&str) -> Option<String>,
    ) -> Result<Option<SecretString>, ProviderFileError> {
        let wrong = |what: String| ProviderFileError::Entry {
            service: name.to_owned(),
            what,
        };
        match (&self.client_secret_env, &self.client_secret_file) {
            (Some(_), Some(_)) => Err(wrong(
                "client_secret_env or client_secret_file, not both".to_owned(),
            )),
            (Some(env), None) => {
                let secret = variable(env).filter(|secret| !secret.is_empty());
                let secret =
                    secret.ok_or_else(|| wrong(format!("the environment has no {env}")))?;
                Ok(Some(secret.into()))
            }
            (None, Some(file)) => read_secret(name, file).map(Some),
            (None, None) => Ok(None),
        }
    }
}

impl Revocation {
    fn url(&self) -> &Url {
        match self {
            Self::Standard(url) | Self::Github(url) | Self::Slack(url) => url,
        }
    }
}

fn read_secret(service: &str, file: &Path) -> Result<SecretString, ProviderFileError> {
    let unreadable = |source| ProviderFileError::Secret {
        service: service.to_owned(),
        file: file.to_owned(),
        source,
    };
    let mode = fs::metadata(file).map_err(unreadable)?.permissions().mode();
    if mode & 0o077 != 0 {
        let what = format!("{} can be read by others: `chmod 600` it", file.display());
        return Err(ProviderFileError::Entry {
            service: service.to_owned(),
            what,
        });
    }
    let text = fs::read_to_string(file).map_err(unreadable)?;
    Ok(text.trim_end().into())
}

fn url(text: &str) -> Option<Url> {
    Url::parse(text).ok()
}

/// Okta has its endpoints below `/oauth2/{server}/v1`, and those of the organisation itself below `/oauth2/v1`.
fn below(issuer: Option<&Url>, endpoint: &str) -> Option<Url> {
    let mut url = issuer?.clone();
    let is_server = url.path().starts_with("/oauth2/");
    let mut path = url.path_segments_mut().ok()?;
    path.pop_if_empty();
    if !is_server {
        path.push("oauth2");
    }
    path.extend(["v1", endpoint]);
    drop(path);
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(toml: &str) -> Result<Providers, ProviderFileError> {
        let secret = |name: &str| (name == "SECRET").then(|| "hunter2".to_owned());
        ProviderFile::parse(toml)?.load(secret, Duration::from_secs(1))
    }

    #[test]
    fn the_known_providers_need_their_credentials_only() {
        let providers = load(
            "[providers.github]\nkind = 'github'\nclient_id = 'Iv1.a/b'\nclient_secret_env = 'SECRET'\n\
             [providers.okta-acme]\nkind = 'okta'\nissuer = 'https://acme.okta.com/oauth2/default'\n\
             [providers.okta-org]\nkind = 'okta'\nissuer = 'https://acme.okta.com/'\n\
             [providers.own]\nkind = 'generic'\ntoken_endpoint = 'http://localhost:9/token'\nrefresh_ahead = 60\n",
        )
        .unwrap();
        let get = |name: &str| providers.get(name).unwrap();
        let github = get("github");
        assert!(!format!("{github:?}").contains("hunter2"));
        assert_eq!(
            github.token_endpoint.as_str(),
            "https://github.com/login/oauth/access_token"
        );
        let revocation = "https://api.github.com/applications/Iv1.a%2Fb/token";
        assert_eq!(
            github.revocation,
            Some(Revocation::Github(url(revocation).unwrap()))
        );
        let okta = |name: &str| get(name).token_endpoint.to_string();
        assert_eq!(
            okta("okta-acme"),
            "https://acme.okta.com/oauth2/default/v1/token"
        );
        assert_eq!(okta("okta-org"), "https://acme.okta.com/oauth2/v1/token");
        assert!(get("own").client.is_none() && get("own").revocation.is_none());
        assert_eq!(
            ProviderFile::built_in()
                .load(|_| None, Duration::from_secs(1))
                .unwrap()
                .iter()
                .count(),
            3
        );
    }

    #[test]
    fn a_token_is_refreshed_in_the_last_quarter_of_its_life_at_the_earliest() {
        let providers = load("[providers.a]\nkind = 'slack'").unwrap();
        let provider = providers.iter().next().unwrap();
        assert_eq!(provider.refresh_from(0, 43_200_000), 42_900_000);
        assert_eq!(provider.refresh_from(0, 400_000), 300_000);
        assert_eq!(provider.refresh_from(1000, 1000), 1000);
        assert_eq!(provider.refresh_from(2000, 1000), 1000);
    }

    #[test]
    fn what_is_insecure_or_unclear_is_refused_with_the_way_out() {
        for (toml, part) in [
            ("[providers.a]\nkind = 'generic'", "set token_endpoint"),
            ("[providers.a]\nkind = 'okta'", "set issuer"),
            (
                "[providers.a]\nkind = 'generic'\ntoken_endpoint = 'http://a.example/'",
                "must begin with https://",
            ),
            (
                "[providers.a]\nkind = 'generic'\ntoken_endpoint = 'ftp://localhost/'",
                "must begin with https://",
            ),
            (
                "[providers.a]\nkind = 'discord'\nrevocation_endpoint = 'http://a.example/'",
                "must begin with https://",
            ),
            (
                "[providers.audit]\nkind = 'slack'",
                "stands for something else",
            ),
            ("[providers.Slack]\nkind = 'slack'", "a-z, 0-9 and -"),
            (
                "[providers.a]\nkind = 'slack'\nclient_id = 'x'",
                "go together",
            ),
            (
                "[providers.a]\nkind = 'slack'\nclient_id = 'x'\nclient_secret_env = 'NO'",
                "the environment has no NO",
            ),
            (
                "[providers.a]\nkind = 'slack'\nclient_secret_file = '/nowhere'",
                "cannot read /nowhere",
            ),
            (
                "[providers.a]\nkind = 'slack'\nclient_secret_env = 'A'\nclient_secret_file = '/b'",
                "not both",
            ),
            (
                "[providers.a]\nkind = 'slack'\nrefresh_ahead = 0",
                "refresh_ahead",
            ),
            ("[providers.a]\nkind = 'myspace'", "unknown variant"),
            (
                "[providers.a]\nkind = 'slack'\nclient_secret = 'hunter2'",
                "unknown field",
            ),
        ] {
            let error = load(toml).unwrap_err().to_string();
            assert!(error.contains(part), "{toml}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        fs::write(&file, "hunter2\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let toml = format!(
            "[providers.a]\nkind = 'slack'\nclient_id = 'x'\nclient_secret_file = '{}'",
            file.display()
        );
        assert!(load(&toml).unwrap_err().to_string().contains("chmod 600"));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        load(&toml).unwrap();
    }
}
