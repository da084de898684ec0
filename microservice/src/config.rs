//! The configuration: flags, then environment variables, then defaults.

use std::path::PathBuf;

use clap::Parser;
use m2m::{
    service::{Listen, OwnClient, RevocationMode},
    verify::WhenStale,
};

use crate::services::{ServiceName, Services};

/// Greets whoever has a token for it, and calls the other services of the mesh with tokens of its
/// own.
///
/// Its own credentials at the issuer are in `MICROSERVICE_CLIENT_ID` and
/// `MICROSERVICE_CLIENT_SECRET`, else under its name in the clients file.
///
/// `RUST_LOG` chooses what is logged (default: info), `LOG_FORMAT=json` writes one JSON object a
/// line. `OTEL_EXPORTER_OTLP_ENDPOINT` says where a collector takes the spans of requests, by OTLP
/// over HTTP.
#[derive(Clone, Debug, Parser)]
#[command(version = m2m::build_version())]
pub struct Config {
    /// Which service it is: its name at the issuer, as client and as the audience that a token must
    /// have.
    #[arg(env = "MICROSERVICE_NAME")]
    pub name: ServiceName,

    /// The services of the mesh and where they are. It calls these and no others, and only at
    /// https:// or on this machine, since it sends them tokens.
    #[arg(
        long,
        value_name = "NAME=URL,…",
        env = "MICROSERVICE_SERVICES",
        default_value = "m1=http://localhost:8001,m2=http://localhost:8002,m3=http://localhost:8003"
    )]
    pub services: Services,

    /// Where to listen: `localhost:PORT` (127.0.0.1 and `::1`) or `IP:PORT`. Default: the port of
    /// its own URL in --services, when that is on this machine.
    #[arg(long, env = "MICROSERVICE_LISTEN")]
    pub listen: Option<Listen>,

    /// The issuer of the tokens that it accepts and of those that it sends, found through its
    /// metadata (RFC 8414).
    #[arg(
        long,
        value_name = "URL",
        env = "MICROSERVICE_ISSUER",
        default_value = "http://localhost:3001/auth"
    )]
    pub issuer: String,

    /// How tokens that were revoked before their end are noticed. `feed`: the issuer tells of them,
    /// in a fraction of a second; without credentials or an issuer that does, tokens are good until
    /// they expire. `introspection`: the issuer is asked about each token, and its answer counts
    /// for ten seconds. `none`: not at all.
    #[arg(
        long,
        value_name = "feed|introspection|none",
        env = "MICROSERVICE_REVOCATION",
        default_value = "feed"
    )]
    pub revocation: RevocationMode,

    /// What to do with good tokens when the feed was not heard of for 30 seconds: `accept` them,
    /// `refuse` them (503), or `introspect` each of them until the feed is back.
    #[arg(
        long,
        value_name = "accept|refuse|introspect",
        env = "MICROSERVICE_WHEN_FEED_IS_STALE",
        default_value = "accept"
    )]
    pub when_feed_is_stale: WhenStale,

    /// The file with the clients' secrets, which the auth-provider writes. It need not be there
    /// yet.
    #[arg(
        long,
        value_name = "FILE",
        env = "MICROSERVICE_CLIENTS_FILE",
        default_value = "clients.json"
    )]
    pub clients_file: PathBuf,

    /// The service's own credentials, if they do not come from the file.
    #[arg(skip)]
    pub client: Option<OwnClient>,

    /// A proxy in front speaks TLS. Without it, only addresses of this machine are listened on: a
    /// token that crosses a network in the clear is anybody's. With it, /query demands a token of
    /// everybody, since all callers seem to be the proxy.
    #[arg(long, env = "MICROSERVICE_BEHIND_TLS_PROXY")]
    pub behind_tls_proxy: bool,

    /// Threads that serve requests. Default: one per processor core.
    #[arg(
        long,
        value_name = "NUMBER",
        env = "MICROSERVICE_WORKERS",
        value_parser = clap::value_parser!(u16).range(1..=1024)
    )]
    pub workers: Option<u16>,
}

/// Nobody said where the service listens.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("where is {0} to listen? Add it to --services with a URL on this machine, or say --listen")]
pub struct UnknownAddress(ServiceName);

impl Config {
    /// Where to listen: as configured, or else where the others look for it.
    ///
    /// # Errors
    /// When neither is known.
    pub fn listens_on(&self) -> Result<Listen, UnknownAddress> {
        self.listen
            .or_else(|| self.services.local_port(&self.name))
            .ok_or_else(|| UnknownAddress(self.name.clone()))
    }
}
