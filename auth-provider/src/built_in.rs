//! What every policy has: this server as a resource of its own, and the client that administers it.

use std::collections::BTreeMap;

use m2m::{Scope, ScopeSet};

use crate::{
    client::ClientId,
    keys::DEFAULT_ALGORITHM,
    policy_file::{PolicyClient, PolicyGrant, PolicyResource},
    resource::{ClaimNames, ResourceId, TokenFormat, TokenProfile},
};

/// The audience of tokens for this server itself.
pub const AUDIENCE: &str = "auth-provider";

/// The client that may do everything here. Others get what the policy's grants for [`AUDIENCE`] say.
pub const ADMIN: &str = "admin";

/// The life of a token for this server, in seconds: it is used at once.
const TOKEN_LIFETIME: u64 = 300;

/// Declares the scopes, each as a type that a handler demands.
macro_rules! scopes {
    ($($name:ident = $scope:literal, $words:literal;)+) => {
        $(
            #[doc = $words]
            pub struct $name;

            impl Scope for $name {
                const NAME: &'static str = $scope;
            }
        )+

        const SCOPES: &[(&str, &str)] = &[$(($scope, $words),)+];
    };
}

scopes! {
    ClientsRead = "clients:read", "See clients and their credentials, without the secrets";
    ClientsWrite = "clients:write", "Make, change and remove clients";
    ClientsRegister = "clients:register", "Register a client";
    CredentialsWrite = "credentials:write", "Make, rotate and remove credentials";
    ResourcesRead = "resources:read", "See resources";
    ResourcesWrite = "resources:write", "Make, change and remove resources";
    GrantsRead = "grants:read", "See grants, and ask why something is allowed or not";
    GrantsWrite = "grants:write", "Make, change and remove grants";
    PolicyRead = "policy:read", "Export the policy and plan changes";
    PolicyWrite = "policy:write", "Apply a policy";
    AuditRead = "audit:read", "Read the audit log";
    KeysRead = "keys:read", "See the signing keys";
    KeysRotate = "keys:rotate", "Rotate signing keys and declare them compromised";
    TokensRevoke = "tokens:revoke", "Revoke any token";
    TokensMint = "tokens:mint", "Have tokens made in the name of any client, within that client's grants";
    TokensIntrospect = "tokens:introspect", "Introspect any token";
}

pub(crate) fn resources() -> BTreeMap<ResourceId, PolicyResource> {
    let resource = PolicyResource {
        name: "Authorization server".to_owned(),
        scopes: SCOPES
            .iter()
            .map(|(name, words)| ((*name).to_owned(), (*words).to_owned()))
            .collect(),
        token_lifetime: TOKEN_LIFETIME,
        signing_alg: DEFAULT_ALGORITHM,
        owner: None,
        token_format: TokenFormat::Jwt,
        token_profile: TokenProfile::Standard,
        metadata_claims: ClaimNames::default(),
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
    let scopes = SCOPES.iter().map(|(name, _)| name);
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
