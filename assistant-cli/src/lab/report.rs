//! What came of an experiment, for people and for scripts.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use serde::Serialize;
use serde_json::{Value, json};

use super::{EXPERIMENTS, Experiment, Finding, letter};
use crate::{
    exchange::{Exchange, Message, hide},
    failure::{Failure, Kind},
};

/// One thing that was done, with what was said meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What is done, as a sentence.
    pub what: String,
    /// Requests and answers, in order.
    pub exchanges: Vec<Exchange>,
    /// What is to be seen in them, as sentences.
    pub remarks: Vec<String>,
}

impl Step {
    /// A step in which nothing has happened yet.
    pub fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            exchanges: Vec::new(),
            remarks: Vec::new(),
        }
    }
}

/// An experiment that was carried out.
#[derive(Clone)]
pub struct Report {
    /// Which one.
    pub experiment: &'static Experiment,
    /// What was done.
    pub steps: Vec<Step>,
    /// The place of the answer that came true; `None` when none did.
    pub answer: Option<usize>,
    /// What happened, in a sentence without a full stop.
    pub what: String,
    /// What the reader had said would happen.
    pub prediction: Option<usize>,
}

impl std::fmt::Debug for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Report")
            .field("experiment", &self.experiment.name)
            .field("answer", &self.answer)
            .field("what", &self.what)
            .field("prediction", &self.prediction)
            .field("steps", &self.steps)
            .finish()
    }
}

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();
const NAME: Style = AnsiColor::Cyan.on_default();

/// Headers that are left out here; `--json` has them.
const QUIET: [&str; 3] = ["cache-control", "content-type", "etag"];

/// Lines of a body.
const MAX_LINES: usize = 18;

/// Columns of a paragraph.
const WIDTH: usize = 88;

impl Report {
    pub(super) fn new(experiment: &'static Experiment, found: &Finding, steps: Vec<Step>) -> Self {
        Self {
            experiment,
            steps,
            answer: found.answer,
            what: hide(&found.what),
            prediction: None,
        }
    }

    /// Whether that happened of which the explanation speaks.
    pub fn is_as_explained(&self) -> bool {
        self.answer == Some(self.experiment.right)
    }

    /// For the exit code: what happened instead.
    pub fn surprise(&self) -> Option<Failure> {
        let e = self.experiment;
        let message = format!("{} did not end as it should: {}", e.name, self.what);
        (!self.is_as_explained()).then(|| Failure::new(Kind::Surprise, message).hint(e.otherwise))
    }

    /// What became of the prediction, as a sentence.
    pub fn judgement(&self) -> Option<String> {
        let predicted = letter(self.prediction?);
        Some(match self.answer {
            Some(answer) if Some(answer) == self.prediction => {
                format!("You said {predicted}, and so it was.")
            }
            Some(answer) => format!("You said {predicted}; it was {}.", letter(answer)),
            None => format!("You said {predicted}; it was none of them."),
        })
    }

    /// For people: what was asked, what was done, what came of it, and why.
    pub fn to_text(&self) -> String {
        let e = self.experiment;
        let mut text = question_text(e);
        for (nth, step) in self.steps.iter().enumerate() {
            let what = wrapped(&step.what, WIDTH, "   ");
            let _ = writeln!(text, "\n{BOLD}{}. {what}{BOLD:#}", nth + 1);
            for exchange in &step.exchanges {
                text.push_str(&exchange_text(exchange));
            }
            for remark in &step.remarks {
                let _ = writeln!(
                    text,
                    "   {NAME}▸{NAME:#} {}",
                    wrapped(remark, WIDTH, "     ")
                );
            }
        }
        let (mark, style) = if self.is_as_explained() {
            ("✓", GOOD)
        } else {
            ("✗", BAD)
        };
        let what = wrapped(&format!("{}.", self.what), WIDTH, "  ");
        let _ = writeln!(text, "\n{style}{mark}{style:#} {BOLD}{what}{BOLD:#}");
        if let Some(answer) = self.answer {
            let _ = writeln!(
                text,
                "  That is answer {}: {}.",
                letter(answer),
                wrapped(e.answers[answer], WIDTH, "  ")
            );
        }
        if let Some(judgement) = self.judgement() {
            let _ = writeln!(text, "  {judgement}");
        }
        if !self.is_as_explained() {
            let why = wrapped(e.otherwise, WIDTH, "  ");
            let _ = writeln!(
                text,
                "\n{BAD}This is not what should have happened.{BAD:#}\n  {why}"
            );
        }
        let title = if self.is_as_explained() {
            "Why"
        } else {
            "How it should be"
        };
        let _ = writeln!(text, "\n{BOLD}{title}{BOLD:#}");
        let _ = writeln!(text, "  {}", wrapped(e.explanation, WIDTH, "  "));
        let _ = writeln!(
            text,
            "  {DIM}{}{DIM:#}",
            wrapped(&e.sources.join("; "), WIDTH, "  ")
        );
        text
    }

