//! The SQL, each statement once, and the macro that makes a [`Store`] of it for either database.
//!
//! Both understand `$1`, `ON CONFLICT … DO UPDATE … WHERE` and `IS DISTINCT FROM`; an upsert that would change
//! nothing touches no row, so that the row counts say what changed.

use std::{collections::HashMap, fmt::Write, ops::Range};

use async_trait::async_trait;
use sqlx::Connection;

use super::{
    SigningNeed, Store, StoreError,
    audit::{
        self, AuditStore, Batch, audit_store,
        backlog::Backlog,
        pack::{Pack, Packed},
        packs::{Look, event_packs},
        rows::event_rows,
        uses::event_uses,
    },
    pool::Sparing,
    projects::{self, ProjectStore, project_store},
    records,
    registry::{self, RegistryStore, filtered, graph_of, registry_store},
    rows::{
        Columns, algorithm_of, arrow, bearer, claims, client, client_id, credentials_of, ending,
        hash, known_uses, managed_client, number, opaque_token, recorded, resource, revocation,
        stored_key, time, with_scopes,
    },
    steps::{Value, steps},
};
use crate::{
    audit::{Action, Event, Filter, Outcome, Recorded},
    client::{ClientId, ClientRecord, CredentialId, SecretHash},
    clients::Bearer,
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
    uses::{Known, Promise, Used, summed},
};

const BEARER: &str = "
    SELECT client_id, id, kind, expires_at FROM credential WHERE secret_hash = $1";

const CLIENT_OF: &str = "SELECT client_id FROM credential WHERE id = $1";

const METADATA_CLAIMS: &str = "
    SELECT c.metadata, r.metadata_claims FROM client c, resource r WHERE c.id = $1 AND r.id = $2";

const SIGNING_KEYS: &str = "
    SELECT kid, alg, number, sealed_private, created_at, signs_from, announce_time, retire_time,
           compromised_at
    FROM signing_key ORDER BY alg, number";

const ADD_KEY: &str = "
    INSERT INTO signing_key (kid, alg, number, sealed_private, created_at, signs_from,
                             announce_time, retire_time)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    ON CONFLICT DO NOTHING";

const SIGN_FROM: &str = "UPDATE signing_key SET signs_from = $2 WHERE kid = $1 AND signs_from > $2";

// The private part is destroyed: whatever happens later, this server cannot sign with it.
const COMPROMISE: &str = "
    UPDATE signing_key SET compromised_at = $2, sealed_private = $3
    WHERE kid = $1 AND compromised_at IS NULL";

const PROMISE: &str = "
    UPDATE signing_key
    SET announce_time = CASE WHEN announce_time < $1 THEN $1 ELSE announce_time END,
        retire_time = CASE WHEN retire_time < $2 THEN $2 ELSE retire_time END
    WHERE announce_time < $1 OR retire_time < $2";

const DELETE_KEY: &str = "DELETE FROM signing_key WHERE kid = $1";

const SIGNING_NEEDS: &str = "
    SELECT signing_alg, MAX(token_lifetime) AS token_lifetime FROM resource
    WHERE token_format = 'jwt' GROUP BY signing_alg ORDER BY signing_alg";

const REVOCATIONS_AFTER: &str = "
    SELECT number, kind, jti, client_id, credential, resource_id, kid, revoked_at, expires_at
    FROM revocation WHERE number > $1 ORDER BY number";

const FORGET_REVOCATIONS: &str = "DELETE FROM revocation WHERE expires_at <= $1";

const ADD_OPAQUE_TOKEN: &str = "
    INSERT INTO opaque_token (hash, client_id, resource_id, scopes, jti, issued_at, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7)";

const OPAQUE_TOKEN: &str = "
    SELECT client_id, resource_id, scopes, jti, issued_at, expires_at
    FROM opaque_token WHERE hash = $1";

const FORGET_OPAQUE_TOKENS: &str = "
    DELETE FROM opaque_token WHERE hash IN
    (SELECT hash FROM opaque_token WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)";

