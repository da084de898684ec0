//! Configuration: flags before environment before `auth-provider.toml` before defaults, checked as a whole.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use m2m::{is_loopback_host, service::Listen};
use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use crate::{
    journal::{Durability, Keeping},
    keys::{Period, Schedule, Wished},
    limits::{self, RateLimit, Rates},
    own_token::StytchIssuer,
    policy_file::{MAX_TOKEN_LIFETIME, line_of},
    storage::{DatabaseUrl, Tuning},
    uses::TokenEvents,
};

/// Read at start when it is there and no `--config` names another.
const DEFAULT_FILE: &str = "auth-provider.toml";

/// The demo's policy: applied when no policy is named and the program runs in the project's folder.
const DEMO_POLICY: &str = "demo/policy.toml";

/// How long the audit log is kept where nothing else is said, in seconds.
const DEFAULT_RETENTION: u64 = 90 * 24 * 3600;

/// How long before its end a credential is told of where nothing else is said, in seconds.
const DEFAULT_WARNING: u64 = 14 * 24 * 3600;

/// The longest life of a token whose contents its caller writes, where nothing else is said, in seconds.
const DEFAULT_JWT_VALIDITY: u64 = 3600;

/// Not a flag: a process list would show it.
const MASTER_KEY_VARIABLE: &str = "AUTH_PROVIDER_MASTER_KEY";

