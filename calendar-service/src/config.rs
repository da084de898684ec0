//! The configuration: flags, then environment variables, then defaults.

use std::path::PathBuf;

use clap::Parser;
use m2m::{
    service::{Listen, OwnClient, RevocationMode},
    verify::WhenStale,
};

/// Keeps events, and serves them to callers whose access token allows it.
///
/// The service's own credentials at the issuer are in `CALENDAR_SERVICE_CLIENT_ID` and
/// `CALENDAR_SERVICE_CLIENT_SECRET`, else under `calendar-service` in the clients file.
///
/// `RUST_LOG` chooses what is logged (default: info), `LOG_FORMAT=json` writes one JSON object a
/// line. `OTEL_EXPORTER_OTLP_ENDPOINT` says where a collector takes the spans of requests, by OTLP
/// over HTTP.
#[derive(Clone, Debug, Parser)]
#[command(version = m2m::build_version())]
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

    /// How tokens that were revoked before their end are noticed. `feed`: the issuer tells of them,
    /// in a fraction of a second; without credentials or an issuer that does, tokens are good until
    /// they expire. `introspection`: the issuer is asked about each token, and its answer counts
    /// for ten seconds. `none`: not at all.
    #[arg(
        long,
        value_name = "feed|introspection|none",
        env = "CALENDAR_SERVICE_REVOCATION",
        default_value = "feed"
    )]
    pub revocation: RevocationMode,

    /// What to do with good tokens when the feed was not heard of for 30 seconds: `accept` them,
    /// `refuse` them (503), or `introspect` each of them until the feed is back.
    #[arg(
        long,
        value_name = "accept|refuse|introspect",
        env = "CALENDAR_SERVICE_WHEN_FEED_IS_STALE",
        default_value = "accept"
    )]
    pub when_feed_is_stale: WhenStale,

    /// The file with the clients' secrets, which the auth-provider writes. It need not be there
    /// yet.
    #[arg(
        long,
        value_name = "FILE",
        env = "CALENDAR_SERVICE_CLIENTS_FILE",
        default_value = "clients.json"
    )]
    pub clients_file: PathBuf,

    /// The service's own credentials, if they do not come from the file.
    #[arg(skip)]
    pub client: Option<OwnClient>,

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
