//! The part of the store that the administrators of projects see: their clients.

use async_trait::async_trait;

use super::StoreError;
use crate::{client::ClientId, projects::ManagedClient, resource::ResourceId};

/// The clients of projects. Each method is one atomic step.
#[async_trait]
pub trait ProjectStore: Send + Sync {
    /// One client that this project manages.
    async fn managed_client(
        &self,
        project: &ResourceId,
        client: &ClientId,
    ) -> Result<Option<ManagedClient>, StoreError>;

    /// At most `limit` of the clients that this project manages with ids behind `after`, in the order of their ids.
    async fn managed_clients(
        &self,
        project: &ResourceId,
        after: &str,
        limit: usize,
    ) -> Result<Vec<ManagedClient>, StoreError>;

    /// How many clients this project manages.
    async fn count_managed_clients(&self, project: &ResourceId) -> Result<u64, StoreError>;
}

// A client has one secret here: the oldest that replaces none, whatever else the server's administrators gave it.
macro_rules! managed {
    ($which:literal) => {
        concat!(
            "
    SELECT c.id AS client_id, c.name, c.description, c.status, c.metadata,
           COALESCE(g.scopes, '') AS scopes, k.last_four,
           (SELECT n.last_four FROM credential n WHERE n.replaces = k.id) AS next_last_four
    FROM client c
    LEFT JOIN client_grant g ON g.client_id = c.id AND g.resource_id = $1
    LEFT JOIN credential k ON k.id = (
        SELECT s.id FROM credential s
        WHERE s.client_id = c.id AND s.kind = 'secret' AND s.replaces IS NULL
        ORDER BY s.created_at, s.id LIMIT 1)
    WHERE c.managed_by = $1 AND ",
            $which
        )
    };
}

pub(super) const MANAGED_CLIENT: &str = managed!("c.id = $2");

pub(super) const MANAGED_CLIENTS: &str = managed!("c.id > $2 ORDER BY c.id LIMIT $3");

pub(super) const COUNT_MANAGED: &str =
    "SELECT COUNT(*) AS managed FROM client WHERE managed_by = $1";

macro_rules! project_store {
    ($store:ident) => {
        #[async_trait]
        impl ProjectStore for $store {
            async fn managed_client(
                &self,
                project: &ResourceId,
                client: &ClientId,
            ) -> Result<Option<ManagedClient>, StoreError> {
                let row = sqlx::query(projects::MANAGED_CLIENT)
                    .bind(project.as_str())
                    .bind(client.as_str())
                    .fetch_optional(&self.0)
                    .await?;
                row.as_ref().map(managed_client).transpose()
            }

            async fn managed_clients(
                &self,
                project: &ResourceId,
                after: &str,
                limit: usize,
            ) -> Result<Vec<ManagedClient>, StoreError> {
                let rows = sqlx::query(projects::MANAGED_CLIENTS)
                    .bind(project.as_str())
                    .bind(after)
                    .bind(number(limit as u64))
                    .fetch_all(&self.0)
                    .await?;
                rows.iter().map(managed_client).collect()
            }

            async fn count_managed_clients(&self, project: &ResourceId) -> Result<u64, StoreError> {
                let row = sqlx::query(projects::COUNT_MANAGED)
                    .bind(project.as_str())
                    .fetch_one(&self.0)
                    .await?;
                time(&row, "managed")
            }
        }
    };
}
pub(super) use project_store;
