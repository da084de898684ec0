//! The values that administrators send, checked while they are read: whoever holds one need not check it again.

use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
};

use m2m::{ScopeSet, service::TextError, verify::Algorithm};
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::{Number, Value};

use crate::{
    client::SecretHash,
    keys::algorithm,
    metadata,
    policy_file::{MAX_TIME, MAX_TOKEN_LIFETIME},
    texts::{check_description, check_label, check_name},
};

/// How many scopes a resource may have.
pub const MAX_SCOPES: usize = 100;

const MAX_SCOPE: usize = 128;

macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(String);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = TextError;

            fn try_from(text: String) -> Result<Self, TextError> {
                $check(&text).map(|()| Self(text))
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0
            }
        }
    };
}

checked_text!(
    /// What people call a client or a resource: 1 to 200 characters.
    Name,
    check_name
);
checked_text!(
    /// What something is for: up to 1000 characters.
    Description,
    check_description
);
checked_text!(
    /// By which people tell credentials apart: up to 100 characters.
    Label,
    check_label
);

/// A member of a change that null means something for (RFC 7396).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Patch<T> {
    /// It was left out.
    #[default]
    Keep,
    /// It was null.
    Remove,
    Set(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(member: D) -> Result<Self, D::Error> {
        let value = Option::deserialize(member)?;
        Ok(value.map_or(Self::Remove, Self::Set))
    }
}

impl<T> Patch<T> {
    /// What it makes of a value that is there or not.
    pub fn apply<U>(self, value: &mut Option<U>, read: impl FnOnce(T) -> U) {
        match self {
            Self::Keep => {}
            Self::Remove => *value = None,
            Self::Set(new) => *value = Some(read(new)),
        }
    }
}

/// A whole number from 0 on. JSON has one kind of number, and some programs write 900 as `900.0`.
#[derive(Clone, Copy)]
pub struct Whole(pub u64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(number: D) -> Result<Self, D::Error> {
        let number = Number::deserialize(number)?;
        let whole = number.as_u64().or_else(|| whole(number.as_f64()?));
        whole
            .map(Self)
            .ok_or_else(|| D::Error::custom("write a whole number"))
    }
}

/// Beyond 2^53 a float does not say which whole number is meant.
fn whole(float: f64) -> Option<u64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let is_whole = float.fract() == 0.0 && (0.0..=EXACT).contains(&float);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is whole, not negative, and exact"
    )]
    is_whole.then_some(float as u64)
}

/// A time, in seconds since the epoch, up to the year 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Whole")]
pub struct Time(pub u64);

impl TryFrom<Whole> for Time {
    type Error = String;

    fn try_from(Whole(seconds): Whole) -> Result<Self, String> {
        if seconds <= MAX_TIME {
            Ok(Self(seconds))
        } else {
            Err(format!("write seconds since 1970, at most {MAX_TIME}"))
        }
    }
}

/// The life of a token in seconds, from one second to a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Whole")]
pub struct Lifetime(pub u64);

impl TryFrom<Whole> for Lifetime {
    type Error = String;

    fn try_from(Whole(seconds): Whole) -> Result<Self, String> {
        if (1..=MAX_TOKEN_LIFETIME).contains(&seconds) {
            Ok(Self(seconds))
        } else {
            Err(format!("write 1 to {MAX_TOKEN_LIFETIME} seconds"))
        }
    }
}

/// How long a replaced credential goes on working, in seconds: up to 90 days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Whole")]
pub struct Grace(pub u64);

impl Default for Grace {
    fn default() -> Self {
        Self(24 * 3600)
    }
}

impl TryFrom<Whole> for Grace {
    type Error = &'static str;

    fn try_from(Whole(seconds): Whole) -> Result<Self, &'static str> {
        if seconds <= 90 * 24 * 3600 {
            Ok(Self(seconds))
        } else {
            Err("write 0 to 7776000 seconds")
        }
    }
}

/// What an operator notes with a client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "metadata::Metadata")]
pub struct Metadata(pub metadata::Metadata);

impl TryFrom<metadata::Metadata> for Metadata {
    type Error = String;

    fn try_from(entries: metadata::Metadata) -> Result<Self, String> {
        at_most(metadata::MAX_KEYS, entries.len(), "keys")?;
        for (key, value) in &entries {
            metadata::check_entry(key, value).map_err(|error| error.to_string())?;
        }
        Ok(Self(entries))
    }
}

