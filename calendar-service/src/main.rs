//! `calendar-service`: events for callers whose token says that they may. `--help` is the
//! reference.

use std::process::ExitCode;

use calendar_service::Config;
use clap::Parser;
use m2m::{
    Clock,
    service::{OwnClient, telemetry},
};

#[actix_web::main]
async fn main() -> ExitCode {
    let config = Config::parse();
    telemetry::init();
    match run(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line: what failed and, after the colons, why.
            eprintln!("calendar-service: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(mut config: Config) -> anyhow::Result<()> {
    config.client =
        OwnClient::from_environment("CALENDAR_SERVICE", |name| std::env::var(name).ok())?;
    let server = calendar_service::start(config, &Clock::System)?;
    tracing::info!("calendar-service listens on {}", server.url());
    Ok(server.until_stopped().await?)
}
