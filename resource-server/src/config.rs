//! The configuration: flags, then environment variables, then defaults.

use std::{path::PathBuf, str::FromStr, time::Duration};

use clap::Parser;
use m2m::{
    ScopeSet,
    service::{Listen, OwnClient},
    verify::Introspection,
};

/// Answers at /protected to callers whose access token is active, as the provider says (RFC 7662),
/// and has the scope.
///
/// The service's own credentials at the provider are in `OAUTH2_CLIENT_ID` and
/// `OAUTH2_CLIENT_SECRET`, else under `resource-server` in the clients file. They are sent with
/// HTTP Basic (RFC 6749 section 2.3.1).
///
/// `RUST_LOG` chooses what is logged (default: info), `LOG_FORMAT=json` writes one JSON object a
/// line. `OTEL_EXPORTER_OTLP_ENDPOINT` says where a collector takes the spans of requests, by OTLP
/// over HTTP.
#[derive(Clone, Debug, Parser)]
#[command(version = m2m::build_version())]
pub struct Config {
    /// The port of localhost (127.0.0.1 and `::1`) on which to listen.
    #[arg(long, value_name = "NUMBER", env = "PORT", default_value_t = 8081)]
    pub port: u16,

    /// Where to listen instead: `localhost:PORT` or `IP:PORT`.
    #[arg(long, value_name = "ADDRESS", env = "RESOURCE_SERVER_LISTEN")]
    pub listen: Option<Listen>,

    /// Where the provider is asked about tokens: https, or http on this machine.
    #[arg(
        long,
        value_name = "URL",
        env = "OAUTH2_INTROSPECT_URL",
        default_value = "http://localhost:3001/auth/oauth/introspect"
    )]
    pub introspect_url: String,

    /// The name of this service at the provider. An answer with an `aud` must have it there, alone
    /// or in a list; in one without, the provider has decided.
    #[arg(
        long,
        value_name = "NAME",
        env = "OAUTH2_AUDIENCE",
        default_value = "resource-server"
    )]
    pub audience: String,

    /// The scope that a token needs for /protected; of several, separated by spaces, all.
    #[arg(
        long,
        value_name = "SCOPE",
        env = "REQUIRED_SCOPE",
        default_value = "read"
    )]
    pub required_scope: RequiredScope,

    /// For how many seconds the provider's answer counts, 30 at most: a revoked token is refused no
    /// later. 0 asks each time.
    #[arg(
        long,
        value_name = "NUMBER",
        env = "OAUTH2_CACHE_SECONDS",
        default_value_t = 10,
        value_parser = clap::value_parser!(u64).range(..=30)
    )]
    pub cache_seconds: u64,

    /// The file with the clients' secrets, which the auth-provider writes. It need not be there
    /// yet.
    #[arg(
        long,
        value_name = "FILE",
        env = "RESOURCE_SERVER_CLIENTS_FILE",
        default_value = "clients.json"
    )]
    pub clients_file: PathBuf,

    /// The service's own credentials, if they do not come from the file.
    #[arg(skip)]
    pub client: Option<OwnClient>,

    /// How long one question may take.
    #[arg(skip = Introspection::default().timeout)]
    pub timeout: Duration,

    /// A proxy in front speaks TLS. Without it, only addresses of this machine are listened on: a
    /// token that crosses a network in the clear is anybody's.
    #[arg(long, env = "RESOURCE_SERVER_BEHIND_TLS_PROXY")]
    pub behind_tls_proxy: bool,

    /// Threads that serve requests. Default: one per processor core.
    #[arg(
        long,
        value_name = "NUMBER",
        env = "RESOURCE_SERVER_WORKERS",
        value_parser = clap::value_parser!(u16).range(1..=1024)
    )]
    pub workers: Option<u16>,
}

impl Config {
    /// Where to listen, as was said in either way.
    pub fn listen(&self) -> Listen {
        self.listen.unwrap_or(Listen::Loopback { port: self.port })
    }
}

/// What a token must allow; at least one scope.
#[derive(Clone, Debug)]
pub struct RequiredScope(pub(crate) ScopeSet);

impl FromStr for RequiredScope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<ScopeSet>() {
            Ok(scopes) if scopes.is_empty() => {
                Err("name a scope: without one, any token would do".to_owned())
            }
            Ok(scopes) => Ok(Self(scopes)),
            Err(error) => Err(error.to_string()),
        }
    }
}
