//! What a command prints: tables and labelled lines for people, JSON for programs.
//!
//! A text of the provider may have been written by somebody who wants to command the reader's terminal, so each one
//! goes through [`visible`] on its way. `anstream` takes the styles off where the output is no terminal or `NO_COLOR`
//! is set.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write as _},
};

use anstyle::Style;
use comfy_table::{ColumnConstraint::LowerBoundary, ContentArrangement, Table, Width, presets};
use jiff::Timestamp;
use m2m::Clock;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{api::Api, failure::Failure};
use crate::keys::Period;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// The columns of space behind a cell.
const GAP: u16 = 2;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

pub(super) struct Output {
    json: bool,
    /// From when times are told.
    clock: Clock,
}

impl Output {
    pub(super) fn new(json: bool, clock: Clock) -> Self {
        Self { json, clock }
    }

    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    /// In seconds since the epoch.
    pub(super) fn now(&self) -> i64 {
        i64::try_from(self.clock.now()).unwrap_or(i64::MAX)
    }

    /// Prints an answer: as it is with `--json`, else what `text` makes of it.
    pub(super) fn show<T: DeserializeOwned>(
        &self,
        api: &Api,
        answer: &Value,
        text: impl FnOnce(T) -> String,
    ) -> Result<(), Failure> {
        if self.json {
            return print(&format!("{}\n", json_text(answer, true)));
        }
        print(&text(api.read(answer)?))
    }

    /// Prints that something was done, which has no answer of its own.
    pub(super) fn done(&self, what: &str) -> Result<(), Failure> {
        if self.json {
            return Ok(());
        }
        print(&format!("{what}\n"))
    }

    /// As in `2027-01-01T00:00:00Z (in 3 days)`.
    pub(super) fn time(&self, at: i64) -> String {
        format!("{} ({})", rfc_3339(at), distance(at, self.now()))
    }

    /// As in `in 3 days`, with a word for none: where there is no room for more.
    pub(super) fn distance_or(&self, at: Option<i64>, none: &str) -> String {
        at.map_or_else(|| none.to_owned(), |at| distance(at, self.now()))
    }

    /// As [`Self::time`], with a word for none.
    pub(super) fn time_or(&self, at: Option<i64>, none: &str) -> String {
        at.map_or_else(|| none.to_owned(), |at| self.time(at))
    }
}

/// Writes a text to stdout as a whole.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// A text of the provider as one line that cannot command a terminal, nor show it other than it is.
pub(super) fn visible(text: &str) -> String {
    text.chars()
        .map(|c| if is_hidden(c) { ' ' } else { c })
        .collect()
}

/// Control characters, and those that turn the direction of what follows.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// An answer with each of its texts made [`visible`].
pub(super) fn tidied(value: &Value) -> Value {
    match value {
        Value::String(text) => visible(text).into(),
        Value::Array(values) => values.iter().map(tidied).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (visible(name), tidied(value)))
            .collect(),
        other => other.clone(),
    }
}

/// JSON on several lines or on one. What [`visible`] hides is escaped, so that the value is still the same.
pub(crate) fn json_text(value: &Value, pretty: bool) -> String {
    let text = if pretty {
        format!("{value:#}")
    } else {
        value.to_string()
    };
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        // JSON escapes all below U+0020 itself; the line breaks that are left are its own.
        if c != '\n' && is_hidden(c) {
            _ = write!(safe, "\\u{:04x}", u32::from(c));
        } else {
            safe.push(c);
        }
    }
    safe
}

/// A table without lines, as wide as the terminal at most; in a file, as wide as its content.
pub(crate) fn table<const N: usize>(
    head: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    let mut widest_words = head.map(str::len);
    table.load_style(presets::NOTHING).set_header(head);
    for row in rows {
        for (widest, cell) in widest_words.iter_mut().zip(&row) {
            let words = cell.split_whitespace().map(|word| word.chars().count());
            *widest = words.fold(*widest, usize::max);
        }
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, GAP));
    }
    if let Some(width) = terminal_width() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(width);
        // An id or a time that goes over two lines cannot be copied.
        let needed = widest_words
            .map(|word| u16::try_from(word).map_or(u16::MAX, |w| w.saturating_add(GAP)));
        if needed.iter().copied().fold(0, u16::saturating_add) <= width {
            table.set_constraints(needed.map(|width| LowerBoundary(Width::Fixed(width))));
        }
    }
    let text = table.trim_fmt();
    let (head, rows) = text.split_once('\n').unwrap_or((&text, ""));
    let end = if rows.is_empty() { "" } else { "\n" };
    format!("{BOLD}{head}{BOLD:#}\n{rows}{end}")
}

/// One `label  value` in each line; values that are empty are left out.
pub(super) fn lines(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(label, _)| label.len()).max();
    let width = width.unwrap_or_default();
    let mut text = String::new();
    for (label, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
        _ = writeln!(text, "  {DIM}{label:width$}{DIM:#}  {value}");
    }
    text
}

/// The columns of the terminal that stdout is.
pub(super) fn terminal_width() -> Option<u16> {
    if !io::stdout().is_terminal() {
        return None;
    }
    let (width, _) = terminal_size::terminal_size_of(io::stdout())?;
    Some(width.0)
}

/// Whether what is printed will be colored.
pub(super) fn is_colored() -> bool {
    anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never
}

pub(crate) fn rfc_3339(at: i64) -> String {
    Timestamp::from_second(at).map_or_else(|_| at.to_string(), |time| time.to_string())
}

/// As in `1h 30m`.
pub(super) fn length(seconds: u64) -> String {
    Period::from(seconds).to_string()
}

/// As in `in 3 days` and `2 h ago`: rounded down, one unit.
fn distance(at: i64, now: i64) -> String {
    let seconds = at.abs_diff(now);
    let told = match seconds {
        0 => return "now".to_owned(),
        1..MINUTE => format!("{seconds} s"),
        MINUTE..HOUR => format!("{} min", seconds / MINUTE),
        HOUR..172_800 => format!("{} h", seconds / HOUR),
        172_800..63_072_000 => format!("{} days", seconds / DAY),
        _ => format!("{} years", seconds / (365 * DAY)),
    };
    if at > now {
        format!("in {told}")
    } else {
        format!("{told} ago")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_distance_is_told_in_one_unit() {
        for (seconds, told) in [
            (0, "now"),
            (1, "in 1 s"),
            (-59, "59 s ago"),
            (3599, "in 59 min"),
            (-7200, "2 h ago"),
            (172_799, "in 47 h"),
            (259_200, "in 3 days"),
            (-63_072_000, "2 years ago"),
        ] {
            assert_eq!(distance(1000 + seconds, 1000), told);
        }
    }

    #[test]
    fn no_text_of_the_provider_commands_the_terminal() {
        let told = json!({"a\u{1b}[2J": ["b\u{9b}31m", "c\u{202e}d\n"]});
        assert_eq!(tidied(&told), json!({"a [2J": ["b 31m", "c d "]}));
        let text = json_text(&told, true);
        assert!(!text.chars().any(|c| c != '\n' && is_hidden(c)), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), told);
        assert_eq!(json_text(&json!(["\n"]), false), r#"["\n"]"#);
    }

    #[test]
    fn a_table_has_its_columns_below_each_other() {
        let rows = [
            ["a".to_owned(), "日本".to_owned()],
            ["bcd".to_owned(), String::new()],
        ];
        let text = table(["ID", "NAME"], rows);
        let plain = anstream::adapter::strip_str(&text).to_string();
        assert_eq!(plain, "ID   NAME\na    日本\nbcd\n");
    }
}
