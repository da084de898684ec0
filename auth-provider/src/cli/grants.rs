//! `auth-provider grant …`

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Session,
    confirm::Confirm,
    failure::{Exit, Failure},
    output::{length, lines, table},
    when::{self, When},
};
use crate::keys::Period;

const NAME: &str = "grants";

#[derive(clap::Subcommand)]
pub enum GrantCommand {
    /// List grants
    List {
        /// Only those of this client
        #[arg(long, value_name = "CLIENT")]
        client: Option<String>,
        /// Only those for this resource
        #[arg(long, value_name = "RESOURCE")]
        resource: Option<String>,
        /// At most so many [default: all]
        #[arg(long, value_name = "NUMBER")]
        limit: Option<usize>,
    },
    /// Show a grant
    Show {
        #[command(flatten)]
        names: Names,
    },
    /// Let a client call a resource
    #[command(
        after_help = "Example:\n  auth-provider grant create --client billing --resource ledger --scope entry.read \
                      --scope entry.write \\\n      --expires-at 'in 30d' --lifetime 15m --reason 'Year-end closing'"
    )]
    Create {
        #[command(flatten)]
        names: Names,
        /// What it may do there; may be repeated
        #[arg(long, value_name = "SCOPE")]
        scope: Vec<String>,
        #[command(flatten)]
        wish: Wish,
    },
    /// Change what is said; the rest stays. What is narrowed takes tokens back
    #[command(
        after_help = "Example:\n  auth-provider grant update --client billing --resource ledger --remove-scope entry.write"
    )]
    Update(Update),
    /// Take a grant away, and the tokens that were obtained with it
    Delete {
        #[command(flatten)]
        names: Names,
        #[command(flatten)]
        confirm: Confirm,
    },
}

/// From whom to what.
#[derive(clap::Args)]
pub struct Names {
    /// The client that calls
    #[arg(long, value_name = "CLIENT")]
    client: String,
    /// The resource that is called
    #[arg(long, value_name = "RESOURCE")]
    resource: String,
}

#[derive(clap::Args)]
pub struct Wish {
    /// When it ends by itself, as in `in 30d` or 2027-01-01T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = when::future)]
    expires_at: Option<When>,
    /// How long its tokens live, as in 15m [default: as the resource says]
    #[arg(long, value_name = "TIME")]
    lifetime: Option<Period>,
    /// Why it is there
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(clap::Args)]
pub struct Update {
    #[command(flatten)]
    names: Names,
    /// All that it may do there, in place of what it might; may be repeated
    #[arg(long, value_name = "SCOPE", conflicts_with_all = ["add_scope", "remove_scope"])]
    scope: Vec<String>,
    /// One more that it may do; may be repeated
    #[arg(long, value_name = "SCOPE")]
    add_scope: Vec<String>,
    /// What it may no more do; may be repeated
    #[arg(long, value_name = "SCOPE")]
    remove_scope: Vec<String>,
    #[command(flatten)]
    wish: Wish,
    /// It does not end by itself
    #[arg(long, conflicts_with = "expires_at")]
    never_expires: bool,
    /// Its tokens live as long as the resource says
    #[arg(long, conflicts_with = "lifetime")]
    default_lifetime: bool,
}

#[derive(Deserialize)]
pub(super) struct Grant {
    client_id: String,
    pub(super) resource: String,
    scopes: Vec<String>,
    token_lifetime: Option<u64>,
    expires_at: Option<i64>,
    reason: String,
}

pub(super) async fn run(command: GrantCommand, session: &Session) -> Result<Exit, Failure> {
    match command {
        GrantCommand::List {
            client,
            resource,
            limit,
        } => {
            let query = [("client_id", client), ("resource", resource)];
            list(session, &query, limit).await
        }
        GrantCommand::Show { names } => {
            let answer = session.api.get(&names.path()).await?;
            shown(session, &answer.value, "Grant")
        }
        GrantCommand::Create { names, scope, wish } => {
            let mut body = wish.members(session);
            body.insert("client_id".into(), names.client.into());
            body.insert("resource".into(), names.resource.into());
            body.insert("scopes".into(), scope.into());
            let created = session.api.create(&[NAME], &body.into()).await?;
            shown(session, &created.value, "Created grant")
        }
        GrantCommand::Update(update) => update.run(session).await,
        GrantCommand::Delete { names, confirm } => delete(session, &names, confirm).await,
    }
}

