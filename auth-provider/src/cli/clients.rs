//! `auth-provider client …`

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Session,
    bootstrap::{self, Bootstrap},
    confirm::Confirm,
    credentials::Credential,
    failure::{Exit, Failure},
    grants::Grant,
    output::{lines, table},
    secret::SecretArgs,
};
use crate::metadata::{self, Metadata};

const NAME: &str = "clients";

/// How many grants a question before a deletion names.
const NAMED_GRANTS: usize = 5;

#[derive(clap::Subcommand)]
pub enum ClientCommand {
    /// List clients
    #[command(after_help = "Example:\n  auth-provider client list --status inactive --prefix m2m-")]
    List {
        /// Only those that are active, or inactive
        #[arg(long, value_parser = ["active", "inactive"])]
        status: Option<String>,
        /// Only those whose id begins so
        #[arg(long, value_name = "TEXT")]
        prefix: Option<String>,
        /// Only those whose name has this in it
        #[arg(long, value_name = "TEXT")]
        name: Option<String>,
        /// At most so many [default: all]
        #[arg(long, value_name = "NUMBER")]
        limit: Option<usize>,
    },
    /// Show a client
    Show {
        #[command(flatten)]
        client: ClientName,
    },
    /// Create a client with its first credential
    #[command(
        after_help = "Examples:\n  auth-provider client create billing --name 'Billing' --metadata team=money\n  \
                      auth-provider client create billing --secret-file billing.secret"
    )]
    Create(Create),
    /// Change what is said; the rest stays
    #[command(
        after_help = "Example:\n  auth-provider client update billing --metadata team=money --remove-metadata old"
    )]
    Update(Update),
    /// Let a client have tokens again
    Activate {
        #[command(flatten)]
        client: ClientName,
    },
    /// Give a client no more tokens, and keep what is known of it
    Deactivate {
        #[command(flatten)]
        client: ClientName,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Delete a client with its credentials and grants; its tokens are taken back
    Delete {
        #[command(flatten)]
        client: ClientName,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Make a bootstrap token: a service that starts with it gets access tokens at POST /accesstoken
    #[command(after_help = bootstrap::EXAMPLES)]
    Bootstrap(Bootstrap),
}

/// A client's id among the arguments.
#[derive(clap::Args)]
pub struct ClientName {
    /// The client's id
    #[arg(value_name = "CLIENT")]
    pub(super) client_id: String,
}

#[derive(clap::Args)]
pub struct Create {
    /// Its id: letters, digits and . _ ~ - [default: the provider makes one]
    #[arg(value_name = "CLIENT")]
    client_id: Option<String>,
    #[command(flatten)]
    words: Words,
    /// It gets no tokens until it is activated
    #[arg(long)]
    inactive: bool,
    #[command(flatten)]
    secret: SecretArgs,
}

#[derive(clap::Args)]
pub struct Update {
    #[command(flatten)]
    client: ClientName,
    #[command(flatten)]
    words: Words,
    /// Take a key out of the metadata; may be repeated
    #[arg(long, value_name = "KEY")]
    remove_metadata: Vec<String>,
}

/// What people say about a client.
#[derive(clap::Args)]
struct Words {
    /// What people call it
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Something else to know, as in `team=money`; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    metadata: Vec<(String, String)>,
}

/// `key=value`
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

#[derive(Deserialize)]
struct Client {
    #[serde(rename = "client_id")]
    id: String,
    name: String,
    description: String,
    status: String,
    metadata: Metadata,
    managed_by: Option<String>,
    created_at: i64,
    updated_at: i64,
    last_used_at: Option<i64>,
    built_in: bool,
    /// Only of one that was just created.
    credential_id: Option<String>,
}

pub(super) async fn run(command: ClientCommand, session: &Session) -> Result<Exit, Failure> {
    match command {
        ClientCommand::List {
            status,
            prefix,
            name,
            limit,
        } => {
            let query = [("status", status), ("prefix", prefix), ("name", name)];
            list(session, &query, limit).await
        }
        ClientCommand::Show { client } => {
            let answer = session.api.get(&[NAME, &client.client_id]).await?;
            shown(session, &answer.value, "Client")
        }
        ClientCommand::Create(create) => create.run(session).await,
        ClientCommand::Update(update) => update.run(session).await,
        ClientCommand::Activate { client } => {
            set_status(session, &client.client_id, "active", None).await
        }
        ClientCommand::Deactivate { client, confirm } => {
            deactivate(session, &client.client_id, confirm).await
        }
        ClientCommand::Delete { client, confirm } => {
            delete(session, &client.client_id, confirm).await
        }
        ClientCommand::Bootstrap(bootstrap) => bootstrap.run(session).await,
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
        .show(&session.api, &rows.into(), |clients: Vec<Client>| {
            let rows = clients.into_iter().map(|client| {
                let used = session.out.time_or(client.last_used_at, "never");
                [client.id, client.status, used, client.name]
            });
            table(["CLIENT", "STATUS", "LAST USED", "NAME"], rows)
        })?;
    Ok(Exit::Done)
}

impl Create {
    async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let place = self.secret.place()?;
        let mut body = self.words.body(&[]);
        if let Some(id) = self.client_id {
            body.insert("client_id".into(), id.into());
        }
        if self.inactive {
            body.insert("status".into(), "inactive".into());
        }
        let created = session.api.create(&[NAME], &body.into()).await?;
        place.hand_over(session, created.value, |client: Client| {
            client.told(session, "Created client")
        })
    }
}

impl Update {
    async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let body = self.words.body(&self.remove_metadata);
        if body.is_empty() {
            return Err(Failure::Usage(
                "say what to change: --name, --description, --metadata or --remove-metadata"
                    .to_owned(),
            ));
        }
        let path = [NAME, &self.client.client_id];
        let answer = session.api.patch(&path, &body.into(), None).await?;
        shown(session, &answer.value, "Changed client")
    }
}

