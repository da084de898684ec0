//! Tokens in memory: they do not print, do not compare, and are wiped when they are dropped.

use std::fmt;

use aws_lc_rs::digest;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

/// The longest token, in bytes. A JWT with many groups in it has some kilobytes.
pub const MAX_TOKEN: usize = 16 * 1024;

/// An access token or a refresh token of a provider.
#[derive(Clone, Deserialize)]
#[serde(try_from = "SecretString")]
pub struct Token(SecretString);

/// A text that cannot be a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token is 1 to {MAX_TOKEN} visible ASCII characters")]
pub struct InvalidToken;

impl Token {
    /// RFC 6749 appendix A.12: visible ASCII characters, and the space, which no provider uses and which would let a
    /// token be torn in two in a header.
    ///
    /// # Errors
    /// When the text is empty, longer than 16 KiB, or has other characters.
    pub fn parse(text: SecretString) -> Result<Self, InvalidToken> {
        let bytes = text.expose_secret().as_bytes();
        if (1..=MAX_TOKEN).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic) {
            Ok(Self(text))
        } else {
            Err(InvalidToken)
        }
    }

    /// The token itself, for the one place that sends it on.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// How long it is, in bytes.
    pub fn length(&self) -> usize {
        self.expose().len()
    }

    /// Names the token without telling it: 64 bits of its SHA-256, in hexadecimal.
    pub fn fingerprint(&self) -> String {
        let hash = digest::digest(&digest::SHA256, self.expose().as_bytes());
        let first = hash.as_ref()[..8].try_into().expect("SHA-256 has 32 bytes");
        format!("{:016x}", u64::from_be_bytes(first))
    }
}

impl TryFrom<SecretString> for Token {
    type Error = InvalidToken;

    fn try_from(text: SecretString) -> Result<Self, InvalidToken> {
        Self::parse(text)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// All that is kept secret of a connection. `Debug` shows no token and no metadata, which may hold one by mistake.
#[derive(Clone)]
pub struct Tokens {
    pub access: Token,
    pub refresh: Option<Token>,
    /// When the access token ends, in milliseconds since 1970; `None`: never, as far as is known.
    pub expires_at: Option<u64>,
    /// When the refresh token ends, likewise.
    pub refresh_expires_at: Option<u64>,
    pub scopes: Vec<String>,
    pub metadata: Map<String, Value>,
}

#[derive(Serialize)]
struct Written<'a> {
    access: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh: Option<&'a str>,
    expires_at: Option<u64>,
    refresh_expires_at: Option<u64>,
    scopes: &'a [String],
    metadata: &'a Map<String, Value>,
}

#[derive(Deserialize)]
struct Read {
    access: Token,
    refresh: Option<Token>,
    expires_at: Option<u64>,
    refresh_expires_at: Option<u64>,
    scopes: Vec<String>,
    metadata: Map<String, Value>,
}

impl Tokens {
    /// As they are sealed.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        // Room for all of it at once: a buffer that grows leaves copies behind.
        let tokens =
            self.access.expose().len() + self.refresh.as_ref().map_or(0, |t| t.expose().len());
        let rest =
            serde_json::to_vec(&(&self.scopes, &self.metadata)).map_or(0, |bytes| bytes.len());
        let mut bytes = Zeroizing::new(Vec::with_capacity(2 * tokens + rest + 256));
        let written = Written {
            access: self.access.expose(),
            refresh: self.refresh.as_ref().map(Token::expose),
            expires_at: self.expires_at,
            refresh_expires_at: self.refresh_expires_at,
            scopes: &self.scopes,
            metadata: &self.metadata,
        };
        serde_json::to_writer(&mut *bytes, &written).expect("texts and numbers can be written");
        bytes
    }

    /// What [`to_bytes`](Self::to_bytes) wrote; `None` when it is something else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let read: Read = serde_json::from_slice(bytes).ok()?;
        Some(Self {
            access: read.access,
            refresh: read.refresh,
            expires_at: read.expires_at,
            refresh_expires_at: read.refresh_expires_at,
            scopes: read.scopes,
            metadata: read.metadata,
        })
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str) -> Token {
        Token::parse(text.into()).unwrap()
    }

    #[test]
    fn tokens_do_not_print_and_come_back_whole() {
        let tokens = Tokens {
            access: token("gho_canary\"\\"),
            refresh: Some(token("ghr_canary")),
            expires_at: Some(1),
            refresh_expires_at: None,
            scopes: vec!["repo".to_owned()],
            metadata: Map::from_iter([("note".to_owned(), Value::from("canary"))]),
        };
        assert!(!format!("{tokens:?} {:?}", tokens.access).contains("canary"));
        let read = Tokens::from_bytes(&tokens.to_bytes()).unwrap();
        assert_eq!(read.access.expose(), tokens.access.expose());
        assert_eq!(read.refresh.unwrap().expose(), "ghr_canary");
        assert_eq!((read.expires_at, read.refresh_expires_at), (Some(1), None));
        assert_eq!(
            (read.scopes, read.metadata),
            (tokens.scopes, tokens.metadata)
        );
        assert!(Tokens::from_bytes(b"{}").is_none());
    }

    #[test]
    fn a_token_is_visible_ascii() {
        for text in ["", "a b", "a\n", "é", "a\u{7f}", &"a".repeat(MAX_TOKEN + 1)] {
            assert!(Token::parse(text.into()).is_err(), "{text:?}");
        }
        assert_eq!(token("a").fingerprint(), "ca978112ca1bbdca");
    }
}
