//! Refusals in the words of Stytch's libraries: their typed errors want each of the members, and strings in them.

use std::fmt;

use actix_web::{
    HttpResponse, ResponseError,
    http::{
        StatusCode,
        header::{self, HeaderName, HeaderValue},
    },
};
use m2m::{service::Problem, trace::request_id};
use serde_json::json;
use tracing::error;

use super::with_the_two;
use crate::{
    error::{OAuthError, Told},
    registry::commit,
};

/// Where callers of the API that this one takes the place of read about an error of this status.
fn page(status: StatusCode) -> String {
    match status.as_u16() {
        known @ (400 | 401 | 403 | 404 | 429 | 500) => {
            format!("https://stytch.com/docs/api/errors/{known}")
        }
        _ => "https://stytch.com/docs/api/errors".to_owned(),
    }
}

/// Why a project's administrator gets nothing.
#[derive(Debug)]
pub(super) struct Refused {
    status: StatusCode,
    error_type: &'static str,
    message: String,
    request_id: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Refused {
    fn new(status: StatusCode, error_type: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            error_type,
            message: message.into(),
            request_id: request_id(),
            headers: Vec::new(),
        }
    }

    /// What was sent cannot be understood; `message` says what to send instead.
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    /// The body cannot be read.
    pub(super) fn body(status: StatusCode, message: impl Into<String>) -> Self {
        let error_type = match status {
            StatusCode::PAYLOAD_TOO_LARGE => "request_too_large",
            StatusCode::REQUEST_TIMEOUT => "request_timeout",
            _ => "bad_request",
        };
        Self::new(status, error_type, message)
    }

    pub(super) fn nothing_here() -> Self {
        let message = "there is nothing at this path: compare it with the reference of the API";
        Self::new(StatusCode::NOT_FOUND, "route_not_found", message)
    }

    pub(super) fn no_such_project() -> Self {
        let message = "there is no such project: check the project id";
        Self::new(StatusCode::NOT_FOUND, "project_not_found", message)
    }

    pub(super) fn wrong_method(allow: &'static str) -> Self {
        let message = format!("this path answers {allow}");
        let mut refused = Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            message,
        );
        refused.headers = vec![(header::ALLOW, HeaderValue::from_static(allow))];
        refused
    }

    /// Under the name that the audit log has for the request.
    #[must_use]
    pub(super) fn under(mut self, request_id: &str) -> Self {
        request_id.clone_into(&mut self.request_id);
        self
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self::body(problem.status_code(), problem.detail())
    }
}

/// Who could not be let in.
impl From<OAuthError> for Refused {
    fn from(error: OAuthError) -> Self {
        let Told {
            status,
            description,
            request_id,
            headers,
            ..
        } = error.told();
        let (error_type, description) = match status {
            StatusCode::UNAUTHORIZED => (
                "unauthorized_credentials",
                "authenticate with Basic project_id:secret: the project or its secret is not known"
                    .to_owned(),
            ),
            StatusCode::TOO_MANY_REQUESTS => ("too_many_requests", description),
            StatusCode::SERVICE_UNAVAILABLE => ("service_unavailable", description),
            _ => ("bad_request", description),
        };
        Self {
            status,
            error_type,
            message: description,
            request_id,
            headers,
        }
    }
}

/// What could not be done.
impl From<commit::Refusal> for Refused {
    fn from(refusal: commit::Refusal) -> Self {
        use commit::Refusal as R;
        let message = refusal.to_string();
        let (status, error_type) = match &refusal {
            R::NotFound { .. } => (StatusCode::NOT_FOUND, "m2m_client_not_found"),
            R::Conflict {
                field: Some("client_id"),
                ..
            } => (StatusCode::BAD_REQUEST, "duplicate_m2m_client_id"),
            R::Conflict { field: None, .. } => (StatusCode::BAD_REQUEST, "m2m_secret_rotation"),
            R::Conflict { .. } | R::TooMuch { .. } | R::Changed | R::KeyReused => {
                (StatusCode::BAD_REQUEST, "bad_request")
            }
            R::Forbidden(_) => (StatusCode::FORBIDDEN, "forbidden"),
            R::Busy | R::Sealed | R::Store(_) | R::Journal(_) => {
                error!(
                    "could not manage a project: {:#}",
                    anyhow::Error::from(refusal)
                );
                let message = "the server cannot keep this just now, and nothing was changed: try again in a moment";
                let status = StatusCode::SERVICE_UNAVAILABLE;
                let mut refused = Self::new(status, "service_unavailable", message);
                refused.headers = vec![(header::RETRY_AFTER, HeaderValue::from_static("1"))];
                return refused;
            }
        };
        Self::new(status, error_type, message)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.error_type, self.message)
    }
}

impl ResponseError for Refused {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut answer = HttpResponse::build(self.status);
        for header in &self.headers {
            answer.insert_header(header.clone());
        }
        let members = json!({
            "error_type": self.error_type,
            "error_message": self.message,
            "error_url": page(self.status),
        });
        answer.json(with_the_two(members, self.status, &self.request_id))
    }
}

/// Why a client gets no token: RFC 6749's members and the two. Who cannot prove who it is gets 400, as section 5.2 has it
/// for credentials in the body: libraries take a 401 for the project's own credentials.
#[derive(Debug)]
pub(super) struct TokenRefused(pub(super) OAuthError);

impl fmt::Display for TokenRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl ResponseError for TokenRefused {
    fn status_code(&self) -> StatusCode {
        match self.0.status_code() {
            StatusCode::UNAUTHORIZED => StatusCode::BAD_REQUEST,
            status => status,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let (told, status) = (self.0.told(), self.status_code());
        let mut answer = HttpResponse::build(status);
        for header in told.headers {
            if header.0 != header::WWW_AUTHENTICATE {
                answer.insert_header(header);
            }
        }
        let members = json!({
            "error": told.code,
            "error_description": told.description,
            "error_uri": page(status),
        });
        answer.json(with_the_two(members, status, &told.request_id))
    }
}
