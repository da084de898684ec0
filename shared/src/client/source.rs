//! The token source: tokens of one client, held per (resource, scopes) and renewed ahead of their
//! end.

use std::{
    collections::HashMap,
    fmt,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock, atomic::Ordering},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use reqwest::{Client, RequestBuilder, Response, StatusCode, header::WWW_AUTHENTICATE};
use secrecy::SecretString;
use tracing::warn;
use url::Url;

use super::{
    AccessToken, FetchError, SendError,
    request::{self, Wish},
    slot::{Age, Slot},
};
use crate::{
    Clock, ConfigError, ScopeSet,
    credentials::{ClientsFile, CredentialSource, OwnCredentials},
    issuer::{self, Issuer},
    net::{self, FETCH_TIMEOUT, NetError},
    scope::InvalidScope,
    trace,
};

/// The tokens of one client. Cheap to clone: clones share the tokens.
///
/// Tokens are held in memory, one for each pair of resource and scopes that was asked for; the
/// program decides how many that are. There is no task at rest: a renewal is started by whoever
/// uses a token that is due.
#[derive(Clone)]
pub struct TokenSource(Arc<Inner>);

struct Inner {
    issuer: Issuer,
    /// Configured, so that no metadata is asked.
    token_endpoint: Option<Url>,
    /// From the issuer's metadata; asked anew after a failure.
    discovered: ArcSwapOption<Url>,
    credentials: OwnCredentials,
    http: Client,
    timeout: Duration,
    clock: Clock,
    /// By resource. The inner lists are as long as one resource's scopes are combined in different
    /// ways.
    slots: RwLock<HashMap<String, Vec<Arc<Slot>>>>,
}

impl TokenSource {
    /// A client that authenticates to `issuer` with a secret (`client_secret_basic`). Touches no
    /// network.
    ///
    /// # Errors
    /// Says what is wrong with the issuer's URL, the id or the secret.
    pub fn client_secret(
        issuer: impl Into<String>,
        client_id: impl Into<String>,
        secret: impl Into<SecretString>,
    ) -> Result<Self, ConfigError> {
        Self::builder(issuer, client_id, secret).build()
    }

    /// As [`Self::client_secret`], with more to say.
    pub fn builder(
        issuer: impl Into<String>,
        client_id: impl Into<String>,
        secret: impl Into<SecretString>,
    ) -> TokenSourceBuilder {
        TokenSourceBuilder::new(
            issuer.into(),
            CredentialSource::Given {
                client_id: client_id.into(),
                secret: secret.into(),
            },
        )
    }

    /// As [`Self::builder`], with the id and the secret from an entry of a clients file:
    /// `{"<entry>": {"clientId": "…", "clientSecret": "…"}}`. The file need not be there yet. It is
    /// read when the first token is needed, and again after the issuer called its secret wrong.
    pub fn from_file(
        issuer: impl Into<String>,
        path: impl Into<PathBuf>,
        entry: impl Into<String>,
    ) -> TokenSourceBuilder {
        TokenSourceBuilder::new(
            issuer.into(),
            CredentialSource::File(ClientsFile {
                path: path.into(),
                entry: entry.into(),
            }),
        )
    }

    /// A token for `resource` with `scopes`; without scopes, one with all that the client was
    /// granted there.
    ///
    /// - Under 80 % of its life the token that is held is returned at once.
    /// - From there to 90 % it is returned at once, too, and one renewal runs behind the callers.
    /// - After that, or when none is held, one caller fetches and the others wait; they share its
    ///   token or its failure. When the issuer cannot be asked, a token that has not quite ended is
    ///   still returned.
    ///
    /// # Errors
    /// Why there is no token, and what to do. A scope that RFC 6749 section 3.3 does not allow is
    /// `invalid_scope`, without asking the issuer.
    pub async fn token(
        &self,
        scopes: &[&str],
        resource: &str,
    ) -> Result<Arc<AccessToken>, FetchError> {
        let slot = self.slot(scopes, resource)?;
        let now = self.0.clock.now_ms();
        let Some(token) = slot.held.load_full() else {
            return self.fetch(&slot).await;
        };
        match token.age(now) {
            Age::Fresh => Ok(token),
            Age::Due => {
                if slot.claim_renewal(now) {
                    tokio::spawn(trace::carry(self.clone().renew(slot)));
                }
                Ok(token)
            }
            Age::Spent => {
                let is_good = || token.expires_at > self.0.clock.now_ms();
                match self.fetch(&slot).await {
                    Err(error) if !error.is_decision() && is_good() => Ok(token),
                    fetched => fetched,
                }
            }
        }
    }

