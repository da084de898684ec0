//! The part of the store that the administrators of projects see: their clients.

use std::fmt::Write;

use async_trait::async_trait;

use super::StoreError;
use crate::{
    client::ClientId,
    projects::{ManagedClient, Operand, Operator, Search},
    resource::ResourceId,
};

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

    /// At most `limit` of the clients that this project manages and that have what `search` asks for, with ids behind
    /// `after`, in the order of their ids; and how many there are with any id.
    async fn find_managed_clients(
        &self,
        project: &ResourceId,
        search: &Search,
        after: &str,
        limit: usize,
    ) -> Result<(Vec<ManagedClient>, u64), StoreError>;

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

/// The beginning of a page of what a search finds, and of how many that are; each operand adds a condition.
const FOUND: &str = managed!("");

const COUNT_FOUND: &str = "
    SELECT COUNT(*) AS managed
    FROM client c LEFT JOIN client_grant g ON g.client_id = c.id AND g.resource_id = $1
    WHERE c.managed_by = $1 AND ";

/// The statement that reads a page and the one that counts, and the texts that both take from the second parameter on. The
/// page's takes two more: the id that it begins behind, and how many clients it has.
pub(super) fn found(search: &Search) -> (String, String, Vec<&str>) {
    let (mut conditions, mut values) = (String::new(), Vec::new());
    let operator = match search.operator {
        Operator::And => "AND",
        Operator::Or => "OR",
    };
    for operand in &search.operands {
        let join = if conditions.is_empty() { "" } else { operator };
        let condition = condition(operand, &mut values);
        let _ = write!(conditions, " {join} {condition}");
    }
    if conditions.is_empty() {
        conditions.push_str("1 = 1");
    }
    let (after, limit) = (values.len() + 2, values.len() + 3);
    let page = format!("{FOUND}({conditions}) AND c.id > ${after} ORDER BY c.id LIMIT ${limit}");
    (page, format!("{COUNT_FOUND}({conditions})"), values)
}

fn condition<'s>(operand: &'s Operand, values: &mut Vec<&'s str>) -> String {
    let (Operand::Ids(texts) | Operand::Names(texts) | Operand::Scopes(texts)) = operand;
    // Nothing of a client has a control character, and one of the databases takes no zero. No scope has a space, which
    // stands between two of them.
    let is_scope = matches!(operand, Operand::Scopes(_));
    let cannot_be = |c: char| c.is_control() || (is_scope && c == ' ');
    let possible = |text: &&String| !text.chars().any(cannot_be);
    let numbers = texts.iter().filter(possible).map(|text| {
        values.push(text);
        format!("${}", values.len() + 1)
    });
    let numbers: Vec<String> = numbers.collect();
    if numbers.is_empty() {
        return "1 = 0".to_owned();
    }
    match operand {
        Operand::Ids(_) => format!("c.id IN ({})", numbers.join(", ")),
        Operand::Names(_) => format!("c.name IN ({})", numbers.join(", ")),
        Operand::Scopes(_) => {
            let any: Vec<String> = numbers.iter().map(|number| has_scope(number)).collect();
            format!("({})", any.join(" OR "))
        }
    }
}

/// Scopes are separated by spaces. LIKE would take capitals for small letters in one of the databases.
fn has_scope(number: &str) -> String {
    let scopes = "(' ' || COALESCE(g.scopes, '') || ' ')";
    format!("REPLACE({scopes}, ' ' || {number} || ' ', '') <> {scopes}")
}

macro_rules! project_store {
    ($store:ident, $snapshot:literal) => {
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
                    .fetch_optional(&mut *self.0.acquire().await?)
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
                    .fetch_all(&mut *self.0.acquire().await?)
                    .await?;
                rows.iter().map(managed_client).collect()
            }

            async fn find_managed_clients(
                &self,
                project: &ResourceId,
                search: &Search,
                after: &str,
                limit: usize,
            ) -> Result<(Vec<ManagedClient>, u64), StoreError> {
                let (page, count, values) = projects::found(search);
                // There are as many statements as searches: prepared for good, they would drive out those of each day.
                let page = sqlx::query(sqlx::AssertSqlSafe(page)).persistent(false);
                let count = sqlx::query(sqlx::AssertSqlSafe(count)).persistent(false);
                let mut page = page.bind(project.as_str());
                let mut count = count.bind(project.as_str());
                for value in values {
                    (page, count) = (page.bind(value), count.bind(value));
                }
                let page = page.bind(after).bind(number(limit as u64));
                let mut connection = self.0.acquire().await?;
                let mut tx = connection.begin_with($snapshot).await?;
                let rows = page.fetch_all(&mut *tx).await?;
                let total = count.fetch_one(&mut *tx).await?;
                tx.commit().await?;
                let clients = rows.iter().map(managed_client).collect::<Result<_, _>>()?;
                Ok((clients, time(&total, "managed")?))
            }

            async fn count_managed_clients(&self, project: &ResourceId) -> Result<u64, StoreError> {
                let row = sqlx::query(projects::COUNT_MANAGED)
                    .bind(project.as_str())
                    .fetch_one(&mut *self.0.acquire().await?)
                    .await?;
                time(&row, "managed")
            }
        }
    };
}
pub(super) use project_store;
