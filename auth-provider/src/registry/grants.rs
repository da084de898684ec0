//! Grants: who may call whom.

use std::collections::BTreeSet;

use m2m::service::given;
use serde::Deserialize;
use serde_json::json;

use super::{
    Arrow, Version,
    change::Change,
    commit::{Admin, Created, Draft, Expected, Idempotency, Refusal, change, create},
    values::{Description, Lifetime, Patch, ScopeNames, Time},
    views::{GrantView, path_segment},
};
use crate::{
    audit::{Action, Event},
    built_in::{ADMIN, AUDIENCE},
    client::ClientId,
    policy_file::PolicyGrant,
    resource::ResourceId,
    revocation::Revoked,
    server::AuthServer,
};

/// What a new grant is to be.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewGrant {
    client_id: ClientId,
    resource: ResourceId,
    #[serde(default)]
    scopes: ScopeNames,
    #[serde(default)]
    token_lifetime: Option<Lifetime>,
    #[serde(default)]
    expires_at: Option<Time>,
    #[serde(default, deserialize_with = "given")]
    reason: Option<Description>,
}

/// What is to be different. What is left out stays; null takes a limit away.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GrantChange {
    #[serde(deserialize_with = "given")]
    scopes: Option<ScopeNames>,
    token_lifetime: Patch<Lifetime>,
    expires_at: Patch<Time>,
    #[serde(deserialize_with = "given")]
    reason: Option<Description>,
}

/// The grant of this client for this resource, as a path has them.
///
/// # Errors
/// When there is none.
pub async fn read(server: &AuthServer, client: &str, resource: &str) -> Result<Arrow, Refusal> {
    let unknown = || Refusal::not_found("there is no such grant: list the grants");
    let client = ClientId::parse(client).map_err(|_| unknown())?;
    let resource = ResourceId::parse(resource).map_err(|_| unknown())?;
    let found = server.store.grant(&client, &resource).await?;
    found.ok_or_else(unknown)
}

/// Allows a client to call a resource.
///
/// # Errors
/// When one of them is unknown, the grant is there already, or it would give what is not there to be given.
pub async fn add(
    server: &AuthServer,
    admin: &Admin,
    wish: NewGrant,
    idempotency: Option<&Idempotency>,
) -> Result<Created, Refusal> {
    let (client, resource) = (wish.client_id, wish.resource);
    let terms = PolicyGrant {
        scopes: wish.scopes.0,
        token_lifetime: wish.token_lifetime.map(|lifetime| lifetime.0),
        expires_at: wish.expires_at.map(|end| end.0),
        reason: wish.reason.map(String::from).unwrap_or_default(),
    };
    create(server, idempotency, async || {
        let graph = server.store.graph_version().await?;
        if server.store.client(&client).await?.is_none() {
            let why = "there is no client with this id: make the client first";
            return Err(Refusal::unknown("client_id", why));
        }
        let arrow = Arrow {
            client: client.clone(),
            resource: resource.clone(),
            terms: terms.clone(),
            version: Version::generate(),
        };
        let mut draft = addition(server, admin, &arrow).await?;
        if server.store.grant(&client, &resource).await?.is_some() {
            let why = format!("there is a grant {client} -> {resource} already: change it");
            return Err(Refusal::conflict(why));
        }
        draft.changes.insert(0, Change::Graph { expected: graph });
        Ok(draft.answering(Created {
            location: format!(
                "/admin/v1/grants/{client}/{}",
                path_segment(resource.as_str())
            ),
            version: Some(arrow.version.as_str().to_owned()),
            body: json!(GrantView::from(&arrow)),
        }))
    })
    .await
}

/// The part of a change that adds this grant, which is not there yet. With it comes a [`Change::Graph`].
pub(super) async fn addition(
    server: &AuthServer,
    admin: &Admin,
    arrow: &Arrow,
) -> Result<Draft<()>, Refusal> {
    check(server, admin, &arrow.resource, &arrow.terms).await?;
    Ok(Draft {
        changes: vec![put(arrow.clone(), None)],
        events: vec![event(server, admin, Action::GrantCreated, arrow)],
        answer: (),
    })
}

/// Changes a grant. When it allows less than before, the tokens that were obtained with it are taken back.
///
/// # Errors
/// As [`add`]; when it is not there, is built in, or was changed since the caller looked.
pub async fn edit(
    server: &AuthServer,
    admin: &Admin,
    (client, resource): (&str, &str),
    wish: &GrantChange,
    expected: &Expected,
) -> Result<Arrow, Refusal> {
    change(server, async || {
        let graph = server.store.graph_version().await?;
        let before = read(server, client, resource).await?;
        expected.check(&before.version)?;
        refuse_built_in(&before)?;
        let mut arrow = before.clone();
        apply(wish, &mut arrow.terms);
        if arrow.terms != before.terms {
            arrow.version = Version::generate();
        }
        let mut draft = replacement(server, admin, &before, &arrow).await?;
        if !draft.changes.is_empty() {
            draft.changes.insert(0, Change::Graph { expected: graph });
        }
        Ok(draft.answering(arrow))
    })
    .await
}

