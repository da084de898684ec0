//! `auth-provider client|credential|resource|grant|key|audit|policy|explain`: the administrator's commands. They
//! talk to the admin API of a running provider, as any other client of it could; nothing here opens the database.

mod api;
mod audit;
mod bootstrap;
mod clients;
mod confirm;
mod credentials;
mod explain;
mod failure;
mod grants;
mod keys;
pub(crate) mod output;
mod policy;
mod resources;
mod rotations;
mod secret;
mod when;

use std::env;

use clap::Command;
use m2m::Clock;
use secrecy::SecretString;

pub use failure::{Exit, Failure};

use crate::{built_in::ADMIN, clients_file, config::Config};
use api::Api;
use output::Output;

const CLIENT_ID_VARIABLE: &str = "AUTH_PROVIDER_CLIENT_ID";
/// Not a flag: a process list would show it.
const CLIENT_SECRET_VARIABLE: &str = "AUTH_PROVIDER_CLIENT_SECRET";

const AS_WHOM: &str = "\
As whom:
  The entry `admin` of clients.json, or another one with --as. Without --as, the environment
  variables AUTH_PROVIDER_CLIENT_ID and AUTH_PROVIDER_CLIENT_SECRET come first if they are set.
  The client needs the scopes of what it does, such as clients:write, in a grant for the resource
  `auth-provider`.";

const EXIT_STATUS: &str = "\
Exit status:
  0  done
  1  refused or failed: one line on stderr says why, and how to mend it
  2  the command cannot be carried out as it was typed
  3  `policy plan --check`: the file is not what is in force
  4  `explain`: not allowed";

/// The commands that talk to a running provider.
#[derive(clap::Subcommand)]
pub enum AdminCommand {
    /// Show, create, change and delete clients
    Client(Noun<clients::ClientCommand>),
    /// Show the secrets' lives, and rotate them without an outage
    Credential(Noun<credentials::CredentialCommand>),
    /// Show, create, change and delete resources: what tokens are for
    Resource(Noun<resources::ResourceCommand>),
    /// Show, create, change and delete grants: which client may call which resource
    Grant(Noun<grants::GrantCommand>),
    /// Show or change the signing keys
    Key(Noun<keys::KeyCommand>),
    /// Show who did what: changes, tokens issued and refused, failed authentication
    #[command(after_help = audit::EXAMPLES)]
    Audit(Verb<audit::AuditArgs>),
    /// Compare a policy file with what is in force, apply it, write one; print the graph
    Policy(Noun<policy::PolicyCommand>),
    /// Say whether a client may call a resource, and which rule or missing grant decides
    #[command(after_help = explain::EXAMPLES)]
    Explain(Verb<explain::ExplainArgs>),
}

/// A command with commands below it.
#[derive(clap::Args)]
pub struct Noun<C: clap::Subcommand> {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: C,
}

/// A command that stands for itself.
#[derive(clap::Args)]
pub struct Verb<A: clap::Args> {
    #[command(flatten)]
    arguments: A,
    #[command(flatten)]
    connection: Connection,
}

/// Which provider, as whom, and how to print its answer.
#[derive(clap::Args)]
#[command(next_help_heading = "Connection")]
struct Connection {
    /// The provider's URL, as in `https://auth.example.com` [default: that of the configuration]
    #[arg(long, value_name = "URL", global = true)]
    url: Option<String>,
    /// The client to act as: its entry of the clients file has the secret [default: admin]
    #[arg(long = "as", value_name = "CLIENT", global = true)]
    as_client: Option<String>,
    /// Print the provider's answer as JSON; a list as one array
    #[arg(long, global = true)]
    json: bool,
}

/// One run of a command: the provider that it talks to, and how it prints.
struct Session {
    api: Api,
    out: Output,
}