    /// What is held for `resource` and `scopes` now. Fetches nothing, so it may be a token that has
    /// ended.
    pub fn peek(&self, scopes: &[&str], resource: &str) -> Option<Arc<AccessToken>> {
        self.existing_slot(scopes, resource)?.held.load_full()
    }

    /// Drops a token, if it is still the one that is held: a newer one stays.
    pub fn forget(&self, token: &Arc<AccessToken>) {
        let slots = self.0.slots.read().unwrap_or_else(PoisonError::into_inner);
        let current = Some(Arc::clone(token));
        for slot in slots.get(token.resource()).into_iter().flatten() {
            slot.held.compare_and_swap(&current, None);
        }
    }

    /// Sends a request with a token. When the answer is a 401 that calls the token invalid (RFC
    /// 6750 section 3.1), forgets that token, fetches one more and tries once again, if the body
    /// can be sent twice. The request goes out as a part of the current [trace](crate::trace).
    ///
    /// # Errors
    /// When there is no token, or no answer. Any answer is `Ok`, also a second 401.
    pub async fn send(
        &self,
        request: RequestBuilder,
        scopes: &[&str],
        resource: &str,
    ) -> Result<Response, SendError> {
        let again = request.try_clone();
        let token = self.token(scopes, resource).await?;
        let response = net::send(request.bearer_auth(token.expose())).await?;
        if !calls_token_invalid(&response) {
            return Ok(response);
        }
        self.forget(&token);
        let Some(again) = again else {
            return Ok(response);
        };
        let token = self.token(scopes, resource).await?;
        Ok(net::send(again.bearer_auth(token.expose())).await?)
    }

    fn existing_slot(&self, scopes: &[&str], resource: &str) -> Option<Arc<Slot>> {
        let slots = self.0.slots.read().unwrap_or_else(PoisonError::into_inner);
        slots
            .get(resource)?
            .iter()
            .find(|slot| slot.is_for(scopes))
            .cloned()
    }

    fn slot(&self, scopes: &[&str], resource: &str) -> Result<Arc<Slot>, FetchError> {
        if let Some(slot) = self.existing_slot(scopes, resource) {
            return Ok(slot);
        }
        let wished = ScopeSet::from_tokens(scopes).map_err(invalid_scope)?;
        let mut slots = self.0.slots.write().unwrap_or_else(PoisonError::into_inner);
        let slots = slots.entry(resource.to_owned()).or_default();
        // Somebody else may have made it between the two locks.
        if let Some(slot) = slots.iter().find(|slot| slot.is_for(scopes)) {
            return Ok(Arc::clone(slot));
        }
        let slot = Arc::new(Slot::new(Wish {
            resource: resource.to_owned(),
            scopes: wished,
        }));
        slots.push(Arc::clone(&slot));
        Ok(slot)
    }

    /// Fetches a token for everybody who waits for it.
    async fn fetch(&self, slot: &Slot) -> Result<Arc<AccessToken>, FetchError> {
        let seen = slot.fetches.load(Ordering::Acquire);
        let mut failure = slot.gate.lock().await;
        if slot.fetches.load(Ordering::Acquire) != seen {
            // A fetch has ended while this caller waited: its outcome is this caller's, too.
            if let Some(failure) = &*failure {
                return Err(failure.clone());
            }
            if let Some(token) = slot.held.load_full() {
                return Ok(token);
            }
        }
        let fetched = self.ask(&slot.wish).await.map(Arc::new);
        if let Ok(token) = &fetched {
            slot.held.store(Some(Arc::clone(token)));
        }
        *failure = fetched.as_ref().err().cloned();
        slot.fetches.fetch_add(1, Ordering::Release);
        fetched
    }

