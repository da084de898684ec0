//! Scopes: what a token allows its bearer to do (RFC 6749 section 3.3).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A scope that a handler demands, as a type, so that the demand stands in the handler's signature.
///
/// ```
/// struct CalendarRead;
/// impl m2m::Scope for CalendarRead {
///     const NAME: &'static str = "calendar.read";
/// }
/// ```
pub trait Scope: 'static {
    /// The scope token, matched exactly and case-sensitively. Empty: any valid token will do.
    const NAME: &'static str;
}

/// The demand that every valid token meets.
#[derive(Clone, Copy, Debug)]
pub struct AnyScope;

impl Scope for AnyScope {
    const NAME: &'static str = "";
}

/// A set of scope tokens. Written as RFC 6749 writes it: separated by single spaces, here in sorted
/// order. It is kept as it is written, since a token says its scopes far more often than they change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ScopeSet(Box<str>);

/// A text that is no scope list of RFC 6749 section 3.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a scope is printable ASCII without spaces, quotes and backslashes, and single spaces stand \
     between scopes"
)]
pub struct InvalidScope;

impl ScopeSet {
    /// Reads one scope token per item.
    ///
    /// # Errors
    /// When an item is not a scope token.
    pub fn from_tokens<S: AsRef<str>>(
        tokens: impl IntoIterator<Item = S>,
    ) -> Result<Self, InvalidScope> {
        let tokens: Vec<S> = tokens.into_iter().collect();
        Self::of(tokens.iter().map(AsRef::as_ref).collect())
    }

    /// One scope token per item.
    pub(crate) fn of(mut tokens: Vec<&str>) -> Result<Self, InvalidScope> {
        if !tokens.iter().all(|token| is_scope_token(token.as_bytes())) {
            return Err(InvalidScope);
        }
        tokens.sort_unstable();
        tokens.dedup();
        Ok(Self(tokens.join(" ").into()))
    }

    /// Whether `scope` is in the set, spelled exactly so.
    pub fn contains(&self, scope: &str) -> bool {
        self.iter().any(|own| own == scope)
    }

    /// Whether `other` has every scope of this set.
    pub fn is_subset(&self, other: &Self) -> bool {
        // Both are sorted: one walk finds them all, however many a caller names.
        let mut others = other.iter();
        self.iter().all(|own| others.any(|scope| scope == own))
    }

    /// Whether there is no scope in the set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The scope tokens, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split_ascii_whitespace()
    }

    /// The scope tokens as they are written: sorted, and separated by single spaces.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `scope-token = 1*( %x21 / %x23-5B / %x5D-7E )` (RFC 6749 appendix A.4).
fn is_scope_token(token: &[u8]) -> bool {
    let is_allowed = |byte: &u8| matches!(byte, 0x21 | 0x23..=0x5B | 0x5D..=0x7E);
    !token.is_empty() && token.iter().all(is_allowed)
}

/// An empty text is the empty set; a leading, trailing or doubled space is refused.
impl FromStr for ScopeSet {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        let tokens = || text.as_bytes().split(|byte| *byte == b' ');
        if text.is_empty() {
            Ok(Self::default())
        } else if tokens().all(is_scope_token) && tokens().is_sorted_by(|one, next| one < next) {
            Ok(Self(text.into())) // as it is written
        } else {
            Self::of(text.split(' ').collect())
        }
    }
}

impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for ScopeSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ScopeSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_list_is_read_and_written_as_the_rfc_has_it() {
        for (text, written) in [
            ("", Some("")),
            ("note.read", Some("note.read")),
            ("b a b", Some("a b")),
            ("a a", Some("a")),
            ("READ read", Some("READ read")),
            ("!#[]~", Some("!#[]~")),
            (" a", None),
            ("a ", None),
            ("a  b", None),
            ("a\tb", None),
            ("a\"b", None),
            ("a\\b", None),
            ("é", None),
            ("a\u{7f}", None),
        ] {
            let read = text.parse::<ScopeSet>().ok().map(|set| set.to_string());
            assert_eq!(read.as_deref(), written, "{text:?}");
        }
    }

    #[test]
    fn a_set_is_asked_by_whole_tokens() {
        let set: ScopeSet = "note.read a b".parse().unwrap();
        for (other, is_subset) in [
            ("", true),
            ("b", true),
            ("a note.read", true),
            ("note.read b a", true),
            ("note", false),
            ("a c", false),
            ("a b c note.read", false),
        ] {
            let other: ScopeSet = other.parse().unwrap();
            assert_eq!(other.is_subset(&set), is_subset, "{other}");
        }
        for (scope, is_there) in [("b", true), ("a b", false), ("", false), ("read", false)] {
            assert_eq!(set.contains(scope), is_there, "{scope}");
        }
        assert!(!ScopeSet::default().contains(""));
        assert_eq!(ScopeSet::default().iter().count(), 0);
    }

    #[test]
    fn an_array_item_is_one_token() {
        assert_eq!(ScopeSet::from_tokens(["a", "b"]), "a b".parse());
        assert_eq!(ScopeSet::from_tokens(["a b"]), Err(InvalidScope));
        assert_eq!(ScopeSet::from_tokens([""]), Err(InvalidScope));
    }
}
