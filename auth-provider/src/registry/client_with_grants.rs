//! A client together with all that it may call, read and changed in one step. SuperTokens describes a client so: with one
//! list of resources, and one list of scopes for all of them.
//!
//! Each resource has scopes of its own here, so that a grant gets those of the listed scopes that its resource knows.

use std::collections::BTreeSet;

use m2m::ScopeSet;

use super::{
    Arrow, Client, ClientFilter, GrantFilter, Version,
    change::Change,
    clients::{self, Addition, ClientChange, NewClient},
    commit::{Admin, Draft, Refusal, change},
    grants,
};
use crate::{
    client::{ClientId, Secret},
    policy_file::PolicyGrant,
    resource::ResourceId,
    server::AuthServer,
};

/// How many grants are read at once.
const PAGE: usize = 1000;

#[derive(Clone, Debug)]
pub struct ClientWithGrants {
    pub client: Client,
    pub grants: Vec<Arrow>,
}

/// What a client is to be able to call. What is `None` stays as it is; for a new client it is nothing.
#[derive(Clone, Debug, Default)]
pub struct Calls {
    pub resources: Option<Vec<ResourceId>>,
    pub scopes: Option<ScopeSet>,
}

impl ClientWithGrants {
    /// The scopes of all its grants.
    pub fn scopes(&self) -> ScopeSet {
        let scopes = self
            .grants
            .iter()
            .flat_map(|arrow| arrow.terms.scopes.iter());
        ScopeSet::from_tokens(scopes).expect("these are scopes")
    }

    pub fn resources(&self) -> impl Iterator<Item = &ResourceId> {
        self.grants.iter().map(|arrow| &arrow.resource)
    }
}

/// The client of this id.
///
/// # Errors
/// When there is none.
pub async fn read(server: &AuthServer, id: &str) -> Result<ClientWithGrants, Refusal> {
    let client = clients::read(server, id).await?;
    with_grants(server, client).await
}

/// At most `limit` clients with ids behind `after`, in the order of their ids.
///
/// # Errors
/// When the store does not answer.
pub async fn list(
    server: &AuthServer,
    filter: &ClientFilter,
    after: &str,
    limit: usize,
) -> Result<Vec<ClientWithGrants>, Refusal> {
    let mut found = Vec::new();
    for client in server.store.clients(filter, after, limit).await? {
        found.push(with_grants(server, client).await?);
    }
    Ok(found)
}

async fn with_grants(server: &AuthServer, client: Client) -> Result<ClientWithGrants, Refusal> {
    let filter = GrantFilter {
        client: Some(client.id.clone()),
        resource: None,
    };
    let mut found = ClientWithGrants {
        client,
        grants: Vec::new(),
    };
    loop {
        let last = found.grants.last();
        let after = last.map_or(("", ""), |arrow| {
            (arrow.client.as_str(), arrow.resource.as_str())
        });
        let mut more = server.store.grants(&filter, after, PAGE).await?;
        let is_all = more.len() < PAGE;
        found.grants.append(&mut more);
        if is_all {
            return Ok(found);
        }
    }
}

/// Makes a client with a secret, and the grants for what it is to call.
///
/// # Errors
/// As for a client and for a grant by itself: nothing is made then.
pub async fn add(
    server: &AuthServer,
    admin: &Admin,
    wish: NewClient,
    calls: &Calls,
) -> Result<(ClientWithGrants, Secret), Refusal> {
    let (id, profile) = wish.described()?;
    change(server, async || {
        let graph = server.store.graph_version().await?;
        let Addition {
            client,
            secret,
            mut changes,
            mut events,
            ..
        } = clients::addition(server, admin, &id, &profile).await?;
        let mut made = ClientWithGrants {
            client,
            grants: Vec::new(),
        };
        let arrows = arrows(server, admin, &made, calls).await?;
        changes.insert(0, Change::Graph { expected: graph });
        changes.extend(arrows.changes);
        events.extend(arrows.events);
        made.grants = arrows.answer;
        Ok(Draft {
            changes,
            events,
            answer: (made, secret),
        })
    })
    .await
}

