//! What an administrator takes back: all tokens of a client, a credential or a grant, or a signing key.

use std::{slice::from_ref, sync::Arc};

use m2m::service::given;
use serde::Deserialize;

use crate::{
    audit::{Action, Event, Origin},
    client::{ClientId, CredentialId},
    keys::KeyError,
    resource::ResourceId,
    revocation::{Revoked, of_unknown_credential},
    server::AuthServer,
    storage::StoreError,
};

/// Whose tokens are taken back, in an administrator's words.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wish {
    #[serde(deserialize_with = "given")]
    client_id: Option<String>,
    #[serde(deserialize_with = "given")]
    resource: Option<String>,
    #[serde(deserialize_with = "given")]
    credential: Option<String>,
}

impl Wish {
    /// All tokens of this client.
    pub fn of_client(id: String) -> Self {
        Self {
            client_id: Some(id),
            ..Self::default()
        }
    }
}

/// Why nothing was taken back.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("name a client_id, a client_id and a resource, or a credential")]
    Unclear,
    #[error("there is no client with this id")]
    NoSuchClient,
    #[error("there is no resource with this id")]
    NoSuchResource,
    #[error("the key cannot be withdrawn")]
    Key(#[from] KeyError),
    #[error("the store did not answer")]
    Store(#[from] StoreError),
}

/// Takes back every token that fits the wish and was issued until now. Of a credential, these are also the tokens of its
/// client that do not say with which credential they were obtained.
///
/// # Errors
/// When the wish is unclear, or it cannot be kept. A client and a resource have to exist, so that a slip of the pen is
/// noticed; a credential need not any more.
pub async fn revoke_all(
    server: &AuthServer,
    origin: &Origin,
    wish: Wish,
) -> Result<Revoked, Failure> {
    let revoked = match (wish.client_id, wish.resource, wish.credential) {
        (Some(client), None, None) => Revoked::Client(known(server, &client).await?),
        (Some(client), Some(resource), None) => {
            let resource = ResourceId::parse(&resource).map_err(|_| Failure::Unclear)?;
            let client = known(server, &client).await?;
            let found = server.store.resource(&resource).await?;
            found.ok_or(Failure::NoSuchResource)?;
            Revoked::Grant(client, resource)
        }
        (None, None, Some(credential)) => {
            Revoked::Credential(CredentialId::parse(&credential).ok_or(Failure::Unclear)?)
        }
        _ => return Err(Failure::Unclear),
    };
    let event = Event::done(Action::TokensRevoked, server.clock.now(), origin);
    let event = match &revoked {
        Revoked::Client(client) => event.client(client),
        Revoked::Grant(client, resource) => event.client(client).resource(resource),
        Revoked::Credential(credential) => event.credential(credential),
        Revoked::Token { .. } | Revoked::Key(_) => event, // not what a wish can name
    };
    let mut all = vec![revoked.clone()];
    if let Revoked::Credential(credential) = &revoked
        && let Some(client) = server.store.client_of(credential).await?
    {
        all.extend(of_unknown_credential(server.store.as_ref(), &client).await?);
    }
    add(server, all, &event).await?;
    Ok(revoked)
}

/// Withdraws a signing key at once, and tells those who hold a key set with it. False when there is no such key.
///
/// # Errors
/// When it cannot be kept. Asking again goes on where it ended.
pub async fn withdraw_key(
    server: &AuthServer,
    origin: &Origin,
    kid: &str,
) -> Result<bool, Failure> {
    let event = |action| Event::done(action, server.clock.now(), origin);
    // It is written only if there is such a key: until then the name is the caller's text.
    let left = format!("The key {kid} left the key set and signs nothing more");
    let compromised = event(Action::KeyCompromised).explained(left);
    let found = server.keys.compromise(kid, &compromised).await?;
    if found {
        let told = format!("Verifiers are told that all that the key {kid} signed is void");
        let told = event(Action::TokensRevoked).explained(told);
        add(server, vec![Revoked::Key(kid.to_owned())], &told).await?;
    }
    Ok(found)
}

async fn known(server: &AuthServer, client: &str) -> Result<ClientId, Failure> {
    let id = ClientId::parse(client).map_err(|_| Failure::NoSuchClient)?;
    let record = server.store.client_record(&id).await?;
    record.map(|_| id).ok_or(Failure::NoSuchClient)
}

async fn add(server: &AuthServer, revoked: Vec<Revoked>, event: &Event) -> Result<(), StoreError> {
    let now = server.clock.now();
    let changes: Vec<_> = revoked.into_iter().map(|what| what.at(now)).collect();
    let revocations = Arc::clone(&server.revocations);
    revocations
        .add(&server.store, changes, event.clone())
        .await?;
    server.metrics.count(from_ref(event));
    Ok(())
}
