//! What each [`Change`] does to the tables.

use std::borrow::Cow;

use super::rows::{RevokedColumns, number};
use crate::{
    client::{ClientId, CredentialId},
    registry::{
        Profile, Version,
        change::{Change, CredentialTerms, NewCredential, Remembered},
    },
    resource::ResourceId,
};

/// One statement with its parameters.
pub(super) struct Step<'a> {
    pub(super) sql: &'static str,
    pub(super) values: Vec<Value<'a>>,
    /// When it touches no row, the change did not find what it expects.
    pub(super) finds_a_row: bool,
}

pub(super) enum Value<'a> {
    Text(Option<Cow<'a, str>>),
    Number(Option<i64>),
    Bytes(&'a [u8]),
}

const GRAPH: &str = "
    UPDATE registry_state SET graph_version = graph_version + 1
    WHERE one = 1 AND graph_version = $1";

const ADD_CLIENT: &str = "
    INSERT INTO client (id, name, description, status, metadata, created_at, updated_at, version,
                        managed_by)
    VALUES ($1, $2, $3, $4, $5, $6, $6, $7, $8)
    ON CONFLICT DO NOTHING";

const CHANGE_CLIENT: &str = "
    UPDATE client SET name = $2, description = $3, status = $4, metadata = $5, updated_at = $6,
                      version = $7
    WHERE id = $1 AND version = $8";

const REMOVE_CLIENT_USE: &str = "DELETE FROM client_use WHERE client_id = $1";

const REMOVE_CREDENTIAL_USES: &str = "
    DELETE FROM credential_use
    WHERE credential_id IN (SELECT id FROM credential WHERE client_id = $1)";

// A resource without its owner is another one than before: no version that was given out ends like this.
const REMOVE_OWNER: &str =
    "UPDATE resource SET owner = NULL, version = version || '-' WHERE owner = $1";

const REMOVE_CLIENT: &str = "DELETE FROM client WHERE id = $1 AND version = $2";

const ADD_CREDENTIAL: &str = "
    INSERT INTO credential (id, client_id, label, secret_hash, last_four, created_at, expires_at,
                            replaces, kind)
    SELECT $1, id, $3, $4, $5, $6, $7, $8, $9 FROM client
    WHERE id = $2 AND ($8 IS NULL OR $8 IN (SELECT id FROM credential WHERE client_id = $2))
    ON CONFLICT DO NOTHING";

const CHANGE_CREDENTIAL: &str = "
    UPDATE credential SET label = $3, expires_at = $4, replaces = $5
    WHERE id = $1 AND client_id = $2 AND label = $6 AND expires_at IS NOT DISTINCT FROM $7
      AND replaces IS NOT DISTINCT FROM $8";

const END_ROTATION: &str = "UPDATE credential SET replaces = NULL WHERE replaces = $1";

const REMOVE_CREDENTIAL_USE: &str = "DELETE FROM credential_use WHERE credential_id = $1";

const REMOVE_CREDENTIAL: &str = "DELETE FROM credential WHERE id = $1 AND client_id = $2";

const ADD_RESOURCE: &str = "
    INSERT INTO resource (id, name, token_lifetime, signing_alg, owner, token_format, token_profile,
                          metadata_claims, version)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    ON CONFLICT DO NOTHING";

const CHANGE_RESOURCE: &str = "
    UPDATE resource SET name = $2, token_lifetime = $3, signing_alg = $4, owner = $5,
                        token_format = $6, token_profile = $7, metadata_claims = $8, version = $9
    WHERE id = $1 AND version = $10";

const REMOVE_SCOPES: &str = "DELETE FROM resource_scope WHERE resource_id = $1";

const ADD_SCOPE: &str =
    "INSERT INTO resource_scope (resource_id, name, description) VALUES ($1, $2, $3)";

// As with an owner: a client without its manager is another one than before.
const REMOVE_MANAGER: &str =
    "UPDATE client SET managed_by = NULL, version = version || '-' WHERE managed_by = $1";

const REMOVE_RESOURCE: &str = "DELETE FROM resource WHERE id = $1 AND version = $2";

const ADD_GRANT: &str = "
    INSERT INTO client_grant (client_id, resource_id, scopes, token_lifetime, expires_at, reason,
                              version)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT DO NOTHING";

const CHANGE_GRANT: &str = "
    UPDATE client_grant SET scopes = $3, token_lifetime = $4, expires_at = $5, reason = $6,
                            version = $7
    WHERE client_id = $1 AND resource_id = $2 AND version = $8";

const REMOVE_GRANT: &str =
    "DELETE FROM client_grant WHERE client_id = $1 AND resource_id = $2 AND version = $3";

const ADD_REVOCATION: &str = "
    INSERT INTO revocation
        (kind, jti, client_id, credential, resource_id, kid, revoked_at, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";

const ADD_REVOCATIONS: &str = "
    INSERT INTO revocation (kind, client_id, resource_id, revoked_at, expires_at)
    SELECT 'grant', client_id, resource_id, $2, $3 FROM client_grant WHERE resource_id = $1";

const REMEMBER: &str = "
    INSERT INTO remembered_answer (key_hash, request_hash, sealed_answer, expires_at)
    VALUES ($1, $2, $3, $4)
    ON CONFLICT (key_hash) DO UPDATE
    SET request_hash = excluded.request_hash, sealed_answer = excluded.sealed_answer,
        expires_at = excluded.expires_at
    WHERE remembered_answer.expires_at <= $5";

const REGISTER: &str = "
    INSERT INTO client_registration (client_id, token_hash) VALUES ($1, $2)
    ON CONFLICT (client_id) DO UPDATE SET token_hash = excluded.token_hash";

/// The statements of a change, in their order.
pub(super) fn steps(change: &Change) -> Vec<Step<'_>> {
    match change {
        Change::Graph { expected } => vec![must(GRAPH, vec![time(*expected)])],
        Change::AddClient {
            id,
            profile,
            managed_by,
            version,
            at,
        } => {
            let mut values = client_columns(id, profile, *at);
            values.push(text(version.as_str()));
            values.push(maybe_text(managed_by.as_ref().map(ResourceId::as_str)));
            vec![must(ADD_CLIENT, values)]
        }
        Change::ChangeClient {
            id,
            profile,
            expected,
            version,
            at,
        } => {
            let mut values = client_columns(id, profile, *at);
            values.extend([text(version.as_str()), text(expected.as_str())]);
            vec![must(CHANGE_CLIENT, values)]
        }
        Change::RemoveClient { id, expected } => vec![
            may(REMOVE_CLIENT_USE, vec![text(id.as_str())]),
            may(REMOVE_CREDENTIAL_USES, vec![text(id.as_str())]),
            may(REMOVE_OWNER, vec![text(id.as_str())]),
            must(
                REMOVE_CLIENT,
                vec![text(id.as_str()), text(expected.as_str())],
            ),
        ],
        Change::AddCredential(new) => vec![must(ADD_CREDENTIAL, credential_columns(new))],
        Change::ChangeCredential {
            client,
            id,
            expected,
            terms,
        } => {
            let mut values = vec![text(id.as_str()), text(client.as_str())];
            values.extend(terms_columns(terms));
            values.extend(terms_columns(expected));
            vec![must(CHANGE_CREDENTIAL, values)]
        }
        Change::RemoveCredential { client, id } => vec![
            may(REMOVE_CREDENTIAL_USE, vec![text(id.as_str())]),
            may(END_ROTATION, vec![text(id.as_str())]),
            must(
                REMOVE_CREDENTIAL,
                vec![text(id.as_str()), text(client.as_str())],
            ),
        ],
        Change::Revoke { revoked, at, until } => {
            let columns = RevokedColumns::of(revoked);
            let mut values = vec![text(columns.kind)];
            values.extend(
                [
                    columns.jti,
                    columns.client,
                    columns.credential,
                    columns.resource,
                    columns.kid,
                ]
                .map(maybe_text),
            );
            values.extend([time(*at), time(*until)]);
            vec![must(ADD_REVOCATION, values)]
        }
        Change::RevokeAllOf {
            resource,
            at,
            until,
        } => {
            let values = vec![text(resource.as_str()), time(*at), time(*until)];
            vec![may(ADD_REVOCATIONS, values)]
        }
        Change::Remember(answer) => vec![must(REMEMBER, answer_columns(answer))],
        Change::Register { client, token } => {
            let values = vec![text(client.as_str()), Value::Bytes(token.as_bytes())];
            vec![must(REGISTER, values)]
        }
        Change::PutResource { .. }
        | Change::RemoveResource { .. }
        | Change::PutGrant { .. }
        | Change::RemoveGrant { .. } => graph_steps(change),
    }
}

fn graph_steps(change: &Change) -> Vec<Step<'_>> {
    match change {
        Change::PutResource {
            id,
            settings,
            expected,
            version,
        } => {
            let values = vec![
                text(id.as_str()),
                text(&settings.name),
                time(settings.token_lifetime),
                text(settings.signing_alg.name()),
                maybe_text(settings.owner.as_ref().map(ClientId::as_str)),
                text(settings.token_format.as_str()),
                text(settings.token_profile.as_str()),
                owned(settings.metadata_claims.to_string()),
                text(version.as_str()),
            ];
            let mut steps = vec![
                put(ADD_RESOURCE, CHANGE_RESOURCE, values, expected.as_ref()),
                may(REMOVE_SCOPES, vec![text(id.as_str())]),
            ];
            steps.extend(settings.scopes.iter().map(|(scope, description)| {
                must(
                    ADD_SCOPE,
                    vec![text(id.as_str()), text(scope), text(description)],
                )
            }));
            steps
        }
        Change::RemoveResource { id, expected } => vec![
            may(REMOVE_MANAGER, vec![text(id.as_str())]),
            must(
                REMOVE_RESOURCE,
                vec![text(id.as_str()), text(expected.as_str())],
            ),
        ],
        Change::PutGrant {
            client,
            resource,
            terms,
            expected,
            version,
        } => {
            let mut values = arrow_columns(client, resource);
            values.extend([
                owned(terms.scopes.to_string()),
                maybe_time(terms.token_lifetime),
                maybe_time(terms.expires_at),
                text(&terms.reason),
                text(version.as_str()),
            ]);
            vec![put(ADD_GRANT, CHANGE_GRANT, values, expected.as_ref())]
        }
        Change::RemoveGrant {
            client,
            resource,
            expected,
        } => {
            let mut values = arrow_columns(client, resource);
            values.push(text(expected.as_str()));
            vec![must(REMOVE_GRANT, values)]
        }
        _ => Vec::new(),
    }
}

