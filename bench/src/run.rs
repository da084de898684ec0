//! The run: what all measurements share, from the cores that processes are pinned to, over the servers and their
//! credentials, to the order in which [figures](crate::figures) are taken.

use std::{collections::HashMap, fs, path::Path, time::Duration};

use anyhow::{Context, ensure};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::{
    figures::{Group, Stage},
    machine::{self, ProcessorTime},
    report::Report,
    server::{Cores, Place, Server},
};

/// Above this share of the processors' time, others disturb the figures.
const BUSY: f64 = 0.1;
/// The same for time that the host gave to other machines.
const STOLEN: f64 = 0.02;

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub rounds: u32,
    /// Of load on each route in each round.
    pub seconds: u32,
}

impl Plan {
    pub const FULL: Self = Self {
        rounds: 5,
        seconds: 3,
    };
    pub const QUICK: Self = Self {
        rounds: 3,
        seconds: 1,
    };
    /// For the many figures of [`run`].
    pub const QUICK_TABLE: Self = Self {
        rounds: 2,
        seconds: 1,
    };
    pub const FULL_TABLE: Self = Self {
        rounds: 5,
        seconds: 2,
    };
}

/// What a run is to measure.
#[derive(Clone, Debug)]
pub struct Options {
    pub plan: Plan,
    pub groups: Vec<Group>,
    /// How long the load lasts that memory is looked at under, in seconds.
    pub soak: u32,
    /// An empty PostgreSQL. Without one, what needs it is left out.
    pub database_url: Option<String>,
}

/// Where processes run, and how long.
pub(crate) struct Setting {
    plan: Plan,
    folder: TempDir,
    server_core: u32,
    load_core: u32,
    pub(crate) http: reqwest::Client,
}

/// Starts product and floor, measures one group of figures after the other, and stops all.
///
/// # Errors
/// When a server does not do its part, or a request is refused.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let setting = Setting::new(options.plan)?;
    let mut report = Report::new(options.plan);
    if cfg!(debug_assertions) {
        report.warn("this is a debug build: only scripts/bench measures the product".to_owned());
    }
    if let Some(warning) = busy_before().await? {
        report.warn(warning);
    }

    let start = ProcessorTime::now()?;
    let stage = Stage::set(&setting, options).await?;
    for group in &options.groups {
        eprintln!("{group} …");
        let measured = group.measure(&stage, &mut report).await;
        measured.with_context(|| format!("measuring {group}"))?;
    }
    let stolen = ProcessorTime::now()?.since(start).stolen;
    if stolen > STOLEN {
        report.warn(format!(
            "the host kept {:.0} % of the processor time for others: the figures are unsure",
            stolen * 100.0
        ));
    }
    Ok(report)
}

/// Looks for a second at what the machine does without us. The load average would remember for
/// minutes that this program was just compiled.
async fn busy_before() -> anyhow::Result<Option<String>> {
    let start = ProcessorTime::now()?;
    sleep(Duration::from_secs(1)).await;
    let used = ProcessorTime::now()?.since(start);
    Ok((used.busy > BUSY || used.stolen > STOLEN).then(|| {
        format!(
            "the machine is busy: others used {:.0} % of it before the start, its host {:.0} %",
            used.busy * 100.0,
            used.stolen * 100.0
        )
    }))
}

/// A provider, and a service that takes its tokens.
pub(crate) struct Servers {
    pub(crate) provider: Server,
    pub(crate) calendar: Server,
}

/// One entry of `clients.json`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClientEntry {
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
}

impl Servers {
    /// Starts the programs that were built beside this one, each with one worker.
    pub(crate) async fn start(setting: &Setting, policy: &Path) -> anyhow::Result<Self> {
        let mut provider = provider(setting, policy)?;
        let mut calendar = calendar(setting, &provider, "calendar-service")?;
        for server in [&mut provider, &mut calendar] {
            server.ready(&setting.http).await?;
        }
        Ok(Self { provider, calendar })
    }
}

/// Starts the auth-provider that was built beside this program, with one worker. Data folder, master key and
/// clients.json have their default places below the setting's folder.
pub(crate) fn provider(setting: &Setting, policy: &Path) -> anyhow::Result<Server> {
    provider_in(setting.served(), policy, &[])
}

