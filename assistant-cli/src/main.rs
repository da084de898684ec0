//! `assistant`: hands its command line on.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    assistant_cli::commands::main(std::env::args_os()).await
}
