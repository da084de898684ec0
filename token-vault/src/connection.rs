//! A connection: one account of one user at one service, which one application was allowed to use.
//!
//! Its four names are its identity. The application is the client that calls, so a caller can name no connection but its own;
//! the other three are the caller's to choose, and compare byte by byte: nothing is trimmed, folded or normalised.

use std::{borrow::Borrow, fmt, sync::Arc};

use compact_str::CompactString;
use serde::Deserialize;

/// A name that a caller chose cannot be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    #[error("it is empty: write at least one character")]
    Empty,
    #[error("it is too long: write at most {MAX_NAME} characters")]
    TooLong,
    #[error("it has a control character: write plain text")]
    Control,
}

/// The longest name, in Unicode scalar values.
pub const MAX_NAME: usize = 256;

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident($text:ty);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name($text);

        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::parse(&text)
            }
        }

        impl $name {
            /// Takes 1 to 256 characters, none of them a control character.
            ///
            /// # Errors
            /// When the text is empty, too long, or has a control character.
            pub fn parse(text: &str) -> Result<Self, InvalidName> {
                checked(text).map(|text| Self(text.into()))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

// Many connections have one application; users and accounts are mostly short, and then stand where the key does.
names! {
    /// The client that calls, as its verified access token has it. Nothing else makes one but a row of the store.
    Application(Arc<str>);
    /// A user, by the name that the application has for them.
    User(CompactString);
    /// Which of a user's accounts at the service: a workspace, an organisation, an installation.
    Account(CompactString);
}

impl Application {
    pub(crate) fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    /// A text that is mostly this name, and then not copied.
    pub(crate) fn or_another(&self, text: &str) -> Arc<str> {
        if *self.0 == *text {
            self.shared()
        } else {
            text.into()
        }
    }
}

fn checked(text: &str) -> Result<&str, InvalidName> {
    if text.is_empty() {
        Err(InvalidName::Empty)
    } else if text.len() > MAX_NAME && text.chars().nth(MAX_NAME).is_some() {
        Err(InvalidName::TooLong)
    } else if text.chars().any(char::is_control) {
        Err(InvalidName::Control)
    } else {
        Ok(text)
    }
}

/// The name of a service in the configuration, which is a part of paths and scopes: `github`, `okta-acme`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Service(Arc<str>);

/// A text that cannot name a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a service is named with a-z, 0-9 and -, begins with a letter, and has at most 64 characters"
)]
pub struct InvalidService;

impl Service {
    /// # Errors
    /// When the text has other characters than a-z, 0-9 and -, or begins with none of a-z.
    pub fn parse(text: &str) -> Result<Self, InvalidService> {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let begins = text.starts_with(|c: char| c.is_ascii_lowercase());
        if begins && text.len() <= 64 && text.bytes().all(fits) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidService)
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

/// It is found by its text.
impl Borrow<str> for Service {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionKey {
    pub application: Application,
    pub user: User,
    pub service: Service,
    pub account: Account,
}

impl ConnectionKey {
    /// The identity as bytes that no other identity has: each part is preceded by its length. What is sealed for one row
    /// carries them as its associated data, so that it opens in no other row.
    pub fn identity(&self) -> Vec<u8> {
        let parts = [
            "connection",
            self.application.as_str(),
            self.user.as_str(),
            self.service.as_str(),
            self.account.as_str(),
        ];
        identity_of(&parts)
    }
}

/// Parts of a name, each preceded by its length.
pub(crate) fn identity_of(parts: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend((part.len() as u64).to_be_bytes());
        bytes.extend(part.as_bytes());
    }
    bytes
}

/// Why a connection gives no token until its user connects again. The texts stand in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Broken {
    /// The provider refused the refresh token, which was spent by nobody else here: it was revoked or has ended there.
    Refused,
    /// A crash came between the spending of the refresh token and the commit of what came of it, and the provider refuses
    /// the token now.
    LostInCrash,
    /// The provider's answer did not arrive, or could not be understood, and it refuses the refresh token now.
    LostAnswer,
    /// The access token has ended, and there is no refresh token.
    Ended,
    /// The refresh token has ended.
    RefreshTokenEnded,
    /// What stands in the row was sealed for another row, or is damaged.
    Damaged,
}

