//! The configuration: flags, then environment variables, then defaults.

use clap::Parser;
use m2m::service::Listen;

/// Keeps events, and serves them to callers whose access token allows it.
///
/// `RUST_LOG` chooses what is logged (default: info), `LOG_FORMAT=json` writes one JSON object a
/// line.
#[derive(Clone, Debug, Parser)]
#[command(version)]
pub struct Config {
    /// Where to listen: `localhost:PORT` (127.0.0.1 and `::1`) or `IP:PORT`.
    #[arg(
        long,
        env = "CALENDAR_SERVICE_LISTEN",
        default_value = "localhost:3011"
    )]
    pub listen: Listen,

    /// The issuer whose tokens are accepted; its keys are found through its metadata (RFC 8414).
    #[arg(
        long,
        value_name = "URL",
        env = "CALENDAR_SERVICE_ISSUER",
        default_value = "http://localhost:3001/auth"
    )]
    pub issuer: String,

    /// The audience that a token must have: the name of this service at the issuer.
    #[arg(
        long,
        value_name = "NAME",
        env = "CALENDAR_SERVICE_AUDIENCE",
        default_value = "calendar-service"
    )]
    pub audience: String,

    /// A proxy in front speaks TLS. Without it, only addresses of this machine are listened on: a
    /// token that crosses a network in the clear is anybody's.
    #[arg(long, env = "CALENDAR_SERVICE_BEHIND_TLS_PROXY")]
    pub behind_tls_proxy: bool,

    /// Threads that serve requests. Default: one per processor core.
    #[arg(
        long,
        value_name = "NUMBER",
        env = "CALENDAR_SERVICE_WORKERS",
        value_parser = clap::value_parser!(u16).range(1..=1024)
    )]
    pub workers: Option<u16>,
}
