//! Reading the records of many clients in one statement.

use std::{collections::HashMap, fmt::Write, sync::LazyLock};

use super::{
    StoreError,
    rows::{Columns, credential, grant, resource_id, status_of},
};
use crate::{
    client::{ClientId, ClientRecord, ClientStatus, Credential, Grant},
    resource::ResourceId,
};

/// How many clients one statement reads at the most.
pub(super) const MOST: usize = 64;

/// The statements for 1, 2, 4 … [`MOST`] clients: a text for each number would keep databases preparing statements.
static STATEMENTS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut statements = Vec::new();
    for power in 0..=MOST.ilog2() {
        statements.push(statement(1 << power));
    }
    statements
});

/// The statement that reads `clients` of them. The list of its parameters has to be filled up: [`filled_up`].
pub(super) fn statement_for(clients: usize) -> &'static str {
    let power = clients.next_power_of_two().ilog2();
    &STATEMENTS[usize::try_from(power).expect("a logarithm is small")]
}

/// As many ids as the statement has parameters: the last is repeated, which an `IN` does not notice.
pub(super) fn filled_up(ids: &[ClientId]) -> impl Iterator<Item = &ClientId> {
    let last = ids.last();
    let missing = ids.len().next_power_of_two() - ids.len();
    ids.iter().chain(last.into_iter().cycle().take(missing))
}

/// One row for each secret of a client, or one without if it has none, one for each grant, and one for each
/// resource that it owns. Together they show one moment.
///
/// A grant can only shorten its resource's lifetime, also when the resource's was shortened later.
fn statement(clients: u32) -> String {
    let mut ids = "$1".to_owned();
    for number in 2..=clients {
        write!(ids, ", ${number}").expect("a string takes any text");
    }
    format!(
        "SELECT 'client' AS part, c.id AS client_id, c.status,
            k.id, k.secret_hash, k.expires_at,
            CAST(NULL AS TEXT) AS resource_id, CAST(NULL AS TEXT) AS scopes,
            CAST(NULL AS TEXT) AS signing_alg, CAST(NULL AS TEXT) AS token_format,
            CAST(NULL AS TEXT) AS token_profile, CAST(NULL AS TEXT) AS metadata_claims,
            CAST(NULL AS BIGINT) AS token_lifetime
        FROM client c LEFT JOIN credential k ON k.client_id = c.id AND k.kind = 'secret'
        WHERE c.id IN ({ids})
        UNION ALL
        SELECT 'grant', g.client_id, NULL, NULL, NULL, g.expires_at,
            g.resource_id, g.scopes, r.signing_alg, r.token_format,
            r.token_profile, r.metadata_claims,
            CASE WHEN g.token_lifetime < r.token_lifetime THEN g.token_lifetime
                 ELSE r.token_lifetime END
        FROM client_grant g JOIN resource r ON r.id = g.resource_id
        WHERE g.client_id IN ({ids})
        UNION ALL
        SELECT 'owned', owner, NULL, NULL, NULL, NULL, id, NULL, NULL, NULL, NULL, NULL,
            NULL
        FROM resource WHERE owner IN ({ids})"
    )
}

/// What the rows have said of a client so far. Their order is the database's own.
#[derive(Default)]
struct Parts {
    status: Option<ClientStatus>,
    credentials: Vec<Credential>,
    grants: Vec<Grant>,
    owns: Vec<ResourceId>,
}

/// Puts the rows of one statement together.
pub(super) fn records(rows: &[impl Columns]) -> Result<Vec<ClientRecord>, StoreError> {
    let mut clients: HashMap<String, Parts> = HashMap::new();
    for row in rows {
        let parts = clients.entry(row.text("client_id")?).or_default();
        match row.text("part")?.as_str() {
            "client" => {
                parts.status = Some(status_of(row)?);
                if row.maybe_text("id")?.is_some() {
                    // Most have one. What is too much here would stay behind as a hole in memory, once for each client.
                    parts.credentials.reserve_exact(1);
                    parts.credentials.push(credential(row)?);
                }
            }
            "grant" => parts.grants.push(grant(row)?),
            _ => parts.owns.push(resource_id(row)?),
        }
    }
    let mut records = Vec::with_capacity(clients.len());
    for (id, mut parts) in clients {
        parts.grants.sort_by(|a, b| a.resource.cmp(&b.resource));
        parts.owns.sort();
        records.push(ClientRecord {
            id: ClientId::parse(&id).map_err(|_| StoreError::Corrupt { what: "client id" })?,
            status: parts.status.ok_or(StoreError::Corrupt {
                what: "client, whose row is missing,",
            })?,
            credentials: parts.credentials.into(),
            grants: parts.grants.into_iter().collect(),
            owns: parts.owns.into(),
        });
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameters_are_filled_up_to_a_power_of_two() {
        let ids: Vec<_> = (0..MOST)
            .map(|n| ClientId::parse(&n.to_string()).unwrap())
            .collect();
        for clients in 1..=MOST {
            let filled: Vec<_> = filled_up(&ids[..clients]).collect();
            let highest = format!("${}", filled.len());
            let above = format!("${}", filled.len() + 1);
            let statement = statement_for(clients);
            assert!(statement.contains(&highest) && !statement.contains(&above));
            assert!(filled[clients..].iter().all(|id| **id == ids[clients - 1]));
        }
    }
}