/// What may be set, in whichever place. In the file the names have `_` for `-`.
#[derive(Clone, Debug, Default, clap::Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where to listen: localhost:PORT for both loopback addresses, or IP:PORT [default: localhost:3001]
    #[arg(
        long,
        env = "AUTH_PROVIDER_LISTEN",
        value_name = "ADDRESS",
        global = true
    )]
    listen: Option<String>,

    /// The URL that clients reach this server by; the issuer is this plus /auth
    /// [default: http://localhost:PORT]
    #[arg(
        long,
        env = "AUTH_PROVIDER_PUBLIC_URL",
        value_name = "URL",
        global = true
    )]
    public_url: Option<String>,

    /// `sqlite:PATH` or `postgres://USER:PASSWORD@HOST/NAME` [default: `sqlite:DATA_DIR/auth-provider.db`]
    #[arg(
        long,
        env = "AUTH_PROVIDER_DATABASE_URL",
        value_name = "URL",
        hide_env_values = true,
        global = true
    )]
    database_url: Option<String>,

    /// PostgreSQL: how many connections requests may use; one more watches over the database [default: 10]
    #[arg(
        long,
        env = "AUTH_PROVIDER_DATABASE_MAX_CONNECTIONS",
        value_name = "NUMBER",
        global = true
    )]
    database_max_connections: Option<u32>,

    /// PostgreSQL: how long one statement may take, from 1s to 10m; it waits for locks for half as long [default: 5s]
    #[arg(
        long,
        env = "AUTH_PROVIDER_DATABASE_STATEMENT_TIMEOUT",
        value_name = "TIME",
        global = true
    )]
    database_statement_timeout: Option<Period>,

    /// PostgreSQL: how long tokens are issued from memory when the database is away, 1h at most; 0s never does
    /// [default: 60s]
    #[arg(
        long,
        env = "AUTH_PROVIDER_DATABASE_GRACE",
        value_name = "TIME",
        global = true
    )]
    database_grace: Option<Period>,

    /// Where the database and the master key are kept [default: data]
    #[arg(
        long,
        env = "AUTH_PROVIDER_DATA_DIR",
        value_name = "FOLDER",
        global = true
    )]
    data_dir: Option<PathBuf>,

    /// A policy file to apply at start [default: demo/policy.toml where there is one]
    #[arg(long, env = "AUTH_PROVIDER_POLICY", value_name = "FILE", global = true)]
    policy: Option<PathBuf>,

    /// Where the policy's clients find their secrets [default: clients.json]
    #[arg(
        long,
        env = "AUTH_PROVIDER_CLIENTS_FILE",
        value_name = "FILE",
        global = true
    )]
    clients_file: Option<PathBuf>,

    /// A proxy in front speaks TLS: allows plain HTTP on an address that others can reach, and takes a
    /// caller's address from the end of X-Forwarded-For, where this proxy must put it
    #[arg(
        long,
        env = "AUTH_PROVIDER_BEHIND_TLS_PROXY",
        num_args = 0..=1,
        default_missing_value = "true",
        value_name = "BOOL",
        global = true
    )]
    behind_tls_proxy: Option<bool>,

    /// Threads that serve requests [default: one per core]
    #[arg(
        long,
        env = "AUTH_PROVIDER_WORKERS",
        value_name = "NUMBER",
        global = true
    )]
    workers: Option<usize>,

    /// How long a signing key signs before the next one takes over [default: 90d]
    #[arg(
        long,
        env = "AUTH_PROVIDER_KEY_ROTATION_INTERVAL",
        value_name = "TIME",
        global = true
    )]
    key_rotation_interval: Option<Period>,

    /// How long a key is in the key set before it signs: at least 10m [default: 1h]
    #[arg(
        long,
        env = "AUTH_PROVIDER_KEY_ANNOUNCE_TIME",
        value_name = "TIME",
        global = true
    )]
    key_announce_time: Option<Period>,

    /// How long a key stays in the key set after it was replaced: the longest life of a token and
    /// 10m at least [default: 1d 10m]
    #[arg(
        long,
        env = "AUTH_PROVIDER_KEY_RETIRE_TIME",
        value_name = "TIME",
        global = true
    )]
    key_retire_time: Option<Period>,

    /// How long others may keep the key set [default: 5m, or half of the announce time]
    #[arg(
        long,
        env = "AUTH_PROVIDER_KEY_SET_MAX_AGE",
        value_name = "TIME",
        global = true
    )]
    key_set_max_age: Option<Period>,

    /// For tests and demonstrations: allows times for keys that are shorter than is safe
    #[arg(
        long,
        env = "AUTH_PROVIDER_FAST_KEY_ROTATION",
        num_args = 0..=1,
        default_missing_value = "true",
        value_name = "BOOL",
        global = true
    )]
    fast_key_rotation: Option<bool>,

    /// How long the audit log is kept [default: 90d]
    #[arg(
        long,
        env = "AUTH_PROVIDER_AUDIT_RETENTION",
        value_name = "TIME",
        global = true
    )]
    audit_retention: Option<Period>,

    /// `batched` answers a token request when its audit event is queued: a crash loses the events of the last 100 ms;
    /// `strict` answers when it is on disk [default: batched]
    #[arg(
        long,
        env = "AUTH_PROVIDER_AUDIT_DURABILITY",
        value_name = "HOW",
        global = true
    )]
    audit_durability: Option<Durability>,

    /// `each` keeps an audit event of each token that is given; `summed` keeps none of them, and of each credential when it
    /// was last used, how often, and when its last token ends, written every 10 seconds: a crash loses the last of it.
    /// Refusals and changes are kept in any case [default: each]
    #[arg(
        long,
        env = "AUTH_PROVIDER_AUDIT_TOKENS",
        value_name = "WHICH",
        global = true
    )]
    audit_tokens: Option<TokenEvents>,

    /// How long before a credential ends the log warns of it [default: 14d]
    #[arg(
        long,
        env = "AUTH_PROVIDER_CREDENTIAL_WARNING",
        value_name = "TIME",
        global = true
    )]
    credential_warning: Option<Period>,

    /// What one client may ask of the OAuth endpoints, as in 100/s, 600/min, 1000/20s or off
    /// [default: 100000/s]
    #[arg(
        long,
        env = "AUTH_PROVIDER_RATE_LIMIT_CLIENT",
        value_name = "LIMIT",
        global = true
    )]
    rate_limit_client: Option<RateLimit>,

    /// What one address (of IPv6: one /64) may ask of the OAuth endpoints and the administration
    /// [default: 100000/s]
    #[arg(
        long,
        env = "AUTH_PROVIDER_RATE_LIMIT_ADDRESS",
        value_name = "LIMIT",
        global = true
    )]
    rate_limit_address: Option<RateLimit>,

    /// What one client may ask of the administration [default: 1000/s]
    #[arg(
        long,
        env = "AUTH_PROVIDER_RATE_LIMIT_ADMIN",
        value_name = "LIMIT",
        global = true
    )]
    rate_limit_admin: Option<RateLimit>,

    /// How many authentications may fail from one address before 429 is the answer to those that fail
    /// [default: 1000/20s]
    #[arg(
        long,
        env = "AUTH_PROVIDER_RATE_LIMIT_FAILURES",
        value_name = "LIMIT",
        global = true
    )]
    rate_limit_failures: Option<RateLimit>,

    /// Lets clients register themselves (RFC 7591), each time with an access token for auth-provider that has the scope
    /// clients:register [default: false]
    #[arg(
        long,
        env = "AUTH_PROVIDER_DYNAMIC_REGISTRATION",
        num_args = 0..=1,
        default_missing_value = "true",
        value_name = "BOOL",
        global = true
    )]
    dynamic_registration: Option<bool>,

    /// The longest life of a token that POST /recipe/jwt makes, from 1s to 24h; one that is to live longer is cut short
    /// [default: 1h]
    #[arg(
        long,
        env = "AUTH_PROVIDER_MAX_JWT_VALIDITY",
        value_name = "TIME",
        global = true
    )]
    max_jwt_validity: Option<Period>,

    /// The issuer that stands in tokens of the profile stytch, as in `https://login.example`
    /// [default: stytch.com/PROJECT]
    #[arg(
        long,
        env = "AUTH_PROVIDER_STYTCH_ISSUER",
        value_name = "ORIGIN",
        global = true
    )]
    stytch_issuer: Option<String>,

    #[arg(skip)]
    master_key: Option<SecretString>,
}

