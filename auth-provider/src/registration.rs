//! Clients that register themselves (RFC 7591), and then read, change and remove themselves (RFC 7592).
//!
//! Who registers a client holds a token with the scope `clients:register`; the client that comes of it holds a registration
//! access token, which opens its own registration and nothing else. Neither gives any grant: a registered client gets no
//! token until an administrator draws an arrow. Nothing that is sent is ever fetched.

use std::{collections::BTreeMap, fmt::Display};

use m2m::{ScopeSet, TokenError, service::read_object};
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::{error, info};

use crate::{
    address::CallerAddress,
    audit::{Action, Event, Origin},
    client::{ClientId, ClientStatus, Secret, SecretHash, random_id, unguessable},
    error::{ErrorCode, OAuthError},
    metadata::{self, Metadata},
    registry::{
        Client, Profile, Version,
        change::{Change, NewCredential},
        clients::{self, ClientChange},
        commit::{Admin, Created, Draft, Expected, Idempotency, Refusal, create},
        values::Name,
    },
    server::AuthServer,
    storage::StoreError,
    texts::default_name,
};

const TOKEN_PREFIX: &str = "m2mr_";

/// The same words whether there is no such client, it did not register itself, was switched off, or the token is another.
const NOT_ITS_TOKEN: &str = "this is no registration access token of a client at this address";

/// Under these names a client's metadata keeps what it said of itself. The administrators' own keys stay as they are.
const AUTH_METHOD: &str = "token_endpoint_auth_method";
const SOFTWARE_ID: &str = "software_id";
const SOFTWARE_VERSION: &str = "software_version";

/// How a client says that it will send its secret. The token endpoint takes it either way.
const BASIC: &str = "client_secret_basic";
const POST: &str = "client_secret_post";

const GRANT_TYPE: &str = "client_credentials";

/// What a client says of itself, as far as this server has a use for it.
#[derive(Debug)]
pub struct ClientMetadata {
    name: Option<Name>,
    /// By name; `None` where nothing is to be kept.
    kept: BTreeMap<&'static str, Option<String>>,
}

/// What a client is to be from now on.
#[derive(Debug)]
pub struct Replacement {
    metadata: ClientMetadata,
    client_id: String,
    secret: Option<Secret>,
}

/// A client that proved to hold its registration access token.
pub struct Registrant {
    pub client: Client,
    /// What it does with its registration is its own doing.
    admin: Admin,
    token: Secret,
}

/// A request's members that mean something here. Any other is ignored, as RFC 7591 section 2 has it; a null counts as left
/// out. Types are checked later, so that no refusal repeats what was sent.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Sent {
    client_name: Option<Value>,
    redirect_uris: Option<Value>,
    response_types: Option<Value>,
    grant_types: Option<Value>,
    token_endpoint_auth_method: Option<Value>,
    software_id: Option<Value>,
    software_version: Option<Value>,
    software_statement: Option<Value>,
    client_id: Option<Value>,
    client_secret: Option<Value>,
    client_id_issued_at: Option<Value>,
    client_secret_expires_at: Option<Value>,
    registration_access_token: Option<Value>,
    registration_client_uri: Option<Value>,
}

impl ClientMetadata {
    /// Reads what is to be registered.
    ///
    /// # Errors
    /// RFC 7591's, when it asks for what this server does not do.
    pub fn read(body: &[u8]) -> Result<Self, OAuthError> {
        Sent::read(body)?.metadata()
    }

    fn name(&self, id: &ClientId) -> Name {
        let default = || Name::try_from(default_name(id.as_str())).expect("a client id is a name");
        self.name.clone().unwrap_or_else(default)
    }
}

