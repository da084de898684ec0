//! What operators note with a client: a key, and any JSON value but null, which is how a change removes a key. The policy
//! file writes the same values in TOML.

use std::collections::BTreeMap;

use m2m::service::TextError;
use serde_json::{Number, Value};

use crate::texts::check_line;

/// Metadata of a client by key.
pub type Metadata = BTreeMap<String, Value>;

/// How many keys the metadata of a client may have.
pub const MAX_KEYS: usize = 20;

/// How much of it a client may have in all, in bytes.
pub const MAX_BYTES: usize = 4096;

const MAX_KEY: usize = 64;

/// The longest text in a value, in characters.
const MAX_TEXT: usize = 512;

/// How many arrays and objects may stand within each other.
const MAX_DEPTH: usize = 8;

/// Numbers up to here mean the same to every reader of JSON (RFC 7493 section 2.2).
const MAX_NUMBER: i64 = (1 << 53) - 1;

/// Why metadata is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    #[error("a key is 1 to {MAX_KEY} characters of A-Z a-z 0-9 _ . -")]
    Key,
    #[error("a value is wrong, {0}")]
    Value(TextError),
    #[error("a value is null, or there is a null in it: leave it out")]
    Null,
    #[error("a number is too large: write it as a text, or between -{MAX_NUMBER} and {MAX_NUMBER}")]
    Number,
    #[error(
        "a value is too deep: at most {MAX_DEPTH} arrays and objects may stand within each other"
    )]
    Deep,
    #[error("a value is a time of TOML's own: write it in quotes")]
    Time,
    #[error("there are too many keys: write at most {MAX_KEYS}")]
    TooMany,
    #[error("it is too large: keys and values may have {MAX_BYTES} bytes in all")]
    TooLarge,
}

/// Checks all that is noted with a client.
///
/// # Errors
/// When there is too much of it, or a key or a value is not as it should be.
pub fn check(metadata: &Metadata) -> Result<(), MetadataError> {
    for (key, value) in metadata {
        check_entry(key, value)?;
    }
    if metadata.len() > MAX_KEYS {
        return Err(MetadataError::TooMany);
    }
    if size(metadata) > MAX_BYTES {
        return Err(MetadataError::TooLarge);
    }
    Ok(())
}

/// Checks one key and its value.
///
/// # Errors
/// When one of them is not as it should be.
pub fn check_entry(key: &str, value: &Value) -> Result<(), MetadataError> {
    check_key(key)?;
    check_value(value, 0)
}

/// Checks a key.
///
/// # Errors
/// When it is not as it should be.
pub fn check_key(key: &str) -> Result<(), MetadataError> {
    let in_key = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    let fits = (1..=MAX_KEY).contains(&key.len()) && key.bytes().all(in_key);
    fits.then_some(()).ok_or(MetadataError::Key)
}

fn check_value(value: &Value, depth: usize) -> Result<(), MetadataError> {
    if depth > MAX_DEPTH {
        return Err(MetadataError::Deep);
    }
    match value {
        Value::Null => Err(MetadataError::Null),
        Value::Bool(_) => Ok(()),
        Value::Number(number) => check_number(number),
        Value::String(text) => check_text(text),
        Value::Array(items) => items
            .iter()
            .try_for_each(|item| check_value(item, depth + 1)),
        Value::Object(members) => members.iter().try_for_each(|(name, member)| {
            check_text(name)?;
            check_value(member, depth + 1)
        }),
    }
}

fn check_text(text: &str) -> Result<(), MetadataError> {
    check_line(text, MAX_TEXT).map_err(MetadataError::Value)
}

fn check_number(number: &Number) -> Result<(), MetadataError> {
    #[expect(clippy::cast_precision_loss, reason = "it is exact up to 2^53")]
    let max = MAX_NUMBER as f64;
    let fits = number.as_f64().is_some_and(|number| number.abs() <= max);
    fits.then_some(()).ok_or(MetadataError::Number)
}

/// How much there is, in bytes: a text counts as it is, anything else as it stands in JSON.
pub fn size(metadata: &Metadata) -> usize {
    let of_value = |value: &Value| match value {
        Value::String(text) => text.len(),
        other => other.to_string().len(),
    };
    let entries = metadata.iter();
    entries
        .map(|(key, value)| key.len() + of_value(value))
        .sum()
}

