//! What names, descriptions and metadata may look like: one set of rules for the policy file and the API.
//!
//! Lengths are counted in characters. No text has a control character: it is shown in terminals and in lines of a log.

use std::collections::BTreeMap;

use m2m::service::TextError;

/// The longest name of a client or a resource.
pub const MAX_NAME: usize = 200;

/// The longest description, of a client or a scope, and the longest reason of a grant.
pub const MAX_DESCRIPTION: usize = 1000;

/// The longest label of a credential.
pub const MAX_LABEL: usize = 100;

pub const MAX_METADATA_KEYS: usize = 20;
const MAX_METADATA_KEY: usize = 64;
const MAX_METADATA_VALUE: usize = 512;
pub const MAX_METADATA_BYTES: usize = 4096;

/// Why metadata is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    #[error("a key is 1 to {MAX_METADATA_KEY} characters of A-Z a-z 0-9 _ . -")]
    Key,
    #[error("a value is wrong, {0}")]
    Value(TextError),
    #[error("there are too many keys: write at most {MAX_METADATA_KEYS}")]
    TooMany,
    #[error("it is too large: keys and values may have {MAX_METADATA_BYTES} bytes in all")]
    TooLarge,
}

/// Checks the name of a client or a resource, for people to read.
///
/// # Errors
/// When it is empty, too long, or has a control character.
pub fn check_name(text: &str) -> Result<(), TextError> {
    if text.is_empty() {
        return Err(TextError::Empty);
    }
    check_line(text, MAX_NAME)
}

/// Checks what a client or a scope is for, or why there is a grant. It may be empty.
///
/// # Errors
/// When it is too long or has a control character.
pub fn check_description(text: &str) -> Result<(), TextError> {
    check_line(text, MAX_DESCRIPTION)
}

/// Checks the label of a credential. It may be empty.
///
/// # Errors
/// When it is too long or has a control character.
pub fn check_label(text: &str) -> Result<(), TextError> {
    check_line(text, MAX_LABEL)
}

/// Checks what an operator notes with a client.
///
/// # Errors
/// When there is too much of it, or a key or a value is not as it should be.
pub fn check_metadata(metadata: &BTreeMap<String, String>) -> Result<(), MetadataError> {
    for (key, value) in metadata {
        check_metadata_entry(key, value)?;
    }
    if metadata.len() > MAX_METADATA_KEYS {
        return Err(MetadataError::TooMany);
    }
    let bytes: usize = metadata.iter().map(|(k, v)| k.len() + v.len()).sum();
    if bytes > MAX_METADATA_BYTES {
        return Err(MetadataError::TooLarge);
    }
    Ok(())
}

/// Checks one key and its value.
///
/// # Errors
/// When one of them is not as it should be.
pub fn check_metadata_entry(key: &str, value: &str) -> Result<(), MetadataError> {
    let in_key = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    if !(1..=MAX_METADATA_KEY).contains(&key.len()) || !key.bytes().all(in_key) {
        return Err(MetadataError::Key);
    }
    check_line(value, MAX_METADATA_VALUE).map_err(MetadataError::Value)
}

/// The name of what was given an id only.
pub fn default_name(id: &str) -> String {
    id.chars().take(MAX_NAME).collect()
}

fn check_line(text: &str, max: usize) -> Result<(), TextError> {
    if text.chars().any(char::is_control) {
        Err(TextError::Control)
    } else if text.chars().nth(max).is_some() {
        Err(TextError::TooLong { max })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_line_that_says_something() {
        for good in ["a", " Notes ", "日本", &"é".repeat(200)] {
            assert_eq!(check_name(good), Ok(()), "{good:?}");
        }
        for (bad, error) in [
            ("", TextError::Empty),
            ("a\nb", TextError::Control),
            ("a\u{1b}[2Jb", TextError::Control),
            ("a\u{85}b", TextError::Control),
            (&"é".repeat(201), TextError::TooLong { max: 200 }),
        ] {
            assert_eq!(check_name(bad), Err(error), "{bad:?}");
        }
        assert_eq!(check_name(&default_name(&"x".repeat(256))), Ok(()));
    }

    #[test]
    fn a_description_and_a_label_may_be_empty() {
        assert_eq!(check_description(""), Ok(()));
        assert_eq!(check_description(&"x".repeat(1000)), Ok(()));
        let long = Err(TextError::TooLong { max: 1000 });
        assert_eq!(check_description(&"x".repeat(1001)), long);
        assert_eq!(check_description("a\tb"), Err(TextError::Control));
        assert_eq!(check_label(""), Ok(()));
        assert!(check_label(&"x".repeat(101)).is_err());
    }

    #[test]
    fn metadata_is_small() {
        let of = |pairs: &[(&str, &str)]| {
            let metadata = pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
            check_metadata(&metadata.collect())
        };
        let keys: Vec<String> = (0..21).map(|n| format!("key{n}")).collect();
        let many: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), "")).collect();
        let long = "é".repeat(512);
        let large: Vec<(&str, &str)> = many[..4]
            .iter()
            .map(|(key, _)| (*key, long.as_str()))
            .collect();

        assert_eq!(of(&[]), Ok(()));
        assert_eq!(of(&[("team", "a b"), ("cost-centre_1.x", "")]), Ok(()));
        assert_eq!(of(&many[..20]), Ok(()));
        assert_eq!(of(&large[..3]), Ok(()));
        for (bad, error) in [
            (of(&many), MetadataError::TooMany),
            (of(&large), MetadataError::TooLarge),
            (of(&[("", "")]), MetadataError::Key),
            (of(&[("a b", "")]), MetadataError::Key),
            (of(&[(&"x".repeat(65), "")]), MetadataError::Key),
            (
                of(&[("a", "b\n")]),
                MetadataError::Value(TextError::Control),
            ),
            (
                of(&[("a", &"x".repeat(513))]),
                MetadataError::Value(TextError::TooLong { max: 512 }),
            ),
        ] {
            assert_eq!(bad, Err(error));
        }
    }
}
