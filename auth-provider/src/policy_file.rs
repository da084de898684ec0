//! The policy file: resources, clients and grants as TOML, checked as a whole before any of it counts.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use m2m::{ScopeSet, verify::Algorithm};
use serde::Deserialize;

use crate::{
    built_in,
    client::{ClientId, ClientStatus},
    keys::{DEFAULT_ALGORITHM, algorithm},
    resource::{ResourceId, TokenFormat},
};

/// The life of a resource's tokens where the policy says nothing, in seconds.
pub const DEFAULT_TOKEN_LIFETIME: u64 = 3600;

/// The longest life that a policy may give a token, in seconds: a bearer token that leaks is good for
/// whoever holds it until it ends.
pub const MAX_TOKEN_LIFETIME: u64 = 24 * 3600;

/// A policy in which every name that is used is also defined, with what is [built in](crate::built_in).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    pub resources: BTreeMap<ResourceId, PolicyResource>,
    pub clients: BTreeMap<ClientId, PolicyClient>,
    pub grants: BTreeMap<(ClientId, ResourceId), PolicyGrant>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyResource {
    pub name: String,
    /// Scope and what it allows, in words.
    pub scopes: BTreeMap<String, String>,
    /// In seconds.
    pub token_lifetime: u64,
    pub signing_alg: Algorithm,
    /// The client that the resource server authenticates as.
    pub owner: Option<ClientId>,
    pub token_format: TokenFormat,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyClient {
    pub name: String,
    pub description: String,
    /// `None` leaves it as it is: what an operator deactivated does not come alive because a file is applied.
    pub status: Option<ClientStatus>,
    /// `None` leaves it as it is.
    pub metadata: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyGrant {
    pub scopes: ScopeSet,
    /// In seconds; `None` takes the resource's.
    pub token_lifetime: Option<u64>,
    /// Seconds since the epoch.
    pub expires_at: Option<u64>,
    pub reason: String,
}

/// What is wrong with a policy file, in one line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    #[error("line {line}: {message}")]
    Syntax { line: usize, message: String },
    #[error("{0}")]
    Meaning(String),
}

/// The file as it is written; a misspelled key is an error, not a silently missing rule.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    resources: BTreeMap<String, FileResource>,
    #[serde(default)]
    clients: BTreeMap<String, FileClient>,
    #[serde(default)]
    grants: Vec<FileGrant>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileResource {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    scopes: BTreeMap<String, String>,
    #[serde(default)]
    token_lifetime: Option<SignedDuration>,
    #[serde(default)]
    signing_alg: Option<String>,
    #[serde(default)]
    owner: Option<String>,
    #[serde(default)]
    token_format: TokenFormat,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileClient {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    description: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileGrant {
    client: String,
    resource: String,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default)]
    token_lifetime: Option<SignedDuration>,
    #[serde(default)]
    expires_at: Option<Timestamp>,
    #[serde(default)]
    reason: String,
}

impl Policy {
    /// Reads and checks a policy file's text.
    ///
    /// # Errors
    /// When the text is no TOML, a key or a value is unknown, or a grant names what is not defined.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let file: File = toml::from_str(text).map_err(|error| syntax_error(text, &error))?;
        let mut policy = Self {
            resources: built_in::resources(),
            clients: built_in::clients(),
            grants: built_in::grants(),
        };
        for (id, client) in file.clients {
            let key = ClientId::parse(&id).map_err(|e| meaning(format!("client `{id}`: {e}")))?;
            if policy.clients.contains_key(&key) {
                return Err(meaning(format!(
                    "client `{id}` is built in: leave out [clients.{id}]"
                )));
            }
            let name = client.name.unwrap_or(id);
            policy.clients.insert(
                key,
                PolicyClient {
                    name,
                    description: client.description,
                    status: None,
                    metadata: None,
                },
            );
        }
        for (id, resource) in file.resources {
            let (id, resource) = resource.check(id, &policy)?;
            if policy.resources.contains_key(&id) {
                return Err(meaning(format!(
                    "resource `{id}` is built in: grants can name it, but not change it"
                )));
            }
            policy.resources.insert(id, resource);
        }
        for grant in file.grants {
            let (arrow, grant) = grant.check(&policy)?;
            let described = format!("{} -> {}", arrow.0, arrow.1);
            if policy.grants.insert(arrow, grant).is_some() {
                return Err(meaning(format!(
                    "grant {described} is written twice: write one with all its scopes"
                )));
            }
        }
        Ok(policy)
    }

    /// The client of this name, if the file defines it.
    fn defined(&self, client: &str) -> Result<ClientId, String> {
        ClientId::parse(client)
            .ok()
            .filter(|id| self.clients.contains_key(id))
            .ok_or_else(|| format!("there is no [clients.{client}] in this file"))
    }
}

