//! Rotating the secret of a project's client. Both secrets work until the rotation is finished or cancelled.

use super::{Project, ProjectClient, read};
use crate::{
    client::{CredentialId, CredentialKind, Secret},
    registry::{
        commit::Refusal,
        credentials::{self, ReplacementWish},
    },
    server::AuthServer,
};

/// Makes the secret that is to replace the client's, and shows it this once.
///
/// # Errors
/// When there is no such client in the project, it has no secret, or a rotation is under way.
pub async fn start_rotation(
    server: &AuthServer,
    project: &Project,
    id: &str,
) -> Result<(ProjectClient, Secret), Refusal> {
    let old = current(server, project, id).await?;
    let (admin, wish) = (&project.admin, ReplacementWish::default());
    let made = credentials::start_rotation(server, admin, id, old.as_str(), wish, None).await?;
    let secret = made.body["client_secret"].as_str().unwrap_or_default();
    let secret = Secret::from(secret.to_owned());
    Ok((read(server, project, id).await?, secret))
}

/// Makes the new secret the only one.
///
/// # Errors
/// When there is no such client in the project, or no rotation is under way.
pub async fn finish_rotation(
    server: &AuthServer,
    project: &Project,
    id: &str,
) -> Result<ProjectClient, Refusal> {
    let old = current(server, project, id).await?;
    credentials::finish_rotation(server, &project.admin, id, old.as_str()).await?;
    read(server, project, id).await
}

/// Throws the new secret away.
///
/// # Errors
/// As [`finish_rotation`].
pub async fn cancel_rotation(
    server: &AuthServer,
    project: &Project,
    id: &str,
) -> Result<ProjectClient, Refusal> {
    let old = current(server, project, id).await?;
    credentials::cancel_rotation(server, &project.admin, id, old.as_str()).await?;
    read(server, project, id).await
}

/// The client's secret: the oldest that replaces none. An administrator of the server may have given it more.
async fn current(
    server: &AuthServer,
    project: &Project,
    id: &str,
) -> Result<CredentialId, Refusal> {
    let client = read(server, project, id).await?;
    let credentials = server.store.credentials(&client.id).await?;
    let mut secrets = credentials.all.iter().filter(|credential| {
        credential.kind == CredentialKind::Secret && credential.replaces.is_none()
    });
    let current = secrets.next().map(|credential| credential.id);
    current.ok_or_else(|| Refusal::conflict("the client has no secret that could be replaced"))
}
