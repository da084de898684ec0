//! A resource: an API with a name. The name is what a token's `aud` says.

use std::fmt;

use serde::Deserialize;

/// A resource's identifier: 1 to 256 printable ASCII characters, without the space, quote and backslash that
/// an OAuth error description cannot repeat and without the fragment that RFC 8707 section 2 forbids. `.` and `..` are
/// no names: a URL with them means another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct ResourceId(String);

/// A text that cannot name a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a resource is named by 1 to 256 printable ASCII characters without space, quote, backslash and #, \
     and not by . or .."
)]
pub struct InvalidResourceId;

impl ResourceId {
    pub fn parse(text: &str) -> Result<Self, InvalidResourceId> {
        let allowed = |b: u8| b.is_ascii_graphic() && !b"\"\\#".contains(&b);
        let moves = matches!(text, "." | "..");
        if (1..=256).contains(&text.len()) && text.bytes().all(allowed) && !moves {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidResourceId)
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ResourceId {
    type Error = InvalidResourceId;

    fn try_from(text: String) -> Result<Self, InvalidResourceId> {
        Self::parse(&text)
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a resource's tokens look like to those who carry them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenFormat {
    /// A signed JWT (RFC 9068), which a resource server can verify by itself.
    #[default]
    Jwt,
    /// A reference that says nothing; only this server knows what it stands for.
    Opaque,
}

impl TokenFormat {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Jwt => "jwt",
            Self::Opaque => "opaque",
        }
    }

    /// A format from the store.
    pub fn from_stored(text: &str) -> Option<Self> {
        [Self::Jwt, Self::Opaque]
            .into_iter()
            .find(|format| format.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_is_a_word_or_a_url_without_fragment() {
        for good in [
            "calendar-service",
            "https://notes.example/v1?x=1",
            "urn:a:b",
        ] {
            assert_eq!(ResourceId::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "a b",
            "https://a/#b",
            "a\"b",
            "a\\b",
            "é",
            "a\0",
            ".",
            "..",
            &"x".repeat(257),
        ] {
            assert_eq!(ResourceId::parse(bad), Err(InvalidResourceId), "{bad:?}");
        }
    }
}
