//! `chaos kill` and its like: experiments on a provider that was built beside this program.

use std::{
    fmt::Display,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::{bail, ensure};
use chaos::{hostile, kill, memory};
use clap::{Args, Parser, Subcommand};
use serde::Serialize;

/// Kills, starves and floods a provider, and holds it to what it acknowledged.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Kill the provider and its database under load. What is lost, and goals that are missed, are an error.
    Kill(Kill),
    /// Kill a provider that answers before it has committed: that nothing is found to be lost is the error.
    SelfTest(Kill),
    /// Besiege a provider on a small disk, beside ordinary work. Goals that are missed are an error.
    Hostile {
        /// The provider's program. Default: the one beside this program.
        #[arg(long)]
        provider: Option<PathBuf>,
        /// Ordinary requests in a second.
        #[arg(long, default_value_t = 50)]
        rate: u32,
        /// What ordinary work asks for.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// How long each trouble lasts, in seconds.
        #[arg(long, default_value_t = hostile::LENGTH.as_secs())]
        seconds: u64,
        /// Print JSON instead of words.
        #[arg(long)]
        json: bool,
    },
    /// Watch the memory of a provider and of a service under full load. That it is not flat is an error.
    Memory {
        /// The provider's program, beside which the calendar service is. Default: the one beside this program.
        #[arg(long)]
        provider: Option<PathBuf>,
        /// How long.
        #[arg(long, default_value_t = 10)]
        minutes: u64,
        /// Print JSON instead of words.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
struct Kill {
    /// The provider's program. Default: the one beside this program.
    #[arg(long)]
    provider: Option<PathBuf>,
    /// The folder of PostgreSQL's programs.
    #[arg(long, env = "POSTGRES_PROGRAMS")]
    postgres: Option<PathBuf>,
    /// Have the provider keep its own database, which is killed with it.
    #[arg(long)]
    sqlite: bool,
    /// How often the provider is killed.
    #[arg(long, default_value_t = 20)]
    rounds: u32,
    /// How often PostgreSQL is killed.
    #[arg(long, default_value_t = 5)]
    database_rounds: u32,
    /// Requests in a second.
    #[arg(long, default_value_t = 50)]
    rate: u32,
    /// The same seed asks for the same things and kills at the same moments, as far as the machine does.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print JSON instead of words.
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match obey(Arguments::parse().command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chaos: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn obey(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Kill(arguments) => {
            let report = kill::run(&arguments.plan()?).await?;
            print(&report, arguments.json)?;
            ensure!(report.is_good(), "goals were missed");
        }
        Command::SelfTest(arguments) => {
            let report = kill::run(&arguments.plan()?).await?;
            print(&report, arguments.json)?;
            ensure!(
                !report.losses().is_empty(),
                "a provider that answers before it has committed was not found out"
            );
        }
        Command::Hostile {
            provider: named,
            rate,
            seed,
            seconds,
            json,
        } => {
            let plan = hostile::Plan {
                provider: provider(named.as_ref())?,
                rate,
                seed,
                length: Duration::from_secs(seconds),
            };
            let report = hostile::run(&plan).await?;
            print(&report, json)?;
            ensure!(report.is_good(), "goals were missed");
        }
        Command::Memory {
            provider: named,
            minutes,
            json,
        } => {
            let plan = memory::Plan {
                provider: provider(named.as_ref())?,
                length: Duration::from_mins(minutes),
            };
            let report = memory::run(&plan).await?;
            print(&report, json)?;
            ensure!(report.is_good(), "memory did not stay flat");
        }
    }
    Ok(())
}

impl Kill {
    fn plan(&self) -> anyhow::Result<kill::Plan> {
        let postgres = match (&self.postgres, self.sqlite) {
            (_, true) => None,
            (Some(programs), false) => Some(programs.clone()),
            (None, false) => bail!("say where PostgreSQL's programs are, or --sqlite"),
        };
        Ok(kill::Plan {
            provider: provider(self.provider.as_ref())?,
            postgres,
            rounds: self.rounds,
            database_rounds: self.database_rounds,
            rate: self.rate,
            seed: self.seed,
        })
    }
}

/// The program that is tried, by its whole path, since it runs in a folder of its own.
fn provider(named: Option<&PathBuf>) -> anyhow::Result<PathBuf> {
    let beside = || Ok(std::env::current_exe()?.with_file_name("auth-provider"));
    let path: PathBuf = named.map_or_else(beside, |path| io::Result::Ok(path.clone()))?;
    ensure!(path.exists(), "there is no provider at {}", path.display());
    Ok(path.canonicalize()?)
}

fn print(report: &(impl Serialize + Display), json: bool) -> anyhow::Result<()> {
    let text = if json {
        serde_json::to_string_pretty(report)?
    } else {
        report.to_string()
    };
    Ok(writeln!(io::stdout(), "{text}")?)
}
