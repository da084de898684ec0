//! What stands in a row, read into the domain's types. A row that does not fit is damaged, and says so.

use std::collections::BTreeMap;

use m2m::{ScopeSet, verify::Algorithm};
use sqlx::{ColumnIndex, Decode, Row, Type};

use super::StoreError;
use crate::{
    audit::{Action, Event, Outcome, Recorded},
    client::{ClientId, ClientStatus, Credential, CredentialId, CredentialKind, Grant, SecretHash},
    clients::{Bearer, NOTED_EVERY},
    keys::{KeyRecord, StoredKey, algorithm},
    metadata::Metadata,
    own_token::OwnToken,
    policy_file::{PolicyGrant, PolicyResource},
    projects::ManagedClient,
    registry::{
        Arrow, Client, CredentialInfo, Credentials, Ending, Profile, Resource, Unwritten, Usage,
        Version,
    },
    resource::{ClaimNames, ResourceId, TokenFormat, TokenProfile},
    revocation::{Revocation, Revoked},
    uses::Known,
};

/// The columns of a row by name and kind, the same for both databases.
pub(super) trait Columns {
    fn text(&self, name: &str) -> Result<String, sqlx::Error>;
    fn maybe_text(&self, name: &str) -> Result<Option<String>, sqlx::Error>;
    fn bytes(&self, name: &str) -> Result<Vec<u8>, sqlx::Error>;
    fn maybe_number(&self, name: &str) -> Result<Option<i64>, sqlx::Error>;
}

impl<R: Row> Columns for R
where
    for<'name> &'name str: ColumnIndex<R>,
    String: for<'r> Decode<'r, R::Database> + Type<R::Database>,
    Vec<u8>: for<'r> Decode<'r, R::Database> + Type<R::Database>,
    i64: for<'r> Decode<'r, R::Database> + Type<R::Database>,
{
    fn text(&self, name: &str) -> Result<String, sqlx::Error> {
        self.try_get(name)
    }

    fn maybe_text(&self, name: &str) -> Result<Option<String>, sqlx::Error> {
        self.try_get(name)
    }

    fn bytes(&self, name: &str) -> Result<Vec<u8>, sqlx::Error> {
        self.try_get(name)
    }

    fn maybe_number(&self, name: &str) -> Result<Option<i64>, sqlx::Error> {
        self.try_get(name)
    }
}

pub(super) fn status_of(row: &impl Columns) -> Result<ClientStatus, StoreError> {
    ClientStatus::parse(&row.text("status")?).ok_or(StoreError::Corrupt {
        what: "client status",
    })
}

pub(super) fn credential(row: &impl Columns) -> Result<Credential, StoreError> {
    Ok(Credential {
        id: credential_id(&row.text("id")?)?,
        secret: hash(row, "secret_hash")?,
        expires_at: maybe_time(row, "expires_at")?,
    })
}

fn credential_id(text: &str) -> Result<CredentialId, StoreError> {
    CredentialId::parse(text).ok_or(StoreError::Corrupt {
        what: "credential id",
    })
}

fn maybe_credential_id(row: &impl Columns, name: &str) -> Result<Option<CredentialId>, StoreError> {
    let text = row.maybe_text(name)?;
    text.map(|text| credential_id(&text)).transpose()
}

pub(super) fn some_credential_id(
    row: &impl Columns,
    name: &str,
) -> Result<CredentialId, StoreError> {
    credential_id(&row.text(name)?)
}

pub(super) fn hash(row: &impl Columns, name: &str) -> Result<SecretHash, StoreError> {
    SecretHash::from_stored(&row.bytes(name)?).ok_or(StoreError::Corrupt { what: "hash" })
}