/// Carries out a command. Without `--url` it is for the provider that `config` describes.
///
/// # Errors
/// When the command cannot be carried out. The failure is one line and holds no secret.
pub async fn run(command: AdminCommand, config: &Config) -> Result<Exit, Failure> {
    match command {
        AdminCommand::Client(noun) => {
            clients::run(noun.command, &noun.connection.session(config)?).await
        }
        AdminCommand::Credential(noun) => {
            credentials::run(noun.command, &noun.connection.session(config)?).await
        }
        AdminCommand::Resource(noun) => {
            resources::run(noun.command, &noun.connection.session(config)?).await
        }
        AdminCommand::Grant(noun) => {
            grants::run(noun.command, &noun.connection.session(config)?).await
        }
        AdminCommand::Key(noun) => keys::run(noun.command, &noun.connection.session(config)?).await,
        AdminCommand::Audit(verb) => {
            audit::run(verb.arguments, &verb.connection.session(config)?).await
        }
        AdminCommand::Policy(noun) => {
            policy::run(noun.command, &noun.connection.session(config)?).await
        }
        AdminCommand::Explain(verb) => {
            explain::run(verb.arguments, &verb.connection.session(config)?).await
        }
    }
}

/// Adds to `program` what derive cannot say: each of these commands ends its help with as whom it acts and what its
/// exit status says, and does not repeat the settings of the server, but for those that it reads.
pub fn with_help(mut program: Command) -> Command {
    let of_the_server: Vec<_> = program
        .get_arguments()
        .filter(|argument| argument.is_global_set())
        .filter(|argument| !["clients_file", "config"].contains(&argument.get_id().as_str()))
        .map(|argument| argument.clone().hide(true))
        .collect();
    let ours = <AdminCommand as clap::Subcommand>::augment_subcommands(Command::new(""));
    for noun in ours.get_subcommands() {
        program = program.mut_subcommand(noun.get_name(), |noun| {
            end_help(noun.args(&of_the_server), &[AS_WHOM, EXIT_STATUS])
                .mut_subcommands(|verb| end_help(verb, &[EXIT_STATUS]))
        });
    }
    program
}

fn end_help(command: Command, parts: &[&str]) -> Command {
    let examples = command.get_after_help().map(ToString::to_string);
    let parts = examples.as_deref().into_iter().chain(parts.iter().copied());
    let text = parts.collect::<Vec<_>>().join("\n\n");
    command.after_help(text)
}

impl Connection {
    fn session(&self, config: &Config) -> Result<Session, Failure> {
        let (client, secret, origin) = self.credentials(config)?;
        let own = config.local_url();
        let url = self.url.as_deref().unwrap_or(&own);
        Ok(Session {
            api: Api::new(url, &client, secret, origin)?,
            out: Output::new(self.json, Clock::System),
        })
    }

    /// Id, secret, and where they come from.
    fn credentials(&self, config: &Config) -> Result<(String, SecretString, String), Failure> {
        if self.as_client.is_none()
            && let Some((id, secret)) = from_environment()?
        {
            let origin = format!("`{id}` of {CLIENT_ID_VARIABLE}");
            return Ok((id, secret, origin));
        }
        let name = self.as_client.as_deref().unwrap_or(ADMIN);
        let secret = clients_file::secret_of(&config.clients_file, name)?;
        let origin = format!("`{name}` of {}", config.clients_file.display());
        Ok((name.to_owned(), secret, origin))
    }
}

fn from_environment() -> Result<Option<(String, SecretString)>, Failure> {
    let variable = |name| env::var(name).ok().filter(|text| !text.is_empty());
    let id = variable(CLIENT_ID_VARIABLE);
    let secret = variable(CLIENT_SECRET_VARIABLE).map(SecretString::from);
    match (id, secret) {
        (Some(id), Some(secret)) => Ok(Some((id, secret))),
        (None, None) => Ok(None),
        _ => Err(Failure::Usage(format!(
            "set both {CLIENT_ID_VARIABLE} and {CLIENT_SECRET_VARIABLE}, or neither"
        ))),
    }
}
