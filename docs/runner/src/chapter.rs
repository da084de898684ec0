//! A chapter as somebody reads it who types whatever stands after a `$`.
//!
//! ````text
//! ```console
//! $ curl --silent \
//!     http://localhost:3001/health
//! {"status":"ok"}
//! $ assistant token no-such-service
//! …
//! $ echo $?
//! 3
//! ```
//! ````
//!
//! A command begins with `$ ` and goes on after a `\`, a `|` or an open `'`; what follows it is its output, in which `…` stands
//! for any text within a line, and a line that is nothing but `…` for any lines, or none. A command has
//! to succeed unless the next one asks for its status, as above.
//!
//! A comment right above a block says what is special about it:
//!
//! - `<!-- not run: why -->`: nobody types it but the reader. It is counted.
//! - `<!-- second terminal -->`: its one command goes on while the chapter goes on. The chapter waits until
//!   it has printed what the block says. `^C` as a line of its own, before that command, ends what
//!   ran there before.

use std::fmt;

/// What stands on a page for its reader to do.
#[derive(Debug, PartialEq, Eq)]
pub struct Chapter {
    /// In the order of the page.
    pub blocks: Vec<Block>,
}

/// One fenced block of kind `console`.
#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    /// The line of its fence, from 1.
    pub line: usize,
    /// Where it is typed, if it is.
    pub place: Place,
    /// Its commands.
    pub commands: Vec<Command>,
}

/// Where a block's commands are typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the chapter's shell.
    Here,
    /// In a terminal beside it, where `stops_first` says whether Ctrl-C is pressed before.
    Beside {
        /// Whether what runs there is ended first.
        stops_first: bool,
    },
    /// Nowhere, for this reason.
    Nowhere(String),
}

/// A command with what the book says that it prints.
#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    /// Its first line on the page, from 1.
    pub line: usize,
    /// What is typed, with all its lines.
    pub text: String,
    /// What it prints, with placeholders.
    pub output: Vec<String>,
    /// Whether it may fail: the next command asks for its status.
    pub may_fail: bool,
}

/// A page that cannot be typed, and where.
#[derive(Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it, and how to mend it.
    pub why: &'static str,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "line {}: {}", self.line, self.why)
    }
}

impl std::error::Error for Unreadable {}

/// Finds the blocks of a page.
///
/// # Errors
/// When a block has no end, has output before its first command, or is of a kind that hides commands
/// from this program.
pub fn read(page: &str) -> Result<Chapter, Unreadable> {
    let mut blocks = Vec::new();
    let mut above = "";
    let mut lines = page.lines().zip(1..);
    while let Some((text, line)) = lines.next() {
        if let Some(kind) = text.strip_prefix("```") {
            let mut inside = Vec::new();
            loop {
                match lines.next() {
                    Some(("```", _)) => break,
                    Some(row) => inside.push(row),
                    None => {
                        return Err(Unreadable {
                            line,
                            why: "this block has no end",
                        });
                    }
                }
            }
            match kind {
                "console" => blocks.push(block(line, above, inside)?),
                "sh" | "bash" | "shell" => {
                    let why = "make it a ```console block with `$ ` before each command, so that it is run";
                    return Err(Unreadable { line, why });
                }
                _ => {}
            }
        }
        if !text.trim().is_empty() {
            above = text;
        }
    }
    Ok(Chapter { blocks })
}

/// Whether a shell would wait for another line.
fn is_open(text: &str) -> bool {
    let quotes = text.matches('\'').count();
    text.ends_with(['\\', '|']) || !quotes.is_multiple_of(2)
}

fn block(line: usize, above: &str, rows: Vec<(&str, usize)>) -> Result<Block, Unreadable> {
    let note = above
        .strip_prefix("<!-- ")
        .and_then(|rest| rest.strip_suffix(" -->"));
    let mut place = match note {
        Some("second terminal") => Place::Beside { stops_first: false },
        Some(note) => match note.strip_prefix("not run: ") {
            Some(why) => Place::Nowhere(why.to_owned()),
            None => Place::Here,
        },
        None => Place::Here,
    };
    let mut commands: Vec<Command> = Vec::new();
    let mut goes_on = false;
    for (row, line) in rows {
        if goes_on {
            let command = commands.last_mut().expect("only a command goes on");
            command.text.push('\n');
            command.text.push_str(row);
            goes_on = is_open(&command.text);
        } else if let Some(text) = row.strip_prefix("$ ") {
            if let Some(before) = commands.last_mut() {
                before.may_fail = text == "echo $?";
            }
            goes_on = is_open(text);
            let (text, output) = (text.to_owned(), Vec::new());
            commands.push(Command {
                line,
                text,
                output,
                may_fail: false,
            });
        } else if let Some(command) = commands.last_mut() {
            command.output.push(row.to_owned());
        } else if row == "^C" && matches!(place, Place::Beside { .. }) {
            place = Place::Beside { stops_first: true };
        } else {
            return Err(Unreadable {
                line,
                why: "a command comes first: begin it with `$ `",
            });
        }
    }
    let enough = match place {
        Place::Beside { stops_first } => {
            commands.len() == 1 || (stops_first && commands.is_empty())
        }
        Place::Here | Place::Nowhere(_) => !commands.is_empty(),
    };
    if !enough {
        let why = "a block has a command, and one for a second terminal no more than one";
        return Err(Unreadable { line, why });
    }
    Ok(Block {
        line,
        place,
        commands,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only_block(page: &str) -> Block {
        let mut chapter = read(page).unwrap();
        assert_eq!(chapter.blocks.len(), 1);
        chapter.blocks.remove(0)
    }

    #[test]
    fn commands_are_found_with_their_lines_and_outputs() {
        let page = "Text.\n\n```console\n$ one \\\n    more '\n'\nout\n…\n$ two\n$ echo $?\n3\n```\nEnd.\n";
        let block = only_block(page);
        assert_eq!((block.line, block.place), (3, Place::Here));
        let told: Vec<_> = block
            .commands
            .iter()
            .map(|it| (it.line, it.text.as_str(), it.output.join("|"), it.may_fail))
            .collect();
        assert_eq!(
            told,
            [
                (4, "one \\\n    more '\n'", "out|…".to_owned(), false),
                (9, "two", String::new(), true),
                (10, "echo $?", "3".to_owned(), false),
            ]
        );
    }

    #[test]
    fn a_comment_above_says_where_a_block_is_typed() {
        for (above, place) in [
            ("", Place::Here),
            ("<!-- an aside -->", Place::Here),
            (
                "<!-- not run: it needs a screen -->",
                Place::Nowhere("it needs a screen".to_owned()),
            ),
            (
                "<!-- second terminal -->",
                Place::Beside { stops_first: false },
            ),
        ] {
            assert_eq!(
                only_block(&format!("{above}\n```console\n$ a\n```\n")).place,
                place,
                "{above}"
            );
        }
        let again = "<!-- second terminal -->\n```console\n^C\n$ a\n```\n";
        assert_eq!(only_block(again).place, Place::Beside { stops_first: true });
    }

    #[test]
    fn what_would_be_overlooked_is_refused() {
        for (page, line) in [
            ("```console\n$ a\n", 1),
            ("\n```bash\na\n```\n", 2),
            ("```console\na\n```\n", 2),
            ("```console\n```\n", 1),
            ("<!-- second terminal -->\n```console\n$ a\n$ b\n```\n", 2),
        ] {
            assert_eq!(read(page).map_err(|error| error.line), Err(line), "{page}");
        }
        assert_eq!(read("```rust\n$ a\n```\n").unwrap().blocks, []);
    }
}
