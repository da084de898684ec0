//! A change as a list of steps, which the store takes as a whole together with the audit events that tell of it, or not at
//! all. Each step names what it expects to find, so that of two who change one thing at once, one is told.

use crate::{
    client::{ClientId, CredentialId, CredentialKind, Secret, SecretHash},
    policy_file::{PolicyGrant, PolicyResource},
    registry::{Profile, Version},
    resource::ResourceId,
    revocation::Revoked,
};

/// One step.
#[derive(Clone, Debug)]
pub enum Change {
    /// The graph has to be the one that the change was checked against, and gets the next version. Every step that the
    /// rest of the graph must fit to comes with this one.
    Graph {
        expected: u64,
    },
    AddClient {
        id: ClientId,
        profile: Profile,
        /// The project whose administrator manages it.
        managed_by: Option<ResourceId>,
        version: Version,
        at: u64,
    },
    ChangeClient {
        id: ClientId,
        profile: Profile,
        expected: Version,
        version: Version,
        at: u64,
    },
    /// Its credentials, grants and registration go with it.
    RemoveClient {
        id: ClientId,
        expected: Version,
    },
    AddCredential(NewCredential),
    /// Fails when the credential is gone, or is not as `expected`. With `terms` that are the same, it only makes sure of
    /// that.
    ChangeCredential {
        client: ClientId,
        id: CredentialId,
        expected: CredentialTerms,
        terms: CredentialTerms,
    },
    /// What was to replace it stays, and replaces nothing any more.
    RemoveCredential {
        client: ClientId,
        id: CredentialId,
    },
    /// `expected: None` adds it, and fails when there is one.
    PutResource {
        id: ResourceId,
        settings: PolicyResource,
        expected: Option<Version>,
        version: Version,
    },
    RemoveResource {
        id: ResourceId,
        expected: Version,
    },
    /// `expected: None` adds it, and fails when there is one.
    PutGrant {
        client: ClientId,
        resource: ResourceId,
        terms: PolicyGrant,
        expected: Option<Version>,
        version: Version,
    },
    RemoveGrant {
        client: ClientId,
        resource: ResourceId,
        expected: Version,
    },
    /// Takes tokens back. What stands in the list already is not added again.
    Revoke {
        revoked: Revoked,
        at: u64,
        until: u64,
    },
    /// Takes back all that was obtained for one resource, by whoever holds a grant for it.
    RevokeAllOf {
        resource: ResourceId,
        at: u64,
        until: u64,
    },
    /// Keeps what a creation answers; fails when the key is taken by an answer that is still remembered.
    Remember(Remembered),
    /// Lets a client administer itself with a token of this hash (RFC 7592).
    Register {
        client: ClientId,
        token: SecretHash,
    },
}

impl Change {
    /// Whether it takes tokens back.
    pub fn revokes(&self) -> bool {
        matches!(self, Self::Revoke { .. } | Self::RevokeAllOf { .. })
    }
}

/// Whose records are other ones after a change: what memory has of them is out of date, in every server.
#[derive(Debug, Default)]
pub struct Concerned<'a> {
    pub clients: Vec<&'a ClientId>,
    /// These show in the records of all that may call them or own them.
    pub resources: Vec<&'a ResourceId>,
}

/// Whose records these steps change.
pub fn concerned(changes: &[Change]) -> Concerned<'_> {
    let mut concerned = Concerned::default();
    for change in changes {
        match change {
            Change::ChangeClient { id, .. } | Change::RemoveClient { id, .. } => {
                concerned.clients.push(id);
            }
            Change::AddCredential(new) => concerned.clients.push(&new.client),
            Change::ChangeCredential { client, .. }
            | Change::RemoveCredential { client, .. }
            | Change::PutGrant { client, .. }
            | Change::RemoveGrant { client, .. } => concerned.clients.push(client),
            Change::PutResource { id, settings, .. } => {
                concerned.resources.push(id);
                // Its record does not name the resource yet.
                concerned.clients.extend(&settings.owner);
            }
            Change::RemoveResource { id, .. } => concerned.resources.push(id),
            Change::Graph { .. }
            | Change::AddClient { .. }
            | Change::Revoke { .. }
            | Change::RevokeAllOf { .. }
            | Change::Remember(_)
            | Change::Register { .. } => {}
        }
    }
    concerned
}

/// What can change of a credential. It has no version: this is little enough to compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialTerms {
    pub label: String,
    pub expires_at: Option<u64>,
    pub replaces: Option<CredentialId>,
}

/// A credential to be kept; the secret itself is not.
#[derive(Clone, Debug)]
pub struct NewCredential {
    pub id: CredentialId,
    pub kind: CredentialKind,
    pub client: ClientId,
    pub label: String,
    pub secret: SecretHash,
    pub last_four: String,
    pub created_at: u64,
    pub expires_at: Option<u64>,
    pub replaces: Option<CredentialId>,
}

impl NewCredential {
    /// A client secret that lives until it is removed.
    pub fn of(client: &ClientId, label: &str, secret: &Secret, now: u64) -> Self {
        Self {
            id: CredentialId::generate(),
            kind: CredentialKind::Secret,
            client: client.clone(),
            label: label.to_owned(),
            secret: secret.hash(),
            last_four: secret.last_four(),
            created_at: now,
            expires_at: None,
            replaces: None,
        }
    }
}

/// An answer that was given, for who asks again with the same idempotency key.
#[derive(Clone, Debug)]
pub struct Remembered {
    pub key: SecretHash,
    /// What was asked: another request with the same key is a mistake.
    pub request: SecretHash,
    /// Sealed: it may hold a secret.
    pub answer: Vec<u8>,
    /// From this second on another answer may take its place.
    pub until: u64,
    /// The second in which it was given.
    pub at: u64,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    Done,
    /// Nothing was changed: the step with this index did not find what it expects.
    Conflict(usize),
}
