//! What a million clients cost: tokens for any of them compared with tokens for ten, the start, the memory, and the
//! pages of the admin API's list.

use std::{fmt, path::Path, time::Duration};

use anyhow::{Context, ensure};
use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    machine::Memory,
    many_clients,
    report::{self, Measured, Sample},
    run::{self, Plan, Setting},
    server::Server,
    wrk::Request,
};

/// What should remain of the speed that ten clients see.
const GOAL: f64 = 0.8;

const GOAL_START: Duration = Duration::from_secs(2);
const GOAL_MEBIBYTES: f64 = 300.0;
const GOAL_PAGE: Duration = Duration::from_millis(20);

/// Pages of the list that are fetched, one after the other.
const PAGES: u32 = 100;

/// Seconds of load before anything is measured. The file was just written, and nothing of it read.
const WARM_UP: u32 = 5;

/// All figures of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    clients: u32,
    speed: report::Report,
    /// The processor time of a token for one of ten clients, as a part of that for one of all. It is what the ratio of
    /// the speeds comes to when nothing but the server is the limit.
    processor_ratio: f64,
    start_milliseconds: f64,
    memory: Memory,
    /// The slowest page; `None` when the server has no list of clients.
    slowest_page_milliseconds: Option<f64>,
}

/// Fills a database, starts the provider on it and measures.
///
/// # Errors
/// When a server does not do its part, or a request is refused.
pub async fn run(clients: u32, plan: Plan, policy: &Path) -> anyhow::Result<Report> {
    ensure!(clients >= 10, "there have to be ten clients");
    let setting = Setting::new(plan)?;
    eprintln!("making {clients} clients …");
    let mut provider = run::provider(&setting, policy)?;
    provider.ready(&setting.http).await?;
    drop(provider); // it made its tables
    let database = setting.folder().join("data/auth-provider.db");
    many_clients::add(&database, clients).await?;

    let begin = Instant::now();
    let mut provider = run::provider(&setting, policy)?;
    provider.ready(&setting.http).await?;
    let start_milliseconds = begin.elapsed().as_secs_f64() * 1e3;

    let measured = speed(&setting, plan, &provider, clients).await?;
    let [all, ten] = measured.each_ref().map(Measured::cpu_microseconds);
    let mut speed = report::Report::new(plan);
    speed.add(&measured);
    let memory = provider.memory()?;
    let slowest_page_milliseconds = slowest_page(&setting, &provider).await?;
    Ok(Report {
        clients,
        speed,
        processor_ratio: ten / all,
        start_milliseconds,
        memory,
        slowest_page_milliseconds,
    })
}

/// Tokens for any client and for one of ten, in turn.
async fn speed(
    setting: &Setting,
    plan: Plan,
    provider: &Server,
    clients: u32,
) -> anyhow::Result<[Measured; 2]> {
    let url = provider.url("/auth/oauth/token");
    let mut measured = [
        ("a token for one of all clients", clients, None),
        ("a token for one of ten clients", 10, Some(GOAL)),
    ]
    .map(|(name, of, goal)| {
        let samples = Vec::new();
        (
            of,
            Measured {
                name,
                goal,
                samples,
            },
        )
    });
    eprintln!("warming up …");
    sample(setting, provider, &url, clients, 0, WARM_UP).await?;
    for round in 1..=plan.rounds {
        eprintln!("round {round} of {} …", plan.rounds);
        for (of, measured) in &mut measured {
            let taken = sample(setting, provider, &url, *of, round, plan.seconds).await?;
            measured.samples.push(taken);
        }
    }
    Ok(measured.map(|(_, measured)| measured))
}

/// Loads the token endpoint with requests of clients 1 to `of`, chosen by chance.
async fn sample(
    setting: &Setting,
    provider: &Server,
    url: &str,
    of: u32,
    seed: u32,
    seconds: u32,
) -> anyhow::Result<Sample> {
    let before = provider.processor_seconds()?;
    let next = format!(
        "{}math.randomseed({seed})\nfunction request()\n  \
         return wrk.format(nil, nil, nil, form(math.random({of})))\nend\n",
        many_clients::LUA
    );
    let request = Request::post_form(url.to_owned(), "").made_by(next);
    let summary = request.repeat(seconds, setting.load()).await?;
    let used = provider.processor_seconds()? - before;
    Ok(Sample::of(&summary, used))
}

/// Turns the pages of the list of clients, if there is one.
async fn slowest_page(setting: &Setting, provider: &Server) -> anyhow::Result<Option<f64>> {
    let admin = run::entry(setting.folder(), "admin")?;
    let form = "grant_type=client_credentials&resource=auth-provider";
    let answer = Request::post_form(provider.url("/auth/oauth/token"), form)
        .basic_auth(&admin.client_id, &admin.client_secret)
        .once(&setting.http)
        .await?;
    let token = serde_json::from_str::<Value>(&answer)?;
    let token = token["access_token"].as_str().context("no access token")?;
    let mut slowest: f64 = 0.0;
    let mut cursor = None::<String>;
    for _ in 0..PAGES {
        let mut page = setting
            .http
            .request(Method::GET, provider.url("/admin/v1/clients"))
            .query(&[("limit", "100")])
            .bearer_auth(token);
        if let Some(cursor) = &cursor {
            page = page.query(&[("cursor", cursor)]);
        }
        let begin = Instant::now();
        let answer = page.send().await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let answer: Value = answer.error_for_status()?.json().await?;
        slowest = slowest.max(begin.elapsed().as_secs_f64() * 1e3);
        cursor = answer["next_cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    Ok(Some(slowest))
}

impl Report {
    /// Whether every goal was met.
    pub fn is_good(&self) -> bool {
        self.speed.is_good()
            && self
                .others()
                .iter()
                .all(|figure| figure.value < figure.goal)
    }

    fn others(&self) -> Vec<Figure> {
        let milliseconds = |limit: Duration| limit.as_secs_f64() * 1e3;
        let mut figures = vec![
            Figure {
                name: "start until /ready, ms",
                value: self.start_milliseconds,
                goal: milliseconds(GOAL_START),
            },
            Figure {
                name: "memory after the load, MiB",
                value: self.memory.resident,
                goal: GOAL_MEBIBYTES,
            },
            Figure {
                name: "memory at its highest, MiB",
                value: self.memory.highest,
                goal: GOAL_MEBIBYTES,
            },
        ];
        figures.extend(self.slowest_page_milliseconds.map(|value| Figure {
            name: "slowest page of the list of clients, ms",
            value,
            goal: milliseconds(GOAL_PAGE),
        }));
        figures
    }
}

/// A figure that has to stay below its goal.
struct Figure {
    name: &'static str,
    value: f64,
    goal: f64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} clients in SQLite", self.clients)?;
        write!(f, "{}", self.speed)?;
        let outcome = if self.processor_ratio >= GOAL {
            "met"
        } else {
            "MISSED"
        };
        let (name, ratio) = ("CPU time, ten clients ÷ all", self.processor_ratio);
        writeln!(
            f,
            "\n{name:<42}{ratio:>12.2}    goal >= {GOAL:.2} {outcome}"
        )?;
        for Figure { name, value, goal } in self.others() {
            let outcome = if value < goal { "met" } else { "MISSED" };
            writeln!(f, "{name:<42}{value:>12.1}    goal < {goal:.0} {outcome}")?;
        }
        if self.slowest_page_milliseconds.is_none() {
            writeln!(f, "note: this server has no list of clients")?;
        }
        Ok(())
    }
}
