//! The command line: what can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, builder::PossibleValuesParser};
use clap_complete::Shell;
use url::Url;

use crate::lab;

const AFTER_HELP: &str = "\
Dates:
  \"tomorrow 15:00\", \"next friday 9am\", \"in 2 hours\", \"24/12/2026\" (day first), RFC 3339 and
  milliseconds since 1970, in the local time zone. After -s, \"-e 16:00\" is on the day of the
  start and \"-e +90m\" counts from it.

Who the assistant is:
  ASSISTANT_CLIENT_ID and ASSISTANT_CLIENT_SECRET, else the entry \"assistant\" of clients.json,
  which auth-provider writes; it is looked for in this folder and those above.

Exit codes:
  0  done
  1  anything else went wrong
  2  the command line is wrong
  3  the token was refused: the issuer gave none, or the service answered 401 or 403
  4  a server cannot be reached, or cannot work at the moment
  5  there is no such note or event
  6  an experiment of the lab did not end as its explanation says

With --json, results are JSON on stdout, and an error is
{\"error\": {\"kind\", \"message\", \"hint\"}} on stderr, where the kind is failed, usage, refused,
unreachable, not_found or surprise (the exit codes 1 to 6).";

/// Keeps your notes and your calendar, on the command line and in the terminal.
///
/// Each command asks the auth-provider for a token for one service with the one scope it needs,
/// and sends it along.
#[derive(Debug, Parser)]
#[command(name = "assistant", version = m2m::build_version(), after_help = AFTER_HELP, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    /// Print JSON, for scripts
    #[arg(long, global = true)]
    pub json: bool,

    /// Where the servers are.
    #[command(flatten)]
    pub connection: Connection,
}

/// Where the servers are, and who we are to them.
#[derive(Args, Debug)]
#[command(next_help_heading = "Connection")]
pub struct Connection {
    /// The issuer of the tokens
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "ASSISTANT_ISSUER",
        hide_env_values = true
    )]
    #[arg(default_value = "http://localhost:3001/auth")]
    pub issuer: String,

    /// The calendar service
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "ASSISTANT_CALENDAR_URL"
    )]
    #[arg(hide_env_values = true, default_value = "http://localhost:3011", value_parser = http_url)]
    pub calendar_url: Url,

    /// The note service
    #[arg(long, global = true, value_name = "URL", env = "ASSISTANT_NOTE_URL")]
    #[arg(hide_env_values = true, default_value = "http://localhost:3012", value_parser = http_url)]
    pub note_url: Url,

    /// The service that asks the issuer about each token, where one runs; only the lab calls it
    #[arg(long, global = true, value_name = "URL", env = "ASSISTANT_FILES_URL")]
    #[arg(hide_env_values = true, default_value = "http://localhost:8081", value_parser = http_url)]
    pub files_url: Url,

    /// The file with the client's id and secret [default: the nearest clients.json]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "ASSISTANT_CLIENTS_FILE"
    )]
    #[arg(hide_env_values = true)]
    pub clients_file: Option<PathBuf>,
}

/// What the assistant can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Events: add, list, update, delete
    #[command(subcommand)]
    Calendar(CalendarCommand),

    /// Notes: add, list, update, delete
    #[command(subcommand)]
    Note(NoteCommand),

    /// Open the terminal program
    Start,

    /// Fetch a token and explain what is in it
    Token(TokenArgs),

    /// Try what must not work, and see why: experiments with the running demo
    #[command(
        after_help = "Examples:\n  assistant lab\n  assistant lab wrong-audience --predict b"
    )]
    Lab(LabArgs),

    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
}

/// `assistant calendar …`
#[derive(Debug, Subcommand)]
pub enum CalendarCommand {
    /// Add an event
    Add(AddEvent),
    /// List all events, by their start
    List,
    /// Change an event; what is not given stays as it is
    Update(UpdateEvent),
    /// Delete an event
    Delete {
        /// The event's number, as the list shows it
        id: u64,
    },
}

