//! `auth-provider`: an OAuth 2.0 authorization server for machines. `--help` is the reference.

use std::process::ExitCode;

#[actix_web::main]
async fn main() -> ExitCode {
    auth_provider::program::main(std::env::args_os()).await
}