impl Words {
    /// What was said, and nothing else: what is left out stays as it is.
    fn body(self, removed_metadata: &[String]) -> Map<String, Value> {
        let mut body = Map::new();
        if let Some(name) = self.name {
            body.insert("name".into(), name.into());
        }
        if let Some(description) = self.description {
            body.insert("description".into(), description.into());
        }
        let given = self.metadata.into_iter();
        let given = given.map(|(key, value)| (key, value.into()));
        let removed = removed_metadata
            .iter()
            .map(|key| (key.clone(), Value::Null));
        let metadata: Map<String, Value> = given.chain(removed).collect();
        if !metadata.is_empty() {
            body.insert("metadata".into(), metadata.into());
        }
        body
    }
}

async fn deactivate(session: &Session, id: &str, confirm: Confirm) -> Result<Exit, Failure> {
    let mut etag = None;
    if let Some(person) = confirm.person()? {
        let answer = session.api.get(&[NAME, id]).await?;
        let client: Client = session.api.read(&answer.value)?;
        person.ask(&format!(
            "Deactivates client {}: it gets no more tokens until it is activated again.\n{}",
            client.id,
            client.lines(session)
        ))?;
        etag = answer.etag;
    }
    set_status(session, id, "inactive", etag).await
}

async fn set_status(
    session: &Session,
    id: &str,
    status: &str,
    etag: Option<String>,
) -> Result<Exit, Failure> {
    let body = json!({"status": status});
    let path = [NAME, id];
    let answer = session.api.patch(&path, &body, etag.as_deref()).await?;
    shown(session, &answer.value, "Changed client")
}

async fn delete(session: &Session, id: &str, confirm: Confirm) -> Result<Exit, Failure> {
    let mut etag = None;
    if let Some(person) = confirm.person()? {
        let answer = session.api.get(&[NAME, id]).await?;
        let client: Client = session.api.read(&answer.value)?;
        person.ask(&format!(
            "Deletes client {} for good, and takes its tokens back:\n{}{}",
            client.id,
            client.lines(session),
            what_goes_with(session, id).await
        ))?;
        etag = answer.etag;
    }
    session.api.delete(&[NAME, id], etag.as_deref()).await?;
    session.out.done(&format!("Deleted client {id}."))?;
    Ok(Exit::Done)
}

/// Who may delete a client need not have the right to see its grants: then it is said without numbers.
async fn what_goes_with(session: &Session, id: &str) -> String {
    let api = &session.api;
    let credentials = match api.get(&[NAME, id, "credentials"]).await {
        Ok(answer) => api.rows(&answer.value, "credentials").ok(),
        Err(_) => None,
    };
    let credentials = credentials.map_or_else(
        || "all of them go with it".to_owned(),
        |rows| {
            let used = rows
                .iter()
                .filter_map(|row| api.read::<Credential>(row).ok()?.last_used_at)
                .max();
            let used = session.out.time_or(used, "never");
            format!("{} go with it; last used {used}", rows.len())
        },
    );
    let query = [("client_id", Some(id.to_owned()))];
    let grants = api.list("grants", &query, None).await.ok();
    let grants = grants.map_or_else(
        || "all of them go with it".to_owned(),
        |rows| {
            let count = rows.len();
            let named: Vec<_> = rows
                .iter()
                .take(NAMED_GRANTS)
                .filter_map(|row| Some(api.read::<Grant>(row).ok()?.resource))
                .collect();
            let more = if count > named.len() { ", …" } else { "" };
            format!("{count} go with it: {}{more}", named.join(", "))
                .trim_end_matches(": ")
                .to_owned()
        },
    );
    lines(&[("credentials", credentials), ("grants", grants)])
}

fn shown(session: &Session, answer: &Value, what: &str) -> Result<Exit, Failure> {
    session.out.show(&session.api, answer, |client: Client| {
        client.told(session, what)
    })?;
    Ok(Exit::Done)
}

impl Client {
    fn told(&self, session: &Session, what: &str) -> String {
        format!("{what} {}\n{}", self.id, self.lines(session))
    }

    fn lines(&self, session: &Session) -> String {
        let metadata: Vec<_> = self
            .metadata
            .iter()
            .map(|(key, value)| format!("{key}={}", metadata::shown(value)))
            .collect();
        let out = &session.out;
        let built_in = if self.built_in {
            "cannot be changed"
        } else {
            ""
        };
        lines(&[
            ("name", self.name.clone()),
            ("description", self.description.clone()),
            ("status", self.status.clone()),
            ("metadata", metadata.join(", ")),
            ("managed by", self.managed_by.clone().unwrap_or_default()),
            ("built in", built_in.to_owned()),
            ("created", out.time(self.created_at)),
            ("updated", out.time(self.updated_at)),
            ("last used", out.time_or(self.last_used_at, "never")),
            ("credential", self.credential_id.clone().unwrap_or_default()),
        ])
    }
}
