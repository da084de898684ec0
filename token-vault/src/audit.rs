//! Who saw what: one event for each release, store, refresh and removal of a token. Events are added and never changed.

use std::sync::Arc;

use crate::connection::{Account, Application, ConnectionKey, Service, User};

macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// What happened.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Action {
            $($(#[$doc])* $name,)*
        }

        impl Action {
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// As it stands in the store and in answers.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

actions! {
    /// An application handed tokens over.
    Stored = "token.stored";
    /// An application was given an access token.
    Released = "token.released";
    /// A connection was removed.
    Forgotten = "token.forgotten";
    /// The provider was told that the tokens of a removed connection are void.
    Revoked = "token.revoked";
    /// The provider could not be told.
    NotRevoked = "token.not_revoked";
    /// The provider gave new tokens, and they are kept.
    Refreshed = "refresh.done";
    /// A refresh token is spent that a crash may have left spent.
    RetriedAfterCrash = "refresh.retried_after_crash";
    /// A refresh token is spent that an answer which never arrived may have left spent.
    RetriedAfterLostAnswer = "refresh.retried_after_lost_answer";
    /// The provider did not give new tokens this time.
    RefreshFailed = "refresh.failed";
    /// The provider's answer came when the connection had other tokens already, or another replica had taken over.
    Superseded = "refresh.superseded";
    /// A connection is of no use until its user connects again.
    NeedsReconnect = "connection.needs_reconnect";
}

impl Action {
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|action| action.as_str() == text)
    }
}

/// One line of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Milliseconds since 1970.
    pub at: u64,
    pub action: Action,
    pub key: ConnectionKey,
    /// For whom: the subject of the caller's access token, which is mostly the application itself. `None`: the vault.
    pub actor: Option<Arc<str>>,
    /// A text of this program, or the fingerprint of a refresh token.
    pub reason: Option<String>,
}

impl Event {
    /// What the vault did by itself.
    pub fn own(action: Action, at: u64, key: &ConnectionKey) -> Self {
        Self {
            at,
            action,
            key: key.clone(),
            actor: None,
            reason: None,
        }
    }

    /// What a caller asked for.
    pub fn of(actor: &str, action: Action, at: u64, key: &ConnectionKey) -> Self {
        Self {
            actor: Some(key.application.or_another(actor)),
            ..Self::own(action, at, key)
        }
    }

    #[must_use]
    pub fn because(self, reason: impl Into<String>) -> Self {
        Self {
            reason: Some(reason.into()),
            ..self
        }
    }
}

/// An event as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Counts up.
    pub number: u64,
    pub event: Event,
}

/// Which events are asked for. `None` is no condition.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub application: Option<Application>,
    pub user: Option<User>,
    pub service: Option<Service>,
    pub account: Option<Account>,
    pub action: Option<Action>,
    /// The first moment, in milliseconds since 1970.
    pub from: Option<u64>,
    /// The last moment.
    pub to: Option<u64>,
}
