//! `auth-provider key …`: asks a running provider to show or change its signing keys, as the administrator.

use std::{
    io::{self, Write},
    path::Path,
    time::Duration,
};

use anyhow::{Context, bail};
use jiff::Timestamp;
use m2m::{Scope, TokenSource};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use reqwest::{Client, RequestBuilder};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    built_in::{ADMIN, AUDIENCE, KeysRead, KeysRotate},
    clients_file,
    http::ISSUER_PATH,
};

/// How long the provider may take: it may have to make RSA keys.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What to do with the signing keys of a running provider.
#[derive(clap::Subcommand)]
pub enum KeyCommand {
    /// Show the signing keys and where they are in their life
    List(#[command(flatten)] Target),
    /// Let the next keys sign as soon as every cache of the key set has them
    Rotate {
        /// Only the key of this algorithm, as in `RS256`
        #[arg(long)]
        alg: Option<String>,
        #[command(flatten)]
        target: Target,
    },
    /// Take a key out of use at once: every token that it signed is dead
    Compromised {
        /// The key's id, as `key list` shows it
        #[arg(allow_hyphen_values = true)]
        kid: String,
        #[command(flatten)]
        target: Target,
    },
}

/// Which provider, and how to print its answer.
#[derive(clap::Args)]
pub struct Target {
    /// The provider's URL [default: that of the configuration]
    #[arg(long)]
    url: Option<String>,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Deserialize)]
struct Answer {
    keys: Vec<Key>,
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

/// Carries out the command. `default_url` is where a provider with this configuration would be.
///
/// # Errors
/// When the provider cannot be reached or refuses; the error's chain says why in one line.
pub async fn run(
    command: &KeyCommand,
    default_url: &str,
    clients_file: &Path,
) -> anyhow::Result<()> {
    let http = m2m::http_client(TIMEOUT);
    let (KeyCommand::List(target)
    | KeyCommand::Rotate { target, .. }
    | KeyCommand::Compromised { target, .. }) = command;
    let url = target
        .url
        .as_deref()
        .unwrap_or(default_url)
        .trim_end_matches('/');
    let (request, scope) = request(command, &http, url);

    let secret = clients_file::secret_of(clients_file, ADMIN)?;
    let tokens = TokenSource::builder(format!("{url}{ISSUER_PATH}"), ADMIN, secret)
        .token_endpoint(format!("{url}{ISSUER_PATH}/oauth/token"))
        .build()?;
    let answer = tokens.send(request, &[scope], AUDIENCE).await?;
    let status = answer.status();
    let body: Value = answer
        .json()
        .await
        .with_context(|| format!("{url} does not answer as an auth-provider does"))?;
    if !status.is_success() {
        bail!(
            "the provider refused: {}",
            body["detail"].as_str().unwrap_or(status.as_str())
        );
    }
    let mut out = io::stdout().lock();
    if target.json {
        writeln!(out, "{body:#}")?;
        return Ok(());
    }
    let Answer { keys } = serde_json::from_value(body)
        .with_context(|| format!("{url} does not answer as an auth-provider does"))?;
    for key in keys {
        writeln!(out, "{}  {:5}  {}", key.kid, key.alg, key.told())?;
    }
    Ok(())
}

fn request(command: &KeyCommand, http: &Client, url: &str) -> (RequestBuilder, &'static str) {
    let keys = format!("{url}/admin/v1/keys");
    match command {
        KeyCommand::List(_) => (http.get(keys), KeysRead::NAME),
        KeyCommand::Rotate { alg, .. } => {
            let wish = alg
                .as_ref()
                .map_or_else(|| json!({}), |alg| json!({"alg": alg}));
            (
                http.post(format!("{keys}/rotate")).json(&wish),
                KeysRotate::NAME,
            )
        }
        KeyCommand::Compromised { kid, .. } => (
            http.post(format!(
                "{keys}/{}/compromised",
                percent_encode(kid.as_bytes(), NON_ALPHANUMERIC)
            )),
            KeysRotate::NAME,
        ),
    }
}

impl Key {
    fn told(&self) -> String {
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

fn time(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}
