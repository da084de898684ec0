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
            eprintln!("note-service: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(mut config: Config) -> anyhow::Result<()> {
    config.client = OwnClient::from_environment("NOTE_SERVICE", |name| std::env::var(name).ok())?;
    let export = Export::start("note-service")?;
    let server = start(config, &Clock::System)?;
    tracing::info!("note-service listens on {}", server.url());
    let ended = server.until_stopped().await;
    export.end().await;
    Ok(ended?)
}
