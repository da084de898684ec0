//! The program around the vault: reads the command line, starts, waits for the end.

use std::{ffi::OsString, process::ExitCode};

use clap::Parser;
use m2m::{Clock, Export, service::telemetry};

use crate::{Config, startup};

/// Runs the vault until SIGTERM. The first of the arguments is the program's name.
pub async fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let config = Config::parse_from(arguments);
    telemetry::init();
    match run(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line: what failed and, after the colons, why.
            eprintln!("token-vault: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(config: Config) -> anyhow::Result<()> {
    let config = config.with_secrets(|name| std::env::var(name).ok())?;
    let export = Export::start("token-vault")?;
    let server = startup::start(config, Clock::System).await?;
    tracing::info!("token-vault listens on {}", server.url());
    let ended = server.until_stopped().await;
    export.end().await;
    Ok(ended?)
}
