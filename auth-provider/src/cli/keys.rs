//! `auth-provider key …`

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Session,
    confirm::Confirm,
    failure::{Exit, Failure},
    output::table,
};

const NAME: &str = "keys";

#[derive(clap::Subcommand)]
pub enum KeyCommand {
    /// Show the signing keys and where they are in their life
    List,
    /// Let the next keys sign as soon as every cache of the key set has them
    #[command(after_help = "Example:\n  auth-provider key rotate --alg RS256")]
    Rotate {
        /// Only the key of this algorithm, as in RS256
        #[arg(long)]
        alg: Option<String>,
    },
    /// Take a key out of use at once: every token that it signed is dead
    Compromised {
        /// The key's id, as `key list` shows it
        #[arg(allow_hyphen_values = true)]
        kid: String,
        #[command(flatten)]
        confirm: Confirm,
    },
}

#[derive(Deserialize)]
struct Key {
    kid: String,
    alg: String,
    state: String,
    signs_from: i64,
    retired_at: Option<i64>,
    published_until: Option<i64>,
    compromised_at: Option<i64>,
}

pub(super) async fn run(command: KeyCommand, session: &Session) -> Result<Exit, Failure> {
    match command {
        KeyCommand::List => shown(session, &session.api.get(&[NAME]).await?.value),
        KeyCommand::Rotate { alg } => {
            let wish = alg.map_or_else(|| json!({}), |alg| json!({"alg": alg}));
            let answer = session.api.post(&[NAME, "rotate"], &wish).await?;
            shown(session, &answer.value)
        }
        KeyCommand::Compromised { kid, confirm } => compromised(session, &kid, confirm).await,
    }
}

async fn compromised(session: &Session, kid: &str, confirm: Confirm) -> Result<Exit, Failure> {
    if let Some(person) = confirm.person()? {
        let answer = session.api.get(&[NAME]).await?;
        let keys = session.api.rows(&answer.value, NAME)?;
        let keys: Vec<Key> = session.api.read(&keys.into())?;
        let key = keys.iter().find(|key| key.kid == kid);
        let told = key.map_or_else(
            || "no key of this provider".to_owned(),
            |key| format!("{}, {}", key.alg, key.told(session)),
        );
        person.ask(&format!(
            "Takes the key {kid} ({told}) out of use at once: every token that it signed is dead, and what it \
             signed cannot be verified again."
        ))?;
    }
    let path = [NAME, kid, "compromised"];
    let answer = session.api.post(&path, &json!({})).await?;
    shown(session, &answer.value)
}

fn shown(session: &Session, answer: &Value) -> Result<Exit, Failure> {
    let rows = session.api.rows(answer, NAME)?;
    session
        .out
        .show(&session.api, &rows.into(), |keys: Vec<Key>| {
            let rows = keys.into_iter().map(|key| {
                let told = key.told(session);
                [key.kid, key.alg, told]
            });
            table(["KEY", "ALG", "STATE"], rows)
        })?;
    Ok(Exit::Done)
}

impl Key {
    fn told(&self, session: &Session) -> String {
        let time = |at| session.out.time(at);
        let state = &self.state;
        match (self.compromised_at, self.retired_at, self.published_until) {
            (Some(at), _, _) => format!("{state} at {}", time(at)),
            (_, Some(at), Some(until)) => {
                format!("{state} at {}, published until {}", time(at), time(until))
            }
            _ if state == "announced" => format!("{state}, signs from {}", time(self.signs_from)),
            _ => format!("{state} since {}", time(self.signs_from)),
        }
    }
}