/// The configuration that is in force. It can only be had checked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    pub listen: Listen,
    /// `None`: `http://localhost` and the port that was bound.
    pub public_url: Option<Url>,
    pub database_url: DatabaseUrl,
    /// How a database server is used.
    pub database: Tuning,
    pub data_dir: PathBuf,
    pub policy: Option<PathBuf>,
    pub clients_file: PathBuf,
    pub behind_tls_proxy: bool,
    pub workers: Option<usize>,
    /// When signing keys change.
    pub key_schedule: Schedule,
    /// How long the audit log is kept, in seconds.
    pub audit_retention: u64,
    /// What the audit log keeps, and when that is on disk.
    pub audit: Keeping,
    /// How long before a credential ends the log warns of it, in seconds.
    pub credential_warning: u64,
    /// How much one caller may ask for.
    pub rate_limits: Rates,
    /// Whether clients may register themselves.
    pub dynamic_registration: bool,
    /// The longest life of a token whose contents its caller writes, in seconds.
    pub max_jwt_validity: u64,
    /// Who issued the tokens of the profile `stytch`.
    pub stytch_issuer: StytchIssuer,
    pub master_key: Option<SecretString>,
}

impl Settings {
    /// Fills what flags and environment left open from the file and the defaults, and checks it all.
    ///
    /// # Errors
    /// When a value cannot be read, or the whole would be insecure.
    pub fn load(mut self, file: Option<&Path>) -> anyhow::Result<Config> {
        if let Ok(key) = std::env::var(MASTER_KEY_VARIABLE) {
            self.master_key = Some(key.into());
        }
        let file = match file {
            Some(path) => Self::read(path)?,
            None if Path::new(DEFAULT_FILE).exists() => Self::read(Path::new(DEFAULT_FILE))?,
            None => Self::default(),
        };
        self.or(file).check()
    }

