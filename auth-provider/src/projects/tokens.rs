//! A project's tokens, and the keys that they are verified with.

use m2m::ScopeSet;
use serde_json::Value;

use crate::{
    audit::Origin,
    clients::Authenticated,
    error::OAuthError,
    policy::Wish,
    resource::ResourceId,
    server::AuthServer,
    storage::StoreError,
    tokens::{self, Issued},
};

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
    let algorithm = match algorithm_of(server, project).await {
        Ok(algorithm) => algorithm?,
        Err(_) => "RS256",
    };
    let ring = server.keys.ring();
    let published = ring.published();
    let set: Value = serde_json::from_str(&published.body).expect("the key set is JSON");
    let keys = set["keys"].as_array().cloned().unwrap_or_default();
    let keys = keys.into_iter().filter(|key| key["alg"] == algorithm);
    Some((keys.collect(), published.max_age))
}

async fn algorithm_of(
    server: &AuthServer,
    project: &str,
) -> Result<Option<&'static str>, StoreError> {
    let Ok(id) = ResourceId::parse(project) else {
        return Ok(None);
    };
    let resource = server.store.resource(&id).await?;
    let project = resource.filter(|resource| resource.settings.project_owner().is_some());
    Ok(project.map(|project| project.settings.signing_alg.name()))
}
