//! The part of the store that administrators read and change: its statements, and the macro that makes both databases'
//! code of them.

use std::{collections::BTreeMap, ops::Range};

use async_trait::async_trait;

use super::StoreError;
use crate::{
    audit::Event,
    client::{ClientId, SecretHash},
    policy_file::{Policy, PolicyClient},
    registry::{
        Arrow, Census, Client, ClientFilter, Credentials, Ending, GrantFilter, Graph, Resource,
        change::{Change, Committed},
    },
    resource::ResourceId,
};

/// What administrators read and change. Each method is one atomic step.
#[async_trait]
pub trait RegistryStore: Send + Sync {
    /// Makes a change as a whole, together with the events that tell of it, or nothing of it.
    async fn commit(&self, changes: &[Change], events: &[Event]) -> Result<Committed, StoreError>;

    async fn client(&self, id: &ClientId) -> Result<Option<Client>, StoreError>;

    /// At most `limit` clients with ids behind `after`, in the order of their ids.
    async fn clients(
        &self,
        filter: &ClientFilter,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Client>, StoreError>;

    /// The client's credentials, the oldest first; empty for one that does not exist.
    async fn credentials(&self, client: &ClientId) -> Result<Credentials, StoreError>;

    async fn resource(&self, id: &ResourceId) -> Result<Option<Resource>, StoreError>;

    /// At most `limit` resources with ids behind `after`, in the order of their ids.
    async fn resources(&self, after: &str, limit: usize) -> Result<Vec<Resource>, StoreError>;

    async fn grant(
        &self,
        client: &ClientId,
        resource: &ResourceId,
    ) -> Result<Option<Arrow>, StoreError>;

    /// At most `limit` grants behind `after`, in the order of client and resource.
    async fn grants(
        &self,
        filter: &GrantFilter,
        after: (&str, &str),
        limit: usize,
    ) -> Result<Vec<Arrow>, StoreError>;

    /// By which a [`Change::Graph`] says what it was checked against.
    async fn graph_version(&self) -> Result<u64, StoreError>;

    /// The graph: all of it, or what `named` names.
    async fn graph(&self, named: Option<&Policy>) -> Result<Graph, StoreError>;

    /// The request and the sealed answer that were kept under this key and are still to be remembered at `now`.
    async fn remembered(
        &self,
        key: &SecretHash,
        now: u64,
    ) -> Result<Option<(SecretHash, Vec<u8>)>, StoreError>;

    /// Forgets the answers that need not be remembered at `now` any more.
    async fn forget_answers(&self, now: u64) -> Result<(), StoreError>;

    /// The hash of the token by which a client that registered itself administers itself.
    async fn registration(&self, client: &ClientId) -> Result<Option<SecretHash>, StoreError>;

    /// At most `limit` of the credentials that end in this span of seconds, the first to end first.
    async fn ending_credentials(
        &self,
        span: Range<u64>,
        limit: usize,
    ) -> Result<Vec<Ending>, StoreError>;

    /// Counts clients, credentials that end after `now` and up to `soon`, and those that have ended.
    async fn census(&self, now: u64, soon: u64) -> Result<Census, StoreError>;
}

pub(super) const REMEMBERED: &str = "
    SELECT request_hash, sealed_answer FROM remembered_answer
    WHERE key_hash = $1 AND expires_at > $2";

pub(super) const FORGET_ANSWERS: &str = "DELETE FROM remembered_answer WHERE expires_at <= $1";

pub(super) const REGISTRATION: &str =
    "SELECT token_hash FROM client_registration WHERE client_id = $1";

pub(super) const ENDING_CREDENTIALS: &str = "
    SELECT client_id, id, expires_at FROM credential
    WHERE expires_at >= $1 AND expires_at < $2 ORDER BY expires_at, id LIMIT $3";

pub(super) const CENSUS: &str = "
    SELECT (SELECT COUNT(*) FROM client WHERE status = 'active') AS active,
           (SELECT COUNT(*) FROM client WHERE status = 'inactive') AS inactive,
           (SELECT COUNT(*) FROM credential WHERE expires_at > $1 AND expires_at <= $2) AS ending,
           (SELECT COUNT(*) FROM credential WHERE expires_at <= $1) AS ended";

pub(super) const CLIENT: &str = "
    SELECT c.id, c.name, c.description, c.status, c.metadata, c.created_at, c.updated_at, c.version,
           c.managed_by, u.last_used_at
    FROM client c LEFT JOIN client_use u ON u.client_id = c.id
    WHERE c.id = $1";

/// The beginning of a list of clients; where it begins and each part of the filter that is given add a line.
pub(super) const CLIENTS: &str = "
    SELECT c.id, c.name, c.description, c.status, c.metadata, c.created_at, c.updated_at, c.version,
           c.managed_by, u.last_used_at
    FROM client c LEFT JOIN client_use u ON u.client_id = c.id
    WHERE c.id ";

// The oldest first; of those that were made in one second, what is to be replaced or ends.
pub(super) const CREDENTIALS_OF: &str = "
    SELECT c.id, c.kind, c.label, c.last_four, c.created_at, c.expires_at, c.replaces, u.last_used_at,
           u.use_count, u.alive_until
    FROM credential c LEFT JOIN credential_use u ON u.credential_id = c.id
    WHERE c.client_id = $1
    ORDER BY c.created_at, c.replaces IS NOT NULL, c.expires_at IS NULL, c.expires_at, c.id";

pub(super) const RESOURCE: &str = "
    SELECT id AS resource_id, name, token_lifetime, signing_alg, owner, token_format,
           token_profile, metadata_claims, version
    FROM resource WHERE id = $1";

pub(super) const SCOPES_OF: &str =
    "SELECT resource_id, name, description FROM resource_scope WHERE resource_id = $1";

pub(super) const RESOURCES: &str = "
    SELECT id AS resource_id, name, token_lifetime, signing_alg, owner, token_format,
           token_profile, metadata_claims, version
    FROM resource WHERE id > $1 ORDER BY id LIMIT $2";

pub(super) const SCOPES_BETWEEN: &str = "
    SELECT resource_id, name, description FROM resource_scope
    WHERE resource_id > $1 AND resource_id <= $2";

pub(super) const GRANT: &str = "
    SELECT client_id, resource_id, scopes, token_lifetime, expires_at, reason, version
    FROM client_grant WHERE client_id = $1 AND resource_id = $2";

/// The beginning of a list of grants; each part of the filter that is given adds a line.
pub(super) const GRANTS_LIST: &str = "
    SELECT client_id, resource_id, scopes, token_lifetime, expires_at, reason, version
    FROM client_grant WHERE (client_id, resource_id) > ($1, $2) ";

pub(super) const GRAPH_VERSION: &str = "SELECT graph_version FROM registry_state WHERE one = 1";

macro_rules! registry_store {
    ($store:ident, $database:ty, $begin:literal, $order:literal, $snapshot:literal) => {
        #[async_trait]
        impl RegistryStore for $store {
            async fn commit(
                &self,
                changes: &[Change],
                events: &[Event],
            ) -> Result<Committed, StoreError> {
                let mut connection = self.0.acquire().await?;
                let mut tx = connection.begin_with($begin).await?;
                sqlx::query($order).execute(&mut *tx).await?;
                for (index, change) in changes.iter().enumerate() {
                    for step in steps(change) {
                        let mut query = sqlx::query(step.sql);
                        for value in step.values {
                            query = match value {
                                Value::Text(text) => query.bind(text),
                                Value::Number(number) => query.bind(number),
                                Value::Bytes(bytes) => query.bind(bytes),
                            };
                        }
                        let rows = query.execute(&mut *tx).await?.rows_affected();
                        if rows == 0 && step.finds_a_row {
                            return Ok(Committed::Conflict(index)); // the transaction ends undone
                        }
                    }
                }
                Self::insert_events(&mut *tx, events).await?;
                Self::tell(&mut *tx, changes).await?;
                tx.commit().await?;
                Ok(Committed::Done)
            }

            async fn client(&self, id: &ClientId) -> Result<Option<Client>, StoreError> {
                let row = sqlx::query(registry::CLIENT)
                    .bind(id.as_str())
                    .fetch_optional(&mut *self.0.acquire().await?)
                    .await?;
                row.as_ref().map(client).transpose()
            }

            async fn clients(
                &self,
                filter: &ClientFilter,
                after: &str,
                limit: usize,
            ) -> Result<Vec<Client>, StoreError> {
                let prefix_end = filter
                    .prefix
                    .as_ref()
                    .map(|prefix| format!("{prefix}\u{7f}"));
                let texts = [
                    (
                        "AND c.status = ",
                        filter.status.map(|status| status.as_str()),
                    ),
                    ("AND c.name = ", filter.name.as_deref()),
                    ("AND c.id < ", prefix_end.as_deref()),
                ];
                // Of two lower bounds, SQLite would seek one and read everything up to the other.
                let (begin, after) = match filter.prefix.as_deref() {
                    Some(prefix) if prefix > after => (">= $1 ", prefix),
                    _ => ("> $1 ", after),
                };
                let base = format!("{}{begin}", registry::CLIENTS);
                let (mut sql, values) = filtered(&base, 1, &texts);
                let _ = write!(sql, "ORDER BY c.id LIMIT ${}", values.len() + 2);
                let mut query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(after);
                for value in values {
                    query = query.bind(value);
                }
                let rows = query
                    .bind(number(limit as u64))
                    .fetch_all(&mut *self.0.acquire().await?)
                    .await?;
                rows.iter().map(client).collect()
            }

            async fn credentials(&self, client: &ClientId) -> Result<Credentials, StoreError> {
                // One look at the database: no event may be summed up between its parts.
                let mut connection = self.0.acquire().await?;
                let mut tx = connection.begin_with($snapshot).await?;
                let mut answers = Vec::new();
                for sql in [
                    registry::CREDENTIALS_OF,
                    audit::uses::CLIENT_USES,
                    audit::uses::PROMISES,
                ] {
                    let query = sqlx::query(sql).bind(client.as_str());
                    answers.push(query.fetch_all(&mut *tx).await?);
                }
                let [rows, sums, promises] = answers.as_slice() else {
                    return Ok(Credentials::default()); // there are three
                };
                let mut known = known_uses(rows, sums)?;
                Self::add_unsummed(&mut tx, client, &mut known).await?;
                tx.commit().await?;
                credentials_of(rows, &known, promises)
            }

            async fn resource(&self, id: &ResourceId) -> Result<Option<Resource>, StoreError> {
                let mut connection = self.0.acquire().await?;
                let row = sqlx::query(registry::RESOURCE)
                    .bind(id.as_str())
                    .fetch_optional(&mut *connection)
                    .await?;
                let scopes = sqlx::query(registry::SCOPES_OF)
                    .bind(id.as_str())
                    .fetch_all(&mut *connection)
                    .await?;
                let Some(row) = row else { return Ok(None) };
                Ok(with_scopes(vec![resource(&row)?], &scopes)?.pop())
            }

            async fn resources(
                &self,
                after: &str,
                limit: usize,
            ) -> Result<Vec<Resource>, StoreError> {
                let mut connection = self.0.acquire().await?;
                let rows = sqlx::query(registry::RESOURCES)
                    .bind(after)
                    .bind(number(limit as u64))
                    .fetch_all(&mut *connection)
                    .await?;
                let found: Vec<Resource> = rows.iter().map(resource).collect::<Result<_, _>>()?;
                let Some(last) = found.last() else {
                    return Ok(found);
                };
                let scopes = sqlx::query(registry::SCOPES_BETWEEN)
                    .bind(after)
                    .bind(last.id.as_str())
                    .fetch_all(&mut *connection)
                    .await?;
                with_scopes(found, &scopes)
            }

            async fn grant(
                &self,
                client: &ClientId,
                resource: &ResourceId,
            ) -> Result<Option<Arrow>, StoreError> {
                let row = sqlx::query(registry::GRANT)
                    .bind(client.as_str())
                    .bind(resource.as_str())
                    .fetch_optional(&mut *self.0.acquire().await?)
                    .await?;
                row.as_ref().map(arrow).transpose()
            }

            async fn grants(
                &self,
                filter: &GrantFilter,
                after: (&str, &str),
                limit: usize,
            ) -> Result<Vec<Arrow>, StoreError> {
                let texts = [
                    (
                        "AND client_id = ",
                        filter.client.as_ref().map(ClientId::as_str),
                    ),
                    (
                        "AND resource_id = ",
                        filter.resource.as_ref().map(ResourceId::as_str),
                    ),
                ];
                let (mut sql, values) = filtered(registry::GRANTS_LIST, 2, &texts);
                let _ = write!(
                    sql,
                    "ORDER BY client_id, resource_id LIMIT ${}",
                    values.len() + 3
                );
                let mut query = sqlx::query(sqlx::AssertSqlSafe(sql))
                    .bind(after.0)
                    .bind(after.1);
                for value in values {
                    query = query.bind(value);
                }
                let rows = query
                    .bind(number(limit as u64))
                    .fetch_all(&mut *self.0.acquire().await?)
                    .await?;
                rows.iter().map(arrow).collect()
            }

            async fn graph_version(&self) -> Result<u64, StoreError> {
                let row = sqlx::query(registry::GRAPH_VERSION)
                    .fetch_one(&mut *self.0.acquire().await?)
                    .await?;
                time(&row, "graph_version")
            }

            async fn graph(&self, named: Option<&Policy>) -> Result<Graph, StoreError> {
                graph_of(self, named).await
            }

            async fn remembered(
                &self,
                key: &SecretHash,
                now: u64,
            ) -> Result<Option<(SecretHash, Vec<u8>)>, StoreError> {
                let row = sqlx::query(registry::REMEMBERED)
                    .bind(key.as_bytes().as_slice())
                    .bind(number(now))
                    .fetch_optional(&mut *self.0.acquire().await?)
                    .await?;
                row.map(|row| Ok((hash(&row, "request_hash")?, row.bytes("sealed_answer")?)))
                    .transpose()
            }

            async fn forget_answers(&self, now: u64) -> Result<(), StoreError> {
                sqlx::query(registry::FORGET_ANSWERS)
                    .bind(number(now))
                    .execute(&mut *self.0.acquire().await?)
                    .await?;
                Ok(())
            }

            async fn registration(
                &self,
                client: &ClientId,
            ) -> Result<Option<SecretHash>, StoreError> {
                let row = sqlx::query(registry::REGISTRATION)
                    .bind(client.as_str())
                    .fetch_optional(&mut *self.0.acquire().await?)
                    .await?;
                row.map(|row| hash(&row, "token_hash")).transpose()
            }

            async fn ending_credentials(
                &self,
                span: Range<u64>,
                limit: usize,
            ) -> Result<Vec<Ending>, StoreError> {
                let rows = sqlx::query(registry::ENDING_CREDENTIALS)
                    .bind(number(span.start))
                    .bind(number(span.end))
                    .bind(number(limit as u64))
                    .fetch_all(&mut *self.0.acquire().await?)
                    .await?;
                rows.iter().map(ending).collect()
            }

            async fn census(&self, now: u64, soon: u64) -> Result<Census, StoreError> {
                let row = sqlx::query(registry::CENSUS)
                    .bind(number(now))
                    .bind(number(soon))
                    .fetch_one(&mut *self.0.acquire().await?)
                    .await?;
                Ok(Census {
                    active_clients: time(&row, "active")?,
                    inactive_clients: time(&row, "inactive")?,
                    ending_credentials: time(&row, "ending")?,
                    ended_credentials: time(&row, "ended")?,
                })
            }
        }
    };
}
pub(super) use registry_store;

/// Adds a condition for each value that is given; the parameters go on counting after `parameters`.
pub(super) fn filtered<'v>(
    base: &str,
    parameters: usize,
    conditions: &[(&'static str, Option<&'v str>)],
) -> (String, Vec<&'v str>) {
    let mut sql = base.to_owned();
    let mut values = Vec::new();
    for (condition, value) in conditions {
        if let Some(value) = value {
            values.push(*value);
            sql.push_str(condition);
            sql.push('$');
            sql.push_str(&(parameters + values.len()).to_string());
            sql.push(' ');
        }
    }
    (sql, values)
}

