//! `bench run` measures the product and prints the report; `bench floor` is the server it is
//! measured against.

use std::{
    fmt::Display,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::{bail, ensure};
use bench::{
    clients,
    figures::Group,
    floor, open_loop, replicas, revoke,
    run::{self, Options, Plan},
    signatures, vault,
};
use clap::{Args, Parser, Subcommand};
use m2m::{service::Listen, verify::Algorithm};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

/// Measures the product against a server that does only the unavoidable.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure and report: each figure beside its goal, as ratios within one run. Goals that are missed are reported, not an
    /// error; a refused request is one.
    Run(Run),
    /// Measure how soon a revoked token is refused. Goals that are missed are an error.
    Revoke {
        /// How many tokens are revoked, one after the other.
        #[arg(long, default_value_t = 200)]
        rounds: u32,
        /// Print JSON instead of words.
        #[arg(long)]
        json: bool,
        /// The policy that auth-provider starts with.
        #[arg(long, default_value = "demo/policy.toml")]
        policy: PathBuf,
    },
    /// Run three providers on one PostgreSQL: measure how soon each honours what was revoked on another, and restart them
    /// in turn under load. Goals that are missed are an error.
    Replicas {
        /// An empty database.
        #[arg(long, env = "TEST_POSTGRES_URL", hide_env_values = true)]
        database_url: String,
        /// How many tokens are revoked, one after the other.
        #[arg(long, default_value_t = 200)]
        rounds: u32,
        /// How many requests are sent during the restart.
        #[arg(long, default_value_t = 20_000)]
        requests: u64,
        /// Print JSON instead of words.
        #[arg(long)]
        json: bool,
        /// The policy that the providers start with.
        #[arg(long, default_value = "demo/policy.toml")]
        policy: PathBuf,
    },
    /// Measure what a million clients cost. Goals that are missed are an error.
    Clients {
        /// How many clients the database has.
        #[arg(long, default_value_t = 1_000_000)]
        clients: u32,
        /// Fewer and shorter rounds.
        #[arg(long)]
        quick: bool,
        /// Print JSON instead of the table.
        #[arg(long)]
        json: bool,
        /// The policy that auth-provider starts with.
        #[arg(long, default_value = "demo/policy.toml")]
        policy: PathBuf,
    },
    /// Measure what a token out of the vault costs. Goals that are missed are an error.
    Vault {
        /// How many connections the database has. Default: a million, and 100,000 with `--quick`.
        #[arg(long)]
        connections: Option<u32>,
        /// Fewer and shorter rounds.
        #[arg(long)]
        quick: bool,
        /// Print JSON instead of the table.
        #[arg(long)]
        json: bool,
    },
    /// Be the floor server (`run` starts one itself).
    Floor {
        #[arg(long)]
        listen: Listen,
    },
    /// Sign as fast as one thread can (`run` does it itself).
    #[command(hide = true)]
    Sign {
        #[arg(value_parser = algorithm)]
        algorithm: Algorithm,
        #[arg(long)]
        seconds: u32,
    },
    /// Send the requests that standard input tells of, at moments fixed before (`run` does it itself).
    #[command(hide = true)]
    OpenLoop,
}

#[derive(Args)]
struct Run {
    /// Fewer and shorter rounds: less than three minutes instead of ten.
    #[arg(long)]
    quick: bool,
    /// Only these figures; may be given more than once.
    #[arg(long, value_name = "FIGURES")]
    only: Vec<Group>,
    /// Print JSON instead of the table.
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// Print Markdown instead of the table.
    #[arg(long)]
    markdown: bool,
    /// How long the load lasts under which memory is looked at, in seconds. Default: 60, and 4 with `--quick`.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(2..=86_400))]
    soak: Option<u32>,
    /// An empty PostgreSQL, as `scripts/with-postgres` makes one. Without it, what needs it is left out.
    #[arg(long, env = "TEST_POSTGRES_URL", hide_env_values = true)]
    database_url: Option<String>,
}

impl Run {
    fn options(&self) -> Options {
        let only = &self.only;
        Options {
            plan: if self.quick {
                Plan::QUICK_TABLE
            } else {
                Plan::FULL_TABLE
            },
            groups: if only.is_empty() {
                Group::TABLE.to_vec()
            } else {
                only.clone()
            },
            soak: self.soak.unwrap_or(if self.quick { 4 } else { 60 }),
            database_url: self.database_url.clone(),
        }
    }
}

fn algorithm(name: &str) -> Result<Algorithm, String> {
    let found = Algorithm::ALL
        .into_iter()
        .find(|known| known.name() == name);
    found.ok_or_else(|| "there is no such algorithm".to_owned())
}

#[actix_web::main]
async fn main() -> ExitCode {
    match obey(Arguments::parse().command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn obey(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Floor { listen } => floor::serve(listen.bind()?)?.await?,
        Command::Run(wish) => {
            let report = unless_interrupted(run::run(&wish.options())).await?;
            if wish.markdown {
                write(&report.markdown())?;
            } else {
                print(&report, wish.json)?;
            }
        }
        Command::Sign { algorithm, seconds } => {
            let time = Duration::from_secs(seconds.into());
            write(&serde_json::to_string(&signatures::run(algorithm, time)?)?)?;
        }
        Command::OpenLoop => {
            let order = serde_json::from_reader(io::stdin())?;
            write(&serde_json::to_string(&open_loop::run(order).await?)?)?;
        }
        Command::Clients {
            clients,
            quick,
            json,
            policy,
        } => {
            let work = clients::run(clients, plan(quick), &policy);
            let report = unless_interrupted(work).await?;
            print(&report, json)?;
            ensure!(report.is_good(), "a goal was missed");
        }
        Command::Vault {
            connections,
            quick,
            json,
        } => {
            let connections = connections.unwrap_or(if quick { 100_000 } else { 1_000_000 });
            let work = vault::run(connections, plan(quick));
            let report = unless_interrupted(work).await?;
            print(&report, json)?;
            ensure!(report.is_good(), "a goal was missed");
        }
        Command::Replicas {
            database_url,
            rounds,
            requests,
            json,
            policy,
        } => {
            let work = replicas::run(&database_url, rounds, requests, &policy);
            let report = unless_interrupted(work).await?;
            print(&report, json)?;
            ensure!(report.is_good(), "a goal was missed");
        }
        Command::Revoke {
            rounds,
            json,
            policy,
        } => {
            let report = unless_interrupted(revoke::run(rounds, &policy)).await?;
            print(&report, json)?;
            ensure!(report.is_good(), "a goal was missed");
        }
    }
    Ok(())
}

fn plan(quick: bool) -> Plan {
    if quick { Plan::QUICK } else { Plan::FULL }
}

/// However a measurement ends, dropping its future stops every process that it started.
async fn unless_interrupted<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::select! {
        outcome = work => outcome,
        signal = interrupted() => bail!("stopped by {}", signal?),
    }
}

fn print(report: &(impl Serialize + Display), json: bool) -> anyhow::Result<()> {
    let text = if json {
        serde_json::to_string_pretty(report)? + "\n"
    } else {
        report.to_string()
    };
    Ok(write(&text)?)
}

fn write(text: &str) -> io::Result<()> {
    io::stdout().write_all(text.as_bytes())
}

/// Waits until somebody wants this program to end.
async fn interrupted() -> io::Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}
