//! The configuration: flags, then environment variables, then defaults.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Parser;
use m2m::{
    service::{Listen, OwnClient, RevocationMode},
    verify::WhenStale,
};
use secrecy::SecretString;
use url::Url;

use crate::{
    hashicorp, journal::Durability, kek::TransitName, limits::RateLimit, storage::DatabaseUrl,
};

/// Keeps the tokens that users' accounts elsewhere were opened with, and gives services that may have one a good one.
///
/// The vault's own credentials at the issuer are in `TOKEN_VAULT_CLIENT_ID` and `TOKEN_VAULT_CLIENT_SECRET`, else under
/// `token-vault` in the clients file. The key-encryption key is in `TOKEN_VAULT_KEY` (base64 of 32 bytes), else in the key
/// file, which is made at the first start; keys of before, whose rows are rewrapped, are in `TOKEN_VAULT_PREVIOUS_KEYS`
/// (separated by commas) and in previous key files. Where a Vault server keeps the tokens or the key, it is found by `VAULT_ADDR`
/// and `VAULT_TOKEN`, or `VAULT_ROLE_ID` and `VAULT_SECRET_ID`, with `VAULT_NAMESPACE` and `VAULT_CACERT` as its own programs
/// read them.
///
/// `RUST_LOG` chooses what is logged (default: info), `LOG_FORMAT=json` writes one JSON object a line.
#[derive(Clone, Debug, Parser)]
#[command(version = m2m::build_version())]
pub struct Config {
    /// Where to listen: `localhost:PORT` (127.0.0.1 and `::1`) or `IP:PORT`.
    #[arg(long, env = "TOKEN_VAULT_LISTEN", default_value = "localhost:3013")]
    pub listen: Listen,

    /// The URL that callers reach the vault by: the issuer of the JWTs that it signs. Default: `http://localhost:PORT`.
    #[arg(long, value_name = "URL", env = "TOKEN_VAULT_PUBLIC_URL")]
    pub public_url: Option<Url>,