/// An id that stands in a column that may be empty.
fn maybe<T, E>(
    text: Option<String>,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>, StoreError> {
    let parsed = text.map(|text| parse(&text)).transpose();
    parsed.map_err(|_| StoreError::Corrupt { what: "id" })
}

pub(super) fn client_id(row: &impl Columns) -> Result<ClientId, StoreError> {
    let id = maybe(row.maybe_text("client_id")?, ClientId::parse)?;
    id.ok_or(StoreError::Corrupt { what: "client id" })
}

pub(super) fn client(row: &impl Columns) -> Result<Client, StoreError> {
    Ok(Client {
        id: ClientId::parse(&row.text("id")?)
            .map_err(|_| StoreError::Corrupt { what: "client id" })?,
        profile: Profile {
            name: row.text("name")?,
            description: row.text("description")?,
            status: status_of(row)?,
            metadata: metadata(row)?,
        },
        managed_by: maybe(row.maybe_text("managed_by")?, ResourceId::parse)?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        last_used_at: maybe_time(row, "last_used_at")?,
        version: Version::from_text(row.text("version")?),
    })
}

fn metadata(row: &impl Columns) -> Result<Metadata, StoreError> {
    let read = serde_json::from_str(&row.text("metadata")?);
    read.map_err(|_| StoreError::Corrupt {
        what: "client metadata",
    })
}

/// What of a client's metadata stands in the tokens of a resource.
pub(super) fn claims(row: &impl Columns) -> Result<Metadata, StoreError> {
    let (mut metadata, names) = (metadata(row)?, claim_names(row)?);
    metadata.retain(|key, _| names.contains(key));
    Ok(metadata)
}

fn claim_names(row: &impl Columns) -> Result<ClaimNames, StoreError> {
    let names = ClaimNames::from_stored(&row.text("metadata_claims")?);
    names.ok_or(StoreError::Corrupt {
        what: "list of claims",
    })
}

fn credential_kind(row: &impl Columns) -> Result<CredentialKind, StoreError> {
    CredentialKind::parse(&row.text("kind")?).ok_or(StoreError::Corrupt {
        what: "credential kind",
    })
}

pub(super) fn bearer(row: &impl Columns) -> Result<Bearer, StoreError> {
    Ok(Bearer {
        client: client_id(row)?,
        credential: credential_id(&row.text("id")?)?,
        kind: credential_kind(row)?,
        expires_at: maybe_time(row, "expires_at")?,
    })
}

pub(super) fn managed_client(row: &impl Columns) -> Result<ManagedClient, StoreError> {
    Ok(ManagedClient {
        id: client_id(row)?,
        name: row.text("name")?,
        description: row.text("description")?,
        status: status_of(row)?,
        scopes: scopes(row)?,
        metadata: metadata(row)?,
        last_four: row.maybe_text("last_four")?.unwrap_or_default(),
        next_last_four: row.maybe_text("next_last_four")?,
    })
}

/// A credential that has an end.
pub(super) fn ending(row: &impl Columns) -> Result<Ending, StoreError> {
    Ok(Ending {
        client: client_id(row)?,
        credential: credential_id(&row.text("id")?)?,
        at: time(row, "expires_at")?,
    })
}

/// What is summed up of the uses of a client and its credentials.
pub(super) fn known_uses<R: Columns>(rows: &[R], sums: &[R]) -> Result<Known, StoreError> {
    let mut known = Known::default();
    if let Some(row) = sums.first() {
        known.created_at = time(row, "created_at")?;
        known.last_at = maybe_time(row, "last_used_at")?;
        known.longest_gap = longest_gap(row)?;
    }
    for row in rows {
        if let Some(usage) = usage(row)? {
            let id = credential_id(&row.text("id")?)?;
            known.credentials.insert(id, usage);
        }
    }
    Ok(known)
}

/// The credentials of a client, and what is known of their uses.
pub(super) fn credentials_of<R: Columns>(
    rows: &[R],
    known: &Known,
    promises: &[R],
) -> Result<Credentials, StoreError> {
    let mut all = Vec::new();
    for row in rows {
        let mut credential = credential_info(row)?;
        credential.usage = known.credentials.get(&credential.id).copied();
        all.push(credential);
    }
    Ok(Credentials {
        longest_gap: known.longest_gap,
        unwritten: promises.iter().map(unwritten).collect::<Result<_, _>>()?,
        all,
    })
}

fn unwritten(row: &impl Columns) -> Result<Unwritten, StoreError> {
    Ok(Unwritten {
        known_until: time(row, "known_until")?,
        taken_until: time(row, "taken_until")?,
        longest_token: maybe_time(row, "longest_token")?
            .map_or(NOTED_EVERY, |life| life.max(NOTED_EVERY)),
    })
}

/// An event that came late may lie before the one that it follows: that is no gap.
fn longest_gap(row: &impl Columns) -> Result<u64, StoreError> {
    let gap = row.maybe_number("longest_gap")?.unwrap_or(0);
    Ok(u64::try_from(gap).unwrap_or(0))
}

fn credential_info(row: &impl Columns) -> Result<CredentialInfo, StoreError> {
    Ok(CredentialInfo {
        id: credential_id(&row.text("id")?)?,
        kind: credential_kind(row)?,
        label: row.text("label")?,
        last_four: row.text("last_four")?,
        created_at: time(row, "created_at")?,
        expires_at: maybe_time(row, "expires_at")?,
        replaces: maybe_credential_id(row, "replaces")?,
        usage: usage(row)?,
    })
}

fn usage(row: &impl Columns) -> Result<Option<Usage>, StoreError> {
    let Some(last_used_at) = maybe_time(row, "last_used_at")? else {
        return Ok(None);
    };
    Ok(Some(Usage {
        last_used_at,
        count: time(row, "use_count")?,
        alive_until: time(row, "alive_until")?,
    }))
}

/// A resource, its scopes still missing.
pub(super) fn resource(row: &impl Columns) -> Result<Resource, StoreError> {
    Ok(Resource {
        id: resource_id(row)?,
        settings: PolicyResource {
            name: row.text("name")?,
            scopes: BTreeMap::new(),
            token_lifetime: time(row, "token_lifetime")?,
            signing_alg: algorithm_of(row, "signing_alg")?,
            owner: maybe(row.maybe_text("owner")?, ClientId::parse)?,
            token_format: token_format(row)?,
            token_profile: token_profile(row)?,
            metadata_claims: claim_names(row)?,
        },
        version: Version::from_text(row.text("version")?),
    })
}

/// Gives the scopes to the resources that have them; both come from one look at the store or from two in a row, so that
/// a scope may have lost its resource.
pub(super) fn with_scopes<R: Columns>(
    mut resources: Vec<Resource>,
    scopes: &[R],
) -> Result<Vec<Resource>, StoreError> {
    for row in scopes {
        let id = resource_id(row)?;
        if let Ok(index) = resources.binary_search_by(|resource| resource.id.cmp(&id)) {
            let scopes = &mut resources[index].settings.scopes;
            scopes.insert(row.text("name")?, row.text("description")?);
        }
    }
    Ok(resources)
}

pub(super) fn arrow(row: &impl Columns) -> Result<Arrow, StoreError> {
    Ok(Arrow {
        client: client_id(row)?,
        resource: resource_id(row)?,
        terms: PolicyGrant {
            scopes: scopes(row)?,
            token_lifetime: maybe_time(row, "token_lifetime")?,
            expires_at: maybe_time(row, "expires_at")?,
            reason: row.text("reason")?,
        },
        version: Version::from_text(row.text("version")?),
    })
}

pub(super) fn recorded(row: &impl Columns) -> Result<Recorded, StoreError> {
    let corrupt = || StoreError::Corrupt {
        what: "audit event",
    };
    let address = row.maybe_text("address")?;
    Ok(Recorded {
        number: time(row, "number")?,
        event: Event {
            at: time(row, "at")?,
            action: Action::parse(&row.text("action")?).ok_or_else(corrupt)?,
            outcome: Outcome::parse(&row.text("outcome")?).ok_or_else(corrupt)?,
            actor: maybe(row.maybe_text("actor")?, ClientId::parse)?,
            client: maybe(row.maybe_text("client_id")?, ClientId::parse)?,
            resource: maybe(row.maybe_text("resource_id")?, ResourceId::parse)?,
            credential: maybe_credential_id(row, "credential_id")?,
            jti: row.maybe_text("jti")?,
            ends_at: maybe_time(row, "ends_at")?,
            reason: row.maybe_text("reason")?.map(Into::into),
            explanation: row.maybe_text("explanation")?,
            request_id: row.maybe_text("request_id")?,
            address: maybe(address, str::parse)?,
        },
    })
}

fn token_format(row: &impl Columns) -> Result<TokenFormat, StoreError> {
    TokenFormat::from_stored(&row.text("token_format")?).ok_or(StoreError::Corrupt {
        what: "token format",
    })
}

fn token_profile(row: &impl Columns) -> Result<TokenProfile, StoreError> {
    TokenProfile::parse(&row.text("token_profile")?).ok_or(StoreError::Corrupt {
        what: "token profile",
    })
}

pub(super) fn grant(row: &impl Columns) -> Result<Grant, StoreError> {
    Ok(Grant {
        resource: resource_id(row)?,
        scopes: scopes(row)?,
        token_format: token_format(row)?,
        token_profile: token_profile(row)?,
        has_metadata_claims: !row.text("metadata_claims")?.is_empty(),
        token_lifetime: time(row, "token_lifetime")?,
        signing_alg: algorithm_of(row, "signing_alg")?,
        expires_at: maybe_time(row, "expires_at")?,
    })
}

pub(super) fn resource_id(row: &impl Columns) -> Result<ResourceId, StoreError> {
    ResourceId::parse(&row.text("resource_id")?).map_err(|_| StoreError::Corrupt {
        what: "resource id",
    })
}

/// A [`Revoked`] as its row has it: what a kind does not have is null.
#[derive(Default)]
pub(super) struct RevokedColumns<'a> {
    pub(super) kind: &'static str,
    pub(super) jti: Option<&'a str>,
    pub(super) client: Option<&'a str>,
    pub(super) credential: Option<&'a str>,
    pub(super) resource: Option<&'a str>,
    pub(super) kid: Option<&'a str>,
}

