//! Finding a project's clients, page by page. A page begins behind the last client of the page before, so that clients that
//! come or go meanwhile shift nothing.

use super::{ManagedClient, Project};
use crate::{client::ClientId, registry::commit::Refusal, server::AuthServer};

/// How many operands a search may have.
pub const MOST_OPERANDS: usize = 100;

/// How many texts may stand in one of them; of scopes it is as many as a project may have.
pub const MOST_TEXTS: usize = 1000;

/// How many clients one search answers at the most.
pub const MOST_FOUND: usize = 1000;

/// Which clients are looked for.
#[derive(Clone, Debug, Default)]
pub struct Search {
    pub operator: Operator,
    /// None at all finds every client.
    pub operands: Vec<Operand>,
    /// The last client of the page before.
    pub after: Option<ClientId>,
    /// Of a page, up to [`MOST_FOUND`].
    pub limit: usize,
}

/// How operands go together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Operator {
    #[default]
    And,
    Or,
}

/// What a client has to have, letter by letter: one of these. When there is none, nobody has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operand {
    Ids(Vec<String>),
    Names(Vec<String>),
    Scopes(Vec<String>),
}

/// A page of what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub clients: Vec<ManagedClient>,
    /// On all pages.
    pub total: u64,
    /// Where the next page begins: behind this client. `None` on the last.
    pub next: Option<ClientId>,
}

/// Finds clients of the project, in the order of their ids.
///
/// # Errors
/// When the store does not answer.
pub async fn search(
    server: &AuthServer,
    project: &Project,
    search: &Search,
) -> Result<Found, Refusal> {
    let limit = search.limit.clamp(1, MOST_FOUND);
    let behind = search.after.as_ref().map_or("", ClientId::as_str);
    let store = &server.store;
    // One more tells whether there is another page.
    if search.operands.is_empty() {
        let clients = store.managed_clients(&project.id, behind, limit + 1);
        let clients = clients.await?;
        let total = store.count_managed_clients(&project.id).await?;
        return Ok(page(clients, limit, total));
    }
    let (clients, total) = store
        .find_managed_clients(&project.id, search, behind, limit + 1)
        .await?;
    Ok(page(clients, limit, total))
}

fn page(mut clients: Vec<ManagedClient>, limit: usize, total: u64) -> Found {
    let is_last = clients.len() <= limit;
    clients.truncate(limit);
    let end = clients.last().filter(|_| !is_last);
    Found {
        next: end.map(|client| client.id.clone()),
        clients,
        total,
    }
}