/// How many opaque tokens are removed in one step.
pub(super) const BATCH: u64 = 500;

/// `$begin` is how a transaction starts that will write: SQLite must take its write lock at once, since a
/// reader that turns writer fails when another was faster.
///
/// `$order` makes the writers of the audit log take turns, so that its numbers, and those of the revocations that come with
/// it, become visible in their order. SQLite has one writer at a time anyway.
macro_rules! sql_store {
    ($store:ident, $pool:ty, $database:ty, $begin:literal, $order:literal) => {
        pub(super) struct $store(pub(super) $pool, pub(super) Backlog);

        #[async_trait]
        impl Store for $store {
            async fn client_records(
                &self,
                ids: &[ClientId],
            ) -> Result<Vec<ClientRecord>, StoreError> {
                let mut found = Vec::new();
                for ids in ids.chunks(records::MOST) {
                    let mut query = sqlx::query(records::statement_for(ids.len()));
                    for id in records::filled_up(ids) {
                        query = query.bind(id.as_str());
                    }
                    let rows = query.fetch_all(&mut *self.0.acquire().await?).await?;
                    found.extend(records::records(&rows)?);
                }
                Ok(found)
            }

            async fn bearer(&self, secret: &SecretHash) -> Result<Option<Bearer>, StoreError> {
                let row = sqlx::query(BEARER)
                    .bind(secret.as_bytes().as_slice())
                    .fetch_optional(&mut *self.0.acquire().await?)
                    .await?;
                row.as_ref().map(bearer).transpose()
            }

            async fn client_of(
                &self,
                credential: &CredentialId,
            ) -> Result<Option<ClientId>, StoreError> {
                let row = sqlx::query(CLIENT_OF)
                    .bind(credential.as_str())
                    .fetch_optional(&mut *self.0.acquire().await?)
                    .await?;
                row.as_ref().map(client_id).transpose()
            }

            async fn metadata_claims(
                &self,
                client: &ClientId,
                resource: &ResourceId,
            ) -> Result<Metadata, StoreError> {
                let row = sqlx::query(METADATA_CLAIMS)
                    .bind(client.as_str())
                    .bind(resource.as_str())
                    .fetch_optional(&mut *self.0.acquire().await?)
                    .await?;
                Ok(row.as_ref().map(claims).transpose()?.unwrap_or_default())
            }

            async fn signing_keys(&self) -> Result<Vec<StoredKey>, StoreError> {
                let rows = sqlx::query(SIGNING_KEYS)
                    .fetch_all(&mut *self.0.acquire().await?)
                    .await?;
                rows.iter().map(stored_key).collect()
            }

            async fn change_keys(
                &self,
                made: &[StoredKey],
                changes: &[KeyChange],
                events: &[Event],
            ) -> Result<bool, StoreError> {
                let mut connection = self.0.acquire().await?;
                let mut tx = connection.begin_with($begin).await?;
                for StoredKey {
                    record,
                    sealed_private,
                } in made
                {
                    let added = sqlx::query(ADD_KEY)
                        .bind(&record.kid)
                        .bind(record.algorithm.name())
                        .bind(number(record.number))
                        .bind(sealed_private.as_slice())
                        .bind(number(record.created_at))
                        .bind(number(record.signs_from))
                        .bind(number(record.announce_time))
                        .bind(number(record.retire_time))
                        .execute(&mut *tx)
                        .await?;
                    if added.rows_affected() == 0 {
                        return Ok(false); // the transaction ends undone
                    }
                }
                for change in changes {
                    let query = match change {
                        KeyChange::SignFrom { kid, at } => {
                            sqlx::query(SIGN_FROM).bind(kid).bind(number(*at))
                        }
                        KeyChange::Compromise { kid, at } => sqlx::query(COMPROMISE)
                            .bind(kid)
                            .bind(number(*at))
                            .bind([0_u8; 0].as_slice()),
                        KeyChange::Promise {
                            announce_time,
                            retire_time,
                        } => sqlx::query(PROMISE)
                            .bind(number(*announce_time))
                            .bind(number(*retire_time)),
                        KeyChange::Delete { kid } => sqlx::query(DELETE_KEY).bind(kid),
                    };
                    query.execute(&mut *tx).await?;
                }
                if !events.is_empty() {
                    sqlx::query($order).execute(&mut *tx).await?;
                    Self::insert_events(&mut tx, events).await?;
                }
                Self::tell_of_keys(&mut tx).await?;
                tx.commit().await?;
                Ok(true)
            }

            async fn signing_needs(&self) -> Result<Vec<SigningNeed>, StoreError> {
                let rows = sqlx::query(SIGNING_NEEDS)
                    .fetch_all(&mut *self.0.acquire().await?)
                    .await?;
                let need = |row| {
                    Ok(SigningNeed {
                        algorithm: algorithm_of(row, "signing_alg")?,
                        longest_token: time(row, "token_lifetime")?,
                    })
                };
                rows.iter().map(need).collect()
            }

            async fn revocations_after(&self, after: u64) -> Result<Vec<Revocation>, StoreError> {
                let rows = sqlx::query(REVOCATIONS_AFTER)
                    .bind(number(after))
                    .fetch_all(&mut *self.0.acquire().await?)
                    .await?;
                rows.iter().map(revocation).collect()
            }

            async fn forget_revocations(&self, now: u64) -> Result<(), StoreError> {
                sqlx::query(FORGET_REVOCATIONS)
                    .bind(number(now))
                    .execute(&mut *self.0.acquire().await?)
                    .await?;
                Ok(())
            }

            async fn add_opaque_token(
                &self,
                hash: &SecretHash,
                token: &OwnToken,
            ) -> Result<(), StoreError> {
                sqlx::query(ADD_OPAQUE_TOKEN)
                    .bind(hash.as_bytes().as_slice())
                    .bind(token.client_id.as_str())
                    .bind(token.aud.as_str())
                    .bind(token.scopes.to_string())
                    .bind(&token.jti)
                    .bind(number(token.iat))
                    .bind(number(token.exp))
                    .execute(&mut *self.0.acquire().await?)
                    .await?;
                Ok(())
            }

            async fn opaque_token(
                &self,
                hash: &SecretHash,
            ) -> Result<Option<OwnToken>, StoreError> {
                let row = sqlx::query(OPAQUE_TOKEN)
                    .bind(hash.as_bytes().as_slice())
                    .fetch_optional(&mut *self.0.acquire().await?)
                    .await?;
                row.as_ref().map(opaque_token).transpose()
            }

            async fn forget_opaque_tokens(&self, now: u64) -> Result<bool, StoreError> {
                let forgotten = sqlx::query(FORGET_OPAQUE_TOKENS)
                    .bind(number(now))
                    .bind(number(BATCH))
                    .execute(&mut *self.0.acquire().await?)
                    .await?;
                Ok(forgotten.rows_affected() == BATCH)
            }

            async fn ping(&self) -> Result<(), StoreError> {
                sqlx::query("SELECT 1")
                    .execute(&mut *self.0.acquire().await?)
                    .await?;
                Ok(())
            }
        }
    };
}

/// `$snapshot` begins a transaction whose reads all see the same moment. `$numbered`: whether a parameter in a long list is
/// written with its number.
macro_rules! whole_store {
    ($store:ident, $pool:ty, $database:ty, $begin:literal, $order:literal, $snapshot:literal,
     $numbered:literal) => {
        sql_store!($store, $pool, $database, $begin, $order);
        registry_store!($store, $database, $begin, $order, $snapshot);
        project_store!($store, $snapshot);
        audit_store!($store, $database, $begin, $order, $numbered);
    };
}

whole_store!(
    SqliteStore,
    Sparing,
    sqlx::Sqlite,
    "BEGIN IMMEDIATE",
    "SELECT 1",
    "BEGIN DEFERRED",
    false
);
whole_store!(
    PostgresStore,
    sqlx::PgPool,
    sqlx::Postgres,
    "BEGIN",
    "LOCK TABLE audit_event IN SHARE ROW EXCLUSIVE MODE",
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    true
);
