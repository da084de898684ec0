//! From samples to figures: medians, and ratios within one round.

use serde::Serialize;

use crate::{
    run::Plan,
    wrk::{CONNECTIONS, Summary},
};

/// The part of its core that a server under full load uses. With less, something else was the limit.
const FULL_LOAD: f64 = 0.9;

/// What is said once when that happened.
const NOT_FULL: &str =
    "where a server used less than 90 % of its core, wrk or others were the limit: compare by CPU";

/// The part of a waiting time that may be the load's own.
const LATE: f64 = 0.25;

/// What one run of load on one route came to.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub requests_per_second: f64,
    pub p99_milliseconds: f64,
    /// The server's processor time per request.
    pub cpu_microseconds: f64,
    /// How late the load was, at the 99th percentile, where each request has its moment.
    pub late_milliseconds: f64,
}

impl Sample {
    /// `used` are the seconds of processor time that the server spent on it.
    pub fn of(summary: &Summary, used: f64) -> Self {
        Self {
            requests_per_second: summary.requests_per_second(),
            p99_milliseconds: summary.p99_microseconds / 1e3,
            cpu_microseconds: used * 1e6 / summary.requests,
            late_milliseconds: 0.0,
        }
    }
}

/// A route's samples, one for each round.
pub struct Measured {
    pub name: &'static str,
    /// What is wanted of the ratio of the product to this one: at least so much of the speed, or at most so much of the
    /// 99th percentile.
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
    pub(crate) rounds: u32,
    pub(crate) seconds_per_round: u32,
    pub(crate) connections: u32,
    /// What makes the figures unsure.
    pub(crate) warnings: Vec<String>,
    pub(crate) routes: Vec<Speed>,
    pub(crate) ratios: Vec<Ratio>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) facts: Vec<Fact>,
}

/// The medians of a route's rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Speed {
    pub(crate) route: &'static str,
    pub(crate) requests_per_second: f64,
    pub(crate) p99_milliseconds: f64,
    pub(crate) cpu_microseconds_per_request: f64,
    /// The part of its core that the server used.
    pub(crate) core_used: f64,
}

/// How one route compares with another, taken in each round.
#[derive(Debug, Serialize)]
pub(crate) struct Ratio {
    pub(crate) kind: Kind,
    pub(crate) of: &'static str,
    pub(crate) to: &'static str,
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// The median of the other's processor time per request as a part of the first's: what the ratio of the speeds comes to
    /// when nothing but the servers is the limit.
    pub(crate) processor: f64,
    pub(crate) goal: Option<f64>,
    pub(crate) met: Option<bool>,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// More is better.
    RequestsPerSecond,
    /// Less is better.
    P99,
}

/// A figure that is no ratio.
#[derive(Debug, Serialize)]
pub(crate) struct Fact {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    /// The most that is wanted; `None` only informs.
    pub(crate) goal: Option<f64>,
    pub(crate) met: Option<bool>,
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
            facts: Vec::new(),
        }
    }

    pub fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }

    /// Whether every goal was met.
    pub fn is_good(&self) -> bool {
        let mut met = self.ratios.iter().map(|ratio| ratio.met);
        let mut facts = self.facts.iter().map(|fact| fact.met);
        met.all(|met| met != Some(false)) && facts.all(|met| met != Some(false))
    }

    /// Adds a figure that stands alone, which should be `at_most` so much.
    pub fn fact(
        &mut self,
        name: impl Into<String>,
        value: f64,
        unit: &'static str,
        at_most: Option<f64>,
    ) {
        self.facts.push(Fact {
            name: name.into(),
            value,
            unit,
            goal: at_most,
            met: at_most.map(|goal| value <= goal),
        });
    }

    /// Adds routes that took turns under a load that was not full: the first's 99th percentile is compared with that of each
    /// of the others.
    pub fn add_p99(&mut self, measured: &[Measured]) {
        for measured in measured {
            let speed = Speed::of(measured);
            let late = median(
                measured
                    .samples
                    .iter()
                    .map(|sample| sample.late_milliseconds),
            );
            if late > speed.p99_milliseconds * LATE {
                self.warn(format!(
                    "`{}`: {late:.2} ms of the p99 may be the load's own, which was late",
                    speed.route
                ));
            }
            self.routes.push(speed);
        }
        self.compare(measured, Kind::P99);
    }

    /// Adds routes that took turns: the first is compared with each of the others.
    pub fn add(&mut self, measured: &[Measured]) {
        for speed in measured.iter().map(Speed::of) {
            let is_known = self.warnings.iter().any(|warning| warning == NOT_FULL);
            if speed.core_used < FULL_LOAD && !is_known {
                self.warn(NOT_FULL.to_owned());
            }
            self.routes.push(speed);
        }
        self.compare(measured, Kind::RequestsPerSecond);
    }

    fn compare(&mut self, measured: &[Measured], kind: Kind) {
        if let [product, references @ ..] = measured {
            let ratios = references
                .iter()
                .map(|reference| Ratio::of(kind, product, reference));
            self.ratios.extend(ratios);
        }
    }
}

