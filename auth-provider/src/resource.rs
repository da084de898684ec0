//! A resource: an API with a name. The name is what a token's `aud` says.

use std::{collections::BTreeSet, fmt};

use compact_str::CompactString;
use serde::Deserialize;

use crate::{
    claim_names::{ABOUT_THE_HOLDER, SERVERS_OWN},
    metadata::{MAX_KEYS, check_key},
};

/// A resource's identifier: 1 to 256 printable ASCII characters, without the space, quote and backslash that
/// an OAuth error description cannot repeat and without the fragment that RFC 8707 section 2 forbids. `.` and `..` are
/// no names: a URL with them means another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct ResourceId(CompactString);

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
            Ok(Self(text.into()))
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
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

/// Which claims a resource's JWTs have. Verifiers that were written for another server expect their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenProfile {
    /// RFC 9068.
    #[default]
    Standard,
    /// What the access tokens of `SuperTokens` have besides the standard's claims.
    SuperTokens,
    /// The claims of a Stytch M2M token, and no others: the resource is a project.
    Stytch,
}

impl TokenProfile {
    pub const ALL: [Self; 3] = [Self::Standard, Self::SuperTokens, Self::Stytch];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::SuperTokens => "supertokens",
            Self::Stytch => "stytch",
        }
    }

    /// The profile of this name.
    pub fn parse(name: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|profile| profile.as_str() == name)
    }

    /// Whether such a token does not say with which credential it was obtained.
    pub fn hides_credential(self) -> bool {
        self == Self::Stytch
    }
}

/// Keys of the clients' metadata that become claims of a resource's tokens: none that a token has anyway, and none that
/// says who somebody is or how long it counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct ClaimNames(BTreeSet<String>);

/// Why a list of claims is refused. What was written is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidClaimNames {
    #[error("a claim is named by a key of the metadata: 1 to 64 characters of A-Z a-z 0-9 _ . -")]
    NoKey,
    #[error("one of these claims is the server's own: give the key in the metadata another name")]
    Reserved,
    #[error("there are too many: write at most {MAX_KEYS}")]
    TooMany,
    #[error("a name stands there twice: write it once")]
    Twice,
}

impl ClaimNames {
    /// # Errors
    /// When one of them can be no claim of a client's own, stands there twice, or there are too many.
    pub fn parse<T: AsRef<str>>(names: &[T]) -> Result<Self, InvalidClaimNames> {
        if names.len() > MAX_KEYS {
            return Err(InvalidClaimNames::TooMany);
        }
        let mut claims = BTreeSet::new();
        for name in names.iter().map(T::as_ref) {
            check_key(name).map_err(|_| InvalidClaimNames::NoKey)?;
            if SERVERS_OWN.contains(&name) || ABOUT_THE_HOLDER.contains(&name) {
                return Err(InvalidClaimNames::Reserved);
            }
            if !claims.insert(name.to_owned()) {
                return Err(InvalidClaimNames::Twice);
            }
        }
        Ok(Self(claims))
    }

    /// Names from the store, where they are separated by spaces.
    pub fn from_stored(text: &str) -> Option<Self> {
        let names: Vec<&str> = text.split_ascii_whitespace().collect();
        Self::parse(&names).ok()
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn contains(&self, name: &str) -> bool {
        self.0.contains(name)
    }
}

/// As the store has it.
impl fmt::Display for ClaimNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.iter().collect::<Vec<_>>().join(" "))
    }
}

impl TryFrom<Vec<String>> for ClaimNames {
    type Error = InvalidClaimNames;

    fn try_from(names: Vec<String>) -> Result<Self, InvalidClaimNames> {
        Self::parse(&names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_a_key_of_the_metadata_and_none_of_the_servers_own() {
        let claims = ClaimNames::parse(&["team", "cost-centre_1.x"]).unwrap();
        assert_eq!(claims.to_string(), "cost-centre_1.x team");
        assert_eq!(ClaimNames::from_stored(&claims.to_string()), Some(claims));
        assert_eq!(ClaimNames::from_stored(""), Some(ClaimNames::default()));
        let many: Vec<String> = (0..21).map(|number| format!("key{number}")).collect();
        assert_eq!(ClaimNames::parse(&many), Err(InvalidClaimNames::TooMany));
        for (bad, why) in [
            ("", InvalidClaimNames::NoKey),
            ("a b", InvalidClaimNames::NoKey),
            ("https://a/b", InvalidClaimNames::NoKey),
            ("sub", InvalidClaimNames::Reserved),
            ("cnf", InvalidClaimNames::Reserved),
            ("team", InvalidClaimNames::Twice),
        ] {
            assert_eq!(ClaimNames::parse(&["team", bad]), Err(why), "{bad}");
        }
    }

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