/// The same in another place, with some settings besides, by the names of their environment variables after
/// `AUTH_PROVIDER_`.
pub(crate) fn provider_in(
    place: Place<'_>,
    policy: &Path,
    settings: &[(&str, &str)],
) -> anyhow::Result<Server> {
    let policy = fs::canonicalize(policy)
        .with_context(|| format!("there is no policy at {}", policy.display()))?;
    Server::start(
        "auth-provider",
        &std::env::current_exe()?.with_file_name("auth-provider"),
        place,
        |command, address| {
            command
                .env("AUTH_PROVIDER_LISTEN", address.to_string())
                .env("AUTH_PROVIDER_PUBLIC_URL", format!("http://{address}"))
                .env("AUTH_PROVIDER_POLICY", policy)
                .env("AUTH_PROVIDER_WORKERS", "1")
                // Where the lines of its log go is not part of what is measured, such as the line of each revocation.
                .env("RUST_LOG", "warn");
            for (name, value) in settings {
                command.env(format!("AUTH_PROVIDER_{name}"), value);
            }
            command
        },
    )
}

/// Starts a calendar-service with one worker, for tokens that this provider issues for `audience`.
pub(crate) fn calendar(
    setting: &Setting,
    provider: &Server,
    audience: &str,
) -> anyhow::Result<Server> {
    let issuer = provider.url("/auth");
    Server::start(
        "calendar-service",
        &std::env::current_exe()?.with_file_name("calendar-service"),
        setting.served(),
        |command, address| {
            command
                .args(["--listen", &address.to_string()])
                .args(["--issuer", &issuer])
                .args(["--audience", audience])
                .args(["--workers", "1"])
        },
    )
}

/// Starts the floor server: this program itself.
pub(crate) fn floor(setting: &Setting) -> anyhow::Result<Server> {
    let this = std::env::current_exe()?;
    Server::start("floor", &this, setting.served(), |command, address| {
        command.args(["floor", "--listen", &address.to_string()])
    })
}

/// The credentials of the demo's client.
pub(crate) fn assistant(folder: &Path) -> anyhow::Result<ClientEntry> {
    entry(folder, "assistant")
}

/// A client's credentials, as auth-provider wrote them at its first start.
pub(crate) fn entry(folder: &Path, client: &str) -> anyhow::Result<ClientEntry> {
    let text = fs::read_to_string(folder.join("clients.json")).context("no clients.json")?;
    let mut entries: HashMap<String, ClientEntry> = serde_json::from_str(&text)?;
    entries
        .remove(client)
        .with_context(|| format!("clients.json has no {client}"))
}

impl Setting {
    pub(crate) fn new(plan: Plan) -> anyhow::Result<Self> {
        let cores = machine::allowed_cores()?;
        ensure!(
            cores.len() > 1,
            "the benchmark needs two cores: one serves, one makes the load"
        );
        Ok(Self {
            plan,
            folder: TempDir::with_prefix("bench-")?, // mode 0700
            server_core: cores[0],
            load_core: cores[1],
            http: m2m::http_client(Duration::from_secs(5)),
        })
    }

    pub(crate) fn plan(&self) -> Plan {
        self.plan
    }

    /// Where the servers keep their files.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where servers run.
    pub(crate) fn served(&self) -> Place<'_> {
        self.place(Cores::One(self.server_core))
    }

    /// Both cores, for servers and load alike.
    pub(crate) fn everywhere(&self) -> Place<'_> {
        self.place(Cores::Two(self.server_core, self.load_core))
    }

    /// Where the load is made.
    pub(crate) fn load(&self) -> Place<'_> {
        self.place(Cores::One(self.load_core))
    }

    /// Where a server runs that has a folder of its own.
    pub(crate) fn server_in<'a>(&self, folder: &'a Path) -> Place<'a> {
        Place {
            cores: Cores::One(self.server_core),
            folder,
        }
    }

    fn place(&self, cores: Cores) -> Place<'_> {
        Place {
            cores,
            folder: self.folder.path(),
        }
    }
}