/// Changes what is said of a client, and what it may call. Grants that go, or give less than before, take their tokens
/// with them; those that stay keep their limits.
///
/// # Errors
/// As for a client and for a grant by itself: nothing is changed then.
pub async fn edit(
    server: &AuthServer,
    admin: &Admin,
    id: &str,
    wish: &ClientChange,
    calls: &Calls,
) -> Result<ClientWithGrants, Refusal> {
    change(server, async || {
        let graph = server.store.graph_version().await?;
        let before = read(server, id).await?;
        let Draft {
            mut changes,
            mut events,
            answer: client,
        } = clients::changed(server, admin, &before.client, wish).await?;
        let arrows = arrows(server, admin, &before, calls).await?;
        if !arrows.changes.is_empty() {
            changes.insert(0, Change::Graph { expected: graph });
        }
        changes.extend(arrows.changes);
        events.extend(arrows.events);
        Ok(Draft {
            changes,
            events,
            answer: ClientWithGrants {
                client,
                grants: arrows.answer,
            },
        })
    })
    .await
}

/// The grants that make `before` call what it is to call.
async fn arrows(
    server: &AuthServer,
    admin: &Admin,
    before: &ClientWithGrants,
    calls: &Calls,
) -> Result<Draft<Vec<Arrow>>, Refusal> {
    let mut draft = Draft {
        changes: vec![],
        events: vec![],
        answer: before.grants.clone(),
    };
    let were: BTreeSet<&ResourceId> = before.resources().collect();
    let wished: BTreeSet<&ResourceId> = match &calls.resources {
        Some(resources) => resources.iter().collect(),
        None => were.clone(),
    };
    let scopes = calls.scopes.clone().unwrap_or_else(|| before.scopes());
    // Who sends back what was read changes nothing, also where the one list says less than the grants do.
    if wished == were && scopes == before.scopes() {
        return Ok(draft);
    }
    let (mut after, mut known) = (Vec::new(), BTreeSet::new());
    for resource in wished {
        let defined = grants::scopes_of(server, resource).await?;
        let of_it = scopes.iter().filter(|scope| defined.contains(*scope));
        let of_it = ScopeSet::from_tokens(of_it).expect("these are scopes");
        known.extend(defined);
        let old = before
            .grants
            .iter()
            .find(|arrow| arrow.resource == *resource);
        after.push(arrow(&before.client.id, resource, old, of_it));
    }
    if calls.scopes.is_some() && !scopes.iter().all(|scope| known.contains(scope)) {
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let why = format!(
            "no resource in audience has all of these scopes: they have {}",
            if known.is_empty() {
                "none".to_owned()
            } else {
                known.join(" ")
            }
        );
        return Err(Refusal::does_not_fit("scope", why));
    }
    for old in &before.grants {
        let kept = after.iter().find(|arrow| arrow.resource == old.resource);
        let one = match kept {
            None => grants::removal(server, admin, old).await?,
            Some(new) => grants::replacement(server, admin, old, new).await?,
        };
        draft.changes.extend(one.changes);
        draft.events.extend(one.events);
    }
    for new in after.iter().filter(|arrow| !were.contains(&arrow.resource)) {
        let one = grants::addition(server, admin, new).await?;
        draft.changes.extend(one.changes);
        draft.events.extend(one.events);
    }
    draft.answer = after;
    Ok(draft)
}

/// The same grant with other scopes, or a new one without limits of its own.
fn arrow(client: &ClientId, resource: &ResourceId, old: Option<&Arrow>, scopes: ScopeSet) -> Arrow {
    let mut terms = old.map_or_else(PolicyGrant::plain, |arrow| arrow.terms.clone());
    let unchanged = old.filter(|arrow| arrow.terms.scopes == scopes);
    terms.scopes = scopes;
    Arrow {
        client: client.clone(),
        resource: resource.clone(),
        terms,
        version: unchanged.map_or_else(Version::generate, |arrow| arrow.version.clone()),
    }
}
