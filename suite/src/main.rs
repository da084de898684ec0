//! `m2m-suite`: all programs of the workspace in one file, so that an image needs nothing else.
//!
//! Which of them runs is said by the name it was called by, as with a link `auth-provider ->
//! m2m-suite`, or by its first argument: `m2m-suite auth-provider --listen localhost:3001`. What
//! stands after that is the program's own. A new program is a line in [`PROGRAMS`].

use std::{
    env,
    ffi::{OsStr, OsString},
    io::{self, Write},
    iter,
    path::Path,
    pin::Pin,
    process::ExitCode,
};

use actix_web::rt::System;

type Arguments = Box<dyn Iterator<Item = OsString>>;
type Outcome = Pin<Box<dyn Future<Output = ExitCode>>>;

/// One of the programs.
struct Program {
    /// What it is called by.
    name: &'static str,
    /// What it is, in a few words.
    about: &'static str,
    /// Where it runs.
    on: Runtime,
    /// Its beginning. The first argument is its name.
    main: fn(Arguments) -> Outcome,
}

/// What drives a program's tasks.
enum Runtime {
    /// Of a server: the threads that serve requests are the web server's.
    Actix,
    /// Of a program at a terminal.
    Tokio,
}

static PROGRAMS: [Program; 7] = [
    Program {
        name: "auth-provider",
        about: "the authorization server, and the commands that administer it",
        on: Runtime::Actix,
        main: |arguments| Box::pin(auth_provider::program::main(arguments)),
    },
    Program {
        name: "resource-server",
        about: "a resource server that asks the provider about each token",
        on: Runtime::Actix,
        main: |arguments| Box::pin(resource_server::program::main(arguments)),
    },
    Program {
        name: "calendar-service",
        about: "a resource server with events",
        on: Runtime::Actix,
        main: |arguments| Box::pin(calendar_service::program::main(arguments)),
    },
    Program {
        name: "note-service",
        about: "a resource server with notes",
        on: Runtime::Actix,
        main: |arguments| Box::pin(note_service::program::main(arguments)),
    },
    Program {
        name: "microservice",
        about: "a service of a mesh, as m1, m2 or m3",
        on: Runtime::Actix,
        main: |arguments| Box::pin(microservice::program::main(arguments)),
    },
    Program {
        name: "token-vault",
        about: "custody of users' tokens for other services",
        on: Runtime::Actix,
        main: |arguments| Box::pin(token_vault::program::main(arguments)),
    },
    Program {
        name: "assistant",
        about: "an assistant that calls the calendar and the notes",
        on: Runtime::Tokio,
        main: |arguments| Box::pin(assistant_cli::commands::main(arguments)),
    },
];

fn main() -> ExitCode {
    match choose(env::args_os()) {
        Choice::Run(program, arguments) => program.run(arguments),
        Choice::Version => print(&format!("m2m-suite {}\n", m2m::build_version())),
        Choice::Help => print(&help()),
        Choice::Unknown => {
            eprint!("m2m-suite: no such program\n\n{}", help());
            ExitCode::from(2)
        }
    }
}

impl Program {
    fn run(&self, arguments: Arguments) -> ExitCode {
        let work = (self.main)(arguments);
        match self.on {
            Runtime::Actix => System::new().block_on(work),
            Runtime::Tokio => match tokio::runtime::Runtime::new() {
                Ok(runtime) => runtime.block_on(work),
                Err(error) => {
                    eprintln!("m2m-suite: cannot start threads: {error}");
                    ExitCode::FAILURE
                }
            },
        }
    }
}

/// What the command line asks for.
enum Choice {
    Run(&'static Program, Arguments),
    Version,
    Help,
    Unknown,
}

/// Looks at the name that this program was called by, then at the first argument.
fn choose(mut arguments: impl Iterator<Item = OsString> + 'static) -> Choice {
    let called = arguments.next().unwrap_or_default();
    if let Some(program) = Path::new(&called).file_name().and_then(find) {
        return Choice::Run(program, as_called(program, arguments));
    }
    let Some(first) = arguments.next() else {
        return Choice::Unknown;
    };
    match first.to_str() {
        Some("--version" | "-V") => Choice::Version,
        Some("--help" | "-h" | "help") => Choice::Help,
        _ => match find(&first) {
            Some(program) => Choice::Run(program, as_called(program, arguments)),
            None => Choice::Unknown,
        },
    }
}

fn find(name: &OsStr) -> Option<&'static Program> {
    PROGRAMS.iter().find(|program| name == program.name)
}

/// The program's arguments, with its name before them as a program expects it.
fn as_called(program: &Program, rest: impl Iterator<Item = OsString> + 'static) -> Arguments {
    Box::new(iter::once(program.name.into()).chain(rest))
}

fn help() -> String {
    let programs = PROGRAMS
        .iter()
        .map(|program| format!("  {:<18}{}\n", program.name, program.about));
    format!(
        "Usage: m2m-suite PROGRAM [ARGUMENTS]\n\n\
         Programs, each with its own --help:\n{}\n\
         A link to this file that is named like a program is that program.\n",
        programs.collect::<String>()
    )
}

fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE, // nobody is there to read it
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(line: &str) -> String {
        let words: Vec<_> = line.split(' ').map(OsString::from).collect();
        match choose(words.into_iter()) {
            Choice::Run(_, arguments) => arguments
                .map(|argument| argument.into_string().unwrap())
                .collect::<Vec<_>>()
                .join(" "),
            Choice::Version => "version".to_owned(),
            Choice::Help => "help".to_owned(),
            Choice::Unknown => "unknown".to_owned(),
        }
    }

    #[test]
    fn a_program_is_chosen_by_its_name_or_as_the_first_argument() {
        for (line, expected) in [
            ("/m2m auth-provider --version", "auth-provider --version"),
            (
                "/usr/bin/auth-provider client list",
                "auth-provider client list",
            ),
            ("note-service note-service", "note-service note-service"),
            ("m2m-suite assistant", "assistant"),
            ("m2m-suite --version", "version"),
            ("m2m-suite -h", "help"),
            ("m2m-suite", "unknown"),
            ("m2m-suite sh -c id", "unknown"),
            ("m2m-suite --listen auth-provider", "unknown"),
        ] {
            assert_eq!(chosen(line), expected, "{line}");
        }
    }

    #[test]
    fn help_names_every_program() {
        let help = help();
        for program in &PROGRAMS {
            assert!(help.contains(&format!("\n  {} ", program.name)), "{help}");
        }
    }
}
