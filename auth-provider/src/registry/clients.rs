//! Clients: made, changed, switched off, removed.

use std::collections::BTreeMap;

use m2m::service::given;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Client, Profile, Version,
    change::{Change, NewCredential},
    commit::{Admin, Created, Draft, Expected, Idempotency, Refusal, change, create},
    values::{Description, Metadata, MetadataChange, Name},
    views::ClientView,
};
use crate::{
    audit::{Action, Event},
    built_in::ADMIN,
    client::{ClientId, ClientStatus, CredentialId, Secret, random_id},
    metadata::{self, MAX_BYTES, MAX_KEYS},
    revocation::Revoked,
    server::AuthServer,
    texts::default_name,
};

/// What a new client is to be. All of it can be left out.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewClient {
    #[serde(deserialize_with = "given")]
    client_id: Option<ClientId>,
    #[serde(deserialize_with = "given")]
    name: Option<Name>,
    #[serde(deserialize_with = "given")]
    description: Option<Description>,
    #[serde(deserialize_with = "given")]
    status: Option<ClientStatus>,
    metadata: Metadata,
}

/// What is to be different. What is left out stays.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientChange {
    #[serde(deserialize_with = "given")]
    pub name: Option<Name>,
    #[serde(deserialize_with = "given")]
    pub description: Option<Description>,
    #[serde(deserialize_with = "given")]
    pub status: Option<ClientStatus>,
    pub metadata: MetadataChange,
}

impl NewClient {
    /// With this id, name and metadata; what is `None` is made up.
    pub fn of(client_id: Option<ClientId>, name: Option<Name>, metadata: Metadata) -> Self {
        Self {
            client_id,
            name,
            metadata,
            ..Self::default()
        }
    }

    /// What is to be kept of it, with an id.
    pub(super) fn described(self) -> Result<(ClientId, Profile), Refusal> {
        let id = match self.client_id {
            Some(id) => id,
            None => ClientId::parse(&random_id()).expect("random ids are client ids"),
        };
        let name = self.name.map(String::from);
        let profile = Profile {
            name: name.unwrap_or_else(|| default_name(id.as_str())),
            description: self.description.map(String::from).unwrap_or_default(),
            status: self.status.unwrap_or(ClientStatus::Active),
            metadata: small(self.metadata.0)?,
        };
        Ok((id, profile))
    }
}

impl ClientChange {
    /// Another name, and this of the metadata: `None` removes the key.
    pub fn of(name: Name, metadata: BTreeMap<String, Option<Value>>) -> Self {
        Self {
            name: Some(name),
            metadata: MetadataChange(metadata),
            ..Self::default()
        }
    }
}

/// The client of this id, as a path has it.
///
/// # Errors
/// When there is none.
pub async fn read(server: &AuthServer, id: &str) -> Result<Client, Refusal> {
    let unknown = || Refusal::not_found("there is no client with this id: list the clients");
    let id = ClientId::parse(id).map_err(|_| unknown())?;
    server.store.client(&id).await?.ok_or_else(unknown)
}

/// Makes a client with its first secret. It may call nothing until a grant says so.
///
/// # Errors
/// When its id is taken, or it would be too much.
pub async fn add(
    server: &AuthServer,
    admin: &Admin,
    wish: NewClient,
    idempotency: Option<&Idempotency>,
) -> Result<Created, Refusal> {
    let (id, profile) = wish.described()?;
    create(server, idempotency, async || {
        let made = addition(server, admin, &id, &profile).await?;
        Ok(Draft {
            answer: created(&made),
            changes: made.changes,
            events: made.events,
        })
    })
    .await
}

/// The part of a change that adds a client, with what it is answered to who asked.
pub(super) struct Addition {
    pub(super) client: Client,
    pub(super) credential: CredentialId,
    pub(super) secret: Secret,
    pub(super) changes: Vec<Change>,
    pub(super) events: Vec<Event>,
}

/// A client that is not there yet, with its first secret.
pub(super) async fn addition(
    server: &AuthServer,
    admin: &Admin,
    id: &ClientId,
    profile: &Profile,
) -> Result<Addition, Refusal> {
    if server.store.client(id).await?.is_some() {
        let why = format!("there is a client {id} already: choose another id, or change it");
        return Err(Refusal::does_not_fit("client_id", why));
    }
    let (now, secret) = (server.clock.now(), Secret::generate());
    let credential = NewCredential::of(id, "", &secret, now);
    let event = |action| Event::done(action, now, &admin.origin).client(id);
    let client = Client {
        id: id.clone(),
        profile: profile.clone(),
        managed_by: None,
        created_at: now,
        updated_at: now,
        last_used_at: None,
        version: Version::generate(),
    };
    Ok(Addition {
        events: vec![
            event(Action::ClientCreated),
            event(Action::CredentialCreated).credential(&credential.id),
        ],
        credential: credential.id,
        changes: vec![
            Change::AddClient {
                id: id.clone(),
                profile: profile.clone(),
                managed_by: None,
                version: client.version.clone(),
                at: now,
            },
            Change::AddCredential(credential),
        ],
        client,
        secret,
    })
}

