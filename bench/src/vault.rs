//! What a token out of the vault costs, compared with a handler that only answers: of a vault that was just started, for
//! connections that nobody has asked for; for any of all connections; and for a few that are asked for again and again.

use std::{fmt, fs, time::Duration};

use anyhow::{Context, ensure};
use serde::Serialize;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::{
    clients::at_rest,
    machine::Memory,
    many_connections,
    report::{self, Measured, Sample},
    run::{self, Plan, Setting},
    server::Server,
    wrk::Request,
};

/// What should remain of the bare handler's speed.
const GOAL: f64 = 0.5;

/// The application that asks, as a client of the issuer.
const APPLICATION: &str = "reader";

/// Connections that fit into memory many times over.
const FEW: u32 = 100;

/// The issuer's policy: one who may read.
const POLICY: &str = r#"
[resources.token-vault]
owner = "token-vault"
[resources.token-vault.scopes]
"tokens.read" = "Get good tokens"

[clients.token-vault]
[clients.reader]

[[grants]]
client = "reader"
resource = "token-vault"
scopes = ["tokens.read"]
"#;

/// All figures of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    connections: u32,
    speed: report::Report,
    start_milliseconds: f64,
    /// From the start.
    read_ahead_seconds: f64,
    memory: Memory,
}

/// Which connection a request asks for.
#[derive(Clone, Copy)]
enum Which {
    /// The next one that nobody has asked for, of a vault that was just started.
    Unread,
    /// Any of so many.
    AnyOf(u32),
}

/// Fills a database, starts issuer and vault, and measures.
///
/// # Errors
/// When a server does not do its part, or a request is refused.
pub async fn run(connections: u32, plan: Plan) -> anyhow::Result<Report> {
    ensure!(connections >= FEW, "there have to be {FEW} connections");
    let setting = Setting::new(plan)?;
    let policy = setting.folder().join("policy.toml");
    fs::write(&policy, POLICY)?;
    let mut issuer = run::provider(&setting, &policy)?;
    issuer.ready(&setting.http).await?;

    eprintln!("making {connections} connections …");
    let mut vault = start(&setting, &issuer)?;
    vault.ready(&setting.http).await?;
    drop(vault); // it made its tables and its key
    let data = setting.folder().join("data");
    let key = data.join("token-vault.key");
    many_connections::add(&data.join("token-vault.db"), &key, APPLICATION, connections).await?;

    let mut floor = run::floor(&setting)?;
    floor.ready(&setting.http).await?;
    let mut bench = Bench {
        token: token(&setting, &issuer).await?,
        setting: &setting,
        floor: &floor,
        connections,
        asked: 0.0,
    };
    let mut speed = report::Report::new(plan);
    let begin = Instant::now();
    let mut vault = start(&setting, &issuer)?;
    vault.ready(&setting.http).await?;
    let start_milliseconds = begin.elapsed().as_secs_f64() * 1e3;
    let mut early = Pair::informing("vault: just started, and reading ahead");
    early.add(bench.pair(&vault, Which::Unread, 0, plan.seconds).await?);
    let mut read_ahead_seconds = 0.0;
    let mut cold = Pair::new("vault: started, nobody has asked yet");
    for round in 1..=plan.rounds {
        eprintln!("round {round} of {}, cold …", plan.rounds);
        drop(vault);
        let begin = Instant::now();
        vault = start(&setting, &issuer)?;
        vault.ready(&setting.http).await?;
        has_read_ahead(&setting, &vault).await?;
        read_ahead_seconds = begin.elapsed().as_secs_f64();
        bench.asked = 0.0; // of this process
        cold.add(
            bench
                .pair(&vault, Which::Unread, round, plan.seconds)
                .await?,
        );
    }
    let mut any = Pair::new("vault: any of all connections");
    let mut few = Pair::new("vault: any of a hundred connections");
    for round in 1..=plan.rounds {
        eprintln!("round {round} of {}, warm …", plan.rounds);
        let all = Which::AnyOf(connections);
        any.add(bench.pair(&vault, all, round, plan.seconds).await?);
        few.add(
            bench
                .pair(&vault, Which::AnyOf(FEW), round, plan.seconds)
                .await?,
        );
    }
    for pair in [early, cold, any, few] {
        speed.add(&pair.0);
    }
    Ok(Report {
        connections,
        speed,
        start_milliseconds,
        read_ahead_seconds,
        memory: vault.memory()?,
    })
}

/// A vault with one worker on the default places of its files, beside this issuer.
fn start(setting: &Setting, issuer: &Server) -> anyhow::Result<Server> {
    let issuer = issuer.url("/auth");
    Server::start(
        "token-vault",
        &std::env::current_exe()?.with_file_name("token-vault"),
        setting.served(),
        |command, address| {
            command
                .args(["--listen", &address.to_string()])
                .args(["--issuer", &issuer])
                .args(["--workers", "1"])
        },
    )
}

