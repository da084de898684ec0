//! `note-service`: notes for callers whose token says that they may. `--help` is the reference.

use std::process::ExitCode;

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[actix_web::main]
async fn main() -> ExitCode {
    note_service::program::main(std::env::args_os()).await
}
