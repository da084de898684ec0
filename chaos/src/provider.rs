//! The provider under test: a process that always comes back at the same address.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use bench::server::{Server, free_address, without_settings};
use serde_json::Value;
use tokio::time::{Instant, sleep};

/// How long it may take to be ready before the run is given up.
const TOO_LONG: Duration = Duration::from_mins(1);

/// How often it is asked whether it is ready.
const LOOK: Duration = Duration::from_millis(5);

const POLICY: &str = include_str!("../policy.toml");

/// How the provider is started, each time.
#[derive(Clone, Debug)]
pub struct Setup {
    pub program: PathBuf,
    /// Where it runs. Its database is here as well, unless it has a URL.
    pub folder: PathBuf,
    pub database: Option<String>,
    /// Open files that it may have, where that is limited.
    pub files: Option<u32>,
    /// Where its own data lies, if not in the folder.
    pub data: Option<PathBuf>,
    pub log: &'static str,
}

/// It, running or dead.
pub struct Provider {
    setup: Setup,
    address: SocketAddr,
    server: Server,
}

impl Provider {
    /// Starts it for the first time.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn start(setup: Setup, http: &reqwest::Client) -> anyhow::Result<Self> {
        fs::write(setup.folder.join("policy.toml"), POLICY)?;
        let address = free_address()?;
        let server = launch(&setup, address)?;
        let mut provider = Self {
            setup,
            address,
            server,
        };
        provider.ready(http).await?;
        Ok(provider)
    }

    pub fn url(&self) -> String {
        self.server.url("")
    }

    /// The public URL that it says by itself, on which its issuer stands.
    pub fn issuer_url(&self) -> String {
        format!("http://localhost:{}", self.address.port())
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn folder(&self) -> &Path {
        &self.setup.folder
    }

    pub fn server(&mut self) -> &mut Server {
        &mut self.server
    }

    /// Kills it, and starts it again at once.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn kill_and_start(&mut self) -> anyhow::Result<()> {
        self.server.kill()?;
        self.server = launch(&self.setup, self.address)?;
        Ok(())
    }

    /// Waits until it is ready and has its database.
    ///
    /// # Errors
    /// When it ends, or takes too long.
    pub async fn ready(&mut self, http: &reqwest::Client) -> anyhow::Result<()> {
        let deadline = Instant::now() + TOO_LONG;
        while Instant::now() < deadline {
            if is_ready(http, &self.server.url("/ready")).await == Some(true) {
                return Ok(());
            }
            if !self.server.is_alive() {
                bail!("the provider ended:\n{}", self.server.last_words());
            }
            sleep(LOOK).await;
        }
        bail!("the provider is not ready:\n{}", self.server.last_words())
    }
}

/// Whether the server at this URL can do all its work. Without its database it may say that it is ready for some of it.
/// `None`: it does not answer.
pub async fn is_ready(http: &reqwest::Client, url: &str) -> Option<bool> {
    let answer = http.get(url).send().await.ok()?;
    let status = answer.status();
    let body: Value = answer.json().await.ok()?;
    Some(status.is_success() && body["checks"]["database"] == "ok")
}

fn launch(setup: &Setup, address: SocketAddr) -> anyhow::Result<Server> {
    let mut command = without_settings("setpriv");
    // Should this program be killed, it goes as well.
    command.args(["--pdeathsig", "KILL"]);
    if let Some(files) = setup.files {
        command.arg("prlimit").arg(format!("--nofile={files}"));
    }
    command
        .arg(&setup.program)
        .env("AUTH_PROVIDER_LISTEN", address.to_string())
        .env("AUTH_PROVIDER_POLICY", "policy.toml")
        .env("RUST_LOG", setup.log)
        .env("NO_COLOR", "1")
        // Of the wrong secrets, all are meant: the check asks whether they are refused.
        .env("AUTH_PROVIDER_RATE_LIMIT_FAILURES", "off")
        // Keys that sign seconds after they are made, so that tokens of several of them are about.
        .env("AUTH_PROVIDER_FAST_KEY_ROTATION", "true")
        .env("AUTH_PROVIDER_KEY_ANNOUNCE_TIME", "4s");
    if let Some(url) = &setup.database {
        command.env("AUTH_PROVIDER_DATABASE_URL", url);
    }
    if let Some(data) = &setup.data {
        command.env("AUTH_PROVIDER_DATA_DIR", data);
    }
    Server::launch("auth-provider", &mut command, &setup.folder, address)
        .context("cannot start the provider with setpriv (Debian: util-linux)")
}
