//! Revoke-to-reject: how long after `/oauth/revoke` has answered does a service that verifies locally, and follows
//! the issuer's revocations, still accept the token?

use std::{
    fmt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use serde::Serialize;
use serde_json::Value;
use tokio::{sync::Semaphore, task::JoinSet};

use crate::run::{self, ClientEntry, Plan, Servers, Setting};

/// Callers that use the token at the same time, without a pause.
const CALLERS: usize = 4;

/// A round in which the token is still accepted after this long has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// The goals, in milliseconds.
const GOAL_P99: f64 = 250.0;
const GOAL_WORST: f64 = 1000.0;

/// The times from the answer of the revocation to the first refusal, in milliseconds, sorted.
#[derive(Debug, Serialize)]
pub struct Report {
    milliseconds: Vec<f64>,
    /// Requests that were sent after the first refusal of their token had come back, and accepted all the same.
    accepted_after_refusal: u64,
}

/// Starts the provider and the calendar, and revokes `rounds` tokens one after the other while they are in use.
///
/// # Errors
/// When a server does not do its part.
pub async fn run(rounds: u32, policy: &Path) -> anyhow::Result<Report> {
    let setting = Setting::new(Plan::QUICK)?;
    let servers = Servers::start(&setting, policy).await?;
    let client = run::assistant(setting.folder())?;
    let mut report = Report {
        milliseconds: Vec::new(),
        accepted_after_refusal: 0,
    };
    for round in 1..=rounds {
        if round % 20 == 0 {
            eprintln!("round {round} of {rounds} …");
        }
        report.add(&one_round(&setting, &servers, &client).await?);
    }
    report.milliseconds.sort_by(f64::total_cmp);
    Ok(report)
}

struct Round {
    milliseconds: f64,
    accepted_after_refusal: u64,
}

async fn one_round(
    setting: &Setting,
    servers: &Servers,
    client: &ClientEntry,
) -> anyhow::Result<Round> {
    let ask = |path: &str, form: &[(&str, &str)]| {
        let request = setting.http.post(servers.provider.url(path)).form(form);
        request
            .basic_auth(&client.client_id, Some(&client.client_secret))
            .send()
    };
    let form = [
        ("grant_type", "client_credentials"),
        ("resource", "calendar-service"),
    ];
    let answer: Value = ask("/oauth/token", &form)
        .await?
        .error_for_status()?
        .json()
        .await?;
    let token = answer["access_token"]
        .as_str()
        .context("no access token in the answer")?;

    let load = Arc::new(Load::begin());
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let request = setting
            .http
            .get(servers.calendar.url("/event"))
            .bearer_auth(token);
        callers.spawn(Arc::clone(&load).call_until_refused(request));
    }
    // The token is remembered by the service, and in use, when it is revoked.
    let under_way = u32::try_from(CALLERS * 5).expect("a small number");
    drop(load.accepted.acquire_many(under_way).await?);
    ask("/oauth/revoke", &[("token", token)])
        .await?
        .error_for_status()?;
    let revoked = load.microseconds();
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    let refused = load.first_refusal.load(Ordering::SeqCst);
    Ok(Round {
        // A refusal may be on its way before the revocation's own answer has arrived.
        milliseconds: millis(refused.saturating_sub(revoked)),
        accepted_after_refusal: load.accepted_after_refusal.load(Ordering::SeqCst),
    })
}

/// What the callers of one round know together. Times are microseconds since its begin.
struct Load {
    begin: Instant,
    /// Grows by one with each accepted request.
    accepted: Semaphore,
    first_refusal: AtomicU64,
    accepted_after_refusal: AtomicU64,
}

impl Load {
    fn begin() -> Self {
        Self {
            begin: Instant::now(),
            accepted: Semaphore::new(0),
            first_refusal: AtomicU64::new(u64::MAX),
            accepted_after_refusal: AtomicU64::new(0),
        }
    }

    fn microseconds(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_micros()).expect("a round takes seconds")
    }

    /// Calls again and again, and some more after the first refusal: it has to be the last word.
    async fn call_until_refused(
        self: Arc<Self>,
        request: reqwest::RequestBuilder,
    ) -> anyhow::Result<()> {
        let mut refusals = 0;
        while refusals < 5 {
            ensure!(
                self.begin.elapsed() < PATIENCE,
                "a revoked token was accepted for {PATIENCE:?}"
            );
            let sent = self.microseconds();
            let request = request
                .try_clone()
                .context("a request without body can be repeated")?;
            let status = request.send().await?.status().as_u16();
            match status {
                200 => {
                    self.accepted.add_permits(1);
                    if sent > self.first_refusal.load(Ordering::SeqCst) {
                        self.accepted_after_refusal.fetch_add(1, Ordering::SeqCst);
                    }
                }
                401 => {
                    refusals += 1;
                    self.first_refusal
                        .fetch_min(self.microseconds(), Ordering::SeqCst);
                }
                other => bail!("the calendar answered {other}"),
            }
        }
        Ok(())
    }
}

impl Report {
    fn add(&mut self, round: &Round) {
        self.milliseconds.push(round.milliseconds);
        self.accepted_after_refusal += round.accepted_after_refusal;
    }

    /// The time that a share of the rounds, in percent, did not exceed.
    fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.milliseconds.len() * percent).div_ceil(100).max(1) - 1;
        self.milliseconds.get(rank).copied().unwrap_or(f64::NAN)
    }

    /// Whether every goal was met.
    pub fn is_good(&self) -> bool {
        self.percentile(99) < GOAL_P99
            && self.percentile(100) <= GOAL_WORST
            && self.accepted_after_refusal == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "from the answer of the revocation to the first 401, {} rounds:",
            self.milliseconds.len()
        )?;
        for (name, percent) in [("median", 50), ("p99", 99), ("worst", 100)] {
            writeln!(f, "  {name:<7} {:>8.2} ms", self.percentile(percent))?;
        }
        writeln!(
            f,
            "  accepted after a refusal: {}",
            self.accepted_after_refusal
        )?;
        let outcome = if self.is_good() { "met" } else { "MISSED" };
        writeln!(
            f,
            "goals (p99 < {GOAL_P99} ms, worst <= {GOAL_WORST} ms, never accepted again): {outcome}"
        )
    }
}

fn millis(microseconds: u64) -> f64 {
    Duration::from_micros(microseconds).as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_percentiles_are_those_of_the_rounds() {
        let milliseconds = (1..=200).map(f64::from).collect();
        let report = Report {
            milliseconds,
            accepted_after_refusal: 0,
        };
        assert!((report.percentile(50) - 100.0).abs() < f64::EPSILON);
        assert!((report.percentile(99) - 198.0).abs() < f64::EPSILON);
        assert!((report.percentile(100) - 200.0).abs() < f64::EPSILON);
        assert!(report.is_good());
    }

    #[test]
    fn one_acceptance_too_many_misses_the_goal() {
        let report = Report {
            milliseconds: vec![1.0],
            accepted_after_refusal: 1,
        };
        assert!(!report.is_good() && report.to_string().contains("MISSED"));
    }
}
