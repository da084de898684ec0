//! The token source.

use std::{sync::Arc, time::Duration};

use secrecy::SecretString;

use super::{AccessToken, FetchError, SendError};
use crate::{Clock, ConfigError};

/// Tokens of one client. A clone is another handle to the same tokens.
#[derive(Clone, Debug)]
pub struct TokenSource(Arc<()>);

/// What [`TokenSource::builder`] collects.
#[must_use]
pub struct TokenSourceBuilder(());

impl TokenSource {
    /// A client that authenticates with a secret.
    pub fn client_secret(
        issuer: impl Into<String>,
        client_id: impl Into<String>,
        secret: impl Into<SecretString>,
    ) -> Result<Self, ConfigError> {
        Self::builder(issuer, client_id, secret).build()
    }
    /// For the rest.
    pub fn builder(
        issuer: impl Into<String>,
        client_id: impl Into<String>,
        secret: impl Into<SecretString>,
    ) -> TokenSourceBuilder {
        let _: (String, String, SecretString) = (issuer.into(), client_id.into(), secret.into());
        todo!()
    }
    /// A token.
    pub async fn token(
        &self,
        scopes: &[&str],
        resource: &str,
    ) -> Result<Arc<AccessToken>, FetchError> {
        let _ = (scopes, resource);
        todo!()
    }
    /// What is held.
    pub fn peek(&self, scopes: &[&str], resource: &str) -> Option<Arc<AccessToken>> {
        let _ = (scopes, resource);
        todo!()
    }
    /// Forgets.
    pub fn forget(&self, token: &Arc<AccessToken>) {
        let _ = token;
        todo!()
    }
    /// Sends.
    pub async fn send(
        &self,
        request: reqwest::RequestBuilder,
        scopes: &[&str],
        resource: &str,
    ) -> Result<reqwest::Response, SendError> {
        let _ = (request, scopes, resource);
        todo!()
    }
}

impl TokenSourceBuilder {
    /// The token endpoint.
    pub fn token_endpoint(self, url: impl Into<String>) -> Self {
        let _: String = url.into();
        self
    }
    /// The clock.
    pub fn clock(self, clock: Clock) -> Self {
        let _ = clock;
        self
    }
    /// The timeout.
    pub fn timeout(self, timeout: Duration) -> Self {
        let _ = timeout;
        self
    }
    /// Builds.
    pub fn build(self) -> Result<TokenSource, ConfigError> {
        todo!()
    }
}