impl FileResource {
    fn check(
        self,
        id: String,
        policy: &Policy,
    ) -> Result<(ResourceId, PolicyResource), PolicyError> {
        let wrong = |what: String| meaning(format!("resource `{id}`: {what}"));

        let key = ResourceId::parse(&id).map_err(|error| wrong(error.to_string()))?;
        ScopeSet::from_tokens(self.scopes.keys()).map_err(|error| wrong(error.to_string()))?;
        let token_lifetime = self
            .token_lifetime
            .map(seconds)
            .transpose()
            .map_err(wrong)?;
        let owner = self
            .owner
            .map(|owner| policy.defined(&owner).map_err(wrong))
            .transpose()?;
        let signing_alg = match &self.signing_alg {
            None => DEFAULT_ALGORITHM,
            Some(name) => algorithm(name).ok_or_else(|| {
                wrong("signing_alg must be ES256, RS256, PS256 or EdDSA".to_owned())
            })?,
        };
        let resource = PolicyResource {
            signing_alg,
            scopes: self.scopes,
            token_lifetime: token_lifetime.unwrap_or(DEFAULT_TOKEN_LIFETIME),
            owner,
            token_format: self.token_format,
            name: self.name.unwrap_or(id),
        };
        Ok((key, resource))
    }
}

impl FileGrant {
    fn check(self, policy: &Policy) -> Result<((ClientId, ResourceId), PolicyGrant), PolicyError> {
        let Self {
            client, resource, ..
        } = &self;
        let wrong = |what: String| meaning(format!("grant {client} -> {resource}: {what}"));

        let client_id = policy.defined(client).map_err(wrong)?;
        let (resource_id, defined) = ResourceId::parse(resource)
            .ok()
            .and_then(|id| policy.resources.get_key_value(&id))
            .ok_or_else(|| wrong(format!("there is no [resources.{resource}] in this file")))?;
        let known: BTreeSet<&str> = defined.scopes.keys().map(String::as_str).collect();
        if let Some(scope) = self
            .scopes
            .iter()
            .find(|scope| !known.contains(scope.as_str()))
        {
            let known = known.into_iter().collect::<Vec<_>>().join(", ");
            return Err(wrong(format!(
                "{resource} has no scope `{scope}`, it has: {known}"
            )));
        }
        let scopes = ScopeSet::from_tokens(&self.scopes).map_err(|e| wrong(e.to_string()))?;
        let token_lifetime = self
            .token_lifetime
            .map(seconds)
            .transpose()
            .map_err(wrong)?;
        if token_lifetime > Some(defined.token_lifetime) {
            return Err(wrong(format!(
                "token_lifetime is longer than the resource's, {} s: a grant can only shorten it",
                defined.token_lifetime
            )));
        }
        let expires_at = match self.expires_at {
            None => None,
            Some(end) => Some(
                u64::try_from(end.as_second())
                    .map_err(|_| wrong("expires_at lies before 1970".to_owned()))?,
            ),
        };
        let grant = PolicyGrant {
            scopes,
            token_lifetime,
            expires_at,
            reason: self.reason,
        };
        Ok(((client_id, resource_id.clone()), grant))
    }
}

fn meaning(what: String) -> PolicyError {
    PolicyError::Meaning(what)
}

fn seconds(life: SignedDuration) -> Result<u64, String> {
    u64::try_from(life.as_secs())
        .ok()
        .filter(|seconds| (1..=MAX_TOKEN_LIFETIME).contains(seconds))
        .ok_or_else(|| "token_lifetime must lie between 1s and 24h, as in `1h` or `15m`".to_owned())
}

fn syntax_error(text: &str, error: &toml::de::Error) -> PolicyError {
    PolicyError::Syntax {
        line: line_of(text, error),
        message: error.message().replace('\n', " "),
    }
}

