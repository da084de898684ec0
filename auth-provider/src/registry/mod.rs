//! Who there is: clients, their credentials, resources, and the grants between them. What administrators see and
//! change; what a token request needs of it is [`ClientRecord`](crate::client::ClientRecord).

pub mod by_secret;
pub mod change;
pub mod client_with_grants;
pub mod clients;
pub mod commit;
pub mod credentials;
pub mod explanations;
pub mod grants;
pub mod policy;
pub mod resources;
pub mod safe_to_remove;
pub mod values;
pub mod views;

use std::{collections::BTreeMap, fmt};

use crate::{
    client::{ClientId, ClientStatus, CredentialId, CredentialKind, random_id},
    metadata::Metadata,
    policy_file::{Policy, PolicyGrant, PolicyResource},
    resource::ResourceId,
};

/// Which state of a thing: new with each change, never used twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version(String);

impl Version {
    pub fn generate() -> Self {
        Self(random_id())
    }

    /// A version from the store, or from an entity tag.
    pub fn from_text(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A client as its administrator sees it. Times are seconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    pub id: ClientId,
    pub profile: Profile,
    /// The project whose administrator may change it, besides those of the server.
    pub managed_by: Option<ResourceId>,
    pub created_at: u64,
    pub updated_at: u64,
    pub last_used_at: Option<u64>,
    pub version: Version,
}

/// What an administrator says of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    pub name: String,
    pub description: String,
    pub status: ClientStatus,
    pub metadata: Metadata,
}

/// A credential without its secret. Times are seconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialInfo {
    pub id: CredentialId,
    pub kind: CredentialKind,
    pub label: String,
    /// The end of the secret; empty for one that was made before this was kept, or elsewhere.
    pub last_four: String,
    pub created_at: u64,
    pub expires_at: Option<u64>,
    /// The credential that this one is to replace, while a rotation is under way.
    pub replaces: Option<CredentialId>,
    pub usage: Option<Usage>,
}

/// What is known of the uses of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    pub last_used_at: u64,
    pub count: u64,
    /// When the last of the tokens that it obtained ends: until then whoever uses it need not come back.
    pub alive_until: u64,
}

impl Usage {
    /// These uses and others.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            last_used_at: self.last_used_at.max(other.last_used_at),
            count: self.count + other.count,
            alive_until: self.alive_until.max(other.alive_until),
        }
    }
}

/// All credentials of one client, and its habits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The longest time between two uses of one of them, in seconds, those that are gone included. Before the first use of
    /// one it counts from the last use of another.
    pub longest_gap: u64,
    /// What servers have not written yet, or never will.
    pub unwritten: Vec<Unwritten>,
    pub all: Vec<CredentialInfo>,
}

/// A time in which a server may have taken uses of which nothing is written: it sums them up in memory. Times are seconds
/// since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unwritten {
    /// All uses up to here are written.
    pub known_until: u64,
    /// After this it took none without saying so. As long as it is not over, the server may be at work.
    pub taken_until: u64,
    /// How long the token may live that such a use obtained, in seconds.
    pub longest_token: u64,
}

/// The end of a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    pub client: ClientId,
    pub credential: CredentialId,
    /// In seconds since the epoch.
    pub at: u64,
}

/// How many there are of what monitoring asks about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    pub active_clients: u64,
    pub inactive_clients: u64,
    /// Credentials that end soon.
    pub ending_credentials: u64,
    /// Credentials that have ended and are still there.
    pub ended_credentials: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    pub id: ResourceId,
    pub settings: PolicyResource,
    pub version: Version,
}

/// One arrow of the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrow {
    pub client: ClientId,
    pub resource: ResourceId,
    pub terms: PolicyGrant,
    pub version: Version,
}

/// The whole graph, or the part of it that somebody asked about, with the versions by which a change can say what it was
/// checked against.
#[derive(Debug)]
pub struct Graph {
    pub version: u64,
    pub policy: Policy,
    pub clients: BTreeMap<ClientId, Version>,
    pub resources: BTreeMap<ResourceId, Version>,
    pub grants: BTreeMap<(ClientId, ResourceId), Version>,
}

/// Which clients are listed: those that have all that is named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientFilter {
    pub status: Option<ClientStatus>,
    /// How the id begins.
    pub prefix: Option<String>,
    pub name: Option<String>,
}

/// Which grants are listed: those that have all that is named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrantFilter {
    pub client: Option<ClientId>,
    pub resource: Option<ResourceId>,
}
