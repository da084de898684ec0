//! Asking for tokens: the client credentials grant (RFC 6749 section 4.4), one token per resource
//! and scopes.
//!
//! [`TokenSource`] is all that a caller needs: `send` a request through it, or ask for a `token`
//! and send it yourself.

mod access_token;
mod error;
mod request;
mod slot;
mod source;

pub use access_token::AccessToken;
pub use error::{FetchError, SendError};
pub use source::{TokenSource, TokenSourceBuilder};
