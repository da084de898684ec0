//! Accepting tokens: is this access token (RFC 9068) the issuer's, for this service, and still good?

mod error;
mod key;
mod token;
mod verifier;

pub use error::TokenError;
pub use key::Algorithm;
pub use token::VerifiedToken;
pub use verifier::{Verifier, VerifierBuilder};
