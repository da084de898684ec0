//! Does memory stay flat? A provider issues and introspects tokens and a service verifies them, as fast as they can, while
//! the memory of both is looked at each second.

use std::{
    fmt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use bench::server::{Server, free_address, without_settings};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use tokio::{task::JoinSet, time::interval};

use crate::{
    kill::percentile,
    provider::{Provider, Setup},
    world::{Answer, Caller, Request, World},
};

/// How far any look may be from the middle one, as a share of it.
const GOAL: f64 = 0.10;

/// Callers at the same time, enough to keep the servers at work.
const CALLERS: usize = 16;

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Plan {
    pub provider: PathBuf,
    pub length: Duration,
}

/// The memory of one process, in MiB, at each look after the warm-up.
#[derive(Debug, Serialize)]
struct Looks {
    process: &'static str,
    resident: Vec<f64>,
}

/// What was found.
#[derive(Debug, Serialize)]
pub struct Report {
    seconds: f64,
    warm_up_seconds: f64,
    tokens: u64,
    failures: u64,
    looks: Vec<Looks>,
}

/// Does it. The caches of a server are empty at first: the first quarter of the time, two minutes at the most, is for
/// filling them, and counts for nothing.
///
/// # Errors
/// When a server does not do its part.
pub async fn run(plan: &Plan) -> anyhow::Result<Report> {
    let folder = tempfile::Builder::new().prefix("chaos.").tempdir()?;
    let http = m2m::http_client(Duration::from_secs(5));
    let setup = Setup {
        program: plan.provider.clone(),
        folder: folder.path().to_owned(),
        database: None,
        files: None,
        data: None,
        log: "warn",
    };
    let mut provider = Provider::start(setup, &http).await?;
    let mut calendar = calendar(plan, &provider)?;
    calendar.ready(&http).await?;
    let world = Arc::new(World::new(provider.url(), provider.folder())?);
    let work = Arc::new(Work {
        assistant: Caller::from(&World::entry(provider.folder(), "assistant")?),
        calendar: calendar.url("/event"),
        world: Arc::clone(&world),
        ends: AtomicBool::new(false),
        tokens: AtomicU64::new(0),
    });
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        callers.spawn(Arc::clone(&work).go_on());
    }
    let mut looks = ["auth-provider", "calendar-service"].map(|process| Looks {
        process,
        resident: Vec::new(),
    });
    let warm_up = (plan.length / 4).min(Duration::from_mins(2));
    let begun = Instant::now();
    let mut seconds = interval(Duration::from_secs(1));
    while begun.elapsed() < plan.length {
        seconds.tick().await;
        if begun.elapsed() < warm_up {
            continue;
        }
        for (looks, server) in looks.iter_mut().zip([provider.server(), &mut calendar]) {
            looks.resident.push(server.memory()?.resident);
        }
    }
    work.ends.store(true, Ordering::SeqCst);
    while let Some(ended) = callers.join_next().await {
        ended?;
    }
    let tally = std::mem::take(&mut *world.tally());
    for told in &tally.told {
        eprintln!("{told}");
    }
    Ok(Report {
        seconds: begun.elapsed().as_secs_f64(),
        warm_up_seconds: warm_up.as_secs_f64(),
        tokens: work.tokens.load(Ordering::SeqCst),
        failures: tally.failures,
        looks: looks.into(),
    })
}

/// A service that verifies by itself.
fn calendar(plan: &Plan, provider: &Provider) -> anyhow::Result<Server> {
    let program = plan.provider.with_file_name("calendar-service");
    ensure!(program.exists(), "there is no {}", program.display());
    let address = free_address()?;
    let mut command = without_settings("setpriv");
    command
        .args(["--pdeathsig", "KILL"])
        .arg(program)
        .args(["--listen", &address.to_string()])
        .args(["--issuer", &format!("{}/auth", provider.issuer_url())]);
    let server = Server::launch("calendar-service", &mut command, provider.folder(), address);
    server.context("cannot start the calendar")
}

struct Work {
    assistant: Caller,
    calendar: String,
    world: Arc<World>,
    ends: AtomicBool,
    tokens: AtomicU64,
}

