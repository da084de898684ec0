//! Error bodies of RFC 9457, `application/problem+json`.

use std::{borrow::Cow, fmt};

use actix_web::{HttpResponse, ResponseError, http::StatusCode};
use serde::Serialize;

use super::object::is_member_name;

/// An error answer that says what is wrong and how to mend it.
#[derive(Debug, Serialize)]
pub struct Problem {
    #[serde(serialize_with = "as_number")]
    status: StatusCode,
    title: &'static str,
    detail: String,
    /// The member of the request that is at fault, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<Cow<'static, str>>,
    #[serde(flatten)]
    oauth: Option<Box<OAuthError>>,
    /// `type` is left out: RFC 9457 section 4.2.1 reads that as `about:blank`, "no more than the status".
    #[serde(skip)]
    headers: Vec<(&'static str, String)>,
}

/// The members that an OAuth client looks for (RFC 6749 section 5.2, RFC 6750 section 3).
#[derive(Debug, Serialize)]
struct OAuthError {
    error: &'static str,
    error_description: String,
}

impl Problem {
    /// `detail` is a sentence for the caller: what is wrong, and what to send instead.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            title: status.canonical_reason().unwrap_or("Error"),
            detail: detail.into(),
            field: None,
            oauth: None,
            headers: Vec::new(),
        }
    }

    /// 400, for a request that cannot be understood.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 404, for a thing that is not there.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// The sentence for the caller.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Names the member of the request that is at fault.
    #[must_use]
    pub fn field(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.field = Some(name.into());
        self
    }

    /// As [`field`](Self::field), for a name that the caller made up: one that may be a secret in the wrong place is left
    /// out.
    #[must_use]
    pub fn unknown_field(self, name: &str) -> Self {
        if is_member_name(name) {
            self.field(name.to_owned())
        } else {
            self
        }
    }

    /// Adds the members `error` and `error_description`; the description is the problem's detail.
    #[must_use]
    pub fn oauth_error(mut self, error: &'static str) -> Self {
        let error_description = self.detail.clone();
        self.oauth = Some(Box::new(OAuthError {
            error,
            error_description,
        }));
        self
    }

    /// Adds a header to the answer.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.title, self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut answer = HttpResponse::build(self.status);
        for (name, value) in &self.headers {
            answer.insert_header((*name, value.as_str()));
        }
        let body = serde_json::to_vec(self).expect("a problem has only strings and a number");
        answer.content_type("application/problem+json").body(body)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn as_number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}
