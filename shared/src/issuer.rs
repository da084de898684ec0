//! The issuer.

/// What is wrong with the configuration of a verifier or token source, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A URL that may not be used.
    #[error("`{url}` cannot be the {role}: {rule}")]
    Url {
        /// What the URL was meant to be.
        role: &'static str,
        /// The URL as configured; empty when it holds a password.
        url: String,
        /// The rule that it breaks.
        rule: &'static str,
    },
}
