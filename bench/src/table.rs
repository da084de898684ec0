//! The report as a person reads it: on a terminal, and in a document.

use std::fmt::{self, Write};

use crate::report::{Fact, Kind, Ratio, Report};

/// How wide the column of names is.
const NAMES: usize = 52;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.method())?;
        if !self.routes.is_empty() {
            self.write_speeds(f)?;
        }
        for kind in [Kind::RequestsPerSecond, Kind::P99] {
            self.write_ratios(f, kind)?;
        }
        for Fact {
            name,
            value,
            unit,
            goal,
            met,
        } in &self.facts
        {
            write!(f, "{name:<NAMES$}{value:>12.1} {unit:<8}")?;
            writeln!(f, "{}", outcome("<=", *goal, *met))?;
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

impl Report {
    fn method(&self) -> String {
        format!(
            "{} rounds of {} s on each route in turn, {} connections, one worker on one core",
            self.rounds, self.seconds_per_round, self.connections
        )
    }

    fn write_speeds(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<NAMES$}{:>12}{:>10}{:>13}{:>8}",
            "medians", "requests/s", "p99 ms", "CPU µs each", "core"
        )?;
        for speed in &self.routes {
            writeln!(
                f,
                "{:<NAMES$}{:>12.0}{:>10.2}{:>13.1}{:>6.0} %",
                speed.route,
                speed.requests_per_second,
                speed.p99_milliseconds,
                speed.cpu_microseconds_per_request,
                speed.core_used * 100.0
            )?;
        }
        writeln!(f)
    }

    fn write_ratios(&self, f: &mut fmt::Formatter<'_>, kind: Kind) -> fmt::Result {
        let mut ratios = self
            .ratios
            .iter()
            .filter(|ratio| ratio.kind == kind)
            .peekable();
        if ratios.peek().is_none() {
            return Ok(());
        }
        writeln!(
            f,
            "{:<NAMES$}{:>8}{:>8}{:>8}{:>8}  goal",
            kind.title(),
            "median",
            "min",
            "max",
            "by CPU"
        )?;
        let mut product = "";
        for ratio in ratios {
            if ratio.of != product {
                product = ratio.of;
                writeln!(f, "{product}")?;
            }
            write!(
                f,
                "{:<NAMES$}{:>8.2}{:>8.2}{:>8.2}{:>8}  ",
                format!("  ÷ {}", ratio.to),
                ratio.median,
                ratio.min,
                ratio.max,
                ratio.by_processor()
            )?;
            writeln!(f, "{}", outcome(kind.wanted(), ratio.goal, ratio.met))?;
        }
        writeln!(f)
    }

    /// The figures as tables in Markdown, between comments by which they are found in a document.
    pub fn markdown(&self) -> String {
        let mut text = String::from("<!-- table -->\n");
        self.write_markdown(&mut text)
            .expect("a string takes any text");
        text + "<!-- /table -->\n"
    }

    fn write_markdown(&self, text: &mut String) -> fmt::Result {
        writeln!(text, "{}.\n", self.method())?;
        writeln!(text, "| figure | median (min–max) | by CPU | goal | |")?;
        writeln!(text, "|---|---|---|---|---|")?;
        for ratio in &self.ratios {
            let Ratio {
                kind,
                of,
                to,
                median,
                min,
                max,
                goal,
                met,
                ..
            } = ratio;
            let by_processor = ratio.by_processor();
            let goal = goal.map_or(String::new(), |goal| format!("{} {goal:.2} ", kind.sign()));
            let met = met.map_or("", in_words);
            writeln!(
                text,
                "| {of} ÷ {to} | {median:.2} ({min:.2}–{max:.2}) | {by_processor} | {goal}|{met} |"
            )?;
        }
        for fact in &self.facts {
            let Fact {
                name, value, unit, ..
            } = fact;
            let goal = fact
                .goal
                .map_or(String::new(), |goal| format!("≤ {goal} {unit} "));
            let met = fact.met.map_or("", in_words);
            writeln!(text, "| {name} | {value:.1} {unit} | | {goal}|{met} |")?;
        }
        writeln!(
            text,
            "\n| route | requests/s | p99 ms | CPU µs each | of its core |"
        )?;
        writeln!(text, "|---|--:|--:|--:|--:|")?;
        for speed in &self.routes {
            writeln!(
                text,
                "| {} | {:.0} | {:.2} | {:.1} | {:.0} % |",
                speed.route,
                speed.requests_per_second,
                speed.p99_milliseconds,
                speed.cpu_microseconds_per_request,
                speed.core_used * 100.0
            )?;
        }
        for warning in &self.warnings {
            writeln!(text, "\nNote: {warning}.")?;
        }
        Ok(())
    }
}

impl Ratio {
    /// Where waiting is compared, processor time says nothing.
    fn by_processor(&self) -> String {
        match self.kind {
            Kind::RequestsPerSecond => format!("{:.2}", self.processor),
            Kind::P99 => String::new(),
        }
    }
}

impl Kind {
    fn title(self) -> &'static str {
        match self {
            Self::RequestsPerSecond => "requests/s, ratio in each round",
            Self::P99 => "p99 of an open loop, ratio in each round",
        }
    }

    /// How a value should stand to its goal.
    fn wanted(self) -> &'static str {
        match self {
            Self::RequestsPerSecond => ">=",
            Self::P99 => "<=",
        }
    }

    fn sign(self) -> &'static str {
        match self {
            Self::RequestsPerSecond => "≥",
            Self::P99 => "≤",
        }
    }
}

fn in_words(met: bool) -> &'static str {
    if met { " met" } else { " missed" }
}

fn outcome(wanted: &str, goal: Option<f64>, met: Option<bool>) -> String {
    match (goal, met) {
        (Some(goal), Some(true)) => format!("{wanted} {goal:.2} met"),
        (Some(goal), _) => format!("{wanted} {goal:.2} MISSED"),
        (None, _) => String::new(),
    }
}