impl Speed {
    fn of(measured: &Measured) -> Self {
        let median_of = |figure: fn(&Sample) -> f64| median(measured.samples.iter().map(figure));
        let requests_per_second = median_of(|sample| sample.requests_per_second);
        let cpu_microseconds = measured.cpu_microseconds();
        Self {
            route: measured.name,
            requests_per_second,
            p99_milliseconds: median_of(|sample| sample.p99_milliseconds),
            cpu_microseconds_per_request: cpu_microseconds,
            core_used: requests_per_second * cpu_microseconds / 1e6,
        }
    }
}

impl Ratio {
    fn of(kind: Kind, product: &Measured, reference: &Measured) -> Self {
        let rounds = product.samples.iter().zip(&reference.samples);
        let ratios = rounds.clone().map(|(of, to)| match kind {
            Kind::RequestsPerSecond => of.requests_per_second / to.requests_per_second,
            Kind::P99 => of.p99_milliseconds / to.p99_milliseconds,
        });
        let median = median(ratios.clone());
        let is_met = |goal| match kind {
            Kind::RequestsPerSecond => median >= goal,
            Kind::P99 => median <= goal,
        };
        Self {
            kind,
            of: product.name,
            to: reference.name,
            median,
            min: ratios.clone().fold(f64::INFINITY, f64::min),
            max: ratios.fold(f64::NEG_INFINITY, f64::max),
            processor: self::median(
                rounds.map(|(of, to)| to.cpu_microseconds / of.cpu_microseconds),
            ),
            goal: reference.goal,
            met: reference.goal.map(is_met),
        }
    }
}

/// The middle value, or the mean of the two in the middle.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(name: &'static str, goal: Option<f64>, speeds: &[f64]) -> Measured {
        let samples = speeds.iter().map(|&requests_per_second| Sample {
            requests_per_second,
            p99_milliseconds: 2.5,
            cpu_microseconds: 1e6 / requests_per_second,
            late_milliseconds: 0.0,
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
    fn of_waiting_times_and_facts_less_is_better() {
        for (product, fact, is_good) in [(3.0, 9.0, true), (4.5, 9.0, false), (3.0, 11.0, false)] {
            let mut waiting = measured("product", None, &[100.0]);
            waiting.samples[0].p99_milliseconds = product;
            let mut report = Report::new(Plan::QUICK);
            report.add_p99(&[waiting, measured("floor", Some(1.5), &[100.0])]);
            report.fact("start", fact, "ms", Some(10.0));
            assert_eq!(report.is_good(), is_good, "{report}");
            assert!(report.warnings.is_empty(), "half a load fills no core");
        }
    }

    #[test]
    fn a_load_that_was_late_itself_is_pointed_out() {
        for (late, warned) in [(0.5, 0), (1.0, 1)] {
            let mut product = measured("product", None, &[100.0]);
            product.samples[0].late_milliseconds = late;
            let mut report = Report::new(Plan::QUICK);
            report.add_p99(&[product]);
            assert_eq!(report.warnings.len(), warned, "{:?}", report.warnings);
        }
    }

    #[test]
    fn markdown_has_a_row_for_each_figure() {
        let mut report = report(&[80.0, 160.0, 80.0]);
        report.fact("start", 12.5, "ms", Some(10.0));
        report.warn("the machine is busy".into());
        let markdown = report.markdown();
        for row in [
            "| product ÷ floor | 0.80 (0.80–0.80) | 0.80 | ≥ 0.70 | met |",
            "| product ÷ bare | 0.08 (0.08–0.16) | 0.08 | | |",
            "| start | 12.5 ms | | ≤ 10 ms | missed |",
            "| product | 80 | 2.50 | 12500.0 | 100 % |",
        ] {
            assert!(markdown.contains(row), "{row} in {markdown}");
        }
        assert!(markdown.contains("the machine is busy"));
        assert!(markdown.starts_with("<!-- table -->\n"));
        assert!(markdown.ends_with("<!-- /table -->\n"));
    }

    #[test]
    fn a_server_that_was_not_busy_is_pointed_out() {
        let mut idle = measured("idle", None, &[100.0]);
        idle.samples[0].cpu_microseconds = 5000.0; // half of what 100 requests a second leave it
        let mut report = Report::new(Plan::QUICK);
        report.add(&[idle, measured("busy", None, &[100.0])]);
        assert_eq!(report.warnings, [NOT_FULL]);
        let used = report.routes.iter().map(|speed| speed.core_used);
        for (used, expected) in used.zip([0.5, 1.0]) {
            assert!((used - expected).abs() < 1e-9, "{used}");
        }
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
