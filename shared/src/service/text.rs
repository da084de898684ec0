//! Texts that callers send, bounded before anything keeps them: a [`Line`] for titles, a [`Text`]
//! for the rest.
//!
//! Lengths are counted in Unicode characters (scalar values), as a caller in any language can count
//! them.

use serde::{Deserialize, Deserializer, Serialize};

/// One line: 1 to `MAX` characters after the white space around it is gone, none of them a control
/// character.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Line<const MAX: usize>(String);

/// Any text of up to `MAX` characters, kept as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Text<const MAX: usize>(String);

/// Why a text is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Nothing is left after trimming.
    #[error("it is empty: write at least one character")]
    Empty,
    /// More characters than allowed.
    #[error("it is too long: write at most {max} characters")]
    TooLong {
        /// How many are allowed.
        max: usize,
    },
    /// A line break, an escape code, or the like.
    #[error("it has a control character: write one line of plain text")]
    Control,
}

impl<const MAX: usize> TryFrom<String> for Line<MAX> {
    type Error = TextError;

    fn try_from(text: String) -> Result<Self, TextError> {
        let line = text.trim();
        if line.is_empty() {
            Err(TextError::Empty)
        } else if line.chars().any(char::is_control) {
            Err(TextError::Control)
        } else {
            Ok(Self(at_most::<MAX>(line)?.to_owned()))
        }
    }
}

impl<const MAX: usize> TryFrom<String> for Text<MAX> {
    type Error = TextError;

    fn try_from(text: String) -> Result<Self, TextError> {
        at_most::<MAX>(&text)?;
        Ok(Self(text))
    }
}

fn at_most<const MAX: usize>(text: &str) -> Result<&str, TextError> {
    if text.chars().nth(MAX).is_some() {
        return Err(TextError::TooLong { max: MAX });
    }
    Ok(text)
}

/// For `#[serde(default, deserialize_with = "given")]`: a member that may be left out, but not be
/// `null`.
///
/// # Errors
/// When the member is there and is no `T`.
pub fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    member: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(member).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_trimmed_and_bounded() {
        let line = |text: &str| Line::<3>::try_from(text.to_owned()).map(|line| line.0);
        assert_eq!(line(" \tabc\n"), Ok("abc".to_owned()));
        assert_eq!(line("é日🦀"), Ok("é日🦀".to_owned()));
        assert_eq!(line("abcd"), Err(TextError::TooLong { max: 3 }));
        for empty in ["", "   ", "\n\t", "\u{3000}"] {
            assert_eq!(line(empty), Err(TextError::Empty), "{empty:?}");
        }
        for control in ["a\nb", "a\0b", "a\u{1b}b", "a\u{85}b", "a\u{7f}"] {
            assert_eq!(line(control), Err(TextError::Control), "{control:?}");
        }
    }

    #[test]
    fn a_text_is_kept_as_it_came() {
        let text = |text: &str| Text::<3>::try_from(text.to_owned()).map(|text| text.0);
        assert_eq!(text(""), Ok(String::new()));
        assert_eq!(text(" \n "), Ok(" \n ".to_owned()));
        assert_eq!(text("🦀🦀🦀"), Ok("🦀🦀🦀".to_owned()));
        assert_eq!(text("abcd"), Err(TextError::TooLong { max: 3 }));
    }
}
