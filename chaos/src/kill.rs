//! Kills the provider and its database under load, again and again, and holds the provider to all that it acknowledged.

use std::{
    fmt,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::time::sleep;

use crate::{
    chance::Chance,
    check,
    ledger::{Kind, Loss},
    load::Load,
    postgres::Postgres,
    provider::{Provider, Setup},
    world::{Tally, World},
};

/// Goals: until it is ready again, in milliseconds.
const PROVIDER_GOAL: f64 = 2000.0;
const DATABASE_GOAL: f64 = 5000.0;

/// How long there is load before a kill.
const CALM: (Duration, Duration) = (Duration::from_millis(500), Duration::from_millis(2500));

/// Load before the first kill, so that there is something to lose.
const BEGINNING: Duration = Duration::from_secs(3);

/// How many losses are told in full.
const TOLD: usize = 20;

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Plan {
    pub provider: PathBuf,
    /// Where `initdb` and `postgres` are; `None`: the provider's own SQLite.
    pub postgres: Option<PathBuf>,
    pub rounds: u32,
    pub database_rounds: u32,
    pub rate: u32,
    pub seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Provider,
    Database,
}

/// What was found.
#[derive(Debug, Serialize)]
pub struct Report {
    database: &'static str,
    seed: u64,
    requests: u64,
    /// Not sent in time, since all lanes waited.
    late: u64,
    /// From the kill until `/ready` said so, in milliseconds, sorted.
    provider_ready: Vec<f64>,
    database_ready: Vec<f64>,
    acknowledged: Vec<(Kind, u64)>,
    /// Facts that were checked after the last kill, and how often anything was checked.
    facts: usize,
    checks: u32,
    losses: Vec<Loss>,
    tally: Tally,
}

/// Does it.
///
/// # Errors
/// When a process does not do its part, or nobody can say whether something was lost.
pub async fn run(plan: &Plan) -> anyhow::Result<Report> {
    let folder = tempfile::Builder::new().prefix("chaos.").tempdir()?;
    let mut postgres = match &plan.postgres {
        Some(programs) => Some(Postgres::start(programs.clone()).await?),
        None => None,
    };
    let http = m2m::http_client(Duration::from_secs(1));
    let setup = Setup {
        program: plan.provider.clone(),
        folder: folder.path().to_owned(),
        database: postgres.as_ref().map(Postgres::url),
        files: None,
        data: None,
        log: "warn",
    };
    let mut provider = Provider::start(setup, &http).await?;
    let world = Arc::new(World::new(provider.url(), provider.folder())?);
    let load = Load::begin(&world, plan.rate, plan.seed);
    sleep(BEGINNING).await;

    let mut chance = Chance::new(plan.seed, u64::MAX);
    let victims = plan.victims(&mut chance);
    let (mut provider_ready, mut database_ready, mut checks) = (Vec::new(), Vec::new(), 0);
    for (number, victim) in victims.iter().enumerate() {
        sleep(chance.between(CALM.0, CALM.1)).await;
        let killed = Instant::now();
        let ready = if let (Victim::Database, Some(postgres)) = (victim, &mut postgres) {
            postgres.kill()?;
            postgres.run().await?;
            provider.ready(&http).await?;
            &mut database_ready
        } else {
            world.died();
            provider.kill_and_start()?;
            provider.ready(&http).await?;
            world.came_back();
            &mut provider_ready
        };
        let took = killed.elapsed().as_secs_f64() * 1e3;
        ready.push(took);
        load.pause(check::everything(&world)).await?;
        checks += 1;
        eprintln!(
            "{:>3} of {}: {victim:?} killed, ready after {took:.0} ms; {} losses, {} failures",
            number + 1,
            victims.len(),
            world.ledger().losses().len(),
            world.tally().failures,
        );
    }
    let (requests, late) = load.count();
    load.end().await?;
    check::everything(&world).await?;
    checks += 1;
    for ready in [&mut provider_ready, &mut database_ready] {
        ready.sort_by(f64::total_cmp);
    }
    let ledger = world.ledger();
    Ok(Report {
        database: if postgres.is_some() {
            "PostgreSQL"
        } else {
            "SQLite"
        },
        seed: plan.seed,
        requests,
        late,
        provider_ready,
        database_ready,
        acknowledged: ledger.acknowledged().clone().into_iter().collect(),
        facts: ledger.things().count(),
        checks,
        losses: ledger.losses().to_vec(),
        tally: std::mem::take(&mut *world.tally()),
    })
}

impl Plan {
    /// Who is killed when, in an order that chance makes.
    fn victims(&self, chance: &mut Chance) -> Vec<Victim> {
        let (mut provider, mut database) = (self.rounds, self.database_rounds);
        if self.postgres.is_none() {
            database = 0;
        }
        let mut victims = Vec::new();
        while provider + database > 0 {
            let left = usize::try_from(provider + database).unwrap_or(1);
            let of_database = usize::try_from(database).unwrap_or(0);
            if chance.below(left) < of_database {
                database -= 1;
                victims.push(Victim::Database);
            } else {
                provider -= 1;
                victims.push(Victim::Provider);
            }
        }
        victims
    }
}

/// The value that a share of them, in percent, does not exceed.
pub fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(rank).copied().unwrap_or(f64::NAN)
}

