//! Resources: the APIs that tokens are for.

use m2m::{Scope, ScopeSet, service::given};
use serde::Deserialize;
use serde_json::json;

use super::{
    Arrow, GrantFilter, Resource, Version,
    change::Change,
    commit::{Admin, Created, Draft, Expected, Idempotency, Refusal, change, create},
    values::{Lifetime, MAX_SCOPES, Name, Patch, Scopes, ScopesChange, SigningAlg},
    views::{ResourceView, path_segment},
};
use crate::{
    audit::{Action, Event},
    built_in::{AUDIENCE, ClientsWrite, CredentialsWrite, GrantsWrite},
    client::ClientId,
    keys::DEFAULT_ALGORITHM,
    policy_file::{DEFAULT_TOKEN_LIFETIME, PolicyResource},
    resource::{ClaimNames, ResourceId, TokenFormat, TokenProfile},
    revocation::revoked_all_of,
    server::AuthServer,
    storage::StoreError,
    texts::default_name,
};

/// How many rows are read in one step.
const PAGE: usize = 1000;

/// What a new resource is to be.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewResource {
    resource: ResourceId,
    #[serde(default, deserialize_with = "given")]
    name: Option<Name>,
    #[serde(default)]
    scopes: Scopes,
    #[serde(default)]
    owner: Option<ClientId>,
    #[serde(default)]
    token_format: TokenFormat,
    #[serde(default)]
    token_profile: TokenProfile,
    #[serde(default)]
    metadata_claims: ClaimNames,
    #[serde(default, deserialize_with = "given")]
    signing_alg: Option<SigningAlg>,
    #[serde(default, deserialize_with = "given")]
    token_lifetime: Option<Lifetime>,
}

/// What is to be different. What is left out stays; an owner that is null is taken away.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ResourceChange {
    #[serde(deserialize_with = "given")]
    name: Option<Name>,
    scopes: ScopesChange,
    owner: Patch<ClientId>,
    #[serde(deserialize_with = "given")]
    token_format: Option<TokenFormat>,
    #[serde(deserialize_with = "given")]
    token_profile: Option<TokenProfile>,
    #[serde(deserialize_with = "given")]
    metadata_claims: Option<ClaimNames>,
    #[serde(deserialize_with = "given")]
    signing_alg: Option<SigningAlg>,
    #[serde(deserialize_with = "given")]
    token_lifetime: Option<Lifetime>,
}

/// The resource of this id, as a path has it.
///
/// # Errors
/// When there is none.
pub async fn read(server: &AuthServer, id: &str) -> Result<Resource, Refusal> {
    let unknown = || Refusal::not_found("there is no resource with this id: list the resources");
    let id = ResourceId::parse(id).map_err(|_| unknown())?;
    server.store.resource(&id).await?.ok_or_else(unknown)
}

/// Makes a resource.
///
/// # Errors
/// When its id is taken, its owner is unknown, its tokens would outlive their keys, or its owner would get rights that the
/// administrator does not have.
pub async fn add(
    server: &AuthServer,
    admin: &Admin,
    wish: NewResource,
    idempotency: Option<&Idempotency>,
) -> Result<Created, Refusal> {
    let id = wish.resource;
    let settings = PolicyResource {
        name: wish
            .name
            .map_or_else(|| default_name(id.as_str()), String::from),
        scopes: wish.scopes.0,
        token_lifetime: wish.token_lifetime.map_or(DEFAULT_TOKEN_LIFETIME, |l| l.0),
        signing_alg: wish.signing_alg.map_or(DEFAULT_ALGORITHM, |alg| alg.0),
        owner: wish.owner,
        token_format: wish.token_format,
        token_profile: wish.token_profile,
        metadata_claims: wish.metadata_claims,
    };
    let created = create(server, idempotency, async || {
        let graph = server.store.graph_version().await?;
        if server.store.resource(&id).await?.is_some() {
            let why = format!("there is a resource {id} already: change it, or choose another id");
            return Err(Refusal::does_not_fit("resource", why));
        }
        check(server, &settings).await?;
        check_rights(server, admin, None, &settings).await?;
        let resource = Resource {
            id: id.clone(),
            settings: settings.clone(),
            version: Version::generate(),
        };
        let event = Event::done(Action::ResourceCreated, server.clock.now(), &admin.origin);
        Ok(Draft {
            events: vec![event.resource(&id)],
            answer: Created {
                location: format!("/admin/v1/resources/{}", path_segment(id.as_str())),
                version: Some(resource.version.as_str().to_owned()),
                body: json!(ResourceView::from(&resource)),
            },
            changes: vec![Change::Graph { expected: graph }, put(resource, None)],
        })
    });
    let created = created.await?;
    server.keys.look_after().await;
    Ok(created)
}

