//! How a verifier is configured.

use std::{path::PathBuf, sync::Arc, time::Duration};

use secrecy::SecretString;
use url::Url;

use super::{
    Algorithm, Feed, Introspection, Revocation, Verifier, WhenStale,
    claims::Expected,
    feed::Revocations,
    introspection::{Introspector, Whereto},
    issuer_keys::IssuerKeys,
    local::LocalVerifier,
    verifier::Method,
};
use crate::{
    Clock, ConfigError,
    credentials::{ClientsFile, CredentialSource, OwnCredentials},
    issuer::{self, Issuer},
};

const DEFAULT_LEEWAY: Duration = Duration::from_secs(10);
const MAX_LEEWAY: Duration = Duration::from_mins(1);

/// What a [`Verifier`] needs to know, checked by [`Self::build`].
#[derive(Clone, Debug)]
#[must_use]
pub struct VerifierBuilder {
    /// `None`: whoever answers at the introspection URL.
    issuer: Option<String>,
    audience: String,
    leeway: Duration,
    algorithms: Vec<Algorithm>,
    key_set_url: Option<String>,
    introspection_url: Option<String>,
    client: Option<CredentialSource>,
    revocation: Option<Revocation>,
    clock: Clock,
}

impl VerifierBuilder {
    pub(super) fn new(issuer: String) -> Self {
        Self {
            issuer: Some(issuer),
            ..Self::introspecting(None)
        }
    }

    pub(super) fn introspecting(url: Option<String>) -> Self {
        Self {
            issuer: None,
            audience: String::new(),
            leeway: DEFAULT_LEEWAY,
            algorithms: Algorithm::ALL.to_vec(),
            key_set_url: None,
            introspection_url: url,
            client: None,
            revocation: None,
            clock: Clock::System,
        }
    }

