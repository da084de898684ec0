//! From samples to figures: medians, ratios within one round, and the table that a person reads.

use std::fmt;

use serde::Serialize;

use crate::{
    run::Plan,
    wrk::{CONNECTIONS, Summary},
};

/// The part of its core that a server under full load uses. With less, something else was the limit.
const FULL_LOAD: f64 = 0.9;

/// What one run of load on one route came to.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub requests_per_second: f64,
    pub p99_milliseconds: f64,
    /// The server's processor time per request.
    pub cpu_microseconds: f64,
}

impl Sample {
    /// `used` are the seconds of processor time that the server spent on it.
    pub fn of(summary: &Summary, used: f64) -> Self {
        Self {
            requests_per_second: summary.requests_per_second(),
            p99_milliseconds: summary.p99_microseconds / 1e3,
            cpu_microseconds: used * 1e6 / summary.requests,
        }
    }
}

/// A route's samples, one for each round.
pub struct Measured {
    pub name: &'static str,
    /// The least ratio of the product's speed to this one's that is wanted.
    pub goal: Option<f64>,
    pub samples: Vec<Sample>,
}

impl Measured {
    /// The median of the server's processor time per request.
    pub fn cpu_microseconds(&self) -> f64 {
        median(self.samples.iter().map(|sample| sample.cpu_microseconds))
    }
}

/// All figures of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    rounds: u32,
    seconds_per_round: u32,
    connections: u32,
    /// What makes the figures unsure.
    warnings: Vec<String>,
    routes: Vec<Speed>,
    ratios: Vec<Ratio>,
}

/// The medians of a route's rounds.
#[derive(Debug, Serialize)]
struct Speed {
    route: &'static str,
    requests_per_second: f64,
    p99_milliseconds: f64,
    cpu_microseconds_per_request: f64,
}

/// How many requests one route answers for each request of another, taken in each round.
#[derive(Debug, Serialize)]
struct Ratio {
    of: &'static str,
    to: &'static str,
    median: f64,
    min: f64,
    max: f64,
    goal: Option<f64>,
    met: Option<bool>,
}

impl Report {
    pub fn new(plan: Plan) -> Self {
        Self {
            rounds: plan.rounds,
            seconds_per_round: plan.seconds,
            connections: CONNECTIONS,
            warnings: Vec::new(),
            routes: Vec::new(),
            ratios: Vec::new(),
        }
    }

    pub fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }

    /// Whether every goal was met.
    pub fn is_good(&self) -> bool {
        self.ratios.iter().all(|ratio| ratio.met != Some(false))
    }

    /// Adds routes that took turns: the first is compared with each of the others.
    pub fn add(&mut self, measured: &[Measured]) {
        for speed in measured.iter().map(Speed::of) {
            if speed.busy() < FULL_LOAD {
                self.warn(format!(
                    "`{}` used only {:.0} % of its core: wrk or others were the limit",
                    speed.route,
                    speed.busy() * 100.0
                ));
            }
            self.routes.push(speed);
        }
        if let [product, references @ ..] = measured {
            let ratios = references
                .iter()
                .map(|reference| Ratio::of(product, reference));
            self.ratios.extend(ratios);
        }
    }
}

impl Speed {
    fn of(measured: &Measured) -> Self {
        let median_of = |figure: fn(&Sample) -> f64| median(measured.samples.iter().map(figure));
        Self {
            route: measured.name,
            requests_per_second: median_of(|sample| sample.requests_per_second),
            p99_milliseconds: median_of(|sample| sample.p99_milliseconds),
            cpu_microseconds_per_request: median_of(|sample| sample.cpu_microseconds),
        }
    }

    /// The part of its core that the server used.
    fn busy(&self) -> f64 {
        self.requests_per_second * self.cpu_microseconds_per_request / 1e6
    }
}

impl Ratio {
    fn of(product: &Measured, reference: &Measured) -> Self {
        let rounds = product.samples.iter().zip(&reference.samples);
        let ratios = rounds.map(|(of, to)| of.requests_per_second / to.requests_per_second);
        let median = median(ratios.clone());
        Self {
            of: product.name,
            to: reference.name,
            median,
            min: ratios.clone().fold(f64::INFINITY, f64::min),
            max: ratios.fold(f64::NEG_INFINITY, f64::max),
            goal: reference.goal,
            met: reference.goal.map(|goal| median >= goal),
        }
    }
}