fn client_columns<'a>(id: &'a ClientId, profile: &'a Profile, at: u64) -> Vec<Value<'a>> {
    let metadata = serde_json::to_string(&profile.metadata).expect("JSON is JSON");
    vec![
        text(id.as_str()),
        text(&profile.name),
        text(&profile.description),
        text(profile.status.as_str()),
        owned(metadata),
        time(at),
    ]
}

fn credential_columns(new: &NewCredential) -> Vec<Value<'_>> {
    vec![
        text(new.id.as_str()),
        text(new.client.as_str()),
        text(&new.label),
        Value::Bytes(new.secret.as_bytes()),
        text(&new.last_four),
        time(new.created_at),
        maybe_time(new.expires_at),
        maybe_text(new.replaces.as_ref().map(CredentialId::as_str)),
        text(new.kind.as_str()),
    ]
}

fn terms_columns(terms: &CredentialTerms) -> [Value<'_>; 3] {
    [
        text(&terms.label),
        maybe_time(terms.expires_at),
        maybe_text(terms.replaces.as_ref().map(CredentialId::as_str)),
    ]
}

fn answer_columns(answer: &Remembered) -> Vec<Value<'_>> {
    vec![
        Value::Bytes(answer.key.as_bytes()),
        Value::Bytes(answer.request.as_bytes()),
        Value::Bytes(&answer.answer),
        time(answer.until),
        time(answer.at),
    ]
}

