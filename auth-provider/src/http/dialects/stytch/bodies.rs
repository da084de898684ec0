//! What administrators of a project send. A null counts as left out, since libraries send one for what they were not given;
//! and they send `client_id` along where the path names it.

use actix_web::{HttpRequest, dev::Payload, web::Bytes};
use m2m::service::{media_type, read_body, read_object};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::error::Refused;
use crate::{
    client::{ClientId, ClientStatus},
    projects::{ChosenSecret, NewClient, Update as Wish},
    registry::{
        clients::ClientChange,
        values::{Description, Metadata, MetadataChange, Name, ScopeNames},
    },
};

/// A body that a handler understands.
pub(super) trait ProjectBody: Sized {
    /// `client_id` is the client that the path names, if it names one.
    fn read(
        request: &HttpRequest,
        payload: &mut Payload,
        client_id: &str,
    ) -> impl Future<Output = Result<Self, Refused>>;
}

/// What is sent is not looked at.
impl ProjectBody for () {
    async fn read(_: &HttpRequest, _: &mut Payload, _: &str) -> Result<Self, Refused> {
        Ok(())
    }
}

/// A path where `POST` and a client's id would be one.
const RESERVED: &str = "search";

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Create {
    client_id: Option<ClientId>,
    client_secret: Option<ChosenSecret>,
    client_name: Option<MaybeName>,
    client_description: Option<Description>,
    scopes: Option<ScopeNames>,
    trusted_metadata: Option<MetadataChange>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Update {
    client_id: Option<String>,
    client_name: Option<Name>,
    client_description: Option<Description>,
    status: Option<ClientStatus>,
    scopes: Option<ScopeNames>,
    trusted_metadata: Option<MetadataChange>,
}

/// A body that says nothing which the path does not say.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct OnlyTheClient {
    client_id: Option<String>,
}

/// An object within a body. What serde derives would take a list, too, member by position.
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(object: D) -> Result<Self, D::Error> {
        let members = Map::deserialize(object)?;
        let read = T::deserialize(Value::Object(members));
        read.map(Self).map_err(serde::de::Error::custom)
    }
}

/// A name, or the empty text, which is none.
struct MaybeName(Option<Name>);

impl<'de> Deserialize<'de> for MaybeName {
    fn deserialize<D: Deserializer<'de>>(text: D) -> Result<Self, D::Error> {
        let text = String::deserialize(text)?;
        let name = (!text.is_empty()).then(|| Name::try_from(text)).transpose();
        name.map(Self).map_err(serde::de::Error::custom)
    }
}

impl ProjectBody for NewClient {
    async fn read(request: &HttpRequest, payload: &mut Payload, _: &str) -> Result<Self, Refused> {
        let body: Create = json(&bytes(request, payload).await?)?;
        if body
            .client_id
            .as_ref()
            .is_some_and(|id| id.as_str() == RESERVED)
        {
            return Err(Refused::bad_request(
                "client_id: this one is a path of the API: choose another",
            ));
        }
        Ok(Self {
            id: body.client_id,
            secret: body.client_secret,
            name: body.client_name.and_then(|MaybeName(name)| name),
            description: body.client_description,
            scopes: body
                .scopes
                .map(|ScopeNames(scopes)| scopes)
                .unwrap_or_default(),
            metadata: without_nulls(body.trusted_metadata.unwrap_or_default()),
        })
    }
}

impl ProjectBody for Wish {
    async fn read(
        request: &HttpRequest,
        payload: &mut Payload,
        client_id: &str,
    ) -> Result<Self, Refused> {
        let body: Update = json(&bytes(request, payload).await?)?;
        same_client(body.client_id.as_deref(), client_id)?;
        Ok(Self {
            client: ClientChange {
                name: body.client_name,
                description: body.client_description,
                status: body.status,
                metadata: body.trusted_metadata.unwrap_or_default(),
            },
            scopes: body.scopes.map(|ScopeNames(scopes)| scopes),
        })
    }
}

impl ProjectBody for OnlyTheClient {
    async fn read(
        request: &HttpRequest,
        payload: &mut Payload,
        client_id: &str,
    ) -> Result<Self, Refused> {
        let body: Self = maybe_json(request, payload).await?;
        same_client(body.client_id.as_deref(), client_id)?;
        Ok(body)
    }
}

/// What is to be removed from a new client is not there in the first place.
fn without_nulls(MetadataChange(change): MetadataChange) -> Metadata {
    let entries = change.into_iter();
    Metadata(
        entries
            .filter_map(|(key, value)| Some((key, value?)))
            .collect(),
    )
}

fn same_client(in_body: Option<&str>, in_path: &str) -> Result<(), Refused> {
    match in_body {
        Some(other) if other != in_path => Err(Refused::bad_request(
            "client_id: the body names another client than the path: leave it out",
        )),
        _ => Ok(()),
    }
}

/// A JSON object, or nothing at all, which is the empty object.
pub(super) async fn maybe_json<T: DeserializeOwned + Default>(
    request: &HttpRequest,
    payload: &mut Payload,
) -> Result<T, Refused> {
    let body = bytes(request, payload).await?;
    if body.is_empty() {
        return Ok(T::default());
    }
    json(&body)
}

fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    Ok(read_object(body)?)
}

async fn bytes(request: &HttpRequest, payload: &mut Payload) -> Result<Bytes, Refused> {
    let body = read_body(request, payload).await;
    let body = body.map_err(|error| Refused::body(error.status(), error.to_string()))?;
    if body.is_empty() || media_type(request).as_deref() == Some("application/json") {
        return Ok(body);
    }
    Err(Refused::bad_request(
        "send the body as JSON, with the header Content-Type: application/json",
    ))
}