/// Which metadata changes: `None` removes the key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "BTreeMap<String, Option<Value>>")]
pub struct MetadataChange(pub BTreeMap<String, Option<Value>>);

impl TryFrom<BTreeMap<String, Option<Value>>> for MetadataChange {
    type Error = String;

    fn try_from(entries: BTreeMap<String, Option<Value>>) -> Result<Self, String> {
        at_most(metadata::MAX_KEYS, entries.len(), "keys")?;
        for (key, value) in &entries {
            let checked = match value {
                None => metadata::check_key(key),
                Some(value) => metadata::check_entry(key, value),
            };
            checked.map_err(|error| error.to_string())?;
        }
        Ok(Self(entries))
    }
}

/// The scopes of a resource with what they allow, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>")]
pub struct Scopes(pub BTreeMap<String, String>);

impl TryFrom<BTreeMap<String, String>> for Scopes {
    type Error = String;

    fn try_from(scopes: BTreeMap<String, String>) -> Result<Self, String> {
        at_most(MAX_SCOPES, scopes.len(), "scopes")?;
        for (scope, description) in &scopes {
            check_scope(scope)?;
            check_description(description).map_err(|error| error.to_string())?;
        }
        Ok(Self(scopes))
    }
}

/// Which scopes of a resource change: `None` removes the scope.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "BTreeMap<String, Option<String>>")]
pub struct ScopesChange(pub BTreeMap<String, Option<String>>);

impl TryFrom<BTreeMap<String, Option<String>>> for ScopesChange {
    type Error = String;

    fn try_from(scopes: BTreeMap<String, Option<String>>) -> Result<Self, String> {
        at_most(MAX_SCOPES, scopes.len(), "scopes")?;
        for (scope, description) in &scopes {
            check_scope(scope)?;
            check_description(description.as_deref().unwrap_or_default())
                .map_err(|error| error.to_string())?;
        }
        Ok(Self(scopes))
    }
}

/// Scopes by name, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct ScopeNames(pub ScopeSet);

impl TryFrom<Vec<String>> for ScopeNames {
    type Error = String;

    fn try_from(names: Vec<String>) -> Result<Self, String> {
        at_most(MAX_SCOPES, names.len(), "scopes")?;
        names.iter().try_for_each(|name| check_scope(name))?;
        let different: BTreeSet<&String> = names.iter().collect();
        if different.len() < names.len() {
            return Err("a scope stands there twice: write it once".to_owned());
        }
        let set = ScopeSet::from_tokens(&names).map_err(|error| error.to_string())?;
        Ok(Self(set))
    }
}

/// Scopes as in a token request, with single spaces between them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ScopeList(pub ScopeSet);

impl TryFrom<String> for ScopeList {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if !(1..=4096).contains(&text.len()) {
            return Err("write 1 to 4096 characters, or leave it out".to_owned());
        }
        let set = ScopeSet::from_str(&text);
        set.map(Self).map_err(|error| error.to_string())
    }
}

/// The SHA-256 of a secret that was made elsewhere, in hexadecimal.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Sha256(pub SecretHash);

impl TryFrom<String> for Sha256 {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let hash = SecretHash::from_hex(&text).map(Self);
        hash.ok_or("write the SHA-256 of the secret as 64 hexadecimal digits")
    }
}

/// What tokens are signed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct SigningAlg(pub Algorithm);

impl TryFrom<String> for SigningAlg {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, &'static str> {
        let known = algorithm(&name).map(Self);
        known.ok_or("write ES256, RS256, PS256 or EdDSA")
    }
}

/// Checks the name of a scope.
///
/// # Errors
/// When it is too long, or has a character that scopes do not have (RFC 6749 section 3.3).
pub fn check_scope(name: &str) -> Result<(), String> {
    if name.len() > MAX_SCOPE {
        return Err(format!("a scope has at most {MAX_SCOPE} characters"));
    }
    let checked = ScopeSet::from_tokens([name]);
    checked.map(drop).map_err(|error| error.to_string())
}

fn at_most(max: usize, there: usize, what: &str) -> Result<(), String> {
    if there > max {
        return Err(format!("there are {there} {what}: write at most {max}"));
    }
    Ok(())
}
