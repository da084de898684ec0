//! The one error that the OAuth endpoints answer (RFC 6749 section 5.2).

use std::{borrow::Cow, error::Error, fmt, net::IpAddr};

use actix_web::{
    HttpResponse, ResponseError,
    http::{
        StatusCode,
        header::{self, HeaderName, HeaderValue},
    },
};
use m2m::{service::BodyError, trace::request_id};
use serde_json::json;
use tracing::{debug, error, info};

use crate::{
    administration,
    audit::{Action, Event, Origin},
    client::ClientId,
    directory::ReadError,
    journal::Behind,
    keys::KeyError,
    limits::Exhausted,
    policy::Refusal,
    registry::commit,
    resource::ResourceId,
    storage::StoreError,
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
    /// RFC 7591 section 3.2.2, as the next two.
    InvalidClientMetadata,
    InvalidRedirectUri,
    UnapprovedSoftwareStatement,
    /// As in RFC 6749 section 4.1.2.1: the server cannot answer just now.
    TemporarilyUnavailable,
}

impl ErrorCode {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::InvalidClientMetadata => "invalid_client_metadata",
            Self::InvalidRedirectUri => "invalid_redirect_uri",
            Self::UnapprovedSoftwareStatement => "unapproved_software_statement",
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

/// What the caller reads is `code`, `description` and `request_id`; the rest goes to the log and the audit log only.
#[derive(Debug)]
pub struct OAuthError {
    code: ErrorCode,
    status: StatusCode,
    description: Cow<'static, str>,
    /// Under this name the caller can ask an administrator about it.
    request_id: String,
    client: Option<ClientId>,
    /// What the caller must not learn: a finer code, and why it was refused in a sentence.
    why: Option<Box<Why>>,
    source: Option<Box<dyn Error + Send + Sync>>,
    exhausted: Option<Box<Exhausted>>,
    /// Whether a 401 asks for a bearer, and not for a client's id and secret.
    bearer: bool,
}

#[derive(Debug)]
struct Why {
    reason: &'static str,
    explanation: String,
    resource: Option<ResourceId>,
}

impl OAuthError {
    /// `description` tells the caller how to mend the request.
    pub fn new(code: ErrorCode, description: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            status: code.status(),
            description: description.into(),
            request_id: request_id(),
            client: None,
            why: None,
            source: None,
            exhausted: None,
            bearer: false,
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

    /// Says which slip the request looks like, when its sender was not authenticated. It must follow from the request
    /// alone: what the server knows of its clients must not show.
    #[must_use]
    pub fn looks_like(mut self, slip: Option<&str>) -> Self {
        if let Some(slip) = slip.filter(|_| self.is_failed_authentication()) {
            self.description = format!("client authentication failed: {slip}").into();
        }
        self
    }

    /// What was presented by itself opens nothing: one description for every reason.
    pub fn invalid_bearer() -> Self {
        Self::new(
            ErrorCode::InvalidClient,
            "client authentication failed: what was presented opens nothing here, or no longer",
        )
    }

    /// Replaces the status that belongs to the code.
    #[must_use]
    pub fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// With 403: it was understood, and nothing in the request would make it right.
    #[must_use]
    pub fn forbidden(self) -> Self {
        self.status(StatusCode::FORBIDDEN)
    }

    /// Names the client in the log.
    #[must_use]
    pub fn of_client(mut self, id: &ClientId) -> Self {
        self.client = Some(id.clone());
        self
    }

    /// Says why, for administrators only.
    #[must_use]
    pub fn because(mut self, reason: &'static str, explanation: impl Into<String>) -> Self {
        self.why = Some(Box::new(Why {
            reason,
            explanation: explanation.into(),
            resource: None,
        }));
        self
    }

    /// Says which resource it is about, for administrators only.
    #[must_use]
    pub fn about(mut self, resource: ResourceId) -> Self {
        if let Some(why) = &mut self.why {
            why.resource = Some(resource);
        }
        self
    }

    /// Says that the endpoint takes a bearer: its challenge has the reason (RFC 6750 section 3).
    #[must_use]
    pub fn for_bearer(mut self) -> Self {
        self.bearer = true;
        self
    }

    /// Whether the caller could not prove who it is.
    pub fn is_failed_authentication(&self) -> bool {
        self.code == ErrorCode::InvalidClient
    }

    /// Whether it was refused before anybody was asked who it is.
    pub fn is_of_a_stranger(&self) -> bool {
        self.client.is_none() && self.why.is_none() && self.source.is_none()
    }

    /// What the audit log keeps of it. `None` for what is the server's own fault: that is in its log. And `None` for what
    /// a limit refused: a flood must not fill the disk.
    pub fn event(&self, action: Action, at: u64, address: Option<IpAddr>) -> Option<Event> {
        if self.source.is_some() || self.exhausted.is_some() {
            return None;
        }
        let origin = Origin::of(self.client.clone(), address).under(&self.request_id);
        let (reason, explanation) = match &self.why {
            Some(why) => (why.reason, why.explanation.as_str()),
            None => (self.code.as_str(), &*self.description),
        };
        let mut event = Event::refused(action, at, &origin, reason, explanation);
        event.client.clone_from(&self.client);
        event.resource = self.why.as_ref().and_then(|why| why.resource.clone());
        Some(event)
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

/// The body could not be read.
impl From<BodyError> for OAuthError {
    fn from(error: BodyError) -> Self {
        Self::invalid_request(error.to_string()).status(error.status())
    }
}

/// No registered code says "too often" at the token endpoint; this one makes a program come back later.
impl From<Exhausted> for OAuthError {
    fn from(exhausted: Exhausted) -> Self {
        let mut error = Self::new(ErrorCode::TemporarilyUnavailable, exhausted.to_string())
            .status(StatusCode::TOO_MANY_REQUESTS);
        error.exhausted = Some(Box::new(exhausted));
        error
    }
}

/// What a client hears that registers, changes or removes itself.
impl From<commit::Refusal> for OAuthError {
    fn from(refusal: commit::Refusal) -> Self {
        use commit::Refusal as R;
        let changed =
            "the client was changed or removed at the same moment: read it, and try again";
        match refusal {
            R::TooMuch { .. } => Self::new(ErrorCode::InvalidClientMetadata, refusal.to_string()),
            R::NotFound { .. } | R::Conflict { .. } | R::Changed => {
                Self::invalid_request(changed).status(StatusCode::CONFLICT)
            }
            R::KeyReused => {
                Self::invalid_request(refusal.to_string()).status(StatusCode::UNPROCESSABLE_ENTITY)
            }
            R::Forbidden(_) => {
                Self::invalid_request(refusal.to_string()).status(StatusCode::FORBIDDEN)
            }
            R::Store(source) => source.into(),
            R::Journal(source) => source.into(),
            R::Busy | R::Sealed => {
                let description = "the server cannot keep this just now: try again in a moment";
                let mut error = Self::new(ErrorCode::TemporarilyUnavailable, description);
                error.source = Some(Box::new(refusal));
                error
            }
        }
    }
}

/// What a client hears that takes tokens back.
impl From<administration::Failure> for OAuthError {
    fn from(failure: administration::Failure) -> Self {
        use administration::Failure as F;
        match failure {
            F::Unclear | F::NoSuchClient | F::NoSuchResource => {
                Self::invalid_request(failure.to_string())
            }
            F::Key(source) => source.into(),
            F::Store(source) => source.into(),
        }
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

impl From<Behind> for OAuthError {
    fn from(source: Behind) -> Self {
        let description = "the server cannot write its audit log just now: try again in a moment";
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
        let told = self.told();
        let mut answer = HttpResponse::build(told.status);
        for header in told.headers {
            answer.insert_header(header);
        }
        answer.json(json!({
            "error": told.code,
            "error_description": told.description,
            "request_id": told.request_id,
        }))
    }
}

/// What the caller reads of an [`OAuthError`], for those who put it into another shape.
pub struct Told {
    pub status: StatusCode,
    pub code: &'static str,
    pub description: String,
    pub request_id: String,
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl OAuthError {
    /// What the caller reads. The log gets the rest.
    pub fn told(&self) -> Told {
        self.log();
        let mut headers = vec![
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (header::PRAGMA, HeaderValue::from_static("no-cache")),
        ];
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_str(&self.challenge());
            let challenge = challenge.expect("a challenge is printable ASCII");
            headers.push((header::WWW_AUTHENTICATE, challenge));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.push((header::RETRY_AFTER, HeaderValue::from_static("1")));
        }
        let exhausted = self.exhausted.iter();
        headers.extend(
            exhausted
                .flat_map(|exhausted| exhausted.headers())
                .filter_map(|(name, value)| {
                    let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
                    Some((name, HeaderValue::from_str(&value).ok()?))
                }),
        );
        Told {
            status: self.status,
            code: self.code.as_str(),
            description: printable(&self.description),
            request_id: self.request_id.clone(),
            headers,
        }
    }

    fn challenge(&self) -> String {
        if !self.bearer {
            return "Basic realm=\"auth-provider\", charset=\"UTF-8\"".to_owned();
        }
        let code = match self.code {
            ErrorCode::InvalidClient => "invalid_token",
            code => code.as_str(),
        };
        let description = printable(&self.description);
        format!(
            "Bearer realm=\"auth-provider\", error=\"{code}\", error_description=\"{description}\""
        )
    }

    /// The caller has the request id; each line of the log ends with it, and has the rest.
    fn log(&self) {
        let code = self.code.as_str();
        let client = self.client.as_ref().map(ClientId::as_str);
        if let Some(source) = &self.source {
            error!(code, client, "could not answer: {}", chain(source.as_ref()));
        } else if self.exhausted.is_some() {
            // A flood must not become a flood of lines: the limit itself tells of it now and then.
            debug!(code, client, "refused: {}", self.description);
        } else {
            info!(code, client, "refused: {}", self.description);
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
