//! Rotating the secret of a project's client: both secrets work until the rotation is finished or cancelled.

use super::{ManagedClient, Project, WithSecret, get};
use crate::{
    client::{CredentialKind, Secret},
    registry::{
        CredentialInfo,
        commit::Refusal,
        credentials::{self, ReplacementWish},
    },
    server::AuthServer,
};

/// Gives a client of the project a second secret. The first one works on until the rotation ends.
///
/// # Errors
/// When the project manages none of this id, the client has no secret or two already, or has rights over this server.
pub async fn start_rotation(
    server: &AuthServer,
    project: &Project,
    id: &str,
) -> Result<WithSecret, Refusal> {
    let old = secret_of(server, project, id).await?;
    let (admin, old) = (&project.admin, old.id.as_str());
    let wish = ReplacementWish::default();
    let made = credentials::start_rotation(server, admin, id, old, wish, None).await?;
    let secret = made.body["client_secret"].as_str().unwrap_or_default();
    Ok(WithSecret {
        client: get(server, project, id).await?,
        secret: Secret::from(secret.to_owned()),
    })
}

/// Ends a rotation: the first secret is gone.
///
/// # Errors
/// When the project manages none of this id, or no rotation is under way.
pub async fn finish_rotation(
    server: &AuthServer,
    project: &Project,
    id: &str,
) -> Result<ManagedClient, Refusal> {
    let old = secret_of(server, project, id).await?;
    credentials::finish_rotation(server, &project.admin, id, old.id.as_str()).await?;
    get(server, project, id).await
}

/// Breaks a rotation off: the second secret is gone.
///
/// # Errors
/// As [`finish_rotation`].
pub async fn cancel_rotation(
    server: &AuthServer,
    project: &Project,
    id: &str,
) -> Result<ManagedClient, Refusal> {
    let old = secret_of(server, project, id).await?;
    credentials::cancel_rotation(server, &project.admin, id, old.id.as_str()).await?;
    get(server, project, id).await
}

/// The secret of a client of the project: the oldest that replaces none.
async fn secret_of(
    server: &AuthServer,
    project: &Project,
    id: &str,
) -> Result<CredentialInfo, Refusal> {
    let client = get(server, project, id).await?.id;
    let all = server.store.credentials(&client).await?.all;
    let is_secret = |one: &CredentialInfo| one.kind == CredentialKind::Secret;
    let mut secrets = all.into_iter().filter(is_secret);
    let oldest = secrets.find(|one| one.replaces.is_none());
    oldest.ok_or_else(|| Refusal::conflict("the client has no secret: make another client"))
}
