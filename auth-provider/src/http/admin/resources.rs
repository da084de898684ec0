//! `/admin/v1/resources`

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path},
};
use m2m::service::Problem;
use serde_json::json;

use super::{
    etag,
    from_admin::{FromAdmin, Json, OnlyQuery, created},
    listing::Query,
};
use crate::{
    built_in::{ResourcesRead, ResourcesWrite},
    registry::{
        Resource,
        commit::Refusal,
        resources::{self, NewResource, ResourceChange},
        views::ResourceView,
    },
    server::AuthServer,
};

pub(super) async fn list(
    _: FromAdmin<ResourcesRead, OnlyQuery>,
    server: Data<AuthServer>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let query = Query::read(&request, &[])?;
    let rows = server.store.resources(&query.after, query.rows()).await;
    let rows = rows.map_err(Refusal::from)?;
    let view = |resource: &Resource| json!(ResourceView::from(resource));
    let position = |resource: &Resource| resource.id.to_string();
    Ok(HttpResponse::Ok().json(query.page("resources", &rows, view, position)))
}

pub(super) async fn add(
    request: FromAdmin<ResourcesWrite, Json<NewResource>>,
    server: Data<AuthServer>,
) -> Result<HttpResponse, Problem> {
    let Json(wish) = request.body;
    let made = resources::add(&server, &request.admin, wish, request.idempotency.as_ref()).await?;
    Ok(created(&made))
}

pub(super) async fn show(
    _: FromAdmin<ResourcesRead>,
    server: Data<AuthServer>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    Ok(shown(&resources::read(&server, &id).await?))
}

pub(super) async fn edit(
    request: FromAdmin<ResourcesWrite, Json<ResourceChange>>,
    server: Data<AuthServer>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let Json(wish) = &request.body;
    let resource = resources::edit(&server, &request.admin, &id, wish, &request.expected).await?;
    Ok(shown(&resource))
}

pub(super) async fn remove(
    request: FromAdmin<ResourcesWrite>,
    server: Data<AuthServer>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    resources::remove(&server, &request.admin, &id, &request.expected).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn shown(resource: &Resource) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header(etag(resource.version.as_str()))
        .json(ResourceView::from(resource))
}
