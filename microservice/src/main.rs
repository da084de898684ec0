//! `microservice NAME`: one service of a mesh. `--help` is the reference.

use std::process::ExitCode;

#[actix_web::main]
async fn main() -> ExitCode {
    microservice::program::main(std::env::args_os()).await
}