    /// Nobody waits for this one, so its failure is only logged: while the old token lasts there
    /// will be others.
    async fn renew(self, slot: Arc<Slot>) {
        if let Err(error) = self.fetch(&slot).await {
            warn!(
                resource = slot.wish.resource,
                "could not renew a token ahead of its end: {error}"
            );
        }
    }

    async fn ask(&self, wish: &Wish) -> Result<AccessToken, FetchError> {
        let inner = &self.0;
        let now = inner.clock.now_ms();
        let asked = async {
            let credentials = inner.credentials.get().await;
            let credentials = credentials.map_err(FetchError::NoCredentials)?;
            let endpoint = inner.endpoint().await?;
            request::fetch(&inner.http, &endpoint, &credentials, wish, now).await
        };
        let fetched = tokio::time::timeout(inner.timeout, asked)
            .await
            .unwrap_or_else(|late| Err(NetError::unreachable(inner.issuer.url(), late).into()));
        match &fetched {
            Err(FetchError::Refused { error, .. }) if error == "invalid_client" => {
                inner.credentials.refused(); // the file may have newer ones
            }
            Ok(_) | Err(FetchError::Refused { .. } | FetchError::NoCredentials(_)) => {}
            Err(_) => inner.discovered.store(None), // the endpoint may have moved
        }
        fetched
    }
}

impl Inner {
    async fn endpoint(&self) -> Result<Url, NetError> {
        if let Some(configured) = &self.token_endpoint {
            return Ok(configured.clone());
        }
        if let Some(discovered) = &*self.discovered.load() {
            return Ok(Url::clone(discovered));
        }
        let endpoint = self.issuer.token_endpoint(&self.http).await?;
        self.discovered.store(Some(Arc::new(endpoint.clone())));
        Ok(endpoint)
    }
}

/// Shows the client's id and the issuer, neither secret nor tokens.
impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSource")
            .field("issuer", &self.0.issuer.as_str())
            .field("credentials", &self.0.credentials)
            .finish_non_exhaustive()
    }
}

fn invalid_scope(error: InvalidScope) -> FetchError {
    FetchError::Refused {
        error: "invalid_scope".to_owned(),
        description: Some(error.to_string()),
        request_id: None,
        status: StatusCode::BAD_REQUEST.as_u16(),
    }
}

fn calls_token_invalid(response: &Response) -> bool {
    response.status() == StatusCode::UNAUTHORIZED
        && response
            .headers()
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .any(|value| {
                value.to_str().is_ok_and(|challenge| {
                    challenge.split([',', ' ']).any(|part| {
                        matches!(part, "error=\"invalid_token\"" | "error=invalid_token")
                    })
                })
            })
}

/// What a [`TokenSource`] needs to know, checked by [`Self::build`].
#[derive(Clone, Debug)]
#[must_use]
pub struct TokenSourceBuilder {
    issuer: String,
    credentials: CredentialSource,
    token_endpoint: Option<String>,
    clock: Clock,
    timeout: Duration,
}

impl TokenSourceBuilder {
    fn new(issuer: String, credentials: CredentialSource) -> Self {
        Self {
            issuer,
            credentials,
            token_endpoint: None,
            clock: Clock::System,
            timeout: FETCH_TIMEOUT,
        }
    }

    /// Where tokens are asked for, for an issuer without metadata. By default the metadata says it
    /// (RFC 8414).
    pub fn token_endpoint(mut self, url: impl Into<String>) -> Self {
        self.token_endpoint = Some(url.into());
        self
    }

    /// The clock that tells when a token is due; the machine's by default.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// How long a fetch may take, metadata included: 5 s by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Checks the configuration. Touches no network.
    ///
    /// # Errors
    /// Says what is wrong and how to mend it.
    pub fn build(self) -> Result<TokenSource, ConfigError> {
        let token_endpoint = self
            .token_endpoint
            .map(|url| issuer::endpoint("token endpoint", &url))
            .transpose()?;
        Ok(TokenSource(Arc::new(Inner {
            issuer: Issuer::new(self.issuer)?,
            token_endpoint,
            discovered: ArcSwapOption::empty(),
            credentials: OwnCredentials::new(self.credentials)?,
            http: net::http_client(self.timeout),
            timeout: self.timeout,
            clock: self.clock,
            slots: RwLock::default(),
        })))
    }
}
