//! What every policy has: this server as a resource of its own, and the client that administers it.

use std::collections::BTreeMap;

use m2m::{Scope, ScopeSet};

use crate::{
    client::ClientId,
    keys::DEFAULT_ALGORITHM,
    policy_file::{PolicyClient, PolicyGrant, PolicyResource},
    resource::{ResourceId, TokenFormat},
};

/// The audience of tokens for this server itself.
pub const AUDIENCE: &str = "auth-provider";

/// The client that may do everything here. Others get what the policy's grants for [`AUDIENCE`] say.
pub const ADMIN: &str = "admin";

/// The life of a token for this server, in seconds: it is used at once.
const TOKEN_LIFETIME: u64 = 300;

/// Allows to see the signing keys' times and states.
pub struct KeysRead;
/// Allows to rotate signing keys and to declare one compromised.
pub struct KeysRotate;
/// Allows to revoke any token.
pub struct TokensRevoke;
/// Allows to introspect any token.
pub struct TokensIntrospect;

impl Scope for KeysRead {
    const NAME: &'static str = "keys:read";
}
impl Scope for KeysRotate {
    const NAME: &'static str = "keys:rotate";
}
impl Scope for TokensRevoke {
    const NAME: &'static str = "tokens:revoke";
}
impl Scope for TokensIntrospect {
    const NAME: &'static str = "tokens:introspect";
}

const SCOPES: [(&str, &str); 4] = [
    (KeysRead::NAME, "See the signing keys"),
    (
        KeysRotate::NAME,
        "Rotate signing keys and declare them compromised",
    ),
    (TokensRevoke::NAME, "Revoke any token"),
    (TokensIntrospect::NAME, "Introspect any token"),
];

pub(crate) fn resources() -> BTreeMap<ResourceId, PolicyResource> {
    let resource = PolicyResource {
        name: "Authorization server".to_owned(),
        scopes: SCOPES
            .map(|(name, words)| (name.to_owned(), words.to_owned()))
            .into(),
        token_lifetime: TOKEN_LIFETIME,
        signing_alg: DEFAULT_ALGORITHM,
        owner: None,
        token_format: TokenFormat::Jwt,
    };
    BTreeMap::from([(audience(), resource)])
}

pub(crate) fn clients() -> BTreeMap<ClientId, PolicyClient> {
    let client = PolicyClient {
        name: "Administrator".to_owned(),
        description: "Administers this server".to_owned(),
        status: None,
        metadata: None,
    };
    BTreeMap::from([(admin(), client)])
}

pub(crate) fn grants() -> BTreeMap<(ClientId, ResourceId), PolicyGrant> {
    let scopes = SCOPES.map(|(name, _)| name);
    let grant = PolicyGrant {
        scopes: ScopeSet::from_tokens(scopes).expect("these are scopes"),
        token_lifetime: None,
        expires_at: None,
        reason: "The administrator may do everything".to_owned(),
    };
    BTreeMap::from([((admin(), audience()), grant)])
}

/// Whether nobody can change or remove this client.
pub fn has_client(id: &ClientId) -> bool {
    id.as_str() == ADMIN
}

/// Whether nobody can change or remove this resource.
pub fn has_resource(id: &ResourceId) -> bool {
    id.as_str() == AUDIENCE
}

/// Whether nobody can change or remove the grant of this client for this resource.
pub fn has_grant(client: &ClientId, resource: &ResourceId) -> bool {
    has_client(client) && has_resource(resource)
}

fn audience() -> ResourceId {
    ResourceId::parse(AUDIENCE).expect("this is a resource's name")
}

fn admin() -> ClientId {
    ClientId::parse(ADMIN).expect("this is a client's id")
}
