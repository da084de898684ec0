//! The program around the service: reads the command line, starts, waits for the end.

use std::{ffi::OsString, process::ExitCode};

use clap::Parser;
use m2m::{
    Clock, Export,
    service::{OwnClient, telemetry},
};

use crate::{Config, start};

/// Runs the service until SIGTERM. The first of the arguments is the program's name.
pub async fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let config = Config::parse_from(arguments);
    telemetry::init();
    match run(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line: what failed and, after the colons, why.
            eprintln!("resource-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(mut config: Config) -> anyhow::Result<()> {
    config.client = OwnClient::from_environment("OAUTH2", |name| std::env::var(name).ok())?;
    let cached = config.cache_seconds;
    let export = Export::start("resource-server")?;
    let server = start(config, &Clock::System)?;
    tracing::info!("resource-server listens on {}", server.url());
    tracing::info!("a revoked token is refused after {cached} s at the latest");
    let ended = server.until_stopped().await;
    export.end().await;
    Ok(ended?)
}