    fn read(path: &Path) -> anyhow::Result<Self> {
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).map_err(|error| {
            let line = line_of(&text, &error);
            anyhow::anyhow!("{} line {line}: {}", path.display(), error.message())
        })
    }

    fn or(self, other: Self) -> Self {
        Self {
            listen: self.listen.or(other.listen),
            public_url: self.public_url.or(other.public_url),
            database_url: self.database_url.or(other.database_url),
            database_max_connections: self
                .database_max_connections
                .or(other.database_max_connections),
            database_statement_timeout: self
                .database_statement_timeout
                .or(other.database_statement_timeout),
            database_grace: self.database_grace.or(other.database_grace),
            data_dir: self.data_dir.or(other.data_dir),
            policy: self.policy.or(other.policy),
            clients_file: self.clients_file.or(other.clients_file),
            behind_tls_proxy: self.behind_tls_proxy.or(other.behind_tls_proxy),
            workers: self.workers.or(other.workers),
            key_rotation_interval: self.key_rotation_interval.or(other.key_rotation_interval),
            key_announce_time: self.key_announce_time.or(other.key_announce_time),
            key_retire_time: self.key_retire_time.or(other.key_retire_time),
            key_set_max_age: self.key_set_max_age.or(other.key_set_max_age),
            fast_key_rotation: self.fast_key_rotation.or(other.fast_key_rotation),
            audit_retention: self.audit_retention.or(other.audit_retention),
            audit_durability: self.audit_durability.or(other.audit_durability),
            audit_tokens: self.audit_tokens.or(other.audit_tokens),
            credential_warning: self.credential_warning.or(other.credential_warning),
            rate_limit_client: self.rate_limit_client.or(other.rate_limit_client),
            rate_limit_address: self.rate_limit_address.or(other.rate_limit_address),
            rate_limit_admin: self.rate_limit_admin.or(other.rate_limit_admin),
            rate_limit_failures: self.rate_limit_failures.or(other.rate_limit_failures),
            dynamic_registration: self.dynamic_registration.or(other.dynamic_registration),
            max_jwt_validity: self.max_jwt_validity.or(other.max_jwt_validity),
            stytch_issuer: self.stytch_issuer.or(other.stytch_issuer),
            master_key: self.master_key.or(other.master_key),
        }
    }

    fn check(self) -> anyhow::Result<Config> {
        let data_dir = self.data_dir.unwrap_or_else(|| "data".into());
        let database_url = match &self.database_url {
            Some(url) => url.parse().context("database_url")?,
            None => DatabaseUrl::SqliteFile(data_dir.join("auth-provider.db")),
        };
        let database = tuning(
            self.database_max_connections,
            self.database_statement_timeout,
            self.database_grace,
        )?;
        let listen = self.listen.as_deref().unwrap_or("localhost:3001");
        let config = Config {
            listen: listen
                .parse()
                .map_err(anyhow::Error::msg)
                .context("listen")?,
            public_url: self.public_url.as_deref().map(public_url).transpose()?,
            database_url,
            database,
            data_dir,
            policy: self
                .policy
                .or_else(|| Some(PathBuf::from(DEMO_POLICY)).filter(|policy| policy.exists())),
            clients_file: self.clients_file.unwrap_or_else(|| "clients.json".into()),
            behind_tls_proxy: self.behind_tls_proxy.unwrap_or(false),
            workers: self.workers,
            key_schedule: Schedule::new(Wished {
                rotation_interval: self.key_rotation_interval,
                announce_time: self.key_announce_time,
                retire_time: self.key_retire_time,
                max_age: self.key_set_max_age,
                fast: self.fast_key_rotation.unwrap_or(false),
            })?,
            audit_retention: self
                .audit_retention
                .map_or(DEFAULT_RETENTION, Period::seconds),
            audit: Keeping {
                durability: self.audit_durability.unwrap_or_default(),
                tokens: self.audit_tokens.unwrap_or_default(),
            },
            credential_warning: self
                .credential_warning
                .map_or(DEFAULT_WARNING, Period::seconds),
            rate_limits: Rates::from(limits::Wished {
                client: self.rate_limit_client,
                address: self.rate_limit_address,
                admin: self.rate_limit_admin,
                failures: self.rate_limit_failures,
            }),
            dynamic_registration: self.dynamic_registration.unwrap_or(false),
            max_jwt_validity: self
                .max_jwt_validity
                .map_or(DEFAULT_JWT_VALIDITY, Period::seconds),
            stytch_issuer: stytch_issuer(self.stytch_issuer.as_deref())?,
            master_key: self.master_key,
        };
        ensure!(
            (1..=MAX_TOKEN_LIFETIME).contains(&config.max_jwt_validity),
            "max_jwt_validity: write a time from 1s to 24h, the longest life of any token"
        );
        ensure!(
            config.workers != Some(0),
            "workers: at least one thread must serve requests"
        );
        config.refuse_plain_http()?;
        Ok(config)
    }
}

impl Config {
    /// Client secrets must not cross a network in the clear (RFC 6749 section 2.3.1).
    fn refuse_plain_http(&self) -> anyhow::Result<()> {
        let listen = self.listen;
        if !listen.is_loopback() && !self.behind_tls_proxy {
            bail!(
                "listen: secrets would cross the network in the clear on {listen}: put a TLS proxy in \
                 front and start with --behind-tls-proxy, or listen on localhost"
            );
        }
        match &self.public_url {
            Some(url) if url.scheme() == "http" && !is_loopback_host(url) => bail!(
                "public_url: {url} would send secrets in the clear: it must begin with https://"
            ),
            None if !listen.is_loopback() => bail!(
                "public_url: say by which URL clients reach {listen}, as in https://auth.example.com"
            ),
            _ => Ok(()),
        }
    }

