//! The audit log: who did what to which thing, with what outcome. Events are numbered and never changed.
//!
//! An event names things that the server knows. What a caller sent is not repeated: it may be a secret in the wrong place.

use std::{borrow::Cow, net::IpAddr, sync::OnceLock};

use m2m::trace::request_id;

use crate::{
    client::{ClientId, CredentialId},
    resource::ResourceId,
};

/// What was done or tried. The names are part of the API; the numbers stand in the database, so that none is ever changed or
/// given to another action.
macro_rules! actions {
    ($($number:literal: $variant:ident = $name:literal,)+) => {
        /// What was done, or what was tried.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Action {
            $($variant = $number,)+
        }

        impl Action {
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

actions! {
    0: TokenIssued = "token.issued",
    1: TokenRefused = "token.refused",
    2: TokenRevoked = "token.revoked",
    3: TokenProbed = "token.probed",
    4: TokensRevoked = "tokens.revoked",
    5: AuthenticationFailed = "authentication.failed",
    6: CredentialUsed = "credential.used",
    7: AdminRefused = "admin.refused",
    8: ClientCreated = "client.created",
    9: ClientRegistered = "client.registered",
    10: ClientChanged = "client.changed",
    11: ClientDeleted = "client.deleted",
    12: CredentialCreated = "credential.created",
    13: CredentialChanged = "credential.changed",
    14: CredentialDeleted = "credential.deleted",
    15: CredentialRotated = "credential.rotated",
    16: CredentialRotationStarted = "credential.rotation_started",
    17: CredentialRotationFinished = "credential.rotation_finished",
    18: CredentialRotationCancelled = "credential.rotation_cancelled",
    19: CredentialCompromised = "credential.compromised",
    20: ResourceCreated = "resource.created",
    21: ResourceChanged = "resource.changed",
    22: ResourceDeleted = "resource.deleted",
    23: GrantCreated = "grant.created",
    24: GrantChanged = "grant.changed",
    25: GrantDeleted = "grant.deleted",
    26: KeyRotated = "key.rotated",
    27: KeyCompromised = "key.compromised",
    28: PolicyApplied = "policy.applied",
    29: DatabaseRestored = "database.restored",
}

impl Action {
    /// The action of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|action| action.as_str() == name)
    }

    /// The bit that says of several events that one of them is such. Those beyond the last bit but one share the last, so
    /// that whoever finds it has to look.
    pub fn bit(self) -> i64 {
        1 << (self as u8).min(62)
    }
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    Success,
    Refused,
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Refused => "refused",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        [Self::Success, Self::Refused]
            .into_iter()
            .find(|outcome| outcome.as_str() == name)
    }
}

/// Who asks, from where, and by which name the caller can ask about it later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The client that does it; `None` when it is not known who, or the server does it by itself.
    pub actor: Option<ClientId>,
    pub address: Option<IpAddr>,
    /// Made when it is first asked for: most tokens are issued without a word about the request.
    request_id: OnceLock<String>,
}

impl Origin {
    /// What the server does by itself, as at its start.
    pub fn server() -> Self {
        Self::of(None, None)
    }

    /// Who it is of the request that is being answered.
    pub fn of(actor: Option<ClientId>, address: Option<IpAddr>) -> Self {
        Self {
            actor,
            address,
            request_id: OnceLock::new(),
        }
    }

    /// The same of a request that has a name already.
    #[must_use]
    pub fn under(self, request_id: &str) -> Self {
        Self {
            request_id: OnceLock::from(request_id.to_owned()),
            ..self
        }
    }

    /// By which name the caller can ask about it later. To be called by the task that answers the request.
    pub fn request_id(&self) -> &str {
        self.request_id.get_or_init(request_id)
    }
}

/// One entry of the log. What does not belong to its action is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Seconds since the epoch.
    pub at: u64,
    pub action: Action,
    pub outcome: Outcome,
    pub actor: Option<ClientId>,
    pub client: Option<ClientId>,
    pub resource: Option<ResourceId>,
    pub credential: Option<CredentialId>,
    pub jti: Option<String>,
    /// When the token ends that was issued, in seconds since the epoch: until then its holder need not come back.
    pub ends_at: Option<u64>,
    /// A code for programs, a text of this one.
    pub reason: Option<Cow<'static, str>>,
    /// The same for people, in a sentence.
    pub explanation: Option<String>,
    pub request_id: Option<String>,
    pub address: Option<IpAddr>,
}

