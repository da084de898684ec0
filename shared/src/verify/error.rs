//! Why a request is not let in, in the words of RFC 6750 section 3.1.

/// Why no [`VerifiedToken`](super::VerifiedToken) came of a request.
///
/// The texts are constants, say nothing secret, and may be shown to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// No access token was sent. Status 401, without an error code.
    #[error(
        "this needs an access token: send it as `Authorization: Bearer <token>`; when you do, see \
         whether a proxy or a redirect takes that header away"
    )]
    Missing,
    /// The token is malformed, forged, expired, revoked, or for somebody else. Status 401,
    /// `invalid_token`.
    #[error("{0}")]
    Invalid(&'static str),
    /// The token is good but does not allow this. Status 403, `insufficient_scope`.
    #[error(
        "the token does not have the scope {required}: ask for one with scope={required}, which the \
         client's grant must allow"
    )]
    InsufficientScope {
        /// The scope that would have allowed it.
        required: &'static str,
    },
    /// The request carries its token in a way that cannot be understood. Status 400,
    /// `invalid_request`.
    #[error("{0}")]
    InvalidRequest(&'static str),
    /// Nothing can be said about the token: the issuer's keys cannot be had, or it was to be asked
    /// whether the token was revoked and does not answer. Status 503.
    #[error(
        "the token cannot be checked at the moment: try again in a few seconds; GET /ready says what \
         this service waits for"
    )]
    IssuerUnavailable,
}
