//! A store that nobody waits for in vain: what every call to a database server has in common.
//!
//! While the database is known to be away, a call fails at once; one that is under way when that is found out is given
//! up. What PostgreSQL undid because transactions got in each other's way (a serialization failure, a deadlock) is done
//! again, a few times: every call is one atomic step, so that nothing of it has happened.

use std::{ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::{
    AuditStore, Changed, ProjectStore, RegistryStore, ReplicaStore, SigningNeed, Store, StoreError,
    sql::PostgresStore,
};
use crate::{
    audit::{Event, Filter, Recorded},
    client::{ClientId, ClientRecord, CredentialId, SecretHash, random_bytes},
    clients::Bearer,
    contact::Contact,
    keys::{KeyChange, StoredKey},
    metadata::Metadata,
    own_token::OwnToken,
    policy_file::Policy,
    projects::{ManagedClient, Search},
    registry::{
        Arrow, Census, Client, ClientFilter, Credentials, Ending, GrantFilter, Graph, Resource,
        change::{Change, Committed},
    },
    resource::ResourceId,
    revocation::Revocation,
    uses::{Promise, Used},
};

/// How often a step is done that PostgreSQL undoes each time.
const ATTEMPTS: u32 = 6;

/// The pause before the second attempt; each one after it takes twice as long, and chance adds up to as much again.
const PAUSE: Duration = Duration::from_millis(5);

/// A PostgreSQL store with a watch over it.
pub(super) struct Guarded {
    store: PostgresStore,
    contact: Arc<Contact>,
    /// How long a call may take that is one short step. Long ones are a change of a whole policy, and reading one.
    patience: Duration,
}

impl Guarded {
    pub(super) fn new(store: PostgresStore, contact: Arc<Contact>, patience: Duration) -> Self {
        Self {
            store,
            contact,
            patience,
        }
    }

    pub(super) fn within(&self) -> &PostgresStore {
        &self.store
    }

    async fn short<T, F>(&self, step: impl Fn() -> F + Send + Sync) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>> + Send,
    {
        let done = timeout(self.patience, self.long(step)).await;
        done.unwrap_or(Err(StoreError::NoAnswer))
    }

    async fn long<T, F>(&self, step: impl Fn() -> F + Send + Sync) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>> + Send,
    {
        if self.contact.is_away() {
            return Err(StoreError::Away);
        }
        let mut attempt = 1;
        loop {
            let outcome = tokio::select! {
                outcome = step() => outcome,
                () = self.contact.until_lost() => return Err(StoreError::Away),
            };
            match outcome {
                Err(error) if error.was_undone() && attempt < ATTEMPTS => {
                    debug!(attempt, "does it again: {error}");
                    sleep(pause(attempt)).await;
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }
}

/// Those who got in each other's way do not come back at the same time.
fn pause(attempt: u32) -> Duration {
    let pause = PAUSE * 2_u32.pow(attempt.min(8) - 1);
    let [chance] = random_bytes();
    pause + pause.mul_f64(f64::from(chance) / 256.0)
}

impl StoreError {
    /// Whether PostgreSQL undid the transaction because of others, so that the same again may succeed.
    fn was_undone(&self) -> bool {
        let Self::Unavailable(sqlx::Error::Database(error)) = self else {
            return false;
        };
        // https://www.postgresql.org/docs/current/mvcc-serialization-failure-handling.html
        matches!(error.code().as_deref(), Some("40001" | "40P01"))
    }
}

/// Writes each method as a call of the same method of the store within, under watch.
macro_rules! under_watch {
    ($of:ident: $(
        $length:ident $method:ident($($name:ident: $type:ty),*) -> $result:ty;
    )*) => {
        #[async_trait]
        impl $of for Guarded {
            $(
                async fn $method(&self, $($name: $type),*) -> Result<$result, StoreError> {
                    self.$length(|| self.store.$method($(Clone::clone(&$name)),*)).await
                }
            )*
        }
    };
}

under_watch! { Store:
    short client_records(ids: &[ClientId]) -> Vec<ClientRecord>;
    short bearer(secret: &SecretHash) -> Option<Bearer>;
    short client_of(credential: &CredentialId) -> Option<ClientId>;
    short metadata_claims(client: &ClientId, resource: &ResourceId) -> Metadata;
    short signing_keys() -> Vec<StoredKey>;
    short change_keys(made: &[StoredKey], changes: &[KeyChange], events: &[Event]) -> bool;
    short signing_needs() -> Vec<SigningNeed>;
    short revocations_after(number: u64) -> Vec<Revocation>;
    short forget_revocations(now: u64) -> ();
    short add_opaque_token(hash: &SecretHash, token: &OwnToken) -> ();
    short opaque_token(hash: &SecretHash) -> Option<OwnToken>;
    short forget_opaque_tokens(now: u64) -> bool;
    short ping() -> ();
}

under_watch! { RegistryStore:
    long commit(changes: &[Change], events: &[Event]) -> Committed;
    short client(id: &ClientId) -> Option<Client>;
    short clients(filter: &ClientFilter, after: &str, limit: usize) -> Vec<Client>;
    short credentials(client: &ClientId) -> Credentials;
    short resource(id: &ResourceId) -> Option<Resource>;
    short resources(after: &str, limit: usize) -> Vec<Resource>;
    short grant(client: &ClientId, resource: &ResourceId) -> Option<Arrow>;
    short grants(filter: &GrantFilter, after: (&str, &str), limit: usize) -> Vec<Arrow>;
    short graph_version() -> u64;
    long graph(named: Option<&Policy>) -> Graph;
    short remembered(key: &SecretHash, now: u64) -> Option<(SecretHash, Vec<u8>)>;
    short forget_answers(now: u64) -> ();
    short registration(client: &ClientId) -> Option<SecretHash>;
    short ending_credentials(span: Range<u64>, limit: usize) -> Vec<Ending>;
    short census(now: u64, soon: u64) -> Census;
}

under_watch! { ProjectStore:
    short managed_client(project: &ResourceId, client: &ClientId) -> Option<ManagedClient>;
    short managed_clients(project: &ResourceId, after: &str, limit: usize) -> Vec<ManagedClient>;
    short find_managed_clients(project: &ResourceId, search: &Search, after: &str, limit: usize)
        -> (Vec<ManagedClient>, u64);
    short count_managed_clients(project: &ResourceId) -> u64;
}

under_watch! { AuditStore:
    short add_events(events: &[Event]) -> ();
    short add_missing_events(events: &[Event]) -> ();
    short events(filter: &Filter, before: u64, limit: usize) -> Vec<Recorded>;
    short sum_up_uses() -> bool;
    short add_uses(uses: &[Used], promise: Option<&Promise>) -> ();
    short end_promise(server: &str) -> ();
    short forget_events(time: u64) -> bool;
}

under_watch! { ReplicaStore:
    short changes_after(seen: u64) -> (Vec<Changed>, u64);
    short forget_changes() -> ();
    short take_lease(name: &str, holder: &str, length: Duration) -> Option<u64>;
    short give_leases_back(holder: &str) -> ();
}
