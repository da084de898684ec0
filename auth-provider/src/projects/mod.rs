//! Projects: resources whose clients an administrator of their own looks after.
//!
//! A project is a resource with the token profile `stytch` and an owner. Who has a secret of the owner makes, finds,
//! changes and removes the clients of this project, and no others: what another project has is not there for him, and
//! what he does stands in the audit log as the owner's doing.

mod clients;
mod rotation;
pub mod search;

use std::collections::BTreeMap;

use m2m::ScopeSet;
use serde_json::Value;

pub use clients::{ChosenSecret, ClientChange, NewClient, add, edit, read, remove};
pub use rotation::{cancel_rotation, finish_rotation, start_rotation};

use crate::{
    address::CallerAddress,
    audit::Origin,
    client::{ClientId, ClientStatus},
    clients::{self as callers, Authenticated},
    error::OAuthError,
    policy::Wish,
    policy_file::PolicyResource,
    registry::commit::Admin,
    resource::{ResourceId, TokenProfile},
    server::AuthServer,
    storage::StoreError,
    tokens::{self, Issued},
};

/// A project, in the hands of its administrator, who proved who he is.
pub struct Project {
    pub id: ResourceId,
    /// The owner. He has no rights over the server, whatever else he was granted: here he is a project's administrator.
    admin: Admin,
}

/// A client as its project's administrator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectClient {
    pub id: ClientId,
    pub name: String,
    pub description: String,
    pub status: ClientStatus,
    pub metadata: BTreeMap<String, Value>,
    /// What it may do with the project; empty when somebody took its grant away.
    pub scopes: ScopeSet,
    /// The end of its secret; empty when it has none any more.
    pub secret_ends_with: String,
    /// The end of the secret that is to replace it, while a rotation is under way.
    pub next_secret_ends_with: Option<String>,
}

impl Project {
    /// The client that owns the project.
    pub fn owner(&self) -> &ClientId {
        let owner = self.admin.origin.actor.as_ref();
        owner.expect("a project is only made of an owner's request")
    }

    /// The name of the request that was let in, as the audit log has it.
    pub fn request_id(&self) -> &str {
        &self.admin.origin.request_id
    }
}

/// Lets a project's administrator in. A project that is not there is refused as a wrong secret is, and as late.
///
/// # Errors
/// As [`callers::authenticate`].
pub async fn authenticate(
    server: &AuthServer,
    address: CallerAddress,
    project: &str,
    secret: &str,
) -> Result<Project, OAuthError> {
    let found = find(server, project).await?;
    // No client has this id.
    let owner = found.as_ref().map_or("", |(_, owner)| owner.as_str());
    let caller = callers::authenticate(server, address, owner, secret).await?;
    let Some((id, _)) = found else {
        return Err(OAuthError::invalid_client());
    };
    let origin = Origin::of(Some(caller.client.id.clone()), Some(address.ip()));
    callers::note_use(server, &caller, &origin).await?;
    Ok(Project {
        id,
        admin: Admin {
            origin,
            scopes: ScopeSet::default(),
        },
    })
}

/// Issues a token for the project of this name, as [`tokens::issue`] does for any resource.
///
/// # Errors
/// Those of [`tokens::issue`].
pub async fn issue(
    server: &AuthServer,
    caller: &Authenticated,
    origin: &Origin,
    project: &str,
    scopes: Option<ScopeSet>,
) -> Result<Issued, OAuthError> {
    let wish = Wish {
        resource: Some(project.to_owned()),
        scopes,
    };
    tokens::issue(server, caller, origin, &wish).await
}

/// The public keys that a project's tokens are verified with, and for how many seconds they may be kept. `None` when there
/// is no such project.
///
/// They are the server's keys of the project's algorithm, since libraries for projects read no others. Verifiers must
/// not depend on the database: while it does not answer, every name has the keys for RS256.
pub async fn key_set(server: &AuthServer, project: &str) -> Option<(Vec<Value>, u32)> {
    let algorithm = match settings(server, project).await {
        Ok(Some((_, settings))) => settings.signing_alg.name(),
        Ok(None) => return None,
        Err(_) => "RS256",
    };
    let ring = server.keys.ring();
    let published = ring.published();
    let set: Value = serde_json::from_str(&published.body).expect("the key set is JSON");
    let keys = set["keys"].as_array().cloned().unwrap_or_default();
    let keys = keys.into_iter().filter(|key| key["alg"] == algorithm);
    Some((keys.collect(), published.max_age))
}

async fn find(
    server: &AuthServer,
    project: &str,
) -> Result<Option<(ResourceId, ClientId)>, StoreError> {
    let found = settings(server, project).await?;
    Ok(found.and_then(|(id, settings)| Some((id, settings.owner?))))
}

async fn settings(
    server: &AuthServer,
    project: &str,
) -> Result<Option<(ResourceId, PolicyResource)>, StoreError> {
    let Ok(id) = ResourceId::parse(project) else {
        return Ok(None);
    };
    let resource = server.store.resource(&id).await?;
    let project = resource.filter(|found| found.settings.token_profile == TokenProfile::Stytch);
    Ok(project.map(|found| (found.id, found.settings)))
}
