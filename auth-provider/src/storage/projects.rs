//! The part of the store that projects ask: which clients they have.

use std::fmt::Write;

use async_trait::async_trait;
use m2m::ScopeSet;

use super::{
    StoreError,
    rows::{Columns, profile},
};
use crate::{
    projects::{
        ProjectClient,
        search::{Operand, Operator, Search},
    },
    resource::ResourceId,
};

/// What projects ask. Each method is one atomic step.
#[async_trait]
pub trait ProjectStore: Send + Sync {
    /// At most `limit` of the project's clients that are looked for, with ids behind `after`, in the order of their ids;
    /// and how many there are with any id.
    async fn project_clients(
        &self,
        project: &ResourceId,
        search: &Search,
        after: &str,
        limit: usize,
    ) -> Result<(Vec<ProjectClient>, u64), StoreError>;
}

const FOUND: &str = "
    FROM client c LEFT JOIN client_grant g ON g.client_id = c.id AND g.resource_id = c.managed_by
    WHERE c.managed_by = $1";

// Of several secrets the oldest is the client's; what replaces one is the next.
const SHOWN: &str = "
    SELECT c.id, c.name, c.description, c.status, c.metadata, g.scopes,
           (SELECT k.last_four FROM credential k
            WHERE k.client_id = c.id AND k.kind = 'secret' AND k.replaces IS NULL
            ORDER BY k.created_at, k.id LIMIT 1) AS last_four,
           (SELECT k.last_four FROM credential k
            WHERE k.client_id = c.id AND k.kind = 'secret' AND k.replaces IS NOT NULL
            ORDER BY k.created_at, k.id LIMIT 1) AS next_last_four";

/// The statement that reads a page and the one that counts, and the texts that both take from the second parameter on. The
/// page's takes two more: the id that it begins behind, and how many clients it has.
pub(super) fn statements(search: &Search) -> (String, String, Vec<&str>) {
    let (mut conditions, mut values) = (Vec::new(), Vec::new());
    for operand in &search.operands {
        conditions.push(condition(operand, &mut values));
    }
    let mut found = FOUND.to_owned();
    if !conditions.is_empty() {
        let operator = match search.operator {
            Operator::And => " AND ",
            Operator::Or => " OR ",
        };
        let _ = write!(found, " AND ({})", conditions.join(operator));
    }
    let (after, limit) = (values.len() + 2, values.len() + 3);
    let page = format!("{SHOWN}{found} AND c.id > ${after} ORDER BY c.id LIMIT ${limit}");
    (page, format!("SELECT COUNT(*) AS total{found}"), values)
}

fn condition<'s>(operand: &'s Operand, values: &mut Vec<&'s str>) -> String {
    let mut number = |text| {
        values.push(text);
        format!("${}", values.len() + 1)
    };
    let (column, numbers) = match operand {
        Operand::Id(ids) => ("c.id", ids.iter().map(|id| number(id.as_str())).collect()),
        Operand::Name(names) => (
            "c.name",
            names.iter().map(|name| number(name.as_str())).collect(),
        ),
        Operand::Scope(scopes) => ("", scopes.iter().map(number).collect::<Vec<_>>()),
    };
    // Scopes are separated by spaces; LIKE would take capitals for small letters in one of the databases.
    let has = |scope: &String| {
        let scopes = "(' ' || COALESCE(g.scopes, '') || ' ')";
        format!("REPLACE({scopes}, ' ' || {scope} || ' ', '') <> {scopes}")
    };
    if numbers.is_empty() {
        "1 = 0".to_owned()
    } else if column.is_empty() {
        let any: Vec<String> = numbers.iter().map(has).collect();
        format!("({})", any.join(" OR "))
    } else {
        format!("{column} IN ({})", numbers.join(", "))
    }
}

pub(super) fn project_client(row: &impl Columns) -> Result<ProjectClient, StoreError> {
    let (id, profile) = profile(row)?;
    let scopes = row.maybe_text("scopes")?.unwrap_or_default();
    let scopes: ScopeSet = scopes.parse().map_err(|_| StoreError::Corrupt {
        what: "list of scopes",
    })?;
    Ok(ProjectClient {
        id,
        name: profile.name,
        description: profile.description,
        status: profile.status,
        metadata: profile.metadata,
        scopes,
        secret_ends_with: row.maybe_text("last_four")?.unwrap_or_default(),
        next_secret_ends_with: row.maybe_text("next_last_four")?,
    })
}

macro_rules! project_store {
    ($store:ident, $snapshot:literal) => {
        #[async_trait]
        impl ProjectStore for $store {
            async fn project_clients(
                &self,
                project: &ResourceId,
                search: &Search,
                after: &str,
                limit: usize,
            ) -> Result<(Vec<ProjectClient>, u64), StoreError> {
                let (page, count, values) = projects::statements(search);
                // There are as many statements as searches: prepared for good, they would drive out those of each day.
                let page = sqlx::query(sqlx::AssertSqlSafe(page)).persistent(false);
                let count = sqlx::query(sqlx::AssertSqlSafe(count)).persistent(false);
                let mut page = page.bind(project.as_str());
                let mut count = count.bind(project.as_str());
                for value in values {
                    (page, count) = (page.bind(value), count.bind(value));
                }
                let page = page.bind(after).bind(number(limit as u64));
                let mut tx = self.0.begin_with($snapshot).await?;
                let rows = page.fetch_all(&mut *tx).await?;
                let total = count.fetch_one(&mut *tx).await?;
                tx.commit().await?;
                let clients = rows
                    .iter()
                    .map(projects::project_client)
                    .collect::<Result<_, _>>()?;
                Ok((clients, time(&total, "total")?))
            }
        }
    };
}
pub(super) use project_store;
