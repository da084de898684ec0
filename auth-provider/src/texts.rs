//! What names and descriptions may look like: one set of rules for the policy file and the API.
//!
//! Lengths are counted in characters. No text has a control character: it is shown in terminals and in lines of a log.

use m2m::service::TextError;

/// The longest name of a client or a resource.
pub const MAX_NAME: usize = 200;

/// The longest description, of a client or a scope, and the longest reason of a grant.
pub const MAX_DESCRIPTION: usize = 1000;

/// The longest label of a credential.
pub const MAX_LABEL: usize = 100;

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

/// The name of what was given an id only.
pub fn default_name(id: &str) -> String {
    id.chars().take(MAX_NAME).collect()
}

/// Checks a text of one line, which may be empty.
///
/// # Errors
/// When it has a control character or more than `max` characters.
pub fn check_line(text: &str, max: usize) -> Result<(), TextError> {
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
}