async fn list(
    session: &Session,
    query: &[(&str, Option<String>)],
    limit: Option<usize>,
) -> Result<Exit, Failure> {
    let rows = session.api.list(NAME, query, limit).await?;
    session
        .out
        .show(&session.api, &rows.into(), |grants: Vec<Grant>| {
            let rows = grants.into_iter().map(|grant| {
                let expires = session.out.time_or(grant.expires_at, "never");
                [
                    grant.client_id,
                    grant.resource,
                    grant.scopes.join(" "),
                    grant.token_lifetime.map(length).unwrap_or_default(),
                    expires,
                    grant.reason,
                ]
            });
            table(
                [
                    "CLIENT", "RESOURCE", "SCOPES", "LIFETIME", "EXPIRES", "REASON",
                ],
                rows,
            )
        })?;
    Ok(Exit::Done)
}

impl Update {
    async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let path = self.names.path();
        let mut body = self.wish.members(session);
        if self.never_expires {
            body.insert("expires_at".into(), Value::Null);
        }
        if self.default_lifetime {
            body.insert("token_lifetime".into(), Value::Null);
        }
        let mut etag = None;
        if !self.scope.is_empty() {
            body.insert("scopes".into(), json!(self.scope));
        } else if !self.add_scope.is_empty() || !self.remove_scope.is_empty() {
            // The API takes the whole list, so it must be the one that was read that is changed.
            let answer = session.api.get(&path).await?;
            let mut scopes = session.api.read::<Grant>(&answer.value)?.scopes;
            scopes.retain(|scope| !self.remove_scope.contains(scope));
            for scope in &self.add_scope {
                if !scopes.contains(scope) {
                    scopes.push(scope.clone());
                }
            }
            body.insert("scopes".into(), json!(scopes));
            etag = answer.etag;
        }
        if body.is_empty() {
            return Err(Failure::Usage(
                "say what to change: see `auth-provider grant update --help`".to_owned(),
            ));
        }
        let answer = session
            .api
            .patch(&path, &body.into(), etag.as_deref())
            .await?;
        shown(session, &answer.value, "Changed grant")
    }
}

async fn delete(session: &Session, names: &Names, confirm: Confirm) -> Result<Exit, Failure> {
    let mut etag = None;
    if let Some(person) = confirm.person()? {
        let answer = session.api.get(&names.path()).await?;
        let grant: Grant = session.api.read(&answer.value)?;
        person.ask(&format!(
            "Deletes the grant {} -> {}, and takes back the tokens that were obtained with it:\n{}",
            grant.client_id,
            grant.resource,
            grant.lines(session)
        ))?;
        etag = answer.etag;
    }
    session.api.delete(&names.path(), etag.as_deref()).await?;
    let Names { client, resource } = names;
    let told = format!("Deleted grant {client} -> {resource}.");
    session.out.done(&told)?;
    Ok(Exit::Done)
}

impl Names {
    fn path(&self) -> [&str; 3] {
        [NAME, &self.client, &self.resource]
    }
}

impl Wish {
    fn members(&self, session: &Session) -> Map<String, Value> {
        let mut body = Map::new();
        if let Some(when) = self.expires_at {
            body.insert("expires_at".into(), when.after(session.out.now()).into());
        }
        if let Some(lifetime) = self.lifetime {
            body.insert("token_lifetime".into(), lifetime.seconds().into());
        }
        if let Some(reason) = &self.reason {
            body.insert("reason".into(), reason.as_str().into());
        }
        body
    }
}

fn shown(session: &Session, answer: &Value, what: &str) -> Result<Exit, Failure> {
    session.out.show(&session.api, answer, |grant: Grant| {
        format!(
            "{what} {} -> {}\n{}",
            grant.client_id,
            grant.resource,
            grant.lines(session)
        )
    })?;
    Ok(Exit::Done)
}

impl Grant {
    pub(super) fn lines(&self, session: &Session) -> String {
        let lifetime = self.token_lifetime.map(length);
        lines(&[
            ("scopes", self.scopes.join(" ")),
            (
                "token lifetime",
                lifetime.unwrap_or_else(|| "as the resource says".to_owned()),
            ),
            ("expires", session.out.time_or(self.expires_at, "never")),
            ("reason", self.reason.clone()),
        ])
    }
}
