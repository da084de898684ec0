//! The program: reads the configuration, starts the server, waits for its end.

use std::{io, path::PathBuf, process::ExitCode};

use auth_provider::{
    config::Settings,
    key_commands::{self, KeyCommand},
    startup,
};
use clap::{CommandFactory, Parser, Subcommand};
use m2m::{Clock, service::telemetry};

/// Issues audience-scoped access tokens to the clients of a policy (OAuth 2.0 client credentials).
///
/// A setting is taken from its flag, else from its environment variable, else from auth-provider.toml, else
/// from its default.
#[derive(Parser)]
#[command(version, after_help = AFTER_HELP)]
struct Cli {
    #[command(flatten)]
    settings: Settings,

    /// Read settings from this file instead of auth-provider.toml
    #[arg(long, env = "AUTH_PROVIDER_CONFIG", value_name = "FILE", global = true)]
    config: Option<PathBuf>,

    #[command(subcommand)]
    command: Option<Command>,
}

const AFTER_HELP: &str = "\
Further environment variables:
  AUTH_PROVIDER_MASTER_KEY  the key that signing keys are sealed under: base64 of 32 bytes
                            [default: DATA_DIR/master.key, made at the first start]
  RUST_LOG                  what to log, as in `info` or `auth_provider=debug` [default: info]
  LOG_FORMAT                `json` writes one JSON object a line
  NO_COLOR                  when set, the log has no colors

Exit status: 0 after SIGTERM, 1 when the server cannot start, 2 for wrong arguments.";

#[derive(Subcommand)]
enum Command {
    /// Print the configuration that is in force, secrets masked, and stop
    Config,
    /// Show or change the signing keys of a running provider, as the client `admin` of clients.json
    #[command(subcommand)]
    Key(KeyCommand),
    /// Print a completion script for a shell and stop
    Completions { shell: clap_complete::Shell },
}

#[actix_web::main]
async fn main() -> ExitCode {
    telemetry::init();
    match run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("auth-provider: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    if let Some(Command::Completions { shell }) = cli.command {
        clap_complete::generate(
            shell,
            &mut Cli::command(),
            "auth-provider",
            &mut io::stdout(),
        );
        return Ok(());
    }
    let config = cli.settings.load(cli.config.as_deref())?;
    if let Some(Command::Key(command)) = &cli.command {
        return key_commands::run(command, &config.local_url(), &config.clients_file).await;
    }
    if let Some(Command::Config) = cli.command {
        io::Write::write_all(&mut io::stdout(), config.to_toml().as_bytes())?;
        return Ok(());
    }
    startup::start(&config, Clock::System).await?.run().await?;
    Ok(())
}