/// The middle value, or the mean of the two in the middle.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2])
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} rounds of {} s on each route in turn, {} connections, one worker on one core\n",
            self.rounds, self.seconds_per_round, self.connections
        )?;
        writeln!(
            f,
            "{:<42}{:>12}{:>10}{:>13}",
            "medians", "requests/s", "p99 ms", "CPU µs each"
        )?;
        for speed in &self.routes {
            writeln!(
                f,
                "{:<42}{:>12.0}{:>10.2}{:>13.1}",
                speed.route,
                speed.requests_per_second,
                speed.p99_milliseconds,
                speed.cpu_microseconds_per_request
            )?;
        }
        writeln!(
            f,
            "\n{:<42}{:>12}{:>10}{:>13}  goal",
            "requests/s, ratio in each round", "median", "min", "max"
        )?;
        let mut product = "";
        for ratio in &self.ratios {
            if ratio.of != product {
                product = ratio.of;
                writeln!(f, "{product}")?;
            }
            write!(
                f,
                "{:<42}{:>12.2}{:>10.2}{:>13.2}",
                format!("  ÷ {}", ratio.to),
                ratio.median,
                ratio.min,
                ratio.max
            )?;
            match (ratio.goal, ratio.met) {
                (Some(goal), Some(true)) => writeln!(f, "  {goal:.2} met")?,
                (Some(goal), _) => writeln!(f, "  {goal:.2} MISSED")?,
                (None, _) => writeln!(f)?,
            }
        }
        if !self.warnings.is_empty() {
            writeln!(f)?;
        }
        for warning in &self.warnings {
            writeln!(f, "note: {warning}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(name: &'static str, goal: Option<f64>, speeds: &[f64]) -> Measured {
        let samples = speeds.iter().map(|&requests_per_second| Sample {
            requests_per_second,
            p99_milliseconds: 2.5,
            cpu_microseconds: 1e6 / requests_per_second,
        });
        Measured {
            name,
            goal,
            samples: samples.collect(),
        }
    }

    fn report(product: &[f64]) -> Report {
        let mut report = Report::new(Plan::QUICK);
        report.add(&[
            measured("product", None, product),
            measured("floor", Some(0.7), &[100.0, 200.0, 100.0]),
            measured("bare", None, &[1000.0, 1000.0, 1000.0]),
        ]);
        report
    }

    #[test]
    fn the_median_is_the_middle_value() {
        for (values, expected) in [
            (&[3.0, 1.0, 2.0][..], 2.0),
            (&[4.0, 1.0, 2.0, 3.0], 2.5),
            (&[7.0], 7.0),
        ] {
            let median = median(values.iter().copied());
            assert!((median - expected).abs() < 1e-9, "{values:?}: {median}");
        }
    }

    #[test]
    fn ratios_are_taken_within_a_round_so_that_a_slow_moment_falls_on_both() {
        // The second round ran on a machine twice as fast: the ratio does not move.
        let ratio = &report(&[80.0, 160.0, 80.0]).ratios[0];
        for figure in [ratio.median, ratio.min, ratio.max] {
            assert!((figure - 0.8).abs() < 1e-9, "{ratio:?}");
        }
        assert_eq!(ratio.met, Some(true));
    }

    #[test]
    fn the_table_says_which_goals_were_met() {
        let met = report(&[80.0, 160.0, 80.0]).to_string();
        assert!(met.contains("÷ floor") && met.contains("0.70 met"), "{met}");
        let mut missed = report(&[60.0, 120.0, 60.0]);
        missed.warn("the machine is busy".into());
        let missed = missed.to_string();
        assert!(missed.contains("0.70 MISSED"), "{missed}");
        assert!(missed.contains("note: the machine is busy"), "{missed}");
    }

    #[test]
    fn a_server_that_was_not_busy_is_pointed_out() {
        let mut idle = measured("idle", None, &[100.0]);
        idle.samples[0].cpu_microseconds = 5000.0; // half of what 100 requests a second leave it
        let mut report = Report::new(Plan::QUICK);
        report.add(&[idle, measured("busy", None, &[100.0])]);
        let [warning] = &report.warnings[..] else {
            panic!("one of them is busy: {:?}", report.warnings);
        };
        assert!(warning.starts_with("`idle` used only 50 %"), "{warning}");
    }

    #[test]
    fn the_json_carries_the_same_figures() {
        let json = serde_json::to_value(report(&[60.0, 120.0, 60.0])).unwrap();
        assert_eq!(json["routes"][1]["route"], "floor");
        assert_eq!(json["routes"][1]["requests_per_second"], 100.0);
        assert_eq!(json["ratios"][0]["met"], false);
        assert_eq!(json["ratios"][1]["goal"], serde_json::Value::Null);
    }
}
