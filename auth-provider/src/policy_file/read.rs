//! Reading a policy file. An error says in one line what is wrong and where.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use m2m::{
    ScopeSet,
    service::{TextError, redacted},
};
use serde::{Deserialize, Deserializer, de};

use super::{
    DEFAULT_TOKEN_LIFETIME, MAX_TIME, MAX_TOKEN_LIFETIME, Policy, PolicyClient, PolicyError,
    PolicyGrant, PolicyResource,
};
use crate::{
    built_in,
    client::{ClientId, ClientStatus},
    keys::{DEFAULT_ALGORITHM, algorithm},
    metadata::{self, Metadata, MetadataError},
    resource::{ClaimNames, ResourceId, TokenFormat, TokenProfile},
    texts,
};

/// The longest error, in characters.
const MAX_ERROR: usize = 500;

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
    token_lifetime: Option<Life>,
    #[serde(default)]
    signing_alg: Option<String>,
    #[serde(default)]
    owner: Option<String>,
    #[serde(default)]
    token_format: TokenFormat,
    #[serde(default)]
    token_profile: TokenProfile,
    #[serde(default)]
    metadata_claims: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileClient {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    description: String,
    #[serde(default)]
    status: Option<ClientStatus>,
    #[serde(default)]
    metadata: Option<BTreeMap<String, toml::Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileGrant {
    client: String,
    resource: String,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default)]
    token_lifetime: Option<Life>,
    #[serde(default)]
    expires_at: Option<End>,
    #[serde(default)]
    reason: String,
}

/// The life of a token, in seconds, written as `1h` or `15m`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Life(u64);

impl<'de> Deserialize<'de> for Life {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        let life = String::deserialize(value)?.parse::<SignedDuration>().ok();
        life.filter(|life| life.subsec_nanos() == 0)
            .and_then(|life| u64::try_from(life.as_secs()).ok())
            .filter(|seconds| (1..=MAX_TOKEN_LIFETIME).contains(seconds))
            .map(Self)
            .ok_or_else(|| {
                de::Error::custom(
                    "token_lifetime must lie between 1s and 24h, in whole seconds, as in `1h` or `15m`",
                )
            })
    }
}

/// When a grant ends, in seconds since the epoch, written as RFC 3339 has it, with or without quotes.
struct End(u64);

impl<'de> Deserialize<'de> for End {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        let written = match toml::Value::deserialize(value)? {
            toml::Value::String(text) => text,
            toml::Value::Datetime(time) => time.to_string(),
            _ => String::new(),
        };
        let end: Timestamp = written.parse().map_err(|_| {
            de::Error::custom(
                "expires_at must be a time with its zone, as in `2027-01-01T00:00:00Z`",
            )
        })?;
        u64::try_from(end.as_second())
            .ok()
            .filter(|end| *end <= MAX_TIME)
            .map(Self)
            .ok_or_else(|| de::Error::custom("expires_at must lie between the years 1970 and 9999"))
    }
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
            let key = ClientId::parse(&id)
                .map_err(|e| meaning(format!("client `{}`: {e}", shown(&id))))?;
            if policy.clients.contains_key(&key) {
                return Err(meaning(format!(
                    "client `{id}` is built in: leave out [clients.{id}]"
                )));
            }
            policy.clients.insert(key, client.check(&id)?);
        }
        for (id, resource) in file.resources {
            let (id, resource) = resource.check(&id, &policy)?;
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
            .ok_or_else(|| {
                let shown = shown(client);
                format!(
                    "there is no [clients.{shown}] in this file: correct the name, or define it"
                )
            })
    }
}

impl FileClient {
    fn check(self, id: &str) -> Result<PolicyClient, PolicyError> {
        let wrong = |what: String| meaning(format!("client `{id}`: {what}"));

        let name = self.name.unwrap_or_else(|| texts::default_name(id));
        texts::check_name(&name).map_err(|e| wrong(of_field("name", e)))?;
        texts::check_description(&self.description)
            .map_err(|e| wrong(of_field("description", e)))?;
        let metadata = self.metadata.map(checked_metadata).transpose();
        let metadata = metadata.map_err(|error| wrong(format!("metadata: {error}")))?;
        Ok(PolicyClient {
            name,
            description: self.description,
            status: self.status,
            metadata,
        })
    }
}

