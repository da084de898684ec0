//! What a command says in the end: a text for people, or JSON for scripts.
//!
//! The texts carry their styles; `anstream` takes them off again where the output is no terminal
//! or `NO_COLOR` is set.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
};

use anstyle::{AnsiColor, Style};
use jiff::Zoned;
use ratatui::text::Span;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    api::Service,
    failure::Failure,
    lab::{self, Report},
    records::{Event, Note},
    token_view::{Explained, TokenView},
    when,
};

/// The result of a command.
#[derive(Debug)]
pub enum Answer {
    /// `list` of events.
    Events(Vec<Event>),
    /// `add` or `update` of an event; the word says which.
    Event(&'static str, Event),
    /// `list` of notes.
    Notes(Vec<Note>),
    /// `add` or `update` of a note; the word says which.
    Note(&'static str, Note),
    /// `delete`.
    Deleted(Service, u64),
    /// `token`.
    Token(Box<TokenAnswer>),
    /// `lab` without a name.
    Experiments,
    /// `lab`.
    Lab(Box<Report>),
    /// `token --raw`, or a completion script: printed as it is.
    Raw(String),
    /// `start`: the terminal program has said everything.
    Nothing,
}

/// A token as `assistant token` shows it: everything but the token.
#[derive(Debug)]
pub struct TokenAnswer {
    /// The service it is for.
    pub resource: String,
    /// What it allows.
    pub scopes: Vec<String>,
    /// Unix seconds.
    pub expires_at: u64,
    /// Seconds.
    pub expires_in: u64,
    /// `None` when it is no JWT.
    pub view: Option<TokenView>,
    /// The token itself, only where `--raw` asked for it.
    pub raw: Option<String>,
}

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();

impl Answer {
    /// For people. Times are shown in the zone of `now`.
    pub fn to_text(&self, now: &Zoned) -> String {
        match self {
            Self::Events(events) if events.is_empty() => nothing("events", "calendar"),
            Self::Events(events) => {
                let rows = events.iter().map(|event| {
                    let span = when::show_span(event.start, event.end, now);
                    [
                        event.id.to_string(),
                        span,
                        event.title.clone(),
                        event.description.clone(),
                    ]
                });
                table(["ID", "WHEN", "TITLE", "DESCRIPTION"], rows)
            }
            Self::Event(verb, event) => {
                let head = done(&format!("{verb} event {}", event.id));
                let span = when::show_span(event.start, event.end, now);
                head + &pairs(&[
                    ("title", &event.title),
                    ("when", &span),
                    ("description", &event.description),
                ])
            }
            Self::Notes(notes) if notes.is_empty() => nothing("notes", "note"),
            Self::Notes(notes) => {
                let rows = notes.iter().map(|note| {
                    [
                        note.id.to_string(),
                        note.title.clone(),
                        note.description.clone(),
                    ]
                });
                table(["ID", "TITLE", "DESCRIPTION"], rows)
            }
            Self::Note(verb, note) => {
                let head = done(&format!("{verb} note {}", note.id));
                head + &pairs(&[("title", &note.title), ("description", &note.description)])
            }
            Self::Deleted(service, id) => done(&format!("Deleted {} {id}", service.thing())),
            Self::Token(token) => token_text(token, now),
            Self::Experiments => lab::list_text(),
            Self::Lab(report) => report.to_text(),
            Self::Raw(text) => text.clone(),
            Self::Nothing => String::new(),
        }
    }

    /// For scripts: lists as arrays, rows as the services have them.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Events(events) => json!(events),
            Self::Event(_, event) => json!(event),
            Self::Notes(notes) => json!(notes),
            Self::Note(_, note) => json!(note),
            Self::Deleted(service, id) => json!({ "deleted": true, service.thing(): id }),
            Self::Token(token) => json!(TokenJson::from(token.as_ref())),
            Self::Experiments => lab::list_json(),
            Self::Lab(report) => report.to_json(),
            Self::Raw(text) => json!(text),
            Self::Nothing => Value::Null,
        }
    }

    /// What makes a command fail although it did all that it was told: an experiment that did not
    /// end as its explanation says.
    pub fn surprise(&self) -> Option<Failure> {
        match self {
            Self::Lab(report) => report.surprise(),
            _ => None,
        }
    }

    /// Prints the answer on stdout. A reader that has gone away, such as `head`, is no error.
    pub fn print(&self, json: bool, now: &Zoned) -> io::Result<()> {
        let text = match self {
            Self::Raw(text) => text.clone(),
            Self::Nothing => return Ok(()),
            _ if json => format!("{:#}\n", self.to_json()),
            _ => self.to_text(now),
        };
        let mut out = anstream::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(e),
            _ => Ok(()),
        }
    }
}