    /// The name that tokens for this service carry in `aud`. Required.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = audience.into();
        self
    }

    /// How far the issuer's clock and this one may differ: 10 s by default, a minute at most. Whole
    /// seconds count.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// Which algorithms are accepted: [`Algorithm::ALL`] by default. This only narrows; which
    /// algorithm a token must have is fixed by its key.
    pub fn algorithms(mut self, algorithms: &[Algorithm]) -> Self {
        self.algorithms = algorithms.to_vec();
        self
    }

    /// Where the issuer's key set is, for an issuer without metadata. By default the metadata says
    /// it (RFC 8414).
    pub fn key_set_url(mut self, url: impl Into<String>) -> Self {
        self.key_set_url = Some(url.into());
        self
    }

    /// Where the issuer is asked about tokens, for an issuer without metadata. By default the
    /// metadata says it (RFC 8414). Where the issuer's name is not known either, begin with
    /// [`Verifier::introspecting`].
    pub fn introspection_url(mut self, url: impl Into<String>) -> Self {
        self.introspection_url = Some(url.into());
        self
    }

    /// This service's own credentials at the issuer. With them, revocations are followed unless
    /// [`Self::revocation`] says otherwise.
    pub fn client(mut self, client_id: impl Into<String>, secret: impl Into<SecretString>) -> Self {
        self.client = Some(CredentialSource::Given {
            client_id: client_id.into(),
            secret: secret.into(),
        });
        self
    }

    /// As [`Self::client`], with the credentials under `entry` of a `clients.json`:
    /// `{"<entry>": {"clientId": "…", "clientSecret": "…"}}`.
    ///
    /// The file is read when it is needed, and again when the issuer refuses what it held. So it
    /// may be written later, and a new secret needs no restart.
    pub fn client_from_file(mut self, path: impl Into<PathBuf>, entry: impl Into<String>) -> Self {
        self.client = Some(CredentialSource::File(ClientsFile {
            path: path.into(),
            entry: entry.into(),
        }));
        self
    }

    /// How tokens are noticed that were taken back before their end: see [`Revocation`].
    pub fn revocation(mut self, revocation: Revocation) -> Self {
        self.revocation = Some(revocation);
        self
    }

    /// The clock that tells whether a token has expired; the machine's by default.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Checks the configuration. Touches no network.
    ///
    /// # Errors
    /// Says what is wrong and how to mend it.
    pub fn build(mut self) -> Result<Verifier, ConfigError> {
        let issuer = self.issuer.take().map(Issuer::new).transpose()?;
        self.check()?;
        let asked_at = self
            .introspection_url
            .take()
            .map(|url| issuer::endpoint("introspection endpoint", &url))
            .transpose()?;
        let credentials = self
            .client
            .take()
            .map(OwnCredentials::new)
            .transpose()?
            .map(Arc::new);
        match (issuer, asked_at) {
            (Some(issuer), asked_at) => self.build_for(&issuer, asked_at, credentials),
            (None, Some(url)) => self.build_asking(url, credentials),
            (None, None) => Err(ConfigError::NoIssuer),
        }
    }

    /// What needs no network and no other setting to be judged.
    fn check(&self) -> Result<(), ConfigError> {
        // It stands as the realm in `WWW-Authenticate`.
        let sound = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
        if self.audience.is_empty() || !self.audience.bytes().all(sound) {
            return Err(ConfigError::Audience);
        }
        if self.leeway > MAX_LEEWAY {
            return Err(ConfigError::Leeway(self.leeway.as_secs()));
        }
        if self.algorithms.is_empty() {
            return Err(ConfigError::NoAlgorithm);
        }
        self.revocation.as_ref().map_or(Ok(()), Revocation::check)
    }

    /// A verifier of the tokens of one issuer.
    fn build_for(
        self,
        issuer: &Issuer,
        asked_at: Option<Url>,
        credentials: Option<Arc<OwnCredentials>>,
    ) -> Result<Verifier, ConfigError> {
        let key_set_url = self
            .key_set_url
            .map(|url| issuer::endpoint("key set", &url))
            .transpose()?;
        let revocation = self.revocation.unwrap_or(match credentials {
            Some(_) => Revocation::Feed(Feed::default()),
            None => Revocation::None,
        });
        let expected = Expected {
            issuer: issuer.as_str().into(),
            terse_answers: false,
            audience: self.audience.as_str().into(),
            leeway: self.leeway.as_secs(),
        };
        let introspector = |config, credentials| {
            let whereto = match asked_at {
                None => Whereto::Metadata(issuer.clone()),
                Some(url) => Whereto::Given(url),
            };
            let (expected, clock) = (expected.clone(), self.clock.clone());
            Arc::new(Introspector::new(
                whereto,
                expected,
                config,
                credentials,
                clock,
            ))
        };
        let local = || {
            let keys = IssuerKeys::new(issuer.clone(), key_set_url, self.clock.clone());
            LocalVerifier::new(expected.clone(), self.algorithms, keys, self.clock.clone())
        };
        let method = match (revocation, credentials) {
            (Revocation::None, _) => Method::Local(local()),
            (Revocation::Introspection(config), Some(credentials)) => {
                Method::Introspection(introspector(config, credentials))
            }
            (Revocation::Feed(config), Some(credentials)) => Method::Feed {
                local: local(),
                introspector: (config.when_stale == WhenStale::Introspect)
                    .then(|| introspector(Introspection::default(), Arc::clone(&credentials))),
                revocations: Revocations::new(
                    config,
                    issuer.clone(),
                    self.audience.clone(),
                    credentials,
                    self.clock.clone(),
                ),
            },
            (Revocation::Introspection(_), None) => {
                return Err(ConfigError::NoClient("introspection"));
            }
            (Revocation::Feed(_), None) => {
                return Err(ConfigError::NoClient("the revocation feed"));
            }
        };
        Ok(Verifier::new(issuer.as_str(), self.audience, method))
    }

    /// A verifier that knows of its issuer only where it is to be asked.
    fn build_asking(
        self,
        url: Url,
        credentials: Option<Arc<OwnCredentials>>,
    ) -> Result<Verifier, ConfigError> {
        let config = match self.revocation {
            None => Introspection::default(),
            Some(Revocation::Introspection(config)) => config,
            Some(Revocation::None | Revocation::Feed(_)) => return Err(ConfigError::NoIssuer),
        };
        let credentials = credentials.ok_or(ConfigError::NoClient("introspection"))?;
        let whom = url.to_string();
        let expected = Expected {
            issuer: whom.as_str().into(),
            terse_answers: true,
            audience: self.audience.as_str().into(),
            leeway: self.leeway.as_secs(),
        };
        let whereto = Whereto::Given(url);
        let introspector = Introspector::new(whereto, expected, config, credentials, self.clock);
        let method = Method::Introspection(Arc::new(introspector));
        Ok(Verifier::new(&whom, self.audience, method))
    }
}
