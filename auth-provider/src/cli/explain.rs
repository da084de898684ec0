//! `auth-provider explain`: would this client get a token, and what decides it?

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    Session,
    failure::{Exit, Failure},
    grants::Grant,
};

pub(super) const EXAMPLES: &str = "\
Examples:
  auth-provider explain --client m3 --resource m2 --scope note.read
  auth-provider explain --client m3 --resource m2 || echo 'no'";

#[derive(clap::Args)]
pub struct ExplainArgs {
    /// The client that would ask for a token
    #[arg(long, value_name = "CLIENT")]
    client: String,
    /// What the token would be for [default: what the client's only grant is for]
    #[arg(long, value_name = "RESOURCE")]
    resource: Option<String>,
    /// What it would ask to do there; may be repeated [default: all that it may]
    #[arg(long, value_name = "SCOPE")]
    scope: Vec<String>,
}

#[derive(Deserialize)]
struct Verdict {
    allowed: bool,
    code: String,
    explanation: String,
    grant: Option<Grant>,
}

pub(super) async fn run(arguments: ExplainArgs, session: &Session) -> Result<Exit, Failure> {
    let mut body = Map::new();
    body.insert("client_id".into(), arguments.client.into());
    if let Some(resource) = arguments.resource {
        body.insert("resource".into(), resource.into());
    }
    if !arguments.scope.is_empty() {
        body.insert("scope".into(), arguments.scope.join(" ").into());
    }
    let answer = session.api.post(&["explain"], &body.into()).await?.value;
    let allowed = answer.get("allowed").and_then(Value::as_bool);
    session.out.show(&session.api, &answer, |it: Verdict| {
        let head = if it.allowed {
            "Allowed".to_owned()
        } else {
            format!("Not allowed ({})", it.code)
        };
        let grant = it.grant.map(|grant| grant.lines(session));
        format!("{head}: {}\n{}", it.explanation, grant.unwrap_or_default())
    })?;
    Ok(if allowed == Some(true) {
        Exit::Done
    } else {
        Exit::NotAllowed
    })
}