/// An access token for the vault.
async fn token(setting: &Setting, issuer: &Server) -> anyhow::Result<String> {
    let reader = run::entry(setting.folder(), APPLICATION)?;
    let form = "grant_type=client_credentials&resource=token-vault";
    let answer = Request::post_form(issuer.url("/auth/oauth/token"), form)
        .basic_auth(&reader.client_id, &reader.client_secret)
        .once(&setting.http)
        .await?;
    let answer: Value = serde_json::from_str(&answer)?;
    let token = answer["access_token"].as_str();
    Ok(token.context("no access token")?.to_owned())
}

/// Waits until the vault takes no more connections into memory by itself.
async fn has_read_ahead(setting: &Setting, vault: &Server) -> anyhow::Result<()> {
    let mut known = 0;
    loop {
        sleep(Duration::from_millis(500)).await;
        let metrics = Request::get(vault.url("/metrics"))
            .once(&setting.http)
            .await?;
        let line = metrics
            .lines()
            .find_map(|line| line.strip_prefix("token_vault_connections_in_memory "));
        let now: usize = line
            .context("no token_vault_connections_in_memory")?
            .parse()?;
        if now > 0 && now == known {
            return Ok(());
        }
        known = now;
    }
}

/// The vault, and right after it the bare handler.
struct Pair([Measured; 2]);

impl Pair {
    fn new(name: &'static str) -> Self {
        Self::with_goal(name, Some(GOAL))
    }

    /// One without a goal.
    fn informing(name: &'static str) -> Self {
        Self::with_goal(name, None)
    }

    fn with_goal(name: &'static str, goal: Option<f64>) -> Self {
        let measured = |name, goal| Measured {
            name,
            goal,
            samples: Vec::new(),
        };
        Self([
            measured(name, None),
            measured("floor: a list, open to all", goal),
        ])
    }

    fn add(&mut self, samples: [Sample; 2]) {
        for (measured, sample) in self.0.iter_mut().zip(samples) {
            measured.samples.push(sample);
        }
    }
}

struct Bench<'a> {
    setting: &'a Setting,
    floor: &'a Server,
    token: String,
    connections: u32,
    /// How many connections have been asked for.
    asked: f64,
}

impl Bench<'_> {
    /// What the vault still has to do afterwards counts for its processor time as well.
    async fn pair(
        &mut self,
        vault: &Server,
        which: Which,
        round: u32,
        seconds: u32,
    ) -> anyhow::Result<[Sample; 2]> {
        let next = self.next_number(which, round);
        // The bare handler gets the same requests, and looks at nothing of them.
        let maker = |path: &str| {
            format!(
                "{}{next}\nfunction request()\n  return wrk.format(nil, \"{path}\" .. names(next_number()))\nend\n",
                many_connections::LUA
            )
        };
        let request = Request::get(vault.url("/github"))
            .bearer(&self.token)
            .made_by(maker("/github"));
        let before = vault.processor_seconds()?;
        let summary = request.repeat(seconds, self.setting.load()).await?;
        if let Which::Unread = which {
            self.asked += summary.requests;
            let all = f64::from(self.connections);
            ensure!(
                self.asked < all,
                "there are too few connections for this plan"
            );
        }
        let used = at_rest(vault).await? - before;
        let vault = Sample::of(&summary, used);

        let before = self.floor.processor_seconds()?;
        let request = Request::get(self.floor.url("/event"))
            .bearer(&self.token)
            .made_by(maker("/event"));
        let summary = request.repeat(seconds, self.setting.load()).await?;
        sleep(Duration::from_millis(100)).await;
        let floor = Sample::of(&summary, self.floor.processor_seconds()? - before);
        Ok([vault, floor])
    }

    /// The Lua function that says which connection comes next.
    fn next_number(&self, which: Which, round: u32) -> String {
        match which {
            // A prime: with steps of this length all connections are met, from all over the database.
            Which::Unread => format!(
                "local asked = {}\nfunction next_number()\n  asked = asked + 1\n  \
                 return asked * 15485863 % {} + 1\nend",
                self.asked, self.connections
            ),
            Which::AnyOf(many) => {
                format!(
                    "math.randomseed({round})\nfunction next_number() return math.random({many}) end"
                )
            }
        }
    }
}

impl Report {
    /// Whether every goal was met.
    pub fn is_good(&self) -> bool {
        self.speed.is_good()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} connections in SQLite", self.connections)?;
        write!(f, "{}", self.speed)?;
        let Memory { resident, highest } = self.memory;
        writeln!(
            f,
            "\n{:<42}{:>12.0}",
            "start until /ready, ms", self.start_milliseconds
        )?;
        writeln!(
            f,
            "{:<42}{:>12.1}",
            "start until all is in memory, s", self.read_ahead_seconds
        )?;
        writeln!(f, "{:<42}{resident:>12.0}", "memory after the load, MiB")?;
        writeln!(f, "{:<42}{highest:>12.0}", "memory at its highest, MiB")
    }
}
