//! `/admin/v1/grants`

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
    built_in::{GrantsRead, GrantsWrite},
    client::ClientId,
    registry::{
        Arrow, GrantFilter,
        commit::Refusal,
        grants::{self, GrantChange, NewGrant},
        views::GrantView,
    },
    resource::ResourceId,
    server::AuthServer,
};

/// A client and a resource.
type Names = Path<(String, String)>;

pub(super) async fn list(
    _: FromAdmin<GrantsRead, OnlyQuery>,
    server: Data<AuthServer>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let mut query = Query::read(&request, &["client_id", "resource"])?;
    let filter = GrantFilter {
        client: query.filter("client_id", |text| ClientId::parse(&text))?,
        resource: query.filter("resource", |text| ResourceId::parse(&text))?,
    };
    let after = query.after.split_once('\n').unwrap_or((&query.after, ""));
    let rows = server.store.grants(&filter, after, query.rows()).await;
    let rows = rows.map_err(Refusal::from)?;
    let view = |arrow: &Arrow| json!(GrantView::from(arrow));
    let position = |arrow: &Arrow| format!("{}\n{}", arrow.client, arrow.resource);
    Ok(HttpResponse::Ok().json(query.page("grants", &rows, view, position)))
}

pub(super) async fn add(
    request: FromAdmin<GrantsWrite, Json<NewGrant>>,
    server: Data<AuthServer>,
) -> Result<HttpResponse, Problem> {
    let Json(wish) = request.body;
    let made = grants::add(&server, &request.admin, wish, request.idempotency.as_ref()).await?;
    Ok(created(&made))
}

pub(super) async fn show(
    _: FromAdmin<GrantsRead>,
    server: Data<AuthServer>,
    names: Names,
) -> Result<HttpResponse, Problem> {
    let (client, resource) = names.into_inner();
    Ok(shown(&grants::read(&server, &client, &resource).await?))
}

pub(super) async fn edit(
    request: FromAdmin<GrantsWrite, Json<GrantChange>>,
    server: Data<AuthServer>,
    names: Names,
) -> Result<HttpResponse, Problem> {
    let ((client, resource), Json(wish)) = (names.into_inner(), &request.body);
    let names = (client.as_str(), resource.as_str());
    let arrow = grants::edit(&server, &request.admin, names, wish, &request.expected).await?;
    Ok(shown(&arrow))
}

pub(super) async fn remove(
    request: FromAdmin<GrantsWrite>,
    server: Data<AuthServer>,
    names: Names,
) -> Result<HttpResponse, Problem> {
    let (client, resource) = names.into_inner();
    let names = (client.as_str(), resource.as_str());
    grants::remove(&server, &request.admin, names, &request.expected).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn shown(arrow: &Arrow) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header(etag(arrow.version.as_str()))
        .json(GrantView::from(arrow))
}