impl Replacement {
    /// Reads what is to take the place of what was registered.
    ///
    /// # Errors
    /// RFC 7591's, also for what RFC 7592 section 2.2 forbids.
    pub fn read(body: &[u8]) -> Result<Self, OAuthError> {
        let mut sent = Sent::read(body)?;
        for (name, member) in [
            ("client_id_issued_at", &sent.client_id_issued_at),
            ("client_secret_expires_at", &sent.client_secret_expires_at),
            ("registration_access_token", &sent.registration_access_token),
            ("registration_client_uri", &sent.registration_client_uri),
        ] {
            if member.is_some() {
                return Err(invalid(name, "leave it out: only the server can change it"));
            }
        }
        let client_id = text("client_id", sent.client_id.take())?;
        Ok(Self {
            client_id: client_id.ok_or_else(|| invalid("client_id", "send it along"))?,
            secret: text("client_secret", sent.client_secret.take())?.map(Secret::from),
            metadata: sent.metadata()?,
        })
    }
}

impl Sent {
    fn read(body: &[u8]) -> Result<Self, OAuthError> {
        read_object(body).map_err(|_| {
            let why = "send one JSON object in which each member stands once";
            OAuthError::new(ErrorCode::InvalidClientMetadata, why)
        })
    }

    fn metadata(self) -> Result<ClientMetadata, OAuthError> {
        if self.software_statement.is_some() {
            return Err(OAuthError::new(
                ErrorCode::UnapprovedSoftwareStatement,
                "this server approves no software statements: register without one",
            ));
        }
        if !asks_for_no_more(self.redirect_uris, &[]) {
            let why = "redirect_uris: nobody is redirected here, leave it out";
            return Err(OAuthError::new(ErrorCode::InvalidRedirectUri, why));
        }
        if !asks_for_no_more(self.response_types, &[]) {
            let why = "there is no login here: leave it out, or send an empty list";
            return Err(invalid("response_types", why));
        }
        if !asks_for_no_more(self.grant_types, &[GRANT_TYPE]) {
            let why = format!("leave it out, or send a list with {GRANT_TYPE} only");
            return Err(invalid("grant_types", why));
        }
        let method = text(AUTH_METHOD, self.token_endpoint_auth_method)?;
        if !matches!(method.as_deref(), None | Some(BASIC | POST)) {
            let why = format!("write {BASIC} or {POST}");
            return Err(invalid(AUTH_METHOD, why));
        }
        let name = text("client_name", self.client_name)?.map(Name::try_from);
        let kept = BTreeMap::from([
            (AUTH_METHOD, method.filter(|method| method != BASIC)),
            (SOFTWARE_ID, text(SOFTWARE_ID, self.software_id)?),
            (
                SOFTWARE_VERSION,
                text(SOFTWARE_VERSION, self.software_version)?,
            ),
        ]);
        for (key, value) in &kept {
            let value = Value::from(value.as_deref().unwrap_or_default());
            metadata::check_entry(key, &value).map_err(|error| invalid(key, error.to_string()))?;
        }
        metadata::check(&there(&kept))
            .map_err(|error| invalid("the metadata", error.to_string()))?;
        Ok(ClientMetadata {
            name: name
                .transpose()
                .map_err(|error| invalid("client_name", error.to_string()))?,
            kept,
        })
    }
}

fn invalid(member: &str, why: impl Display) -> OAuthError {
    let description = format!("{member}: {why}");
    OAuthError::new(ErrorCode::InvalidClientMetadata, description)
}

fn text(name: &str, member: Option<Value>) -> Result<Option<String>, OAuthError> {
    match member {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(invalid(name, "write a string")),
    }
}

fn asks_for_no_more(member: Option<Value>, than: &[&str]) -> bool {
    let there_is = |item: &Value| item.as_str().is_some_and(|item| than.contains(&item));
    match member {
        None => true,
        Some(Value::Array(items)) => items.iter().all(there_is),
        Some(_) => false,
    }
}

fn there(kept: &BTreeMap<&'static str, Option<String>>) -> Metadata {
    let there = |(key, value): (&&str, &Option<String>)| {
        Some(((*key).to_owned(), Value::from(value.clone()?)))
    };
    kept.iter().filter_map(there).collect()
}

