//! Why no token was to be had, and what to do about it.

use std::{error::Error, sync::Arc};

/// Why a token could not be fetched. Cloneable, because everybody who waited for a fetch shares its failure.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The issuer understood the request and said no (RFC 6749 section 5.2).
    #[error("the issuer refused the token request: {error}{}", sentence(.description.as_deref(), .error))]
    Refused {
        /// The code, such as `invalid_client`.
        error: String,
        /// What the issuer says about it.
        description: Option<String>,
        /// The issuer's id of the request, to find it in its log.
        request_id: Option<String>,
        /// The status of the answer.
        status: u16,
    },
    /// Nobody answered.
    #[error("no answer from {url}: is the issuer running there?")]
    Unreachable {
        /// What was asked.
        url: String,
        /// What went wrong on the way.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// Something answered that is no token.
    #[error("{url} did not answer as an issuer does: {reason}; is that its address?")]
    Unexpected {
        /// What was asked.
        url: String,
        /// What is wrong with the answer.
        reason: String,
    },
}

fn sentence(description: Option<&str>, error: &str) -> String {
    match (description, error) {
        (Some(description), _) => format!(", {description}"),
        (None, "invalid_client") => ": check the client id and its secret".to_owned(),
        (None, _) => String::new(),
    }
}

/// Why [`TokenSource::send`](super::TokenSource::send) has no response.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// There was no token to send.
    #[error(transparent)]
    Token(#[from] FetchError),
    /// The request itself failed.
    #[error("the request failed")]
    Request(#[from] reqwest::Error),
}
