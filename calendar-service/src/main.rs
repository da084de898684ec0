//! `calendar-service`: events for callers whose token says that they may. `--help` is the
//! reference.

use std::process::ExitCode;

#[actix_web::main]
async fn main() -> ExitCode {
    calendar_service::program::main(std::env::args_os()).await
}
