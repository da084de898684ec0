//! The one error that the OAuth endpoints answer (RFC 6749 section 5.2).

use std::{borrow::Cow, error::Error, fmt};

use actix_web::{
    HttpResponse, ResponseError,
    http::{StatusCode, header},
};
use serde_json::json;
use tracing::{error, info};

use crate::{
    client::random_id, directory::ReadError, keys::KeyError, policy::Refusal, storage::StoreError,
};

/// The error codes that a caller's program can act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    InvalidRequest,
    InvalidClient,
    UnauthorizedClient,
    UnsupportedGrantType,
    UnsupportedResponseType,
    InvalidScope,
    /// RFC 8707 section 2.
    InvalidTarget,
    /// As in RFC 6749 section 4.1.2.1: the server cannot answer just now.
    TemporarilyUnavailable,
}

impl ErrorCode {
    fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::InvalidClient => StatusCode::UNAUTHORIZED,
            Self::TemporarilyUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// What the caller reads is `code` and `description`; `source` and `client` go to the log only.
#[derive(Debug)]
pub struct OAuthError {
    code: ErrorCode,
    status: StatusCode,
    description: Cow<'static, str>,
    client: Option<String>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl OAuthError {
    /// `description` tells the caller how to mend the request.
    pub fn new(code: ErrorCode, description: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            status: code.status(),
            description: description.into(),
            client: None,
            source: None,
        }
    }

    pub fn invalid_request(description: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::InvalidRequest, description)
    }

    /// The same words whether the client is unknown, inactive, or its secret wrong: which of them it is, a
    /// guesser must not learn.
    pub fn invalid_client() -> Self {
        Self::new(
            ErrorCode::InvalidClient,
            "client authentication failed: check the client id and secret",
        )
    }

    /// Replaces the status that belongs to the code.
    #[must_use]
    pub fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Names the client in the log.
    #[must_use]
    pub fn of_client(mut self, id: impl fmt::Display) -> Self {
        self.client = Some(id.to_string());
        self
    }
}

impl From<Refusal> for OAuthError {
    fn from(refusal: Refusal) -> Self {
        let code = match &refusal {
            Refusal::NoGrants => ErrorCode::UnauthorizedClient,
            Refusal::Ambiguous { .. } | Refusal::NotGranted { .. } => ErrorCode::InvalidTarget,
            Refusal::ScopeNotGranted { .. } => ErrorCode::InvalidScope,
        };
        Self::new(code, refusal.to_string())
    }
}

impl From<KeyError> for OAuthError {
    fn from(source: KeyError) -> Self {
        let description = "the server has no key to sign with just now: try again in a moment";
        let mut error = Self::new(ErrorCode::TemporarilyUnavailable, description);
        error.source = Some(Box::new(source));
        error
    }
}

impl From<StoreError> for OAuthError {
    fn from(source: StoreError) -> Self {
        Self::without_data(source)
    }
}

impl From<ReadError> for OAuthError {
    fn from(source: ReadError) -> Self {
        Self::without_data(source)
    }
}

impl OAuthError {
    fn without_data(source: impl Error + Send + Sync + 'static) -> Self {
        let description = "the server cannot reach its data just now: try again in a moment";
        let mut error = Self::new(ErrorCode::TemporarilyUnavailable, description);
        error.source = Some(Box::new(source));
        error
    }
}

impl fmt::Display for OAuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.description)
    }
}

impl Error for OAuthError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl ResponseError for OAuthError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let request_id = random_id();
        self.log(&request_id);
        let mut answer = HttpResponse::build(self.status);
        answer
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .insert_header((header::PRAGMA, "no-cache"));
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = "Basic realm=\"auth-provider\", charset=\"UTF-8\"";
            answer.insert_header((header::WWW_AUTHENTICATE, challenge));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            answer.insert_header((header::RETRY_AFTER, "1"));
        }
        answer.json(json!({
            "error": self.code.as_str(),
            "error_description": printable(&self.description),
            "request_id": request_id,
        }))
    }
}

impl OAuthError {
    /// The caller has the request id, the log has the rest.
    fn log(&self, request_id: &str) {
        let code = self.code.as_str();
        let client = self.client.as_deref();
        if let Some(source) = &self.source {
            error!(
                request_id,
                code,
                client,
                "could not answer: {}",
                chain(source.as_ref())
            );
        } else {
            info!(request_id, code, client, "refused: {}", self.description);
        }
    }
}

/// The error and its causes in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// RFC 6749 section 5.2: a description is printable ASCII without quote and backslash.
fn printable(text: &str) -> String {
    text.chars()
        .filter(|c| matches!(c, ' '..='~') && !matches!(c, '"' | '\\'))
        .take(1000)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_keeps_to_the_characters_that_the_rfc_allows() {
        assert_eq!(printable("a \"b\\c\u{0}é\n~"), "a bc~");
        assert_eq!(printable(&"x".repeat(5000)).len(), 1000);
    }
}
