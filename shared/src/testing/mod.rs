//! An issuer for tests.

use serde_json::Value;

use crate::Clock;

/// An issuer.
pub struct TestIssuer {}

/// A token to be minted.
#[must_use]
pub struct TestToken<'a> {
    issuer: &'a TestIssuer,
}

impl TestIssuer {
    /// Starts one on a free port of 127.0.0.1, with the machine's clock.
    pub async fn start() -> Self {
        Self::start_at(Clock::System).await
    }
    /// Starts one whose tokens are dated by `clock`.
    pub async fn start_at(clock: Clock) -> Self {
        let _ = clock;
        todo!()
    }
    /// The issuer identifier.
    pub fn url(&self) -> &str {
        todo!()
    }
    /// A token.
    pub fn token(&self) -> TestToken<'_> {
        TestToken { issuer: self }
    }
    /// How often `path` was asked.
    pub fn requests(&self, path: &str) -> usize {
        let _ = path;
        todo!()
    }
    /// Whether to answer 503.
    pub fn set_down(&self, down: bool) {
        let _ = down;
        todo!()
    }
    /// A new key.
    pub fn rotate_key(&self) {
        todo!()
    }
    /// The life of tokens from the token endpoint, in seconds.
    pub fn set_expires_in(&self, seconds: u64) {
        let _ = seconds;
        todo!()
    }
    /// What the token endpoint answers instead of a token; `None` ends that.
    pub fn fail_token_requests(&self, answer: Option<(u16, Value)>) {
        let _ = answer;
        todo!()
    }
}

impl TestToken<'_> {
    /// `sub`.
    pub fn subject(self, subject: &str) -> Self {
        let _ = subject;
        self
    }
    /// `aud`.
    pub fn audience(self, audience: &str) -> Self {
        let _ = audience;
        self
    }
    /// `scope`.
    pub fn scope(self, scope: &str) -> Self {
        let _ = scope;
        self
    }
    /// `exp`, in seconds from now.
    pub fn expires_in(self, seconds: i64) -> Self {
        let _ = seconds;
        self
    }
    /// A claim.
    pub fn claim(self, name: &str, value: impl Into<Value>) -> Self {
        let _: (&str, Value) = (name, value.into());
        self
    }
    /// Without a claim.
    pub fn without_claim(self, name: &str) -> Self {
        let _ = name;
        self
    }
    /// A header member.
    pub fn header(self, name: &str, value: impl Into<Value>) -> Self {
        let _: (&str, Value) = (name, value.into());
        self
    }
    /// A forgery.
    pub fn alg_none(self) -> Self {
        self
    }
    /// A forgery.
    pub fn hs256_with_public_key(self) -> Self {
        self
    }
    /// A forgery.
    pub fn unknown_key(self) -> Self {
        self
    }
    /// Signs.
    pub fn mint(self) -> String {
        let _ = self.issuer;
        todo!()
    }
}
