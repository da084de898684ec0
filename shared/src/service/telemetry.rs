//! Logs: to standard error, so that standard output stays a program's own.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

/// Starts logging for a program. `RUST_LOG` chooses what is logged (default: `info`, of the web
/// server only warnings, and not that some request made no sense),
/// `LOG_FORMAT=json` writes one JSON object a line, `NO_COLOR` is respected.
pub fn init() {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,actix_server=warn,actix_http=off"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // Its report of a log that cannot be written would panic for the same reason, and end the
        // server.
        .log_internal_errors(false)
        .with_writer(io::stderr);
    let started = if std::env::var_os("LOG_FORMAT").is_some_and(|format| format == "json") {
        log.json().try_init()
    } else {
        let color = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        log.with_ansi(color && io::stderr().is_terminal())
            .try_init()
    };
    // A second call, as tests make it, leaves the first log in place.
    drop(started);
}
