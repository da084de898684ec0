//! Three providers on one PostgreSQL, behind one name: how soon does each of them honour what was revoked on another,
//! and does anybody notice when they are restarted one after the other?

use std::{
    fmt, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use reqwest::{Client, RequestBuilder};
use serde::Serialize;
use serde_json::Value;
use tokio::{task::JoinSet, time::sleep};

use crate::{
    name::Name,
    run::{self, ClientEntry, Plan, Setting},
    server::Server,
};

const REPLICAS: usize = 3;

/// The goal of a revocation, in milliseconds.
const GOAL_P99: f64 = 1000.0;

/// Callers at the same time, each with a connection of its own.
const CALLERS: usize = 6;

/// A revoked token that is still accepted after so long is a failure.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the servers seal their keys under: nothing here is worth keeping.
const MASTER_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// What was found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// From the answer of the revocation on the first server to the first refusal elsewhere, in milliseconds, sorted.
    revocations: Vec<Place>,
    requests: u64,
    failures: Vec<String>,
    /// What the callers waited for their answers, in milliseconds, sorted.
    #[serde(skip)]
    waited: Vec<f64>,
}

/// Somewhere a revoked token is refused.
#[derive(Debug, Serialize)]
struct Place {
    name: &'static str,
    milliseconds: Vec<f64>,
}

/// Revokes `rounds` tokens on one server while others are asked, and then sends `requests` while all servers are
/// restarted in turn. The database is an empty one.
///
/// # Errors
/// When a server does not do its part.
pub async fn run(
    database: &str,
    rounds: u32,
    requests: u64,
    policy: &Path,
) -> anyhow::Result<Report> {
    let setting = Setting::new(Plan::QUICK)?;
    let name = Name::new(setting.http.clone()).await?;
    let policy = fs::canonicalize(policy)
        .with_context(|| format!("there is no policy at {}", policy.display()))?;
    let mut fleet = Fleet {
        database: database.to_owned(),
        policy,
        servers: Vec::new(),
        name,
        setting,
    };
    for number in 0..REPLICAS {
        let server = fleet.start(number).await?;
        fleet.servers.push(server);
    }
    eprintln!("{REPLICAS} providers run, revoking {rounds} tokens …");
    let revocations = fleet.revoke(rounds).await?;
    eprintln!("restarting them in turn under load …");
    let load = fleet.restart_under_load(requests).await?;
    let failures = load.failures.lock().unwrap_or_else(PoisonError::into_inner);
    let mut waited = load.waited.lock().unwrap_or_else(PoisonError::into_inner);
    waited.sort_by(f64::total_cmp);
    Ok(Report {
        revocations,
        requests: load.sent.load(Ordering::SeqCst),
        failures: failures.clone(),
        waited: waited.clone(),
    })
}

struct Fleet {
    database: String,
    policy: PathBuf,
    servers: Vec<Server>,
    name: Name,
    setting: Setting,
}

impl Fleet {
    /// Starts a server, waits until it is ready, and puts it behind the name.
    async fn start(&self, number: usize) -> anyhow::Result<Server> {
        let folder = self.folder(number);
        fs::create_dir_all(&folder)?;
        let mut listens: Option<SocketAddr> = None;
        let program = std::env::current_exe()?.with_file_name("auth-provider");
        let place = self.setting.server_in(&folder);
        let mut server = Server::start("auth-provider", &program, place, |command, address| {
            listens = Some(address);
            command
                .env("AUTH_PROVIDER_LISTEN", address.to_string())
                .env("AUTH_PROVIDER_PUBLIC_URL", self.name.url())
                .env("AUTH_PROVIDER_DATABASE_URL", &self.database)
                .env("AUTH_PROVIDER_MASTER_KEY", MASTER_KEY)
                .env("AUTH_PROVIDER_POLICY", &self.policy)
                .env("AUTH_PROVIDER_WORKERS", "1")
        })?;
        server.ready(&self.setting.http).await?;
        self.name.put(number, listens.context("no address")?);
        Ok(server)
    }

    fn folder(&self, number: usize) -> PathBuf {
        self.setting.folder().join(format!("replica-{number}"))
    }

