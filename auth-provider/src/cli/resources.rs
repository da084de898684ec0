//! `auth-provider resource …`

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    Session,
    confirm::Confirm,
    failure::{Exit, Failure},
    output::{length, lines, table},
};
use crate::keys::Period;

const NAME: &str = "resources";

#[derive(clap::Subcommand)]
pub enum ResourceCommand {
    /// List resources
    List {
        /// At most so many [default: all]
        #[arg(long, value_name = "NUMBER")]
        limit: Option<usize>,
    },
    /// Show a resource and its scopes
    Show {
        #[command(flatten)]
        resource: ResourceName,
    },
    /// Create a resource
    #[command(
        after_help = "Example:\n  auth-provider resource create ledger --scope 'entry.read=Read entries' \
                      --scope entry.write --token-lifetime 15m"
    )]
    Create {
        #[command(flatten)]
        resource: ResourceName,
        #[command(flatten)]
        wish: Wish,
    },
    /// Change what is said; the rest stays
    #[command(
        after_help = "Example:\n  auth-provider resource update ledger --scope 'entry.close=Close a year' \
                      --remove-scope entry.write"
    )]
    Update {
        #[command(flatten)]
        resource: ResourceName,
        #[command(flatten)]
        wish: Wish,
        /// Take a scope away that no grant has; may be repeated
        #[arg(long, value_name = "SCOPE")]
        remove_scope: Vec<String>,
        /// No client is its resource server any more
        #[arg(long, conflicts_with = "owner")]
        no_owner: bool,
        /// Nothing of the clients' metadata is in its tokens any more
        #[arg(long, conflicts_with = "metadata_claim")]
        no_metadata_claims: bool,
    },
    /// Delete a resource that no grant names
    Delete {
        #[command(flatten)]
        resource: ResourceName,
        #[command(flatten)]
        confirm: Confirm,
    },
}

/// A resource among the arguments.
#[derive(clap::Args)]
pub struct ResourceName {
    /// The resource: its name is the audience of its tokens
    #[arg(value_name = "RESOURCE")]
    resource: String,
}

#[derive(clap::Args)]
pub struct Wish {
    /// What people call it
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Something that can be done there, and its description; may be repeated
    #[arg(long, value_name = "SCOPE[=TEXT]", value_parser = scope)]
    scope: Vec<(String, String)>,
    /// The client that is its resource server, and may ask about its tokens
    #[arg(long, value_name = "CLIENT")]
    owner: Option<String>,
    /// Whether its tokens can be read, or only asked about
    #[arg(long, value_parser = ["jwt", "opaque"])]
    token_format: Option<String>,
    /// Which claims its signed tokens have
    #[arg(long, value_parser = ["standard", "supertokens", "stytch"])]
    token_profile: Option<String>,
    /// A key of the clients' metadata that is a claim of its signed tokens; may be repeated, and replaces the list
    #[arg(long, value_name = "KEY")]
    metadata_claim: Vec<String>,
    /// How its tokens are signed
    #[arg(long, value_parser = ["ES256", "RS256", "PS256", "EdDSA"])]
    signing_alg: Option<String>,
    /// How long its tokens live, as in 15m
    #[arg(long, value_name = "TIME")]
    token_lifetime: Option<Period>,
}

#[expect(clippy::unnecessary_wraps, reason = "clap's signature")]
fn scope(text: &str) -> Result<(String, String), String> {
    let (scope, words) = text.split_once('=').unwrap_or((text, ""));
    Ok((scope.to_owned(), words.to_owned()))
}

#[derive(Deserialize)]
struct Resource {
    #[serde(rename = "resource")]
    id: String,
    name: String,
    scopes: BTreeMap<String, String>,
    owner: Option<String>,
    token_format: String,
    token_profile: String,
    metadata_claims: Vec<String>,
    signing_alg: String,
    token_lifetime: u64,
    built_in: bool,
}