fn checked_metadata(written: BTreeMap<String, toml::Value>) -> Result<Metadata, MetadataError> {
    let entries = written.into_iter();
    let read: Result<Metadata, _> = entries
        .map(|(key, value)| Ok((key, metadata::from_toml(value)?)))
        .collect();
    let read = read?;
    metadata::check(&read)?;
    Ok(read)
}

impl FileResource {
    fn check(self, id: &str, policy: &Policy) -> Result<(ResourceId, PolicyResource), PolicyError> {
        let wrong = |what: String| meaning(format!("resource `{}`: {what}", shown(id)));

        let key = ResourceId::parse(id).map_err(|error| wrong(error.to_string()))?;
        ScopeSet::from_tokens(self.scopes.keys()).map_err(|error| wrong(error.to_string()))?;
        for (scope, words) in &self.scopes {
            texts::check_description(words)
                .map_err(|e| wrong(of_field(&format!("scope {scope}"), e)))?;
        }
        let name = self.name.unwrap_or_else(|| texts::default_name(id));
        texts::check_name(&name).map_err(|e| wrong(of_field("name", e)))?;
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
            token_lifetime: self
                .token_lifetime
                .map_or(DEFAULT_TOKEN_LIFETIME, |Life(seconds)| seconds),
            owner,
            token_format: self.token_format,
            token_profile: self.token_profile,
            metadata_claims: ClaimNames::parse(&self.metadata_claims)
                .map_err(|error| wrong(format!("metadata_claims: {error}")))?,
            name,
        };
        Ok((key, resource))
    }
}

impl FileGrant {
    fn check(self, policy: &Policy) -> Result<((ClientId, ResourceId), PolicyGrant), PolicyError> {
        let Self {
            client, resource, ..
        } = &self;
        let described = format!("grant {} -> {}", shown(client), shown(resource));
        let wrong = |what: String| meaning(format!("{described}: {what}"));

        let client_id = policy.defined(client).map_err(wrong)?;
        let (resource_id, defined) = ResourceId::parse(resource)
            .ok()
            .and_then(|id| policy.resources.get_key_value(&id))
            .ok_or_else(|| {
                wrong(format!(
                    "there is no [resources.{}] in this file: correct the name, or define it",
                    shown(resource)
                ))
            })?;
        let known: BTreeSet<&str> = defined.scopes.keys().map(String::as_str).collect();
        if let Some(scope) = self
            .scopes
            .iter()
            .find(|scope| !known.contains(scope.as_str()))
        {
            let known = known.into_iter().collect::<Vec<_>>().join(", ");
            return Err(wrong(format!(
                "{resource} has no scope `{}`, it has: {known}",
                shown(scope)
            )));
        }
        let scopes = ScopeSet::from_tokens(&self.scopes).map_err(|e| wrong(e.to_string()))?;
        texts::check_description(&self.reason).map_err(|e| wrong(of_field("reason", e)))?;
        let token_lifetime = self.token_lifetime.map(|Life(seconds)| seconds);
        if token_lifetime > Some(defined.token_lifetime) {
            return Err(wrong(format!(
                "token_lifetime is longer than the resource's, {} s: a grant can only shorten it",
                defined.token_lifetime
            )));
        }
        let grant = PolicyGrant {
            scopes,
            token_lifetime,
            expires_at: self.expires_at.map(|End(second)| second),
            reason: self.reason,
        };
        Ok(((client_id, resource_id.clone()), grant))
    }
}

fn meaning(what: impl AsRef<str>) -> PolicyError {
    PolicyError::Meaning(one_line(what.as_ref()))
}

/// A name as an error repeats it, so that its place is found. What cannot be a name and is long may be a secret in the
/// wrong place.
fn shown(name: &str) -> &str {
    if name.len() <= 32 || ResourceId::parse(name).is_ok() {
        name
    } else {
        "…"
    }
}

/// An error may repeat a name, and a name that is refused may be anything.
fn one_line(message: &str) -> String {
    let line = message.replace(char::is_control, " ");
    line.chars().take(MAX_ERROR).collect()
}

fn of_field(field: &str, error: TextError) -> String {
    format!("{field}: {error}")
}

