//! A JSON object, read into a struct so that a refusal names the member at fault.
//!
//! What serde's derived structs leave open is closed here: they would also take an array, member by
//! position, and their errors do not say which member had the wrong type. And its errors repeat what was sent, which may
//! be a secret in the wrong place: here they do not.

use std::{cell::Cell, fmt, iter};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, MapAccess, Visitor, value::MapDeserializer},
};
use serde_json::Value;

use super::Problem;

/// Reads `body`, which must be one JSON object and nothing more.
///
/// # Errors
/// A [`Problem`] that names the member at fault.
pub fn read_object<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let Members(members) = serde_json::from_slice(body).map_err(|error| {
        Problem::bad_request(format!(
            "the body is no JSON object: {}",
            redacted(&error.to_string())
        ))
    })?;
    // The member that is being read: when reading fails, the one at fault.
    let current = Cell::new(None);
    let entries = members
        .iter()
        .map(|(name, value)| {
            current.set(Some(name.as_str()));
            (name.as_str(), value)
        })
        .chain(iter::from_fn(|| {
            current.set(None);
            None
        }));
    T::deserialize(MapDeserializer::new(entries)).map_err(|error: serde_json::Error| match current
        .get()
    {
        Some(name) if is_member_name(name) => {
            let error = redacted(&error.to_string());
            Problem::bad_request(format!("`{name}` does not fit: {error}")).field(name.to_owned())
        }
        _ => Problem::bad_request(format!(
            "the body does not fit: {}",
            redacted(&error.to_string())
        )),
    })
}

/// What an error of serde says, without the value or the name that was sent: that may be a secret in the wrong place. A
/// name that looks like a member's is left, so that a slip of the pen is found.
pub fn redacted(text: &str) -> String {
    for what in ["invalid type", "invalid value", "unknown variant"] {
        if let Some(rest) = text.strip_prefix(what)
            && let Some((sent, expected)) = rest.rsplit_once(", expected ")
        {
            // Its kind comes first, then the value in quotes.
            let kind = sent.split(['"', '`']).next().unwrap_or_default();
            return format!(
                "{what}{}, expected {expected}",
                kind.trim_end_matches([':', ' '])
            );
        }
    }
    let Some(rest) = text.strip_prefix("unknown field `") else {
        return text.to_owned();
    };
    match rest.rsplit_once("`, expected ") {
        Some((name, _)) if is_member_name(name) => text.to_owned(),
        Some((_, expected)) => format!("unknown field, expected {expected}"),
        None => "unknown field".to_owned(),
    }
}

/// Letters and underscores, and not many, with a short number behind them at the most: no secret of any kind looks like
/// this.
pub(super) fn is_member_name(name: &str) -> bool {
    let word = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let fits = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    name.len() <= 32 && name.len() - word.len() <= 3 && word.bytes().all(fits)
}

/// The members in the order in which they came; one that came twice is here twice, for `T` to
/// refuse.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OnlyAnObject;

        impl<'de> Visitor<'de> for OnlyAnObject {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = object.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(OnlyAnObject)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Pair {
        name: String,
        #[serde(default)]
        size: u8,
    }

    #[test]
    fn an_object_is_read_by_name() {
        let pair = read_object::<Pair>(br#" {"size": 2, "name": "a"} "#).unwrap();
        assert_eq!((pair.name.as_str(), pair.size), ("a", 2));
    }

    #[test]
    fn a_refusal_repeats_nothing_that_may_be_a_secret() {
        for body in [
            r#""m2m_S3cret""#,
            r#"["m2m_S3cret"]"#,
            r#"{"m2m_S3cret": 1}"#,
            r#"{"name": "a", "m2m_S3cret": 1}"#,
            r#"{"name": "a", "m2m_S3cret`, expected ": 1}"#,
            r#"{"name": "a", "nome`, expected m2m_S3cret": 1}"#,
            r#"{"name": "a", "size": "m2m_S3cret"}"#,
            r#"{"name": "a", "size": ", expected m2m_S3cret"}"#,
            r#"{"name": ["m2m_S3cret"]}"#,
            r#"{"name": {"m2m_S3cret": "m2m_S3cret"}}"#,
            r#"{"name": "m2m_S3cret"#,
        ] {
            let problem = read_object::<Pair>(body.as_bytes()).unwrap_err();
            let json = serde_json::to_string(&problem).unwrap();
            assert!(!json.contains("S3cret"), "{body}: {json}");
        }
    }

    #[test]
    fn a_refusal_names_the_member_at_fault() {
        for (body, field, says) in [
            (
                r#"{"name": 1}"#,
                Some("name"),
                "invalid type: integer, expected a string",
            ),
            (r#"{"name": null}"#, Some("name"), "expected a string"),
            (r#"{"name": "a", "size": 256}"#, Some("size"), "expected u8"),
            (r#"{"name": "a", "nome": 1}"#, Some("nome"), "unknown field"),
            (r#"{"name": "a", "name": "b"}"#, Some("name"), "duplicate"),
            (r#"{"size": 1}"#, None, "missing field `name`"),
            (r#"["a", 1]"#, None, "expected an object"),
            ("null", None, "expected an object"),
            (r#"{"name": "a"} {}"#, None, "trailing characters"),
            (r#"{"name": "a""#, None, "EOF"),
            ("", None, "EOF"),
        ] {
            let problem = read_object::<Pair>(body.as_bytes()).unwrap_err();
            assert!(problem.to_string().contains(says), "{body}: {problem}");
            let json = serde_json::to_value(&problem).unwrap();
            assert_eq!(json["field"].as_str(), field, "{body}");
        }
    }
}
