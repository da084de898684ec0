//! `/v1/m2m/clients`: HTTP in, HTTP out.

use actix_web::{HttpResponse, web::Data};
use serde_json::{Value, json};

use super::{answer, bodies::OnlyTheClient, error::Refused, from_project::FromProject};
use crate::{
    projects::{self, ManagedClient, NewClient, Update, WithSecret},
    server::AuthServer,
};

/// `POST /v1/m2m/clients`
pub(super) async fn create(
    server: Data<AuthServer>,
    mut request: FromProject<NewClient>,
) -> Result<HttpResponse, Refused> {
    let wish = std::mem::take(&mut request.body);
    let made = projects::create(&server, &request.project, wish).await;
    let made = made.map_err(|refusal| request.refused(refusal))?;
    Ok(shown(&request, &with_secret(&made, "client_secret")))
}

/// `GET /v1/m2m/clients/{client_id}`
pub(super) async fn show(
    server: Data<AuthServer>,
    request: FromProject,
) -> Result<HttpResponse, Refused> {
    let client = projects::get(&server, &request.project, &request.client_id).await;
    let client = client.map_err(|refusal| request.refused(refusal))?;
    Ok(shown(&request, &view(&client)))
}

/// `PUT /v1/m2m/clients/{client_id}`: what is left out stays.
pub(super) async fn update(
    server: Data<AuthServer>,
    request: FromProject<Update>,
) -> Result<HttpResponse, Refused> {
    let (project, id) = (&request.project, &request.client_id);
    let client = projects::update(&server, project, id, &request.body).await;
    let client = client.map_err(|refusal| request.refused(refusal))?;
    Ok(shown(&request, &view(&client)))
}

/// `DELETE /v1/m2m/clients/{client_id}`
pub(super) async fn remove(
    server: Data<AuthServer>,
    request: FromProject,
) -> Result<HttpResponse, Refused> {
    let removed = projects::remove(&server, &request.project, &request.client_id).await;
    let id = removed.map_err(|refusal| request.refused(refusal))?;
    let members = json!({"client_id": id.as_str()});
    Ok(answer(request.request_id(), members))
}

/// `POST /v1/m2m/clients/{client_id}/secrets/rotate/start`
pub(super) async fn start_rotation(
    server: Data<AuthServer>,
    request: FromProject<OnlyTheClient>,
) -> Result<HttpResponse, Refused> {
    let made = projects::start_rotation(&server, &request.project, &request.client_id).await;
    let made = made.map_err(|refusal| request.refused(refusal))?;
    Ok(shown(&request, &with_secret(&made, "next_client_secret")))
}

/// `POST /v1/m2m/clients/{client_id}/secrets/rotate`
pub(super) async fn finish_rotation(
    server: Data<AuthServer>,
    request: FromProject<OnlyTheClient>,
) -> Result<HttpResponse, Refused> {
    let client = projects::finish_rotation(&server, &request.project, &request.client_id).await;
    let client = client.map_err(|refusal| request.refused(refusal))?;
    Ok(shown(&request, &view(&client)))
}

/// `POST /v1/m2m/clients/{client_id}/secrets/rotate/cancel`
pub(super) async fn cancel_rotation(
    server: Data<AuthServer>,
    request: FromProject<OnlyTheClient>,
) -> Result<HttpResponse, Refused> {
    let client = projects::cancel_rotation(&server, &request.project, &request.client_id).await;
    let client = client.map_err(|refusal| request.refused(refusal))?;
    Ok(shown(&request, &view(&client)))
}

fn shown<B>(request: &FromProject<B>, client: &Value) -> HttpResponse {
    answer(request.request_id(), json!({"m2m_client": client}))
}

/// A client without its secrets. Typed libraries want every member, and a text in all but the last.
pub(super) fn view(client: &ManagedClient) -> Value {
    json!({
        "client_id": client.id.as_str(),
        "client_name": client.name,
        "client_description": client.description,
        "status": client.status.as_str(),
        "scopes": client.scopes.iter().collect::<Vec<_>>(),
        "client_secret_last_four": client.last_four,
        "trusted_metadata": client.metadata,
        "next_client_secret_last_four": client.next_last_four,
    })
}

fn with_secret(made: &WithSecret, name: &str) -> Value {
    let mut view = view(&made.client);
    view[name] = Value::from(made.secret.expose());
    view
}
