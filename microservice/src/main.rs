//! `microservice NAME`: one service of a mesh. `--help` is the reference.

use std::process::ExitCode;

use clap::Parser;
use m2m::{
    Clock,
    service::{OwnClient, telemetry},
};
use microservice::Config;

#[actix_web::main]
async fn main() -> ExitCode {
    let config = Config::parse();
    telemetry::init();
    match run(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line: what failed and, after the colons, why.
            eprintln!("microservice: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(mut config: Config) -> anyhow::Result<()> {
    config.client = OwnClient::from_environment("MICROSERVICE", |name| std::env::var(name).ok())?;
    let name = config.name.clone();
    let server = microservice::start(config, &Clock::System)?;
    tracing::info!("{name} listens on {}", server.url());
    Ok(server.until_stopped().await?)
}
