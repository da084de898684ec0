//! `assistant`: reads the command line and hands it on.

use std::process::ExitCode;

use assistant_cli::{cli::Cli, commands};
use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    commands::run(Cli::parse()).await
}
