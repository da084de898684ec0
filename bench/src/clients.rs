//! What a million clients cost: tokens for any of them compared with tokens for ten, the first token of each, the start,
//! the memory, and the pages of the admin API's list.

use std::{fmt, path::Path, time::Duration};

use anyhow::{Context, ensure};
use reqwest::Method;
use serde::Serialize;
use serde_json::Value;
use tokio::time::{Instant, sleep};

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

/// Lists of clients that are turned, from the first page or from one in the middle, and so many pages of each.
const LISTS: [(&str, bool); 6] = [
    ("", false),
    ("", true),
    ("status=active", true),
    ("status=inactive", false),
    ("prefix=client-07", false),
    ("prefix=client-05&status=inactive", true),
];
const PAGES: u32 = 20;

/// Seconds of load between two looks at how many clients have had their first token.
const WARM_UP_STEP: u32 = 20;

/// The warm-up is long enough when all but so many parts of a thousand of the clients had a token.
const COLD_CLIENTS: u32 = 1;

/// One sample is so many times as long as the plan has it: the uses of credentials are summed up while tokens are issued, and
/// that belongs to their price.
const LONGER: u32 = 3;

/// How long a server has nothing to do when it is at rest: much longer than the silence after which it sums up what is left.
const REST: Duration = Duration::from_millis(2500);

/// Processor time, in seconds, that a server at rest may use in that time.
const AT_REST: f64 = 0.06;

/// All figures of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    clients: u32,
    speed: report::Report,
    /// How long it took until each client had had a token.
    warm_up_seconds: f64,
    /// The processor time of a token for one of ten clients, as a part of that for one of all. It is what the ratio of
    /// the speeds comes to when nothing but the server is the limit.
    processor_ratio: f64,
    start_milliseconds: f64,
    memory: Memory,
    slowest_page_milliseconds: f64,
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

    let begin = Instant::now();
    let cold = warm_up(&setting, &provider, clients).await?;
    let warm_up_seconds = begin.elapsed().as_secs_f64();
    let plan = Plan {
        seconds: plan.seconds * LONGER,
        ..plan
    };
    let measured = speed(&setting, plan, &provider, clients).await?;
    let [all, ten] = measured.each_ref().map(Measured::cpu_microseconds);
    let mut speed = report::Report::new(plan);
    speed.add(&measured);
    speed.add(&[cold]);
    let memory = provider.memory()?;
    let slowest_page_milliseconds = slowest_page(&setting, &provider).await?;
    Ok(Report {
        clients,
        speed,
        warm_up_seconds,
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
    for round in 1..=plan.rounds {
        eprintln!("round {round} of {} …", plan.rounds);
        for (of, measured) in &mut measured {
            let next = format!(
                "math.randomseed({round})\nfunction next_number() return math.random({of}) end"
            );
            let taken = sample(setting, provider, &next, plan.seconds).await?.0;
            measured.samples.push(taken);
        }
    }
    Ok(measured.map(|(_, measured)| measured))
}

/// Asks once for each client, from all over the database.
async fn warm_up(setting: &Setting, provider: &Server, clients: u32) -> anyhow::Result<Measured> {
    let mut cold = Measured {
        name: "the first token of a client",
        goal: None,
        samples: Vec::new(),
    };
    let mut asked = 0.0;
    while asked < f64::from(clients) * (1.0 - f64::from(COLD_CLIENTS) / 1000.0) {
        eprintln!("warming up: {asked} of {clients} clients …");
        // A prime: with steps of this length all clients are met.
        let next = format!(
            "local asked = {asked}\nfunction next_number()\n  asked = asked + 1\n  \
             return asked * 15485863 % {clients} + 1\nend"
        );
        let (sample, requests) = sample(setting, provider, &next, WARM_UP_STEP).await?;
        cold.samples.push(sample);
        asked += requests;
    }
    Ok(cold)
}

/// Loads the token endpoint with requests of the clients that the Lua function `next_number` names. What the server still
/// has to do afterwards counts as well.
async fn sample(
    setting: &Setting,
    provider: &Server,
    next_number: &str,
    seconds: u32,
) -> anyhow::Result<(Sample, f64)> {
    let before = provider.processor_seconds()?;
    let maker = format!(
        "{}{next_number}\nfunction request()\n  \
         return wrk.format(nil, nil, nil, form(next_number()))\nend\n",
        many_clients::LUA
    );
    let url = provider.url("/auth/oauth/token");
    let request = Request::post_form(url, "").made_by(maker);
    let summary = request.repeat(seconds, setting.load()).await?;
    let used = at_rest(provider).await? - before;
    Ok((Sample::of(&summary, used), summary.requests))
}

/// Waits until the server has nothing to do. Returns the processor time that it has used so far.
pub(crate) async fn at_rest(server: &Server) -> anyhow::Result<f64> {
    let mut used = server.processor_seconds()?;
    loop {
        sleep(REST).await;
        let before = std::mem::replace(&mut used, server.processor_seconds()?);
        if used - before < AT_REST {
            return Ok(used);
        }
    }
}

/// Turns pages of lists of clients.
async fn slowest_page(setting: &Setting, provider: &Server) -> anyhow::Result<f64> {
    let admin = run::entry(setting.folder(), "admin")?;
    let form = "grant_type=client_credentials&resource=auth-provider";
    let answer = Request::post_form(provider.url("/auth/oauth/token"), form)
        .basic_auth(&admin.client_id, &admin.client_secret)
        .once(&setting.http)
        .await?;
    let token = serde_json::from_str::<Value>(&answer)?;
    let token = token["access_token"].as_str().context("no access token")?;
    let page = async |query: &str, cursor: Option<&str>| {
        let cursor = cursor.map_or(String::new(), |cursor| format!("&cursor={cursor}"));
        let url = provider.url(&format!("/admin/v1/clients?limit=100&{query}{cursor}"));
        let request = setting.http.request(Method::GET, url).bearer_auth(token);
        let begin = Instant::now();
        let answer = request.send().await?.error_for_status()?.bytes().await?;
        let milliseconds = begin.elapsed().as_secs_f64() * 1e3;
        let answer: Value = serde_json::from_slice(&answer)?;
        let cursor = answer["next_cursor"].as_str().map(str::to_owned);
        anyhow::Ok((milliseconds, cursor))
    };
    let (_, middle) = page("prefix=client-05", None).await?;
    let mut slowest: f64 = 0.0;
    for (query, from_middle) in LISTS {
        let mut cursor = middle.clone().filter(|_| from_middle);
        let mut slowest_of_list: f64 = 0.0;
        for _ in 0..PAGES {
            let (milliseconds, next) = page(query, cursor.as_deref()).await?;
            slowest_of_list = slowest_of_list.max(milliseconds);
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
        eprintln!("pages of clients?{query}: {slowest_of_list:.1} ms at the most");
        slowest = slowest.max(slowest_of_list);
    }
    Ok(slowest)
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
        vec![
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
            Figure {
                name: "slowest page of the lists of clients, ms",
                value: self.slowest_page_milliseconds,
                goal: milliseconds(GOAL_PAGE),
            },
        ]
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
        let (name, seconds) = ("warm-up: a token for each client, s", self.warm_up_seconds);
        writeln!(f, "{name:<42}{seconds:>12.1}")?;
        Ok(())
    }
}
