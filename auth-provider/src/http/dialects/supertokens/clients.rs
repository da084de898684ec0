//! `/recipe/oauth/clients`: clients, and what they may call, in one object.

use actix_web::{HttpResponse, web::Data};
use serde_json::{Value, json};

use super::{
    answer::{Refused, ok},
    api_key::{ChangeClients, FromApiKey, Query, SeeClients},
    fields::{self, Page, Wish},
};
use crate::{
    registry::{
        client_with_grants as registry, clients,
        commit::{Expected, Refusal},
    },
    server::AuthServer,
};

/// `GET /recipe/oauth/clients?clientId=…`
pub(super) async fn show(
    server: Data<AuthServer>,
    request: FromApiKey<SeeClients, Query>,
) -> Result<HttpResponse, Refused> {
    let Query(mut query) = request.body;
    let id = fields::client_id(&mut query)?;
    query.nothing_else()?;
    Ok(ok(fields::shown(&registry::read(&server, &id).await?)))
}

/// `GET /recipe/oauth/clients/list`
pub(super) async fn list(
    server: Data<AuthServer>,
    request: FromApiKey<SeeClients, Query>,
) -> Result<HttpResponse, Refused> {
    let page = Page::read(request.body.0)?;
    // One row more than the page has, when there is another page.
    let rows = registry::list(&server, &page.filter, &page.after, page.size + 1).await?;
    let shown = &rows[..rows.len().min(page.size)];
    let mut answer = json!({"clients": shown.iter().map(fields::shown).collect::<Vec<_>>()});
    if let Some(last) = shown.last().filter(|_| rows.len() > page.size) {
        answer["nextPaginationToken"] = Value::from(last.client.id.as_str());
    }
    Ok(ok(answer))
}

/// `POST /recipe/oauth/clients`. The secret is in this answer and in no other.
pub(super) async fn create(
    server: Data<AuthServer>,
    request: FromApiKey<ChangeClients>,
) -> Result<HttpResponse, Refused> {
    let (wish, calls) = Wish::read(request.body)?.new_client()?;
    let (made, secret) = registry::add(&server, &request.admin, wish, &calls).await?;
    let mut answer = fields::shown(&made);
    answer["clientSecret"] = Value::from(secret.expose());
    Ok(ok(answer))
}

/// `PUT /recipe/oauth/clients`. What is left out stays.
pub(super) async fn update(
    server: Data<AuthServer>,
    request: FromApiKey<ChangeClients>,
) -> Result<HttpResponse, Refused> {
    let mut body = request.body;
    let id = fields::client_id(&mut body)?;
    let before = registry::read(&server, &id).await?;
    let (wish, calls) = Wish::read(body)?.change_of(&before)?;
    let client = registry::edit(&server, &request.admin, &id, &wish, &calls).await?;
    Ok(ok(fields::shown(&client)))
}

/// `POST /recipe/oauth/clients/remove`. Who is gone already is no error there.
pub(super) async fn remove(
    server: Data<AuthServer>,
    request: FromApiKey<ChangeClients>,
) -> Result<HttpResponse, Refused> {
    let mut body = request.body;
    let id = fields::client_id(&mut body)?;
    body.nothing_else()?;
    let removed = clients::remove(&server, &request.admin, &id, &Expected::Any).await;
    let did_exist = match removed {
        Ok(()) => true,
        Err(Refusal::NotFound { .. }) => false,
        Err(refusal) => return Err(refusal.into()),
    };
    Ok(ok(json!({"didExist": did_exist})))
}
