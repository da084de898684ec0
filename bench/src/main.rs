//! `bench run` measures the product and prints the report; `bench floor` is the server it is
//! measured against.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use bench::{
    floor,
    run::{self, Plan},
};
use clap::{Parser, Subcommand};
use m2m::service::Listen;
use tokio::signal::unix::{SignalKind, signal};

/// Measures the product against a server that does only the unavoidable.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure and report. Goals that are missed are reported, not an error; a refused request is
    /// one.
    Run {
        /// Fewer and shorter rounds: about half a minute instead of two.
        #[arg(long)]
        quick: bool,
        /// Print JSON instead of the table.
        #[arg(long)]
        json: bool,
        /// The policy that auth-provider starts with.
        #[arg(long, default_value = "demo/policy.toml")]
        policy: PathBuf,
    },
    /// Be the floor server (`run` starts one itself).
    Floor {
        #[arg(long)]
        listen: Listen,
    },
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
        Command::Run {
            quick,
            json,
            policy,
        } => {
            let plan = if quick { Plan::QUICK } else { Plan::FULL };
            // However this ends, dropping the run's future stops every process that it started.
            let report = tokio::select! {
                report = run::run(plan, &policy) => report?,
                signal = interrupted() => anyhow::bail!("stopped by {}", signal?),
            };
            let text = if json {
                serde_json::to_string_pretty(&report)? + "\n"
            } else {
                report.to_string()
            };
            io::stdout().write_all(text.as_bytes())?;
        }
    }
    Ok(())
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