    /// The issuer whose tokens are accepted; its keys are found through its metadata (RFC 8414).
    #[arg(
        long,
        value_name = "URL",
        env = "TOKEN_VAULT_ISSUER",
        default_value = "http://localhost:3001/auth"
    )]
    pub issuer: String,

    /// The audience that a token must have: the name of this service at the issuer.
    #[arg(
        long,
        value_name = "NAME",
        env = "TOKEN_VAULT_AUDIENCE",
        default_value = "token-vault"
    )]
    pub audience: String,

    /// How tokens that were revoked before their end are noticed. `feed`: the issuer tells of them, in a fraction of a
    /// second; without credentials or an issuer that does, tokens are good until they expire. `introspection`: the issuer
    /// is asked about each token, and its answer counts for ten seconds. `none`: not at all.
    #[arg(
        long,
        value_name = "feed|introspection|none",
        env = "TOKEN_VAULT_REVOCATION",
        default_value = "feed"
    )]
    pub revocation: RevocationMode,

    /// What to do with good tokens when the feed was not heard of for 30 seconds: `accept` them, `refuse` them (503), or
    /// `introspect` each of them until the feed is back.
    #[arg(
        long,
        value_name = "accept|refuse|introspect",
        env = "TOKEN_VAULT_WHEN_FEED_IS_STALE",
        default_value = "refuse"
    )]
    pub when_feed_is_stale: WhenStale,

    /// The file with the clients' secrets, which the auth-provider writes. It need not be there yet.
    #[arg(
        long,
        value_name = "FILE",
        env = "TOKEN_VAULT_CLIENTS_FILE",
        default_value = "clients.json"
    )]
    pub clients_file: PathBuf,

    /// Where the database and the key-encryption key are kept.
    #[arg(
        long,
        value_name = "FOLDER",
        env = "TOKEN_VAULT_DATA_DIR",
        default_value = "data"
    )]
    pub data_dir: PathBuf,

    /// `sqlite:PATH`, `postgres://USER:PASSWORD@HOST/NAME`, or `vault:MOUNT/FOLDER` for a KV engine (version 2) of a Vault server,
    /// where `vault:` alone is `vault:secret/token-vault`. Default: `sqlite:DATA_DIR/token-vault.db`.
    #[arg(
        long,
        value_name = "URL",
        env = "TOKEN_VAULT_DATABASE_URL",
        hide_env_values = true
    )]
    pub database_url: Option<DatabaseUrl>,

    /// The key-encryption key: base64 of 32 bytes, readable by its owner only. Default: `DATA_DIR/token-vault.key`.
    #[arg(long, value_name = "FILE", env = "TOKEN_VAULT_KEY_FILE")]
    pub key_file: Option<PathBuf>,

    /// A key-encryption key of before. It opens what it wrapped until that is rewrapped. May come several times.
    #[arg(
        long = "previous-key-file",
        value_name = "FILE",
        env = "TOKEN_VAULT_PREVIOUS_KEY_FILES",
        value_delimiter = ','
    )]
    pub previous_key_files: Vec<PathBuf>,

    /// The key-encryption key is in the Transit engine of a Vault server, which never gives it away: `MOUNT/NAME`, or `NAME` for
    /// `transit/NAME`. It must be there already.
    #[arg(
        long,
        value_name = "MOUNT/NAME",
        env = "TOKEN_VAULT_TRANSIT_KEY",
        conflicts_with = "key_file"
    )]
    pub transit_key: Option<TransitName>,

    /// A key in the Transit engine that was the key-encryption key before. May come several times.
    #[arg(
        long = "previous-transit-key",
        value_name = "MOUNT/NAME",
        env = "TOKEN_VAULT_PREVIOUS_TRANSIT_KEYS",
        value_delimiter = ','
    )]
    pub previous_transit_keys: Vec<TransitName>,

    /// The file that names the providers and the vault's credentials there. Without it GitHub, Slack and Discord are known,
    /// and their tokens are kept and given, but not refreshed.
    #[arg(long, value_name = "FILE", env = "TOKEN_VAULT_PROVIDERS")]
    pub providers: Option<PathBuf>,

    /// How long a provider may take to answer, in milliseconds. After a crash in the middle of a refresh, the connection
    /// waits three times as long.
    #[arg(
        long,
        value_name = "MILLISECONDS",
        env = "TOKEN_VAULT_PROVIDER_TIMEOUT",
        default_value = "10000",
        value_parser = clap::value_parser!(u64).range(100..=60_000)
    )]
    pub provider_timeout: u64,

    /// When a token is given: as soon as its event is in the queue of the audit log (a crash loses the last
    /// 100 milliseconds), or when it is on disk.
    #[arg(
        long,
        env = "TOKEN_VAULT_AUDIT_DURABILITY",
        value_enum,
        default_value_t
    )]
    pub audit_durability: Durability,

    /// How long the audit log is kept, in days.
    #[arg(
        long,
        value_name = "DAYS",
        env = "TOKEN_VAULT_AUDIT_RETENTION",
        default_value = "365",
        value_parser = clap::value_parser!(u64).range(1..=36_500)
    )]
    pub audit_retention: u64,

    /// How much memory opened connections may take, in MiB: what is in memory need not be read and opened for each request.
    /// At its start a vault that has its database for itself fills it. A million connections take 300, and 0 keeps none.
    #[arg(
        long,
        value_name = "MEBIBYTES",
        env = "TOKEN_VAULT_MEMORY",
        default_value = "384",
        value_parser = clap::value_parser!(u32).range(0..=1_048_576)
    )]
    pub memory: u32,

    /// How much one application may ask of this server: `100/s`, `600/min` or `off`. What is beyond gets 429.
    #[arg(
        long,
        value_name = "REQUESTS/TIME",
        env = "TOKEN_VAULT_RATE_LIMIT",
        default_value = "100000/s"
    )]
    pub rate_limit: RateLimit,

    /// Answer the paths of before as well: `POST /service/{service}`, `GET /service/{service}/one` and `/all`, with the data
    /// in the claims of the caller's access token.
    #[arg(long, env = "TOKEN_VAULT_OLDER_SHAPE")]
    pub older_shape: bool,

    /// A proxy in front speaks TLS. Without it, only addresses of this machine are listened on: a token that crosses a
    /// network in the clear is anybody's.
    #[arg(long, env = "TOKEN_VAULT_BEHIND_TLS_PROXY")]
    pub behind_tls_proxy: bool,

    /// Threads that serve requests. Default: one per processor core.
    #[arg(
        long,
        value_name = "NUMBER",
        env = "TOKEN_VAULT_WORKERS",
        value_parser = clap::value_parser!(u16).range(1..=1024)
    )]
    pub workers: Option<u16>,

    /// The vault's own credentials at the issuer, if they do not come from the file.
    #[arg(skip)]
    pub client: Option<OwnClient>,

    /// The key-encryption key, if it does not come from the file.
    #[arg(skip)]
    pub key: Option<SecretString>,

    /// Key-encryption keys of before that do not come from files.
    #[arg(skip)]
    pub previous_keys: Vec<SecretString>,

    /// The Vault server that keeps the tokens or the key.
    #[arg(skip)]
    pub hashicorp: Option<hashicorp::Settings>,
}

impl Config {
    /// Reads what has no flag, because everybody on the machine could read it there.
    ///
    /// # Errors
    /// When only one of the two parts of the vault's own credentials is set, or a Vault server is needed and not described.
    pub fn with_secrets(
        mut self,
        variable: impl Fn(&str) -> Option<String>,
    ) -> anyhow::Result<Self> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        self.client = OwnClient::from_environment("TOKEN_VAULT", &variable)?;
        self.key = set("TOKEN_VAULT_KEY").map(SecretString::from);
        let previous = set("TOKEN_VAULT_PREVIOUS_KEYS").unwrap_or_default();
        let previous = previous
            .split(',')
            .map(str::trim)
            .filter(|key| !key.is_empty());
        self.previous_keys = previous.map(SecretString::from).collect();
        if self.needs_hashicorp() {
            self.hashicorp = Some(hashicorp::Settings::from_environment(&variable)?);
        }
        Ok(self)
    }

    fn needs_hashicorp(&self) -> bool {
        matches!(self.database(), DatabaseUrl::Hashicorp(_))
            || self.transit_key.is_some()
            || !self.previous_transit_keys.is_empty()
    }

    /// The database that is meant.
    pub fn database(&self) -> DatabaseUrl {
        let default = || DatabaseUrl::SqliteFile(self.data_dir.join("token-vault.db"));
        self.database_url.clone().unwrap_or_else(default)
    }

    /// The key file that is meant.
    pub fn key_file(&self) -> PathBuf {
        let default = || Path::join(&self.data_dir, "token-vault.key");
        self.key_file.clone().unwrap_or_else(default)
    }

    /// How much memory opened connections may take, in bytes.
    pub fn memory(&self) -> usize {
        self.memory as usize * 1024 * 1024
    }

    pub fn ask_timeout(&self) -> Duration {
        Duration::from_millis(self.provider_timeout)
    }
}
