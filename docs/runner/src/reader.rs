//! Who reads a chapter, types what it says, and minds every difference.

use std::{
    fmt::Write,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context;

use crate::{
    chapter::{self, Command, Place},
    compare,
    terminal::Terminal,
};

/// For how long a command is waited for: it may have to be linked first.
const PATIENCE: Duration = Duration::from_mins(2);

/// What came of a chapter.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Commands that did what the book says.
    pub good: usize,
    /// Blocks that nobody typed, as `FILE:LINE: why`.
    pub not_run: Vec<String>,
    /// The first thing that was not as the book says; the reader gave up there.
    pub failure: Option<String>,
}

/// Types a chapter in a folder. `name` is what its page is called in reports.
///
/// # Errors
/// When the page cannot be read, or there is no shell.
pub fn type_chapter(name: &str, page: &str, folder: &Path) -> anyhow::Result<Report> {
    let chapter = chapter::read(page).with_context(|| name.to_owned())?;
    let scratch = tempfile::tempdir()?;
    let mut here = Terminal::open(folder, scratch.path(), "here")?;
    let mut beside: Option<Terminal> = None;
    let mut report = Report::default();
    for block in &chapter.blocks {
        let mut complaint = None;
        match &block.place {
            Place::Nowhere(why) => report.not_run.push(format!("{name}:{}: {why}", block.line)),
            Place::Here => {
                for command in &block.commands {
                    complaint = try_it(&mut here, command);
                    if complaint.is_some() {
                        break;
                    }
                    report.good += 1;
                }
            }
            Place::Beside { .. } => {
                // Closing the window is as good as Ctrl-C: the same programs end, and are waited for.
                drop(beside.take());
                if let Some(command) = block.commands.first() {
                    let mut terminal = Terminal::open(folder, scratch.path(), "beside")?;
                    complaint = begin_it(&mut terminal, command);
                    beside = Some(terminal);
                    report.good += usize::from(complaint.is_none());
                }
            }
        }
        if let Some(complaint) = complaint {
            report.failure = Some(format!("{name}:{complaint}"));
            break;
        }
    }
    Ok(report)
}

/// Types a command, waits for its end, and says what is wrong with what came of it.
fn try_it(terminal: &mut Terminal, command: &Command) -> Option<String> {
    let outcome = match terminal.run(&command.text, PATIENCE) {
        Ok(outcome) => outcome,
        Err(error) => return Some(complaint(command, &error.to_string(), "")),
    };
    let compared = compare::whole(&command.output, &outcome.output);
    let failed = outcome.status != 0 && !command.may_fail;
    match (compared, failed) {
        (Ok(()), false) => None,
        (Ok(()), true) => {
            let what = format!("this failed with exit status {}", outcome.status);
            Some(complaint(command, &what, &indented(&outcome.output)))
        }
        (Err(difference), _) => {
            let mut what = "this printed something else than the book says".to_owned();
            if failed {
                let _ = write!(what, ", and failed with exit status {}", outcome.status);
            }
            let diff = compare::shown(&command.output, &outcome.output, &difference);
            Some(complaint(command, &what, &diff))
        }
    }
}

/// Types a command that goes on, and waits until it has printed what the book says.
fn begin_it(terminal: &mut Terminal, command: &Command) -> Option<String> {
    if let Err(error) = terminal.begin(&command.text) {
        return Some(complaint(command, &error.to_string(), ""));
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        let got = terminal.so_far();
        let Err(difference) = compare::beginning(&command.output, &got) else {
            return None;
        };
        let over = if let Some(outcome) = terminal.ended() {
            let what = format!(
                "this should go on, and ended with exit status {}",
                outcome.status
            );
            Some((what, outcome.output))
        } else {
            match terminal.look(deadline) {
                Ok(true) => None,
                Ok(false) => Some(("this did not print what the book says".to_owned(), got)),
                Err(error) => Some((error.to_string(), got)),
            }
        };
        if let Some((what, got)) = over {
            return Some(complaint(
                command,
                &what,
                &compare::shown(&command.output, &got, &difference),
            ));
        }
    }
}

/// `LINE: what is wrong`, the command, and what was printed.
fn complaint(command: &Command, what: &str, printed: &str) -> String {
    format!(
        "{}: {what}\n\n    $ {}\n{printed}",
        command.line,
        command.text.replace('\n', "\n      ")
    )
}

fn indented(text: &str) -> String {
    text.lines().fold(String::new(), |mut all, line| {
        let _ = writeln!(all, "    + {line}");
        all
    })
}
