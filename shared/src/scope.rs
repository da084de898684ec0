//! Scopes: what a token allows its bearer to do (RFC 6749 section 3.3).

use std::{collections::BTreeSet, fmt, str::FromStr};

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
/// order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ScopeSet(BTreeSet<String>);

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
        tokens
            .into_iter()
            .map(|token| {
                let token = token.as_ref();
                is_scope_token(token)
                    .then(|| token.to_owned())
                    .ok_or(InvalidScope)
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether `scope` is in the set, spelled exactly so.
    pub fn contains(&self, scope: &str) -> bool {
        self.0.contains(scope)
    }

    /// Whether `other` has every scope of this set.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }

    /// Whether there is no scope in the set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The scope tokens, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

/// `scope-token = 1*( %x21 / %x23-5B / %x5D-7E )` (RFC 6749 appendix A.4).
fn is_scope_token(token: &str) -> bool {
    !token.is_empty()
        && token
            .bytes()
            .all(|b| matches!(b, 0x21 | 0x23..=0x5B | 0x5D..=0x7E))
}

/// An empty text is the empty set; a leading, trailing or doubled space is refused.
impl FromStr for ScopeSet {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        if text.is_empty() {
            Ok(Self::default())
        } else {
            Self::from_tokens(text.split(' '))
        }
    }
}

impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, scope) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            f.write_str(scope)?;
        }
        Ok(())
    }
}

impl Serialize for ScopeSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
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
    fn an_array_item_is_one_token() {
        assert_eq!(ScopeSet::from_tokens(["a", "b"]), "a b".parse());
        assert_eq!(ScopeSet::from_tokens(["a b"]), Err(InvalidScope));
        assert_eq!(ScopeSet::from_tokens([""]), Err(InvalidScope));
    }
}