/// Makes a client with a secret, and a token by which it administers itself. Both are shown this once.
///
/// # Errors
/// When it cannot be kept.
pub async fn register(
    server: &AuthServer,
    admin: &Admin,
    metadata: &ClientMetadata,
    idempotency: Option<&Idempotency>,
) -> Result<Created, OAuthError> {
    let made = create(server, idempotency, async || {
        let id = ClientId::parse(&random_id()).expect("random ids are client ids");
        let (now, secret) = (server.clock.now(), Secret::generate());
        let token = Secret::from(unguessable(TOKEN_PREFIX));
        let client = Client {
            profile: Profile {
                name: metadata.name(&id).into(),
                description: String::new(),
                status: ClientStatus::Active,
                metadata: there(&metadata.kept),
            },
            id: id.clone(),
            managed_by: None,
            created_at: now,
            updated_at: now,
            last_used_at: None,
            version: Version::generate(),
        };
        let credential = NewCredential::of(&id, "", &secret, now);
        let mut body = information(server, &client, &token);
        body["client_secret"] = Value::from(secret.expose());
        body["client_secret_expires_at"] = Value::from(0); // never
        let event = |action| Event::done(action, now, &admin.origin).client(&id);
        Ok(Draft {
            events: vec![
                event(Action::ClientRegistered),
                event(Action::CredentialCreated).credential(&credential.id),
            ],
            answer: Created {
                location: client_uri(server, &id),
                version: None,
                body,
            },
            changes: vec![
                Change::AddClient {
                    id: id.clone(),
                    profile: client.profile,
                    managed_by: None,
                    version: client.version,
                    at: now,
                },
                Change::AddCredential(credential),
                Change::Register {
                    client: id.clone(),
                    token: token.hash(),
                },
            ],
        })
    });
    Ok(made.await?)
}

/// The client at the address `id`, if what was presented is its registration access token. A refusal is the same for every
/// reason, and comes after the same steps for a client that is there and for one that is not.
///
/// # Errors
/// That it is not, or that the store or the audit log does not answer.
pub async fn authenticate(
    server: &AuthServer,
    address: CallerAddress,
    id: &str,
    presented: Result<&str, TokenError>,
) -> Result<Registrant, TokenError> {
    let refusal = match presented {
        Err(refusal) => Unproven {
            client: None,
            reason: "no_token",
            explanation: refusal.to_string(),
            answer: refusal,
        },
        Ok(token) => match find(server, id, token).await.map_err(unavailable)? {
            Ok(client) => {
                return Ok(Registrant {
                    admin: Admin {
                        origin: Origin::of(Some(client.id.clone()), Some(address.ip())),
                        scopes: ScopeSet::default(),
                    },
                    client,
                    token: Secret::from(token.to_owned()),
                });
            }
            Err(refusal) => refusal,
        },
    };
    info!("refused a registration access token: {}", refusal.reason);
    let (action, origin) = (
        Action::AuthenticationFailed,
        Origin::of(None, Some(address.ip())),
    );
    let (now, reason) = (server.clock.now(), refusal.reason);
    let mut event = Event::refused(action, now, &origin, reason, refusal.explanation);
    event.client = refusal.client;
    // Who tries again and again does not fill the log.
    if server
        .limits
        .failures
        .count_stranger(address.network())
        .is_ok()
    {
        server.journal.note(event).await.map_err(unavailable)?;
    }
    Err(refusal.answer)
}

/// Why nobody was let in: `answer` is for the caller, the rest for the audit log.
struct Unproven {
    client: Option<ClientId>,
    reason: &'static str,
    explanation: String,
    answer: TokenError,
}

async fn find(
    server: &AuthServer,
    id: &str,
    token: &str,
) -> Result<Result<Client, Unproven>, StoreError> {
    let presented = SecretHash::of(token);
    let refused = |client, reason, explanation| {
        Ok(Err(Unproven {
            client,
            reason,
            explanation,
            answer: TokenError::Invalid(NOT_ITS_TOKEN),
        }))
    };
    let unknown = || "no client of the id that was presented registered itself".to_owned();
    let Ok(id) = ClientId::parse(id) else {
        return refused(None, "no_such_registration", unknown());
    };
    let Some(kept) = server.store.registration(&id).await? else {
        return refused(None, "no_such_registration", unknown());
    };
    if !kept.matches(&presented) {
        let why = format!("the token that was presented is not the registration token of {id}");
        return refused(Some(id), "wrong_registration_token", why);
    }
    match server.store.client(&id).await? {
        None => refused(None, "no_such_registration", unknown()), // removed a moment ago
        Some(client) if client.profile.status == ClientStatus::Inactive => {
            let why = format!("the client {id} is inactive: an administrator switched it off");
            refused(Some(id), "client_inactive", why)
        }
        Some(client) => Ok(Ok(client)),
    }
}

