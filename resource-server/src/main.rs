//! `resource-server`: one protected path, for callers whose token the provider vouches for.
//! `--help` is the reference.

use std::process::ExitCode;

use clap::Parser;
use m2m::{
    Clock,
    service::{OwnClient, telemetry},
};
use resource_server::Config;

#[actix_web::main]
async fn main() -> ExitCode {
    let config = Config::parse();
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
    let server = resource_server::start(config, &Clock::System)?;
    tracing::info!("resource-server listens on {}", server.url());
    tracing::info!("a revoked token is refused after {cached} s at the latest");
    Ok(server.until_stopped().await?)
}