/// The graph's version is read first: what changes afterwards makes a commit that is checked against it fail.
pub(super) async fn graph_of(
    store: &dyn RegistryStore,
    named: Option<&Policy>,
) -> Result<Graph, StoreError> {
    let mut graph = Graph {
        version: store.graph_version().await?,
        policy: Policy::default(),
        clients: BTreeMap::default(),
        resources: BTreeMap::default(),
        grants: BTreeMap::default(),
    };
    match named {
        None => read_all(store, &mut graph).await?,
        Some(named) => {
            for id in named.clients.keys() {
                graph.clients_in(store.client(id).await?);
            }
            for id in named.resources.keys() {
                graph.resources_in(store.resource(id).await?);
            }
            for (client, resource) in named.grants.keys() {
                graph.grants_in(store.grant(client, resource).await?);
            }
        }
    }
    Ok(graph)
}

/// How many rows are read in one step.
const PAGE: usize = 1000;

async fn read_all(store: &dyn RegistryStore, graph: &mut Graph) -> Result<(), StoreError> {
    loop {
        let after = graph
            .clients
            .keys()
            .next_back()
            .map_or("", ClientId::as_str);
        let page = store.clients(&ClientFilter::default(), after, PAGE).await?;
        let more = page.len() == PAGE;
        graph.clients_in(page);
        if !more {
            break;
        }
    }
    loop {
        let after = graph
            .resources
            .keys()
            .next_back()
            .map_or("", ResourceId::as_str);
        let page = store.resources(after, PAGE).await?;
        let more = page.len() == PAGE;
        graph.resources_in(page);
        if !more {
            break;
        }
    }
    loop {
        let after = graph.grants.keys().next_back();
        let after = after.map_or(("", ""), |(c, r)| (c.as_str(), r.as_str()));
        let page = store.grants(&GrantFilter::default(), after, PAGE).await?;
        let more = page.len() == PAGE;
        graph.grants_in(page);
        if !more {
            return Ok(());
        }
    }
}

impl Graph {
    fn clients_in(&mut self, found: impl IntoIterator<Item = Client>) {
        for client in found {
            let known = PolicyClient {
                name: client.profile.name,
                description: client.profile.description,
                status: Some(client.profile.status),
                metadata: Some(client.profile.metadata),
            };
            self.policy.clients.insert(client.id.clone(), known);
            self.clients.insert(client.id, client.version);
        }
    }

    fn resources_in(&mut self, found: impl IntoIterator<Item = Resource>) {
        for resource in found {
            self.policy
                .resources
                .insert(resource.id.clone(), resource.settings);
            self.resources.insert(resource.id, resource.version);
        }
    }

    fn grants_in(&mut self, found: impl IntoIterator<Item = Arrow>) {
        for arrow in found {
            let key = (arrow.client, arrow.resource);
            self.policy.grants.insert(key.clone(), arrow.terms);
            self.grants.insert(key, arrow.version);
        }
    }
}
