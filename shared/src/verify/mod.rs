//! Accepting tokens: is this access token (RFC 9068) the issuer's, for this service, and still
//! good?
//!
//! [`Verifier`] is all that a service needs. What it checks, in this order: the token's shape and
//! header (`typ`, `alg`, `kid`, no `crit`), the signature by a key of the issuer's set, the claims
//! `iss`, `aud`, `exp`, `sub`, and, where they are there, `nbf`, `iat`, `client_id`, `jti`, `scope`
//! and `scp`.
//!
//! [`Revocation`] says how it learns of tokens that were taken back: what the `feed` has told is
//! looked through on each use of a token, also of one that is remembered. With `introspection` the
//! issuer judges, and only its answer is checked here; [`Verifier::introspecting`] needs not even
//! the issuer's name.
//!
//! Stricter than the RFCs, on purpose: a token must name its key (`kid`), no name may stand twice
//! in its header or claims, `scope` and `scp` must agree, and a token that is bound to a key
//! (`cnf`) is not taken as a bearer token.

mod builder;
mod claims;
mod error;
mod feed;
mod fingerprint;
mod introspection;
mod issuer_keys;
mod json;
mod jws;
mod key;
mod key_set;
mod local;
mod revocation;
mod stats;
mod token;
mod verifier;

pub use builder::VerifierBuilder;
pub use error::TokenError;
pub use key::Algorithm;
pub use revocation::{Feed, Introspection, Revocation, WhenStale};
pub use stats::{FeedStats, VerifierStats};
pub use token::VerifiedToken;
pub use verifier::Verifier;

/// The longest token that is looked at, in bytes. Headers of 16 KiB are as much as most servers
/// take.
const MAX_TOKEN: usize = 16 * 1024;
