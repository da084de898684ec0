//! The verifier.

use std::{sync::Arc, time::Duration};

use super::{Algorithm, TokenError, VerifiedToken};
use crate::{Clock, ConfigError};

/// Verifies access tokens of one issuer for one audience. A clone is another handle to the same keys.
#[derive(Clone)]
pub struct Verifier(Arc<()>);

/// What [`Verifier::builder`] collects.
#[must_use]
pub struct VerifierBuilder(());

impl Verifier {
    /// Begins a verifier of `issuer`'s tokens.
    pub fn builder(issuer: impl Into<String>) -> VerifierBuilder {
        let _: String = issuer.into();
        todo!()
    }

    /// Loads the keys; tries until it works.
    pub async fn ready(&self) {
        todo!()
    }

    /// Whether keys are held.
    pub async fn health(&self) -> Result<(), String> {
        todo!()
    }

    /// Verifies one token.
    pub async fn verify(&self, token: &str) -> Result<Arc<VerifiedToken>, TokenError> {
        let _ = token;
        todo!()
    }

    /// The audience.
    pub fn audience(&self) -> &str {
        todo!()
    }
}

impl VerifierBuilder {
    /// The audience.
    pub fn audience(self, audience: impl Into<String>) -> Self {
        let _: String = audience.into();
        self
    }
    /// The leeway.
    pub fn leeway(self, leeway: Duration) -> Self {
        let _ = leeway;
        self
    }
    /// The algorithms.
    pub fn algorithms(self, algorithms: &[Algorithm]) -> Self {
        let _ = algorithms;
        self
    }
    /// The key set.
    pub fn key_set_url(self, url: impl Into<String>) -> Self {
        let _: String = url.into();
        self
    }
    /// The clock.
    pub fn clock(self, clock: Clock) -> Self {
        let _ = clock;
        self
    }
    /// Builds.
    pub fn build(self) -> Result<Verifier, ConfigError> {
        todo!()
    }
}
