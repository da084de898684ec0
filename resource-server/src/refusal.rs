//! What who is not let in is told: a code, a sentence that says how to mend the request, and
//! nothing of what the provider said about the token.
//!
//! | | status | `error` in the body | `WWW-Authenticate: Bearer realm="…"` and |
//! |---|---|---|---|
//! | no bearer token | 401 | `missing_token` | nothing more (RFC 6750 section 3.1) |
//! | a token that is not active, or not for this service | 401 | `invalid_token` | the same code |
//! | an active token without the scope | 403 | `insufficient_scope` | the same code, `scope="…"` |
//! | several tokens | 400 | `invalid_request` | the same code |
//! | the provider cannot be asked | 503 | `temporarily_unavailable` | (`Retry-After` instead) |

use std::fmt;

use actix_web::{
    HttpResponse, ResponseError,
    http::{StatusCode, header},
};
use m2m::{ScopeSet, TokenError};
use serde_json::json;

/// An answer to a request that is not let in, or asks for what there is not.
#[derive(Debug)]
pub struct Refusal {
    realm: String,
    reason: Reason,
}

/// Why.
#[derive(Debug)]
pub enum Reason {
    /// No token was sent.
    MissingToken,
    /// The provider does not vouch for the token. Why not is for the log: an answer that told an
    /// unknown token from an expired one, or from one for somebody else, would tell what exists.
    InvalidToken,
    /// The token does not allow this; the scopes that would.
    InsufficientScope(ScopeSet),
    /// The token was sent in a way that cannot be understood.
    InvalidRequest(&'static str),
    /// Nobody can say whether the token is good.
    ProviderUnavailable,
}

impl From<TokenError> for Reason {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Missing => Self::MissingToken,
            // A verifier knows nothing of the scope that is needed here.
            TokenError::Invalid(_) | TokenError::InsufficientScope { .. } => Self::InvalidToken,
            TokenError::InvalidRequest(mend) => Self::InvalidRequest(mend),
            TokenError::IssuerUnavailable => Self::ProviderUnavailable,
        }
    }
}

impl Reason {
    fn status(&self) -> StatusCode {
        match self {
            Self::MissingToken | Self::InvalidToken => StatusCode::UNAUTHORIZED,
            Self::InsufficientScope(_) => StatusCode::FORBIDDEN,
            Self::InvalidRequest(_) => StatusCode::BAD_REQUEST,
            Self::ProviderUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::MissingToken => "missing_token",
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope(_) => "insufficient_scope",
            Self::InvalidRequest(_) => "invalid_request",
            Self::ProviderUnavailable => "temporarily_unavailable",
        }
    }
}

/// The sentence for the caller. It may stand in a header: no quotes, no backslashes.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingToken => f.write_str(
                "this needs an access token: send it as `Authorization: Bearer <token>`",
            ),
            Self::InvalidToken => f.write_str(
                "the token is unknown, expired, revoked, or not for this service: get a new one",
            ),
            Self::InsufficientScope(required) => {
                write!(
                    f,
                    "the token does not have the scope {required}: ask for one that does"
                )
            }
            Self::InvalidRequest(mend) => f.write_str(mend),
            Self::ProviderUnavailable => {
                f.write_str("the token cannot be checked at the moment: try again in a few seconds")
            }
        }
    }
}

impl Refusal {
    /// `realm` is the audience that the token should have.
    pub fn new(realm: &str, reason: Reason) -> Self {
        let realm = realm.to_owned();
        Self { realm, reason }
    }

    /// RFC 6750 section 3. `None` when another token would not help.
    fn challenge(&self) -> Option<String> {
        let (realm, reason) = (&self.realm, &self.reason);
        let because = format!(
            "Bearer realm=\"{realm}\", error=\"{}\", error_description=\"{reason}\"",
            reason.code()
        );
        match reason {
            Reason::MissingToken => Some(format!("Bearer realm=\"{realm}\"")),
            Reason::InvalidToken | Reason::InvalidRequest(_) => Some(because),
            Reason::InsufficientScope(required) => Some(format!("{because}, scope=\"{required}\"")),
            Reason::ProviderUnavailable => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        self.reason.status()
    }

    fn error_response(&self) -> HttpResponse {
        let mut answer = HttpResponse::build(self.status_code());
        match self.challenge() {
            Some(challenge) => answer.insert_header((header::WWW_AUTHENTICATE, challenge)),
            None => answer.insert_header((header::RETRY_AFTER, "5")),
        };
        answer.json(json!({
            "error": self.reason.code(),
            "error_description": self.reason.to_string(),
        }))
    }
}