    /// Where a server with this configuration is reached.
    pub fn local_url(&self) -> String {
        match (&self.public_url, self.listen) {
            (Some(url), _) => url.as_str().trim_end_matches('/').to_owned(),
            (None, Listen::Loopback { port }) => format!("http://localhost:{port}"),
            (None, Listen::At(address)) => format!("http://{address}"),
        }
    }

    /// As TOML, with secrets masked: what `auth-provider config` prints.
    pub fn to_toml(&self) -> String {
        let path = |path: &Path| toml::Value::from(path.display().to_string());
        let mut table = toml::Table::new();
        table.insert("listen".into(), self.listen.to_string().into());
        if let Some(url) = &self.public_url {
            table.insert(
                "public_url".into(),
                url.as_str().trim_end_matches('/').into(),
            );
        }
        table.insert("database_url".into(), self.database_url.to_string().into());
        if let DatabaseUrl::Postgres(_) = self.database_url {
            let Tuning {
                max_connections,
                statement_timeout,
                grace,
            } = self.database;
            let period = |time: Duration| Period::from(time.as_secs()).to_string().into();
            let connections = i64::from(max_connections).into();
            table.insert("database_max_connections".into(), connections);
            table.insert(
                "database_statement_timeout".into(),
                period(statement_timeout),
            );
            table.insert("database_grace".into(), period(grace));
        }
        table.insert("data_dir".into(), path(&self.data_dir));
        if let Some(policy) = &self.policy {
            table.insert("policy".into(), path(policy));
        }
        table.insert("clients_file".into(), path(&self.clients_file));
        table.insert("behind_tls_proxy".into(), self.behind_tls_proxy.into());
        if let Some(workers) = self.workers {
            table.insert(
                "workers".into(),
                i64::try_from(workers).unwrap_or(i64::MAX).into(),
            );
        }
        for (name, seconds) in self.key_schedule.settings() {
            table.insert(name.into(), Period::from(seconds).to_string().into());
        }
        table.insert("fast_key_rotation".into(), self.key_schedule.fast.into());
        let retention = Period::from(self.audit_retention).to_string();
        table.insert("audit_retention".into(), retention.into());
        table.insert(
            "audit_durability".into(),
            self.audit.durability.as_str().into(),
        );
        table.insert("audit_tokens".into(), self.audit.tokens.as_str().into());
        let warning = Period::from(self.credential_warning).to_string();
        table.insert("credential_warning".into(), warning.into());
        for (name, limit) in self.rate_limits.settings() {
            table.insert(name.into(), limit.to_string().into());
        }
        table.insert(
            "dynamic_registration".into(),
            self.dynamic_registration.into(),
        );
        let validity = Period::from(self.max_jwt_validity).to_string();
        table.insert("max_jwt_validity".into(), validity.into());
        if let Some(origin) = self.stytch_issuer.origin() {
            table.insert("stytch_issuer".into(), origin.into());
        }
        if self.master_key.is_some() {
            table.insert("master_key".into(), "***".into());
        }
        table.to_string()
    }
}

fn tuning(
    connections: Option<u32>,
    timeout: Option<Period>,
    grace: Option<Period>,
) -> anyhow::Result<Tuning> {
    let default = Tuning::default();
    let time = |wished: Option<Period>, default| {
        wished.map_or(default, |time| Duration::from_secs(time.seconds()))
    };
    let tuning = Tuning {
        max_connections: connections.unwrap_or(default.max_connections),
        statement_timeout: time(timeout, default.statement_timeout),
        grace: time(grace, default.grace),
    };
    ensure!(
        (2..=1000).contains(&tuning.max_connections),
        "database_max_connections: write a number from 2 to 1000, so that no one statement holds up all others"
    );
    ensure!(
        (1..=600).contains(&tuning.statement_timeout.as_secs()),
        "database_statement_timeout: write a time from 1s to 10m"
    );
    ensure!(
        tuning.grace <= Duration::from_hours(1),
        "database_grace: write a time up to 1h: for so long nobody learns what was taken back meanwhile"
    );
    Ok(tuning)
}

/// Verifiers compare it as a text, and some fetch its keys: it must be a place where nobody else can be.
fn stytch_issuer(origin: Option<&str>) -> anyhow::Result<StytchIssuer> {
    let Some(text) = origin else {
        return Ok(StytchIssuer::default());
    };
    let wrong =
        "stytch_issuer: write an origin that begins with https://, as in https://login.example";
    let url = Url::parse(text).context(wrong)?;
    let is_safe = url.scheme() == "https" || url.scheme() == "http" && is_loopback_host(&url);
    let origin = url.origin().ascii_serialization();
    ensure!(
        is_safe && url.as_str().trim_end_matches('/') == origin,
        wrong
    );
    Ok(StytchIssuer::new(Some(origin)))
}