impl Report {
    /// What was lost.
    pub fn losses(&self) -> &[Loss] {
        &self.losses
    }

    /// Whether nothing was lost, nobody met what he should not, and it was ready again in time.
    pub fn is_good(&self) -> bool {
        let in_time = |ready: &[f64], goal: f64| ready.is_empty() || percentile(ready, 50) <= goal;
        self.losses.is_empty()
            && self.tally.failures == 0
            && in_time(&self.provider_ready, PROVIDER_GOAL)
            && in_time(&self.database_ready, DATABASE_GOAL)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}, seed {}: {} requests ({} more were not sent since all lanes waited)",
            self.database, self.seed, self.requests, self.late
        )?;
        let answers: Vec<String> = self.tally.answers.iter().map(answer_count).collect();
        writeln!(f, "answers: {}", answers.join(", "))?;
        for (whose, ready, goal) in [
            ("provider", &self.provider_ready, PROVIDER_GOAL),
            ("database", &self.database_ready, DATABASE_GOAL),
        ] {
            if !ready.is_empty() {
                writeln!(
                    f,
                    "{whose} killed {} times: ready again after {:.0} ms (median), {:.0} ms (worst); goal: a median of {goal} ms",
                    ready.len(),
                    percentile(ready, 50),
                    percentile(ready, 100)
                )?;
            }
        }
        let acknowledged = self.acknowledged.iter();
        let acknowledged: Vec<String> = acknowledged
            .map(|(kind, count)| format!("{count} of {}", format!("{kind:?}").to_lowercase()))
            .collect();
        writeln!(f, "acknowledged: {}", acknowledged.join(", "))?;
        writeln!(f, "{} facts, checked {} times", self.facts, self.checks)?;
        writeln!(f, "lost: {}", self.losses.len())?;
        for loss in self.losses.iter().take(TOLD) {
            writeln!(f, "  {}", loss.what)?;
        }
        writeln!(
            f,
            "answers that no caller may meet: {}",
            self.tally.failures
        )?;
        for failure in &self.tally.told {
            writeln!(f, "  {failure}")?;
        }
        write!(
            f,
            "goals: {}",
            if self.is_good() { "met" } else { "MISSED" }
        )
    }
}

fn answer_count((status, count): (&u16, &u64)) -> String {
    match status {
        0 => format!("{count} x none"),
        status => format!("{count} x {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(postgres: bool) -> Plan {
        Plan {
            provider: PathBuf::new(),
            postgres: postgres.then(PathBuf::new),
            rounds: 20,
            database_rounds: 5,
            rate: 50,
            seed: 1,
        }
    }

    #[test]
    fn each_is_killed_as_often_as_planned_and_no_database_that_is_not_there() {
        let count = |victims: &[Victim], of| victims.iter().filter(|victim| **victim == of).count();
        let victims = plan(true).victims(&mut Chance::new(1, 1));
        assert_eq!(count(&victims, Victim::Provider), 20);
        assert_eq!(count(&victims, Victim::Database), 5);
        let victims = plan(false).victims(&mut Chance::new(1, 1));
        assert_eq!(count(&victims, Victim::Database), 0);
    }

    #[test]
    fn one_loss_one_failure_or_one_goal_is_enough_to_miss() {
        let report = |losses: usize, failures, ready: &[f64]| Report {
            database: "SQLite",
            seed: 1,
            requests: 1,
            late: 0,
            provider_ready: ready.to_vec(),
            database_ready: vec![],
            acknowledged: vec![],
            facts: 1,
            checks: 1,
            losses: vec![
                Loss {
                    kind: Kind::Keys,
                    what: "a key".to_owned()
                };
                losses
            ],
            tally: Tally {
                failures,
                ..Tally::default()
            },
        };
        assert!(report(0, 0, &[2000.0]).is_good());
        assert!(!report(0, 0, &[2000.1]).is_good());
        assert!(!report(0, 1, &[1.0]).is_good());
        let lost = report(1, 0, &[1.0]);
        assert!(!lost.is_good() && lost.to_string().contains("MISSED"));
    }
}