impl<'a> RevokedColumns<'a> {
    pub(super) fn of(revoked: &'a Revoked) -> Self {
        let none = Self::default();
        match revoked {
            Revoked::Token { jti, resource } => Self {
                kind: "token",
                jti: Some(jti),
                resource: Some(resource.as_str()),
                ..none
            },
            Revoked::Client(client) => Self {
                kind: "client",
                client: Some(client.as_str()),
                ..none
            },
            Revoked::Credential(credential) => Self {
                kind: "credential",
                credential: Some(credential.as_str()),
                ..none
            },
            Revoked::Key(kid) => Self {
                kind: "key",
                kid: Some(kid),
                ..none
            },
            Revoked::Grant(client, resource) => Self {
                kind: "grant",
                client: Some(client.as_str()),
                resource: Some(resource.as_str()),
                ..none
            },
        }
    }
}

pub(super) fn revocation(row: &impl Columns) -> Result<Revocation, StoreError> {
    let corrupt = || StoreError::Corrupt { what: "revocation" };
    let client = || ClientId::parse(&row.text("client_id")?).map_err(|_| corrupt());
    let revoked = match row.text("kind")?.as_str() {
        "token" => Revoked::Token {
            jti: row.text("jti")?,
            resource: resource_id(row)?,
        },
        "client" => Revoked::Client(client()?),
        "credential" => Revoked::Credential(credential_id(&row.text("credential")?)?),
        "grant" => Revoked::Grant(client()?, resource_id(row)?),
        "key" => Revoked::Key(row.text("kid")?),
        _ => return Err(corrupt()),
    };
    let time = |name| maybe_time(row, name)?.ok_or_else(corrupt);
    Ok(Revocation {
        number: time("number")?,
        revoked,
        revoked_at: time("revoked_at")?,
        expires_at: time("expires_at")?,
    })
}