/// The line of a TOML text at which it cannot be read.
pub fn line_of(text: &str, error: &toml::de::Error) -> usize {
    let position = error.span().map_or(0, |span| span.start.min(text.len()));
    text[..position].matches('\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESOURCE: &str = r#"
        [resources.notes]
        scopes = { "note.read" = "Read", "note.write" = "Write" }
        token_lifetime = "30m"
        [clients.bot]
        "#;

    fn error_of(text: &str) -> String {
        Policy::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn a_policy_is_read_with_its_defaults() {
        let policy = Policy::parse(&format!(
            "{RESOURCE}\n[[grants]]\nclient = 'bot'\nresource = 'notes'\nscopes = ['note.read']\n\
             token_lifetime = '15m'\nexpires_at = '2027-01-01T00:00:00Z'"
        ))
        .unwrap();
        let (bot, notes) = (
            ClientId::parse("bot").unwrap(),
            ResourceId::parse("notes").unwrap(),
        );
        assert_eq!(policy.resources[&notes].token_lifetime, 1800);
        assert_eq!(policy.clients[&bot].name, "bot");
        let grant = &policy.grants[&(bot, notes)];
        assert_eq!(grant.scopes.to_string(), "note.read");
        assert_eq!(grant.token_lifetime, Some(900));
        assert_eq!(grant.expires_at, Some(1_798_761_600));
        let empty = Policy::parse("").unwrap();
        assert_eq!(empty.clients.len(), 1, "the administrator is built in");
    }

    #[test]
    fn what_is_wrong_is_said_in_one_line_with_its_place() {
        let grant = |lines: &str| format!("{RESOURCE}\n[[grants]]\n{lines}");
        for (text, part) in [
            (
                "[resources.a]\ntoken_format = 'paper'".to_owned(),
                "line 2: unknown variant `paper`",
            ),
            ("clients = [".to_owned(), "line 1"),
            (
                "\n\n[client.bot]".to_owned(),
                "line 3: unknown field `client`",
            ),
            (
                "[resources.a]\nscope = {}".to_owned(),
                "line 2: unknown field `scope`",
            ),
            (
                "[resources.'a b']".to_owned(),
                "resource `a b`: a resource is named by",
            ),
            (
                "[resources.a]\nscopes = {'x y' = ''}".to_owned(),
                "resource `a`: a scope is",
            ),
            (
                "[resources.a]\ntoken_lifetime = '0s'".to_owned(),
                "between 1s and 24h",
            ),
            (
                "[resources.a]\ntoken_lifetime = '-1h'".to_owned(),
                "between 1s and 24h",
            ),
            (
                "[resources.a]\ntoken_lifetime = '25h'".to_owned(),
                "between 1s and 24h",
            ),
            (
                "[resources.a]\ntoken_lifetime = 'soon'".to_owned(),
                "line 2",
            ),
            (
                "[resources.auth-provider]".to_owned(),
                "resource `auth-provider` is built in",
            ),
            ("[clients.admin]".to_owned(), "client `admin` is built in"),
            (
                grant("client = 'admin'\nresource = 'auth-provider'"),
                "grant admin -> auth-provider is written twice",
            ),
            (
                "[resources.a]\nsigning_alg = 'HS256'".to_owned(),
                "resource `a`: signing_alg must be ES256, RS256, PS256 or EdDSA",
            ),
            ("[clients.'a:b']".to_owned(), "client `a:b`: a client id is"),
            (grant("client = 'bot'"), "missing field `resource`"),
            (
                grant("client = 'cat'\nresource = 'notes'"),
                "no [clients.cat]",
            ),
            (
                grant("client = 'bot'\nresource = 'mail'"),
                "no [resources.mail]",
            ),
            (
                grant("client = 'bot'\nresource = 'notes'\nscopes = ['note.delete']"),
                "no scope `note.delete`, it has: note.read, note.write",
            ),
            (
                grant("client = 'bot'\nresource = 'notes'\ntoken_lifetime = '31m'"),
                "longer than the resource's, 1800 s",
            ),
            (
                grant(
                    "client = 'bot'\nresource = 'notes'\n[[grants]]\nclient = 'bot'\nresource = 'notes'",
                ),
                "grant bot -> notes is written twice",
            ),
            (
                grant("client = 'bot'\nresource = 'notes'\nexpires_at = '1960-01-01T00:00:00Z'"),
                "before 1970",
            ),
        ] {
            let error = error_of(&text);
            assert!(error.contains(part), "{text}\n=> {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
}