/// A value as a person reads it: a text as it is, anything else as JSON.
pub fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A value from a policy file.
///
/// # Errors
/// When it is a time of TOML's own, or no number; both have no place in JSON.
pub fn from_toml(value: toml::Value) -> Result<Value, MetadataError> {
    Ok(match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => Value::from(number),
        toml::Value::Float(number) => {
            Value::Number(Number::from_f64(number).ok_or(MetadataError::Number)?)
        }
        toml::Value::Boolean(yes) => Value::Bool(yes),
        toml::Value::Datetime(_) => return Err(MetadataError::Time),
        toml::Value::Array(items) => {
            let items: Result<_, _> = items.into_iter().map(from_toml).collect();
            Value::Array(items?)
        }
        toml::Value::Table(members) => {
            let members = members.into_iter();
            let members: Result<_, _> = members
                .map(|(name, member)| Ok((name, from_toml(member)?)))
                .collect();
            Value::Object(members?)
        }
    })
}

/// The same value for a policy file. What TOML cannot say is left out: checked metadata has none of it.
pub fn to_toml(value: &Value) -> Option<toml::Value> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(yes) => toml::Value::Boolean(*yes),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => toml::Value::Integer(whole),
            None => toml::Value::Float(number.as_f64()?),
        },
        Value::String(text) => toml::Value::String(text.clone()),
        Value::Array(items) => toml::Value::Array(items.iter().filter_map(to_toml).collect()),
        Value::Object(members) => toml::Value::Table(
            members
                .iter()
                .filter_map(|(name, member)| Some((name.clone(), to_toml(member)?)))
                .collect(),
        ),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(metadata: Value) -> Result<(), MetadataError> {
        check(&serde_json::from_value(metadata).unwrap())
    }

    #[test]
    fn metadata_is_small_and_any_json_but_null() {
        let keys = |count: usize, value: &str| -> Value {
            (0..count)
                .map(|number| (format!("key{number}"), Value::from(value)))
                .collect()
        };
        let long = "é".repeat(512);
        let deep = |depth| (0..depth).fold(json!("x"), |inner, _| json!([inner]));

        for good in [
            json!({}),
            json!({"team": "a b", "cost-centre_1.x": ""}),
            json!({"a": true, "b": -1.5, "c": [1, "x", {"any key": {}}], "d": 9_007_199_254_740_991_i64}),
            json!({"a": deep(8)}),
            keys(20, ""),
            keys(3, &long),
        ] {
            assert_eq!(of(good.clone()), Ok(()), "{good}");
        }
        for (bad, error) in [
            (keys(21, ""), MetadataError::TooMany),
            (keys(4, &long), MetadataError::TooLarge),
            (
                json!({"a": vec!["x".repeat(500); 9]}),
                MetadataError::TooLarge,
            ),
            (json!({"": ""}), MetadataError::Key),
            (json!({"a b": ""}), MetadataError::Key),
            (json!({"x".repeat(65): ""}), MetadataError::Key),
            (json!({"a": null}), MetadataError::Null),
            (json!({"a": [{"b": null}]}), MetadataError::Null),
            (
                json!({"a": 9_007_199_254_740_992_i64}),
                MetadataError::Number,
            ),
            (json!({"a": u64::MAX}), MetadataError::Number),
            (json!({"a": 1e300}), MetadataError::Number),
            (json!({"a": deep(9)}), MetadataError::Deep),
            (
                json!({"a": "b\n"}),
                MetadataError::Value(TextError::Control),
            ),
            (
                json!({"a": {"b\n": 1}}),
                MetadataError::Value(TextError::Control),
            ),
            (
                json!({"a": "x".repeat(513)}),
                MetadataError::Value(TextError::TooLong { max: 512 }),
            ),
        ] {
            assert_eq!(of(bad.clone()), Err(error), "{bad}");
        }
    }

    #[test]
    fn toml_says_the_same() {
        for value in [
            json!("x"),
            json!(7),
            json!(-0.5),
            json!(1.0),
            json!([true, [], {"a b": {"c": "d"}}]),
        ] {
            let written = to_toml(&value).unwrap();
            assert_eq!(from_toml(written), Ok(value));
        }
        let time = toml::Value::Datetime("2027-01-01".parse().unwrap());
        assert_eq!(from_toml(time), Err(MetadataError::Time));
        assert_eq!(
            from_toml(toml::Value::Float(f64::NAN)),
            Err(MetadataError::Number)
        );
    }
}