    /// For scripts.
    pub fn to_json(&self) -> Value {
        let e = self.experiment;
        json!({
            "name": e.name,
            "question": e.question,
            "answers": e.answers,
            "right": e.right,
            "steps": self.steps,
            "answer": self.answer,
            "what": self.what,
            "prediction": self.prediction,
            "as_explained": self.is_as_explained(),
            "explanation": e.explanation,
            "sources": e.sources,
        })
    }
}

/// What is asked before an experiment, with the answers to choose from.
fn question_text(e: &Experiment) -> String {
    let mut text = format!("{BOLD}{}{BOLD:#}  {DIM}{}{DIM:#}\n", e.title, e.name);
    let _ = writeln!(text, "{}\n", wrapped(e.question, WIDTH, ""));
    for (nth, answer) in e.answers.iter().enumerate() {
        let answer = wrapped(answer, WIDTH, "     ");
        let _ = writeln!(text, "  {BOLD}{}{BOLD:#}  {answer}", letter(nth));
    }
    text
}

/// All experiments, by their names.
pub fn list_text() -> String {
    let width = EXPERIMENTS.iter().map(|e| e.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for e in EXPERIMENTS {
        let _ = writeln!(text, "{NAME}{:<width$}{NAME:#}  {}", e.name, e.title);
    }
    let _ = writeln!(
        text,
        "\n{DIM}Try one against the running demo: assistant lab {}{DIM:#}",
        EXPERIMENTS[0].name
    );
    text
}

/// The same for scripts.
pub fn list_json() -> Value {
    let experiment = |e: &Experiment| {
        json!({
            "name": e.name, "title": e.title, "question": e.question, "answers": e.answers,
        })
    };
    EXPERIMENTS.iter().map(experiment).collect()
}

fn exchange_text(exchange: &Exchange) -> String {
    let Exchange {
        from,
        to,
        method,
        url,
        request,
        response,
        took_ms,
        ..
    } = exchange;
    let outcome = exchange.outcome();
    format!(
        "   {NAME}{from} → {to}{NAME:#}  {method} {url}\n{}   {NAME}←{NAME:#} \
         {BOLD}{outcome}{BOLD:#} {DIM}in {took_ms} ms{DIM:#}\n{}",
        message_text(request),
        message_text(response)
    )
}

fn message_text(message: &Message) -> String {
    let skipped = |line: &str| QUIET.iter().any(|name| line.starts_with(name));
    let headers = message.headers.iter().filter(|line| !skipped(line));
    let headers = headers.map(|line| format!("     {DIM}{line}{DIM:#}\n"));
    let body = message.body.as_deref().unwrap_or_default();
    let lines = body.lines().filter(|line| !line.is_empty());
    let shown = lines.clone().take(MAX_LINES);
    let rest = lines.count().saturating_sub(MAX_LINES);
    let rest = (rest > 0).then(|| format!("     {DIM}… {rest} more lines{DIM:#}\n"));
    headers
        .chain(shown.map(|line| format!("     {line}\n")))
        .chain(rest)
        .collect()
}

/// The text in lines of about `width` columns; all but the first begin with `indent`.
fn wrapped(text: &str, width: usize, indent: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is one from the start");
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.join(&format!("\n{indent}"))
}