pub(super) async fn run(command: ResourceCommand, session: &Session) -> Result<Exit, Failure> {
    match command {
        ResourceCommand::List { limit } => list(session, limit).await,
        ResourceCommand::Show { resource } => {
            let answer = session.api.get(&[NAME, &resource.resource]).await?;
            shown(session, &answer.value, "Resource")
        }
        ResourceCommand::Create { resource, wish } => {
            let mut body = wish.body(&[], false);
            body.insert("resource".into(), resource.resource.into());
            let created = session.api.create(&[NAME], &body.into()).await?;
            shown(session, &created.value, "Created resource")
        }
        ResourceCommand::Update {
            resource,
            wish,
            remove_scope,
            no_owner,
            no_metadata_claims,
        } => {
            let mut body = wish.body(&remove_scope, no_owner);
            if no_metadata_claims {
                body.insert("metadata_claims".into(), Value::Array(vec![]));
            }
            if body.is_empty() {
                return Err(Failure::Usage(
                    "say what to change: see `auth-provider resource update --help`".to_owned(),
                ));
            }
            let path = [NAME, &resource.resource];
            let answer = session.api.patch(&path, &body.into(), None).await?;
            shown(session, &answer.value, "Changed resource")
        }
        ResourceCommand::Delete { resource, confirm } => {
            delete(session, &resource.resource, confirm).await
        }
    }
}

async fn list(session: &Session, limit: Option<usize>) -> Result<Exit, Failure> {
    let rows = session.api.list(NAME, &[], limit).await?;
    session
        .out
        .show(&session.api, &rows.into(), |resources: Vec<Resource>| {
            let rows = resources.into_iter().map(|resource| {
                let scopes: Vec<String> = resource.scopes.into_keys().collect();
                [
                    resource.id,
                    resource.token_format,
                    resource.signing_alg,
                    length(resource.token_lifetime),
                    resource.owner.unwrap_or_default(),
                    scopes.join(" "),
                    resource.name,
                ]
            });
            let head = [
                "RESOURCE", "TOKENS", "ALG", "LIFETIME", "OWNER", "SCOPES", "NAME",
            ];
            table(head, rows)
        })?;
    Ok(Exit::Done)
}

async fn delete(session: &Session, name: &str, confirm: Confirm) -> Result<Exit, Failure> {
    let path = [NAME, name];
    let mut etag = None;
    if let Some(person) = confirm.person()? {
        let answer = session.api.get(&path).await?;
        let resource: Resource = session.api.read(&answer.value)?;
        person.ask(&format!(
            "Deletes resource {} for good:\n{}",
            resource.id,
            resource.lines()
        ))?;
        etag = answer.etag;
    }
    session.api.delete(&path, etag.as_deref()).await?;
    session.out.done(&format!("Deleted resource {name}."))?;
    Ok(Exit::Done)
}

impl Wish {
    fn body(self, removed_scopes: &[String], no_owner: bool) -> Map<String, Value> {
        let given = self.scope.into_iter();
        let given = given.map(|(scope, words)| (scope, words.into()));
        let removed = removed_scopes
            .iter()
            .map(|scope| (scope.clone(), Value::Null));
        let scopes: Map<String, Value> = given.chain(removed).collect();
        let owner = if no_owner {
            Some(Value::Null)
        } else {
            self.owner.map(Value::from)
        };
        let members = [
            ("name", self.name.map(Value::from)),
            ("scopes", (!scopes.is_empty()).then(|| scopes.into())),
            ("owner", owner),
            ("token_format", self.token_format.map(Value::from)),
            ("token_profile", self.token_profile.map(Value::from)),
            (
                "metadata_claims",
                (!self.metadata_claim.is_empty()).then(|| self.metadata_claim.into()),
            ),
            ("signing_alg", self.signing_alg.map(Value::from)),
            (
                "token_lifetime",
                self.token_lifetime.map(|period| period.seconds().into()),
            ),
        ];
        members
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect()
    }
}

fn shown(session: &Session, answer: &Value, what: &str) -> Result<Exit, Failure> {
    session
        .out
        .show(&session.api, answer, |resource: Resource| {
            format!("{what} {}\n{}", resource.id, resource.lines())
        })?;
    Ok(Exit::Done)
}

impl Resource {
    fn lines(&self) -> String {
        let built_in = if self.built_in {
            "cannot be deleted"
        } else {
            ""
        };
        let profile = match self.token_profile.as_str() {
            "standard" => String::new(),
            other => format!(" ({other})"),
        };
        let tokens = format!(
            "{}{profile}, {}, for {}",
            self.token_format,
            self.signing_alg,
            length(self.token_lifetime)
        );
        let own = [
            ("name", self.name.clone()),
            ("owner", self.owner.clone().unwrap_or_default()),
            ("tokens", tokens),
            ("claims", self.metadata_claims.join(", ")),
            ("built in", built_in.to_owned()),
        ];
        let scopes = self.scopes.iter().map(|(scope, words)| {
            let told = if words.is_empty() {
                scope.clone()
            } else {
                format!("{scope}: {words}")
            };
            ("scope", told)
        });
        let all: Vec<_> = own.into_iter().chain(scopes).collect();
        lines(&all)
    }
}