fn public_url(text: &str) -> anyhow::Result<Url> {
    let url = Url::parse(text).with_context(|| format!("public_url: `{text}` is no URL"))?;
    let is_origin = matches!(url.scheme(), "http" | "https")
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    ensure!(
        is_origin,
        "public_url: `{text}` must be scheme, host and port only, as in https://auth.example.com"
    );
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(toml: &str) -> anyhow::Result<Config> {
        toml::from_str::<Settings>(toml)?.check()
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.toml");
        fs::write(
            &file,
            "listen = 'localhost:1'\ndata_dir = '/d'\nmaster_key = 'secret'",
        )
        .unwrap();
        let flags = Settings {
            listen: Some("localhost:2".into()),
            ..Settings::default()
        };
        let config = flags.load(Some(&file)).unwrap();
        assert_eq!(config.listen, Listen::Loopback { port: 2 });
        assert_eq!(
            config.database_url,
            DatabaseUrl::SqliteFile("/d/auth-provider.db".into())
        );
        assert_eq!(config.clients_file, Path::new("clients.json"));
        assert!(config.to_toml().contains("master_key = \"***\""));
        assert!(config.to_toml().contains("dynamic_registration = false"));
        assert!(
            config
                .to_toml()
                .contains("rate_limit_client = \"100000/s\"")
        );
        assert!(
            config
                .to_toml()
                .contains("rate_limit_failures = \"1000/20s\"")
        );
        assert!(!format!("{config:?}{}", config.to_toml()).contains("secret"));
    }

    #[test]
    fn what_is_insecure_or_unclear_is_refused_with_the_way_out() {
        for (toml, part) in [
            ("listen = '0.0.0.0:3001'", "--behind-tls-proxy"),
            (
                "listen = '0.0.0.0:3001'\nbehind_tls_proxy = true",
                "say by which URL",
            ),
            (
                "public_url = 'http://auth.example.com'",
                "must begin with https://",
            ),
            (
                "public_url = 'http://auth.example.com'\nbehind_tls_proxy = true",
                "must begin with https://",
            ),
            (
                "public_url = 'https://a.example/path'",
                "scheme, host and port only",
            ),
            (
                "public_url = 'https://a.example/?q'",
                "scheme, host and port only",
            ),
            (
                "public_url = 'https://u:p@a.example'",
                "scheme, host and port only",
            ),
            (
                "public_url = 'ftp://a.example'",
                "scheme, host and port only",
            ),
            (
                "public_url = 'localhost:3001'",
                "scheme, host and port only",
            ),
            ("public_url = 'nonsense'", "is no URL"),
            ("listen = 'nonsense'", "is no address"),
            ("database_url = 'mysql://a'", "database_url"),
            ("workers = 0", "at least one"),
            ("database_max_connections = 1", "from 2 to 1000"),
            ("database_statement_timeout = '0s'", "from 1s to 10m"),
            ("database_grace = '2h'", "up to 1h"),
            ("max_jwt_validity = '25h'", "from 1s to 24h"),
            ("max_jwt_validity = '0s'", "from 1s to 24h"),
            ("rate_limit_client = '100'", "a limit is written as `100/s`"),
            ("rate_limit_admin = '0/s'", "or `off`"),
            (
                "key_announce_time = '1m'",
                "key_announce_time: 1m is too short",
            ),
            ("key_retire_time = '1m'", "key_retire_time: 1m is too short"),
            (
                "key_rotation_interval = '1m'",
                "key_rotation_interval: with 1m",
            ),
            (
                "key_set_max_age = '2h'",
                "make it longer than key_set_max_age",
            ),
        ] {
            let error = format!("{:#}", settings(toml).unwrap_err());
            assert!(error.contains(part), "{toml}: {error}");
        }
        for toml in [
            "",
            "rate_limit_client = 'off'\nrate_limit_address = '600/min'",
            "listen = '[::1]:0'",
            "listen = '0.0.0.0:80'\nbehind_tls_proxy = true\npublic_url = 'https://a.example'",
            "public_url = 'http://127.0.0.1:3001/'",
        ] {
            settings(toml).unwrap();
        }
    }
}