fn unavailable(error: impl std::error::Error) -> TokenError {
    error!("could not check a registration access token: {error}");
    TokenError::IssuerUnavailable
}

/// The client's registration, as it may see it.
pub fn show(server: &AuthServer, registrant: &Registrant) -> Value {
    information(server, &registrant.client, &registrant.token)
}

/// Puts something else in the place of what the client said of itself. What is left out is gone, and what administrators
/// said of it stays.
///
/// # Errors
/// When it names another client or secret, or somebody else changed the client at the same moment.
pub async fn replace(
    server: &AuthServer,
    registrant: &Registrant,
    wish: Replacement,
) -> Result<Value, OAuthError> {
    let id = &registrant.client.id;
    if wish.client_id != id.as_str() {
        return Err(invalid("client_id", "write the id of this client"));
    }
    if let Some(secret) = &wish.secret {
        let record = server.store.client_record(id).await?;
        let now = server.clock.now();
        if record.is_none_or(|record| record.accepts(&secret.hash(), now).is_none()) {
            let why = "write the secret that the client has, or leave it out: it cannot be chosen";
            return Err(invalid("client_secret", why));
        }
    }
    let ClientMetadata { kept, .. } = &wish.metadata;
    let kept = kept
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.clone().map(Value::from)));
    let change = ClientChange::of(wish.metadata.name(id), kept.collect());
    let (admin, expected) = (&registrant.admin, registrant.unchanged());
    let client = clients::edit(server, admin, id.as_str(), &change, &expected).await?;
    Ok(information(server, &client, &registrant.token))
}

/// Removes the client with all that it has, and takes its tokens back.
///
/// # Errors
/// When somebody else changed the client at the same moment.
pub async fn remove(server: &AuthServer, registrant: &Registrant) -> Result<(), OAuthError> {
    let (admin, id) = (&registrant.admin, &registrant.client.id);
    match clients::remove(server, admin, id.as_str(), &registrant.unchanged()).await {
        Err(Refusal::NotFound { .. }) => Ok(()), // removed twice at once
        outcome => Ok(outcome?),
    }
}

impl Registrant {
    /// What it may change is the client that was let in: one that was switched off since is another version.
    fn unchanged(&self) -> Expected {
        Expected::OneOf(vec![self.client.version.clone()])
    }
}

/// RFC 7591 section 3.2.1 with RFC 7592 section 3. The token is the one that the client presented, since the store has its
/// hash only; the secret nobody presented.
fn information(server: &AuthServer, client: &Client, token: &Secret) -> Value {
    let Profile { name, metadata, .. } = &client.profile;
    let posts = metadata
        .get(AUTH_METHOD)
        .is_some_and(|method| method == POST);
    let mut information = json!({
        "client_id": client.id.as_str(),
        "client_id_issued_at": client.created_at,
        "client_name": name,
        "grant_types": [GRANT_TYPE],
        "response_types": [],
        "token_endpoint_auth_method": if posts { POST } else { BASIC },
        "registration_client_uri": client_uri(server, &client.id),
        "registration_access_token": token.expose(),
    });
    for name in [SOFTWARE_ID, SOFTWARE_VERSION] {
        // An administrator may have noted something else under this name.
        if let Some(value @ Value::String(_)) = metadata.get(name) {
            information[name] = value.clone();
        }
    }
    information
}

fn client_uri(server: &AuthServer, id: &ClientId) -> String {
    format!("{}/clients/register/{id}", server.issuer)
}
