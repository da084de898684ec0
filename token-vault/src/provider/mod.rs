//! Providers: who issued the tokens and gives new ones for a refresh token.
//!
//! Where a provider is reached and how it is spoken to comes from the configuration, never from a caller.

mod dialect;
mod endpoint;
mod file;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;

pub use dialect::{Dialect, HttpAnswer, read_answer};
pub use endpoint::{AuthMethod, ClientCredentials, Provider, Revocation};
pub use file::{ProviderFile, ProviderFileError};

use crate::{connection::Service, secret::Token};

/// What a provider gave for a refresh token.
#[derive(Clone, Debug)]
pub struct Grant {
    pub access: Token,
    /// `None`: the old one goes on (RFC 6749 section 6).
    pub refresh: Option<Token>,
    /// Seconds from now; `None`: it does not end.
    pub expires_in: Option<u64>,
    /// Seconds from now; `None`: not known.
    pub refresh_expires_in: Option<u64>,
    /// `None`: as before (RFC 6749 section 5.1).
    pub scopes: Option<Vec<String>>,
}

/// What became of a refresh token that was sent to a provider.
#[derive(Clone, Debug)]
pub enum Answer {
    Granted(Box<Grant>),
    /// The refresh token is good for nothing any more.
    Refused,
    /// No tokens this time.
    Failed {
        failure: Failure,
        /// How long the provider asks to be left alone.
        retry_after: Option<Duration>,
    },
}

/// Why there are no tokens this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The connection was not made: nothing was sent.
    Unreachable,
    /// 429, or what the provider says in its place.
    RateLimited,
    /// The provider refuses the vault's own credentials, or the request as such. Its operator must mend that.
    ClientRefused,
    /// The configuration has no credentials for this provider.
    NotConfigured,
    /// No answer in time.
    Timeout,
    /// The connection broke before the answer was there.
    Dropped,
    /// 5xx, or what the provider says in its place.
    ServerError,
    /// An answer that makes no sense.
    Malformed,
    /// The vault itself was held up so long that it did not ask.
    HeldUp,
}

impl Failure {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::RateLimited => "rate_limited",
            Self::ClientRefused => "client_refused",
            Self::NotConfigured => "not_configured",
            Self::Timeout => "timeout",
            Self::Dropped => "dropped",
            Self::ServerError => "server_error",
            Self::Malformed => "malformed",
            Self::HeldUp => "held_up",
        }
    }

    /// Whether the provider may have taken the refresh token all the same.
    pub fn may_have_spent(self) -> bool {
        match self {
            Self::Timeout | Self::Dropped | Self::ServerError | Self::Malformed => true,
            Self::Unreachable
            | Self::RateLimited
            | Self::ClientRefused
            | Self::NotConfigured
            | Self::HeldUp => false,
        }
    }
}

/// Where refresh tokens are spent. A boundary: the network lies behind it.
#[async_trait]
pub trait TokenEndpoint: Send + Sync {
    /// Spends a refresh token. It ends within the time that a provider may take.
    async fn refresh(&self, refresh: &Token) -> Answer;
}

/// All providers, by the name of their service.
#[derive(Clone, Debug, Default)]
pub struct Providers(BTreeMap<Service, Arc<Provider>>);

impl Providers {
    /// The provider of the service with this name.
    pub fn get(&self, service: &str) -> Option<&Arc<Provider>> {
        self.0.get(service)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Provider>> {
        self.0.values()
    }
}

impl FromIterator<Provider> for Providers {
    fn from_iter<I: IntoIterator<Item = Provider>>(providers: I) -> Self {
        let named = |provider: Provider| (provider.service.clone(), Arc::new(provider));
        Self(providers.into_iter().map(named).collect())
    }
}
