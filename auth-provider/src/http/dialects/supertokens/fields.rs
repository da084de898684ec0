//! The object that SuperTokens calls a client, read and written.
//!
//! Most of its members are about people who log in. They are shown as if nobody had set them, and may be sent back so;
//! with any other value they are refused, since nothing here would come of it.

use std::collections::BTreeMap;

use m2m::ScopeSet;
use serde_json::{Map, Value, json};

use super::answer::Refused;
use crate::{
    client::ClientId,
    error::OAuthError,
    http::params::Params,
    policy_file::shown_time,
    registry::{
        ClientFilter,
        client_with_grants::{Calls, ClientWithGrants},
        clients::{ClientChange, NewClient},
        values::{Metadata, MetadataChange, Name},
    },
    resource::ResourceId,
};

const GRANT_TYPE: &str = "client_credentials";

/// How a client says that it will send its secret. The token endpoint takes it either way.
const BASIC: &str = "client_secret_basic";
const POST: &str = "client_secret_post";

/// Where a client's metadata keeps which of the two it said, as for clients that register themselves.
const AUTH_METHOD: &str = "token_endpoint_auth_method";

/// How many resources one request may name.
const MOST_RESOURCES: usize = 100;

/// The largest page of a list, and the one of who names no size.
const LARGEST_PAGE: usize = 500;
const DEFAULT_PAGE: usize = 100;

