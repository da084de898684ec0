//! What a resource server is told about revocations at start: which way, and with which credentials
//! of its own.

use std::str::FromStr;

use secrecy::SecretString;

use crate::verify::{Feed, Introspection, Revocation, WhenStale};

/// How tokens that were taken back are noticed, in one word: `feed`, `introspection` or `none`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RevocationMode {
    /// Follow the issuer's feed.
    #[default]
    Feed,
    /// Ask the issuer about each token.
    Introspection,
    /// Not at all.
    None,
}

impl RevocationMode {
    /// The mode with its bounds as they are by default.
    pub fn with(self, when_stale: WhenStale) -> Revocation {
        match self {
            Self::Feed => Revocation::Feed(Feed {
                when_stale,
                ..Feed::default()
            }),
            Self::Introspection => Revocation::Introspection(Introspection::default()),
            Self::None => Revocation::None,
        }
    }
}

impl FromStr for RevocationMode {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "feed" => Ok(Self::Feed),
            "introspection" => Ok(Self::Introspection),
            "none" => Ok(Self::None),
            _ => Err("write feed, introspection or none"),
        }
    }
}

/// In one word: `accept`, `refuse` or `introspect`.
impl FromStr for WhenStale {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "accept" => Ok(Self::FailOpen),
            "refuse" => Ok(Self::FailClosed),
            "introspect" => Ok(Self::Introspect),
            _ => Err("write accept, refuse or introspect"),
        }
    }
}

/// A service's own credentials at the issuer. `Debug` does not show the secret.
#[derive(Clone, Debug)]
pub struct OwnClient {
    /// The client id.
    pub id: String,
    /// The client secret.
    pub secret: SecretString,
}

impl OwnClient {
    /// From the variables `<prefix>_CLIENT_ID` and `<prefix>_CLIENT_SECRET` of the environment,
    /// read with `variable`; `None` when neither is set. There is no flag for them: everybody on
    /// the machine could read a secret there.
    ///
    /// # Errors
    /// When only one of them is set.
    pub fn from_environment(
        prefix: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, OnlyOne> {
        let read = |name: &str| {
            let value = variable(&format!("{prefix}_{name}"));
            value.filter(|value| !value.is_empty())
        };
        match (read("CLIENT_ID"), read("CLIENT_SECRET")) {
            (Some(id), Some(secret)) => Ok(Some(Self {
                id,
                secret: secret.into(),
            })),
            (None, None) => Ok(None),
            _ => Err(OnlyOne(prefix.to_owned())),
        }
    }
}

/// One of the two variables is not set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "only one of {0}_CLIENT_ID and {0}_CLIENT_SECRET is set: set both, or none to use the clients \
     file"
)]
pub struct OnlyOne(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_comes_from_both_variables_or_not_at_all() {
        for (id, secret, expected) in [
            (Some("me"), Some("hunter2"), Ok(Some("me"))),
            (None, None, Ok(None)),
            (Some(""), Some(""), Ok(None)),
            (Some("me"), None, Err(OnlyOne("A".to_owned()))),
            (Some(""), Some("hunter2"), Err(OnlyOne("A".to_owned()))),
        ] {
            let client = OwnClient::from_environment("A", |name| {
                let value = match name {
                    "A_CLIENT_ID" => id,
                    "A_CLIENT_SECRET" => secret,
                    _ => None,
                };
                value.map(str::to_owned)
            });
            assert!(!format!("{client:?}").contains("hunter2"));
            let found = client.map(|client| client.map(|client| client.id));
            assert_eq!(found, expected.map(|id| id.map(str::to_owned)));
        }
    }
}
