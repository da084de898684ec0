//! Why something is allowed or not: what the registry knows, put before [`explain`].

use m2m::{ScopeSet, service::given};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{values::ScopeList, views::GrantView};
use crate::{
    client::{ClientId, ClientRecord},
    explain::{Explanation, KnownResource, explain, resource_in_question},
    policy::Wish,
    resource::ResourceId,
    server::AuthServer,
    storage::StoreError,
};

/// What an administrator asks: would this client get a token for that?
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    client_id: ClientId,
    #[serde(default, deserialize_with = "given")]
    resource: Option<ResourceId>,
    /// Separated by spaces, as in a token request.
    #[serde(default, deserialize_with = "given")]
    scope: Option<ScopeList>,
}

/// The answer.
#[derive(Serialize)]
pub struct Answer {
    allowed: bool,
    code: &'static str,
    explanation: String,
    /// The grant that the question is about, if there is one.
    grant: Option<Value>,
}

/// Explains what a token request would be answered just now.
///
/// # Errors
/// When the store does not answer.
pub async fn answer(server: &AuthServer, question: Question) -> Result<Answer, StoreError> {
    let record = server.store.client_record(&question.client_id).await?;
    let wish = Wish {
        resource: question.resource.map(|id| id.to_string()),
        scopes: question.scope.map(|list| list.0),
    };
    let explanation = explained(server, record.as_ref(), &wish).await?;
    let arrow = match (&record, &explanation.resource) {
        (Some(client), Some(resource)) => server.store.grant(&client.id, resource).await?,
        _ => None,
    };
    Ok(Answer {
        allowed: explanation.allowed,
        code: explanation.code,
        explanation: explanation.sentence,
        grant: arrow.map(|arrow| json!(GrantView::from(&arrow))),
    })
}

/// The same for a client that is known, and a wish that it came with.
///
/// # Errors
/// When the store does not answer.
pub async fn explained(
    server: &AuthServer,
    client: Option<&ClientRecord>,
    wish: &Wish,
) -> Result<Explanation, StoreError> {
    let now = server.clock.now();
    let Some(id) = resource_in_question(client, wish, now) else {
        return Ok(explain(client, wish, None, now));
    };
    let (resource, arrow) = match client {
        Some(client) => (
            server.store.resource(&id).await?,
            server.store.grant(&client.id, &id).await?,
        ),
        None => (None, None),
    };
    let scopes = resource
        .as_ref()
        .and_then(|resource| ScopeSet::from_tokens(resource.settings.scopes.keys()).ok());
    let known = scopes.as_ref().map(|scopes| KnownResource {
        id: &id,
        scopes,
        reason: arrow.as_ref().map_or("", |arrow| &arrow.terms.reason),
    });
    Ok(explain(client, wish, known, now))
}