/// What is about logins, or about the page on which somebody consents, and how it is shown.
fn of_logins() -> [(&'static str, Value); 17] {
    [
        ("redirectUris", json!([])),
        ("postLogoutRedirectUris", json!([])),
        ("responseTypes", json!([])),
        ("allowedCorsOrigins", json!([])),
        ("clientUri", json!("")),
        ("logoUri", json!("")),
        ("policyUri", json!("")),
        ("tosUri", json!("")),
        ("enableRefreshTokenRotation", json!(false)),
        ("authorizationCodeGrantAccessTokenLifespan", Value::Null),
        ("authorizationCodeGrantIdTokenLifespan", Value::Null),
        ("authorizationCodeGrantRefreshTokenLifespan", Value::Null),
        ("implicitGrantAccessTokenLifespan", Value::Null),
        ("implicitGrantIdTokenLifespan", Value::Null),
        ("refreshTokenGrantAccessTokenLifespan", Value::Null),
        ("refreshTokenGrantIdTokenLifespan", Value::Null),
        ("refreshTokenGrantRefreshTokenLifespan", Value::Null),
    ]
}

/// A client as it is shown: without its secret, which nobody but its owner has.
pub(super) fn shown(found: &ClientWithGrants) -> Value {
    let client = &found.client;
    let mut metadata = client.profile.metadata.clone();
    let method = metadata.remove(AUTH_METHOD);
    let mut shown = json!({
        "clientId": client.id.as_str(),
        "clientName": client.profile.name,
        "scope": found.scopes(),
        "audience": found.resources().map(ResourceId::as_str).collect::<Vec<_>>(),
        "grantTypes": [GRANT_TYPE],
        "tokenEndpointAuthMethod": method.unwrap_or_else(|| BASIC.into()),
        "clientCredentialsGrantAccessTokenLifespan": null,
        "metadata": metadata,
        "createdAt": shown_time(client.created_at),
        "updatedAt": shown_time(client.updated_at),
    });
    for (name, value) in of_logins() {
        shown[name] = value;
    }
    shown
}

/// The `clientId` of a request that is about one client.
pub(super) fn client_id(params: &mut Params) -> Result<String, OAuthError> {
    let id = params.text("clientId")?;
    id.ok_or_else(|| OAuthError::invalid_request("clientId is missing"))
}

/// What a client is to be, as far as this server has a use for it.
pub(super) struct Wish {
    client_id: Option<ClientId>,
    name: Option<Name>,
    method: Option<String>,
    metadata: Option<Map<String, Value>>,
    calls: Calls,
}

impl Wish {
    pub(super) fn read(mut body: Params) -> Result<Self, Refused> {
        let sent = body.json::<Vec<String>>("grantTypes")?.unwrap_or_default();
        if sent.iter().any(|grant| grant != GRANT_TYPE) {
            let why = format!("grantTypes: leave it out, or send a list with {GRANT_TYPE} only");
            return Err(Refused::metadata(why));
        }
        if body.json::<Value>("clientSecret")?.is_some() {
            let why = "clientSecret: leave it out, the server makes secrets that nobody can guess";
            return Err(Refused::metadata(why));
        }
        let life = "clientCredentialsGrantAccessTokenLifespan";
        if body.json::<Value>(life)?.is_some() {
            let why = "leave it out: a grant's token_lifetime says how long its tokens live";
            return Err(Refused::metadata(format!("{life}: {why}")));
        }
        for (name, _) in of_logins() {
            let sent = body.json::<Value>(name)?.unwrap_or_default();
            if ![json!(null), json!([]), json!(""), json!(false)].contains(&sent) {
                let why = format!("{name}: leave it out, nobody logs in here");
                return Err(Refused::metadata(why));
            }
        }
        let method = body.json::<String>("tokenEndpointAuthMethod")?;
        if !matches!(method.as_deref(), None | Some(BASIC | POST)) {
            let why = format!("tokenEndpointAuthMethod: write {BASIC} or {POST}");
            return Err(Refused::metadata(why));
        }
        let resources = body.json::<Vec<ResourceId>>("audience")?;
        if resources
            .as_ref()
            .is_some_and(|list| list.len() > MOST_RESOURCES)
        {
            let why = format!("audience: write at most {MOST_RESOURCES} resources");
            return Err(Refused::metadata(why));
        }
        let wish = Self {
            client_id: body.json("clientId")?,
            name: body.json("clientName")?,
            method,
            metadata: body.json("metadata")?,
            calls: Calls {
                resources,
                scopes: scopes(&mut body)?,
            },
        };
        for shown_only in ["createdAt", "updatedAt", "status"] {
            body.json::<String>(shown_only)?; // who sends back what was read
        }
        body.nothing_else()?;
        Ok(wish)
    }

    pub(super) fn new_client(self) -> Result<(NewClient, Calls), Refused> {
        let mut metadata: BTreeMap<String, Value> = self.metadata.into_iter().flatten().collect();
        metadata.extend(kept(self.method.as_deref()));
        let metadata = Metadata::try_from(metadata);
        let metadata = metadata.map_err(|why| Refused::metadata(format!("metadata: {why}")))?;
        Ok((
            NewClient::of(self.client_id, self.name, metadata),
            self.calls,
        ))
    }

    /// Metadata that is sent takes the place of all that was there.
    pub(super) fn change_of(
        self,
        before: &ClientWithGrants,
    ) -> Result<(ClientChange, Calls), Refused> {
        let mut metadata = BTreeMap::new();
        if let Some(sent) = self.metadata {
            let mut gone = before.client.profile.metadata.clone();
            gone.remove(AUTH_METHOD);
            metadata.extend(gone.into_keys().map(|key| (key, None)));
            metadata.extend(sent.into_iter().map(|(key, value)| (key, Some(value))));
        }
        if self.method.is_some() {
            metadata.insert(AUTH_METHOD.to_owned(), None);
            let kept = kept(self.method.as_deref());
            metadata.extend(kept.map(|(key, value)| (key, Some(value))));
        }
        let metadata = MetadataChange::try_from(metadata);
        let change = ClientChange {
            name: self.name,
            metadata: metadata.map_err(|why| Refused::metadata(format!("metadata: {why}")))?,
            ..ClientChange::default()
        };
        Ok((change, self.calls))
    }
}

/// What is usual is not kept.
fn kept(method: Option<&str>) -> Option<(String, Value)> {
    let method = method.filter(|method| *method != BASIC)?;
    Some((AUTH_METHOD.to_owned(), Value::from(method)))
}

fn scopes(body: &mut Params) -> Result<Option<ScopeSet>, Refused> {
    let Some(text) = body.json::<String>("scope")? else {
        return Ok(None);
    };
    let read = ScopeSet::from_tokens(text.split(' ').filter(|scope| !scope.is_empty()));
    let scopes = read.map_err(|error| Refused::metadata(format!("scope: {error}")))?;
    Ok(Some(scopes))
}

/// Which clients are listed.
pub(super) struct Page {
    pub(super) filter: ClientFilter,
    /// The last client that was shown; empty before the first page.
    pub(super) after: String,
    pub(super) size: usize,
}

impl Page {
    pub(super) fn read(mut query: Params) -> Result<Self, OAuthError> {
        let wrong = |why: String| move |_| OAuthError::invalid_request(why);
        let size = query.text("pageSize")?.map(|text| text.parse::<usize>());
        let size = size.unwrap_or(Ok(DEFAULT_PAGE)).unwrap_or_default();
        if !(1..=LARGEST_PAGE).contains(&size) {
            let why = format!("pageSize: write a number from 1 to {LARGEST_PAGE}");
            return Err(OAuthError::invalid_request(why));
        }
        let name = query.text("clientName")?.map(Name::try_from).transpose();
        let name =
            name.map_err(|error| OAuthError::invalid_request(format!("clientName: {error}")))?;
        let after = query.text("pageToken")?;
        let after = after.as_deref().map(ClientId::parse).transpose();
        let after = after.map_err(wrong(
            "pageToken: write the nextPaginationToken of the page before".to_owned(),
        ))?;
        query.nothing_else()?;
        Ok(Self {
            filter: ClientFilter {
                name: name.map(String::from),
                ..ClientFilter::default()
            },
            after: after.map_or_else(String::new, |id| id.to_string()),
            size,
        })
    }
}
