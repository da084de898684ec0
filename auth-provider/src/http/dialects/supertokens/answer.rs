//! The two shapes of a refusal. What is wrong with the call itself is a status and a text, which the libraries throw as an
//! exception. What is wrong with what is asked for is an answer like others, with 200 and a `status` of its own.

use std::fmt;

use actix_web::{
    HttpResponse, ResponseError,
    http::{StatusCode, header},
};
use serde_json::{Value, json};

use crate::{
    error::{ErrorCode, OAuthError, Told},
    limits::Exhausted,
    registry::commit::Refusal,
};

#[derive(Debug)]
pub(super) enum Refused {
    /// A status and a text.
    Call {
        status: StatusCode,
        text: String,
        allow: Option<&'static str>,
    },
    /// The same for an error that knows its own status and headers.
    Error(OAuthError),
    /// 200 and `OAUTH_ERROR`. `status` is told in the body: it is what a server of OAuth would have answered.
    OAuth {
        error: &'static str,
        description: String,
        status: u16,
    },
    /// 200 and `CLIENT_NOT_FOUND_ERROR`.
    NoClient,
}

impl Refused {
    pub(super) fn method(allow: &'static str) -> Self {
        Self::Call {
            status: StatusCode::METHOD_NOT_ALLOWED,
            text: format!("this path answers {allow}"),
            allow: Some(allow),
        }
    }

    /// What is asked for cannot be had.
    pub(super) fn metadata(description: impl Into<String>) -> Self {
        Self::OAuth {
            error: ErrorCode::InvalidClientMetadata.as_str(),
            description: description.into(),
            status: 400,
        }
    }

    /// An error of OAuth as the core of SuperTokens passes it on. One that is the server's own stays a status.
    pub(super) fn passed_on(error: OAuthError) -> Self {
        let status = error.status_code().as_u16();
        if !matches!(status, 400 | 401 | 403) {
            return Self::Error(error);
        }
        let told = error.told();
        Self::OAuth {
            error: told.code,
            description: sentence(&told),
            status,
        }
    }
}

/// The sentence, and the name under which an administrator finds it in the audit log.
fn sentence(told: &Told) -> String {
    format!("{} (request_id: {})", told.description, told.request_id)
}

/// `200`, with `status` before the rest, which is an object.
pub(super) fn ok(mut rest: Value) -> HttpResponse {
    rest["status"] = Value::from("OK");
    HttpResponse::Ok().json(rest)
}

impl ResponseError for Refused {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Call { status, .. } => *status,
            Self::Error(error) => error.status_code(),
            Self::OAuth { .. } | Self::NoClient => StatusCode::OK,
        }
    }

    fn error_response(&self) -> HttpResponse {
        match self {
            Self::Call {
                status,
                text,
                allow,
            } => {
                let mut answer = HttpResponse::build(*status);
                answer.content_type("text/plain; charset=utf-8");
                if let Some(allow) = allow {
                    answer.insert_header((header::ALLOW, *allow));
                }
                answer.body(format!("{text}\n"))
            }
            Self::Error(error) => {
                let told = error.told();
                let mut answer = HttpResponse::build(told.status);
                // The key is in a header of its own, which no challenge of HTTP asks for.
                let headers = told.headers.iter();
                for (name, value) in headers.filter(|(name, _)| name != header::WWW_AUTHENTICATE) {
                    answer.insert_header((name.clone(), value.clone()));
                }
                let invalid = if error.is_failed_authentication() {
                    "Invalid API key: "
                } else {
                    ""
                };
                answer.content_type("text/plain; charset=utf-8");
                answer.body(format!("{invalid}{}\n", sentence(&told)))
            }
            Self::OAuth {
                error,
                description,
                status,
            } => HttpResponse::Ok().json(json!({
                "status": "OAUTH_ERROR",
                "error": error,
                "errorDescription": description,
                "statusCode": status,
            })),
            Self::NoClient => HttpResponse::Ok().json(json!({
                "status": "CLIENT_NOT_FOUND_ERROR",
                // Besides the status: a library looks for them in whatever is not OK.
                "error": "invalid_request",
                "errorDescription": "there is no client with this clientId: list the clients",
                "statusCode": 404,
            })),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call { text, .. } => f.write_str(text),
            Self::Error(error) => error.fmt(f),
            Self::OAuth { description, .. } => f.write_str(description),
            Self::NoClient => f.write_str("there is no such client"),
        }
    }
}

impl From<OAuthError> for Refused {
    fn from(error: OAuthError) -> Self {
        Self::Error(error)
    }
}

impl From<Exhausted> for Refused {
    fn from(exhausted: Exhausted) -> Self {
        Self::Error(exhausted.into())
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let text = refusal.to_string();
        match refusal {
            Refusal::NotFound { field: None, .. } => Self::NoClient,
            Refusal::NotFound { .. } => Self::OAuth {
                error: ErrorCode::InvalidTarget.as_str(),
                description: text,
                status: 400,
            },
            Refusal::Conflict { .. } | Refusal::TooMuch { .. } => Self::metadata(text),
            Refusal::Forbidden(_) => Self::Call {
                status: StatusCode::FORBIDDEN,
                text,
                allow: None,
            },
            other => Self::Error(other.into()),
        }
    }
}
