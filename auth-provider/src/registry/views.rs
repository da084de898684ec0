//! What administrators see, as the API writes it. Times are seconds since the epoch.

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use serde::Serialize;

use super::{Arrow, Client, CredentialInfo, Credentials, Resource, safe_to_remove::safe_to_remove};
use crate::{
    audit::Recorded,
    built_in,
    client::{ClientId, CredentialId},
    metadata::Metadata,
    resource::ResourceId,
};

/// A name as one segment of a path (RFC 3986 section 3.3).
pub fn path_segment(name: &str) -> String {
    percent_encode(name.as_bytes(), UNRESERVED).to_string()
}

const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

#[derive(Serialize)]
pub struct ClientView<'a> {
    client_id: &'a str,
    name: &'a str,
    description: &'a str,
    status: &'static str,
    metadata: &'a Metadata,
    managed_by: Option<&'a str>,
    created_at: u64,
    updated_at: u64,
    last_used_at: Option<u64>,
    built_in: bool,
}

impl<'a> From<&'a Client> for ClientView<'a> {
    fn from(client: &'a Client) -> Self {
        Self {
            client_id: client.id.as_str(),
            name: &client.profile.name,
            description: &client.profile.description,
            status: client.profile.status.as_str(),
            metadata: &client.profile.metadata,
            managed_by: client.managed_by.as_ref().map(ResourceId::as_str),
            created_at: client.created_at,
            updated_at: client.updated_at,
            last_used_at: client.last_used_at,
            built_in: client.id.as_str() == built_in::ADMIN,
        }
    }
}

#[derive(Serialize)]
pub struct CredentialView<'a> {
    credential_id: &'a str,
    kind: &'static str,
    label: &'a str,
    last_four: &'a str,
    created_at: u64,
    expires_at: Option<u64>,
    last_used_at: Option<u64>,
    use_count: u64,
    state: &'static str,
    replaces: Option<&'a str>,
    safe_to_remove: bool,
    safe_to_remove_reason: String,
}

impl<'a> CredentialView<'a> {
    /// A credential among its neighbours, at the time `now`.
    pub fn of(credential: &'a CredentialInfo, among: &Credentials, now: u64) -> Self {
        let (safe, reason) = safe_to_remove(credential, among, now);
        Self {
            credential_id: credential.id.as_str(),
            kind: credential.kind.as_str(),
            label: &credential.label,
            last_four: &credential.last_four,
            created_at: credential.created_at,
            expires_at: credential.expires_at,
            last_used_at: credential.usage.map(|usage| usage.last_used_at),
            use_count: credential.usage.map_or(0, |usage| usage.count),
            state: if credential.is_expired(now) {
                "expired"
            } else {
                "active"
            },
            replaces: credential.replaces.as_ref().map(CredentialId::as_str),
            safe_to_remove: safe,
            safe_to_remove_reason: reason,
        }
    }
}

#[derive(Serialize)]
pub struct ResourceView<'a> {
    resource: &'a str,
    name: &'a str,
    scopes: &'a BTreeMap<String, String>,
    owner: Option<&'a str>,
    token_format: &'static str,
    token_profile: &'static str,
    metadata_claims: Vec<&'a str>,
    signing_alg: &'static str,
    token_lifetime: u64,
    built_in: bool,
}

impl<'a> From<&'a Resource> for ResourceView<'a> {
    fn from(resource: &'a Resource) -> Self {
        let settings = &resource.settings;
        Self {
            resource: resource.id.as_str(),
            name: &settings.name,
            scopes: &settings.scopes,
            owner: settings.owner.as_ref().map(ClientId::as_str),
            token_format: settings.token_format.as_str(),
            token_profile: settings.token_profile.as_str(),
            metadata_claims: settings.metadata_claims.iter().collect(),
            signing_alg: settings.signing_alg.name(),
            token_lifetime: settings.token_lifetime,
            built_in: resource.id.as_str() == built_in::AUDIENCE,
        }
    }
}

#[derive(Serialize)]
pub struct GrantView<'a> {
    client_id: &'a str,
    resource: &'a str,
    scopes: Vec<&'a str>,
    token_lifetime: Option<u64>,
    expires_at: Option<u64>,
    reason: &'a str,
}

impl<'a> From<&'a Arrow> for GrantView<'a> {
    fn from(arrow: &'a Arrow) -> Self {
        Self {
            client_id: arrow.client.as_str(),
            resource: arrow.resource.as_str(),
            scopes: arrow.terms.scopes.iter().collect(),
            token_lifetime: arrow.terms.token_lifetime,
            expires_at: arrow.terms.expires_at,
            reason: &arrow.terms.reason,
        }
    }
}

#[derive(Serialize)]
pub struct EventView<'a> {
    number: u64,
    at: u64,
    action: &'static str,
    outcome: &'static str,
    actor: Option<&'a str>,
    client_id: Option<&'a str>,
    resource: Option<&'a str>,
    credential_id: Option<&'a str>,
    jti: Option<&'a str>,
    reason: Option<&'a str>,
    explanation: Option<&'a str>,
    request_id: Option<&'a str>,
    address: Option<String>,
}

impl<'a> From<&'a Recorded> for EventView<'a> {
    fn from(Recorded { number, event }: &'a Recorded) -> Self {
        Self {
            number: *number,
            at: event.at,
            action: event.action.as_str(),
            outcome: event.outcome.as_str(),
            actor: event.actor.as_ref().map(ClientId::as_str),
            client_id: event.client.as_ref().map(ClientId::as_str),
            resource: event.resource.as_ref().map(ResourceId::as_str),
            credential_id: event.credential.as_ref().map(CredentialId::as_str),
            jti: event.jti.as_deref(),
            reason: event.reason.as_deref(),
            explanation: event.explanation.as_deref(),
            request_id: event.request_id.as_deref(),
            address: event.address.map(|address| address.to_string()),
        }
    }
}
