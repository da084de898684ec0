//! The policy: resources, clients and grants, checked as a whole before any of it counts. As a file it is TOML, which
//! [`Policy::parse`] reads and [`Policy::to_toml`] writes.

mod read;
mod write;

use std::collections::BTreeMap;

use jiff::Timestamp;
use m2m::{ScopeSet, verify::Algorithm};

pub use read::line_of;

use crate::{
    client::{ClientId, ClientStatus},
    metadata::Metadata,
    resource::{ClaimNames, ResourceId, TokenFormat, TokenProfile},
};

/// The life of a resource's tokens where nobody says anything, in seconds.
pub const DEFAULT_TOKEN_LIFETIME: u64 = 3600;

/// The longest life that a policy may give a token, in seconds: a bearer token that leaks is good for
/// whoever holds it until it ends.
pub const MAX_TOKEN_LIFETIME: u64 = 24 * 3600;

/// The last second that a time in the policy can name, at the end of the year 9999.
pub const MAX_TIME: u64 = 253_402_207_200;

/// A policy in which every name that is used is also defined, with what is [built in](crate::built_in).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    pub resources: BTreeMap<ResourceId, PolicyResource>,
    pub clients: BTreeMap<ClientId, PolicyClient>,
    pub grants: BTreeMap<(ClientId, ResourceId), PolicyGrant>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyResource {
    pub name: String,
    /// Scope and what it allows, in words.
    pub scopes: BTreeMap<String, String>,
    /// In seconds.
    pub token_lifetime: u64,
    pub signing_alg: Algorithm,
    /// The client that the resource server authenticates as.
    pub owner: Option<ClientId>,
    pub token_format: TokenFormat,
    /// What the JWTs among its tokens look like.
    pub token_profile: TokenProfile,
    /// What of a client's metadata stands in its JWTs.
    pub metadata_claims: ClaimNames,
}

impl PolicyResource {
    /// Who administers the clients of this resource, if it is a [project](crate::projects).
    pub fn project_owner(&self) -> Option<&ClientId> {
        let is_project = self.token_profile == TokenProfile::Stytch;
        self.owner.as_ref().filter(|_| is_project)
    }
}

/// A client. What is `None` stays as it is: who was deactivated does not come back because a file is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyClient {
    pub name: String,
    pub description: String,
    /// A new client is active.
    pub status: Option<ClientStatus>,
    pub metadata: Option<Metadata>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyGrant {
    pub scopes: ScopeSet,
    /// In seconds; `None` takes the resource's.
    pub token_lifetime: Option<u64>,
    /// Seconds since the epoch.
    pub expires_at: Option<u64>,
    pub reason: String,
}

impl PolicyGrant {
    /// A grant without scopes and without limits of its own.
    pub fn plain() -> Self {
        Self {
            scopes: ScopeSet::default(),
            token_lifetime: None,
            expires_at: None,
            reason: String::new(),
        }
    }

    /// Whether `after` allows less than this grant, so that tokens of before could do what is not granted any more.
    pub fn allows_more_than(&self, after: &Self) -> bool {
        let ends = |grant: &Self| grant.expires_at.unwrap_or(u64::MAX);
        !self.scopes.is_subset(&after.scopes) || ends(self) > ends(after)
    }
}

/// What is wrong with a policy file, in one line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    #[error("line {line}: {message}")]
    Syntax { line: usize, message: String },
    #[error("{0}")]
    Meaning(String),
}

/// A time as the policy shows it, RFC 3339. What lies beyond [`MAX_TIME`] is shown as its end.
pub(crate) fn shown_time(seconds: u64) -> String {
    i64::try_from(seconds.min(MAX_TIME))
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .unwrap_or(Timestamp::MAX)
        .to_string()
}

/// A length of time as the policy shows it: `1h 30m`.
pub(crate) fn shown_life(seconds: u64) -> String {
    let units = [
        (seconds / 3600, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
    ];
    let shown = units
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect::<Vec<_>>()
        .join(" ");
    if shown.is_empty() {
        "0s".to_owned()
    } else {
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_lives_are_shown_as_they_are_written() {
        for (seconds, shown) in [
            (3600, "1h"),
            (900, "15m"),
            (86_400, "24h"),
            (5401, "1h 30m 1s"),
            (0, "0s"),
        ] {
            assert_eq!(shown_life(seconds), shown);
        }
        assert_eq!(shown_time(1_767_225_600), "2026-01-01T00:00:00Z");
        assert_eq!(shown_time(MAX_TIME), "9999-12-30T22:00:00Z");
        assert_eq!(shown_time(u64::MAX), shown_time(MAX_TIME));
    }

    #[test]
    fn a_grant_is_narrowed_by_fewer_scopes_or_an_earlier_end() {
        let grant = |scopes: &str, expires_at| PolicyGrant {
            scopes: scopes.parse().unwrap(),
            token_lifetime: None,
            expires_at,
            reason: String::new(),
        };
        for (before, after, narrowed) in [
            (grant("a b", None), grant("a", None), true),
            (grant("a", None), grant("b", None), true),
            (grant("a", None), grant("a b", None), false),
            (grant("a", None), grant("a", Some(5)), true),
            (grant("a", Some(5)), grant("a", Some(4)), true),
            (grant("a", Some(5)), grant("a", Some(6)), false),
            (grant("a", Some(5)), grant("a", None), false),
        ] {
            assert_eq!(
                before.allows_more_than(&after),
                narrowed,
                "{before:?} {after:?}"
            );
        }
    }
}
