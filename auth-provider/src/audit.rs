//! The audit log: who did what to which thing, with what outcome. Events are numbered and never changed.
//!
//! An event names things that the server knows. What a caller sent is not repeated: it may be a secret in the wrong place.

use std::{borrow::Cow, net::IpAddr, sync::OnceLock};

use m2m::trace::request_id;

use crate::{
    client::{ClientId, CredentialId},
    resource::ResourceId,
};

/// What was done or tried. The names are part of the API.
macro_rules! actions {
    ($($variant:ident = $name:literal,)+) => {
        /// What was done, or what was tried.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Action {
            $($variant,)+
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
    TokenIssued = "token.issued",
    TokenRefused = "token.refused",
    TokenRevoked = "token.revoked",
    TokenProbed = "token.probed",
    TokensRevoked = "tokens.revoked",
    AuthenticationFailed = "authentication.failed",
    CredentialUsed = "credential.used",
    AdminRefused = "admin.refused",
    ClientCreated = "client.created",
    ClientRegistered = "client.registered",
    ClientChanged = "client.changed",
    ClientDeleted = "client.deleted",
    CredentialCreated = "credential.created",
    CredentialChanged = "credential.changed",
    CredentialDeleted = "credential.deleted",
    CredentialRotated = "credential.rotated",
    CredentialRotationStarted = "credential.rotation_started",
    CredentialRotationFinished = "credential.rotation_finished",
    CredentialRotationCancelled = "credential.rotation_cancelled",
    CredentialCompromised = "credential.compromised",
    ResourceCreated = "resource.created",
    ResourceChanged = "resource.changed",
    ResourceDeleted = "resource.deleted",
    GrantCreated = "grant.created",
    GrantChanged = "grant.changed",
    GrantDeleted = "grant.deleted",
    KeyRotated = "key.rotated",
    KeyCompromised = "key.compromised",
    PolicyApplied = "policy.applied",
    DatabaseRestored = "database.restored",
}

impl Action {
    /// The action of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|action| action.as_str() == name)
    }
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
