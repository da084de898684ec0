//! `assistant`: reads the command line and hands it on.

use std::process::ExitCode;

use assistant_cli::{cli::Cli, commands};
use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => commands::run(cli).await,
        Err(e) => commands::explain(&e),
    }
}
