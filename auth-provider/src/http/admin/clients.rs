//! `/admin/v1/clients`

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path},
};
use m2m::service::Problem;

use super::{
    etag,
    from_admin::{FromAdmin, Json, OnlyQuery, created},
    listing::{Query, text},
};
use crate::{
    built_in::{ClientsRead, ClientsWrite},
    client::ClientStatus,
    registry::{
        Client, ClientFilter,
        clients::{self, ClientChange, NewClient},
        commit::Refusal,
        views::ClientView,
    },
    server::AuthServer,
};

pub(super) async fn list(
    _: FromAdmin<ClientsRead, OnlyQuery>,
    server: Data<AuthServer>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let mut query = Query::read(&request, &["status", "prefix", "name"])?;
    let status = |text: String| ClientStatus::parse(&text).ok_or("write active or inactive");
    let filter = ClientFilter {
        status: query.filter("status", status)?,
        prefix: query.filter("prefix", text(128))?,
        name: query.filter("name", text(200))?,
    };
    let rows = server.store.clients(&filter, &query.after, query.rows());
    let rows = rows.await.map_err(Refusal::from)?;
    let position = |client: &Client| client.id.to_string();
    let page = query.page("clients", &rows, to_value, position);
    Ok(HttpResponse::Ok().json(page))
}

fn to_value(client: &Client) -> serde_json::Value {
    serde_json::json!(ClientView::from(client))
}

pub(super) async fn add(
    request: FromAdmin<ClientsWrite, Json<NewClient>>,
    server: Data<AuthServer>,
) -> Result<HttpResponse, Problem> {
    let Json(wish) = request.body;
    let made = clients::add(&server, &request.admin, wish, request.idempotency.as_ref()).await?;
    Ok(created(&made))
}

pub(super) async fn show(
    _: FromAdmin<ClientsRead>,
    server: Data<AuthServer>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    Ok(shown(&clients::read(&server, &id).await?))
}

pub(super) async fn edit(
    request: FromAdmin<ClientsWrite, Json<ClientChange>>,
    server: Data<AuthServer>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let Json(wish) = &request.body;
    let client = clients::edit(&server, &request.admin, &id, wish, &request.expected).await?;
    Ok(shown(&client))
}

pub(super) async fn remove(
    request: FromAdmin<ClientsWrite>,
    server: Data<AuthServer>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    clients::remove(&server, &request.admin, &id, &request.expected).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn shown(client: &Client) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header(etag(client.version.as_str()))
        .json(ClientView::from(client))
}
