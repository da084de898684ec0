//! `token-vault`: good tokens of users' accounts elsewhere, for services that may have them. `--help` is the reference.

use std::process::ExitCode;

use clap::Parser;
use m2m::{Clock, service::telemetry};
use token_vault::{Config, startup};

#[actix_web::main]
async fn main() -> ExitCode {
    let config = Config::parse();
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
    let server = startup::start(config, Clock::System).await?;
    tracing::info!("token-vault listens on {}", server.url());
    Ok(server.until_stopped().await?)
}
