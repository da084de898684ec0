//! What is measured, and how: every figure is a ratio of two routes that are put under load one
//! right after the other, again and again, so that whatever else the machine does falls on both.

use std::{collections::HashMap, fs, path::Path, time::Duration};

use anyhow::{Context, ensure};
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::{
    floor,
    machine::{self, ProcessorTime},
    report::{Measured, Report, Sample},
    server::{Place, Server},
    wrk::Request,
};

/// The token request that product and floor are asked alike.
const TOKEN_REQUEST: &str =
    "grant_type=client_credentials&resource=calendar-service&scope=calendar.read";

/// What should remain of the floor's speed once a real issuer, or a protected route, does the work.
const GOAL: f64 = 0.7;

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
}

/// A route under measurement.
struct Route<'a> {
    name: &'static str,
    server: &'a Server,
    request: Request,
    /// The least part of this route's speed that the compared one should reach; `None` only
    /// informs.
    goal: Option<f64>,
}

/// Where processes run, and how long.
pub(crate) struct Setting {
    plan: Plan,
    folder: TempDir,
    server_core: u32,
    load_core: u32,
    pub(crate) http: reqwest::Client,
}

/// Starts product and floor, measures, and stops them.
pub async fn run(plan: Plan, policy: &Path) -> anyhow::Result<Report> {
    let setting = Setting::new(plan)?;
    let mut report = Report::new(plan);
    if cfg!(debug_assertions) {
        report.warn("this is a debug build: only scripts/bench measures the product".to_owned());
    }
    if let Some(warning) = busy_before().await? {
        report.warn(warning);
    }

    let start = ProcessorTime::now()?;
    let servers = Servers::start(&setting, policy).await?;
    for routes in servers.comparisons(&setting).await? {
        report.add(&measure(&setting, &routes).await?);
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

/// Everything that runs while we measure.
pub(crate) struct Servers {
    pub(crate) provider: Server,
    pub(crate) calendar: Server,
    floor: Server,
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
        let this = std::env::current_exe()?;
        let place = setting.served();
        let mut provider = provider(setting, policy)?;
        let issuer = provider.url("/auth");
        let mut calendar = Server::start(
            "calendar-service",
            &this.with_file_name("calendar-service"),
            place,
            |command, address| {
                command
                    .args(["--listen", &address.to_string()])
                    .args(["--issuer", &issuer])
                    .args(["--workers", "1"])
            },
        )?;
        let mut floor = floor(setting)?;

        for server in [&mut provider, &mut calendar, &mut floor] {
            server.ready(&setting.http).await?;
        }
        Ok(Self {
            provider,
            calendar,
            floor,
        })
    }

    /// What is compared with what: the first route of each with the others.
    async fn comparisons(&self, setting: &Setting) -> anyhow::Result<[[Route<'_>; 3]; 2]> {
        let Self {
            provider,
            calendar,
            floor,
        } = self;
        let client = assistant(setting.folder.path())?;
        let token_request = Request::post_form(provider.url("/auth/oauth/token"), TOKEN_REQUEST)
            .basic_auth(&client.client_id, &client.client_secret);
        let answer: Value = serde_json::from_str(&token_request.once(&setting.http).await?)?;
        let token = answer["access_token"]
            .as_str()
            .context("no access token in the answer")?;

        let issuance = [
            Route {
                name: "auth-provider: issue a token (ES256)",
                server: provider,
                request: token_request,
                goal: None,
            },
            Route {
                name: "floor: check a secret, sign (ES256)",
                server: floor,
                request: Request::post_form(floor.url("/token"), TOKEN_REQUEST)
                    .basic_auth(floor::CLIENT_ID, floor::CLIENT_SECRET),
                goal: Some(GOAL),
            },
            Route {
                name: "floor: form to JSON",
                server: floor,
                request: Request::post_form(floor.url("/form"), TOKEN_REQUEST),
                goal: None,
            },
        ];
        let protection = [
            Route {
                name: "calendar-service: list, repeated token",
                server: calendar,
                request: Request::get(calendar.url("/event")).bearer(token),
                goal: None,
            },
            Route {
                name: "floor: such a list, open",
                server: floor,
                request: Request::get(floor.url("/event")),
                goal: Some(GOAL),
            },
            Route {
                name: "calendar-service: /health, open",
                server: calendar,
                request: Request::get(calendar.url("/health")),
                goal: None,
            },
        ];
        Ok([issuance, protection])
    }
}

/// Starts the auth-provider that was built beside this program, with one worker. Data folder, master key and
/// clients.json have their default places below the setting's folder.
pub(crate) fn provider(setting: &Setting, policy: &Path) -> anyhow::Result<Server> {
    let policy = fs::canonicalize(policy)
        .with_context(|| format!("there is no policy at {}", policy.display()))?;
    Server::start(
        "auth-provider",
        &std::env::current_exe()?.with_file_name("auth-provider"),
        setting.served(),
        |command, address| {
            command
                .env("AUTH_PROVIDER_LISTEN", address.to_string())
                .env("AUTH_PROVIDER_PUBLIC_URL", format!("http://{address}"))
                .env("AUTH_PROVIDER_POLICY", policy)
                .env("AUTH_PROVIDER_WORKERS", "1")
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

/// Puts some routes under load in turn, round after round.
async fn measure(setting: &Setting, routes: &[Route<'_>]) -> anyhow::Result<Vec<Measured>> {
    let mut measured = Vec::new();
    for route in routes {
        eprintln!("warming up {} …", route.name);
        route.request.once(&setting.http).await?;
        sample(setting, route, 1).await?;
        measured.push(Measured {
            name: route.name,
            goal: route.goal,
            samples: Vec::new(),
        });
    }
    for round in 1..=setting.plan.rounds {
        eprintln!("round {round} of {} …", setting.plan.rounds);
        for (route, measured) in routes.iter().zip(&mut measured) {
            measured
                .samples
                .push(sample(setting, route, setting.plan.seconds).await?);
        }
    }
    Ok(measured)
}

/// Loads one route for some seconds.
async fn sample(setting: &Setting, route: &Route<'_>, seconds: u32) -> anyhow::Result<Sample> {
    let before = route.server.processor_seconds()?;
    let summary = route.request.repeat(seconds, setting.load()).await?;
    let used = route.server.processor_seconds()? - before;
    Ok(Sample::of(&summary, used))
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

    /// Where the servers keep their files.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where servers run.
    pub(crate) fn served(&self) -> Place<'_> {
        self.place(self.server_core)
    }

    /// Where the load is made.
    pub(crate) fn load(&self) -> Place<'_> {
        self.place(self.load_core)
    }

    /// Where a server runs that has a folder of its own.
    pub(crate) fn server_in<'a>(&self, folder: &'a Path) -> Place<'a> {
        Place {
            core: self.server_core,
            folder,
        }
    }

    fn place(&self, core: u32) -> Place<'_> {
        Place {
            core,
            folder: self.folder.path(),
        }
    }
}