impl Work {
    async fn go_on(self: Arc<Self>) {
        let checker = Caller::from(&self.world.checker);
        while !self.ends.load(Ordering::Relaxed) {
            let form = vec![
                ("grant_type", "client_credentials".to_owned()),
                ("resource", "calendar-service".to_owned()),
            ];
            let request = Request::form("/oauth/token", form);
            let Answer::Done(answer) = self.world.ask(&self.assistant, &request).await else {
                continue;
            };
            let Some(token) = answer["access_token"].as_str() else {
                self.world.fail("no token in the answer".to_owned());
                continue;
            };
            self.tokens.fetch_add(1, Ordering::Relaxed);
            let token = SecretString::from(token);
            let form = vec![("token", token.expose_secret().to_owned())];
            let about = Request::form("/oauth/introspect", form);
            self.world.ask(&checker, &about).await;
            let asked = self.world.http().get(&self.calendar);
            let asked = asked.bearer_auth(token.expose_secret()).send().await;
            if !asked.is_ok_and(|answer| answer.status().is_success()) {
                self.world
                    .fail("the calendar refuses a good token".to_owned());
            }
            self.world.tally().waited.clear(); // this program's memory is to stay flat as well
        }
    }
}

impl Looks {
    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.resident.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }

    fn is_flat(&self) -> bool {
        let sorted = self.sorted();
        let middle = percentile(&sorted, 50);
        sorted
            .iter()
            .all(|look| (look - middle).abs() <= middle * GOAL)
    }

    /// By how much the last quarter is above the first, as a share: what grows with each token shows here.
    fn growth(&self) -> f64 {
        let quarter = (self.resident.len() / 4).max(1);
        let mean = |looks: &[f64]| looks.iter().sum::<f64>() / count(looks.len());
        let first = mean(&self.resident[..quarter.min(self.resident.len())]);
        let last = mean(&self.resident[self.resident.len().saturating_sub(quarter)..]);
        last / first - 1.0
    }
}

fn count(of: usize) -> f64 {
    f64::from(u32::try_from(of).unwrap_or(u32::MAX))
}

impl Report {
    /// Whether memory stayed flat, and everybody was served.
    pub fn is_good(&self) -> bool {
        let flat = |looks: &Looks| !looks.resident.is_empty() && looks.is_flat();
        self.failures == 0 && self.looks.iter().all(flat)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} tokens issued, introspected and verified in {:.0} s; {} failures",
            self.tokens, self.seconds, self.failures
        )?;
        for looks in &self.looks {
            let sorted = looks.sorted();
            let at = |percent| percentile(&sorted, percent);
            writeln!(
                f,
                "{:<16} {:.1} MiB (median of {} looks after {:.0} s), from {:.1} to {:.1}; the last quarter is {:+.1} % \
                 of the first above it",
                looks.process,
                at(50),
                sorted.len(),
                self.warm_up_seconds,
                sorted.first().copied().unwrap_or(f64::NAN),
                at(100),
                looks.growth() * 100.0,
            )?;
        }
        let outcome = if self.is_good() { "met" } else { "MISSED" };
        write!(f, "goal (each look within 10 % of the median): {outcome}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(resident: &[f64]) -> Looks {
        Looks {
            process: "tested",
            resident: resident.to_vec(),
        }
    }

    #[test]
    fn what_grows_is_not_flat() {
        assert!(looks(&[100.0, 104.0, 97.0, 101.0]).is_flat());
        let growing: Vec<f64> = (0..100).map(|second| 100.0 + f64::from(second)).collect();
        assert!(!looks(&growing).is_flat());
        assert!(looks(&growing).growth() > 0.6);
        assert!(looks(&[50.0; 8]).growth().abs() < 1e-9);
    }

    #[test]
    fn without_a_look_nothing_is_known() {
        let report = Report {
            seconds: 1.0,
            warm_up_seconds: 1.0,
            tokens: 1,
            failures: 0,
            looks: vec![looks(&[])],
        };
        assert!(!report.is_good());
    }
}