/// Changes a resource.
///
/// # Errors
/// As [`add`]; when it is not there, is built in, was changed since the caller looked, or a grant has a scope that is to
/// go.
pub async fn edit(
    server: &AuthServer,
    admin: &Admin,
    id: &str,
    wish: &ResourceChange,
    expected: &Expected,
) -> Result<Resource, Refusal> {
    let changed = change(server, async || {
        let graph = server.store.graph_version().await?;
        let before = read(server, id).await?;
        expected.check(&before.version)?;
        refuse_built_in(&before.id)?;
        let mut resource = before.clone();
        apply(wish, &mut resource.settings);
        if resource.settings == before.settings {
            return Ok(Draft {
                changes: vec![],
                events: vec![],
                answer: resource,
            });
        }
        check(server, &resource.settings).await?;
        check_scopes(server, &before, &resource).await?;
        check_rights(server, admin, Some(&before.settings), &resource.settings).await?;
        resource.version = Version::generate();
        let event = Event::done(Action::ResourceChanged, server.clock.now(), &admin.origin);
        let now = server.clock.now();
        let mut changes = vec![Change::Graph { expected: graph }];
        changes.extend(no_longer_hidden(
            &before.id,
            &before.settings,
            &resource.settings,
            now,
        ));
        changes.push(put(resource.clone(), Some(before.version)));
        Ok(Draft {
            changes,
            events: vec![event.resource(&resource.id)],
            answer: resource,
        })
    });
    let changed = changed.await?;
    server.keys.look_after().await;
    Ok(changed)
}

fn apply(wish: &ResourceChange, settings: &mut PolicyResource) {
    let wish = wish.clone();
    if let Some(name) = wish.name {
        settings.name = name.into();
    }
    for (scope, description) in wish.scopes.0 {
        match description {
            Some(description) => drop(settings.scopes.insert(scope, description)),
            None => drop(settings.scopes.remove(&scope)),
        }
    }
    wish.owner.apply(&mut settings.owner, |owner| owner);
    if let Some(format) = wish.token_format {
        settings.token_format = format;
    }
    if let Some(profile) = wish.token_profile {
        settings.token_profile = profile;
    }
    if let Some(claims) = wish.metadata_claims {
        settings.metadata_claims = claims;
    }
    if let Some(alg) = wish.signing_alg {
        settings.signing_alg = alg.0;
    }
    if let Some(lifetime) = wish.token_lifetime {
        settings.token_lifetime = lifetime.0;
    }
}

/// Tokens that do not say how they were obtained are taken back together with the credentials of their clients: when a
/// resource has other tokens from now on, those of before would be forgotten.
pub(super) fn no_longer_hidden(
    id: &ResourceId,
    before: &PolicyResource,
    after: &PolicyResource,
    now: u64,
) -> Option<Change> {
    let hides = |settings: &PolicyResource| settings.token_profile.hides_credential();
    (hides(before) && !hides(after)).then(|| revoked_all_of(id.clone(), now))
}

/// What no single value shows: whether it fits to the rest.
async fn check(server: &AuthServer, settings: &PolicyResource) -> Result<(), Refusal> {
    if settings.scopes.len() > MAX_SCOPES {
        let why = format!("the resource would have more than {MAX_SCOPES} scopes: remove some");
        return Err(Refusal::does_not_fit("scopes", why));
    }
    if let Some(owner) = &settings.owner
        && server.store.client(owner).await?.is_none()
    {
        let why = "there is no client with the owner's id: make the client first";
        return Err(Refusal::unknown("owner", why));
    }
    if settings.token_format == TokenFormat::Jwt {
        let fits = server.keys.allow_tokens_of(settings.token_lifetime);
        fits.map_err(|error| Refusal::does_not_fit("token_lifetime", error.to_string()))?;
    }
    Ok(())
}