fn created(made: &Addition) -> Created {
    let client = &made.client;
    let mut body = json!(ClientView::from(client));
    body["credential_id"] = Value::from(made.credential.as_str());
    body["client_secret"] = Value::from(made.secret.expose());
    Created {
        location: format!("/admin/v1/clients/{}", client.id),
        version: Some(client.version.as_str().to_owned()),
        body,
    }
}

/// Changes a client. Switched off, it gets no token, and those that it has are taken back.
///
/// # Errors
/// When it is not there, is built in, or was changed since the caller looked.
pub async fn edit(
    server: &AuthServer,
    admin: &Admin,
    id: &str,
    wish: &ClientChange,
    expected: &Expected,
) -> Result<Client, Refusal> {
    change(server, async || {
        let before = read(server, id).await?;
        expected.check(&before.version)?;
        refuse_built_in(&before.id)?;
        changed(server, admin, &before, wish).await
    })
    .await
}

/// The part of a change that makes of a client what is wished: nothing when it is that already.
pub(super) async fn changed(
    server: &AuthServer,
    admin: &Admin,
    before: &Client,
    wish: &ClientChange,
) -> Result<Draft<Client>, Refusal> {
    let mut client = before.clone();
    apply(wish, &mut client.profile)?;
    if client.profile == before.profile {
        return Ok(Draft::nothing().answering(client));
    }
    refuse_built_in(&before.id)?;
    if before.profile.status != client.profile.status
        && client.profile.status == ClientStatus::Active
    {
        admin.must_equal(server, &client.id).await?;
    }
    let now = server.clock.now();
    (client.version, client.updated_at) = (Version::generate(), now);
    let mut changes = vec![Change::ChangeClient {
        id: client.id.clone(),
        profile: client.profile.clone(),
        expected: before.version.clone(),
        version: client.version.clone(),
        at: now,
    }];
    if client.profile.status == ClientStatus::Inactive
        && before.profile.status == ClientStatus::Active
    {
        changes.push(Revoked::Client(client.id.clone()).at(now));
    }
    let event = Event::done(Action::ClientChanged, now, &admin.origin)
        .client(&client.id)
        .explained(told(&before.profile, &client.profile));
    Ok(Draft {
        changes,
        events: vec![event],
        answer: client,
    })
}

pub(crate) fn apply(wish: &ClientChange, profile: &mut Profile) -> Result<(), Refusal> {
    let wish = wish.clone();
    if let Some(name) = wish.name {
        profile.name = name.into();
    }
    if let Some(description) = wish.description {
        profile.description = description.into();
    }
    if let Some(status) = wish.status {
        profile.status = status;
    }
    for (key, value) in wish.metadata.0 {
        match value {
            Some(value) => drop(profile.metadata.insert(key, value)),
            None => drop(profile.metadata.remove(&key)),
        }
    }
    profile.metadata = small(std::mem::take(&mut profile.metadata))?;
    Ok(())
}

/// What is different, by name: the values are the administrators' own affair.
pub(crate) fn told(before: &Profile, after: &Profile) -> String {
    let mut changed = Vec::new();
    if before.status != after.status {
        changed.push(format!("the status is {} now", after.status.as_str()));
    }
    for (what, differs) in [
        ("the name", before.name != after.name),
        ("the description", before.description != after.description),
        ("the metadata", before.metadata != after.metadata),
    ] {
        if differs {
            changed.push(format!("{what} changed"));
        }
    }
    changed.join(", ")
}

pub(crate) fn small(metadata: metadata::Metadata) -> Result<metadata::Metadata, Refusal> {
    let bytes = metadata::size(&metadata);
    let why = if metadata.len() > MAX_KEYS {
        format!("the client would have more than {MAX_KEYS} keys: remove some with null")
    } else if bytes > MAX_BYTES {
        format!("keys and values would have {bytes} bytes in all: at most {MAX_BYTES} fit")
    } else {
        return Ok(metadata);
    };
    Err(Refusal::TooMuch {
        field: "metadata",
        why,
    })
}

/// Removes a client with its credentials and grants, and takes its tokens back.
///
/// # Errors
/// When it is not there, is built in, may more than the administrator, or was changed since the caller looked.
pub async fn remove(
    server: &AuthServer,
    admin: &Admin,
    id: &str,
    expected: &Expected,
) -> Result<(), Refusal> {
    change(server, async || {
        let graph = server.store.graph_version().await?;
        let client = read(server, id).await?;
        expected.check(&client.version)?;
        refuse_built_in(&client.id)?;
        if admin.origin.actor.as_ref() != Some(&client.id) {
            admin.must_equal(server, &client.id).await?;
        }
        let now = server.clock.now();
        Ok(Draft {
            events: vec![Event::done(Action::ClientDeleted, now, &admin.origin).client(&client.id)],
            changes: vec![
                Change::Graph { expected: graph },
                Revoked::Client(client.id.clone()).at(now),
                Change::RemoveClient {
                    id: client.id,
                    expected: client.version,
                },
            ],
            answer: (),
        })
    })
    .await
}

fn refuse_built_in(id: &ClientId) -> Result<(), Refusal> {
    if id.as_str() == ADMIN {
        let why = "the client admin is built in: it can get other credentials, and nothing else";
        return Err(Refusal::conflict(why));
    }
    Ok(())
}
