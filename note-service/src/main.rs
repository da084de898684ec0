//! `note-service`: notes for callers whose token says that they may. `--help` is the reference.

use std::process::ExitCode;

use clap::Parser;
use m2m::{
    Clock,
    service::{OwnClient, telemetry},
};
use note_service::Config;

#[actix_web::main]
async fn main() -> ExitCode {
    let config = Config::parse();
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
    let server = note_service::start(config, &Clock::System)?;
    tracing::info!("note-service listens on {}", server.url());
    Ok(server.until_stopped().await?)
}
