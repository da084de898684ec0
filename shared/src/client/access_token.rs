//! An access token, as a client holds it.

use std::{fmt, time::Duration};

use secrecy::{ExposeSecret, SecretString};

use crate::{Clock, ScopeSet};

/// A token for one resource. Its text is wiped from memory when the last handle is dropped, and
/// `Debug` does not show it.
pub struct AccessToken {
    pub(super) secret: SecretString,
    pub(super) resource: String,
    pub(super) scopes: ScopeSet,
    /// Milliseconds since the Unix epoch.
    pub(super) fetched_at: u64,
    /// Milliseconds since the Unix epoch.
    pub(super) expires_at: u64,
}

impl AccessToken {
    /// The token itself, to be sent as `Authorization: Bearer …`. Never log it.
    pub fn expose(&self) -> &str {
        self.secret.expose_secret()
    }

    /// The resource that it is for: the token's audience.
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// What was granted; that may be less than was asked for (RFC 6749 section 5.1).
    pub fn scopes(&self) -> &ScopeSet {
        &self.scopes
    }

    /// When it was asked for, in seconds since the Unix epoch.
    pub fn fetched_at(&self) -> u64 {
        self.fetched_at / 1000
    }

    /// When it ends, in seconds since the Unix epoch.
    pub fn expires_at(&self) -> u64 {
        self.expires_at / 1000
    }

    /// How long it is still good; zero when it has ended.
    pub fn time_left(&self, clock: &Clock) -> Duration {
        Duration::from_millis(self.expires_at.saturating_sub(clock.now_ms()))
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken")
            .field("resource", &self.resource)
            .field("scopes", &self.scopes)
            .field("fetched_at", &self.fetched_at())
            .field("expires_at", &self.expires_at())
            .finish_non_exhaustive()
    }
}
