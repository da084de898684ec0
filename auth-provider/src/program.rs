//! The program: reads the configuration, starts the server, waits for its end.

use std::{
    ffi::OsString,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use m2m::{Clock, Export, service::telemetry};
use tracing::warn;

use crate::{
    backup::{self, DataCommand},
    cli::{self, AdminCommand},
    config::{Config, Settings},
    registry::commit::ANSWERS_BEFORE_COMMIT,
    startup,
};

/// Issues audience-scoped access tokens to the clients of a policy (OAuth 2.0 client credentials).
///
/// A setting is taken from its flag, else from its environment variable, else from auth-provider.toml, else
/// from its default.
#[derive(Parser)]
#[command(version = m2m::build_version(), after_help = AFTER_HELP)]
struct Cli {
    #[command(flatten)]
    setup: Setup,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Args)]
struct Setup {
    #[command(flatten)]
    settings: Settings,

    /// Read settings from this file instead of auth-provider.toml
    #[arg(long, env = "AUTH_PROVIDER_CONFIG", value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
Further environment variables:
  AUTH_PROVIDER_MASTER_KEY  the key that signing keys are sealed under: base64 of 32 bytes
                            [default: DATA_DIR/master.key, made at the first start]
  RUST_LOG                  what to log, as in `info` or `auth_provider=debug` [default: info]
  LOG_FORMAT                `json` writes one JSON object a line
  OTEL_EXPORTER_OTLP_ENDPOINT
                            where a collector takes the spans of requests, by OTLP over HTTP: https, or http on this
                            machine. OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER and the like are understood [default: none]
  NO_COLOR                  when set, the log has no colors

Exit status of the server: 0 after SIGTERM, 1 when it cannot start, 2 for wrong arguments. The commands that
talk to a running provider say theirs in their own --help.";

#[derive(Subcommand)]
enum Command {
    /// Print the configuration that is in force, secrets masked, and stop
    Config,
    #[command(flatten)]
    Admin(Box<AdminCommand>),
    #[command(flatten)]
    Data(DataCommand),
    /// Print a completion script for a shell and stop
    Completions { shell: clap_complete::Shell },
}

/// Runs the server until SIGTERM, or one command. The first of the arguments is the program's name.
pub async fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    telemetry::init();
    let arguments: Vec<_> = arguments.collect();
    let program = if arguments.len() > 1 {
        program()
    } else {
        // The commands take a while to describe, and half a megabyte: a server may have its settings from the environment.
        Setup::augment_args(clap::Command::new("auth-provider"))
    };
    let matches = program.get_matches_from(arguments);
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let error = match run(cli).await {
        Ok(code) => return code,
        Err(error) => error,
    };
    match error.downcast_ref::<cli::Failure>() {
        Some(cli::Failure::Closed) => ExitCode::SUCCESS,
        failure => {
            eprintln!("auth-provider: {error:#}");
            failure.map_or(1, cli::Failure::code).into()
        }
    }
}

fn program() -> clap::Command {
    backup::with_help(cli::with_help(Cli::command()))
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    if let Some(Command::Completions { shell }) = cli.command {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut program(), "auth-provider", &mut script);
        return print(&script);
    }
    let Setup { settings, config } = cli.setup;
    let config = settings.load(config.as_deref())?;
    match cli.command {
        Some(Command::Config) => return print(config.to_toml().as_bytes()),
        Some(Command::Admin(command)) => {
            let exit = cli::run(*command, &config).await?;
            return Ok(exit.code().into());
        }
        Some(Command::Data(command)) => {
            backup::run(command, &config, &Clock::System).await?;
            return Ok(ExitCode::SUCCESS);
        }
        Some(Command::Completions { .. }) | None => {}
    }
    let export = Export::start("auth-provider")?;
    let served = serve(&config).await;
    export.end().await;
    served?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(config: &Config) -> anyhow::Result<()> {
    if ANSWERS_BEFORE_COMMIT {
        warn!(
            "this build answers before it commits, and loses what it acknowledged: it is for a test"
        );
    }
    Ok(startup::start(config, Clock::System).await?.run().await?)
}

fn print(text: &[u8]) -> anyhow::Result<ExitCode> {
    let written = io::stdout().write_all(text);
    written.map_err(cli::Failure::from)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_sound() {
        super::program().debug_assert();
    }
}
