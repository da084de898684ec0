//! Finding a project's clients, page by page.
//!
//! A page begins behind the last client of the page before, so that clients that come or go meanwhile shift nothing.

use m2m::ScopeSet;

use super::{Project, ProjectClient};
use crate::{
    client::ClientId,
    registry::{commit::Refusal, values::Name},
    server::AuthServer,
};

/// How many operands a search may have.
pub const MOST_OPERANDS: usize = 100;

/// How many texts an operand may have.
pub const MOST_TEXTS: usize = 1000;

/// Which clients are looked for. Without operands it is all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    pub operator: Operator,
    pub operands: Vec<Operand>,
}

/// How the operands are joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Operator {
    #[default]
    And,
    Or,
}

/// What fits when any of these is what the client has, letter by letter. When there is none, nothing fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operand {
    Id(Vec<ClientId>),
    Name(Vec<Name>),
    Scope(ScopeSet),
}

impl Operand {
    /// Looks for ids. A text that can be no id is nobody's, as for the others.
    pub fn ids(texts: Vec<String>) -> Self {
        let ids = texts.into_iter().map(ClientId::try_from);
        Self::Id(ids.filter_map(Result::ok).collect())
    }

    /// Looks for names.
    pub fn names(texts: Vec<String>) -> Self {
        let names = texts.into_iter().map(Name::try_from);
        Self::Name(names.filter_map(Result::ok).collect())
    }

    /// Looks for scopes.
    pub fn scopes(texts: &[String]) -> Self {
        let scopes = texts.iter().map(|text| ScopeSet::from_tokens([text]));
        let known: Vec<ScopeSet> = scopes.filter_map(Result::ok).collect();
        let scopes = ScopeSet::from_tokens(known.iter().flat_map(ScopeSet::iter));
        Self::Scope(scopes.expect("each of them is a scope"))
    }
}

/// A page, and how many clients there are on all pages.
#[derive(Debug)]
pub struct Page {
    pub clients: Vec<ProjectClient>,
    pub total: u64,
    /// The last client of this page, when there is another page behind it.
    pub next_after: Option<ClientId>,
}

/// At most `limit` of the project's clients behind the id `after`, in the order of their ids.
///
/// # Errors
/// When the store does not answer.
pub async fn search(
    server: &AuthServer,
    project: &Project,
    search: &Search,
    after: &str,
    limit: usize,
) -> Result<Page, Refusal> {
    let store = &server.store;
    let (mut clients, total) = store
        .project_clients(&project.id, search, after, limit + 1)
        .await?;
    let more = clients.len() > limit;
    clients.truncate(limit);
    let last = clients.last().filter(|_| more);
    Ok(Page {
        total,
        next_after: last.map(|client| client.id.clone()),
        clients,
    })
}
