//! Why no token was to be had, and what to do about it.

use std::{error::Error, fmt, sync::Arc};

use crate::net::NetError;

/// Why a token could not be fetched. Cloneable, because everybody who waited for a fetch shares its
/// failure.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The issuer understood the request and said no (RFC 6749 section 5.2).
    #[error("the issuer gave no token: {}", Refusal(.error, .description.as_deref()))]
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
    /// The client does not know its own credentials: what is wrong with the clients file.
    #[error("no credentials to ask the issuer with: {0}")]
    NoCredentials(String),
    /// Something answered, but not as an issuer does.
    #[error("{url} did not answer as an issuer does: {reason}; check the issuer's URL")]
    Unexpected {
        /// What was asked.
        url: String,
        /// What is wrong with the answer.
        reason: String,
    },
}

impl FetchError {
    /// Whether the issuer has decided; otherwise it could not be asked, and may say yes later.
    pub(super) fn is_decision(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if *status < 500)
    }
}

/// The issuer's own words, or else what is known to help.
struct Refusal<'a>(&'a str, Option<&'a str>);

impl fmt::Display for Refusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(code, description) = self;
        f.write_str(code)?;
        let advice = description.or(match *code {
            "invalid_client" => Some("check the client id and its secret"),
            "invalid_scope" => Some("ask only for scopes that the client was granted"),
            "invalid_target" => Some("ask for a resource that the client was granted"),
            "unauthorized_client" => Some("the client needs a grant for this resource"),
            _ => None,
        });
        advice.map_or(Ok(()), |advice| write!(f, " ({advice})"))
    }
}

impl From<NetError> for FetchError {
    fn from(error: NetError) -> Self {
        match error {
            NetError::Unreachable { url, source } => Self::Unreachable { url, source },
            NetError::Unexpected { url, reason } => Self::Unexpected { url, reason },
        }
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
    #[error("the request could not be sent: is the service running?")]
    Request(#[from] reqwest::Error),
}