/// An event as the log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    pub number: u64,
    pub event: Event,
}

/// Which events are asked for: those that have all that is named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub client: Option<ClientId>,
    pub resource: Option<ResourceId>,
    pub action: Option<Action>,
    pub outcome: Option<Outcome>,
    pub request_id: Option<String>,
    /// From this second on.
    pub since: Option<u64>,
    /// Up to and with this second.
    pub until: Option<u64>,
}

impl Filter {
    /// Whether the event has all that is named.
    pub fn takes(&self, event: &Event) -> bool {
        fn fits<T: PartialEq>(wanted: Option<&T>, found: Option<&T>) -> bool {
            wanted.is_none_or(|wanted| found == Some(wanted))
        }
        fits(self.client.as_ref(), event.client.as_ref())
            && fits(self.resource.as_ref(), event.resource.as_ref())
            && fits(self.action.as_ref(), Some(&event.action))
            && fits(self.outcome.as_ref(), Some(&event.outcome))
            && fits(self.request_id.as_ref(), event.request_id.as_ref())
            && self.since.is_none_or(|since| event.at >= since)
            && self.until.is_none_or(|until| event.at <= until)
    }
}

impl Event {
    /// Something that was done at the second `at`.
    pub fn done(action: Action, at: u64, origin: &Origin) -> Self {
        Self {
            request_id: Some(origin.request_id().to_owned()),
            ..Self::without_request(action, at, origin)
        }
    }

    /// The same of something that has a name of its own, by which its client knows it.
    pub fn without_request(action: Action, at: u64, origin: &Origin) -> Self {
        Self {
            at,
            action,
            outcome: Outcome::Success,
            actor: origin.actor.clone(),
            client: None,
            resource: None,
            credential: None,
            jti: None,
            ends_at: None,
            reason: None,
            explanation: None,
            request_id: None,
            address: origin.address,
        }
    }

    /// Something that was refused, with a code and a sentence.
    pub fn refused(
        action: Action,
        at: u64,
        origin: &Origin,
        reason: &'static str,
        explanation: impl Into<String>,
    ) -> Self {
        Self {
            outcome: Outcome::Refused,
            reason: Some(Cow::Borrowed(reason)),
            explanation: Some(explanation.into()),
            ..Self::done(action, at, origin)
        }
    }

    #[must_use]
    pub fn client(mut self, id: &ClientId) -> Self {
        self.client = Some(id.clone());
        self
    }

    #[must_use]
    pub fn resource(mut self, id: &ResourceId) -> Self {
        self.resource = Some(id.clone());
        self
    }

    #[must_use]
    pub fn credential(mut self, id: &CredentialId) -> Self {
        self.credential = Some(*id);
        self
    }

    /// What exactly, in a sentence.
    #[must_use]
    pub fn explained(mut self, what: impl Into<String>) -> Self {
        self.explanation = Some(what.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Databases have these numbers: one is added at the end, none is changed.
    #[test]
    fn every_action_keeps_its_number_and_has_a_bit_of_its_own() {
        let numbered = [
            "token.issued",
            "token.refused",
            "token.revoked",
            "token.probed",
            "tokens.revoked",
            "authentication.failed",
            "credential.used",
            "admin.refused",
            "client.created",
            "client.registered",
            "client.changed",
            "client.deleted",
            "credential.created",
            "credential.changed",
            "credential.deleted",
            "credential.rotated",
            "credential.rotation_started",
            "credential.rotation_finished",
            "credential.rotation_cancelled",
            "credential.compromised",
            "resource.created",
            "resource.changed",
            "resource.deleted",
            "grant.created",
            "grant.changed",
            "grant.deleted",
            "key.rotated",
            "key.compromised",
            "policy.applied",
            "database.restored",
        ];
        let mut bits = 0;
        for (number, name) in (0..).zip(numbered) {
            let action = Action::parse(name).unwrap();
            assert_eq!(action as u8, number, "{name}");
            assert!(action.bit() > 0 && action.bit() & bits == 0, "{name}");
            bits |= action.bit();
        }
        assert_eq!(Action::ALL.len(), numbered.len());
    }
}