/// The part of a change that gives a grant other terms: nothing when they are the same. With it comes a
/// [`Change::Graph`].
pub(super) async fn replacement(
    server: &AuthServer,
    admin: &Admin,
    before: &Arrow,
    after: &Arrow,
) -> Result<Draft<()>, Refusal> {
    if after.terms == before.terms {
        return Ok(Draft::nothing());
    }
    refuse_built_in(before)?;
    check_rights(server, admin, &before.resource, &before.terms).await?;
    check(server, admin, &after.resource, &after.terms).await?;
    let mut changes = vec![put(after.clone(), Some(before.version.clone()))];
    if before.terms.allows_more_than(&after.terms) {
        changes.push(revocation(server, after));
    }
    Ok(Draft {
        changes,
        events: vec![event(server, admin, Action::GrantChanged, after)],
        answer: (),
    })
}

fn apply(wish: &GrantChange, terms: &mut PolicyGrant) {
    let wish = wish.clone();
    if let Some(scopes) = wish.scopes {
        terms.scopes = scopes.0;
    }
    wish.token_lifetime
        .apply(&mut terms.token_lifetime, |lifetime| lifetime.0);
    wish.expires_at.apply(&mut terms.expires_at, |end| end.0);
    if let Some(reason) = wish.reason {
        terms.reason = reason.into();
    }
}

/// What no single value shows: whether it fits to the resource, and is the administrator's to give.
async fn check(
    server: &AuthServer,
    admin: &Admin,
    resource: &ResourceId,
    terms: &PolicyGrant,
) -> Result<(), Refusal> {
    let Some(resource) = server.store.resource(resource).await? else {
        let why = "there is no resource with this id: make the resource first";
        return Err(Refusal::unknown("resource", why));
    };
    let known = &resource.settings.scopes;
    if !terms.scopes.iter().all(|scope| known.contains_key(scope)) {
        let known: Vec<&str> = known.keys().map(String::as_str).collect();
        let why = format!("the resource has these scopes: {}", known.join(" "));
        return Err(Refusal::does_not_fit("scopes", why));
    }
    if terms.token_lifetime > Some(resource.settings.token_lifetime) {
        let why = format!(
            "the resource's tokens live for {} s: a grant can only shorten it",
            resource.settings.token_lifetime
        );
        return Err(Refusal::does_not_fit("token_lifetime", why));
    }
    check_rights(server, admin, &resource.id, terms).await
}

async fn check_rights(
    server: &AuthServer,
    admin: &Admin,
    resource: &ResourceId,
    terms: &PolicyGrant,
) -> Result<(), Refusal> {
    match resource.as_str() {
        AUDIENCE => admin.must_hold(server, &terms.scopes).await,
        _ => Ok(()),
    }
}

/// Removes a grant, and takes the tokens back that were obtained with it.
///
/// # Errors
/// When it is not there, is built in, or was changed since the caller looked.
pub async fn remove(
    server: &AuthServer,
    admin: &Admin,
    (client, resource): (&str, &str),
    expected: &Expected,
) -> Result<(), Refusal> {
    change(server, async || {
        let graph = server.store.graph_version().await?;
        let arrow = read(server, client, resource).await?;
        expected.check(&arrow.version)?;
        let mut draft = removal(server, admin, &arrow).await?;
        draft.changes.insert(0, Change::Graph { expected: graph });
        Ok(draft)
    })
    .await
}

/// The part of a change that removes this grant. With it comes a [`Change::Graph`].
pub(super) async fn removal(
    server: &AuthServer,
    admin: &Admin,
    arrow: &Arrow,
) -> Result<Draft<()>, Refusal> {
    refuse_built_in(arrow)?;
    check_rights(server, admin, &arrow.resource, &arrow.terms).await?;
    Ok(Draft {
        changes: vec![
            revocation(server, arrow),
            Change::RemoveGrant {
                client: arrow.client.clone(),
                resource: arrow.resource.clone(),
                expected: arrow.version.clone(),
            },
        ],
        events: vec![event(server, admin, Action::GrantDeleted, arrow)],
        answer: (),
    })
}

/// The scopes that a resource defines.
pub(super) async fn scopes_of(
    server: &AuthServer,
    resource: &ResourceId,
) -> Result<BTreeSet<String>, Refusal> {
    let Some(resource) = server.store.resource(resource).await? else {
        let why = "there is no resource of this name: make the resource first";
        return Err(Refusal::unknown("audience", why));
    };
    Ok(resource.settings.scopes.into_keys().collect())
}

fn revocation(server: &AuthServer, arrow: &Arrow) -> Change {
    Revoked::Grant(arrow.client.clone(), arrow.resource.clone()).at(server.clock.now())
}

fn put(arrow: Arrow, expected: Option<Version>) -> Change {
    Change::PutGrant {
        client: arrow.client,
        resource: arrow.resource,
        terms: arrow.terms,
        expected,
        version: arrow.version,
    }
}

fn event(server: &AuthServer, admin: &Admin, action: Action, arrow: &Arrow) -> Event {
    let scopes = if arrow.terms.scopes.is_empty() {
        "It has no scopes".to_owned()
    } else {
        format!("Its scopes: {}", arrow.terms.scopes)
    };
    Event::done(action, server.clock.now(), &admin.origin)
        .client(&arrow.client)
        .resource(&arrow.resource)
        .explained(scopes)
}

fn refuse_built_in(arrow: &Arrow) -> Result<(), Refusal> {
    if (arrow.client.as_str(), arrow.resource.as_str()) == (ADMIN, AUDIENCE) {
        let why = "the grant admin -> auth-provider is built in: it stays as it is";
        return Err(Refusal::conflict(why));
    }
    Ok(())
}
