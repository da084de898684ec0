//! What is put under load, and how: some routes in turn, round after round, so that whatever else the machine does falls on
//! all of them.

use std::{process::Stdio, time::Duration};

use anyhow::{Context, ensure};
use m2m::verify::Algorithm;
use tokio::process::Command;

use crate::{
    open_loop,
    report::{Measured, Sample},
    run::Setting,
    server::{Place, Server},
    signatures::Signed,
    wrk::Request,
};

/// A load that is not full is looked at in so many pieces in each round, of which the calmest counts. Whatever else the machine
/// does for a moment adds to waiting times and never takes away from them; what the server does by itself comes in each piece.
const PIECES: u32 = 8;

/// Something under measurement.
pub(crate) struct Route<'a> {
    name: &'static str,
    load: Load<'a>,
    goal: Option<f64>,
}

enum Load<'a> {
    /// A request, as often as the server answers; or so often a second.
    Server(&'a Server, Request, Option<f64>),
    /// Signatures without any server.
    Signatures(Algorithm),
}

impl<'a> Route<'a> {
    /// A request that is repeated as fast as the server answers.
    pub(crate) fn new(name: &'static str, server: &'a Server, request: Request) -> Self {
        Self {
            name,
            load: Load::Server(server, request, None),
            goal: None,
        }
    }

    /// One core signs as fast as it can.
    pub(crate) fn signatures(name: &'static str, algorithm: Algorithm) -> Self {
        Self {
            name,
            load: Load::Signatures(algorithm),
            goal: None,
        }
    }

    /// What part of this one's speed the first one should reach, or which multiple of its p99 it should not exceed. Without a
    /// goal, the ratio only informs.
    pub(crate) fn goal(self, goal: f64) -> Self {
        Self {
            goal: Some(goal),
            ..self
        }
    }

    /// The request comes so often a second, however fast the server is.
    pub(crate) fn steadily(mut self, per_second: f64) -> Self {
        if let Load::Server(.., rate) = &mut self.load {
            *rate = Some(per_second);
        }
        self
    }

    fn is_steady(&self) -> bool {
        matches!(self.load, Load::Server(.., Some(_)))
    }

    /// Without samples yet.
    pub(crate) fn measured(&self) -> Measured {
        Measured {
            name: self.name,
            goal: self.goal,
            samples: Vec::new(),
        }
    }

    /// Loads the route for some seconds, or for a piece of them when the load is not full.
    pub(crate) async fn sample(&self, setting: &Setting, seconds: u32) -> anyhow::Result<Sample> {
        let place = setting.load();
        match &self.load {
            Load::Server(server, request, rate) => {
                let before = server.processor_seconds()?;
                let (summary, late) = match rate {
                    Some(rate) => {
                        let piece = Duration::from_secs(seconds.into()) / PIECES;
                        let sent = open_loop::load(server, request, *rate, piece, place).await?;
                        (sent.summary, sent.late_microseconds)
                    }
                    None => (request.repeat(seconds, place).await?, 0.0),
                };
                let sample = Sample::of(&summary, server.processor_seconds()? - before);
                Ok(Sample {
                    late_milliseconds: late / 1e3,
                    ..sample
                })
            }
            Load::Signatures(algorithm) => sign(*algorithm, seconds, setting.served()).await,
        }
    }

    /// Sees that the route answers, and puts it under load for a second.
    async fn warm_up(&self, setting: &Setting) -> anyhow::Result<()> {
        if let Load::Server(_, request, _) = &self.load {
            request.once(&setting.http).await?;
            request.repeat(1, setting.load()).await?;
        }
        Ok(())
    }
}

/// Puts some routes under load in turn.
pub(crate) async fn measure(
    setting: &Setting,
    routes: &[Route<'_>],
) -> anyhow::Result<Vec<Measured>> {
    for route in routes {
        eprintln!("warming up: {} …", route.name);
        route
            .warm_up(setting)
            .await
            .with_context(|| route.name.to_owned())?;
    }
    let mut measured: Vec<_> = routes.iter().map(Route::measured).collect();
    let pieces = if routes.iter().all(Route::is_steady) {
        PIECES
    } else {
        1
    };
    for round in 1..=setting.plan().rounds {
        eprintln!("round {round} of {} …", setting.plan().rounds);
        let mut calmest = vec![None::<Sample>; routes.len()];
        for _ in 0..pieces {
            for (route, calmest) in routes.iter().zip(&mut calmest) {
                let sample = route.sample(setting, setting.plan().seconds).await;
                let sample = sample.with_context(|| route.name.to_owned())?;
                if calmest.is_none_or(|one| sample.p99_milliseconds < one.p99_milliseconds) {
                    *calmest = Some(sample);
                }
            }
        }
        for (measured, calmest) in measured.iter_mut().zip(calmest) {
            measured.samples.extend(calmest);
        }
    }
    Ok(measured)
}

/// Signs for some seconds in a process of its own, where servers run: one thread, so that its time is its processor's.
async fn sign(algorithm: Algorithm, seconds: u32, place: Place<'_>) -> anyhow::Result<Sample> {
    let output = Command::new("taskset")
        .args(["--cpu-list", &place.cores.to_string()])
        .arg(std::env::current_exe()?)
        .args(["sign", algorithm.name(), "--seconds", &seconds.to_string()])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("cannot start taskset (Debian: util-linux)")?;
    ensure!(output.status.success(), "signing failed");
    let Signed {
        summary,
        processor_seconds,
    } = serde_json::from_slice(&output.stdout)?;
    Ok(Sample::of(&summary, processor_seconds))
}