fn arrow_columns<'a>(client: &'a ClientId, resource: &'a ResourceId) -> Vec<Value<'a>> {
    vec![text(client.as_str()), text(resource.as_str())]
}

/// Adds what is not there, or changes what still has the expected version.
fn put<'a>(
    add: &'static str,
    change: &'static str,
    mut values: Vec<Value<'a>>,
    expected: Option<&'a Version>,
) -> Step<'a> {
    match expected {
        None => must(add, values),
        Some(expected) => {
            values.push(text(expected.as_str()));
            must(change, values)
        }
    }
}

fn must<'a>(sql: &'static str, values: Vec<Value<'a>>) -> Step<'a> {
    Step {
        sql,
        values,
        finds_a_row: true,
    }
}

fn may<'a>(sql: &'static str, values: Vec<Value<'a>>) -> Step<'a> {
    Step {
        sql,
        values,
        finds_a_row: false,
    }
}

fn text(value: &str) -> Value<'_> {
    maybe_text(Some(value))
}

fn maybe_text(value: Option<&str>) -> Value<'_> {
    Value::Text(value.map(Cow::Borrowed))
}

fn owned<'a>(value: String) -> Value<'a> {
    Value::Text(Some(Cow::Owned(value)))
}

fn time<'a>(seconds: u64) -> Value<'a> {
    maybe_time(Some(seconds))
}

fn maybe_time<'a>(seconds: Option<u64>) -> Value<'a> {
    Value::Number(seconds.map(number))
}
