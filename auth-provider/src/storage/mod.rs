//! Everything that the server remembers, behind one trait; SQLite and PostgreSQL implement it from one text.

mod connect;
mod sql;

use async_trait::async_trait;
use m2m::verify::Algorithm;

pub use connect::{DatabaseUrl, open};

use crate::{
    client::{ClientId, ClientRecord, SecretHash},
    keys::{KeyChange, StoredKey},
    policy_file::Policy,
};

/// What survives a restart. Each method is one atomic step: it has happened entirely or not at all, also
/// when two of them race, and what it wrote is on disk when it returns.
#[async_trait]
pub trait Store: Send + Sync {
    /// A client with its credentials and grants.
    async fn client_record(&self, id: &ClientId) -> Result<Option<ClientRecord>, StoreError>;

    /// Brings resources, clients and grants to what the policy says and leaves alone what it does not name.
    /// Returns how many rows that changed: none, when the policy was applied before.
    async fn apply_policy(&self, policy: &Policy, now: u64) -> Result<u64, StoreError>;

    /// Gives the client a credential, in the place of the one with the same label if there is one.
    async fn put_credential(&self, credential: &NewCredential) -> Result<(), StoreError>;

    /// All signing keys, by algorithm and in the order in which they were made.
    async fn signing_keys(&self) -> Result<Vec<StoredKey>, StoreError>;

    /// Adds keys and changes others, all of it or nothing. False, and nothing is done, when another server
    /// added one with the same number: look again what there is.
    async fn change_keys(
        &self,
        made: &[StoredKey],
        changes: &[KeyChange],
    ) -> Result<bool, StoreError>;

    /// Which algorithms the resources' tokens are signed with.
    async fn signing_needs(&self) -> Result<Vec<SigningNeed>, StoreError>;

    /// Whether the database answers.
    async fn ping(&self) -> Result<(), StoreError>;
}

/// A credential to be kept; the secret itself is not.
pub struct NewCredential<'a> {
    pub id: String,
    pub client: &'a ClientId,
    pub label: &'static str,
    pub secret: SecretHash,
    pub created_at: u64,
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
    #[error("the database cannot be brought to this program's version")]
    Migration(#[from] sqlx::migrate::MigrateError),
    #[error("the database holds a damaged {what}")]
    Corrupt { what: &'static str },
}
