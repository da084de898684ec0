//! `auth-provider credential …`: the secrets' lives. A list says of each secret whether it can be removed.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Session,
    clients::ClientName,
    confirm::{Confirm, Person},
    failure::{Exit, Failure},
    output::{lines, table},
    rotations::{self, MaybeNamed, Rotate},
    secret::SecretArgs,
    when::{self, When},
};

#[derive(clap::Subcommand)]
pub enum CredentialCommand {
    /// List a client's credentials, and say of each whether it can be removed
    List {
        #[command(flatten)]
        client: ClientName,
    },
    /// Show a credential
    Show {
        #[command(flatten)]
        names: Names,
    },
    /// Give a client one more credential
    #[command(
        after_help = "Example:\n  auth-provider credential create billing --label 'in Frankfurt' \
                      --expires-at 'in 90d' --secret-file billing.secret"
    )]
    Create {
        #[command(flatten)]
        client: ClientName,
        #[command(flatten)]
        wish: Wish,
        #[command(flatten)]
        secret: SecretArgs,
    },
    /// Change a credential's label or end
    Update {
        #[command(flatten)]
        names: Names,
        #[command(flatten)]
        wish: Wish,
        /// It does not end by itself
        #[arg(long, conflicts_with = "expires_at")]
        never_expires: bool,
    },
    /// Delete a credential: its secret stops working at once
    Delete {
        #[command(flatten)]
        names: Names,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Make a new secret; the old one works on through the grace
    #[command(
        after_help = "Examples:\n  auth-provider credential rotate billing\n  \
                            auth-provider credential rotate billing --grace 7d --secret-file new.secret"
    )]
    Rotate(Rotate),
    /// Begin a rotation: a new secret, and the old one works until `finish`
    Start {
        #[command(flatten)]
        names: MaybeNamed,
        #[command(flatten)]
        wish: Wish,
        #[command(flatten)]
        secret: SecretArgs,
    },
    /// End a rotation: the old secret stops working
    Finish {
        #[command(flatten)]
        names: MaybeNamed,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Take a rotation back: the new secret stops working
    Cancel {
        #[command(flatten)]
        names: MaybeNamed,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Kill a credential that got into wrong hands, and take back every token that it obtained
    Compromised {
        #[command(flatten)]
        names: Names,
        #[command(flatten)]
        confirm: Confirm,
    },
}

/// A credential among the arguments.
#[derive(clap::Args)]
pub struct Names {
    #[command(flatten)]
    pub(super) client: ClientName,
    /// The credential's id, as `credential list` shows it
    #[arg(value_name = "CREDENTIAL", allow_hyphen_values = true)]
    pub(super) credential_id: String,
}

/// What may be said about a credential.
#[derive(clap::Args)]
pub struct Wish {
    /// What people call it: where the secret is used, for instance
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// When it ends by itself, as in `in 90d` or 2027-01-01T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = when::future)]
    expires_at: Option<When>,
}

#[derive(Deserialize)]
pub(super) struct Credential {
    #[serde(rename = "credential_id")]
    pub(super) id: String,
    pub(super) kind: String,
    label: String,
    last_four: String,
    created_at: i64,
    expires_at: Option<i64>,
    pub(super) last_used_at: Option<i64>,
    use_count: u64,
    pub(super) state: String,
    pub(super) replaces: Option<String>,
    safe_to_remove: bool,
    safe_to_remove_reason: String,
}

pub(super) async fn run(command: CredentialCommand, session: &Session) -> Result<Exit, Failure> {
    match command {
        CredentialCommand::List { client } => list(session, &client.client_id).await,
        CredentialCommand::Show { names } => {
            let answer = session.api.get(&names.path()).await?;
            shown(session, &answer.value, "Credential")
        }
        CredentialCommand::Create {
            client,
            wish,
            secret,
        } => {
            let place = secret.place()?;
            let path = ["clients", &client.client_id, "credentials"];
            let made = session.api.create(&path, &wish.body(session)).await?;
            place.hand_over(session, made.value, |new: Credential| {
                new.told(session, "Created credential")
            })
        }
        CredentialCommand::Update {
            names,
            wish,
            never_expires,
        } => update(session, &names, &wish, never_expires).await,
        CredentialCommand::Delete { names, confirm } => delete(session, &names, confirm).await,
        CredentialCommand::Rotate(rotate) => rotate.run(session).await,
        CredentialCommand::Start {
            names,
            wish,
            secret,
        } => rotations::start(session, names, &wish, &secret).await,
        CredentialCommand::Finish { names, confirm } => {
            rotations::finish(session, names, confirm).await
        }
        CredentialCommand::Cancel { names, confirm } => {
            rotations::cancel(session, names, confirm).await
        }
        CredentialCommand::Compromised { names, confirm } => {
            compromised(session, &names, confirm).await
        }
    }
}

async fn list(session: &Session, client: &str) -> Result<Exit, Failure> {
    let rows = rows(session, client).await?;
    session.out.show(
        &session.api,
        &rows.into(),
        |credentials: Vec<Credential>| {
            let head = [
                "CREDENTIAL",
                "SECRET",
                "EXPIRES",
                "LAST USED",
                "USES",
                "SAFE TO REMOVE",
                "LABEL",
            ];
            table(
                head,
                credentials.iter().map(|credential| {
                    [
                        credential.id.clone(),
                        credential.secret(),
                        credential.end(session),
                        session.out.distance_or(credential.last_used_at, "never"),
                        credential.use_count.to_string(),
                        credential.safety(),
                        credential.label.clone(),
                    ]
                }),
            )
        },
    )?;
    Ok(Exit::Done)
}

async fn update(
    session: &Session,
    names: &Names,
    wish: &Wish,
    never_expires: bool,
) -> Result<Exit, Failure> {
    let mut body = wish.members(session);
    if never_expires {
        body.insert("expires_at".into(), Value::Null);
    }
    if body.is_empty() {
        return Err(Failure::Usage(
            "say what to change: --label, --expires-at or --never-expires".to_owned(),
        ));
    }
    let answer = session.api.patch(&names.path(), &body.into(), None).await?;
    shown(session, &answer.value, "Changed credential")
}

async fn delete(session: &Session, names: &Names, confirm: Confirm) -> Result<Exit, Failure> {
    if let Some(person) = confirm.person()? {
        let answer = session.api.get(&names.path()).await?;
        let credential: Credential = session.api.read(&answer.value)?;
        credential.ask(session, person, "Deletes the credential for good")?;
    }
    session.api.delete(&names.path(), None).await?;
    let id = &names.credential_id;
    session.out.done(&format!("Deleted credential {id}."))?;
    Ok(Exit::Done)
}

async fn compromised(session: &Session, names: &Names, confirm: Confirm) -> Result<Exit, Failure> {
    if let Some(person) = confirm.person()? {
        let answer = session.api.get(&names.path()).await?;
        let credential: Credential = session.api.read(&answer.value)?;
        let what = "Kills the credential at once, and takes back every token that it obtained";
        credential.ask(session, person, what)?;
    }
    let path = [&names.path()[..], &["compromised"]].concat();
    session.api.post(&path, &json!({})).await?;
    let id = &names.credential_id;
    let told = format!("Credential {id} is dead, and so is every token that it obtained.");
    session.out.done(&told)?;
    Ok(Exit::Done)
}

impl Names {
    pub(super) fn path(&self) -> [&str; 4] {
        path(&self.client.client_id, &self.credential_id)
    }
}

pub(super) fn path<'a>(client: &'a str, credential: &'a str) -> [&'a str; 4] {
    ["clients", client, "credentials", credential]
}

