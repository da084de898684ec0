//! `token-vault`: good tokens of users' accounts elsewhere, for services that may have them. `--help` is the reference.

use std::process::ExitCode;

#[actix_web::main]
async fn main() -> ExitCode {
    token_vault::program::main(std::env::args_os()).await
}