fn syntax_error(text: &str, error: &toml::de::Error) -> PolicyError {
    PolicyError::Syntax {
        line: line_of(text, error),
        message: one_line(&redacted(error.message())),
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

    fn assert_refused(text: &str, part: &str) {
        let error = Policy::parse(text).unwrap_err().to_string();
        assert!(error.contains(part), "{text}\n=> {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(!error.contains("m2m_secret"), "{error}");
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
    fn what_the_file_does_not_say_of_a_client_is_left_as_it_is() {
        let client = |text: &str| {
            let policy = Policy::parse(&format!("[clients.bot]\n{text}")).unwrap();
            policy.clients[&ClientId::parse("bot").unwrap()].clone()
        };
        let silent = client("");
        assert_eq!((silent.status, silent.metadata), (None, None));
        let told = client("status = 'inactive'\nmetadata = { team = 'blue', 'cost.centre' = '7' }");
        assert_eq!(told.status, Some(ClientStatus::Inactive));
        assert_eq!(told.metadata.unwrap()["cost.centre"], "7");
    }

    #[test]
    fn a_time_may_stand_without_quotes() {
        let policy = Policy::parse(&format!(
            "{RESOURCE}\n[[grants]]\nclient = 'bot'\nresource = 'notes'\n\
             expires_at = 2027-01-01T01:00:00+01:00"
        ))
        .unwrap();
        let ends: Vec<_> = policy
            .grants
            .values()
            .filter_map(|grant| grant.expires_at)
            .collect();
        assert_eq!(ends, [1_798_761_600]);
    }

    #[test]
    fn what_is_wrong_is_said_in_one_line_with_its_place() {
        let grant = |lines: &str| format!("{RESOURCE}\n[[grants]]\n{lines}");
        for (text, part) in [
            (
                "[resources.a]\ntoken_format = 'paper'".to_owned(),
                "line 2: unknown variant, expected `jwt` or `opaque`",
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
                "line 2: token_lifetime must lie",
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
                "line 10: expires_at must lie between the years 1970 and 9999",
            ),
        ] {
            assert_refused(&text, part);
        }
    }

    #[test]
    fn a_value_that_is_refused_is_not_repeated() {
        let grant = |lines: &str| format!("{RESOURCE}\n[[grants]]\n{lines}");
        for (text, part) in [
            (
                grant("client = 'bot'\nresource = 'notes'\nexpires_at = 2027"),
                "line 10: expires_at must be a time",
            ),
            (
                grant("client = 'bot'\nresource = 'notes'\nreason = 'a\\u0007b'")
                    .replace('\'', "\""),
                "grant bot -> notes: reason: it has a control character",
            ),
            (
                "[resources.a]\nname = ''".to_owned(),
                "resource `a`: name: it is empty",
            ),
            (
                "[resources.a]\nscopes = { x = \"a\\nb\" }".to_owned(),
                "resource `a`: scope x: it has a control character",
            ),
            (
                format!("[clients.a]\ndescription = '{}'", "x".repeat(1001)),
                "client `a`: description: it is too long: write at most 1000 characters",
            ),
            (
                "[clients.a]\nmetadata = { 'a b' = 'c' }".to_owned(),
                "client `a`: metadata: a key is",
            ),
            (
                "[clients.a]\nmetadata = { a = 2027-01-01 }".to_owned(),
                "client `a`: metadata: a value is a time of TOML's own: write it in quotes",
            ),
            (
                "[clients.a]\nmetadata = { a = [nan] }".to_owned(),
                "client `a`: metadata: a number is too large",
            ),
            (
                "[resources.a]\ntoken_profile = 'm2m_secret'".to_owned(),
                "line 2: unknown variant, expected one of `standard`, `supertokens`, `stytch`",
            ),
            (
                "[resources.a]\nmetadata_claims = ['team', 'sub']".to_owned(),
                "resource `a`: metadata_claims: one of these claims is the server's own",
            ),
            (
                "[clients.a]\nstatus = 'm2m_secret'".to_owned(),
                "line 2: unknown variant, expected `active` or `inactive`",
            ),
            (
                "[clients]\na = 'm2m_secret'".to_owned(),
                "line 2: invalid type: string, expected",
            ),
            (
                grant("client = \"a\\u0007b\\nc\"\nresource = 'notes'"),
                "grant a b c -> notes: there is no [clients.a b c]",
            ),
            ("[clients.'..']".to_owned(), "client `..`: a client id is"),
        ] {
            assert_refused(&text, part);
        }
    }
}