    /// A calendar that verifies by itself and follows the revocations of the last server.
    async fn calendar(&self) -> anyhow::Result<Server> {
        self.name.only(Some(REPLICAS - 1));
        let folder = self.folder(REPLICAS - 1);
        let place = self.setting.server_in(&folder);
        let issuer = format!("{}/auth", self.name.url());
        let program = std::env::current_exe()?.with_file_name("calendar-service");
        let mut calendar =
            Server::start("calendar-service", &program, place, |command, address| {
                command
                    .args(["--listen", &address.to_string()])
                    .args(["--issuer", &issuer])
                    .args(["--workers", "1"])
            })?;
        calendar.ready(&self.setting.http).await?;
        self.name.only(None);
        Ok(calendar)
    }

    async fn revoke(&self, rounds: u32) -> anyhow::Result<Vec<Place>> {
        let calendar = self.calendar().await?;
        let (client, owner) = (
            run::assistant(&self.folder(0))?,
            run::entry(&self.folder(0), "calendar-service")?,
        );
        let http = &self.setting.http;
        let mut places = [
            "introspection on B",
            "introspection on C",
            "a verifier that C feeds",
        ]
        .map(|name| Place {
            name,
            milliseconds: Vec::new(),
        });
        for _ in 0..rounds {
            let token = token(http, &self.servers[0].url(""), &client).await?;
            let asked = |server: &Server| {
                let request = http.post(server.url("/oauth/introspect"));
                let request = request.basic_auth(&owner.client_id, Some(&owner.client_secret));
                request.form(&[("token", &token)])
            };
            let (on_b, on_c) = (asked(&self.servers[1]), asked(&self.servers[2]));
            let at_calendar = http.get(calendar.url("/event")).bearer_auth(&token);
            ensure!(is_active(&on_b).await?, "B does not know a token of A");
            ensure!(is_active(&on_c).await?, "C does not know a token of A");
            ensure!(
                is_let_in(&at_calendar).await?,
                "the calendar refuses a token of A"
            );

            let request = http.post(self.servers[0].url("/oauth/revoke"));
            let request = request.basic_auth(&client.client_id, Some(&client.client_secret));
            let answer = request.form(&[("token", &token)]).send().await?;
            answer.error_for_status()?;
            let revoked = Instant::now();
            let times = tokio::try_join!(
                until_refused(revoked, async || is_active(&on_b).await),
                until_refused(revoked, async || is_active(&on_c).await),
                until_refused(revoked, async || is_let_in(&at_calendar).await),
            )?;
            for (place, took) in places.iter_mut().zip(<[f64; 3]>::from(times)) {
                place.milliseconds.push(took);
            }
        }
        for place in &mut places {
            place.milliseconds.sort_by(f64::total_cmp);
        }
        Ok(places.into())
    }

    async fn restart_under_load(&mut self, requests: u64) -> anyhow::Result<Arc<Load>> {
        let load = Arc::new(Load {
            url: self.name.url(),
            client: run::assistant(&self.folder(0))?,
            sent: AtomicU64::new(0),
            ends: AtomicBool::new(false),
            failures: Mutex::default(),
            waited: Mutex::default(),
        });
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            callers.spawn(Arc::clone(&load).call());
        }
        for number in 0..REPLICAS {
            // An equal part of the load before each of them, and after the last.
            let so_far = requests * (number as u64 + 1) / (REPLICAS as u64 + 2);
            load.until_sent(so_far).await;
            eprintln!(
                "server {number} after {} requests …",
                load.sent.load(Ordering::SeqCst)
            );
            self.servers[number].stop().await?;
            self.servers[number] = self.start(number).await?;
        }
        load.until_sent(requests).await;
        load.ends.store(true, Ordering::SeqCst);
        while let Some(ended) = callers.join_next().await {
            ended?;
        }
        Ok(load)
    }
}

/// Mixed requests to the one name.
struct Load {
    url: String,
    client: ClientEntry,
    sent: AtomicU64,
    ends: AtomicBool,
    failures: Mutex<Vec<String>>,
    waited: Mutex<Vec<f64>>,
}

impl Load {
    async fn call(self: Arc<Self>) {
        // One connection each, that is used all the time: a caller that keeps idle ones has to be ready to try again.
        let http = m2m::http_client(Duration::from_secs(10));
        let mut token = String::new();
        for round in 0_u64.. {
            if self.ends.load(Ordering::SeqCst) {
                return;
            }
            let sent = Instant::now();
            let outcome = match round % 3 {
                0 => self.token(&http, &mut token).await,
                1 => self.introspect(&http, &token).await,
                _ => self.key_set(&http).await,
            };
            self.sent.fetch_add(1, Ordering::SeqCst);
            let waited = millis(sent.elapsed());
            self.waited
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(waited);
            if let Err(error) = outcome {
                let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
                failures.push(format!("{error:#}"));
            }
        }
    }