/// The owner of a project makes clients and lets them call it: who hands that out has to have these rights himself.
async fn check_rights(
    server: &AuthServer,
    admin: &Admin,
    before: Option<&PolicyResource>,
    after: &PolicyResource,
) -> Result<(), Refusal> {
    let owner_after = after.project_owner();
    if owner_after.is_none() || before.and_then(PolicyResource::project_owner) == owner_after {
        return Ok(());
    }
    let rights = [
        ClientsWrite::NAME,
        CredentialsWrite::NAME,
        GrantsWrite::NAME,
    ];
    let rights = ScopeSet::from_tokens(rights).expect("these are scopes");
    admin.must_hold(server, &rights).await
}

/// No grant may be left with a scope that its resource does not have any more.
async fn check_scopes(
    server: &AuthServer,
    before: &Resource,
    after: &Resource,
) -> Result<(), Refusal> {
    let gone: Vec<&String> = before
        .settings
        .scopes
        .keys()
        .filter(|scope| !after.settings.scopes.contains_key(*scope))
        .collect();
    if gone.is_empty() {
        return Ok(());
    }
    let filter = GrantFilter {
        resource: Some(before.id.clone()),
        ..GrantFilter::default()
    };
    let mut last: Option<Arrow> = None;
    loop {
        let after = last.as_ref();
        let after = after.map_or(("", ""), |a| (a.client.as_str(), a.resource.as_str()));
        let page = server.store.grants(&filter, after, PAGE).await?;
        for arrow in &page {
            if let Some(scope) = gone.iter().find(|scope| arrow.terms.scopes.contains(scope)) {
                let why = format!(
                    "the grant {} -> {} has the scope {scope}: take it out of the grant first",
                    arrow.client, arrow.resource
                );
                return Err(Refusal::does_not_fit("scopes", why));
            }
        }
        if page.len() < PAGE {
            return Ok(());
        }
        last = page.into_iter().next_back();
    }
}

/// Removes a resource that no grant names.
///
/// # Errors
/// When it is not there, is built in, is named by a grant, or was changed since the caller looked.
pub async fn remove(
    server: &AuthServer,
    admin: &Admin,
    id: &str,
    expected: &Expected,
) -> Result<(), Refusal> {
    change(server, async || {
        let graph = server.store.graph_version().await?;
        let resource = read(server, id).await?;
        expected.check(&resource.version)?;
        refuse_built_in(&resource.id)?;
        if let Some(client) = granted_to(server, &resource.id).await? {
            let why = format!("the client {client} has a grant for it: remove its grants first");
            return Err(Refusal::conflict(why));
        }
        let event = Event::done(Action::ResourceDeleted, server.clock.now(), &admin.origin);
        Ok(Draft {
            events: vec![event.resource(&resource.id)],
            changes: vec![
                Change::Graph { expected: graph },
                Change::RemoveResource {
                    id: resource.id,
                    expected: resource.version,
                },
            ],
            answer: (),
        })
    })
    .await
}

/// A client that has a grant for the resource.
async fn granted_to(
    server: &AuthServer,
    resource: &ResourceId,
) -> Result<Option<ClientId>, StoreError> {
    let filter = GrantFilter {
        resource: Some(resource.clone()),
        ..GrantFilter::default()
    };
    let mut found = server.store.grants(&filter, ("", ""), 1).await?;
    Ok(found.pop().map(|arrow| arrow.client))
}

fn put(resource: Resource, expected: Option<Version>) -> Change {
    Change::PutResource {
        id: resource.id,
        settings: resource.settings,
        expected,
        version: resource.version,
    }
}

fn refuse_built_in(id: &ResourceId) -> Result<(), Refusal> {
    if id.as_str() == AUDIENCE {
        let why = "the resource auth-provider is built in: grants can name it, but not change it";
        return Err(Refusal::conflict(why));
    }
    Ok(())
}
