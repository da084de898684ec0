//! How a new secret is handed over: once, to a person at a terminal or to a file that only its owner can read.
//! Whether that can be done is known before anything is made.

use std::{
    fs::{File, OpenOptions},
    io::{self, IsTerminal, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
};

use anyhow::{Context, anyhow};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tempfile::TempPath;

use super::{
    Session,
    failure::{Exit, Failure},
    output::{self, visible},
};

/// Where an answer has its secret: a client's, or a bootstrap token.
const MEMBERS: [&str; 2] = ["client_secret", "bootstrap_token"];

const SHOWN_ONLY_NOW: &str = "The secret is shown only now: put it where its client looks for it.";

#[derive(clap::Args)]
pub struct SecretArgs {
    /// Write the secret to this new file, which only you can read, instead of printing it
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Print the secret although the output is no terminal
    #[arg(long, conflicts_with = "secret_file")]
    print_secret: bool,
}

/// Where the secret is going to be.
pub(super) enum Place {
    Screen,
    /// Made and empty. It goes away again when no secret comes.
    File(File, TempPath),
}

impl SecretArgs {
    /// # Errors
    /// When the secret would have nowhere to go.
    pub(super) fn place(&self) -> Result<Place, Failure> {
        let Some(path) = &self.secret_file else {
            if self.print_secret || io::stdout().is_terminal() {
                return Ok(Place::Screen);
            }
            return Err(Failure::Usage(
                "the secret is told only once, and the output is no terminal: name a new file for it with \
                 --secret-file, or say --print-secret"
                    .to_owned(),
            ));
        };
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path);
        let file = file.map_err(|error| {
            let shown = path.display();
            if error.kind() == io::ErrorKind::AlreadyExists {
                Failure::Usage(format!(
                    "{shown} is there already: name a new file for the secret"
                ))
            } else {
                Failure::Failed(anyhow!("cannot make {shown}: {error}"))
            }
        })?;
        let path = TempPath::try_from_path(path).context("a file has a path")?;
        Ok(Place::File(file, path))
    }
}

impl Place {
    /// Takes the secret out of the answer that it came in, puts it where it belongs, and prints the rest. With `--json`
    /// a secret for the screen stays where it is, since the answer is what is printed.
    pub(super) fn hand_over<T: DeserializeOwned>(
        self,
        session: &Session,
        mut answer: Value,
        text: impl FnOnce(T) -> String,
    ) -> Result<Exit, Failure> {
        let (member, secret) = read(&answer)?;
        let id = answer["credential_id"].as_str().unwrap_or_default();
        let lost = visible(&format!(
            "the credential {id} was made, and its secret is lost: delete it"
        ));
        let json = session.out.is_json();
        let told = match self {
            Self::Screen if json => String::new(),
            Self::Screen => {
                let line = output::lines(&[(member, secret.expose_secret().to_owned())]);
                format!("{line}{SHOWN_ONLY_NOW}\n")
            }
            Self::File(file, path) => {
                let path = write(file, path, &secret).context(lost.clone())?;
                format!("The secret is in {}.\n", path.display())
            }
        };
        if let Some(members) = answer.as_object_mut()
            && (!json || !told.is_empty())
        {
            members.remove(member);
        }
        let shown = session
            .out
            .show(&session.api, &answer, |made| text(made) + &told);
        if json && told.is_empty() && io::stdout().is_terminal() {
            eprintln!("{SHOWN_ONLY_NOW}");
        }
        match shown {
            Err(Failure::Closed) => Err(anyhow!("the output was closed: {lost}").into()),
            shown => shown.map(|()| Exit::Done),
        }
    }
}

fn read(answer: &Value) -> Result<(&'static str, SecretString), Failure> {
    let found = MEMBERS
        .into_iter()
        .find_map(|member| Some((member, answer.get(member)?.as_str()?)));
    match found {
        Some((member, secret)) if secret.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Ok((member, secret.into()))
        }
        _ => Err(anyhow!("the provider's answer has no secret").into()),
    }
}

fn write(mut file: File, path: TempPath, secret: &SecretString) -> anyhow::Result<PathBuf> {
    writeln!(file, "{}", secret.expose_secret())?;
    file.sync_all()?;
    Ok(path.keep()?)
}