/// A new event.
#[derive(Args, Debug)]
pub struct AddEvent {
    /// What it is about
    #[arg(required = true, value_name = "DESCRIPTION")]
    pub description: Vec<String>,
    /// A title
    #[arg(short, long, default_value = "Untitled Event")]
    pub title: String,
    /// When it starts [default: now]
    #[arg(short, long, value_name = "WHEN")]
    pub start: Option<String>,
    /// When it ends [default: an hour after it starts]
    #[arg(short, long, value_name = "WHEN")]
    pub end: Option<String>,
}

/// A change to an event.
#[derive(Args, Debug)]
pub struct UpdateEvent {
    /// The event's number, as the list shows it
    pub id: u64,
    /// What to change.
    #[command(flatten)]
    pub change: EventChange,
}

/// At least one of these.
#[derive(Args, Debug)]
#[group(required = true, multiple = true)]
pub struct EventChange {
    /// What it is about
    #[arg(value_name = "DESCRIPTION")]
    pub description: Vec<String>,
    /// A title
    #[arg(short, long)]
    pub title: Option<String>,
    /// When it starts
    #[arg(short, long, value_name = "WHEN")]
    pub start: Option<String>,
    /// When it ends
    #[arg(short, long, value_name = "WHEN")]
    pub end: Option<String>,
}

/// `assistant note …`
#[derive(Debug, Subcommand)]
pub enum NoteCommand {
    /// Add a note
    Add {
        /// The text
        #[arg(required = true, value_name = "DESCRIPTION")]
        description: Vec<String>,
        /// A title
        #[arg(short, long, default_value = "Untitled Note")]
        title: String,
    },
    /// List all notes
    List,
    /// Change a note; what is not given stays as it is
    Update {
        /// The note's number, as the list shows it
        id: u64,
        /// What to change.
        #[command(flatten)]
        change: NoteChange,
    },
    /// Delete a note
    Delete {
        /// The note's number, as the list shows it
        id: u64,
    },
}

/// At least one of these.
#[derive(Args, Debug)]
#[group(required = true, multiple = true)]
pub struct NoteChange {
    /// The text
    #[arg(value_name = "DESCRIPTION")]
    pub description: Vec<String>,
    /// A title
    #[arg(short, long)]
    pub title: Option<String>,
}

/// `assistant token …`
#[derive(Args, Debug)]
pub struct TokenArgs {
    /// The service it is for, such as calendar-service
    pub resource: String,
    /// A scope to ask for; may come several times [default: all that the grant has]
    #[arg(long, value_name = "SCOPE")]
    pub scope: Vec<String>,
    /// Print the token itself, a secret, and nothing else: for `curl -H "Authorization: Bearer …"`
    #[arg(long)]
    pub raw: bool,
}

/// `assistant lab …`
#[derive(Args, Debug)]
pub struct LabArgs {
    /// Which experiment [default: a list of all]
    #[arg(value_parser = PossibleValuesParser::new(lab::names()))]
    pub name: Option<String>,
    /// What you think will happen: the letter of an answer
    #[arg(long, value_name = "LETTER", requires = "name")]
    pub predict: Option<char>,
}

pub(crate) fn http_url(text: &str) -> Result<Url, String> {
    let url: Url = text
        .parse()
        .map_err(|e| format!("{e}; write it like http://localhost:3011"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("only http and https are spoken here".to_owned());
    }
    // A token read on the way is a token stolen (RFC 6750 section 5.3).
    if url.scheme() == "http" && !m2m::is_loopback_host(&url) {
        return Err("a token travels over https, except on this machine".to_owned());
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_token_goes_out_in_the_clear_on_this_machine_only() {
        for (text, fine) in [
            ("http://localhost:3011", true),
            ("http://127.0.0.1:3011/calendar/", true),
            ("https://calendar.example", true),
            ("http://calendar.example", false),
            ("ftp://localhost", false),
            ("localhost:3011", false),
            ("", false),
        ] {
            assert_eq!(http_url(text).is_ok(), fine, "{text}");
        }
    }
}
