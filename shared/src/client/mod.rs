//! Asking for tokens.

mod access_token;
mod error;
mod source;

pub use access_token::AccessToken;
pub use error::{FetchError, SendError};
pub use source::{TokenSource, TokenSourceBuilder};