    async fn token(&self, http: &Client, token: &mut String) -> anyhow::Result<()> {
        *token = self::token(http, &self.url, &self.client).await?;
        Ok(())
    }

    async fn introspect(&self, http: &Client, token: &str) -> anyhow::Result<()> {
        let request = http.post(format!("{}/oauth/introspect", self.url));
        let request = request.basic_auth(&self.client.client_id, Some(&self.client.client_secret));
        let active = is_active(&request.form(&[("token", token)])).await?;
        ensure!(active, "a living token is not active");
        Ok(())
    }

    async fn key_set(&self, http: &Client) -> anyhow::Result<()> {
        let answer = http
            .get(format!("{}/auth/jwt/jwks.json", self.url))
            .send()
            .await?;
        answer.error_for_status()?.bytes().await?;
        Ok(())
    }

    async fn until_sent(&self, requests: u64) {
        while self.sent.load(Ordering::SeqCst) < requests {
            sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn token(http: &Client, url: &str, client: &ClientEntry) -> anyhow::Result<String> {
    let form = [
        ("grant_type", "client_credentials"),
        ("resource", "calendar-service"),
    ];
    let request = http.post(format!("{url}/oauth/token")).form(&form);
    let request = request.basic_auth(&client.client_id, Some(&client.client_secret));
    let answer: Value = request.send().await?.error_for_status()?.json().await?;
    let token = answer["access_token"].as_str();
    Ok(token.context("no access token in the answer")?.to_owned())
}

async fn is_active(request: &RequestBuilder) -> anyhow::Result<bool> {
    let request = request.try_clone().context("it can be repeated")?;
    let answer: Value = request.send().await?.error_for_status()?.json().await?;
    answer["active"].as_bool().context("no answer of RFC 7662")
}

async fn is_let_in(request: &RequestBuilder) -> anyhow::Result<bool> {
    let request = request.try_clone().context("it can be repeated")?;
    let status = request.send().await?.status().as_u16();
    ensure!(
        matches!(status, 200 | 401),
        "the calendar answered {status}"
    );
    Ok(status == 200)
}

async fn until_refused(
    revoked: Instant,
    accepted: impl AsyncFn() -> anyhow::Result<bool>,
) -> anyhow::Result<f64> {
    while accepted().await? {
        ensure!(
            revoked.elapsed() < PATIENCE,
            "a revoked token was accepted for {PATIENCE:?}"
        );
    }
    Ok(millis(revoked.elapsed()))
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The value that a share of them, in percent, does not exceed.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(rank).copied().unwrap_or(f64::NAN)
}

impl Report {
    /// Whether every goal was met.
    pub fn is_good(&self) -> bool {
        let soon = |place: &Place| percentile(&place.milliseconds, 99) <= GOAL_P99;
        self.revocations.iter().all(soon) && self.failures.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "from the answer of the revocation on A to the first refusal, in ms:"
        )?;
        for Place { name, milliseconds } in &self.revocations {
            let at = |percent| percentile(milliseconds, percent);
            writeln!(
                f,
                "  {name:<24} median {:>7.2}  p99 {:>7.2}  worst {:>7.2}  ({} rounds)",
                at(50),
                at(99),
                at(100),
                milliseconds.len()
            )?;
        }
        writeln!(
            f,
            "{REPLICAS} servers restarted in turn under load: {} of {} requests failed \
             (median {:.2} ms, p99 {:.2} ms, worst {:.2} ms)",
            self.failures.len(),
            self.requests,
            percentile(&self.waited, 50),
            percentile(&self.waited, 99),
            percentile(&self.waited, 100),
        )?;
        for failure in self.failures.iter().take(5) {
            writeln!(f, "  {failure}")?;
        }
        let outcome = if self.is_good() { "met" } else { "MISSED" };
        writeln!(
            f,
            "goals (p99 <= {GOAL_P99} ms everywhere, no request fails): {outcome}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_or_one_place_that_is_late_misses_the_goal() {
        let report = |milliseconds: f64, failures: &[&str]| Report {
            revocations: vec![Place {
                name: "here",
                milliseconds: vec![milliseconds],
            }],
            requests: 1,
            failures: failures.iter().map(ToString::to_string).collect(),
            waited: vec![],
        };
        assert!(report(1.0, &[]).is_good());
        assert!(!report(1000.1, &[]).is_good());
        let failed = report(1.0, &["refused"]);
        assert!(!failed.is_good() && failed.to_string().contains("MISSED"));
    }
}
