//! `resource-server`: one protected path, for callers whose token the provider vouches for.
//! `--help` is the reference.

use std::process::ExitCode;

#[actix_web::main]
async fn main() -> ExitCode {
    resource_server::program::main(std::env::args_os()).await
}
