//! A secret's change without an outage: in one call with a grace period, or with a start and a finish.

use serde_json::{Map, json};

use super::{
    Session,
    clients::ClientName,
    confirm::Confirm,
    credentials::{Credential, Names, Wish, all, path, shown},
    failure::{Exit, Failure},
    output::length,
    secret::SecretArgs,
    when,
};
use crate::keys::Period;

/// A credential that needs no name when it is the only one.
#[derive(clap::Args)]
pub struct MaybeNamed {
    #[command(flatten)]
    client: ClientName,
    /// The credential's id [default: the only one that comes into question]
    #[arg(value_name = "CREDENTIAL", allow_hyphen_values = true)]
    credential_id: Option<String>,
}

#[derive(clap::Args)]
pub struct Rotate {
    #[command(flatten)]
    names: MaybeNamed,
    /// How long the old secret works on, as in 24h; with 0 it stops at once [default: 24h]
    #[arg(long, value_name = "TIME", value_parser = when::length)]
    grace: Option<Period>,
    /// What people call the new one
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    #[command(flatten)]
    secret: SecretArgs,
    #[command(flatten)]
    confirm: Confirm,
}

pub(super) async fn start(
    session: &Session,
    names: MaybeNamed,
    wish: &Wish,
    secret: &SecretArgs,
) -> Result<Exit, Failure> {
    let place = secret.place()?;
    let names = names.living(session).await?;
    let path = [&names.path()[..], &["rotation"]].concat();
    let made = session.api.create(&path, &wish.body(session)).await?;
    place.hand_over(session, made.value, |new: Credential| {
        new.told(session, "Began a rotation with credential")
    })
}

impl Rotate {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let at_once = self.grace.is_some_and(|grace| grace.seconds() == 0);
        let person = if at_once {
            self.confirm.person()?
        } else {
            None
        };
        let place = self.secret.place()?;
        let names = self.names.living(session).await?;
        if let Some(person) = person {
            let answer = session.api.get(&names.path()).await?;
            let old: Credential = session.api.read(&answer.value)?;
            old.ask(
                session,
                person,
                "Makes a new secret, and ends the old one at once",
            )?;
        }
        let mut body = Map::new();
        if let Some(grace) = self.grace {
            body.insert("grace".into(), grace.seconds().into());
        }
        if let Some(label) = self.label {
            body.insert("label".into(), label.into());
        }
        let path = [&names.path()[..], &["rotate"]].concat();
        let made = session.api.create(&path, &body.into()).await?;
        let grace = self.grace.map_or(86_400, Period::seconds);
        place.hand_over(session, made.value, |new: Credential| {
            let old = &names.credential_id;
            let told = new.told(session, "Created credential");
            if grace == 0 {
                format!("{told}The old one, {old}, has ended.\n")
            } else {
                format!(
                    "{told}The old one, {old}, works for another {}.\n",
                    length(grace)
                )
            }
        })
    }
}

pub(super) async fn finish(
    session: &Session,
    names: MaybeNamed,
    confirm: Confirm,
) -> Result<Exit, Failure> {
    let person = confirm.person()?;
    let rotation = names.rotation(session).await?;
    if let Some(person) = person {
        rotation.old.ask(
            session,
            person,
            "Ends the rotation: the old credential is deleted for good",
        )?;
    }
    let path = [&rotation.path()[..], &["finish"]].concat();
    let answer = session.api.post(&path, &json!({})).await?;
    shown(session, &answer.value, "Ended the rotation to credential")
}

pub(super) async fn cancel(
    session: &Session,
    names: MaybeNamed,
    confirm: Confirm,
) -> Result<Exit, Failure> {
    let person = confirm.person()?;
    let rotation = names.rotation(session).await?;
    if let Some(person) = person {
        rotation.new.ask(
            session,
            person,
            "Takes the rotation back: the new credential is deleted for good",
        )?;
    }
    session.api.delete(&rotation.path(), None).await?;
    let old = &rotation.old.id;
    session
        .out
        .done(&format!("Took the rotation of {old} back."))?;
    Ok(Exit::Done)
}

/// A rotation that is under way. In the API it bears the name of the old credential.
struct Rotation {
    client: String,
    old: Credential,
    new: Credential,
}

impl Rotation {
    fn path(&self) -> [&str; 5] {
        let [a, b, c, d] = path(&self.client, &self.old.id);
        [a, b, c, d, "rotation"]
    }
}

impl MaybeNamed {
    /// The credential that was named, else the only one that has not ended.
    async fn living(self, session: &Session) -> Result<Names, Failure> {
        let client = self.client;
        if let Some(credential_id) = self.credential_id {
            return Ok(Names {
                client,
                credential_id,
            });
        }
        let all = all(session, &client.client_id).await?;
        let ids = all
            .into_iter()
            .filter(|credential| credential.state == "active" && credential.kind == "secret")
            .map(|credential| credential.id);
        let credential_id = only(ids, &client.client_id, "living credential")?;
        Ok(Names {
            client,
            credential_id,
        })
    }

    /// The rotation of the credential that was named, old or new; else the only one.
    async fn rotation(self, session: &Session) -> Result<Rotation, Failure> {
        let client = self.client.client_id;
        let mut all = all(session, &client).await?;
        let named = self.credential_id.as_ref();
        let is_meant = |new: &&Credential| {
            named.is_none_or(|id| new.id == *id || new.replaces.as_ref() == Some(id))
        };
        let under_way = all.iter().filter(|new| new.replaces.is_some());
        let ids = under_way.filter(is_meant).map(|new| new.id.clone());
        let new = only(ids, &client, "rotation under way")?;
        let mut take = |id: &str| {
            let at = all.iter().position(|one| one.id == id)?;
            Some(all.swap_remove(at))
        };
        let found = take(&new).and_then(|new| Some((take(new.replaces.as_deref()?)?, new)));
        let (old, new) = found.ok_or_else(|| {
            Failure::Usage("the old credential is gone: there is nothing to finish".to_owned())
        })?;
        Ok(Rotation { client, old, new })
    }
}

/// The one id, if it is one.
fn only(ids: impl Iterator<Item = String>, client: &str, what: &str) -> Result<String, Failure> {
    let mut ids: Vec<String> = ids.collect();
    if ids.len() > 1 {
        let ids = ids.join(" or ");
        return Err(Failure::Usage(format!(
            "{client} has more than one {what}: name one, {ids}"
        )));
    }
    ids.pop().ok_or_else(|| {
        let told = format!("{client} has no {what}: see `auth-provider credential list {client}`");
        Failure::Failed(anyhow::Error::msg(told))
    })
}