pub(super) fn opaque_token(row: &impl Columns) -> Result<OwnToken, StoreError> {
    let corrupt = || StoreError::Corrupt {
        what: "opaque token",
    };
    let time = |name| maybe_time(row, name)?.ok_or_else(corrupt);
    let jti = row.text("jti")?;
    Ok(OwnToken {
        client_id: ClientId::parse(&row.text("client_id")?).map_err(|_| corrupt())?,
        credential: Some(CredentialId::of_token(&jti).ok_or_else(corrupt)?),
        aud: resource_id(row)?,
        scopes: scopes(row)?,
        iat: time("issued_at")?,
        nbf: time("issued_at")?,
        exp: time("expires_at")?,
        jti,
    })
}

fn scopes(row: &impl Columns) -> Result<ScopeSet, StoreError> {
    row.text("scopes")?
        .parse()
        .map_err(|_| StoreError::Corrupt { what: "scope list" })
}

pub(super) fn stored_key(row: &impl Columns) -> Result<StoredKey, StoreError> {
    Ok(StoredKey {
        record: KeyRecord {
            kid: row.text("kid")?,
            algorithm: algorithm_of(row, "alg")?,
            number: time(row, "number")?,
            created_at: time(row, "created_at")?,
            signs_from: time(row, "signs_from")?,
            announce_time: time(row, "announce_time")?,
            retire_time: time(row, "retire_time")?,
            compromised_at: maybe_time(row, "compromised_at")?,
        },
        sealed_private: row.bytes("sealed_private")?,
    })
}

pub(super) fn algorithm_of(row: &impl Columns, name: &str) -> Result<Algorithm, StoreError> {
    algorithm(&row.text(name)?).ok_or(StoreError::Corrupt {
        what: "signing algorithm",
    })
}

pub(super) fn time(row: &impl Columns, name: &str) -> Result<u64, StoreError> {
    maybe_time(row, name)?.ok_or(StoreError::Corrupt { what: "time" })
}

pub(super) fn maybe_time(row: &impl Columns, name: &str) -> Result<Option<u64>, StoreError> {
    row.maybe_number(name)?
        .map(u64::try_from)
        .transpose()
        .map_err(|_| StoreError::Corrupt { what: "time" })
}

/// Seconds as both databases keep them. A time beyond the year 292 billion stays there.
pub(super) fn number(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}