impl Broken {
    pub const ALL: [Self; 6] = [
        Self::Refused,
        Self::LostInCrash,
        Self::LostAnswer,
        Self::Ended,
        Self::RefreshTokenEnded,
        Self::Damaged,
    ];

    /// The machine-readable reason.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused_by_provider",
            Self::LostInCrash => "lost_in_crash",
            Self::LostAnswer => "lost_answer",
            Self::Ended => "ended",
            Self::RefreshTokenEnded => "refresh_token_ended",
            Self::Damaged => "damaged",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|broken| broken.as_str() == text)
    }

    /// The reason in words, for the caller.
    pub fn explanation(self) -> &'static str {
        match self {
            Self::Refused => "the provider refuses the refresh token: it was revoked or has ended",
            Self::LostInCrash => {
                "a crash came between the provider's answer to a refresh and its commit, and the provider refuses \
                 the old refresh token"
            }
            Self::LostAnswer => {
                "the provider's answer to a refresh was lost on its way, and it refuses the old refresh token"
            }
            Self::Ended => "the access token has ended, and no refresh token was stored with it",
            Self::RefreshTokenEnded => "the refresh token has ended",
            Self::Damaged => "what is stored does not belong to this connection, or is damaged",
        }
    }
}

/// Why a refresh token may have been spent already, although nothing came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// A note says that it was about to be spent, and nobody said what came of it.
    Crash,
    /// It was sent, and no answer came that says whether it was taken.
    LostAnswer,
}

impl Doubt {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::LostAnswer => "lost_answer",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Crash, Self::LostAnswer]
            .into_iter()
            .find(|doubt| doubt.as_str() == text)
    }

    /// What it comes to when the provider refuses the token.
    pub fn broken(doubt: Option<Self>) -> Broken {
        match doubt {
            None => Broken::Refused,
            Some(Self::Crash) => Broken::LostInCrash,
            Some(Self::LostAnswer) => Broken::LostAnswer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_any_short_text_without_control_characters() {
        let long = "🦀".repeat(MAX_NAME);
        for text in [
            "a",
            " ",
            "..",
            "%2f",
            "../x",
            "é日🦀",
            "'; DROP",
            "\u{202e}",
            long.as_str(),
        ] {
            assert_eq!(User::parse(text).unwrap().as_str(), text);
        }
        for (text, error) in [
            ("", InvalidName::Empty),
            ("a\0", InvalidName::Control),
            ("a\n", InvalidName::Control),
            ("\u{85}", InvalidName::Control),
        ] {
            assert_eq!(User::parse(text), Err(error), "{text:?}");
        }
        assert_eq!(
            User::parse(&"a".repeat(MAX_NAME + 1)),
            Err(InvalidName::TooLong)
        );
    }

    #[test]
    fn a_service_is_a_word_of_a_path_and_of_a_scope() {
        for text in ["github", "okta-acme", "s3"] {
            assert_eq!(Service::parse(text).unwrap().as_str(), text);
        }
        for text in [
            "",
            "-a",
            "3s",
            "GitHub",
            "a.b",
            "a/b",
            "a:b",
            "é",
            &"a".repeat(65),
        ] {
            assert_eq!(Service::parse(text), Err(InvalidService), "{text:?}");
        }
    }

    #[test]
    fn no_two_connections_have_the_same_identity() {
        let key = |user: &str, account: &str| ConnectionKey {
            application: Application::parse("app").unwrap(),
            user: User::parse(user).unwrap(),
            service: Service::parse("github").unwrap(),
            account: Account::parse(account).unwrap(),
        };
        assert_ne!(key("ab", "c").identity(), key("a", "bc").identity());
        assert_eq!(key("ab", "c").identity(), key("ab", "c").identity());
    }
}