async fn rows(session: &Session, client: &str) -> Result<Vec<Value>, Failure> {
    let path = ["clients", client, "credentials"];
    let answer = session.api.get(&path).await?;
    session.api.rows(&answer.value, "credentials")
}

pub(super) async fn all(session: &Session, client: &str) -> Result<Vec<Credential>, Failure> {
    let rows = rows(session, client).await?;
    session.api.read(&rows.into())
}

impl Wish {
    fn members(&self, session: &Session) -> Map<String, Value> {
        let mut body = Map::new();
        if let Some(label) = &self.label {
            body.insert("label".into(), label.as_str().into());
        }
        if let Some(when) = self.expires_at {
            body.insert("expires_at".into(), when.after(session.out.now()).into());
        }
        body
    }

    pub(super) fn body(&self, session: &Session) -> Value {
        self.members(session).into()
    }
}

pub(super) fn shown(session: &Session, answer: &Value, what: &str) -> Result<Exit, Failure> {
    session
        .out
        .show(&session.api, answer, |credential: Credential| {
            credential.told(session, what)
        })?;
    Ok(Exit::Done)
}

impl Credential {
    pub(super) fn told(&self, session: &Session, what: &str) -> String {
        format!("{what} {}\n{}", self.id, self.lines(session))
    }

    fn lines(&self, session: &Session) -> String {
        let out = &session.out;
        lines(&[
            ("label", self.label.clone()),
            ("secret", self.secret()),
            ("state", self.state.clone()),
            ("created", out.time(self.created_at)),
            ("expires", out.time_or(self.expires_at, "never")),
            ("last used", out.time_or(self.last_used_at, "never")),
            ("uses", self.use_count.to_string()),
            ("replaces", self.replaces.clone().unwrap_or_default()),
            ("safe to remove", self.safety()),
        ])
    }

    /// What it is, and by which end a person recognises it.
    fn secret(&self) -> String {
        let shown = match self.last_four.as_str() {
            "" => "(not known)".to_owned(),
            last_four => format!("…{last_four}"),
        };
        match self.kind.as_str() {
            "secret" => shown,
            other => format!("{other} {shown}"),
        }
    }

    /// Short, for a table.
    fn end(&self, session: &Session) -> String {
        let at = session.out.distance_or(self.expires_at, "never");
        if self.state == "expired" {
            format!("expired {at}")
        } else {
            at
        }
    }

    fn safety(&self) -> String {
        let answer = if self.safe_to_remove { "yes" } else { "no" };
        format!("{answer}: {}", self.safe_to_remove_reason)
    }

    pub(super) fn ask(&self, session: &Session, person: Person, what: &str) -> Result<(), Failure> {
        let told = format!("{what}:\n  {}\n{}", self.id, self.lines(session));
        person.ask(&told)
    }
}
