//! Everything that the server remembers, behind one trait; SQLite and PostgreSQL implement it from one text.

mod audit;
mod connect;
pub mod copy;
mod guarded;
mod pool;
mod projects;
mod records;
mod registry;
mod replicas;
mod rows;
mod sql;
mod steps;
mod watcher;

use std::slice::from_ref;

use async_trait::async_trait;
use m2m::verify::Algorithm;

pub use audit::AuditStore;
pub use connect::{DatabaseUrl, Opened, Tuning, VERSION, open, open_with};
pub use pool::{Connections, Pooled};
pub use projects::ProjectStore;
pub use registry::RegistryStore;
pub use replicas::{Changed, ReplicaStore};
pub use watcher::{Marks, Watcher};

use crate::{
    audit::Event,
    client::{ClientId, ClientRecord, CredentialId, SecretHash},
    clients::Bearer,
    keys::{KeyChange, StoredKey},
    metadata::Metadata,
    own_token::OwnToken,
    resource::ResourceId,
    revocation::Revocation,
};

/// What survives a restart. Each method is one atomic step: it has happened entirely or not at all, also
/// when two of them race, and what it wrote is on disk when it returns.
#[async_trait]
pub trait Store: RegistryStore + ProjectStore + AuditStore + ReplicaStore + Pooled {
    /// The clients with these ids, which are distinct, with their credentials and grants, in any order. An id that nobody
    /// has is left out.
    async fn client_records(&self, ids: &[ClientId]) -> Result<Vec<ClientRecord>, StoreError>;

    /// One client with its credentials and grants.
    async fn client_record(&self, id: &ClientId) -> Result<Option<ClientRecord>, StoreError> {
        Ok(self.client_records(from_ref(id)).await?.pop())
    }

    /// The credential whose secret has this hash, by itself: nobody said whose it is.
    async fn bearer(&self, secret: &SecretHash) -> Result<Option<Bearer>, StoreError>;

    /// Whose credential this is.
    async fn client_of(&self, credential: &CredentialId) -> Result<Option<ClientId>, StoreError>;

    /// What of the client's metadata stands in its tokens for this resource; empty when one of them is gone.
    async fn metadata_claims(
        &self,
        client: &ClientId,
        resource: &ResourceId,
    ) -> Result<Metadata, StoreError>;

    /// All signing keys, by algorithm and in the order in which they were made.
    async fn signing_keys(&self) -> Result<Vec<StoredKey>, StoreError>;

    /// Adds keys and changes others, together with the events that tell of it, or nothing of it. False, and
    /// nothing is done, when another server added one with the same number: look again what there is.
    async fn change_keys(
        &self,
        made: &[StoredKey],
        changes: &[KeyChange],
        events: &[Event],
    ) -> Result<bool, StoreError>;

    /// Which algorithms the resources' tokens are signed with.
    async fn signing_needs(&self) -> Result<Vec<SigningNeed>, StoreError>;

    /// The list after `number`, in the order of the numbers. An entry with a lower number than one that was ever
    /// returned never appears later. A token that two servers took back in the same moment has two entries.
    async fn revocations_after(&self, number: u64) -> Result<Vec<Revocation>, StoreError>;

    /// Removes from the list what had to be known until `now` only. It reads all of the list.
    async fn forget_revocations(&self, now: u64) -> Result<(), StoreError>;

    /// Keeps what an opaque token stands for, by the token's hash.
    async fn add_opaque_token(&self, hash: &SecretHash, token: &OwnToken)
    -> Result<(), StoreError>;

    /// What the opaque token with this hash stands for.
    async fn opaque_token(&self, hash: &SecretHash) -> Result<Option<OwnToken>, StoreError>;

    /// Removes some of the opaque tokens that had ended at `now`. True when there may be more: a large batch would
    /// hold up those who write.
    async fn forget_opaque_tokens(&self, now: u64) -> Result<bool, StoreError>;

    /// Whether the database answers.
    async fn ping(&self) -> Result<(), StoreError>;
}

/// An algorithm that resources use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SigningNeed {
    pub algorithm: Algorithm,
    /// The longest life that any of these resources gives a token, in seconds.
    pub longest_token: u64,
}

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the database did not answer as it should")]
    Unavailable(#[from] sqlx::Error),
    #[error(
        "the connection to the database cannot be as secure as sslmode in its URL demands: switch TLS on at the database, \
         and name in sslrootcert who signed its certificate"
    )]
    Tls(#[source] sqlx::Error),
    #[error(
        "the database cannot be brought to this program's version: start the version that made it, or a newer one"
    )]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// It was not asked, or not for long: others found out.
    #[error("the database is away")]
    Away,
    #[error("the database did not answer in time")]
    NoAnswer,
    #[error("the database holds a damaged {what}")]
    Corrupt { what: &'static str },
}

impl StoreError {
    /// Why there is no connection.
    fn of_connecting(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Tls(_) => Self::Tls(error),
            error => Self::Unavailable(error),
        }
    }
}
