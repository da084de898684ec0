//! `/admin/v1/clients/{client_id}/credentials`

use actix_web::{
    HttpResponse,
    web::{Data, Path},
};
use m2m::service::Problem;
use serde_json::json;

use super::from_admin::{FromAdmin, Json, MaybeJson, created};
use crate::{
    built_in::{ClientsRead, CredentialsWrite},
    registry::{
        credentials::{self, CredentialChange, CredentialWish, ReplacementWish, Rotation},
        views::CredentialView,
    },
    server::AuthServer,
};

/// A client and one of its credentials.
type Names = Path<(String, String)>;

pub(super) async fn list(
    _: FromAdmin<ClientsRead>,
    server: Data<AuthServer>,
    client: Path<String>,
) -> Result<HttpResponse, Problem> {
    let (_, all) = credentials::list(&server, &client).await?;
    let now = server.clock.now();
    let view = |credential| CredentialView::of(credential, &all, now);
    let views: Vec<_> = all.all.iter().map(view).collect();
    Ok(HttpResponse::Ok().json(json!({"credentials": views})))
}

pub(super) async fn add(
    request: FromAdmin<CredentialsWrite, MaybeJson<CredentialWish>>,
    server: Data<AuthServer>,
    client: Path<String>,
) -> Result<HttpResponse, Problem> {
    let (MaybeJson(wish), key) = (request.body, request.idempotency.as_ref());
    let made = credentials::add(&server, &request.admin, &client, wish, key).await?;
    Ok(created(&made))
}

pub(super) async fn show(
    _: FromAdmin<ClientsRead>,
    server: Data<AuthServer>,
    names: Names,
) -> Result<HttpResponse, Problem> {
    let (client, id) = names.into_inner();
    Ok(HttpResponse::Ok().json(credentials::show(&server, &client, &id).await?))
}

pub(super) async fn edit(
    request: FromAdmin<CredentialsWrite, Json<CredentialChange>>,
    server: Data<AuthServer>,
    names: Names,
) -> Result<HttpResponse, Problem> {
    let ((client, id), Json(wish)) = (names.into_inner(), &request.body);
    let credential = credentials::edit(&server, &request.admin, &client, &id, wish).await?;
    Ok(HttpResponse::Ok().json(credential))
}

pub(super) async fn remove(
    request: FromAdmin<CredentialsWrite>,
    server: Data<AuthServer>,
    names: Names,
) -> Result<HttpResponse, Problem> {
    let (client, id) = names.into_inner();
    credentials::remove(&server, &request.admin, &client, &id).await?;
    Ok(HttpResponse::NoContent().finish())
}

pub(super) async fn rotate(
    request: FromAdmin<CredentialsWrite, MaybeJson<Rotation>>,
    server: Data<AuthServer>,
    names: Names,
) -> Result<HttpResponse, Problem> {
    let ((client, old), MaybeJson(wish)) = (names.into_inner(), request.body);
    let key = request.idempotency.as_ref();
    let made = credentials::rotate(&server, &request.admin, &client, &old, wish, key).await?;
    Ok(created(&made))
}

pub(super) async fn start_rotation(
    request: FromAdmin<CredentialsWrite, MaybeJson<ReplacementWish>>,
    server: Data<AuthServer>,
    names: Names,
) -> Result<HttpResponse, Problem> {
    let ((client, old), MaybeJson(wish)) = (names.into_inner(), request.body);
    let (admin, key) = (&request.admin, request.idempotency.as_ref());
    let made = credentials::start_rotation(&server, admin, &client, &old, wish, key).await?;
    Ok(created(&made))
}

pub(super) async fn finish_rotation(
    request: FromAdmin<CredentialsWrite>,
    server: Data<AuthServer>,
    names: Names,
) -> Result<HttpResponse, Problem> {
    let (client, old) = names.into_inner();
    let new = credentials::finish_rotation(&server, &request.admin, &client, &old).await?;
    Ok(HttpResponse::Ok().json(new))
}

pub(super) async fn cancel_rotation(
    request: FromAdmin<CredentialsWrite>,
    server: Data<AuthServer>,
    names: Names,
) -> Result<HttpResponse, Problem> {
    let (client, old) = names.into_inner();
    credentials::cancel_rotation(&server, &request.admin, &client, &old).await?;
    Ok(HttpResponse::NoContent().finish())
}

pub(super) async fn compromised(
    request: FromAdmin<CredentialsWrite>,
    server: Data<AuthServer>,
    names: Names,
) -> Result<HttpResponse, Problem> {
    let (client, id) = names.into_inner();
    credentials::compromised(&server, &request.admin, &client, &id).await?;
    Ok(HttpResponse::NoContent().finish())
}