/// Prints a failure on stderr.
pub fn print_failure(failure: &Failure, json: bool) {
    let text = if json {
        format!("{:#}\n", failure.to_json())
    } else {
        let mut text = format!("{BAD}error:{BAD:#} {}\n", visible(&failure.message));
        if let Some(hint) = &failure.hint {
            let _ = writeln!(text, "  {DIM}→{DIM:#} {}", visible(hint));
        }
        text
    };
    // Where stderr is closed there is nobody left to tell.
    let _ = anstream::stderr().lock().write_all(text.as_bytes());
}

#[derive(Serialize)]
struct TokenJson<'a> {
    resource: &'a str,
    scopes: &'a [String],
    expires_at: u64,
    expires_in: u64,
    header: Option<&'a serde_json::Map<String, Value>>,
    claims: Option<&'a serde_json::Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
}

impl<'a> From<&'a TokenAnswer> for TokenJson<'a> {
    fn from(token: &'a TokenAnswer) -> Self {
        Self {
            resource: &token.resource,
            scopes: &token.scopes,
            expires_at: token.expires_at,
            expires_in: token.expires_in,
            header: token.view.as_ref().map(|view| &view.header),
            claims: token.view.as_ref().map(|view| &view.claims),
            token: token.raw.as_deref(),
        }
    }
}

fn done(what: &str) -> String {
    format!("{GOOD}✓{GOOD:#} {BOLD}{what}{BOLD:#}\n")
}

fn nothing(things: &str, command: &str) -> String {
    format!("No {things} yet. {DIM}Add one: assistant {command} add …{DIM:#}\n")
}

fn pairs(pairs: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in pairs {
        let _ = writeln!(text, "  {DIM}{name:<12}{DIM:#} {}", visible(value));
    }
    text
}

/// Columns as wide as their widest cell, the last one as long as it is; numbers in the first one
/// stand to the right.
fn table<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let rows: Vec<[String; N]> = rows.map(|row| row.map(|cell| visible(&cell))).collect();
    let widths: [usize; N] = std::array::from_fn(|i| {
        let cells = rows.iter().map(|row| width(&row[i]));
        cells.chain([width(head[i])]).max().unwrap_or_default()
    });
    let line = |cells: [&str; N]| {
        let mut line = String::new();
        for (i, cell) in cells.into_iter().enumerate() {
            let space = " ".repeat(widths[i] - width(cell));
            let (before, after) = if i == 0 {
                (space.as_str(), "")
            } else {
                ("  ", space.as_str())
            };
            line.extend([before, cell, after]);
        }
        line.trim_end().to_owned()
    };
    let mut text = format!("{BOLD}{}{BOLD:#}\n", line(head));
    for row in &rows {
        let _ = writeln!(text, "{}", line(row.each_ref().map(String::as_str)));
    }
    text
}

/// The columns that a text takes in a terminal: ratatui knows that some characters are wide.
fn width(text: &str) -> usize {
    Span::raw(text).width()
}

/// A text from a server as one line that cannot command the terminal.
fn visible(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

fn token_text(token: &TokenAnswer, now: &Zoned) -> String {
    let mut text = format!(
        "A token for {BOLD}{}{BOLD:#} with {BOLD}{}{BOLD:#}, {} left\n",
        visible(&token.resource),
        visible(&token.scopes.join(" ")),
        when::show_countdown(token.expires_in)
    );
    let Some(view) = &token.view else {
        text.push_str("It is no JWT: only its issuer can read it.\n");
        return text;
    };
    let mut part = |title: &str, about: &str, members: Vec<Explained>| {
        let _ = writeln!(text, "\n{BOLD}{title}{BOLD:#}  {DIM}{about}{DIM:#}");
        let names = members
            .iter()
            .map(|m| width(&visible(&m.name)))
            .max()
            .unwrap_or(0);
        for Explained {
            name,
            value,
            meaning,
        } in members
        {
            let (name, value) = (visible(&name), visible(&value));
            let _ = writeln!(text, "  {GOOD}{name:<names$}{GOOD:#}  {value}");
            let _ = writeln!(text, "  {:names$}  {DIM}{meaning}{DIM:#}", "");
        }
    };
    part("Header", "how it is signed", view.explain_header());
    part("Claims", "what the issuer says", view.explain_claims(now));
    text.push_str("\nThe third part is the signature. --raw prints the token itself.\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::{Timestamp, tz::TimeZone};

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn a_table_lines_up_wide_characters_and_hides_control_characters() {
        let rows = [
            ["1".to_owned(), "日本".to_owned(), "a\u{1b}[2Jb".to_owned()],
            ["12".to_owned(), "é".to_owned(), String::new()],
        ];
        assert_eq!(
            plain(&table(["ID", "TITLE", "TEXT"], rows.into_iter())),
            "ID  TITLE  TEXT\n 1  日本   a [2Jb\n12  é\n"
        );
    }

    #[test]
    fn an_empty_list_says_how_to_fill_it() {
        let now = Timestamp::from_second(1_795_255_200)
            .unwrap()
            .to_zoned(TimeZone::UTC);
        let said = plain(&Answer::Notes(Vec::new()).to_text(&now));
        assert_eq!(said, "No notes yet. Add one: assistant note add …\n");
    }
}
